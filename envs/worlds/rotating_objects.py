"""Objects rotated in space: Chairs, without symmetries; Solids and Models, with symmetries."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..lie_groups.group import Group
from ..lie_groups.rotations import SO2, SO3
from ..simulation.state_layout import Float, Worlds
from .arrows import even_rotations
from .orbit_world import OrbitWorld
from .registry import register_world
from .scene_builder import about_vertical, add_mocap_body, box, cylinder, hull, make_scene, quaternion_of

if TYPE_CHECKING:
    import mujoco


class RotatingObjectWorld(OrbitWorld):
    """One object in front of the camera, rotated about its centre by ``SO(3)`` or a subgroup."""

    group: ClassVar[Group] = SO3()

    def update_scene(self, worlds: Worlds) -> None:
        """Rotate the objects and show the one of the class."""
        for index, name in enumerate(self.orbits):
            self.set_body_pose(name, worlds, np.zeros(3), self.quaternions(self.pose[worlds]))
            self.set_visible(name, worlds, self.orbit[worlds] == index)

    def quaternions(self, pose: Float) -> Float:
        """Return quaternions ``(n, 4)``, real part first, of the object in poses ``(n, dim)``."""
        return quaternion_of(pose)


@register_world("Chairs")
class Chairs(RotatingObjectWorld):
    """Three chairs, rotated in space: ``SO(3)`` acts freely on three orbits.

    Observation: ``(64, 64, 3)`` uint8 RGB, on black.

    | quantity | range | unit |
    |---|---|---|
    | action and pose, the matrix row by row | SO(3) | |
    """

    orbits = ("plain", "armchair", "stool with a back")

    @classmethod
    def model(cls) -> mujoco.MjModel:
        """Return the scene with all objects, compiled."""
        spec = make_scene(4.0, fovy=34, shaded=True)
        wood, cloth, steel = (0.75, 0.5, 0.25), (0.3, 0.55, 0.8), (0.75, 0.75, 0.75)
        plain = add_mocap_body(spec, cls.orbits[0])
        box(plain, [0.45, 0.45, 0.05], colour=wood)
        box(plain, [0.45, 0.05, 0.45], [0, 0.42, 0.5], cloth)
        for x, y in ((-0.38, -0.38), (-0.38, 0.38), (0.38, -0.38), (0.38, 0.38)):
            box(plain, [0.05, 0.05, 0.35], [x, y, -0.4], wood)
        arms = add_mocap_body(spec, cls.orbits[1])
        box(arms, [0.5, 0.45, 0.15], [0, 0, -0.1], cloth)
        box(arms, [0.5, 0.1, 0.35], [0, 0.45, 0.3], cloth)
        for x in (-0.55, 0.55):
            box(arms, [0.08, 0.5, 0.3], [x, 0, 0], wood)
        stool = add_mocap_body(spec, cls.orbits[2])
        cylinder(stool, 0.45, 0.06, colour=cloth)
        cylinder(stool, 0.07, 0.35, [0, 0, -0.4], steel)
        cylinder(stool, 0.35, 0.04, [0, 0, -0.75], steel)
        box(stool, [0.25, 0.04, 0.2], [0, 0.42, 0.4], wood)
        return spec.compile()


@register_world("Solids")
class Solids(RotatingObjectWorld):
    """A tetrahedron, a cube or an icosahedron: ``SO(3)`` acts, with stabilizers of order 12, 24 and 60.

    Observation: ``(64, 64, 3)`` uint8 RGB, on black.

    | quantity | range | unit |
    |---|---|---|
    | action and pose, the matrix row by row | SO(3) | |
    """

    orbits = ("tetrahedron", "cube", "icosahedron")
    symmetries: ClassVar[dict[str, str]] = {"tetrahedron": "T", "cube": "O", "icosahedron": "I"}
    """Names of the rotation groups of the objects, in Schoenflies notation."""

    @classmethod
    def model(cls) -> mujoco.MjModel:
        """Return the scene with all objects, compiled."""
        spec = make_scene(4.0, fovy=34, shaded=True)
        golden = (1 + np.sqrt(5)) / 2
        corners = {
            "tetrahedron": np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]),
            "cube": np.stack(np.meshgrid(*[[-1, 1]] * 3), -1).reshape(-1, 3),
            "icosahedron": np.concatenate(
                [np.roll([[0, a, b * golden] for a in (-1, 1) for b in (-1, 1)], shift, 1) for shift in range(3)]
            ),
        }
        for name, points in corners.items():
            hull(spec, add_mocap_body(spec, name), points / np.linalg.norm(points[0]), (0.9, 0.85, 0.7))
        return spec.compile()

    @classmethod
    def stabilizer(cls, orbit: int) -> Float:
        """Return the rotation group of the object, ``(order, 9)``."""
        from scipy.spatial.transform import Rotation

        return np.asarray(Rotation.create_group(cls.symmetries[cls.orbits[orbit]]).as_matrix().reshape(-1, 9))


@register_world("Models")
class Models(RotatingObjectWorld):
    """A mug, a bench, a stool, a table or a swivel base, rotated about the vertical: ``SO(2)`` acts.

    The stabilizers have 1, 2, 3, 4 and 5 elements.

    Observation: ``(64, 64, 3)`` uint8 RGB, on black, seen from above at a slant.

    | quantity | range | unit |
    |---|---|---|
    | action and pose, ``(cos, sin)`` of the rotation | the circle | |
    """

    group = SO2()
    orbits = ("mug", "bench", "stool", "table", "swivel base")

    @classmethod
    def model(cls) -> mujoco.MjModel:
        """Return the scene with all objects, compiled."""
        spec = make_scene(4.0, fovy=34, shaded=True, tilt=0.7)
        body = add_mocap_body(spec, "mug")
        cylinder(body, 0.45, 0.5, colour=(0.85, 0.3, 0.25))
        cylinder(body, 0.38, 0.01, [0, 0, 0.5], (0.25, 0.15, 0.1))
        for level in (-0.25, 0.25):
            box(body, [0.23, 0.06, 0.06], [0.65, 0, level], (0.85, 0.3, 0.25))
        box(body, [0.06, 0.06, 0.31], [0.85, 0, 0], (0.85, 0.3, 0.25))
        body = add_mocap_body(spec, "bench")
        box(body, [0.9, 0.3, 0.06], [0, 0, 0.2], (0.7, 0.5, 0.3))
        for side in (-0.7, 0.7):
            box(body, [0.08, 0.25, 0.25], [side, 0, -0.1], (0.5, 0.35, 0.2))
        body = add_mocap_body(spec, "stool")
        cylinder(body, 0.4, 0.06, [0, 0, 0.3], (0.4, 0.6, 0.8))
        for cos, sin in even_rotations(3):
            box(body, [0.07, 0.07, 0.45], [0.6 * cos, 0.6 * sin, -0.2], (0.8, 0.8, 0.8), np.arctan2(sin, cos))
            box(body, [0.3, 0.04, 0.04], [0.3 * cos, 0.3 * sin, 0.2], (0.8, 0.8, 0.8), np.arctan2(sin, cos))
        body = add_mocap_body(spec, "table")
        box(body, [0.65, 0.65, 0.06], [0, 0, 0.2], (0.35, 0.65, 0.4))
        for x, y in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            box(body, [0.07, 0.07, 0.3], [0.55 * x, 0.55 * y, -0.15], (0.8, 0.7, 0.5))
        body = add_mocap_body(spec, "swivel base")
        cylinder(body, 0.1, 0.4, [0, 0, 0.1], (0.8, 0.8, 0.8))
        for cos, sin in even_rotations(5):
            box(body, [0.4, 0.06, 0.05], [0.45 * cos, 0.45 * sin, -0.3], (0.6, 0.6, 0.65), np.arctan2(sin, cos))
            cylinder(body, 0.1, 0.06, [0.85 * cos, 0.85 * sin, -0.35], (0.9, 0.6, 0.2))
        return spec.compile()

    def quaternions(self, pose: Float) -> Float:
        """Return quaternions ``(n, 4)`` of rotations about the vertical."""
        return about_vertical(pose)

    @classmethod
    def stabilizer(cls, orbit: int) -> Float:
        """Return the rotations by multiples of ``2π / m`` for the ``m``-th object."""
        return even_rotations(orbit + 1)
