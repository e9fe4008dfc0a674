"""Describe the work of an experiment: jobs, what they need, and how they show their progress."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Resources:
    """Declare what a job occupies while it runs.

    The number of threads changes the last digits of what is trained. It therefore belongs to the job, and does not
    depend on the machine or on what runs beside the job.

    Attributes:
        threads: number of threads on the CPU.
        gpus: number of GPUs.

    Raises:
        ValueError: a number is out of range.
    """

    threads: int = 1
    gpus: int = 0

    @classmethod
    def on(cls, device: str, threads: int = 1) -> Resources:
        """Return the resources of a job that computes on a device: ``"auto"``, ``"cpu"`` or ``"cuda"``."""
        return cls(threads, gpus=int(chosen_device(device) != "cpu"))

    def __post_init__(self) -> None:
        if self.threads < 1 or self.gpus < 0:
            raise ValueError(f"expected at least one thread and no negative number of GPUs, got {self}")


def chosen_device(device: str) -> str:
    """Return the device that ``"auto"`` stands for on this machine, and any other device as it is.

    A job may run on another machine, so that a GPU need not be here.
    """
    if device != "auto":
        return device
    from ...representations.learning.devices import resolve_device

    return resolve_device(device)


class JobProgress(Protocol):
    """Show how far a job is."""

    def __call__(self, done: int, total: int, unit: str = "steps", note: str = "") -> None:
        """Show units done, out of a total, with a note."""


class Job(Protocol):
    """Work that makes one file or folder in another process, to which the job is pickled."""

    @property
    def title(self) -> str:
        """Return the name of the job in the progress display."""

    @property
    def output(self) -> Path:
        """Return the file or folder that this job alone makes; it is complete as soon as it is there."""

    @property
    def done(self) -> bool:
        """Return whether the output is complete."""

    @property
    def needs(self) -> Sequence[Job]:
        """Return the jobs that must be done before."""

    @property
    def resources(self) -> Resources:
        """Return what the job occupies while it runs."""

    def run(self, show: JobProgress) -> None:
        """Do the work; resume from a checkpoint if there is one."""


def silent(done: int, total: int, unit: str = "steps", note: str = "") -> None:
    """Show nothing; a `JobProgress`."""


def missing_jobs(jobs: Iterable[Job]) -> list[Job]:
    """Return the jobs that are not done, after all that they need and that is not done, each output once.

    What a job needs is left out if the job itself is done.

    Raises:
        ValueError: jobs need each other in a circle.
    """
    ordered: dict[Path, Job] = {}
    pending: set[Path] = set()

    def add(job: Job) -> None:
        if job.output in ordered or job.done:
            return
        if job.output in pending:
            raise ValueError(f"expected jobs without a circle of needs, got one through {job.title!r}")
        pending.add(job.output)
        for each in job.needs:
            add(each)
        ordered[job.output] = job

    for job in jobs:
        add(job)
    return list(ordered.values())
