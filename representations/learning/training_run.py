"""State of a training: its position, its optimiser and its random numbers; a checkpoint holds all of it."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .callbacks import Metrics, TrainingReport, TrainingStatus
from .checkpoints import Position, read_checkpoint, restore, write_checkpoint
from .config import ADAM, AdamConfig, to_dict
from .learner import Learner, Loss, Stage

RECORD_EVERY = 50
"""Updates between two entries of the history; more entries would make a GPU wait."""


class TrainingRun:
    """State of a training, which is advanced by one update at a time.

    ``θ ← Adam(∇_θ loss)`` with the learning rate ``lr · min(1, decay_slope · remaining + final_share)``, where
    ``remaining`` is the share of the updates of a stage that are left.

    Args:
        learner: says which losses to minimise.
        seed: seed of the batches.
        data_fingerprint: identifies the data.
        adam: optimiser and schedule of the learning rate.

    Attributes:
        report: history of the metrics so far.
        between_updates: whether no update is half done: training can resume from here.
    """

    def __init__(self, learner: Learner, seed: int, data_fingerprint: str, adam: AdamConfig = ADAM) -> None:
        self.report = TrainingReport()
        self.between_updates = True
        self._adam_config = adam
        self._module: Any = learner
        self._stages = learner.stages()
        self._plan = _plan_of(learner, self._stages, seed, data_fingerprint, adam)
        self._generator = torch.Generator().manual_seed(seed)
        self._stage = self._step = 0
        self._optimizer = self._adam(self._stages[0])
        self._total = sum(stage.steps for stage in self._stages)

    @property
    def finished(self) -> bool:
        """Return whether all stages are done."""
        return self._stage >= len(self._stages)

    def update(self) -> TrainingStatus:
        """Do one update of the current stage."""
        self.between_updates = False
        began = time.monotonic()
        stage = self._stages[self._stage]
        if self._step == 0:
            stage.begin()
            self._optimizer = self._adam(stage)
        loss, metrics = self._minimise(stage)
        self._step += 1
        self.report.transitions += stage.batch_size
        recorded = self._metrics(stage, loss, metrics)
        self.report.seconds += time.monotonic() - began
        if recorded:
            entry = {"stage": stage.name, "step": self._step, "seconds": round(self.report.seconds, 3)}
            self.report.history.append({**entry, **recorded})
        status = TrainingStatus(stage.name, self._step, self._done(), self._total, recorded, self.report.seconds)
        if self._step >= stage.steps:
            self._stage, self._step = self._stage + 1, 0
        self.between_updates = True
        return status

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        position = Position(self._plan, self._stage, self._step, self.report.seconds, self.report.history)
        write_checkpoint(path, position, self._module, self._optimizer, self._generator)

    def restore(self, path: Path) -> None:
        """Continue from a checkpoint."""
        position, tensors = read_checkpoint(path, self._plan, self._stages)
        if position.step > 0:
            self._optimizer = self._adam(self._stages[position.stage])
        self._generator = restore(path, tensors, self._module, self._optimizer if position.step > 0 else None)
        self._stage, self._step = position.stage, position.step
        seen = sum(stage.steps * stage.batch_size for stage in self._stages[: self._stage])
        if self._step > 0:
            seen += self._step * self._stages[self._stage].batch_size
        self.report.history[:] = position.history
        self.report.seconds, self.report.transitions = position.seconds, seen

    def _minimise(self, stage: Stage) -> Loss:
        remaining = 1.0 - self._step / stage.steps
        config = self._adam_config
        for group in self._optimizer.param_groups:
            group["lr"] = stage.learning_rate * min(1.0, config.decay_slope * remaining + config.final_share)
        loss, metrics = stage.loss(self._generator)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        self._optimizer.step()
        return loss, metrics

    def _adam(self, stage: Stage) -> torch.optim.Adam:
        return torch.optim.Adam(stage.parameters, stage.learning_rate, self._adam_config.betas, fused=True)

    def _metrics(self, stage: Stage, loss: torch.Tensor, metrics: dict[str, torch.Tensor]) -> Metrics:
        """Return the metrics of an update that is recorded, and nothing of the others."""
        if self._step % RECORD_EVERY != 0 and self._step < stage.steps:
            return {}
        recorded = {"loss": loss.item(), **{name: float(value) for name, value in metrics.items()}}
        if not all(map(math.isfinite, recorded.values())):
            raise FloatingPointError(
                f"{stage.name}, step {self._step}: expected finite values, got {recorded}; "
                "check the data, or choose a smaller learning rate"
            )
        return recorded

    def _done(self) -> int:
        return sum(stage.steps for stage in self._stages[: self._stage]) + self._step


def _plan_of(
    learner: Learner, stages: Sequence[Stage], seed: int, data_fingerprint: str, adam: AdamConfig
) -> dict[str, Any]:
    """Return what a checkpoint must agree with to be resumed."""
    config = getattr(learner.network, "config", None)
    is_config = dataclasses.is_dataclass(config) and not isinstance(config, type)
    return {
        "seed": seed,
        "data": data_fingerprint,
        "config": to_dict(config) if is_config else {},
        "adam": to_dict(adam),
        "stages": [[s.name, int(s.steps), int(s.batch_size), float(s.learning_rate)] for s in stages],
    }
