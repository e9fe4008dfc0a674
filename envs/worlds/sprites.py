"""Flat shapes: Sprites, one that is shifted and scaled; MultiSprites, three that are shifted."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..lie_groups.translations import Translations
from ..simulation.dependencies import import_mujoco
from ..simulation.state_layout import Float, Worlds
from .orbit_world import OrbitWorld
from .registry import register_world
from .scene_builder import add_mocap_body, box, cylinder, make_scene

if TYPE_CHECKING:
    import mujoco

SHAPES = ("square", "ellipse", "heart")
CAMERA_HEIGHT = 4.0
"""Height of the camera over the plane in which a sprite has scale 1, in metres."""


@register_world("Sprites")
class Sprites(OrbitWorld):
    """A square, an ellipse or a heart, shifted and scaled: ``R³`` acts freely on three orbits.

    Scaling moves the sprite towards the camera, and its shift in proportion, so that its centre stays in the image.

    Observation: ``(64, 64, 3)`` uint8 RGB, white on black.

    | quantity | range | unit |
    |---|---|---|
    | action, ``(dx, dy, ds)`` | [-1, 1]³ | half image widths (about), and log-scale |
    | pose, ``(x, y, s)`` | [-0.7, 0.7]² × [-0.5, 0.5] | as above; reflected at the bounds |
    """

    group = Translations(3)
    orbits = SHAPES
    max_tangent = (0.7, 0.7, 0.5)
    reach: ClassVar[Float] = np.array([[-0.7, -0.7, -0.5], [0.7, 0.7, 0.5]])
    """Lowest and highest pose, ``(2, 3)``."""

    @classmethod
    def model(cls) -> mujoco.MjModel:
        """Return the scene with all sprites, compiled."""
        spec = make_scene(CAMERA_HEIGHT, fovy=26, shaded=False)
        for shape in SHAPES:
            sprite(spec, shape, shape, (1, 1, 1))
        return spec.compile()

    def random_pose(self, generator: np.random.Generator, orbit: int) -> Float:
        """Return a pose drawn uniformly within the bounds."""
        return np.asarray(generator.uniform(*self.reach))

    def apply_constraints(self, before: Float, wanted: Float, orbit: NDArray[np.int64]) -> Float:
        """Return the wanted poses, reflected at the bounds."""
        return reflected(wanted, *self.reach)

    def update_scene(self, worlds: Worlds) -> None:
        """Place the sprites and show those of the class."""
        shift, nearness = self.pose[worlds, :2], np.exp(-self.pose[worlds, 2:])
        position = np.concatenate([shift * nearness, CAMERA_HEIGHT * (1 - nearness)], 1)
        for index, shape in enumerate(SHAPES):
            self.set_body_pose(shape, worlds, position)
            self.set_visible(shape, worlds, self.orbit[worlds] == index)


@register_world("MultiSprites")
class MultiSprites(OrbitWorld):
    """A red, a green and a blue sprite, each shifted on its own: ``R⁶`` acts freely on 27 orbits.

    Red covers green, and green covers blue.

    Observation: ``(64, 64, 3)`` uint8 RGB, on black.

    | quantity | range | unit |
    |---|---|---|
    | action, ``(dx, dy)`` of each | [-1, 1]⁶ | half image widths (about) |
    | pose, ``(x, y)`` of each | [-0.7, 0.7]⁶ | as above; reflected at the bounds |
    """

    group = Translations(6)
    orbits = tuple("-".join(shapes) for shapes in product(SHAPES, repeat=3))
    max_tangent = (0.7,) * 6
    reach: ClassVar[float] = 0.7
    """Largest absolute coordinate of a pose."""

    @classmethod
    def model(cls) -> mujoco.MjModel:
        """Return the scene with all sprites, compiled."""
        spec = make_scene(CAMERA_HEIGHT, fovy=26, shaded=False)
        for slot, shape in product(range(3), SHAPES):
            sprite(spec, f"{shape}{slot}", shape, np.eye(3)[slot])
        return spec.compile()

    def random_pose(self, generator: np.random.Generator, orbit: int) -> Float:
        """Return a pose drawn uniformly within the bounds."""
        return np.asarray(generator.uniform(-self.reach, self.reach, 6))

    def apply_constraints(self, before: Float, wanted: Float, orbit: NDArray[np.int64]) -> Float:
        """Return the wanted poses, reflected at the bounds."""
        return reflected(wanted, -self.reach, self.reach)

    def update_scene(self, worlds: Worlds) -> None:
        """Place the sprites and show those of the class."""
        shapes = np.stack(np.unravel_index(self.orbit[worlds], (3, 3, 3)), 1)
        for slot in range(3):
            nearness = 1 + 0.05 * (slot - 2)
            level = np.full((len(worlds), 1), CAMERA_HEIGHT * (1 - nearness))
            position = np.concatenate([self.pose[worlds, 2 * slot : 2 * slot + 2] * nearness, level], 1)
            for index, shape in enumerate(SHAPES):
                self.set_body_pose(f"{shape}{slot}", worlds, position)
                self.set_visible(f"{shape}{slot}", worlds, shapes[:, slot] == index)


def reflected(wanted: Float, low: Float | float, high: Float | float) -> Float:
    """Return poses reflected at their bounds, as by mirrors.

    Random actions then visit all poses equally often. If poses were clipped, many would end in the corners.

    >>> reflected(np.array([-0.2, 0.5, 1.2, 2.5]), 0.0, 1.0).round(6)
    array([0.2, 0.5, 0.8, 0.5])
    """
    side = np.subtract(high, low)
    return np.asarray(low + side - np.abs((wanted - low) % (2 * side) - side))


def sprite(spec: mujoco.MjSpec, name: str, shape: str, colour: tuple[float, ...] | Float) -> None:
    """Add a flat shape, about half a metre wide."""
    body, thin = add_mocap_body(spec, name), 0.005
    if shape == "square":
        box(body, [0.18, 0.18, thin], colour=colour)
    elif shape == "ellipse":
        size = [0.13, 0.25, thin]
        body.add_geom(type=import_mujoco().mjtGeom.mjGEOM_ELLIPSOID, size=size, rgba=[*colour, 1])
    else:
        lobe = 0.12
        box(body, [lobe, lobe, thin], colour=colour, turn=np.pi / 4)
        for side in (-1, 1):
            cylinder(body, lobe, thin, [side * lobe / np.sqrt(2), lobe / np.sqrt(2), 0], colour)
