"""Methods that the encoder benchmarks compare: their labels in tables, and their configurations in a world."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...envs.worlds.world import World

TABLE_LABELS = {
    "class and pose": "class-pose",
    "set of poses": "pose-set",
    "harmonics": "harmonics",
    "one pose": "class-pose",
    "MDP homomorphism": "mdp-homomorphism",
    "linear": "linear",
    "neural renderer": "neural-renderer",
    "autoencoder": "autoencoder-dynamics",
}
"""Name of the encoder of every row label; a label that is not here is itself the name of an encoder."""

SET_COHESION = {"Solids": 5.0}
"""Weight λ of the set cohesion in worlds where it is not 1, as in arXiv:2301.05231; chosen by the world's name."""


def encoder_of_label(label: str) -> str:
    """Return the name of the encoder with a label in the tables.

    Example:
        >>> encoder_of_label("set of poses"), encoder_of_label("my-encoder")
        ('pose-set', 'my-encoder')
    """
    return TABLE_LABELS.get(label, label)


def suggest_encoder(world_cls: type[World] | None) -> str:
    """Return the name of the encoder that suits a world.

    That is ``agent-object`` for a world with an object or if there is no world, ``class-pose`` where the group acts
    freely, ``harmonics`` where objects are symmetric and the group has harmonics, and ``pose-set`` elsewhere.
    """
    from ...envs.worlds.orbit_world import OrbitWorld

    if world_cls is None or not issubclass(world_cls, OrbitWorld):
        return "agent-object"
    if world_cls.free():
        return "class-pose"
    return "harmonics" if suits("harmonics", world_cls.group.name) else "pose-set"


def suggest_config(encoder: str, world_cls: type[World] | None, backbone: str | None = None) -> Any:
    """Return the configuration of an encoder for a world.

    The size of a set of poses comes from the ground-truth stabilizers of the world, and its cohesion from the world's
    name. Both are privileged: for your own data, choose ``num_poses`` and ``loss.set_cohesion`` yourself.

    Args:
        encoder: name of the encoder.
        world_cls: the world; None for the default configuration.
        backbone: name of the backbone; if None, ``strided``, which suits a CPU, in worlds of classes and poses.

    Returns:
        The default configuration, with this backbone, with sets of poses that are larger than every stabilizer of the
        world, and with the world's weight of the set cohesion.
    """
    from ...envs.worlds.orbit_world import OrbitWorld
    from ...representations.encoders.registry import encoder_config

    config = encoder_config(encoder)
    if world_cls is None:
        return config
    names = {field.name for field in fields(config)}
    of_orbits = issubclass(world_cls, OrbitWorld)
    if "backbone" in names and (backbone or of_orbits):
        config = replace(config, backbone=backbone or "strided")
    if "num_poses" in names and issubclass(world_cls, OrbitWorld):
        config = replace(config, num_poses=set_size(world_cls))
    cohesion, loss = SET_COHESION.get(world_cls.__name__), getattr(config, "loss", None)
    if cohesion is not None and is_dataclass(loss) and hasattr(loss, "set_cohesion"):
        config = replace(config, loss=replace(loss, set_cohesion=cohesion))  # type: ignore[type-var]
    return config


def set_size(world_cls: Any) -> int:
    """Return the size of the sets of poses in a world: a third more than its largest stabilizer has, at least 10.

    The stabilizers are ground truth.
    """
    largest = max(len(world_cls.stabilizer(orbit)) for orbit in range(len(world_cls.orbits)))
    return max(10, -(-4 * largest // 3))


def suits(encoder: str, group: str) -> bool:
    """Return whether an encoder can learn a group.

    Args:
        encoder: name or label of the encoder.
        group: name of the group.
    """
    try:
        require_suiting(encoder, group)
    except ValueError:
        return False
    return True


def require_suiting(encoder: str, group: str) -> None:
    """Check that an encoder can learn a group.

    Args:
        encoder: name or label of the encoder.
        group: name of the group.

    Raises:
        ValueError: it cannot.
    """
    from ...representations.encoders.registry import encoder_config, make_encoder

    config = encoder_config(encoder_of_label(encoder))
    if hasattr(config, "backbone"):
        config = replace(config, backbone="strided")
    try:
        make_encoder(config, (16, 16, 3), group)
    except ValueError as error:
        raise ValueError(f"{encoder} cannot learn {group}: {error}; choose another --encoder") from error
