"""Trials of the recovery experiment, and measurements on held-out demonstrations."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...envs.storage.artifacts import read_npz, write_json, write_npz
from ..collect_and_train import HELD_OUT_SEED
from ..experiments.jobs import JobProgress
from .recovery_config import RecoveryExperimentConfig
from .recovery_methods.density_recovery import density_recovery
from .recovery_methods.registry import PROPOSED_METHOD, recovery_method
from .recovery_run import RecoveryRun

if TYPE_CHECKING:
    from ...envs.wrappers.task_perturbation import TaskPerturbation

Conditions = dict[str, tuple[int, "TaskPerturbation | None"]]
"""The number of pairs and the perturbation of each condition, by name."""

OUTCOMES = ("success", "length", "onset", "receipt", "triggered", "recovery_steps")
"""Quantities of `paired_evaluation.Trial` that are kept."""


def main_conditions(config: RecoveryExperimentConfig, is_ablation: bool = False) -> Conditions:
    """Return the conditions of the main comparison: clean and perturbed episodes.

    Args:
        config: configuration of the experiment.
        is_ablation: whether the method is an ablation, which has fewer pairs.
    """
    from ...envs.wrappers.task_perturbation import TaskPerturbation

    pairs = min(config.pairs, config.ablation_pairs) if is_ablation else config.pairs
    return {"clean": (pairs, None), "pushed": (pairs, TaskPerturbation(config.magnitude, onset=config.onset))}


def grid_conditions(run: RecoveryRun) -> Conditions:
    """Return the conditions of the grid.

    Args:
        run: run whose demonstrations have been recorded.
    """
    grid = run.config.grid
    found = grid.conditions(random_onsets(run, grid.pairs), run.world_cls.group.dim)
    return {name: (grid.pairs, perturbation) for name, perturbation in found.items()}


def grid_steps(run: RecoveryRun) -> int:
    """Return the number of steps of an episode of the grid: the longest time limit, and more if a perturbation is late.

    Args:
        run: run whose demonstrations have been recorded.
    """
    longest = math.ceil(max(run.config.grid.time_limits) * run.median_length())
    return max(longest, max(each.end for _, each in grid_conditions(run).values() if each) + 1)


def random_onsets(run: RecoveryRun, pairs: int) -> tuple[int, ...]:
    """Return an onset for each pair, which the seed of the run determines: the same for every method and magnitude.

    Each is the number of a step in its episode, drawn uniformly from all steps of the demonstrations. So onsets are
    spread over the whole length of a clean episode.

    Args:
        run: run whose demonstrations have been recorded.
        pairs: number of pairs.
    """
    import numpy as np

    from ...envs.data.seeds import stream_seed

    generator = np.random.default_rng(stream_seed(run.seed, "onsets of perturbations"))
    return tuple(generator.choice(run.demonstrated_steps(), pairs).tolist())


def play_trials(run: RecoveryRun, name: str, grid: bool, show: JobProgress) -> None:
    """Play the trials of a method in all conditions, and write the outcomes to `trials_file`.

    Args:
        run: run of the experiment.
        name: name of the method.
        grid: whether to play the grid instead of the clean and the dragged episodes.
        show: shows the progress.
    """
    from ...agents.evaluation.paired_evaluation import run_trial

    method = recovery_method(name)
    steps = grid_steps(run) if grid else run.episode_steps
    conditions = grid_conditions(run) if grid else main_conditions(run.config, method.is_ablation)
    outcomes: dict[str, Any] = {}
    for index, (condition, (pairs, perturbation)) in enumerate(conditions.items()):

        def on_step(step: int, index: int = index, condition: str = condition) -> None:
            show(index * steps + step, len(conditions) * steps, "steps", condition)

        world = run.started_world(pairs, HELD_OUT_SEED, steps)
        policy, start = method.policy_in(world, name, run), world.save()
        trial = run_trial(world, start, policy, perturbation, seed=run.perturbation_seed, on_step=on_step)
        outcomes |= {f"{condition}/{key}": getattr(trial, key) for key in OUTCOMES}
    write_npz(trials_file(run, name, grid), outcomes)


def trials_file(run: RecoveryRun, name: str, grid: bool = False) -> Path:
    """Return the file of the outcomes of a method."""
    return run.folder / ("grid" if grid else "trials") / f"{name}.npz"


def read_outcomes(run: RecoveryRun, name: str, grid: bool = False) -> dict[str, Any]:
    """Return the outcomes of a method: ``"condition/quantity"`` to arrays over pairs."""
    return read_npz(trials_file(run, name, grid))


def measures_file(run: RecoveryRun) -> Path:
    """Return the file that `measure_alignment` writes."""
    return run.folder / "measures.json"


def measure_alignment(run: RecoveryRun, show: JobProgress) -> None:
    """Measure the encoder's error and the direction of the density gradients on held-out demonstrations.

    Args:
        run: run of the experiment.
        show: shows the progress.
    """
    import numpy as np

    from ...agents.policies.demonstrations import density_conditions
    from ...representations.metrics.density_gradient_metrics import displaced, score_alignment

    held_out = run.demonstrate(run.config.alignment_episodes, offset=3 * HELD_OUT_SEED, show=show)
    first, episode, commands = density_conditions(held_out, run.world_cls.group.dim)
    latent = run.encoder("equivariant").encode(held_out.observations)["agent"]
    true = held_out.ground_truth["agent_pose"][held_out.start]
    shift = (latent - true).mean(0)
    figures = {"encoder_rmse_m": float(np.sqrt(np.square(latent - true - shift).sum(1).mean()))}
    for distance in run.config.alignment_distances:
        away = displaced(latent, distance, run.world_cls.reach + shift, np.random.default_rng(run.seed))
        for name in (PROPOSED_METHOD, "recovery as published"):
            cosine = score_alignment(
                density_recovery(name).trained_density(run), latent, away, first, episode, commands
            )
            figures[f"{name}: cosine_{round(100 * distance)}cm"] = cosine
    write_json(measures_file(run), figures)
