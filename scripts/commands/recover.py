"""The command ``equiact recover``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import tyro

from ..benchmarks.recovery_experiment import RecoveryExperiment, recovery_config
from ..experiments.experiment import Places
from ..experiments.provenance import REPORTED_SEED
from ..progress import console
from .config_options import preview, preview_flag, read_yaml, with_defaults
from .registry import register_command
from .runner_options import RunnerCommand

if TYPE_CHECKING:
    from ..benchmarks.recovery_config import RecoveryExperimentConfig
    from ..experiments.records import Records


@register_command("recover")
@dataclass(frozen=True)
class Recover(RunnerCommand):
    """Run the recovery experiment: clone an expert, perturb the arm in mid-episode, and compare methods that recover.

    Trains and plays on all cores. Writes recovery_TASK.jsonl, and a picture, to RESULTS_DIR; those of a quick
    experiment to OUTPUT_DIR/results. Everything else, with report.html and a film, goes to a folder in OUTPUT_DIR that
    belongs to the configuration and the version of the code. Run the same command again to resume.

    The options after --output-dir are the configuration of the experiment.
    """

    resumes = True
    config: Path | None = None
    """YAML file with values of options, such as `pairs: 100` or `policy: {optim: {lr: 1e-3}}`. Options on the command
    line take precedence."""
    task: Literal["push", "pick"] = "push"
    """Task: push a puck onto a goal, or pick up a peg and place it there."""
    quick: bool = False
    """Run one seed with 50 pairs, and 10 in each condition of the grid, without ablations."""
    play_grid: bool = True
    """Play the grid of perturbations, too, which is most of the work."""
    ablation: bool = True
    """Run the ablations, too, unless it is quick."""
    num_seeds: int = 5
    """Number of seeds of the full experiment, from 2000 (and --seed more) on."""
    output_dir: Path = Path("runs/recover")
    """Folder of everything that is made."""
    hyperparameters: tyro.conf.Suppress[Any] = None
    """Configuration of the experiment; the default if None."""

    @classmethod
    def default_config(cls, arguments: Sequence[str]) -> RecoveryExperimentConfig:
        return recovery_config(quick=False)

    @classmethod
    def for_arguments(cls, arguments: Sequence[str]) -> type[Self]:
        path = preview(arguments, "config")["config"]
        values = {} if path is None else read_yaml(path)
        quick = preview_flag(arguments, "quick", default=values.get("quick") is True)
        return with_defaults(cls, values, config=recovery_config(quick=quick), source=path or "the command line")

    @property
    def experiment(self) -> RecoveryExperiment:
        """Return the experiment, with its seeds."""
        config: RecoveryExperimentConfig = self.hyperparameters or recovery_config(quick=self.quick)
        seeds = [self.seed] if self.quick else [REPORTED_SEED + self.seed + index for index in range(self.num_seeds)]
        return RecoveryExperiment(
            self.task, config, seeds, self.device, self.play_grid, self.ablation and not self.quick
        )

    @property
    def places(self) -> Places:
        """Return where the experiment reads and writes; records of a quick one stay in the output folder."""
        return Places(self.output_dir / "results" if self.quick else self.results_dir, self.output_dir)

    def run(self) -> dict[str, Any]:
        from ...envs.storage.artifacts import check_output_file
        from ..experiments.summaries import means

        self.require_at_least(num_seeds=1)
        _report_missing_methods()
        experiment, places = self.experiment, self.places
        picture = check_output_file(places.result_file(experiment).with_suffix(".png"))
        folder = places.folder(experiment)  # before the work: the code may be edited meanwhile
        (records,) = self.measure([experiment], places)
        self._report(experiment, folder, records, picture)
        return means(records)

    def _report(self, experiment: RecoveryExperiment, folder: Path, records: Records, picture: Path) -> None:
        """Write the report with its film, and a picture of the film beside the records."""
        from ...envs.storage.file_access import write_atomically
        from ..reports.recovery_report import write_recovery_report

        runs = [experiment.run(seed, folder) for seed in experiment.seeds]
        page = write_recovery_report(folder, records, runs)
        write_atomically(picture, (folder / "film.png").read_bytes())
        console.print(f"\nEverything is in [bold]{folder}[/bold]; open [bold]{page}[/bold]")


def _report_missing_methods() -> None:
    from ..benchmarks.recovery_methods.registry import RECOVERY_METHODS

    for name, make in RECOVERY_METHODS.items():
        if not make().is_available:
            console.print(f"{name} is left out: it needs packages of an extra, see `equiact doctor`.", markup=False)
