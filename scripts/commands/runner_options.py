"""Options of commands that run experiments, on this machine or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .command import Command

if TYPE_CHECKING:
    from ..experiments.experiment import Experiment, Places
    from ..experiments.records import Records


@dataclass(frozen=True)
class RunnerCommand(Command):
    """Options of a command that runs experiments."""

    runner: Literal["local", "ray"] = "local"
    """Where to run: in processes of this machine, or on a Ray cluster, whose nodes share the work folder."""
    address: str | None = None
    """Address of the Ray cluster, such as auto or ray://head:10001; a cluster on this machine if None."""
    results_dir: Path = Path("results")
    """Folder of the result files."""

    def measure(self, experiments: Sequence[Experiment], places: Places) -> list[Records]:
        """Run experiments where the options say, and return the records of each."""
        from ..experiments.executors import make_executor
        from ..experiments.experiment import run_experiments

        return run_experiments(experiments, places, lambda: make_executor(self.runner, self.address))

    def measured_means(self, experiments: Sequence[Experiment], work_dir: Path) -> dict[str, Any]:
        """Run experiments, and return the mean of every figure; of several, by the name of the result file."""
        from ..experiments.experiment import Places
        from ..experiments.summaries import means

        records = self.measure(experiments, Places(self.results_dir, work_dir))
        if len(records) == 1:
            return means(records[0])
        return {each.name: means(found) for each, found in zip(experiments, records, strict=True)}
