"""Figures of the recovery experiment: rates over the pairs of a seed, their intervals, and the time of a step."""

from __future__ import annotations

import time
from typing import Any

from ...envs.storage.artifacts import read_json
from ..collect_and_train import HELD_OUT_SEED
from .recovery_config import RecoveryExperimentConfig, condition_name
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

CLAIM = "settings.json"
"""File in the folder of a seed with the settings of the experiment, and the commit that began it."""


def aggregate(run: RecoveryRun) -> dict[str, Any]:
    """Return the figures of a seed, and the commit that began it.

    Figures without a name are of the proposed method against the base policy; ``"name: figure"`` are of a method.
    An episode is harmed if the base policy succeeds and the method fails. A false intervention is an episode in which
    the base policy succeeds without a perturbation, and recovery acts.

    Args:
        run: run whose trials have been played.
    """
    names = [*compared_methods(), *ablation_methods()]
    played = {name: read_outcomes(run, name) for name in names if trials_file(run, name).exists()}
    result = _headline(run, played[BASE_POLICY], played[PROPOSED_METHOD])
    clean = played[BASE_POLICY]["clean/success"]
    for name, outcomes in played.items():
        result |= _rates(name, outcomes, clean)
    swept = [name for name in compared_methods() if trials_file(run, name, sweep=True).exists()]
    if len(swept) == len(compared_methods()):
        for name in swept:
            result |= _sweep_figures(run, name, played[BASE_POLICY]["clean/length"])
    figures = {label: float(value) for label, value in result.items()} | read_json(measures_file(run))
    return {"commit": read_json(run.folder / CLAIM)["commit"], "figures": figures}


def _headline(run: RecoveryRun, base: dict[str, Any], proposed: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of the proposed method against the base policy."""
    import numpy as np

    from ...agents.evaluation.statistics import mcnemar

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
        "mcnemar_p": mcnemar(pushed, recovered),
        "pairs": run.config.pairs,
        "push_receipt_mean": base["pushed/receipt"].mean(),
        "recovery_steps_median": np.median(np.minimum(steps, left)) if len(steps) else 0.0,
    }


def _rates(name: str, outcomes: dict[str, Any], clean: Any) -> dict[str, Any]:
    """Return the rates of a method; ``clean`` is the success of the base policy without perturbation."""
    same = clean[: len(outcomes["clean/success"])]
    return {
        f"{name}: clean_success": outcomes["clean/success"].mean(),
        f"{name}: pushed_success": outcomes["pushed/success"].mean(),
        f"{name}: harmed": (same & ~outcomes["clean/success"]).mean(),
        f"{name}: false_interventions": _mean(outcomes["clean/triggered"][same]),
    }


def _sweep_figures(run: RecoveryRun, name: str, length: Any) -> dict[str, float]:
    """Return the success of a method in every condition, over episodes that lasted until the perturbation began."""
    import numpy as np

    outcomes, result = read_outcomes(run, name, sweep=True), {}
    for onset in run.config.onsets:
        for magnitude in run.config.sweep_magnitudes:
            condition = condition_name(magnitude, onset)
            success = outcomes[f"{condition}/success"]
            result[condition] = _mean(success[length[: len(success)] > onset])
    mean = float(np.mean(list(result.values())))
    return {f"{name}: sweep_mean": mean} | {f"{name}: {label}": value for label, value in result.items()}


def add_wilson_intervals(figures: dict[str, Any], config: RecoveryExperimentConfig, clean: Any) -> None:
    """Give the rates of a single seed, over which nothing can be resampled, their Wilson intervals at 95 %.

    False interventions are counted in episodes in which the base policy succeeds without a perturbation, the other
    rates in all pairs.

    Args:
        figures: figures of a result file, which are changed.
        config: configuration of the experiment.
        clean: success of the base policy without perturbation, ``(pairs,)``.
    """
    from ...agents.evaluation.statistics import wilson_interval

    ablations = set(ablation_methods())
    for label, each in figures.items():
        row, _, quantity = label.rpartition(": ")
        if quantity.endswith(RATES):
            pairs = main_conditions(config, row in ablations)["clean"][0]
            counted = int(clean[:pairs].sum()) if quantity == "false_interventions" else pairs
            each["interval"] = list(wilson_interval(round(each["mean"] * counted), counted)) if counted else [0.0, 1.0]


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
