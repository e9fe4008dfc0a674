"""`equiact recover`: policies that find their way back, in paired trials against those that do not."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from scripts.commands import Command
from scripts.jobs import run_jobs
from scripts.progress import console
from scripts.recovery_experiment import ABLATIONS, CLONED, MAGNITUDES, METHODS, ONSETS, OURS, Seed, cell, jobs
from scripts.runs import FIRST_SEED, commit, over_seeds, read_json, write_json


@dataclass(frozen=True)
class Recover(Command):
    """Clone an expert, push the arm in mid-episode, and count who still succeeds. Stopped, it goes on where it was.

    Trains and plays on all cores. Writes `summary.json` and `report.html` in the folder of the run and, unless it is
    quick, results/recovery_<task>.json.
    """

    task: Literal["push", "pick"] = "push"
    """Push a puck onto a goal, or pick a peg up and place it there."""
    quick: bool = False
    """50 pairs and one seed instead of 200 pairs, five seeds, a sweep and an ablation."""
    demonstrations: int = 1000
    """Episodes of the expert to learn from."""
    magnitude: float = 0.01
    """Metres a step by which the arm is dragged, 35 steps long in a random direction, before it idles for 10."""
    onset: int = 1
    """Steps before the drag begins."""
    seeds: int = 5
    """How many seeds the full experiment has, from 100 on."""
    out: Path = Path("runs/recover")
    """Folder of everything that is made."""
    results: Path = Path("results")
    """Folder of the result files of the full experiment."""

    def run(self) -> dict[str, Any]:
        numbers = [self.seed] if self.quick else [FIRST_SEED + index for index in range(self.seeds)]
        seeds = [self._seed(number) for number in numbers]
        stages = [jobs(seed, ablations=not self.quick, sweep=not self.quick) for seed in seeds]
        for stage in zip_longest(*stages, fillvalue=()):
            run_jobs([job for part in stage for job in part if not job.makes.exists()])
        result = over_seeds([{"commit": commit(), "figures": figures(seed, self.quick)} for seed in seeds], numbers)
        folder = self.out / self.task
        summary = {label: figure["mean"] for label, figure in result["figures"].items()}
        write_json(folder / "summary.json", {**summary, **{k: v for k, v in result.items() if k != "figures"}})
        if not self.quick:
            write_json(self.results / f"recovery_{self.task}.json", result)
        console.print(f"\nEverything is in [bold]{folder}[/bold]")
        return summary

    def _seed(self, number: int) -> Seed:
        """A seed's work, in a folder that was made with the same settings or not at all.

        Raises:
            ValueError: the folder was made with others.
        """
        folder = self.out / self.task / f"seed-{number}"
        pairs = 50 if self.quick else 200
        settings = [self.demonstrations, self.magnitude, self.onset, pairs]
        path = folder / "settings.json"
        if path.exists() and read_json(path) != settings:
            raise ValueError(
                f"{folder} was made with {read_json(path)}, now {settings} is asked for "
                "(demonstrations, magnitude, onset, pairs); choose another --out or remove it"
            )
        write_json(path, settings)
        return Seed(
            self.task, number, folder, self.demonstrations, pairs, self.magnitude, self.onset, device=self.device
        )


def figures(seed: Seed, quick: bool) -> dict[str, float]:
    """What came of the trials of one seed."""
    import numpy as np

    from agents.trials import mcnemar

    base, ours = seed.outcomes(CLONED[0]), seed.outcomes(OURS)
    clean, pushed, recovered = base["clean/success"], base["pushed/success"], ours["pushed/success"]
    left = seed.world.episode_steps - seed.push.end
    steps = ours["pushed/recovery_steps"][ours["pushed/triggered"]]
    result = {
        "clean_success": clean.mean(),
        "clean_success_with_recovery": ours["clean/success"].mean(),
        "pushed_success": pushed.mean(),
        "recovered_success": recovered.mean(),
        "recovered_share_of_clean": recovered.mean() / clean.mean(),
        "harmed": (clean & ~ours["clean/success"]).mean(),
        "harmed_when_pushed": (pushed & ~recovered).mean(),
        "false_interventions": ours["clean/triggered"][clean].mean(),
        "mcnemar_p": mcnemar(pushed, recovered),
        "pairs": seed.pairs,
        "push_receipt_mean": base["pushed/receipt"].mean(),
        "recovery_steps_median": np.median(np.minimum(steps, left)) if len(steps) else 0.0,
    }
    for name in [*CLONED[1:], *METHODS, *([] if quick else ABLATIONS)]:
        if name == OURS:
            continue
        other = seed.outcomes(name)
        result |= {
            f"{name}: clean_success": other["clean/success"].mean(),
            f"{name}: pushed_success": other["pushed/success"].mean(),
            f"{name}: harmed": (clean & ~other["clean/success"]).mean(),
            f"{name}: false_interventions": other["clean/triggered"][clean].mean(),
        }
    if not quick:
        result |= _sweep(seed)
    return {label: float(value) for label, value in result.items()}


def _sweep(seed: Seed) -> dict[str, Any]:
    """Success of every method in every cell, of the episodes that were not over before the push began."""
    import numpy as np

    length = seed.outcomes(CLONED[0])["clean/length"]
    result: dict[str, Any] = {}
    for name in [*CLONED, *METHODS]:
        outcomes = seed.outcomes(name, sweep=True)
        for onset in ONSETS:
            for magnitude in MAGNITUDES:
                success = outcomes[f"{cell(magnitude, onset)}/success"]
                result[f"sweep, {name}: {cell(magnitude, onset)}"] = success[length[: len(success)] > onset].mean()
        values = [value for label, value in result.items() if label.startswith(f"sweep, {name}:")]
        result[f"area, {name}"] = np.mean(values)
    return result
