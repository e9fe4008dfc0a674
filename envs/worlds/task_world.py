"""The base class of worlds with an agent that moves by translations, an object that it touches, and a task.

| key of ``info`` | shape | meaning |
|---|---|---|
| ``agent_pose`` | ``(dim,)`` | ground truth: position of the agent in metres; for evaluation only |
| ``object_pose`` | ``(dim,)`` | ground truth: position of the object in metres; for evaluation only |
| ``touched`` | ``()`` | ground truth: whether the agent moved the object in this step; for evaluation only |
| ``success`` | ``()`` | whether the task was achieved in this step |

After ``reset`` ``touched`` and ``success`` are false.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

import gymnasium as gym
import numpy as np

from ..simulation.dependencies import import_mujoco
from ..simulation.state_layout import Float, Worlds
from .world import ASSETS, Bool, Info, World

if TYPE_CHECKING:
    import mujoco


class TaskWorld(World):
    """A world with an agent, an object and a task."""

    scene: ClassVar[str]
    """Name of the XML file in ``envs/worlds/assets``."""
    arena_side: ClassVar[float]
    """Side in metres of the square of the agent's positions; position errors are also reported as a share of it."""
    reach: ClassVar[Float]
    """Lowest and highest positions of the agent, ``(2, dim)``, in metres."""
    max_displacement: ClassVar[float]
    """Largest absolute coordinate of a displacement, in metres; larger ones are clipped."""
    agent_body: ClassVar[str] = "agent"
    """Name of the agent's body in the scene."""
    object_body: ClassVar[str] = "object"
    """Name of the object's body in the scene."""
    touch_threshold: ClassVar[float] = 1e-4
    """Metres that the object must move in a step to count as touched; far more than it creeps at rest."""

    @abstractmethod
    def agent_pose(self) -> Float:
        """Return the true positions of the agents, ``(num_worlds, dim)``, in metres."""

    @abstractmethod
    def object_pose(self) -> Float:
        """Return the true positions of the objects, ``(num_worlds, dim)``, in metres."""

    @classmethod
    def model(cls) -> mujoco.MjModel:
        """Return the scene of the XML file, compiled."""
        return import_mujoco().MjModel.from_xml_path(str(ASSETS / cls.scene))

    def make_action_space(self) -> gym.spaces.Box:
        """Return the box of displacements and commands of one world."""
        bound = self._limit().astype(np.float32)
        return gym.spaces.Box(-bound, bound, dtype=np.float32)

    def ground_truth(self) -> Info:
        """Return the positions of agents and objects."""
        return {"agent_pose": self.agent_pose(), "object_pose": self.object_pose()}

    def events(self, before: Info, after: Info, success: Bool) -> Info:
        """Return whether the object was touched, and whether the task was achieved."""
        moved = np.linalg.norm(after["object_pose"] - before["object_pose"], axis=-1)
        return {"touched": moved > self.touch_threshold, "success": success}

    def clip(self, action: Float) -> Float:
        """Return actions clipped to the action space."""
        limit = self._limit()
        return np.clip(action, -limit, limit)

    def place_agent(self, position: Float, worlds: Worlds) -> None:
        """Put agents somewhere else, at rest; a world that has no such method cannot be perturbed in this way.

        Args:
            position: ``(n, dim)``, in metres; clipped to where the agent can be.
            worlds: ids of the ``n`` worlds.

        Raises:
            NotImplementedError: the world has no such method.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot move its agent: it has no method place_agent")

    def place_object(self, position: Float, worlds: Worlds) -> None:
        """Put objects somewhere else, at rest; a world that has no such method cannot be perturbed in this way.

        Args:
            position: ``(n, 2)``, along the first two axes, in metres; clipped to where the agent can deal with it.
            worlds: ids of the ``n`` worlds.

        Raises:
            NotImplementedError: the world has no such method.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot move its object: it has no method place_object")

    def push_agent(self, force: Float) -> None:
        """Apply forces ``(num_worlds, dim)``, in newtons, to the agents until the next call."""
        self._push(self.agent_body, force)

    def push_object(self, force: Float) -> None:
        """Apply forces ``(num_worlds, dim)``, in newtons, to the objects until the next call."""
        self._push(self.object_body, force)

    def _push(self, name: str, force: Float) -> None:
        body = self.simulator.model.body(name).id
        self.simulator.field("xfrc_applied")[:, 6 * body : 6 * body + force.shape[1]] = force

    def _limit(self) -> Float:
        return np.array([self.max_displacement] * self.group.dim + [1.0] * self.commands)
