"""Jobs of the recovery experiment: data, encoders, densities, policies, trials and measurements of a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..experiments.executors import available_cores
from ..experiments.jobs import Job, JobProgress, Resources
from .recovery_methods.registry import ablation_methods, compared_methods, recovery_method
from .recovery_run import RecoveryRun
from .recovery_statistics import measure_step_time, step_time_file
from .recovery_trials import measure_alignment, measures_file, play_trials, trials_file
from .run_folder import is_complete


@dataclass(frozen=True)
class RecoveryJob:
    """Make one file or folder of a run.

    Attributes:
        title: name in the progress display.
        output: what it makes.
        work: does the work; it is pickled.
        needs: jobs that must be done before.
        resources: what it occupies while it runs.
    """

    title: str
    output: Path
    work: Callable[[JobProgress], None]
    needs: Sequence[Job] = ()
    resources: Resources = Resources()

    @property
    def done(self) -> bool:
        """Return whether the output is there."""
        return is_complete(self.output)

    def run(self, show: JobProgress) -> None:
        """Do the work."""
        self.work(show)


@dataclass(frozen=True)
class RecoveryJobs:
    """Describe what a run makes, and what each part needs.

    Attributes:
        run: run of the experiment.
        grid: whether the grid is played, too.
        ablations: whether the ablations are played, too.
    """

    run: RecoveryRun
    grid: bool = True
    ablations: bool = True

    def all(self) -> list[RecoveryJob]:
        """Return the jobs that measure something; what they need is found from them."""
        names = compared_methods()
        played = [self.play(name) for name in [*names, *(ablation_methods() if self.ablations else [])]]
        perturbed = [self.play(name, grid=True) for name in names] if self.grid else []
        return [*played, *perturbed, self._measure_alignment(), self._measure_step_time()]

    def demonstrations(self) -> RecoveryJob:
        """Return the job that records the demonstrations."""
        return self._job("demonstrations", self.run.folder / "demonstrations", self.run.collect_demonstrations)

    def exploration(self) -> RecoveryJob:
        """Return the job that collects the exploration."""
        return self._job("exploration", self.run.folder / "exploration", self.run.collect_exploration)

    def encoder(self, name: str) -> RecoveryJob:
        """Return the job that trains an encoder."""
        work = partial(self.run.train_encoder, name)
        needs = [self.exploration(), self.demonstrations()]
        return self._job(f"train {name} encoder", self.run.folder / name, work, needs)

    def density(self, encoder: str, family: str) -> RecoveryJob:
        """Return the job that fits a density in the latent of an encoder."""
        work, needs = partial(self.run.fit_density, encoder, family), [self.demonstrations(), self.encoder(encoder)]
        return self._job(f"fit {family} in {encoder}", self.run.density_folder(encoder, family), work, needs)

    def policy(self, name: str) -> RecoveryJob:
        """Return the job that trains a policy without recovery."""
        work = partial(train_policy, self.run, name)
        return self._job(f"train {name}", self.run.folder / name, work, [self.demonstrations()])

    def play(self, name: str, grid: bool = False) -> RecoveryJob:
        """Return the job that plays the trials of a method, or those of the grid.

        The grid comes after the trials, which calibrate the trigger of the method, and draws its random onsets from
        the demonstrations.
        """
        method = recovery_method(name)
        needs = [self.policy(each) for each in method.policies(name)]
        needs += [self.encoder(each) for each in method.encoders]
        needs += [self.density(*each) for each in method.densities]
        needs += [self.play(name), self.demonstrations()] if grid else []
        work = partial(play_trials, self.run, name, grid)
        return self._job(f"play {name}{', grid' * grid}", trials_file(self.run, name, grid), work, needs)

    def _measure_alignment(self) -> RecoveryJob:
        needs = [self.play(name) for name in compared_methods() if recovery_method(name).has_recovery]
        return self._job("measure", measures_file(self.run), partial(measure_alignment, self.run), needs)

    def _measure_step_time(self) -> RecoveryJob:
        """Return the job that times a step; nothing runs beside it on this machine."""
        needs = [self.play(name) for name in compared_methods()]
        work, alone = partial(measure_step_time, self.run), Resources(available_cores())
        return self._job("time a step", step_time_file(self.run), work, needs, alone)

    def _job(
        self,
        what: str,
        output: Path,
        work: Callable[[JobProgress], None],
        needs: Sequence[Job] = (),
        resources: Resources | None = None,
    ) -> RecoveryJob:
        title = f"{self.run.task} {self.run.seed}: {what}"
        return RecoveryJob(title, output, work, needs, resources or Resources.on(self.run.device))


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
