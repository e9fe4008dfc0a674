"""Worlds with an agent that moves, an object that it touches, and a task.

| key of ``info`` | shape | meaning |
|---|---|---|
| ``agent_pose`` | ``(dim,)`` | where the agent truly is, in metres; for evaluation only |
| ``object_pose`` | ``(dim,)`` | where the object truly is, in metres; for evaluation only |
| ``touched`` | ``()`` | whether the agent moved the object in this step |
| ``success`` | ``()`` | whether the task was achieved in this step |

After ``reset`` ``touched`` and ``success`` are false.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import gymnasium as gym
import mujoco
import numpy as np

from envs.simulator import Float
from envs.world import ASSETS, Bool, Info, World

TOUCH_THRESHOLD = 1e-4
"""Metres by which the object must have moved for the step to count as touched: far above what a scene creeps."""


class TaskWorld(World):
    """A world with an agent moved by translations, an object and a task; subclass it once a world."""

    scene: ClassVar[str]
    """Name of the XML file in ``envs/assets``."""
    arena_side: ClassVar[float]
    """Side in metres of the square of the agent's positions; errors are also given as a fraction of it."""
    reach: ClassVar[Float]
    """Lowest and highest positions of the agent, ``(2, dim)``, in metres."""
    max_displacement: ClassVar[float]
    """Largest coordinate, in metres, of one action; larger ones are clipped."""
    object_body: ClassVar[str] = "object"
    """Name of the object's body in the scene."""

    @abstractmethod
    def agent_pose(self) -> Float:
        """True poses of the agents, ``(num_worlds, dim)``."""

    @abstractmethod
    def object_pose(self) -> Float:
        """True poses of the objects, ``(num_worlds, dim)``."""

    @classmethod
    def model(cls) -> mujoco.MjModel:
        return mujoco.MjModel.from_xml_path(str(ASSETS / cls.scene))

    def make_action_space(self) -> gym.spaces.Box:
        bound = self._limit().astype(np.float32)
        return gym.spaces.Box(-bound, bound, dtype=np.float32)

    def truth(self) -> Info:
        return {"agent_pose": self.agent_pose(), "object_pose": self.object_pose()}

    def events(self, before: Info, after: Info, success: Bool) -> Info:
        moved = np.linalg.norm(after["object_pose"] - before["object_pose"], axis=-1)
        return {"touched": moved > TOUCH_THRESHOLD, "success": success}

    def clip(self, action: Float) -> Float:
        """The nearest action that may be made."""
        limit = self._limit()
        return np.clip(action, -limit, limit)

    def _limit(self) -> Float:
        return np.array([self.max_displacement] * self.group.dim + [1.0] * self.commands)

    def push_object(self, force: Float) -> None:
        """Apply forces ``(num_worlds, dim)``, in newtons, to the objects from now on."""
        body = self.simulator.model.body(self.object_body).id
        self.simulator.field("xfrc_applied")[:, 6 * body : 6 * body + force.shape[1]] = force
