"""Lie groups, simulated worlds, wrappers and transition data."""

from .worlds.registry import REGISTRY as _WORLDS
from .worlds.registry import register_world, task_world_class, world_class, world_names

__all__ = ["register_world", "task_world_class", "world_class", "world_names"]

_WORLDS.discover(plugins=False)  # registers the worlds with Gymnasium; plugins register theirs when they are imported
