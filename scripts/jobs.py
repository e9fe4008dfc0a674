"""Work spread over the cores: jobs in other processes, a progress bar each."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from scripts.progress import bars, console

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from rich.progress import Progress, TaskID


class Show(Protocol):
    """What a job calls to say how far it is: in all, out of a total, in units, with a note."""

    def __call__(self, done: int, total: int, unit: str = "steps", note: str = "") -> None: ...


class Job(Protocol):
    """What another process is to do; it is pickled on the way there."""

    @property
    def title(self) -> str:
        """What the bar says."""

    def run(self, show: Show) -> None:
        """Do it."""


def run_jobs(jobs: Sequence[Job]) -> None:
    """Run jobs, in their order, as many at a time as there are cores; fewer share the cores among them.

    Raises:
        RuntimeError: one of them failed; the others are stopped.
    """
    if not jobs:
        return
    context = multiprocessing.get_context("spawn")
    waiting: Any = context.Queue()
    messages: Any = context.Queue()
    shares = _shares(len(jobs))
    for job in [*jobs, *[None] * len(shares)]:
        waiting.put(job)
    workers = [
        context.Process(target=_work, args=(index, cores, waiting, messages)) for index, cores in enumerate(shares)
    ]
    try:
        with bars() as progress:
            for worker in workers:
                worker.start()
            _follow(len(jobs), workers, messages, progress)
    finally:
        for worker in workers:
            if worker.pid is not None:
                worker.terminate()
                worker.join()


def _follow(count: int, workers: Sequence[BaseProcess], messages: Any, progress: Progress) -> None:
    """Show what workers say of their jobs until so many are done."""
    running: dict[int, tuple[str, TaskID, float]] = {}
    while count:
        for index, worker in enumerate(workers):
            if worker.exitcode not in (None, 0):
                title = running[index][0] if index in running else "a job"
                raise RuntimeError(f"{title} died without a word; memory may have run out")
        try:
            index, title, update, error = messages.get(timeout=1.0)
        except queue.Empty:
            continue
        if error is not None:
            raise RuntimeError(f"{title} failed: {error}")
        if index not in running:
            running[index] = title, progress.add_task(title, total=None, unit="", note=""), time.monotonic()
        _, task, began = running[index]
        if update is not None:
            done, total, unit, note = update
            progress.update(task, completed=done, total=total, unit=unit, note=note)
        else:
            del running[index]
            progress.remove_task(task)
            console.print(f"{title}: done in {time.monotonic() - began:.0f} s", highlight=False)
            count -= 1


def _work(index: int, cores: set[int], waiting: Any, messages: Any) -> None:
    """Do one job after another, on these cores: what they import, and kernels that they load, is there for the next."""
    import torch

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    torch.set_num_threads(len(cores))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # for what runs to be saved
    try:
        while (job := waiting.get()) is not None:
            torch.manual_seed(0)  # what a job draws does not depend on those before it
            _do(job, lambda *said: messages.put((index, *said)))
    except KeyboardInterrupt:  # so was who started it, who says so, and does not listen any more
        messages.cancel_join_thread()
    finally:  # ended from here on, it has nothing to save and goes without a traceback
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _do(job: Job, say: Callable[[str, tuple[int, int | None, str, str] | None, str | None], None]) -> None:
    shown = 0.0

    def show(done: int, total: int, unit: str = "steps", note: str = "") -> None:
        nonlocal shown
        if time.monotonic() - shown > 0.2 or done == total:
            shown = time.monotonic()
            say(job.title, (done, total, unit, note), None)

    say(job.title, (0, None, "", ""), None)
    try:
        job.run(show)
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        say(job.title, None, f"{type(error).__name__}: {error}")
    except Exception:  # a mistake of the job's: it is raised where the jobs were asked for, and this is where it was
        say(job.title, None, traceback.format_exc())
    else:
        say(job.title, None, None)


def _shares(count: int) -> list[set[int]]:
    """The cores split among at most so many jobs at a time; each gets at least one."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    at_a_time = min(count, len(cores))
    return [set(cores[index::at_a_time]) for index in range(at_a_time)]
