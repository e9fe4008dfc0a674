"""Flat shapes that are shifted and scaled: Sprites, one at a time, and Multi-Sprites, three."""

from __future__ import annotations

from itertools import product

import mujoco
import numpy as np
from numpy.typing import NDArray

from envs.groups import Translations
from envs.orbits import OrbitWorld, box, cylinder, figure, studio
from envs.simulator import Float, Worlds

SHAPES = ("square", "ellipse", "heart")
HEIGHT = 4.0
"""Of the camera over the plane in which a sprite has scale 1, in metres."""


class Sprites(OrbitWorld):
    """A square, an ellipse or a heart, shifted and scaled: ``R³`` acts freely, on three orbits.

    A sprite is scaled by bringing it nearer to the camera, and shifted in proportion, so that in the image nothing else
    happens.

    Observation: ``(64, 64, 3)`` uint8 RGB, white on black.

    | quantity | range | unit |
    |---|---|---|
    | action, ``(dx, dy, ds)`` | [-1, 1]³ | half image widths (about), and log-scale |
    | pose, ``(x, y, s)`` | [-0.7, 0.7]² × [-0.5, 0.5] | as above; what would lie beyond is reflected |
    """

    group = Translations(3)
    orbits = SHAPES
    stride = (0.7, 0.7, 0.5)
    reach = np.array([[-0.7, -0.7, -0.5], [0.7, 0.7, 0.5]])

    @classmethod
    def model(cls) -> mujoco.MjModel:
        spec = studio(HEIGHT, fovy=26, shaded=False)
        for shape in SHAPES:
            sprite(spec, shape, shape, (1, 1, 1))
        return spec.compile()

    def random_pose(self, generator: np.random.Generator, orbit: int) -> Float:
        return np.asarray(generator.uniform(*self.reach))

    def reached(self, before: Float, wanted: Float, orbit: NDArray[np.int64]) -> Float:
        return reflected(wanted, *self.reach)

    def show(self, worlds: Worlds) -> None:
        shift, nearness = self.pose[worlds, :2], np.exp(-self.pose[worlds, 2:])
        position = np.concatenate([shift * nearness, HEIGHT * (1 - nearness)], 1)
        for index, shape in enumerate(SHAPES):
            self.put(shape, worlds, position)
            self.reveal(shape, worlds, self.orbit[worlds] == index)


class MultiSprites(OrbitWorld):
    """A red, a green and a blue sprite, each shifted on its own: ``R⁶`` acts freely, on 27 orbits.

    Where they overlap, red is over green and green over blue; one may hide another.

    Observation: ``(64, 64, 3)`` uint8 RGB, on black.

    | quantity | range | unit |
    |---|---|---|
    | action, ``(dx, dy)`` of each | [-1, 1]⁶ | half image widths (about) |
    | pose, ``(x, y)`` of each | [-0.7, 0.7]⁶ | as above; what would lie beyond is reflected |
    """

    group = Translations(6)
    orbits = tuple("-".join(shapes) for shapes in product(SHAPES, repeat=3))
    stride = (0.7,) * 6
    reach = 0.7

    @classmethod
    def model(cls) -> mujoco.MjModel:
        spec = studio(HEIGHT, fovy=26, shaded=False)
        for slot, shape in product(range(3), SHAPES):
            sprite(spec, f"{shape}{slot}", shape, np.eye(3)[slot])
        return spec.compile()

    def random_pose(self, generator: np.random.Generator, orbit: int) -> Float:
        return np.asarray(generator.uniform(-self.reach, self.reach, 6))

    def reached(self, before: Float, wanted: Float, orbit: NDArray[np.int64]) -> Float:
        return reflected(wanted, -self.reach, self.reach)

    def show(self, worlds: Worlds) -> None:
        shapes = np.stack(np.unravel_index(self.orbit[worlds], (3, 3, 3)), 1)
        for slot in range(3):
            nearness = 1 + 0.05 * (slot - 2)
            level = np.full((len(worlds), 1), HEIGHT * (1 - nearness))
            position = np.concatenate([self.pose[worlds, 2 * slot : 2 * slot + 2] * nearness, level], 1)
            for index, shape in enumerate(SHAPES):
                self.put(f"{shape}{slot}", worlds, position)
                self.reveal(f"{shape}{slot}", worlds, shapes[:, slot] == index)


def reflected(wanted: Float, low: Float | float, high: Float | float) -> Float:
    """Poses within bounds: what would lie beyond one comes back from it, as from a mirror.

    Random actions then lead everywhere equally often. Stopped at the bounds, many would end in the same corners.

    >>> reflected(np.array([-0.2, 0.5, 1.2, 2.5]), 0.0, 1.0).round(6)
    array([0.2, 0.5, 0.8, 0.5])
    """
    side = np.subtract(high, low)
    return np.asarray(low + side - np.abs((wanted - low) % (2 * side) - side))


def sprite(spec: mujoco.MjSpec, name: str, shape: str, colour: tuple[float, ...] | Float) -> None:
    """Add a flat shape, about half a metre wide."""
    body, thin = figure(spec, name), 0.005
    if shape == "square":
        box(body, [0.18, 0.18, thin], colour=colour)
    elif shape == "ellipse":
        size = [0.13, 0.25, thin]
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_ELLIPSOID, size=size, rgba=[*colour, 1])
    else:
        lobe = 0.12
        box(body, [lobe, lobe, thin], colour=colour, turn=np.pi / 4)
        for side in (-1, 1):
            cylinder(body, lobe, thin, [side * lobe / np.sqrt(2), lobe / np.sqrt(2), 0], colour)
