"""Do one job in a process of its own: with its threads, under a lock, and ended when its parent ends."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

from ...envs.storage.output_paths import file_lock
from .jobs import Job

LOCK_SECONDS = 30.0
"""Seconds that a job waits for the end of a process that still works on its output."""
WATCH_SECONDS = 0.5
"""Seconds between two looks at the parent."""
SAVE_SECONDS = 20.0
"""Seconds that a job whose parent died has to write a checkpoint."""


def execute(job: Job, parent: int | None = None) -> float:
    """Do a job, unless it is done, and return the seconds that it took.

    Args:
        job: the job.
        parent: number of the process that this one ends with; None if something else sees to that.

    Raises:
        ArtifactError: another process works on the same output.
    """
    if parent is None:
        return _do(job)
    os.dup2(2, 1)  # standard output is for the result of the command
    _end_with(parent)
    try:
        return _do(job)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the process ends by itself


def _do(job: Job) -> float:
    began = time.monotonic()
    with file_lock(lock_file(job), LOCK_SECONDS, f"another process works here: {job.output} is locked"):
        if not job.done:
            _use(job.resources.threads)
            with ProgressFile(job) as show:
                job.run(show)
    return time.monotonic() - began


def lock_file(job: Job) -> Path:
    """Return the lock of the output of a job."""
    return job.output.with_name(f".{job.output.name}.job-lock")


def progress_file(job: Job) -> Path:
    """Return the file in which a running job says how far it is; it is removed at the end."""
    return job.output.with_name(f".{job.output.name}.progress.json")


class ProgressFile:
    """Write the progress of a job into a file, at most twice a second, where the parent reads it.

    A file serves processes of this machine and of a cluster alike, since all jobs share the folder of their outputs.

    Args:
        job: the job.
    """

    def __init__(self, job: Job) -> None:
        self._file, self._title, self._written = progress_file(job), job.title, 0.0

    def __enter__(self) -> ProgressFile:
        self(0, 0)
        return self

    def __call__(self, done: int, total: int, unit: str = "steps", note: str = "") -> None:
        """Write units done, out of a total, with a note; a `JobProgress`."""
        from ...envs.storage.artifacts import write_json

        if time.monotonic() - self._written > 0.5:
            write_json(self._file, {"done": done, "total": total, "unit": unit, "note": note})
            self._written = time.monotonic()

    def __exit__(self, *error: object) -> None:
        self._file.unlink(missing_ok=True)


def _use(threads: int) -> None:
    """Use so many threads, and random numbers that do not depend on earlier jobs."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    import numpy as np
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    threadpool_limits(threads)  # NumPy has read the variables when it was imported
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # libraries may draw from the global generator


def _end_with(parent: int) -> None:
    """Turn a termination into an interrupt, so that a checkpoint is written, and cause one when the parent dies."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SAVE_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
