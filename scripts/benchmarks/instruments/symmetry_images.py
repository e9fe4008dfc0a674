"""Images of objects under finite groups, for the benchmark of symmetry discovery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....representations.analysis.symmetry.action_data import ActionData
from ....representations.analysis.symmetry.finite_groups import FiniteGroup
from ....representations.analysis.symmetry.group_constructors import cyclic_group, dihedral_group, direct_product

Image = NDArray[np.float64]

_SIDE = 20  # height and width of the images: the lamps have their places on this grid


@dataclass(frozen=True, eq=False)
class FiniteWorld:
    """A world in which a finite group acts on the pose of one of two objects.

    Attributes:
        group: the group, ground truth.
        actions: elements that the actions perform, ground truth.
        images: ``(objects, n, 20, 20)`` in [0, 1], without disturbances.
    """

    group: FiniteGroup
    actions: tuple[int, ...]
    images: Image


def make_world(name: str) -> FiniteWorld:
    """Return a world: ``"C6"`` turns by 60°, ``"D4"`` turns by 90° and mirrors, ``"C2xC2xC2"`` switches three lamps."""
    return _WORLDS[name]()


def sample_actions(world: FiniteWorld, count: int, disturbed: bool, seed: int) -> ActionData:
    """Draw transitions: random objects, poses and actions.

    Args:
        world: the world.
        count: number of transitions.
        disturbed: whether each image has its own shift by up to two pixels, brightness and noise; otherwise images of
            one state are equal.
        seed: seed of all random numbers.
    """
    generator = np.random.default_rng(seed)
    which = generator.integers(len(world.images), size=count)
    pose = generator.integers(world.group.order, size=count)
    action = generator.integers(len(world.actions), size=count)
    after = world.group.table[np.array(world.actions)[action], pose]
    frames = [_drawn(world.images[which, each], disturbed, generator) for each in (pose, after)]
    return ActionData(frames[0], action, frames[1])


def sample_states(world: FiniteWorld, batches: int, seed: int) -> ActionData:
    """Draw disturbed transitions in batches, in each of which every state of every object is reached once.

    Args:
        world: the world.
        batches: number of batches.
        seed: seed of all random numbers.
    """
    generator = np.random.default_rng(seed)
    which, after = (np.tile(each.ravel(), batches) for each in np.indices(world.images.shape[:2]))
    action = generator.integers(len(world.actions), size=len(after))
    undone = world.group.inverses[np.array(world.actions)[action]]
    pose = world.group.table[undone, after]
    frames = [_drawn(world.images[which, each], True, generator) for each in (pose, after)]
    return ActionData(frames[0], action, frames[1])


def _drawn(images: Image, disturbed: bool, generator: np.random.Generator) -> NDArray[np.uint8]:
    if disturbed:
        shifts = generator.integers(-2, 3, size=(len(images), 2))
        images = np.stack([np.roll(image, shift, (0, 1)) for image, shift in zip(images, shifts.tolist(), strict=True)])
        images = images * generator.uniform(0.6, 1.0, (len(images), 1, 1)) + generator.normal(0, 0.05, images.shape)
    return np.asarray(np.clip(255 * images, 0, 255).astype(np.uint8)[..., None])


def _pattern(index: int) -> Callable[[Image, Image], Image]:
    """Return the brightness of an object without symmetries, as a function on the plane."""
    blobs = [[(0.75, 0.0, 0.22), (0.2, 0.45, 0.3)], [(0.6, 0.2, 0.3), (-0.3, 0.55, 0.15), (0.1, -0.2, 0.2)]][index]

    def brightness(x: Image, y: Image) -> Image:
        spots = [np.exp(-((x - a) ** 2 + (y - b) ** 2) / size**2) for a, b, size in blobs]
        return np.asarray(np.clip(np.sum(spots, axis=0), 0, 1))

    return brightness


def _turned(turns: list[tuple[float, bool]]) -> Image:
    """Return both objects, turned by angles and mirrored, ``(2, n, 20, 20)``."""
    y, x = np.mgrid[1 : -1 : _SIDE * 1j, -1 : 1 : _SIDE * 1j] * 1.25
    images = []
    for index in range(2):
        for angle, mirrored in turns:  # the object g·o has at p the brightness of o at g⁻¹ p
            u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
            images.append(_pattern(index)(u, -v if mirrored else v))
    return np.stack(images).reshape(2, len(turns), _SIDE, _SIDE)


def _cyclic_world() -> FiniteWorld:
    return FiniteWorld(cyclic_group(6), (1, 5, 3), _turned([(2 * np.pi * k / 6, False) for k in range(6)]))


def _dihedral_world() -> FiniteWorld:
    turns = [(np.pi / 2 * (k % 4), k >= 4) for k in range(8)]  # element k is r^(k mod 4) f^(k div 4)
    return FiniteWorld(dihedral_group(4), (1, 4), _turned(turns))


def _switch_world() -> FiniteWorld:
    """Return three lamps of two shapes; a lit lamp is bright, an unlit one is dim."""
    group = direct_product(*[cyclic_group(2)] * 3)
    y, x = np.mgrid[0:_SIDE, 0:_SIDE]
    images = np.zeros((2, 8, _SIDE, _SIDE))
    for state in range(8):
        for lamp, (row, column) in enumerate([(5, 5), (5, 14), (14, 9)]):
            level = 0.9 if state >> (2 - lamp) & 1 else 0.35
            images[0, state] += level * ((y - row) ** 2 + (x - column) ** 2 <= 9)
            images[1, state] += level * (abs(y - row) + abs(x - column) <= 4)
    return FiniteWorld(group, (4, 2, 1), images)


_WORLDS: dict[str, Callable[[], FiniteWorld]] = {
    "C6": _cyclic_world,
    "D4": _dihedral_world,
    "C2xC2xC2": _switch_world,
}
