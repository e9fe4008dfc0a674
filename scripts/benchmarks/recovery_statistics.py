"""Figures of the recovery experiment: rates over the pairs of a seed, their intervals, and the time of a step."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...envs.storage.artifacts import read_json, write_json
from ..collect_and_train import HELD_OUT_SEED
from ..experiments.jobs import JobProgress
from ..experiments.records import MeasuredRun, Value
from .recovery_grid import limit_name, within_limits
from .recovery_methods.registry import (
    BASE_POLICY,
    PROPOSED_METHOD,
    ablation_methods,
    compared_methods,
    recovery_method,
)
from .recovery_run import RecoveryRun
from .recovery_trials import measures_file, read_outcomes, trials_file


def measured_runs(run: RecoveryRun) -> list[MeasuredRun]:
    """Return what was measured with a seed: a run for each method, and one without a name for the headline.

    Args:
        run: run whose trials have been played.
    """
    rows = MeasuredRun.from_labels(run.seed, aggregate(run) | read_json(step_time_file(run)))
    return [replace(each, task="", method=each.task) for each in rows]


def aggregate(run: RecoveryRun) -> dict[str, Value]:
    """Return the figures of a seed; rates as outcomes of episodes.

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
    result: dict[str, Value] = _headline(run, played[BASE_POLICY], played[PROPOSED_METHOD])
    for name, outcomes in played.items():
        result |= _rates(name, outcomes, played[recovery_method(name).base_policy]["clean/success"])
    in_grid = [name for name in compared_methods() if trials_file(run, name, grid=True).exists()]
    if len(in_grid) == len(compared_methods()):
        median = run.median_length()
        for name in in_grid:
            result |= _grid_figures(run, name, played[BASE_POLICY]["clean/length"], median)
    measures: dict[str, Value] = read_json(measures_file(run))
    return result | measures


def _headline(run: RecoveryRun, base: dict[str, Any], proposed: dict[str, Any]) -> dict[str, Value]:
    """Return the figures of the proposed method against the base policy."""
    import numpy as np

    clean, pushed, recovered = base["clean/success"], base["pushed/success"], proposed["pushed/success"]
    steps = proposed["pushed/recovery_steps"][proposed["pushed/triggered"]]
    left = run.episode_steps - run.perturbation.end
    return {
        "clean_success": _outcomes(clean),
        "pushed_success": _outcomes(pushed),
        "recovered_success": _outcomes(recovered),
        "recovered_share_of_clean": float(recovered.mean() / max(clean.mean(), 1e-9)),
        "harmed": _outcomes(clean & ~proposed["clean/success"]),
        "harmed_when_pushed": _outcomes(pushed & ~recovered),
        "false_interventions": _outcomes(proposed["clean/triggered"][clean]),
        "pairs": run.config.pairs,
        "push_receipt_mean": float(base["pushed/receipt"].mean()),
        "recovery_steps_median": float(np.median(np.minimum(steps, left))) if len(steps) else 0.0,
    }


def _rates(name: str, outcomes: dict[str, Any], clean: Any) -> dict[str, Value]:
    """Return the rates of a method; ``clean`` is the success of its base policy without a perturbation."""
    same = clean[: len(outcomes["clean/success"])]
    return {
        f"{name}: clean_success": _outcomes(outcomes["clean/success"]),
        f"{name}: pushed_success": _outcomes(outcomes["pushed/success"]),
        f"{name}: harmed": _outcomes(same & ~outcomes["clean/success"]),
        f"{name}: false_interventions": _outcomes(outcomes["clean/triggered"][same]),
    }


def _grid_figures(run: RecoveryRun, name: str, length: Any, median: float) -> dict[str, Value]:
    """Return the success of a method in the grid, of episodes that last until the perturbation begins.

    Those are episodes that last longer under behaviour cloning without a perturbation. ``"grid mean"`` is the mean over
    conditions and time limits; other means are over the conditions of a part, or within a time limit. ``"grid_steps"``
    is the mean number of steps to a success, if there is any.

    Args:
        run: run whose grid has been played.
        name: name of the method.
        length: length of the clean episodes of behaviour cloning, ``(pairs,)``.
        median: median length of a demonstration.
    """
    import numpy as np

    grid, played, means, figures = run.config.grid, read_outcomes(run, name, grid=True), [], dict[str, Value]()
    limits, needed = sorted(grid.time_limits), []
    for part, names in grid.names.items():
        rates = []
        for condition in names:
            success, steps, onset = (played[f"{condition}/{key}"] for key in ("success", "length", "onset"))
            met = length[: len(success)] > onset
            in_time = within_limits(success, steps, median, limits)[:, met]
            rates.append(in_time.mean(1) if met.any() else np.zeros(len(in_time)))
            figures[condition] = _outcomes(in_time[-1])
            needed.append(steps[met][in_time[-1]])
        figures[part] = float(np.mean(rates))
        means.append(np.mean(rates, axis=0))
    figures["grid_mean"] = float(np.mean(means))
    if (taken := np.concatenate(needed)).size:
        figures["grid_steps"] = float(taken.mean())
    for limit, mean in zip(limits, np.mean(means, axis=0), strict=True):
        figures[limit_name(limit)] = float(mean)
    return {f"{name}: {label}": value for label, value in figures.items()}


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


def _outcomes(values: Any) -> Value:
    """Return outcomes for the records, and zero for no episodes."""
    return tuple(values.tolist()) if len(values) else 0.0
