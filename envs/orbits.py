"""Worlds in which nothing but the group acts: what is seen is a class and a pose.

The states of such a world are the union of orbits ``{g·x : g ∈ G}``, one for each class ``x``. An element ``s`` with
``s·x = x`` is in the stabilizer of ``x``; poses are known up to it: ``h`` and ``h·s`` look the same.

| key of ``info`` | shape | meaning |
|---|---|---|
| ``displacement`` | ``(dim,)`` | the element ``g`` that was performed, ``pose ← g·pose`` |
| ``agent_pose`` | ``(dim,)`` | the true pose, a group element; for evaluation only |
| ``orbit`` | ``(1,)`` | number of the class; for evaluation only |
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import gymnasium as gym
import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from envs.groups import Group, GroupError
from envs.simulator import Float, Worlds
from envs.world import Bool, Info, World


class Elements(gym.spaces.Box):
    """Elements of a group: arrays of their coordinates, one or ``count`` of them.

    Args:
        group: which one.
        stride: largest tangent coordinates of what is sampled; None samples all of a compact group.
        count: how many elements a member of the space holds; None for a single one.
    """

    def __init__(self, group: Group, stride: tuple[float, ...] | None = None, count: int | None = None) -> None:
        self.group, self.stride, self.count = group, stride, count
        bound = max(1.0, *(stride or (1.0,)))
        super().__init__(-bound, bound, (group.dim,) if count is None else (count, group.dim), np.float32)

    def contains(self, x: Any) -> bool:
        """Whether ``x`` is an element, or ``count`` of them, as a world accepts them: of any size, unlike samples."""
        given = np.asarray(x)
        if given.shape != self.shape or given.dtype.kind not in "fiu":
            return False
        try:
            self.group.validate(given)
        except GroupError:
            return False
        return True

    def sample(self, mask: None = None, probability: None = None) -> NDArray[Any]:
        """Random elements, tangents uniform up to the stride or elements uniform on the group."""
        count = self.count or 1
        if self.stride is None:
            elements = self.group.random(self.np_random, count)
        else:
            limit = np.array(self.stride)
            elements = self.group.exp(self.np_random.uniform(-limit, limit, (count, self.group.tangent_dim)))
        return elements.reshape(self.shape).astype(np.float32)


class OrbitWorld(World):
    """A world of classes and poses; subclass it once a world."""

    camera = "eye"
    samples = 2  # poses are told to a fraction of a degree, by which edges move less than a pixel
    episode_steps = 20
    orbits: ClassVar[tuple[str, ...]]
    """Names of the classes."""
    stride: ClassVar[tuple[float, ...] | None] = None
    """Largest tangent coordinates of a random action; None for all of a compact group."""

    def __init__(self, num_worlds: int = 1, **options: Any) -> None:
        super().__init__(num_worlds, **options)
        self.pose: Float = np.tile(self.group.identity(), (num_worlds, 1))
        self.orbit = np.zeros(num_worlds, int)

    @abstractmethod
    def show(self, worlds: Worlds) -> None:
        """Put into the scenes of these worlds what is to be seen of their classes and poses."""

    @classmethod
    def stabilizer(cls, orbit: int) -> Float:
        """The elements ``s`` with ``s·x = x`` for the class in the pose 1, ``(order, dim)``; 1 alone where free."""
        return cls.group.identity()[None]

    @classmethod
    def free(cls) -> bool:
        """Whether the group acts freely: nothing but 1 leaves anything as it is."""
        return all(len(cls.stabilizer(orbit)) == 1 for orbit in range(len(cls.orbits)))

    @classmethod
    def require_free(cls) -> None:
        """Check that one pose is enough for everything.

        Raises:
            ValueError: the group does not act freely.
        """
        for orbit, name in enumerate(cls.orbits):
            order = len(cls.stabilizer(orbit))
            if order > 1:
                raise ValueError(
                    f"{cls.group.name} does not act freely on {cls.__name__}: {order} of its elements leave {name!r} "
                    "as it is, so that its pose is a set and not one element; use a HarmonicEncoder or a "
                    "StabilizerEncoder (--encoder harmonics or stabilizers)"
                )

    def random_pose(self, generator: np.random.Generator, orbit: int) -> Float:
        """Where an episode begins."""
        return np.asarray(self.group.random(generator, 1)[0])

    def reached(self, before: Float, wanted: Float, orbit: NDArray[np.int64]) -> Float:
        """The poses that actions lead to; others than wanted where something blocks or reflects."""
        return wanted

    def make_action_space(self) -> gym.spaces.Box:
        return Elements(self.group, self.stride)

    def batched_action_space(self) -> gym.Space[Any]:
        return Elements(self.group, self.stride, self.num_worlds)

    def truth(self) -> Info:
        return {"agent_pose": self.pose.copy(), "orbit": self.orbit[:, None].astype(float)}

    def place(self, world: int, generator: np.random.Generator) -> None:
        self.orbit[world] = generator.integers(len(self.orbits))
        self.pose[world] = self.random_pose(generator, int(self.orbit[world]))
        self.show(np.array([world]))

    def move(self, action: Float, worlds: Worlds | None) -> None:
        rows = np.arange(self.num_worlds) if worlds is None else worlds
        exact = self.group.exp(self.group.log(action[rows]))  # float32 is off the group by rounding: poses would drift
        wanted = self.group.compose(exact, self.pose[rows])
        self.pose[rows] = self.reached(self.pose[rows], wanted, self.orbit[rows])
        self.show(rows)
        self.simulator.forward(worlds)

    def judge(self, before: Info, after: Info) -> tuple[Float, Bool]:
        return np.zeros(self.num_worlds), np.zeros(self.num_worlds, bool)

    def look(self, orbit: NDArray[np.int64], pose: Float) -> NDArray[np.uint8]:
        """Frames ``(num_worlds, H, W, 3)`` of these classes in these poses, where the worlds are from then on.

        Raises:
            GroupError: the poses are no elements of the group.
            ValueError: there is not one of each for every world, or there is no such class.
        """
        if np.shape(orbit) != (self.num_worlds,) or np.shape(pose)[:-1] != (self.num_worlds,):
            raise ValueError(
                f"a class and a pose for each of {self.num_worlds} worlds were expected, got classes of shape "
                f"{np.shape(orbit)} and poses of shape {np.shape(pose)}"
            )
        if np.min(orbit) < 0 or np.max(orbit) >= len(self.orbits):
            raise ValueError(f"classes are 0 to {len(self.orbits) - 1} ({', '.join(self.orbits)}), got {orbit}")
        self.orbit[:], self.pose[:] = orbit, self.group.validate(pose, "pose")
        self.show(np.arange(self.num_worlds))
        self.simulator.forward()
        return self.render()

    def save(self) -> Any:
        return super().save(), self.simulator.colours.copy(), self.orbit.copy(), self.pose.copy()

    def restore(self, snapshot: Any) -> None:
        state, self.simulator.colours[:], self.orbit[:], self.pose[:] = snapshot
        super().restore(state)

    def put(self, body: str, worlds: Worlds, position: Any, quaternion: Any = None) -> None:
        """Move a body of some worlds to positions ``(n, 3)``, and turn it to quaternions ``(n, 4)``."""
        index = self.simulator.model.body(body).mocapid[0]
        self.simulator.field("mocap_pos")[worlds, 3 * index : 3 * index + 3] = position
        if quaternion is not None:
            self.simulator.field("mocap_quat")[worlds, 4 * index : 4 * index + 4] = quaternion

    def paint(self, body: str, worlds: Worlds, colour: Float) -> None:
        """Draw a body of some worlds in colours ``(n, 3)``."""
        self.simulator.colours[worlds[:, None], self._geoms(body), :3] = colour[:, None]

    def reveal(self, body: str, worlds: Worlds, visible: Bool) -> None:
        """Draw a body in some worlds, or do not."""
        self.simulator.colours[worlds[:, None], self._geoms(body), 3] = visible[:, None]

    def _geoms(self, body: str) -> NDArray[np.int64]:
        model = self.simulator.model
        return np.flatnonzero(model.geom_bodyid == model.body(body).id)


def studio(distance: float, fovy: float, *, shaded: bool, tilt: float = 0.0, aim: float = 0.0) -> mujoco.MjSpec:
    """An empty scene with a camera ``eye`` that looks at the origin, straight down unless tilted; x is to its right.

    Args:
        distance: of the camera, in metres.
        fovy: its vertical field of view in degrees.
        shaded: lit from a side, so that surfaces differ by their slope; else all alike.
        tilt: of the camera, in radians; a quarter turn looks along y.
        aim: height in metres of what it looks at.
    """
    spec = mujoco.MjSpec()
    spec.visual.headlight.ambient = np.full(3, 0.35 if shaded else 1.0)
    spec.visual.headlight.diffuse = np.full(3, 0.25 if shaded else 0.0)
    spec.visual.headlight.specular = np.zeros(3)
    at = [0, -distance * np.sin(tilt), aim + distance * np.cos(tilt)]
    spec.worldbody.add_camera(name="eye", pos=at, quat=[np.cos(tilt / 2), np.sin(tilt / 2), 0, 0], fovy=fovy)
    if shaded:
        light = spec.worldbody.add_light(pos=[-2, 3, 4], dir=[0.4, -0.6, -1], diffuse=[0.6, 0.6, 0.6])
        light.type, light.castshadow = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, False
    return spec


def figure(spec: mujoco.MjSpec, name: str) -> Any:
    """A body that `OrbitWorld.put` moves; geoms are added to it."""
    return spec.worldbody.add_body(name=name, mocap=True)


def box(body: Any, size: Any, pos: Any = (0, 0, 0), colour: Any = (1, 1, 1), turn: float = 0.0) -> None:
    """Add a box, of half sizes in metres, turned about the vertical by an angle in radians."""
    quat = [np.cos(turn / 2), 0, 0, np.sin(turn / 2)]
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=size, pos=pos, quat=quat, rgba=[*colour, 1])


def cylinder(body: Any, radius: float, half: float, pos: Any = (0, 0, 0), colour: Any = (1, 1, 1)) -> None:
    """Add an upright cylinder, of a radius and half a height in metres."""
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=[radius, half, 0], pos=pos, rgba=[*colour, 1])


def hull(spec: mujoco.MjSpec, body: Any, points: Any, colour: Any = (1, 1, 1)) -> None:
    """Add the convex hull of points ``(n, 3)``, in metres, with flat faces."""
    points = np.asarray(points, float)
    surface = ConvexHull(points)
    corners, normals = points[surface.simplices], surface.equations[:, :3]
    inwards = np.linalg.det(corners - points.mean(0)) < 0
    corners[inwards] = corners[inwards, ::-1]
    mesh = spec.add_mesh(
        name=f"hull{len(spec.meshes)}",
        uservert=corners.ravel(),
        userface=np.arange(corners.size // 3),
        usernormal=np.repeat(normals, 3, 0).ravel(),  # else shading is smooth where faces meet at less than a corner
    )
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=mesh.name, rgba=[*colour, 1])


def quaternion_of(matrices: Float) -> Float:
    """Quaternions ``(n, 4)``, real part first, of rotation matrices ``(n, 9)``."""
    return np.asarray(Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_quat(scalar_first=True))


def about_vertical(turns: Float) -> Float:
    """Quaternions ``(n, 4)`` of turns about the vertical, given as cosine and sine ``(n, 2)``."""
    half = np.arctan2(turns[:, 1], turns[:, 0]) / 2
    return np.stack([np.cos(half), 0 * half, 0 * half, np.sin(half)], 1)


def hue(turns: Float) -> Float:
    """Colours ``(n, 3)`` on the circle of hues, given as cosine and sine ``(n, 2)``."""
    angle = np.arctan2(turns[:, 1], turns[:, 0])[:, None] - 2 * np.pi / 3 * np.arange(3)
    return np.asarray(0.5 + 0.45 * np.cos(angle))
