"""`equiact recover`: policies that find their way back, in paired trials against those that do not."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from scripts.commands import HELD_OUT_SEED, Command
from scripts.jobs import run_jobs
from scripts.progress import bar, console
from scripts.recovery_experiment import Seed, jobs
from scripts.recovery_methods import ABLATIONS, CLONED, MAGNITUDES, METHODS, OFFLINE, ONSETS, OURS, cell
from scripts.runs import FIRST_SEED, commit, figure, over_seeds, read_json, write_json


@dataclass(frozen=True)
class Recover(Command):
    """Clone an expert, push the arm in mid-episode, and count who still succeeds. Stopped, it goes on where it was.

    Trains and plays on all cores. Writes `summary.json` and `report.html` in the folder of the run and, unless it is
    quick, results/recovery_<task>.json.
    """

    resumes = True
    task: Literal["push", "pick"] = "push"
    """Push a puck onto a goal, or pick a peg up and place it there."""
    quick: bool = False
    """50 pairs, one seed and one onset instead of 200 pairs, five seeds, two onsets and an ablation."""
    demonstrations: int = 1000
    """Episodes of the expert to learn from."""
    magnitude: float = 0.01
    """Metres a step by which the arm is dragged, 35 steps long in a random direction, before it idles for 10."""
    onset: int = 1
    """Steps before the drag begins."""
    sweep: bool = True
    """Sweep over magnitudes and onsets as well: twice the work."""
    ablation: bool = True
    """Say what each part of the recovery brings as well, unless it is quick."""
    seeds: int = 5
    """How many seeds the full experiment has, from 100 (and --seed more) on."""
    out: Path = Path("runs/recover")
    """Folder of everything that is made."""
    results: Path = Path("results")
    """Folder of the result files of the full experiment."""

    def run(self) -> dict[str, Any]:
        if OFFLINE not in CLONED:
            missing = "IQL, a baseline, is left out: it needs TorchRL, which pip install -e '.[offline]' brings."
            console.print(missing, markup=False)
        if self.seeds < 1:
            raise ValueError(f"at least one seed is needed, got --seeds {self.seeds}")
        numbers = [self.seed] if self.quick else [FIRST_SEED + self.seed + index for index in range(self.seeds)]
        seeds = [self._seed(number) for number in numbers]
        seeds[0].push.require_within(seeds[0].world.episode_steps)
        stages = [jobs(seed, sweep=self.sweep, ablations=self.ablation and not self.quick) for seed in seeds]
        for stage in zip_longest(*stages, fillvalue=()):
            run_jobs([job for part in stage for job in part if not job.makes.exists()])
        result = over_seeds([measured(seed) for seed in seeds], numbers)
        if result["commit"] != commit():
            result["commit"] += f", completed at {commit()}"
        if len(seeds) == 1:
            add_wilson_intervals(result["figures"], seeds[0])
        with bar("Timing a step", len(seeds), "seeds") as update:
            timed: list[float] = []
            for seed in seeds:
                timed.append(step_milliseconds(seed))
                update(len(timed))
        result["figures"]["recovery_ms_per_step"] = figure(timed)
        from scripts.recovery_report import write_recovery_report

        folder = self.out / self.task
        summary = {label: figure["mean"] for label, figure in result["figures"].items()}
        write_json(folder / "summary.json", {**summary, **{k: v for k, v in result.items() if k != "figures"}})
        if not self.quick:
            write_json(self.results / f"recovery_{self.task}.json", result)
        page = write_recovery_report(folder, result, seeds)
        if not self.quick:
            shutil.copyfile(folder / "film.png", self.results / f"recovery_{self.task}.png")
        console.print(f"\nEverything is in [bold]{folder}[/bold]; open [bold]{page}[/bold]")
        return summary

    def _seed(self, number: int) -> Seed:
        """A seed's work, in a folder that was made with the same settings or not at all.

        Raises:
            ValueError: the folder was made with others.
        """
        folder = self.out / self.task / f"seed-{number}"
        pairs, onsets = (50, (self.onset,)) if self.quick else (200, ONSETS)
        kept, settings = folder / "settings.json", [self.demonstrations, self.magnitude, self.onset, pairs]
        if not kept.exists():
            write_json(kept, {"settings": settings, "commit": commit()})
        if read_json(kept)["settings"] != settings:
            raise ValueError(
                f"{folder} was made with {read_json(kept)['settings']}, now {settings} is asked for "
                "(demonstrations, magnitude, onset, pairs); choose another --out or remove it"
            )
        return Seed(
            self.task, number, folder, self.demonstrations, pairs, self.magnitude, self.onset, onsets, self.device
        )


def measured(seed: Seed) -> dict[str, Any]:
    """What came of the trials of one seed, as figures, and the commit that its work began with."""
    import numpy as np

    from agents.trials import mcnemar

    played = {name: seed.outcomes(name) for name in [*CLONED, *METHODS, *ABLATIONS] if seed.trials_file(name).exists()}
    base, ours = played[CLONED[0]], played[OURS]
    clean, pushed, recovered = base["clean/success"], base["pushed/success"], ours["pushed/success"]
    steps = ours["pushed/recovery_steps"][ours["pushed/triggered"]]
    left = seed.world.episode_steps - seed.push.end
    result = {
        "clean_success": clean.mean(),
        "pushed_success": pushed.mean(),
        "recovered_success": recovered.mean(),
        "recovered_share_of_clean": recovered.mean() / max(clean.mean(), 1e-9),
        "harmed": (clean & ~ours["clean/success"]).mean(),
        "harmed_when_pushed": (pushed & ~recovered).mean(),
        "false_interventions": _mean(ours["clean/triggered"][clean]),
        "mcnemar_p": mcnemar(pushed, recovered),
        "pairs": seed.pairs,
        "push_receipt_mean": base["pushed/receipt"].mean(),
        "recovery_steps_median": np.median(np.minimum(steps, left)) if len(steps) else 0.0,
    }
    for name, outcomes in played.items():
        same = clean[: len(outcomes["clean/success"])]
        result |= {
            f"{name}: clean_success": outcomes["clean/success"].mean(),
            f"{name}: pushed_success": outcomes["pushed/success"].mean(),
            f"{name}: harmed": (same & ~outcomes["clean/success"]).mean(),
            f"{name}: false_interventions": _mean(outcomes["clean/triggered"][same]),
        }
    swept = [name for name in [*CLONED, *METHODS] if seed.trials_file(name, sweep=True).exists()]
    for name in swept if len(swept) == len(CLONED) + len(METHODS) else []:
        cells = _sweep(seed, name, base["clean/length"])
        result |= {f"{name}: sweep_mean": np.mean(list(cells.values()))}
        result |= {f"{name}: {label}": value for label, value in cells.items()}
    figures = {label: float(value) for label, value in result.items()} | read_json(seed.folder / "measures.json")
    return {"commit": read_json(seed.folder / "settings.json")["commit"], "figures": figures}


RATES = ("success", "harmed", "harmed_when_pushed", "false_interventions")


def add_wilson_intervals(figures: dict[str, Any], seed: Seed) -> None:
    """Give the rates of a single seed, over which there is nothing to resample, their Wilson intervals.

    False interventions are counted where the base policy succeeds when nothing pushes it, all else in every pair.
    """
    from agents.evaluation import wilson_interval

    clean = seed.outcomes(CLONED[0])["clean/success"]
    for label, each in figures.items():
        row, _, quantity = label.rpartition(": ")
        if quantity.endswith(RATES):
            pairs = seed.conditions(row, sweep=False)["clean"][0]
            counted = int(clean[:pairs].sum()) if quantity == "false_interventions" else pairs
            each["interval"] = list(wilson_interval(round(each["mean"] * counted), counted)) if counted else [0.0, 1.0]


def _sweep(seed: Seed, name: str, length: Any) -> dict[str, float]:
    """Success of a method in every cell, of the episodes that were not over before the push began."""
    outcomes, result = seed.outcomes(name, sweep=True), {}
    for onset in seed.onsets:
        for magnitude in MAGNITUDES:
            success = outcomes[f"{cell(magnitude, onset)}/success"]
            result[cell(magnitude, onset)] = _mean(success[length[: len(success)] > onset])
    return result


def step_milliseconds(seed: Seed, repeats: int = 100) -> float:
    """Median time on one core that recovery adds to a step of the policy, for one robot."""
    import numpy as np
    import torch

    observation = seed.started(1, HELD_OUT_SEED).render()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    medians = []
    for policy in (seed.cloned(CLONED[0]), seed.recovery(OURS)):
        state, seconds = None, []
        for _ in range(repeats):
            begin = time.perf_counter()
            _, state = policy.predict(observation, state, np.zeros(1, bool))
            seconds.append(time.perf_counter() - begin)
        medians.append(float(np.median(seconds)))
    torch.set_num_threads(threads)
    return 1000 * (medians[1] - medians[0])


def _mean(values: Any) -> float:
    """The mean, and zero of nothing, since JSON has no NaN."""
    return float(values.mean()) if len(values) else 0.0
