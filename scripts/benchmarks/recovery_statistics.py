"""Figures of the recovery experiment: rates over the pairs of a seed, their intervals, and the time of a step."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ...envs.storage.artifacts import read_json, write_json
from ..collect_and_train import HELD_OUT_SEED
from ..experiments.jobs import JobProgress
from ..experiments.records import MeasuredRun
from .recovery_config import Onset, condition_name
from .recovery_methods.registry import (
    BASE_POLICY,
    PROPOSED_METHOD,
    ablation_methods,
    compared_methods,
    recovery_method,
)
from .recovery_run import RecoveryRun
from .recovery_trials import main_conditions, measures_file, read_outcomes, trials_file

RATES = ("success", "harmed", "harmed_when_pushed", "false_interventions")
"""Endings of the labels of rates."""


def measured_runs(run: RecoveryRun) -> list[MeasuredRun]:
    """Return what was measured with a seed: a run for each method, and one without a name for the headline.

    Args:
        run: run whose trials have been played.
    """
    figures = aggregate(run) | read_json(step_time_file(run))
    rows = MeasuredRun.from_labels(run.seed, figures)
    return [
        MeasuredRun("", each.task, each.seed, each.values, _trials(run, each.task or PROPOSED_METHOD, each.values))
        for each in rows
    ]


def _trials(run: RecoveryRun, name: str, values: Any) -> dict[str, int]:
    """Return the number of episodes behind each rate of a method.

    False interventions are counted in episodes in which the base policy of the method succeeds without a perturbation,
    the other rates in all pairs.
    """
    pairs = main_conditions(run.config, name in ablation_methods())["clean"][0]
    clean = read_outcomes(run, recovery_method(name).base_policy)["clean/success"]
    counted = {"false_interventions": int(clean[:pairs].sum())}
    return {each: counted.get(each, pairs) for each in values if each.endswith(RATES)}


def aggregate(run: RecoveryRun) -> dict[str, float]:
    """Return the figures of a seed.

    Figures without a name are of the proposed method; ``"name: figure"`` are of a method. An episode is harmed if the
    base policy succeeds without a perturbation and the method fails. False interventions are the share of the episodes
    in which the base policy succeeds without a perturbation, in which recovery acts. The base policy is the one that
    the recovery is built around: DART for ``"recovery around DART"``. Policies without recovery are compared with
    behaviour cloning.

    Args:
        run: run whose trials have been played.
    """
    names = [*compared_methods(), *ablation_methods()]
    played = {name: read_outcomes(run, name) for name in names if trials_file(run, name).exists()}
    result = _headline(run, played[BASE_POLICY], played[PROPOSED_METHOD])
    for name, outcomes in played.items():
        result |= _rates(name, outcomes, played[recovery_method(name).base_policy]["clean/success"])
    swept = [name for name in compared_methods() if trials_file(run, name, sweep=True).exists()]
    if len(swept) == len(compared_methods()):
        for name in swept:
            result |= _sweep_figures(run, name, played[BASE_POLICY]["clean/length"])
    measures: dict[str, float] = read_json(measures_file(run))
    return {label: float(value) for label, value in result.items()} | measures


def _headline(run: RecoveryRun, base: dict[str, Any], proposed: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of the proposed method against the base policy."""
    import numpy as np

    clean, pushed, recovered = base["clean/success"], base["pushed/success"], proposed["pushed/success"]
    steps = proposed["pushed/recovery_steps"][proposed["pushed/triggered"]]
    left = run.episode_steps - run.perturbation.end
    return {
        "clean_success": clean.mean(),
        "pushed_success": pushed.mean(),
        "recovered_success": recovered.mean(),
        "recovered_share_of_clean": recovered.mean() / max(clean.mean(), 1e-9),
        "harmed": (clean & ~proposed["clean/success"]).mean(),
        "harmed_when_pushed": (pushed & ~recovered).mean(),
        "false_interventions": _mean(proposed["clean/triggered"][clean]),
        "pairs": run.config.pairs,
        "push_receipt_mean": base["pushed/receipt"].mean(),
        "recovery_steps_median": np.median(np.minimum(steps, left)) if len(steps) else 0.0,
    }


def _rates(name: str, outcomes: dict[str, Any], clean: Any) -> dict[str, Any]:
    """Return the rates of a method; ``clean`` is the success of its base policy without a perturbation."""
    same = clean[: len(outcomes["clean/success"])]
    return {
        f"{name}: clean_success": outcomes["clean/success"].mean(),
        f"{name}: pushed_success": outcomes["pushed/success"].mean(),
        f"{name}: harmed": (same & ~outcomes["clean/success"]).mean(),
        f"{name}: false_interventions": _mean(outcomes["clean/triggered"][same]),
    }


def _sweep_figures(run: RecoveryRun, name: str, length: Any) -> dict[str, float]:
    """Return the success of a method in every condition, over episodes that lasted until the perturbation began.

    ``"sweep_mean"`` is the mean over conditions with a fixed onset, ``"random_onset_mean"`` over the others.

    Args:
        run: run whose sweep has been played.
        name: name of the method.
        length: length of the clean episodes of behaviour cloning, ``(pairs,)``.
    """
    import numpy as np

    outcomes = read_outcomes(run, name, sweep=True)

    def rates(onset: Onset) -> dict[str, float]:
        conditions = [condition_name(magnitude, onset) for magnitude in run.config.sweep_magnitudes]
        return {each: _lasting_success(outcomes, each, length) for each in conditions}

    fixed = {label: rate for onset in run.config.fixed_onsets for label, rate in rates(onset).items()}
    random = rates("random")
    means = {"sweep_mean": _mean(np.array([*fixed.values()])), "random_onset_mean": _mean(np.array([*random.values()]))}
    return {f"{name}: {label}": value for label, value in (means | fixed | random).items()}


def _lasting_success(outcomes: dict[str, Any], condition: str, length: Any) -> float:
    """Return the success in a condition, over pairs whose clean episode lasted until the perturbation began."""
    success, onset = outcomes[f"{condition}/success"], outcomes[f"{condition}/onset"]
    return _mean(success[length[: len(success)] > onset])


def step_time_file(run: RecoveryRun) -> Path:
    """Return the file that `measure_step_time` writes."""
    return run.folder / "step_time.json"


def measure_step_time(run: RecoveryRun, show: JobProgress) -> None:
    """Time a step of recovery, and write the milliseconds to `step_time_file`."""
    write_json(step_time_file(run), {"recovery_ms_per_step": step_milliseconds(run)})


def step_milliseconds(run: RecoveryRun, repeats: int = 100) -> float:
    """Return the median time that recovery adds to a step of the base policy, for one robot on one core.

    Args:
        run: run with trained policies.
        repeats: number of steps.
    """
    import numpy as np
    import torch

    observation = run.started_world(1, HELD_OUT_SEED).render()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    medians = []
    for name in (BASE_POLICY, PROPOSED_METHOD):
        policy, state, seconds = recovery_method(name).policy(name, run), None, []
        for _ in range(repeats):
            begin = time.perf_counter()
            _, state = policy.predict(observation, state, np.zeros(1, bool))
            seconds.append(time.perf_counter() - begin)
        medians.append(float(np.median(seconds)))
    torch.set_num_threads(threads)
    return 1000 * (medians[1] - medians[0])


def _mean(values: Any) -> float:
    """Return the mean, and zero for no values, since JSON has no NaN."""
    return float(values.mean()) if len(values) else 0.0
