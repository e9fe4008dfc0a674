"""Training in stages: the loop, the learning-rate schedule, checkpoints and the history of losses, for every encoder.

An encoder's own file says what to minimise; this one says how. A stage is a loss and the parameters that it trains.
Training stopped at any moment resumes from the last checkpoint and ends, on the same machine, at the same weights as
training that was never stopped.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

Metrics = dict[str, float]


class CheckpointError(ValueError):
    """A checkpoint cannot be resumed: it is damaged, or belongs to other training."""


@dataclass(frozen=True)
class Stage:
    """One loss, minimised over some parameters with Adam.

    Attributes:
        name: shown while training.
        steps: number of updates.
        loss: ``loss(generator) -> (scalar, metrics)``; draws its own batch.
        parameters: what it trains.
        batch_size: transitions in one update, for the count of transitions seen.
        learning_rate: of the first half of the stage; it then falls linearly to a fiftieth.
        begin: called before the first update, and not again after a resume: what it computes must lie in buffers of the
            module.
    """

    name: str
    steps: int
    loss: Callable[[torch.Generator], tuple[Tensor, dict[str, Tensor]]]
    parameters: Sequence[nn.Parameter]
    batch_size: int
    learning_rate: float = 3e-3
    begin: Callable[[], None] = lambda: None


class Progress(Protocol):
    """Told after every update; shows it to a person."""

    def __call__(self, stage: str, done: int, total: int, metrics: Metrics) -> None: ...


@dataclass
class Report:
    """What training did.

    Attributes:
        history: one entry each 50 updates: stage, step, the time since the start in seconds, and the metrics then.
        seconds: time spent in training, resumed parts included.
        transitions: number of transitions seen, repeats counted.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    transitions: int = 0


def fit(
    module: nn.Module,
    stages: Sequence[Stage],
    *,
    seed: int,
    data: str = "",
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 10.0,
    progress: Progress = lambda stage, done, total, metrics: None,
) -> Report:
    """Run the stages one after another.

    Args:
        module: everything that training changes: parameters and buffers.
        stages: what to minimise.
        seed: of the batches.
        data: what is learned from, such as `Transitions.fingerprint`: a checkpoint of other data is refused.
        checkpoint: file to write every ``checkpoint_seconds``, when interrupted between two updates and at the end, and
            to resume from if it exists. Remove it once what was learned is kept elsewhere.
        progress: called after every update.

    Raises:
        CheckpointError: the checkpoint is damaged or belongs to other training.
        FloatingPointError: a loss is not finite.
    """
    _keep_freed_memory()
    module.train()
    run = _Run(module, stages, seed, data)
    if checkpoint is not None and checkpoint.exists():
        run.restore(checkpoint)
    saved = time.monotonic()
    try:
        while not run.finished:
            metrics = run.update()
            progress(run.stage_name, run.done, run.total, metrics)
            if checkpoint is not None and time.monotonic() - saved > checkpoint_seconds:
                run.save(checkpoint)
                saved = time.monotonic()
    except KeyboardInterrupt:
        if checkpoint is not None and run.whole:
            run.save(checkpoint)
        raise
    if checkpoint is not None:
        run.save(checkpoint)
    return run.report


