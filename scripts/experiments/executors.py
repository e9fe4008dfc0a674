"""Run jobs in processes of this machine (Pebble) or of a Ray cluster: both return futures of the standard library."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import threading
from concurrent.futures import Future
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from .jobs import Job, Resources
from .worker import SAVE_SECONDS, execute

RunnerName = Literal["local", "ray"]
"""Name of an executor on the command line."""

PROCESS_NAME = "equiact-job"
"""Name of the processes of this machine that run jobs, and of the threads that watch them."""
CONNECT_SECONDS = 15.0
"""Seconds that a Ray cluster has to answer at its address."""


class JobExecutor(Protocol):
    """Run jobs, each in a fresh process."""

    def has_room(self, wanted: Resources, used: list[Resources]) -> bool:
        """Return whether a job fits beside those that run."""

    def submit(self, job: Job) -> Future[float]:
        """Start a job, and return the future of its seconds.

        Raises:
            PicklingError, AttributeError or TypeError: the job cannot be pickled.
        """

    def died(self, error: BaseException) -> bool:
        """Return whether an error of a future means that the process died, and not that the job failed."""

    def close(self, *, stop: bool) -> None:
        """End all processes; with ``stop`` also those that work."""


class LocalExecutor:
    """Run jobs in processes of this machine, with Pebble, in which the death of a process ends only its own job.

    A job has a process of its own: its result depends neither on the jobs before nor on those beside it. Processes
    share no queue and no lock, so that one may die at any moment.

    Args:
        cores: number of threads of all running jobs; the cores of this process if None.
        gpus: number of GPUs; if None, one if there is any: every job uses the first GPU, so that they take turns.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(self, cores: int | None = None, gpus: int | None = None) -> None:
        self._cores = available_cores() if cores is None else cores
        if self._cores < 1:
            raise ValueError(f"expected at least one core, got {self._cores}")
        self._gpus = gpus
        self._futures: list[Future[float]] = []

    def has_room(self, wanted: Resources, used: list[Resources]) -> bool:
        """Return whether threads and GPUs of all jobs are there; one job alone always has room on the CPU."""
        gpus = sum(each.gpus for each in used) + wanted.gpus
        if wanted.gpus and gpus > self._available_gpus():
            return False
        return not used or sum(each.threads for each in used) + wanted.threads <= self._cores

    def submit(self, job: Job) -> Future[float]:
        from pebble import CONSTS, concurrent

        CONSTS.term_timeout = SAVE_SECONDS
        context = multiprocessing.get_context("spawn")
        start = concurrent.process(name=PROCESS_NAME, daemon=False, context=context)(execute)
        future: Future[float] = start(job, os.getpid())
        self._futures.append(future)
        return future

    def died(self, error: BaseException) -> bool:
        from pebble import ProcessExpired

        return isinstance(error, ProcessExpired)

    def close(self, *, stop: bool) -> None:
        """End all processes; with ``stop`` those that work are interrupted, so that they write a checkpoint."""
        if stop:
            for future in self._futures:
                future.cancel()
        for thread in threading.enumerate():
            if thread.name == PROCESS_NAME:  # it ends after its process
                thread.join()

    def _available_gpus(self) -> int:
        if self._gpus is None:
            import torch

            self._gpus = int(torch.cuda.is_available())
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
        ValueError: the address has no number as its port.
    """

    def __init__(self, address: str | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            raise ImportError("a Ray cluster needs Ray; run pip install 'equiact[cluster]'") from error
        if address is not None:
            _check_that_something_answers(address)
        self._ray: Any = ray
        path = os.pathsep.join(map(os.path.abspath, sys.path))  # workers import what this process imports
        environment = {"env_vars": {"PYTHONPATH": path}}
        ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", runtime_env=environment)

    def has_room(self, wanted: Resources, used: list[Resources]) -> bool:
        """Return whether a node is large enough: Ray keeps jobs waiting until there is room for them."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return any(node.get("CPU", 0) >= wanted.threads and node.get("GPU", 0) >= wanted.gpus for node in nodes)

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


def _check_that_something_answers(address: str) -> None:
    """Connect to an address with a port; Ray itself tries for minutes, and ends the process.

    Raises:
        ConnectionError: nothing answers.
        ValueError: the port is no number.
    """
    place = urlsplit(address if "://" in address else f"//{address}")
    if place.port is None:
        return
    try:
        socket.create_connection((place.hostname, place.port), CONNECT_SECONDS).close()
    except OSError as error:
        raise ConnectionError(
            f"expected a Ray cluster at --address {address}, got no answer ({error}); start it with `ray start --head`"
        ) from error
