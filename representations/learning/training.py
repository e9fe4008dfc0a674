"""Train a learner: the loop, the learning-rate schedule, checkpoints and callbacks, for everything that is trained.

A learner (`Learner`) says which losses to minimise; this module minimises them. Training that is stopped at any moment
resumes from its last checkpoint, and ends on the same machine at the same weights as training that was never stopped.
"""

from __future__ import annotations

import contextlib
import ctypes
import operator
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...envs.storage.artifacts import folder_lock
from .callbacks import Metrics, TrainingCallback, TrainingReport, TrainingStatus
from .checkpoints import CheckpointError, check_checkpoint
from .config import ADAM, AdamConfig
from .devices import resolve_device
from .learner import Learner, Loss, Stage
from .training_run import TrainingRun

if TYPE_CHECKING:
    from ...envs.data.transitions import Transitions
    from ..encoders.encoder import Encoder

__all__ = [
    "CheckpointError",
    "Learner",
    "Loss",
    "Metrics",
    "Stage",
    "TrainingCallback",
    "TrainingReport",
    "TrainingStatus",
    "checked_seed",
    "resolve_device",
    "train_encoder",
    "train_learner",
]


def train_encoder(
    transitions: Transitions,
    config: Any = "agent-object",
    *,
    seed: int = 0,
    device: str = "auto",
    checkpoint: str | Path | None = None,
    callbacks: Iterable[TrainingCallback] = (),
    adam: AdamConfig = ADAM,
) -> Encoder:
    """Train a new encoder on transitions.

    Args:
        transitions: frames and displacements; the ground truth is not read.
        config: configuration of an encoder, or the name of one with its default configuration, such as
            ``"class-pose"``.
        seed: seed of the weights and the batches.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``, which takes a GPU if there is one.
        checkpoint: file to resume from if it exists, as in `train_learner`.
        callbacks: receive reports after every update.
        adam: optimiser and schedule of the learning rate.

    Returns:
        The encoder, in evaluation mode, on the device.

    Raises:
        ValueError: the encoder cannot be trained on these transitions.
        CheckpointError: the checkpoint is damaged, or belongs to another training.

    Example:
        >>> from equiact import AgentObjectConfig, collect, train_encoder  # doctest: +SKIP
        >>> config = AgentObjectConfig(object_shape="any")  # doctest: +SKIP
        >>> encoder = train_encoder(collect(env, 20_000, seed=0), config)  # doctest: +SKIP
    """
    from ..encoders.registry import make_encoder, make_learner

    seed = checked_seed(seed)
    height, width, channels = transitions.frames.shape[1:]
    where = resolve_device(device)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = make_encoder(config, (height, width, channels), transitions.group).to(where)
        encoder.require_fitting(transitions)
        learner = make_learner(encoder, transitions)
    fingerprint = transitions.fingerprint
    train_learner(
        learner, seed=seed, data_fingerprint=fingerprint, checkpoint=checkpoint, callbacks=callbacks, adam=adam
    )
    encoder.data_fingerprint = fingerprint
    return encoder.eval()


def train_learner(
    learner: Learner,
    *,
    seed: int,
    data_fingerprint: str = "",
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = 10.0,
    callbacks: Iterable[TrainingCallback] = (),
    adam: AdamConfig = ADAM,
) -> TrainingReport:
    """Minimise the losses of a learner, one stage after another, with Adam.

    Args:
        learner: a ``torch.nn.Module`` with the method ``stages``.
        seed: seed of the batches.
        data_fingerprint: identifies the data, such as `Transitions.fingerprint`: a checkpoint of other data is refused.
        checkpoint: file to resume from if it exists. It is written every ``checkpoint_seconds``, when training is
            interrupted between two updates, and at the end. Delete it once the result is saved elsewhere.
        checkpoint_seconds: seconds between two checkpoints.
        callbacks: receive reports after every update.
        adam: optimiser and schedule of the learning rate.

    Returns:
        The report, with the history of the metrics.

    Raises:
        CheckpointError: the checkpoint is damaged, belongs to another training, or cannot be written.
        ArtifactError: another process trains with the same checkpoint.
        FloatingPointError: a loss is not finite.
    """
    seed = checked_seed(seed)
    _keep_freed_memory()
    learner.train()
    run = TrainingRun(learner, seed, data_fingerprint, adam)
    callbacks = list(callbacks)
    if checkpoint is None:
        return _finish(run, callbacks, lambda: None)
    path = check_checkpoint(Path(checkpoint))
    with folder_lock(path):
        if path.exists():
            run.restore(path)
        saved = time.monotonic()

        def save_in_time() -> None:
            nonlocal saved
            if time.monotonic() - saved > checkpoint_seconds:
                run.save(path)
                saved = time.monotonic()

        try:
            report = _finish(run, callbacks, save_in_time)
        except KeyboardInterrupt:
            if run.between_updates:
                run.save(path)
            raise
        run.save(path)
    return report


def checked_seed(seed: int) -> int:
    """Return a seed as an ``int``, such as that of a NumPy integer.

    Raises:
        ValueError: it is not a whole number, or has more than 64 bits.
    """
    try:
        value = operator.index(seed)
    except TypeError:
        raise ValueError(f"expected a whole number as seed, got {seed!r}") from None
    if not -(2**63) <= value < 2**64:
        raise ValueError(f"expected a seed of at most 64 bits, got {seed!r}")
    return value


def _finish(
    run: TrainingRun, callbacks: Sequence[TrainingCallback], after_update: Callable[[], None]
) -> TrainingReport:
    """Do all updates that are left, and report them."""
    with contextlib.ExitStack() as at_end:
        for callback in callbacks:
            at_end.callback(callback.on_end, run.report)
        while not run.finished:
            status = run.update()
            for callback in callbacks:
                callback.on_update(status)
            after_update()
    return run.report


def _keep_freed_memory() -> None:
    """Have the C library keep freed memory for the next tensors, instead of returning it to the system.

    Batches of images are larger than the size from which glibc maps new memory at each allocation. This costs small
    networks on a CPU up to a quarter of their time.
    """
    if platform.libc_ver()[0] == "glibc":
        c_library = ctypes.CDLL(None)
        trim_threshold, mmap_threshold, largest = -1, -3, 2**31 - 1
        c_library.mallopt(mmap_threshold, largest)
        c_library.mallopt(trim_threshold, largest)
