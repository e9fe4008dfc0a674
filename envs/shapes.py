"""Shapes: the colours of a scene in space change."""

from __future__ import annotations

import mujoco

from envs.groups import group_from_name
from envs.orbits import OrbitWorld, box, cylinder, figure, hue, studio
from envs.simulator import Worlds

SHAPES = ("cube", "cylinder", "ball", "capsule")


class Shapes(OrbitWorld):
    """A cube, a cylinder, a ball or a capsule in a room: the hues of floor, wall and object turn, ``SO(2)³``.

    The torus acts freely on four orbits.

    Observation: ``(64, 64, 3)`` uint8 RGB.

    | quantity | range | unit |
    |---|---|---|
    | action and pose, ``(cos, sin)`` of the turns of floor, wall and object | the torus | |
    """

    group = group_from_name("SO2xSO2xSO2")
    orbits = SHAPES

    @classmethod
    def model(cls) -> mujoco.MjModel:
        spec = studio(3.4, fovy=45, shaded=True, tilt=1.2, aim=0.5)
        box(figure(spec, "floor"), [4, 3, 0.01], [0, 1, -0.01])
        box(figure(spec, "wall"), [4, 0.01, 2], [0, 2, 2])
        box(figure(spec, "cube"), [0.42, 0.42, 0.42], [0, 0, 0.42], turn=0.5)
        cylinder(figure(spec, "cylinder"), 0.42, 0.5, [0, 0, 0.5])
        ball, capsule = figure(spec, "ball"), figure(spec, "capsule")
        ball.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.5, 0, 0], pos=[0, 0, 0.5])
        capsule.add_geom(type=mujoco.mjtGeom.mjGEOM_CAPSULE, size=[0.28, 0.35, 0], pos=[0, 0, 0.63])
        return spec.compile()

    def show(self, worlds: Worlds) -> None:
        floor, wall, object_ = (hue(self.pose[worlds, 2 * part : 2 * part + 2]) for part in range(3))
        self.paint("floor", worlds, floor)
        self.paint("wall", worlds, wall)
        for index, shape in enumerate(SHAPES):
            self.paint(shape, worlds, object_)
            self.reveal(shape, worlds, self.orbit[worlds] == index)
