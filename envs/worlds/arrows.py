"""Arrows: stars of arrows, which some rotations leave unchanged."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..lie_groups.products import Product
from ..lie_groups.rotations import SO2
from ..simulation.state_layout import Float, Worlds
from .orbit_world import OrbitWorld
from .registry import register_world
from .scene_builder import about_vertical, add_mocap_body, box, hue, hull, make_scene

if TYPE_CHECKING:
    import mujoco

_LARGEST = 5


@register_world("Arrows")
class Arrows(OrbitWorld):
    """A star of one to five arrows at even angles: ``SO(2)`` acts, and ``m`` arrows have a stabilizer of order ``m``.

    Observation: ``(64, 64, 3)`` uint8 RGB, white on black.

    | quantity | range | unit |
    |---|---|---|
    | action and pose, ``(cos, sin)`` of the rotation | the circle | |
    """

    group = SO2()
    max_arrows: ClassVar[int] = _LARGEST
    """Largest number of arrows in a star."""
    orbits = tuple(f"{count} arrows" for count in range(1, _LARGEST + 1))

    @classmethod
    def model(cls) -> mujoco.MjModel:
        """Return the scene with all stars, compiled."""
        spec = make_scene(4.0, fovy=31, shaded=False)
        for count in range(1, cls.max_arrows + 1):
            star(spec, f"star{count}", count)
        return spec.compile()

    def update_scene(self, worlds: Worlds) -> None:
        """Rotate the stars and show the one of the class."""
        for count in range(1, self.max_arrows + 1):
            self.set_body_pose(f"star{count}", worlds, np.zeros(3), about_vertical(self.pose[worlds]))
            self.set_visible(f"star{count}", worlds, self.count(worlds) == count)

    def count(self, worlds: Worlds) -> Any:
        """Return the number of arrows of the stars in these worlds, ``(n,)``."""
        return self.orbit[worlds] + 1

    @classmethod
    def stabilizer(cls, orbit: int) -> Float:
        """Return the rotations by multiples of ``2π / m`` for ``m`` arrows."""
        return even_rotations(orbit + 1)


@register_world("ColouredArrows")
class ColouredArrows(Arrows):
    """`Arrows` in five colours: 25 orbits."""

    orbits = tuple(f"{count} arrows, {colour}" for count, colour in product(range(1, _LARGEST + 1), range(5)))

    def update_scene(self, worlds: Worlds) -> None:
        """Rotate and colour the stars, and show the one of the class."""
        super().update_scene(worlds)
        colours = hue(SO2().exp(2 * np.pi / 5 * (self.orbit[worlds] % 5)[:, None]))
        for count in range(1, self.max_arrows + 1):
            self.set_color(f"star{count}", worlds, colours)

    def count(self, worlds: Worlds) -> Any:
        """Return the number of arrows of the stars in these worlds, ``(n,)``."""
        return self.orbit[worlds] // 5 + 1

    @classmethod
    def stabilizer(cls, orbit: int) -> Float:
        """Return the rotations by multiples of ``2π / m`` for ``m`` arrows."""
        return even_rotations(orbit // 5 + 1)


@register_world("DoubleArrows")
class DoubleArrows(OrbitWorld):
    """Two stars side by side, of two and three arrows or of three and five, each rotated on its own.

    The torus ``SO(2)²`` acts; the stabilizers of the two classes have 6 and 15 elements.

    Observation: ``(64, 64, 3)`` uint8 RGB, white on black.

    | quantity | range | unit |
    |---|---|---|
    | action and pose, ``(cos, sin)`` of the rotations of the left and the right star | the torus | |
    """

    group = Product((SO2(), SO2()))
    orbits = ("2 and 3 arrows", "3 and 5 arrows")

    @classmethod
    def model(cls) -> mujoco.MjModel:
        """Return the scene with all stars, compiled."""
        spec = make_scene(4.0, fovy=58, shaded=False)
        for name, count in zip(("left2", "left3", "right3", "right5"), (2, 3, 3, 5), strict=True):
            star(spec, name, count)
        return spec.compile()

    def update_scene(self, worlds: Worlds) -> None:
        """Rotate the stars and show the two of the class."""
        left, right = about_vertical(self.pose[worlds, :2]), about_vertical(self.pose[worlds, 2:])
        for orbit, (one, other) in enumerate((("left2", "right3"), ("left3", "right5"))):
            self.set_body_pose(one, worlds, [-1.08, 0, 0], left)
            self.set_body_pose(other, worlds, [1.08, 0, 0], right)
            for body in (one, other):
                self.set_visible(body, worlds, self.orbit[worlds] == orbit)

    @classmethod
    def stabilizer(cls, orbit: int) -> Float:
        """Return the product of the stabilizers of both stars."""
        one, other = (even_rotations(count) for count in ((2, 3), (3, 5))[orbit])
        return np.concatenate([np.repeat(one, len(other), 0), np.tile(other, (len(one), 1))], 1)


def even_rotations(count: int) -> Float:
    """Return the rotations by multiples of ``2π / count``, ``(count, 2)``."""
    return SO2().exp(2 * np.pi / count * np.arange(count)[:, None])


def star(spec: mujoco.MjSpec, name: str, count: int) -> None:
    """Add ``count`` arrows that point outwards from the centre, each one metre long, at even angles."""
    body = add_mocap_body(spec, name)
    for cos, sin in even_rotations(count):
        box(body, [0.33, 0.07, 0.005], [0.35 * cos, 0.35 * sin, 0], turn=np.arctan2(sin, cos))
        turn = np.array([[cos, -sin], [sin, cos]])
        head = turn @ np.array([[1.0, 0.62, 0.62], [0.0, 0.25, -0.25]])
        hull(spec, body, [[*point, level] for point in head.T for level in (-0.005, 0.005)])
