"""The recovery experiment: its jobs in every seed, and what they measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...representations.learning.config import to_dict
from ..experiments.jobs import Job, chosen_device
from ..experiments.records import MeasuredRun
from .recovery_config import RecoveryExperimentConfig
from .recovery_grid import RecoveryGridConfig
from .recovery_jobs import RecoveryJobs
from .recovery_run import RecoveryRun
from .recovery_statistics import measured_runs


@dataclass(frozen=True)
class RecoveryExperiment:
    """Compare methods that recover from a perturbation, on the same episodes.

    Attributes:
        task: ``"push"`` or ``"pick"``.
        config: configuration of the experiment.
        seeds: the seeds.
        device: device of the simulator.
        grid: whether the grid is played, too.
        ablations: whether the ablations are played, too.

    Raises:
        ValueError: the perturbation lasts longer than an episode.
    """

    task: str
    config: RecoveryExperimentConfig
    seeds: Sequence[int]
    device: str = "cpu"
    grid: bool = True
    ablations: bool = True

    def __post_init__(self) -> None:
        run = self.run(0, Path())
        run.perturbation.require_within(run.episode_steps)

    @property
    def name(self) -> str:
        """Return the name of its result file, without the ending."""
        return f"recovery_{self.task}"

    @property
    def store(self) -> str:
        """Return the name of the folder of its runs."""
        return f"recovery-{self.task}"

    @property
    def configuration(self) -> dict[str, Any]:
        """Return all options that determine the values but the seeds; what else is played changes none of them."""
        return {**to_dict(self.config), "device": chosen_device(self.device)}

    def run(self, seed: int, folder: Path) -> RecoveryRun:
        """Return the run of a seed."""
        return RecoveryRun(self.task, seed, folder / f"seed-{seed}", self.config, self.device)

    def jobs(self, folder: Path) -> list[Job]:
        """Return the jobs of all seeds."""
        parts = [RecoveryJobs(self.run(seed, folder), self.grid, self.ablations) for seed in self.seeds]
        return [job for part in parts for job in part.all()]

    def measured(self, folder: Path) -> list[MeasuredRun]:
        """Return what was measured."""
        return [each for seed in self.seeds for each in measured_runs(self.run(seed, folder))]


def recovery_config(*, quick: bool) -> RecoveryExperimentConfig:
    """Return the configuration of the full experiment, or of one for a single seed on two cores."""
    small = RecoveryExperimentConfig(pairs=50, grid=RecoveryGridConfig(pairs=10))
    return small if quick else RecoveryExperimentConfig()
