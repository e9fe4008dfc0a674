"""The base class of worlds of classes and poses, in which a group acts and nothing else happens.

The states of such a world are the union of the orbits ``{g·x : g ∈ G}``, one for each class ``x``. An element ``s``
with ``s·x = x`` is in the stabilizer of ``x``. A pose is defined up to the stabilizer: ``h`` and ``h·s`` have the same
frame.

| key of ``info`` | shape | meaning |
|---|---|---|
| ``displacement`` | ``(dim,)`` | the element ``g`` that was performed, ``pose ← g·pose`` |
| ``agent_pose`` | ``(dim,)`` | ground truth: the pose, a group element; for evaluation only |
| ``orbit`` | ``(1,)`` | ground truth: number of the class; for evaluation only |
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from ..lie_groups.group_space import GroupSpace
from ..simulation.state_layout import Float, Worlds
from .world import Bool, Info, World


class OrbitWorld(World):
    """A world of classes and poses."""

    camera = "eye"
    samples = 2  # small rotations move edges by less than a pixel
    episode_steps = 20
    orbits: ClassVar[tuple[str, ...]]
    """Names of the classes."""
    max_tangent: ClassVar[tuple[float, ...] | None] = None
    """Largest absolute tangent coordinates of a random action; None to sample uniformly from a compact group."""

    def __init__(self, num_worlds: int = 1, **options: Any) -> None:
        super().__init__(num_worlds, **options)
        self.pose: Float = np.tile(self.group.identity(), (self.num_worlds, 1))
        self.orbit = np.zeros(self.num_worlds, int)

    @abstractmethod
    def update_scene(self, worlds: Worlds) -> None:
        """Write the classes and poses of these worlds into their scenes."""

    @classmethod
    def stabilizer(cls, orbit: int) -> Float:
        """Return the stabilizer of a class in the identity pose, ``(order, dim)``; the identity alone by default."""
        return cls.group.identity()[None]

    @classmethod
    def free(cls) -> bool:
        """Return whether the group acts freely: every stabilizer is trivial."""
        return all(len(cls.stabilizer(orbit)) == 1 for orbit in range(len(cls.orbits)))

    @classmethod
    def require_free(cls) -> None:
        """Check that the group acts freely, so that each state has one pose.

        Raises:
            ValueError: the group does not act freely.
        """
        for orbit, name in enumerate(cls.orbits):
            order = len(cls.stabilizer(orbit))
            if order > 1:
                raise ValueError(
                    f"{cls.group.name} does not act freely on {cls.__name__}: {order} of its elements leave {name!r} "
                    "unchanged, so that its pose is a set of elements; use a HarmonicEncoder or a PoseSetEncoder "
                    "(--encoder harmonics or pose-set)"
                )

    def random_pose(self, generator: np.random.Generator, orbit: int) -> Float:
        """Return a random initial pose ``(dim,)`` of a class."""
        return np.asarray(self.group.random(generator, 1)[0])

    def apply_constraints(self, before: Float, wanted: Float, orbit: NDArray[np.int64]) -> Float:
        """Return the poses that are reached when poses are wanted; by default all that are wanted.

        Args:
            before: ``(n, dim)`` poses before the step.
            wanted: ``(n, dim)`` poses to which the actions lead.
            orbit: ``(n,)`` numbers of the classes.
        """
        return wanted

    def make_action_space(self) -> gym.spaces.Box:
        """Return the space of group elements."""
        return GroupSpace(self.group, self.max_tangent)

    def batched_action_space(self) -> gym.Space[Any]:
        """Return the space of one group element per world."""
        return GroupSpace(self.group, self.max_tangent, self.num_worlds)

    def ground_truth(self) -> Info:
        """Return poses and numbers of the classes."""
        return {"agent_pose": self.pose.copy(), "orbit": self.orbit[:, None].astype(float)}

    def sample_initial_state(self, world: int, generator: np.random.Generator) -> None:
        """Draw a class and a pose."""
        self.orbit[world] = generator.integers(len(self.orbits))
        self.pose[world] = self.random_pose(generator, int(self.orbit[world]))
        self.update_scene(np.array([world]))

    def move(self, action: Float, worlds: Worlds | None) -> None:
        """Multiply the poses by the actions from the left, as far as the constraints allow."""
        rows = np.arange(self.num_worlds) if worlds is None else worlds
        exact = self.group.exp(self.group.log(action[rows]))  # removes float32 rounding, by which poses would drift
        wanted = self.group.compose(exact, self.pose[rows])
        self.pose[rows] = self.apply_constraints(self.pose[rows], wanted, self.orbit[rows])
        self.update_scene(rows)
        self.simulator.forward(worlds)

    def reward_and_success(self, before: Info, after: Info) -> tuple[Float, Bool]:
        """Return zero reward and no success: there is no task."""
        return np.zeros(self.num_worlds), np.zeros(self.num_worlds, bool)

    def render_at(self, orbit: NDArray[np.int64], pose: Float) -> NDArray[np.uint8]:
        """Set class and pose of every world, and return the frames ``(num_worlds, height, width, 3)``.

        Args:
            orbit: ``(num_worlds,)`` numbers of the classes.
            pose: ``(num_worlds, dim)``.

        Raises:
            GroupError: a pose is no element of the group.
            ValueError: an array has another shape, or there is no such class.
        """
        if np.shape(orbit) != (self.num_worlds,) or np.shape(pose)[:-1] != (self.num_worlds,):
            raise ValueError(
                f"a class and a pose for each of {self.num_worlds} worlds were expected, got classes of shape "
                f"{np.shape(orbit)} and poses of shape {np.shape(pose)}"
            )
        if np.min(orbit) < 0 or np.max(orbit) >= len(self.orbits):
            raise ValueError(f"classes are 0 to {len(self.orbits) - 1} ({', '.join(self.orbits)}), got {orbit}")
        self.orbit[:], self.pose[:] = orbit, self.group.validate(pose, "pose")
        self.update_scene(np.arange(self.num_worlds))
        self.simulator.forward()
        return self.render()

    def save(self) -> Any:
        """Return a snapshot, with colours, classes and poses."""
        return super().save(), self.simulator.colours.copy(), self.orbit.copy(), self.pose.copy()

    def restore(self, snapshot: Any) -> None:
        """Return to a snapshot from `save`."""
        state, self.simulator.colours[:], self.orbit[:], self.pose[:] = snapshot
        super().restore(state)

    def set_body_pose(self, body: str, worlds: Worlds, position: Any, quaternion: Any = None) -> None:
        """Set the pose of a body in some worlds.

        Args:
            body: name of a body from `scene_builder.add_mocap_body`.
            worlds: ids of the worlds.
            position: ``(n, 3)`` in metres.
            quaternion: ``(n, 4)``, real part first; unchanged if None.
        """
        index = self.simulator.model.body(body).mocapid[0]
        self.simulator.field("mocap_pos")[worlds, 3 * index : 3 * index + 3] = position
        if quaternion is not None:
            self.simulator.field("mocap_quat")[worlds, 4 * index : 4 * index + 4] = quaternion

    def set_color(self, body: str, worlds: Worlds, colour: Float) -> None:
        """Set the colours ``(n, 3)`` of a body in some worlds."""
        self.simulator.colours[worlds[:, None], self._geoms(body), :3] = colour[:, None]

    def set_visible(self, body: str, worlds: Worlds, visible: Bool) -> None:
        """Set whether a body is drawn in some worlds, ``(n,)``."""
        self.simulator.colours[worlds[:, None], self._geoms(body), 3] = visible[:, None]

    def _geoms(self, body: str) -> NDArray[np.int64]:
        model = self.simulator.model
        return np.flatnonzero(model.geom_bodyid == model.body(body).id)
