"""Apartments: a mobile robot moves in one of two furnished flats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..lie_groups.rigid_motions import SE2
from ..simulation.state_layout import Float, Worlds
from .orbit_world import OrbitWorld
from .registry import register_world
from .scene_builder import about_vertical, add_mocap_body, box, make_scene
from .world import Bool

if TYPE_CHECKING:
    import mujoco

FLAT_HALF_SIZE = np.array([3.0, 2.0])
"""Half the length and width of a flat, in metres."""
PANEL_WIDTH = 0.5
"""Width of the panels of walls, in metres; their brightness increases, so that a view of a wall shows the position."""


@dataclass(frozen=True)
class Piece:
    """A box on the floor.

    Attributes:
        centre: position in metres.
        half: half sizes in metres.
        colour: RGB in [0, 1].
    """

    centre: tuple[float, float]
    half: tuple[float, float, float]
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class Flat:
    """Colours and furniture of a flat.

    Attributes:
        floor: colour of the floor.
        walls: colours of the east, north, west and south wall.
        partition: colours of both sides of the partition, which is the first piece.
        pieces: the partition and the furniture.
    """

    floor: tuple[float, float, float]
    walls: tuple[tuple[float, float, float], ...]
    partition: tuple[tuple[float, float, float], ...]
    pieces: tuple[Piece, ...]


FLATS = {
    "flat with a sofa": Flat(
        (0.55, 0.42, 0.30),
        ((0.85, 0.80, 0.70), (0.45, 0.60, 0.75), (0.80, 0.55, 0.45), (0.60, 0.70, 0.50)),
        ((0.95, 0.90, 0.80), (0.75, 0.45, 0.70)),
        (
            Piece((0.6, 1.0), (0.08, 1.0, 1.2), (0.90, 0.88, 0.80)),
            Piece((-1.6, 1.6), (0.9, 0.35, 0.4), (0.20, 0.35, 0.65)),
            Piece((-1.5, -0.2), (0.45, 0.3, 0.25), (0.60, 0.35, 0.15)),
            Piece((-2.7, -1.3), (0.25, 0.6, 1.0), (0.35, 0.20, 0.10)),
            Piece((2.4, 1.4), (0.55, 0.5, 0.3), (0.75, 0.25, 0.30)),
            Piece((2.7, -1.2), (0.25, 0.5, 0.9), (0.95, 0.85, 0.35)),
            Piece((0.9, -1.75), (0.7, 0.2, 0.5), (0.30, 0.55, 0.50)),
        ),
    ),
    "flat with a piano": Flat(
        (0.40, 0.40, 0.45),
        ((0.55, 0.75, 0.65), (0.85, 0.65, 0.75), (0.90, 0.85, 0.55), (0.50, 0.50, 0.70)),
        ((0.80, 0.85, 0.95), (0.60, 0.45, 0.30)),
        (
            Piece((-0.8, -1.1), (0.08, 0.9, 1.2), (0.85, 0.85, 0.90)),
            Piece((-2.0, 1.7), (0.8, 0.25, 0.65), (0.08, 0.08, 0.10)),
            Piece((-2.0, 1.1), (0.3, 0.15, 0.25), (0.50, 0.10, 0.10)),
            Piece((-2.5, -1.4), (0.45, 0.5, 0.45), (0.25, 0.60, 0.30)),
            Piece((1.6, 0.2), (0.7, 0.45, 0.38), (0.70, 0.50, 0.25)),
            Piece((2.7, 1.5), (0.25, 0.4, 1.1), (0.30, 0.45, 0.80)),
            Piece((1.2, -1.8), (0.9, 0.18, 0.8), (0.85, 0.40, 0.15)),
        ),
    ),
}


@register_world("Apartments")
class Apartments(OrbitWorld):
    """A robot in one of two flats: ``SE(2)`` acts freely on two orbits.

    The pose is that of the flat relative to the robot, so that motions in the robot's frame act from the left. The
    robot is at ``pose⁻¹`` in the flat. The action ``m⁻¹`` moves it by ``m`` in its own frame (x ahead, y to the left).
    An action that would hit a wall or furniture is not performed.

    Observation: ``(64, 64, 3)`` uint8 RGB, from a wide-angle camera on the robot, 0.7 m above the floor.

    | quantity | range | unit |
    |---|---|---|
    | action and pose, ``(x, y, cos, sin)`` | SE(2) | m |
    | the robot's position in the flat, ``(x, y)`` | [-2.65, 2.65] × [-1.65, 1.65] without the furniture | m |
    """

    group = SE2()
    orbits = tuple(FLATS)
    max_tangent = (0.7, 0.7, 1.0)
    episode_steps = 100  # long enough to cross the flat, which is the same throughout an episode
    clearance: ClassVar[float] = 0.35
    """Least distance of the camera from walls and furniture, in metres."""
    flat_distance: ClassVar[float] = 40.0
    """Distance between the flats in the scene, in metres."""

    @classmethod
    def model(cls) -> mujoco.MjModel:
        """Return the scene with both flats, compiled."""
        from scipy.spatial.transform import Rotation

        spec = make_scene(1.0, fovy=90, shaded=True)
        robot = add_mocap_body(spec, "robot")
        spec.delete(spec.cameras[0])
        ahead = Rotation.from_matrix([[0, 0, -1], [-1, 0, 0], [0, 1, 0]]).as_quat(scalar_first=True)
        robot.add_camera(name=cls.camera, pos=[0, 0, 0.7], quat=ahead, fovy=115)
        for index, flat in enumerate(FLATS.values()):
            _build(spec.worldbody, flat, cls.flat_distance * index)
        return spec.compile()

    def robot(self, pose: Float) -> Float:
        """Return the poses of the robot in the flat, ``(n, 4)``: the inverse of the poses of the world."""
        return self.group.inverse(pose)

    def random_pose(self, generator: np.random.Generator, orbit: int) -> Float:
        """Return a random pose at which the robot touches nothing."""
        while True:
            place = np.append(generator.uniform(-FLAT_HALF_SIZE, FLAT_HALF_SIZE), 0.0)[None]
            if self.has_room(place[:, :2], np.array([orbit]))[0]:
                place[:, 2] = generator.uniform(-np.pi, np.pi)
                turn = np.stack([np.cos(place[:, 2]), np.sin(place[:, 2])], 1)
                return np.asarray(self.group.inverse(np.concatenate([place[:, :2], turn], 1))[0])

    def apply_constraints(self, before: Float, wanted: Float, orbit: NDArray[np.int64]) -> Float:
        """Return the wanted poses, or those before where the straight path is blocked."""
        start, end = self.robot(before)[:, :2], self.robot(wanted)[:, :2]
        clear = np.all([self.has_room(start + share * (end - start), orbit) for share in np.linspace(0.2, 1, 5)], 0)
        return np.where(clear[:, None], wanted, before)

    def has_room(self, places: Float, orbit: NDArray[np.int64]) -> Bool:
        """Return whether the robot has room at positions ``(n, 2)`` of the flats, ``(n,)``."""
        room = np.asarray((np.abs(places) <= FLAT_HALF_SIZE - self.clearance).all(1))
        for index, flat in enumerate(FLATS.values()):
            for piece in flat.pieces:
                inside = (np.abs(places - piece.centre) < np.array(piece.half[:2]) + self.clearance).all(1)
                room &= ~(inside & (orbit == index))
        return room

    def update_scene(self, worlds: Worlds) -> None:
        """Place the robot, which carries the camera, in its flat."""
        robot = self.robot(self.pose[worlds])
        flat = self.flat_distance * self.orbit[worlds]
        self.set_body_pose(
            "robot", worlds, np.stack([robot[:, 0] + flat, robot[:, 1], 0 * flat], 1), about_vertical(robot[:, 2:])
        )


def _build(place: mujoco.MjsBody, flat: Flat, east: float) -> None:
    """Add a flat whose centre lies ``east`` metres along x."""
    length, width = FLAT_HALF_SIZE
    box(place, [length, width, 0.01], [east, 0, -0.01], flat.floor)
    box(place, [length, width, 0.01], [east, 0, 2.41], (0.95, 0.95, 0.95))
    corners = np.array([[length, -width], [length, width], [-length, width], [-length, -width], [length, -width]])
    for start, end, colour in zip(corners[:-1], corners[1:], flat.walls, strict=True):
        shift = np.array([east, 0.0])
        _wall(place, start + shift, end + shift, colour)
    for piece in flat.pieces:
        box(place, piece.half, [east + piece.centre[0], piece.centre[1], piece.half[2]], piece.colour)
    partition = flat.pieces[0]
    for side, colour in zip((-1, 1), flat.partition, strict=True):
        middle = np.array([east + partition.centre[0] + side * partition.half[0], partition.centre[1]])
        along = np.array([0.0, side * partition.half[1]])
        _wall(place, middle + along, middle - along, colour)


def _wall(place: mujoco.MjsBody, start: Float, end: Float, colour: tuple[float, float, float]) -> None:
    """Add the panels of a wall from one corner to another, each brighter than the last."""
    count = round(float(np.linalg.norm(end - start)) / PANEL_WIDTH)
    half = np.abs(end - start) / (2 * count) + 0.01
    for index, light in enumerate(np.linspace(0.5, 1, count)):
        centre = start + (index + 0.5) / count * (end - start)
        box(place, [*half, 1.2], [*centre, 1.2], light * np.array(colour))