class _Run:
    """Where training stands; all of it is in a checkpoint."""

    def __init__(self, module: nn.Module, stages: Sequence[Stage], seed: int, data: str) -> None:
        self.report = Report()
        self.total = sum(stage.steps for stage in stages)
        self.done = 0
        self.whole = True
        """Whether no update is half done: only then can training resume from here."""
        self.stage_name = stages[0].name
        self._module = module
        self._stages = stages
        self._seed = seed
        self._data = data
        self._generator = torch.Generator().manual_seed(seed)
        self._stage = self._step = 0
        self._optimizer = _adam(stages[0])

    @property
    def finished(self) -> bool:
        return self._stage == len(self._stages)

    def update(self) -> Metrics:
        """One update of the current stage; returns its metrics where they are recorded, else nothing."""
        self.whole = False
        began = time.monotonic()
        stage = self._stages[self._stage]
        self.stage_name = stage.name
        if self._step == 0:
            stage.begin()
            self._optimizer = _adam(stage)
        loss, metrics = self._minimise(stage)
        self._step += 1
        self.done += 1
        self.report.transitions += stage.batch_size
        recorded: Metrics = {}
        if self._step % 50 == 0 or self._step == stage.steps:
            recorded = {"loss": loss.item(), **{name: float(value) for name, value in metrics.items()}}
            if not all(map(_finite, recorded.values())):
                raise FloatingPointError(f"{stage.name}, step {self._step}: not finite: {recorded}")
        self.report.seconds += time.monotonic() - began
        if recorded:
            entry = {"stage": stage.name, "step": self._step, "seconds": round(self.report.seconds, 3)}
            self.report.history.append({**entry, **recorded})
        if self._step == stage.steps:
            self._stage, self._step = self._stage + 1, 0
        self.whole = True
        return recorded

    def _minimise(self, stage: Stage) -> tuple[Tensor, dict[str, Tensor]]:
        remaining = 1.0 - self._step / stage.steps
        for group in self._optimizer.param_groups:
            group["lr"] = stage.learning_rate * min(1.0, 2.0 * remaining + 0.02)
        loss, metrics = stage.loss(self._generator)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        self._optimizer.step()
        return loss, metrics

    def save(self, path: Path) -> None:
        """Write everything into one file: beside it first, then in its place."""
        # Copies, since safetensors refuses parameters that two modules share.
        copies = {"memory_format": torch.contiguous_format}
        tensors = {f"module.{name}": value.clone(**copies) for name, value in self._module.state_dict().items()}
        tensors["generator"] = self._generator.get_state()
        for index, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value.contiguous() for name, value in state.items()}
        position = {
            "plan": self._plan(),
            "stage": self._stage,
            "step": self._step,
            "done": self.done,
            "report": vars(self.report),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(path.name + ".part")
        save_file(tensors, beside, {"position": json.dumps(position)})
        os.replace(beside, path)

    def restore(self, path: Path) -> None:
        try:
            with safe_open(path, framework="pt") as file:
                position = json.loads(file.metadata()["position"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
        except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise CheckpointError(f"{path} is damaged ({error}); remove it to start again") from error
        if position["plan"] != self._plan():
            raise CheckpointError(
                f"{path} belongs to other training: it has {position['plan']}, this is {self._plan()}; "
                "remove it or choose another folder"
            )
        prefix = "module."
        try:
            self._module.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
        except RuntimeError as error:
            raise CheckpointError(f"{path} belongs to other training: {error}") from error
        self.report = Report(**position["report"])
        self._stage, self._step, self.done = position["stage"], position["step"], position["done"]
        if self._step > 0:
            self._restore_optimizer(tensors)
        self._generator.set_state(tensors["generator"])

    def _restore_optimizer(self, tensors: dict[str, Tensor]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".")
                parameter = self._stages[self._stage].parameters[int(index)]
                if value.shape == parameter.shape:  # in the parameter's memory format: the fused update relies on it
                    value = torch.empty_like(parameter).copy_(value).detach()
                state.setdefault(int(index), {})[key] = value
        self._optimizer = _adam(self._stages[self._stage])
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": state})

    def _plan(self) -> str:
        stages = [[stage.name, stage.steps, stage.batch_size, stage.learning_rate] for stage in self._stages]
        return json.dumps([self._seed, self._data, *stages])


def _keep_freed_memory() -> None:
    """Have the C library keep what tensors free for the next ones, rather than return it and fault it in again.

    Batches of images lie above the size from which glibc maps memory anew for each allocation: up to a quarter of the
    time of small networks on a CPU.
    """
    if platform.libc_ver()[0] == "glibc":
        c_library = ctypes.CDLL(None)
        trim_threshold, mmap_threshold, largest = -1, -3, 2**31 - 1
        c_library.mallopt(mmap_threshold, largest)
        c_library.mallopt(trim_threshold, largest)


def _adam(stage: Stage) -> torch.optim.Adam:
    return torch.optim.Adam(stage.parameters, stage.learning_rate, fused=True)


def _finite(value: float) -> bool:
    return value == value and abs(value) != float("inf")
