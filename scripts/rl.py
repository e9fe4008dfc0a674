"""`equiact rl`: reinforcement learning on what a frozen encoder sees, or on true state."""

from __future__ import annotations

import multiprocessing
import os
import queue
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.commands import Command
from scripts.progress import bars
from scripts.runs import provenance, write_json

if TYPE_CHECKING:
    from rich.progress import Progress

    from agents.reinforcement import LearningCurve


@dataclass(frozen=True)
class Job:
    """One policy to train, in a process of its own."""

    name: str
    world: str
    encoder: Path | None
    """Folder of the encoder through which the policy sees; None for true state."""
    steps: int
    seed: int
    device: str
    folder: Path
    """Where the policy and its learning curve go."""

    @property
    def curve_file(self) -> Path:
        return self.folder / "curve.json"


@dataclass(frozen=True)
class Rl(Command):
    """Train soft actor-critic on the latents of a frozen encoder, or on true state."""

    encoder: Path | None = Path("runs/encoder")
    """Folder of the encoder; None for the true state."""
    world: str = "Soccer"
    """World whose task to learn."""
    steps: int = 24_000
    """Steps in the environment."""
    out: Path = Path("runs/policy")
    """Folder of the policy and its learning curve."""

    def run(self) -> dict[str, Any]:
        name = "true state" if self.encoder is None else "encoder"
        job = Job(name, self.world, self.encoder, self.steps, self.seed, self.device, self.out)
        run_jobs([job])
        return {"folder": str(self.out), "curve": str(job.curve_file)}


def run_jobs(jobs: list[Job]) -> None:
    """Train several policies at once, each in its own process on its share of the cores, a progress bar each.

    Raises:
        RuntimeError: one of them failed; the others are stopped.
    """
    context = multiprocessing.get_context("spawn")
    messages: Any = context.Queue()
    shares = _shares(len(jobs))
    processes = [context.Process(target=_train, args=(job, share, messages)) for job, share in zip(jobs, shares)]  # noqa: B905
    for process in processes:
        process.start()
    try:
        with bars() as progress:
            _watch(jobs, processes, messages, progress)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _watch(jobs: list[Job], processes: list[Any], messages: Any, progress: Progress) -> None:
    tasks = {
        job.name: progress.add_task(f"Training the policy: {job.name}", total=job.steps, unit="steps", note="")
        for job in jobs
    }
    running = set(tasks)
    while running:
        try:
            name, done, note, error = messages.get(timeout=1.0)
        except queue.Empty:
            failed = [job.name for job, process in zip(jobs, processes, strict=True) if process.exitcode]
            if failed:
                raise RuntimeError(f"training the policy on {', '.join(failed)} died") from None
            continue
        if error is not None:
            raise RuntimeError(f"training the policy on {name} failed: {error}")
        progress.update(tasks[name], completed=done, note=note)
        if note == "done":
            running.discard(name)


def _train(job: Job, cores: set[int], messages: Any) -> None:
    import torch

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    torch.set_num_threads(len(cores))
    try:
        _train_policy(job, messages)
        messages.put((job.name, job.steps, "done", None))
    except (ValueError, OSError, RuntimeError) as error:
        messages.put((job.name, 0, "", f"{type(error).__name__}: {error}"))


def _train_policy(job: Job, messages: Any) -> None:
    from agents.reinforcement import save_policy, train_sac
    from agents.vec_env import observe_latents, observe_state
    from envs import world_class
    from representations.encoder import Encoder

    world = world_class(job.world)
    observe = observe_state if job.encoder is None else observe_latents(Encoder.load(job.encoder))

    def show(done: int, curve: LearningCurve) -> None:
        if done % 80 == 0:
            note = f"success {curve.success[-1]:.0%}" if curve.success else ""
            messages.put((job.name, done, note, None))

    model, curve = train_sac(
        lambda count: world(count, device=job.device), observe, steps=job.steps, seed=job.seed, progress=show
    )
    save_policy(model, job.folder)
    settings = {key: str(value) for key, value in asdict(job).items() if key != "folder"}
    write_json(job.curve_file, {**curve.as_dict(), "job": settings, **provenance()})


def _shares(count: int) -> list[set[int]]:
    """The cores split among so many processes; each gets at least one, shared if there are too few."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    return [set(cores[index::count]) or {cores[index % len(cores)]} for index in range(count)]
