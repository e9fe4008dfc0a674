"""Arrows: stars of arrows, which some turns leave as they are."""

from __future__ import annotations

from itertools import product
from typing import Any

import mujoco
import numpy as np

from envs.groups import PlaneRotations, group_from_name
from envs.orbits import OrbitWorld, about_vertical, box, figure, hue, hull, studio
from envs.simulator import Float, Worlds

MOST = 5
"""Arrows in a star, at most."""


class Arrows(OrbitWorld):
    """One to five arrows at even angles, turned: ``SO(2)`` acts, and a star of ``m`` arrows has ``m`` symmetries.

    Observation: ``(64, 64, 3)`` uint8 RGB, white on black.

    | quantity | range | unit |
    |---|---|---|
    | action and pose, ``(cos, sin)`` of the turn | the circle | |
    """

    group = PlaneRotations()
    orbits = tuple(f"{count} arrows" for count in range(1, MOST + 1))

    @classmethod
    def model(cls) -> mujoco.MjModel:
        spec = studio(4.0, fovy=31, shaded=False)
        for count in range(1, MOST + 1):
            star(spec, f"star{count}", count)
        return spec.compile()

    def show(self, worlds: Worlds) -> None:
        for count in range(1, MOST + 1):
            self.put(f"star{count}", worlds, np.zeros(3), about_vertical(self.pose[worlds]))
            self.reveal(f"star{count}", worlds, self.count(worlds) == count)

    def count(self, worlds: Worlds) -> Any:
        """Arrows of the stars in these worlds."""
        return self.orbit[worlds] + 1

    @classmethod
    def stabilizer(cls, orbit: int) -> Float:
        return even_turns(orbit + 1)


class ColouredArrows(Arrows):
    """`Arrows` in five colours: 25 orbits."""

    orbits = tuple(f"{count} arrows, {colour}" for count, colour in product(range(1, MOST + 1), range(5)))

    def show(self, worlds: Worlds) -> None:
        super().show(worlds)
        colours = hue(PlaneRotations().exp(2 * np.pi / 5 * (self.orbit[worlds] % 5)[:, None]))
        for count in range(1, MOST + 1):
            self.paint(f"star{count}", worlds, colours)

    def count(self, worlds: Worlds) -> Any:
        return self.orbit[worlds] // 5 + 1

    @classmethod
    def stabilizer(cls, orbit: int) -> Float:
        return even_turns(orbit // 5 + 1)


class DoubleArrows(OrbitWorld):
    """Two stars side by side, of two and three arrows or of three and five, each turned on its own.

    The torus ``SO(2)²`` acts; the two orbits have 6 and 15 symmetries.

    Observation: ``(64, 64, 3)`` uint8 RGB, white on black.

    | quantity | range | unit |
    |---|---|---|
    | action and pose, ``(cos, sin)`` of the turn of the left and of the right star | the torus | |
    """

    group = group_from_name("SO2xSO2")
    orbits = ("2 and 3 arrows", "3 and 5 arrows")

    @classmethod
    def model(cls) -> mujoco.MjModel:
        spec = studio(4.0, fovy=58, shaded=False)
        for name, count in zip(("left2", "left3", "right3", "right5"), (2, 3, 3, 5), strict=True):
            star(spec, name, count)
        return spec.compile()

    def show(self, worlds: Worlds) -> None:
        left, right = about_vertical(self.pose[worlds, :2]), about_vertical(self.pose[worlds, 2:])
        for orbit, (one, other) in enumerate((("left2", "right3"), ("left3", "right5"))):
            self.put(one, worlds, [-1.08, 0, 0], left)
            self.put(other, worlds, [1.08, 0, 0], right)
            for body in (one, other):
                self.reveal(body, worlds, self.orbit[worlds] == orbit)

    @classmethod
    def stabilizer(cls, orbit: int) -> Float:
        one, other = (even_turns(count) for count in ((2, 3), (3, 5))[orbit])
        return np.concatenate([np.repeat(one, len(other), 0), np.tile(other, (len(one), 1))], 1)


def even_turns(count: int) -> Float:
    """The turns by multiples of ``2π / count``, ``(count, 2)``."""
    return PlaneRotations().exp(2 * np.pi / count * np.arange(count)[:, None])


def star(spec: mujoco.MjSpec, name: str, count: int) -> None:
    """Add so many arrows of one metre from the centre, at even angles."""
    body = figure(spec, name)
    for cos, sin in even_turns(count):
        box(body, [0.33, 0.07, 0.005], [0.35 * cos, 0.35 * sin, 0], turn=np.arctan2(sin, cos))
        turn = np.array([[cos, -sin], [sin, cos]])
        head = turn @ np.array([[1.0, 0.62, 0.62], [0.0, 0.25, -0.25]])
        hull(spec, body, [[*point, level] for point in head.T for level in (-0.005, 0.005)])
