"""Work spread over the cores: jobs in processes of their own, a progress bar each."""

from __future__ import annotations

import multiprocessing
import os
import queue
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from scripts.progress import bars, console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Show(Protocol):
    """What a job calls to say how far it is: in all, out of a total, in units, with a note."""

    def __call__(self, done: int, total: int, unit: str = "steps", note: str = "") -> None: ...


class Job(Protocol):
    """What a process of its own is to do; it is pickled on the way there."""

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
    free = _shares(len(jobs))
    waiting, running = list(jobs), dict[str, _Running]()
    context = multiprocessing.get_context("spawn")
    messages: Any = context.Queue()
    try:
        with bars() as progress:
            while waiting or running:
                while waiting and free:
                    job, cores = waiting.pop(0), free.pop()
                    process = context.Process(target=_work, args=(job, cores, messages))
                    process.start()
                    task = progress.add_task(job.title, total=None, unit="", note="")
                    running[job.title] = _Running(process, cores, task)
                ended = _listen(messages, running, progress)
                if ended is not None:
                    free.append(running.pop(ended).cores)
    finally:
        for each in running.values():
            each.process.terminate()
            each.process.join()


class _Running:
    def __init__(self, process: Any, cores: set[int], task: TaskID) -> None:
        self.process, self.cores, self.task = process, cores, task
        self.begin = time.monotonic()


def _listen(messages: Any, running: dict[str, _Running], progress: Progress) -> str | None:
    """Pass one message on to its bar; the name of the job if that was its last."""
    try:
        name, update, error = messages.get(timeout=1.0)
    except queue.Empty:
        dead = [name for name, each in running.items() if each.process.exitcode is not None]
        if dead:
            raise RuntimeError(f"{', '.join(dead)} died without a word; memory may have run out") from None
        return None
    if error is not None:
        raise RuntimeError(f"{name} failed: {error}")
    if update is not None:
        done, total, unit, note = update
        progress.update(running[name].task, completed=done, total=total, unit=unit, note=note)
        return None
    running[name].process.join()
    progress.remove_task(running[name].task)
    console.print(f"{name}: done in {time.monotonic() - running[name].begin:.0f} s", highlight=False)
    return str(name)


def _work(job: Job, cores: set[int], messages: Any) -> None:
    import torch

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    torch.set_num_threads(len(cores))
    shown = 0.0

    def show(done: int, total: int, unit: str = "steps", note: str = "") -> None:
        nonlocal shown
        if time.monotonic() - shown > 0.2 or done == total:
            shown = time.monotonic()
            messages.put((job.title, (done, total, unit, note), None))

    try:
        job.run(show)
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        messages.put((job.title, None, f"{type(error).__name__}: {error}"))
    except KeyboardInterrupt:
        return  # so was who started it, and says so
    else:
        messages.put((job.title, None, None))


def _shares(count: int) -> list[set[int]]:
    """The cores split among at most so many jobs at a time; each gets at least one."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    at_a_time = min(count, len(cores))
    return [set(cores[index::at_a_time]) for index in range(at_a_time)]
