"""Checkpoints: one file with everything that resuming a training needs, signed with one hash."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...envs.storage.artifacts import ArtifactError, check_tensor_file, read_tensor_file, write_tensor_file
from .learner import Stage

KIND = "checkpoint"


class CheckpointError(ArtifactError):
    """A checkpoint cannot be written, or cannot be resumed: it is damaged, or belongs to another training."""


@dataclass(frozen=True)
class Position:
    """Say how far training has come.

    Attributes:
        plan: seed, data, configuration and stages; a checkpoint with another plan is refused.
        stage: index of the current stage.
        step: updates of the current stage that are done.
        seconds: time spent in training.
        history: metrics so far, as in `TrainingReport.history`.
    """

    plan: dict[str, Any]
    stage: int
    step: int
    seconds: float
    history: list[dict[str, Any]]


def check_checkpoint(path: Path) -> Path:
    """Check that a checkpoint may be written to a file, before the work begins.

    Returns:
        The resolved path.

    Raises:
        CheckpointError: something else is there, or its folder is read-only.
    """
    try:
        return check_tensor_file(path, KIND)
    except ArtifactError as error:
        if path.is_file():
            raise CheckpointError(f"{path} is not a checkpoint, or is damaged; delete it to start again") from error
        raise CheckpointError(str(error)) from error


def write_checkpoint(
    path: Path, position: Position, module: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator
) -> None:
    """Write a checkpoint; if that fails, such as on a full disk, the checkpoint that was there is intact.

    Raises:
        CheckpointError: writing failed, or a parameter or buffer is not finite.
    """
    tensors = {f"module.{name}": value for name, value in module.state_dict().items()}
    tensors["generator"] = generator.get_state()
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    try:
        write_tensor_file(path, KIND, asdict(position), tensors)
    except ArtifactError as error:
        raise CheckpointError(f"the checkpoint was not written: {error}") from error


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint once its result is saved elsewhere; a file of another kind is left."""
    with contextlib.suppress(CheckpointError):
        checked = check_checkpoint(path)
        if checked.is_file() and checked.stat().st_size:
            checked.unlink()


def read_checkpoint(path: Path, plan: dict[str, Any], stages: list[Stage]) -> tuple[Position, dict[str, Tensor]]:
    """Return the position and the tensors of a checkpoint.

    Args:
        path: the file.
        plan: plan of the training that is to be resumed.
        stages: its stages.

    Raises:
        CheckpointError: the checkpoint is damaged, or has another plan.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        card, tensors = read_tensor_file(path, KIND)
        position = TypeAdapter(Position).validate_json(json.dumps(card), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        wrong = f"{'.'.join(map(str, first['loc']))}: {first['msg']}, got {first['input']!r}"
        raise CheckpointError(f"{path} is damaged ({wrong}); delete it to start again") from error
    except (ArtifactError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); delete it to start again") from error
    if position.plan != plan:
        raise CheckpointError(
            f"{path} belongs to another training: {_first_difference(position.plan, plan)}; "
            "delete it to start again, or choose another folder"
        )
    if not _is_possible(position, stages):
        raise CheckpointError(
            f"{path} is damaged (stage {position.stage}, step {position.step}, {position.seconds} seconds "
            "are not possible); delete it to start again"
        )
    return position, tensors


def restore(
    path: Path, tensors: dict[str, Tensor], module: nn.Module, optimizer: torch.optim.Optimizer | None
) -> torch.Generator:
    """Set the module and the optimizer to the state in a checkpoint, and return the generator of the batches.

    Args:
        path: file of the checkpoint, for messages.
        tensors: tensors of the checkpoint.
        module: the learner.
        optimizer: optimizer of the current stage; None if the stage has not begun.

    Raises:
        CheckpointError: names or shapes are not those of the module.
    """
    prefix, generator = "module.", torch.Generator()
    try:
        module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        if optimizer is not None:
            _restore_optimizer(optimizer, tensors)
        generator.set_state(tensors["generator"])
    except (RuntimeError, KeyError, IndexError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} belongs to another training: {error}; delete it to start again") from error
    return generator


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            parameter = parameters[int(index)]
            if value.shape == parameter.shape:  # in the parameter's memory format: the fused update relies on it
                value = torch.empty_like(parameter).copy_(value).detach()
            elif value.ndim:
                raise ValueError(f"{name} has the shape {tuple(value.shape)}, not {tuple(parameter.shape)}")
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _is_possible(position: Position, stages: list[Stage]) -> bool:
    """Return whether stage, step and metrics are values that training can reach."""
    numbers = [value for entry in position.history for value in entry.values() if not isinstance(value, str)]
    finite = all(isinstance(value, int | float) and math.isfinite(value) for value in [position.seconds, *numbers])
    if not finite or position.seconds < 0:
        return False
    if position.stage == len(stages):
        return position.step == 0
    return 0 <= position.stage < len(stages) and 0 <= position.step < stages[position.stage].steps


def _first_difference(stored: dict[str, Any], plan: dict[str, Any]) -> str:
    """Return in words where two plans differ."""
    for key in plan:
        if stored.get(key) != plan[key]:
            return f"its {key} is {stored.get(key)!r}, now it is {plan[key]!r}"
    return "it has another plan"
