"""Names of worlds, and their registration with Gymnasium as ``equiact/<name>-v0``."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import gymnasium as gym

from ..named_registry import Registry, RegistryError

if TYPE_CHECKING:
    from ..wrappers.gym_env import WorldEnv, WorldVectorEnv
    from .task_world import TaskWorld
    from .world import World

WorldType = TypeVar("WorldType", bound="type[World]")

REGISTRY: Registry[type[World]] = Registry("world", "equiact.envs.worlds", base="equiact.envs.worlds.world:World")
"""Classes of worlds, by name."""


def register_world(name: str) -> Callable[[WorldType], WorldType]:
    """Return a decorator that registers a world class under a name, and with Gymnasium as ``equiact/<name>-v0``.

    Args:
        name: name of the world, such as ``"Soccer"``: letters, digits, ``_``, ``-`` and ``.``.

    Raises:
        RegistryError: another class has this name, it is no name, or the class is no `World`.
    """

    def add(world_cls: WorldType) -> WorldType:
        identifier = f"equiact/{name}-v0"
        if not isinstance(name, str) or re.fullmatch(r"[\w.-]+", name) is None:
            raise RegistryError(f"the name of a world consists of letters, digits, '_', '-' and '.', got {name!r}")
        REGISTRY.add(name, world_cls)
        gym.registry.pop(identifier, None)  # a class that is defined again, as in a notebook, replaces itself
        gym.register(
            id=identifier,
            entry_point="equiact.envs.worlds.registry:make_world_env",
            vector_entry_point="equiact.envs.worlds.registry:make_world_vector_env",
            max_episode_steps=world_cls.episode_steps,
            kwargs={"world": name},
        )
        return world_cls

    return add


def world_names() -> list[str]:
    """Return the names of all registered worlds, sorted."""
    return REGISTRY.names()


def world_class(name: str) -> type[World]:
    """Return the class of a world.

    Args:
        name: name of a registered world, or ``"module:Class"`` of one that is importable.

    Raises:
        RegistryError: no world has this name, or the module has no such world class.
    """
    return REGISTRY.resolve(name)


def task_world_class(name: str) -> type[TaskWorld]:
    """Return the class of a world with an object and a task.

    Args:
        name: name of a registered world, or ``"module:Class"``.

    Raises:
        RegistryError: no world has this name, or it has no task.
    """
    from .task_world import TaskWorld

    world_cls = world_class(name)
    if not issubclass(world_cls, TaskWorld):
        others = [other for other, each in REGISTRY.items() if issubclass(each, TaskWorld)]
        raise RegistryError(f"{name} is a world without an object and a task; choose from {', '.join(others)}")
    return world_cls


def make_world_env(world: str, **options: Any) -> WorldEnv:
    """Return one world as a Gymnasium environment; ``gymnasium.make`` calls this.

    The episode has no end of its own: ``gymnasium.make`` truncates it after ``max_episode_steps``.

    Args:
        world: name of the world.
        **options: options of `WorldEnv`.
    """
    from ..wrappers.gym_env import WorldEnv

    return WorldEnv(world_class(world), **{"max_episode_steps": sys.maxsize} | options)


def make_world_vector_env(world: str, **options: Any) -> WorldVectorEnv:
    """Return a batch of worlds as a vector environment; ``gymnasium.make_vec`` calls this.

    Args:
        world: name of the world.
        **options: options of `WorldVectorEnv`.
    """
    from ..wrappers.gym_env import WorldVectorEnv

    return WorldVectorEnv(world_class(world), **options)
