"""Trials of the recovery experiment, and measurements on held-out demonstrations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...envs.storage.artifacts import read_npz, write_json, write_npz
from ..collect_and_train import HELD_OUT_SEED
from ..experiments.jobs import JobProgress
from .recovery_config import Onset, RecoveryExperimentConfig, condition_name
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

    pairs = min(config.pairs, config.sweep_pairs) if is_ablation else config.pairs
    return {"clean": (pairs, None), "pushed": (pairs, TaskPerturbation(config.magnitude, onset=config.onset))}


def sweep_conditions(run: RecoveryRun) -> Conditions:
    """Return the conditions of the sweep over magnitudes and onsets.

    Args:
        run: run whose demonstrations have been recorded.
    """
    from ...envs.wrappers.task_perturbation import TaskPerturbation

    config = run.config
    pairs = min(config.pairs, config.sweep_pairs)
    onsets: dict[Onset, tuple[int, ...]] = {onset: (onset,) * pairs for onset in config.fixed_onsets}
    onsets["random"] = random_onsets(run, pairs)
    return {
        condition_name(magnitude, onset): (pairs, TaskPerturbation(magnitude, onsets=onsets[onset]))
        for onset in config.onsets
        for magnitude in config.sweep_magnitudes
    }


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


def play_trials(run: RecoveryRun, name: str, sweep: bool, show: JobProgress) -> None:
    """Play the trials of a method in all conditions, and write the outcomes to `trials_file`.

    Args:
        run: run of the experiment.
        name: name of the method.
        sweep: whether to play the sweep instead of the main comparison.
        show: shows the progress.
    """
    from ...agents.evaluation.paired_evaluation import run_trial

    policy, steps = recovery_method(name).policy(name, run), run.episode_steps
    ablation = recovery_method(name).is_ablation
    conditions = sweep_conditions(run) if sweep else main_conditions(run.config, ablation)
    outcomes: dict[str, Any] = {}
    for index, (condition, (pairs, perturbation)) in enumerate(conditions.items()):

        def on_step(step: int, index: int = index, condition: str = condition) -> None:
            show(index * steps + step, len(conditions) * steps, "steps", condition)

        world = run.started_world(pairs, HELD_OUT_SEED)
        trial = run_trial(world, world.save(), policy, perturbation, seed=run.perturbation_seed, on_step=on_step)
        outcomes |= {f"{condition}/{key}": getattr(trial, key) for key in OUTCOMES}
    write_npz(trials_file(run, name, sweep), outcomes)


def trials_file(run: RecoveryRun, name: str, sweep: bool = False) -> Path:
    """Return the file of the outcomes of a method."""
    return run.folder / ("sweep" if sweep else "trials") / f"{name}.npz"


def read_outcomes(run: RecoveryRun, name: str, sweep: bool = False) -> dict[str, Any]:
    """Return the outcomes of a method: ``"condition/quantity"`` to arrays over pairs."""
    return read_npz(trials_file(run, name, sweep))


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
