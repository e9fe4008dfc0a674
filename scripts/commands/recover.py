"""The command ``equiact recover``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import tyro

from ..benchmarks.job_runner import RunJobs, run_jobs
from ..benchmarks.result_files import FIRST_SEED, commit, over_seeds, summarize
from ..benchmarks.run_folder import claim_folder, has_keys
from ..progress import console, progress_bar
from .command import Command
from .config_options import preview, preview_flag, read_yaml, with_defaults
from .registry import register_command

if TYPE_CHECKING:
    from ..benchmarks.recovery_config import RecoveryExperimentConfig
    from ..benchmarks.recovery_run import RecoveryRun

RUN_FILES = ("film.mp4", "film.png", "report.html", "summary.json")
"""Files in the folder of a task, beside the folders of the seeds."""


@register_command("recover")
@dataclass(frozen=True)
class Recover(Command):
    """Run the recovery experiment: clone an expert, perturb the arm in mid-episode, and compare methods that recover.

    Trains and plays on all cores. Writes summary.json, report.html and a film to OUTPUT_DIR/TASK. The full experiment
    also writes recovery_TASK.json and recovery_TASK.png to RESULTS_DIR. Run the same command again to resume.

    The options after --results-dir are the configuration of the experiment.
    """

    resumes = True
    config: Path | None = None
    """YAML file with values of options, such as `pairs: 100` or `policy: {optim: {lr: 1e-3}}`. Options on the command
    line take precedence."""
    task: Literal["push", "pick"] = "push"
    """Task: push a puck onto a goal, or pick up a peg and place it there."""
    quick: bool = False
    """Run one seed with 50 pairs and one onset, without ablations, instead of the full experiment."""
    sweep: bool = True
    """Sweep over magnitudes and onsets of the perturbation, too; this doubles the work."""
    ablation: bool = True
    """Run the ablations, too, unless it is quick."""
    num_seeds: int = 5
    """Number of seeds of the full experiment, from 100 (and --seed more) on."""
    output_dir: Path = Path("runs/recover")
    """Folder of everything that is made."""
    results_dir: Path = Path("results")
    """Folder of the result files of the full experiment."""
    hyperparameters: tyro.conf.Suppress[Any] = None
    """Configuration of the experiment; the default if None."""

    @classmethod
    def default_config(cls, arguments: Sequence[str]) -> RecoveryExperimentConfig:
        return experiment_config(quick=False)

    @classmethod
    def for_arguments(cls, arguments: Sequence[str]) -> type[Self]:
        path = preview(arguments, "config")["config"]
        values = {} if path is None else read_yaml(path)
        quick = preview_flag(arguments, "quick", default=values.get("quick") is True)
        return with_defaults(cls, values, config=experiment_config(quick=quick), source=path or "the command line")

    @property
    def experiment(self) -> RecoveryExperimentConfig:
        """Configuration of the experiment."""
        config: RecoveryExperimentConfig = self.hyperparameters or experiment_config(quick=self.quick)
        return config

    @property
    def folder(self) -> Path:
        """Folder of the task."""
        return self.output_dir / self.task

    def run(self, run_jobs: RunJobs = run_jobs) -> dict[str, Any]:
        from ...envs.storage.artifacts import check_output_file, folder_lock

        self.require_at_least(num_seeds=1)
        _report_missing_methods()
        numbers = [self.seed] if self.quick else [FIRST_SEED + self.seed + index for index in range(self.num_seeds)]
        if not self.quick:
            for suffix in (".json", ".png"):
                check_output_file(self._result_file(suffix))
        self._check_folder()
        runs = [self.prepare(number) for number in numbers]
        with folder_lock(self.folder):
            self._run_stages(runs, run_jobs)
            return self._report(runs, numbers)

    def prepare(self, number: int) -> RecoveryRun:
        """Claim the folder of a seed, and return its run.

        Raises:
            ValueError: the folder holds a run with another configuration.
            ArtifactError: it holds other things, or cannot be written to.
        """
        from ...representations.learning.config import to_dict
        from ..benchmarks.recovery_run import RecoveryRun
        from ..benchmarks.recovery_statistics import CLAIM

        folder = self.folder / f"seed-{number}"
        run = RecoveryRun(self.task, number, folder, self.experiment, self.device)
        run.perturbation.require_within(run.episode_steps)
        claim_folder(folder, CLAIM, to_dict(self.experiment), commit=commit())
        return run

    def _check_folder(self) -> None:
        from ...envs.storage.output_paths import check_folder

        reported = has_keys(self.folder / "summary.json", "command", "seeds")

        def is_ours(path: Path) -> bool:
            if path.name.startswith(("seed-", ".seed-")):  # `claim_folder` checks what is in them
                return True
            return reported and path.name in RUN_FILES

        check_folder(self.folder, "recovery experiment", is_ours)

    def _result_file(self, suffix: str) -> Path:
        return self.results_dir / f"recovery_{self.task}{suffix}"

    def _run_stages(self, runs: list[RecoveryRun], run_jobs: RunJobs) -> None:
        """Do all jobs of all seeds that are not done, stage by stage."""
        from ..benchmarks.recovery_stages import recovery_stages

        ablations = self.ablation and not self.quick
        stages = [recovery_stages(run, sweep=self.sweep, ablations=ablations) for run in runs]
        for stage in zip_longest(*stages, fillvalue=()):
            jobs = [job for part in stage for job in part]
            run_jobs([job for job in jobs if not job.done], of=len(jobs))

    def _report(self, runs: list[RecoveryRun], numbers: list[int]) -> dict[str, Any]:
        """Write the summary, the report and the results, and return the mean of every figure."""
        from ...envs.storage.artifacts import write_json
        from ...envs.storage.file_access import write_atomically
        from ..reports.recovery_report import write_recovery_report

        result = self._result(runs, numbers)
        summary = {label: figure["mean"] for label, figure in result["figures"].items()}
        write_json(self.folder / "summary.json", {**summary, **{k: v for k, v in result.items() if k != "figures"}})
        if not self.quick:
            write_json(self._result_file(".json"), result)
        page = write_recovery_report(self.folder, result, runs)
        if not self.quick:
            write_atomically(self._result_file(".png"), (self.folder / "film.png").read_bytes())
        console.print(f"\nEverything is in [bold]{self.folder}[/bold]; open [bold]{page}[/bold]")
        return summary

    def _result(self, runs: list[RecoveryRun], numbers: list[int]) -> dict[str, Any]:
        """Return the content of the result file."""
        from ..benchmarks.recovery_methods.registry import BASE_POLICY
        from ..benchmarks.recovery_statistics import add_wilson_intervals, aggregate, step_milliseconds
        from ..benchmarks.recovery_trials import read_outcomes

        result = over_seeds([aggregate(run) for run in runs], numbers)
        if result["commit"] != commit():
            result["commit"] += f", completed at {commit()}"
        if len(runs) == 1:
            clean = read_outcomes(runs[0], BASE_POLICY)["clean/success"]
            add_wilson_intervals(result["figures"], self.experiment, clean)
        timed: list[float] = []
        with progress_bar("Timing a step", len(runs), "seeds") as update:
            for run in runs:
                timed.append(step_milliseconds(run))
                update(len(timed))
        result["figures"]["recovery_ms_per_step"] = summarize(timed)
        return result


def experiment_config(quick: bool) -> RecoveryExperimentConfig:
    """Return the default configuration of the full or of the quick experiment."""
    from ..benchmarks.recovery_config import RecoveryExperimentConfig

    return RecoveryExperimentConfig(pairs=50, sweep_onsets=()) if quick else RecoveryExperimentConfig()


def _report_missing_methods() -> None:
    from ..benchmarks.recovery_methods.registry import RECOVERY_METHODS

    for name, make in RECOVERY_METHODS.items():
        if not make().is_available:
            console.print(f"{name} is left out: it needs packages of an extra, see `equiact doctor`.", markup=False)
