"""Shapes: the hues of floor, wall and object change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lie_groups.products import Product
from ..lie_groups.rotations import SO2
from ..simulation.dependencies import import_mujoco
from ..simulation.state_layout import Worlds
from .orbit_world import OrbitWorld
from .registry import register_world
from .scene_builder import add_mocap_body, box, cylinder, hue, make_scene

if TYPE_CHECKING:
    import mujoco

SHAPES = ("cube", "cylinder", "ball", "capsule")


@register_world("Shapes")
class Shapes(OrbitWorld):
    """A cube, a cylinder, a ball or a capsule in a room: the torus ``SO(2)³`` acts freely on four orbits.

    Each factor rotates one hue: of the floor, the wall and the object.

    Observation: ``(64, 64, 3)`` uint8 RGB.

    | quantity | range | unit |
    |---|---|---|
    | action and pose, ``(cos, sin)`` of the hues of floor, wall and object | the torus | |
    """

    group = Product((SO2(), SO2(), SO2()))
    orbits = SHAPES

    @classmethod
    def model(cls) -> mujoco.MjModel:
        """Return the scene with all objects, compiled."""
        geoms = import_mujoco().mjtGeom
        spec = make_scene(3.4, fovy=45, shaded=True, tilt=1.2, aim=0.5)
        box(add_mocap_body(spec, "floor"), [4, 3, 0.01], [0, 1, -0.01])
        box(add_mocap_body(spec, "wall"), [4, 0.01, 2], [0, 2, 2])
        box(add_mocap_body(spec, "cube"), [0.42, 0.42, 0.42], [0, 0, 0.42], turn=0.5)
        cylinder(add_mocap_body(spec, "cylinder"), 0.42, 0.5, [0, 0, 0.5])
        ball, capsule = add_mocap_body(spec, "ball"), add_mocap_body(spec, "capsule")
        ball.add_geom(type=geoms.mjGEOM_SPHERE, size=[0.5, 0, 0], pos=[0, 0, 0.5])
        capsule.add_geom(type=geoms.mjGEOM_CAPSULE, size=[0.28, 0.35, 0], pos=[0, 0, 0.63])
        return spec.compile()

    def update_scene(self, worlds: Worlds) -> None:
        """Set the hues and show the object of the class."""
        floor, wall, object_ = (hue(self.pose[worlds, 2 * part : 2 * part + 2]) for part in range(3))
        self.set_color("floor", worlds, floor)
        self.set_color("wall", worlds, wall)
        for index, shape in enumerate(SHAPES):
            self.set_color(shape, worlds, object_)
            self.set_visible(shape, worlds, self.orbit[worlds] == index)
