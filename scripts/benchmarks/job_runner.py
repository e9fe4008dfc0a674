"""Run jobs in other processes, as many at a time as there are cores, and show their progress."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..progress import console, progress_display

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from ..progress import ProgressDisplay


class JobProgress(Protocol):
    """Show how far a job is."""

    def __call__(self, done: int, total: int, unit: str = "steps", note: str = "") -> None:
        """Show units done, out of a total, with a note."""


class Job(Protocol):
    """Work for another process, to which it is pickled."""

    @property
    def title(self) -> str:
        """Name of the job in the progress display."""

    def run(self, show: JobProgress) -> None:
        """Do the work."""


RunJobs = Callable[..., None]
"""Has the signature of `run_jobs`."""


@dataclass(frozen=True)
class CoreShares:
    """Split the cores of this machine among jobs that run at the same time.

    Attributes:
        cores: numbers of the cores.
        at_a_time: number of jobs that run at the same time.
    """

    cores: tuple[int, ...]
    at_a_time: int

    @classmethod
    def of_machine(cls, jobs: int) -> CoreShares:
        """Return the split among so many jobs, at most one for each core of this process."""
        available = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
        cores = tuple(sorted(available))
        return cls(cores, max(1, min(jobs, len(cores))))

    @property
    def threads(self) -> int:
        """Number of threads of every job."""
        return max(1, len(self.cores) // self.at_a_time)

    def of_worker(self, index: int) -> set[int]:
        """Return the cores of a worker."""
        return set(self.cores[index % len(self.cores) :: self.at_a_time][: self.threads])


def run_jobs(jobs: Sequence[Job], *, of: int | None = None, shares: CoreShares | None = None) -> None:
    """Run jobs in their order, each with the same number of threads.

    The number of threads changes the last digits of what is trained. It therefore depends on the number of all jobs of
    a stage, and not on how many of them are left.

    Args:
        jobs: the jobs to run.
        of: number of jobs of the stage, those that were done before included; the number of jobs if None.
        shares: how to split the cores; by ``of`` if None.

    Raises:
        RuntimeError: a job failed; the others are stopped, after they have saved what they have.
    """
    if not jobs:
        return
    shares = shares or CoreShares.of_machine(len(jobs) if of is None else max(of, len(jobs)))
    context = multiprocessing.get_context("spawn")
    waiting: Any = context.Queue()
    messages: Any = context.Queue()
    count = min(len(jobs), shares.at_a_time)
    for job in [*jobs, *[None] * count]:
        waiting.put(job)
    workers = [
        context.Process(target=_work, args=(index, shares.of_worker(index), shares.threads, waiting, messages))
        for index in range(count)
    ]
    try:
        with progress_display() as display:
            for worker in workers:
                worker.start()
            _follow(len(jobs), workers, messages, display)
    finally:
        for worker in workers:
            if worker.pid is not None:
                worker.terminate()
                worker.join()


def run_in_process(jobs: Sequence[Job], *, of: int | None = None, shares: CoreShares | None = None) -> None:
    """Run jobs one after another in this process, without a display; has the signature of `run_jobs`."""
    for job in jobs:
        job.run(silent)


def silent(done: int, total: int, unit: str = "steps", note: str = "") -> None:
    """Show nothing; a `JobProgress`."""


@dataclass
class _RunningJob:
    """A job in a worker: its title, its number in the display, and when it began."""

    title: str
    task: int
    began: float


def _follow(count: int, workers: Sequence[BaseProcess], messages: Any, display: ProgressDisplay) -> None:
    """Show the messages of the workers until so many jobs are done."""
    running: dict[int, _RunningJob] = {}
    while count:
        _require_alive(workers, running)
        try:
            index, title, update, error = messages.get(timeout=1.0)
        except queue.Empty:
            continue
        if error is not None:
            raise RuntimeError(f"{title} failed: {error}")
        if index not in running:
            running[index] = _RunningJob(title, display.add(title), time.monotonic())
        job = running[index]
        if update is not None:
            done, total, unit, note = update
            display.update(job.task, done, total=total, unit=unit, note=note)
        else:
            display.remove(running.pop(index).task)
            console.print(f"{title}: done in {time.monotonic() - job.began:.0f} s", highlight=False, soft_wrap=True)
            count -= 1


def _require_alive(workers: Sequence[BaseProcess], running: dict[int, _RunningJob]) -> None:
    for index, worker in enumerate(workers):
        if worker.exitcode not in (None, 0):
            title = running[index].title if index in running else "a job"
            raise RuntimeError(
                f"{title}: its process died with exit code {worker.exitcode}; the memory may have run out. "
                "Run the same command again to resume"
            )


def _work(index: int, cores: set[int], threads: int, waiting: Any, messages: Any) -> None:
    """Run one job after another on these cores; later jobs find modules and kernels loaded."""
    import torch

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    torch.set_num_threads(threads)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a job saves a checkpoint
    try:
        while (job := waiting.get()) is not None:
            torch.manual_seed(0)  # the random numbers of a job do not depend on the jobs before it
            _run_one(job, lambda *message: messages.put((index, *message)))
    except KeyboardInterrupt:  # the parent was interrupted, too, and reads no messages any more
        messages.cancel_join_thread()
    finally:  # nothing is left to save: end without a traceback from here on
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _run_one(job: Job, send: Callable[[str, tuple[int, int | None, str, str] | None, str | None], None]) -> None:
    shown = 0.0

    def show(done: int, total: int, unit: str = "steps", note: str = "") -> None:
        nonlocal shown
        if time.monotonic() - shown > 0.2 or done == total:
            shown = time.monotonic()
            send(job.title, (done, total, unit, note), None)

    send(job.title, (0, None, "", ""), None)
    try:
        job.run(show)
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        send(job.title, None, f"{type(error).__name__}: {error}")
    except Exception:  # a defect in the job: the parent raises it, with the place where it happened
        send(job.title, None, traceback.format_exc())
    else:
        send(job.title, None, None)
