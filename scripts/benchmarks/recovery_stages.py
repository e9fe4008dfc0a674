"""Jobs of the recovery experiment, in stages that build on each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .job_runner import JobProgress
from .recovery_methods.registry import ablation_methods, compared_methods, recovery_method
from .recovery_run import RecoveryRun
from .recovery_trials import measure_alignment, measures_file, play_trials, trials_file
from .run_folder import is_complete


@dataclass(frozen=True)
class RecoveryJob:
    """Make one file or folder of a run.

    Attributes:
        title: name in the progress display.
        work: called with the arguments and a `JobProgress`.
        arguments: arguments of the work.
        output: what it makes.
    """

    title: str
    work: Callable[..., None]
    arguments: tuple[Any, ...]
    output: Path

    @property
    def done(self) -> bool:
        """Return whether the output is there."""
        return is_complete(self.output)

    def run(self, show: JobProgress) -> None:
        """Do the work."""
        self.work(*self.arguments, show)


def recovery_stages(run: RecoveryRun, *, sweep: bool, ablations: bool) -> list[list[RecoveryJob]]:
    """Return all jobs of a run, in stages that build on those before.

    Args:
        run: run of the experiment.
        sweep: whether the sweep is played, too.
        ablations: whether the ablations are played, too.
    """
    names, more = compared_methods(), ablation_methods() if ablations else []
    methods = [recovery_method(name) for name in [*names, *more]]
    encoders = list(dict.fromkeys(encoder for each in methods for encoder in each.encoders))
    densities = list(dict.fromkeys(density for each in methods for density in each.densities))
    return [
        [
            _job(run, "demonstrations", run.folder / "demonstrations", run.collect_demonstrations),
            _job(run, "exploration", run.folder / "exploration", run.collect_exploration),
        ],
        [_train(run, name) for name in names if recovery_method(name).is_trained]
        + [_job(run, f"train {name} encoder", run.folder / name, run.train_encoder, name) for name in encoders],
        [_fit(run, encoder, family) for encoder, family in densities],
        [_play(run, name) for name in names],
        [_job(run, "measure", measures_file(run), measure_alignment, run)],
        [_play(run, name, sweep=True) for name in names] if sweep else [],
        [_play(run, name) for name in more],
    ]


def train_policy(run: RecoveryRun, name: str, show: JobProgress) -> None:
    """Train the policy of a method without recovery, and save it.

    Args:
        run: run of the experiment.
        name: name of the method.
        show: shows the progress.
    """
    from ...representations.learning.checkpoints import check_checkpoint, remove_checkpoint

    rounds = range(run.config.dagger.rounds + 1)
    names = [run.checkpoint(name).name, *(f"{run.checkpoint(name).name}-{round_}" for round_ in rounds)]
    checkpoints = [check_checkpoint(run.folder / each) for each in names]
    recovery_method(name).train(name, run, show)
    for checkpoint in checkpoints:
        remove_checkpoint(checkpoint)


def _job(run: RecoveryRun, what: str, output: Path, work: Callable[..., None], *arguments: Any) -> RecoveryJob:
    return RecoveryJob(f"{run.task} {run.seed}: {what}", work, arguments, output)


def _train(run: RecoveryRun, name: str) -> RecoveryJob:
    return _job(run, f"train {name}", run.folder / name, train_policy, run, name)


def _fit(run: RecoveryRun, encoder: str, family: str) -> RecoveryJob:
    folder = run.density_folder(encoder, family)
    return _job(run, f"fit {family} in {encoder}", folder, run.fit_density, encoder, family)


def _play(run: RecoveryRun, name: str, sweep: bool = False) -> RecoveryJob:
    what = f"play {name}{', sweep' if sweep else ''}"
    return _job(run, what, trials_file(run, name, sweep), play_trials, run, name, sweep)
