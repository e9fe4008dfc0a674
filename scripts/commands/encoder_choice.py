"""The world and the encoder that `equiact train` takes by default, and a hint on slow ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..benchmarks.encoder_methods import suggest_encoder
from ..progress import console
from ..training_data import DataSource, suggest_encoder_for_group

if TYPE_CHECKING:
    from ...envs.worlds.world import World

DEFAULT_WORLD = "Soccer"
"""World to collect transitions from if there is neither a world nor a data set."""


def default_world_class(world: Any, data: Any) -> type[World] | None:
    """Return the class of a world; None for a data set without one.

    Args:
        world: name of the world; None if it is not given.
        data: the data set; None if it is not given.
    """
    from ...envs.worlds.registry import world_class

    if world is None and data is not None:
        return None
    return world_class(DEFAULT_WORLD if world is None else str(world))


def default_encoder(world_cls: type[World] | None, data: Any, group: Any) -> str:
    """Return the name of the encoder that suits a world, or a data set.

    Args:
        world_cls: the world; None for a data set without one.
        data: the data set; None if there is none.
        group: name of the group that acts in the data set; None if it is not given.
    """
    if world_cls is not None or data is None:
        return suggest_encoder(world_cls)
    return suggest_encoder_for_group(DataSource(Path(data).expanduser(), group=group).known_group)


def report_slow_backbone(config: Any, device: str) -> None:
    """Say so if a backbone for GPUs is trained on a CPU.

    Args:
        config: configuration of an encoder.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
    """
    from ...representations.learning.devices import resolve_device

    if getattr(config, "backbone", None) == "resnet18" and resolve_device(device) == "cpu":
        console.print("The backbone resnet18 is slow on a CPU; --backbone strided is faster.", markup=False)
