"""Run jobs in processes of this machine (Pebble) or of a Ray cluster: both return futures of the standard library."""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import Future
from typing import Any, Literal, Protocol

from .jobs import Job, Resources
from .worker import execute

RunnerName = Literal["local", "ray"]
"""Name of an executor on the command line."""


class JobExecutor(Protocol):
    """Run jobs, each in a fresh process."""

    def has_room(self, wanted: Resources, used: list[Resources]) -> bool:
        """Return whether a job fits beside those that run."""

    def submit(self, job: Job) -> Future[float]:
        """Start a job, and return the future of its seconds."""

    def died(self, error: BaseException) -> bool:
        """Return whether an error of a future means that the process died, and not that the job failed."""

    def close(self, *, stop: bool) -> None:
        """End all processes; with ``stop`` those that work are interrupted, so that they write a checkpoint."""


class LocalExecutor:
    """Run jobs in processes of this machine, with Pebble, in which the death of a process ends only its own job.

    A job has a process of its own: its result depends neither on the jobs before nor on those beside it.

    Args:
        cores: number of threads of all running jobs; the cores of this process if None.
        gpus: number of GPUs; those that torch sees if None.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(self, cores: int | None = None, gpus: int | None = None) -> None:
        from pebble import CONSTS, ProcessPool

        self._cores = available_cores() if cores is None else cores
        if self._cores < 1:
            raise ValueError(f"expected at least one core, got {self._cores}")
        self._gpus = gpus
        CONSTS.term_timeout = 20.0  # seconds to write a checkpoint
        context = multiprocessing.get_context("spawn")
        self._pool: Any = ProcessPool(max_workers=self._cores, max_tasks=1, context=context)

    def has_room(self, wanted: Resources, used: list[Resources]) -> bool:
        """Return whether threads and GPUs of all jobs are there; one job alone always has room on the CPU."""
        gpus = sum(each.gpus for each in used) + wanted.gpus
        if wanted.gpus and gpus > self._available_gpus():
            return False
        return not used or sum(each.threads for each in used) + wanted.threads <= self._cores

    def submit(self, job: Job) -> Future[float]:
        future: Future[float] = self._pool.schedule(execute, args=(job, os.getpid()))
        return future

    def died(self, error: BaseException) -> bool:
        from pebble import ProcessExpired

        return isinstance(error, ProcessExpired)

    def close(self, *, stop: bool) -> None:
        if stop:
            self._pool.stop()
        else:
            self._pool.close()
        self._pool.join()

    def _available_gpus(self) -> int:
        if self._gpus is None:
            import torch

            self._gpus = torch.cuda.device_count()
        return self._gpus


class RayExecutor:
    """Run jobs on a Ray cluster, whose nodes share the folder of the outputs.

    Ray places each job where its threads and GPUs are free.

    Args:
        address: address of the cluster, such as ``"auto"`` or ``"ray://head:10001"``; None for a cluster on this
            machine that ends with the executor.

    Raises:
        ImportError: Ray is not installed.
        ConnectionError: no cluster answers at the address.
    """

    def __init__(self, address: str | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            raise ImportError("a Ray cluster needs Ray; run pip install 'equiact[cluster]'") from error
        self._ray: Any = ray
        found = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # workers import what this process imports
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": found})

    def has_room(self, wanted: Resources, used: list[Resources]) -> bool:
        """Return True: Ray keeps jobs waiting until there is room for them."""
        return True

    def submit(self, job: Job) -> Future[float]:
        declared = {"num_cpus": job.resources.threads, "num_gpus": job.resources.gpus}
        remote = self._ray.remote(max_calls=1, max_retries=0, **declared)(execute)
        future: Future[float] = remote.remote(job).future()
        return future

    def died(self, error: BaseException) -> bool:
        errors = self._ray.exceptions
        return isinstance(error, (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError))

    def close(self, *, stop: bool) -> None:
        self._ray.shutdown()


def make_executor(runner: RunnerName = "local", address: str | None = None) -> JobExecutor:
    """Return the executor with a name.

    Args:
        runner: ``"local"`` or ``"ray"``.
        address: address of the Ray cluster.

    Raises:
        ValueError: an address is given for this machine.
    """
    if runner == "ray":
        return RayExecutor(address)
    if address is not None:
        raise ValueError(f"expected --address with --runner ray only, got {address!r}; add --runner ray")
    return LocalExecutor()


def available_cores() -> int:
    """Return the number of cores of this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
