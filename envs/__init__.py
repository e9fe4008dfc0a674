"""Worlds in which a group acts, and the experience they make.

Importing this package is cheap: worlds are registered by name, and a simulator is loaded when one is made, with
``gymnasium.make("envs:equiact/Soccer-v0")`` or ``gymnasium.make_vec``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import gymnasium as gym

if TYPE_CHECKING:
    from envs.group_env import WorldEnv, WorldVectorEnv
    from envs.task import TaskWorld
    from envs.world import World

WORLDS: dict[str, str | type[World]] = {
    "Apartments": "envs.apartments:Apartments",
    "Arrows": "envs.arrows:Arrows",
    "Chairs": "envs.turning:Chairs",
    "ColouredArrows": "envs.arrows:ColouredArrows",
    "DoubleArrows": "envs.arrows:DoubleArrows",
    "Models": "envs.turning:Models",
    "MultiSprites": "envs.sprites:MultiSprites",
    "Pick": "envs.tabletop:Pick",
    "Push": "envs.tabletop:Push",
    "Shapes": "envs.shapes:Shapes",
    "Soccer": "envs.soccer:Soccer",
    "Solids": "envs.turning:Solids",
    "Sprites": "envs.sprites:Sprites",
}
"""Every world: its name and its class, or where that is. A new one is a file and a line here, or `register_world`."""


def world_class(name: str) -> type[World]:
    """The class of the world with this name.

    Raises:
        ValueError: there is no such world.
    """
    if name not in WORLDS:
        raise ValueError(f"there is no world {name!r}; choose from {sorted(WORLDS)}")
    found = WORLDS[name]
    if isinstance(found, str):
        module, attribute = found.split(":")
        found = getattr(importlib.import_module(module), attribute)
    return found


def task_class(name: str) -> type[TaskWorld]:
    """The class of the world with this name, which has an object and a task.

    Raises:
        ValueError: there is no such world, or it has no task.
    """
    from envs.task import TaskWorld

    world = world_class(name)
    if not issubclass(world, TaskWorld):
        others = sorted(other for other in WORLDS if issubclass(world_class(other), TaskWorld))
        raise ValueError(f"{name} is a world without an object and a task; choose from {', '.join(others)}")
    return world


def make_world_env(world: str, **options: Any) -> WorldEnv:
    """One world as a Gymnasium environment; what ``gymnasium.make`` calls."""
    from envs.group_env import WorldEnv

    return WorldEnv(world_class(world), **options)


def make_world_vector_env(world: str, **options: Any) -> WorldVectorEnv:
    """A batch of worlds as a vector environment; what ``gymnasium.make_vec`` calls."""
    from envs.group_env import WorldVectorEnv

    return WorldVectorEnv(world_class(world), **options)


def register_world(name: str, world: str | type[World]) -> None:
    """Make a world known by its name, and to Gymnasium as ``envs:equiact/<name>-v0``.

    Args:
        name: of the world.
        world: its class, or ``"module:class"``, which is imported when the first one is made.
    """
    WORLDS[name] = world
    gym.register(
        id=f"equiact/{name}-v0",
        entry_point="envs:make_world_env",
        vector_entry_point="envs:make_world_vector_env",
        kwargs={"world": name},
    )


for _name, _world in list(WORLDS.items()):
    register_world(_name, _world)
