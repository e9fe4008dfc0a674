"""Callbacks: report on training to the terminal, to TensorBoard, Weights & Biases or trackio, or to your own code."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

Metrics = dict[str, float]


@dataclass(frozen=True)
class TrainingStatus:
    """State of training after an update.

    Attributes:
        stage: name of the stage.
        step: updates of this stage that are done.
        done: updates of all stages that are done.
        total: updates of all stages.
        metrics: the loss and the other metrics of this update; empty but for every 50th update and the last of a stage.
        seconds: time spent in training so far, resumed parts included.
    """

    stage: str
    step: int
    done: int
    total: int
    metrics: Metrics
    seconds: float


@dataclass
class TrainingReport:
    """Result of training.

    Attributes:
        history: one entry for every 50 updates: stage, step, the seconds since the start, and the metrics.
        seconds: time spent in training, resumed parts included.
        transitions: number of transitions in all batches, repeats counted.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    transitions: int = 0


class TrainingCallback(Protocol):
    """Receive reports while a learner is trained.

    Subclass it, or write a class with the same methods.

    Example:
        >>> class PrintLoss(TrainingCallback):
        ...     def on_update(self, status):
        ...         if status.metrics:
        ...             print(f"{status.done}/{status.total}: loss {status.metrics['loss']:.2f}")
        >>> PrintLoss().on_update(TrainingStatus("agent", 50, 50, 100, {"loss": 0.125}, 1.0))
        50/100: loss 0.12
    """

    def on_update(self, status: TrainingStatus) -> None:
        """Receive the state after an update."""
        return None

    def on_end(self, report: TrainingReport) -> None:
        """Receive the report at the end, also when training was interrupted."""
        return None


class TensorBoardLogger(TrainingCallback):
    """Write the metrics as TensorBoard event files; look at them with ``tensorboard --logdir FOLDER``.

    Args:
        folder: folder of the event files.

    Raises:
        ImportError: tensorboard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        _import("tensorboard", "TensorBoardLogger", extra="tensorboard")
        self._summary = importlib.import_module("torch.utils.tensorboard")
        self._writer: Any = None

    def on_update(self, status: TrainingStatus) -> None:
        if not status.metrics:
            return
        if self._writer is None:
            # Of a resumed run, points after the checkpoint are replaced.
            self._writer = self._summary.SummaryWriter(str(self._folder), purge_step=status.done)
        for name, value in _tagged(status).items():
            self._writer.add_scalar(name, value, status.done)

    def on_end(self, report: TrainingReport) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class WandbLogger(TrainingCallback):
    """Send the metrics to Weights & Biases.

    Args:
        project: name of the project.
        **options: options of ``wandb.init``, such as ``name`` or ``mode="offline"``.

    Raises:
        ImportError: wandb is not installed.
    """

    def __init__(self, project: str, **options: Any) -> None:
        self._run = _import("wandb", "WandbLogger", extra="wandb").init(project=project, **options)

    def on_update(self, status: TrainingStatus) -> None:
        if status.metrics:
            self._run.log(_tagged(status), step=status.done)

    def on_end(self, report: TrainingReport) -> None:
        self._run.finish()


class TrackioLogger(TrainingCallback):
    """Store the metrics with trackio; look at them with ``trackio show``.

    Args:
        project: name of the project.
        **options: options of ``trackio.init``, such as ``name``.

    Raises:
        ImportError: trackio is not installed.
    """

    def __init__(self, project: str, **options: Any) -> None:
        self._trackio = _import("trackio", "TrackioLogger", extra="trackio")
        self._trackio.init(project=project, **options)

    def on_update(self, status: TrainingStatus) -> None:
        if status.metrics:
            self._trackio.log(_tagged(status), step=status.done)

    def on_end(self, report: TrainingReport) -> None:
        self._trackio.finish()


def _tagged(status: TrainingStatus) -> Metrics:
    """Return the metrics by the names ``stage/metric``."""
    return {f"{status.stage}/{name}": value for name, value in status.metrics.items()}


def _import(package: str, what: str, extra: str) -> Any:
    """Return an optional package.

    Raises:
        ImportError: it is not installed; the message names the extra that brings it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f"{what} needs the package {package}; run pip install 'equiact[{extra}]'") from error
