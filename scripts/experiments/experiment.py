"""Experiments: a description of the runs of a benchmark, and the function that executes them and writes the records."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ...envs.storage.artifacts import check_output_file, folder_lock, read_json, write_json
from ...envs.storage.output_paths import check_folder
from .executors import JobExecutor, LocalExecutor
from .jobs import Job, JobProgress, Resources
from .provenance import code_version, command_line, content_key, machine, without_places
from .records import MeasuredRun, Provenance, Records, Value, publish
from .scheduler import RunJobs, run_jobs

Values = Mapping[str, Value]
"""Values by metric; or by ``"row: metric"``, for a job that measures several rows of a table."""


@dataclass(frozen=True)
class MeasureJob:
    """Measure one run, and keep its values.

    Attributes:
        title: name in the progress display.
        output: JSON file of the values.
        measure: returns the values by metric; it is pickled, so it is a function of a module or a partial one.
        task: what is to be done, such as the name of an environment; for values by row, the part before the row.
        method: what does it; empty if there is one method only.
        seed: seed of the run.
        needs: jobs that must be done before.
        resources: what it occupies while it runs.
    """

    title: str
    output: Path
    measure: Callable[[JobProgress], Values]
    task: str
    method: str
    seed: int
    needs: Sequence[Job] = ()
    resources: Resources = Resources()

    @property
    def done(self) -> bool:
        """Return whether the values are there."""
        return self.output.exists()

    def run(self, show: JobProgress) -> None:
        """Measure, and write the values.

        Raises:
            ValueError: there are no values, or one is neither a finite number nor a text nor outcomes.
        """
        began = time.monotonic()
        values = dict(self.measure(show))
        if not values:
            raise ValueError(f"expected values by metric from the job {self.title!r}, got none")
        MeasuredRun(self.task, self.method, self.seed, values)  # checks them
        write_json(self.output, {"values": values, "seconds": time.monotonic() - began})

    def measured(self) -> list[MeasuredRun]:
        """Return the values of a job that is done, a run for each row."""
        found = read_json(self.output)
        values = {label: tuple(value) if isinstance(value, list) else value for label, value in found["values"].items()}
        return [
            replace(run, task=", ".join(filter(None, (self.task, run.task))), method=self.method)
            for run in MeasuredRun.from_labels(self.seed, values, seconds=found["seconds"])
        ]


class Experiment(Protocol):
    """Describe a grid of runs: task × method × seed, in one configuration."""

    @property
    def name(self) -> str:
        """Return the name of its result file, without the ending."""

    @property
    def store(self) -> str:
        """Return the name of the folder of its runs, which experiments with common jobs share; by default `name`."""

    @property
    def configuration(self) -> Mapping[str, Any]:
        """Return all options that determine the values but the seeds, as JSON types."""

    @property
    def seeds(self) -> Sequence[int]:
        """Return the seeds of the runs."""

    def jobs(self, folder: Path) -> Sequence[Job]:
        """Return the jobs that measure the runs; what they need is found from them.

        Args:
            folder: folder of this configuration and code, where they write.
        """

    def measured(self, folder: Path) -> Sequence[MeasuredRun]:
        """Return what was measured, once all jobs are done."""


@dataclass(frozen=True)
class Grid:
    """Describe an experiment of which every run is one `MeasureJob`.

    Attributes:
        name: name of its result file, without the ending.
        configuration: all options that determine the values but the seeds, as JSON types.
        seeds: seeds of the runs.
        make_jobs: returns the jobs in a folder.
        store: name of the folder of its runs, which experiments with common jobs share; by default its own name.
    """

    name: str
    configuration: Mapping[str, Any]
    seeds: Sequence[int]
    make_jobs: Callable[[Path], Sequence[MeasureJob]]
    store: str = ""

    def jobs(self, folder: Path) -> Sequence[MeasureJob]:
        """Return the jobs in a folder."""
        return self.make_jobs(folder)

    def measured(self, folder: Path) -> list[MeasuredRun]:
        """Return what the jobs measured."""
        return [run for job in self.make_jobs(folder) for run in job.measured()]


@dataclass(frozen=True)
class Places:
    """Set where experiments read and write.

    Attributes:
        results: folder of the result files.
        work_dir: folder of data sets, encoders, policies and values of single runs.
    """

    results: Path = Path("results")
    work_dir: Path = Path("runs/benchmark")

    def result_file(self, experiment: Experiment) -> Path:
        """Return the file of the records of an experiment."""
        return self.results / f"{experiment.name}.jsonl"

    def folder(self, experiment: Experiment) -> Path:
        """Return the folder of an experiment, which no other configuration or version of the code shares."""
        key = content_key({"configuration": dict(experiment.configuration), "code": code_version()})
        return self.work_dir / (experiment.store or experiment.name) / key


def run_experiments(
    experiments: Sequence[Experiment],
    places: Places = Places(),
    make_executor: Callable[[], JobExecutor] = LocalExecutor,
    run: RunJobs = run_jobs,
) -> list[Records]:
    """Do all jobs of experiments that are not done, side by side, and write a file of records for each.

    The same command again resumes. What the same code measured in the same configuration is never measured twice.

    Args:
        experiments: the experiments.
        places: where to read and write.
        make_executor: returns what runs jobs; processes of this machine by default.
        run: runs jobs with such a function, as `run_jobs` does.

    Returns:
        The records of each experiment.

    Raises:
        RuntimeError: jobs failed.
        ValueError: a result file holds more seeds of another commit or configuration.
        ArtifactError: a file cannot be written, or another process works in a folder.
    """
    folders = [_checked(places.folder(each)) for each in experiments]
    files = [check_output_file(places.result_file(each)) for each in experiments]
    sources = [source_of(each) for each in experiments]  # before the work: the code may be edited meanwhile
    with folder_lock(places.work_dir):
        for experiment, folder in zip(experiments, folders, strict=True):
            described = {"configuration": dict(experiment.configuration), "code": code_version()}
            write_json(folder / "experiment.json", described)
        run(
            [job for each, folder in zip(experiments, folders, strict=True) for job in each.jobs(folder)], make_executor
        )
        return [
            publish(file, experiment.measured(folder), source)
            for experiment, folder, file, source in zip(experiments, folders, files, sources, strict=True)
        ]


def _checked(folder: Path) -> Path:
    """Return the folder of an experiment, and check that it is new or one that `run_experiments` made.

    Raises:
        ArtifactError: it holds things of others, or cannot be written to.
    """
    is_ours = (folder / "experiment.json").is_file()
    return check_folder(folder, "experiment", lambda path: is_ours)


def source_of(experiment: Experiment) -> Provenance:
    """Return where the records of an experiment come from."""
    here = {name: value for name, value in machine().items() if name != "threads"}  # jobs declare theirs
    return Provenance(without_places(command_line()), code_version(), here, dict(experiment.configuration))
