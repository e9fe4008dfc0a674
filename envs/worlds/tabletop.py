"""Push and Pick: a gantry robot with a gripper over a table, an object and a goal."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from ..lie_groups.translations import Translations
from ..simulation.state_layout import Float, Worlds
from .registry import register_world
from .task_world import TaskWorld
from .world import Bool, Info

WORKSPACE = np.array([[-0.28, -0.24, 0.016], [0.28, 0.26, 0.25]])
"""Lowest and highest position of the hand, the point between the fingertips, in metres."""
OPENING = 0.04
"""Largest distance of a finger from its closed position, in metres."""
OBJECT_HEIGHT = 0.02
"""Height of the object's centre when it lies on the table, in metres."""

OBJECT_AREA = np.array([[-0.20, -0.12], [0.20, 0.20]])
"""Lowest and highest place on the table at which `Tabletop.place_object` puts the object, in metres."""

_HAND = [1, 0, 2]  # among the joints y comes before x, since the beam carries the carriage
_FINGERS, _OBJECT = slice(3, 5), slice(5, 8)
_HAND_SPEED, _OBJECT_SPEED = slice(0, 3), slice(5, 11)


class Tabletop(TaskWorld):
    """A hand that moves by translations of space (``R³``) and grips, a table, an object and a goal.

    The hand hangs from a gantry with three prismatic joints. An action is the displacement of the hand and a command to
    the gripper: negative closes it, otherwise it opens. The object moves by contact and friction only. After a fall it
    may still move at the end of a step.

    Observation: ``(64, 64, 3)`` uint8 RGB, from a camera above the front edge; gantry and hand make depth visible.

    | quantity | range | unit |
    |---|---|---|
    | action, ``(dx, dy, dz)`` | [-0.04, 0.04]³ | m |
    | action, gripper | [-1, 1], below 0 closes | |
    | hand, between the fingertips, ``(x, y, z)`` | [-0.28, 0.28] × [-0.24, 0.26] × [0.016, 0.25] | m |
    | object's centre, ``(x, y, z)`` | on the table, ``z = 0.02``, or in the hand | m |
    | goal, ``(x, y, 0)`` | on the table | m |

    Reward: the decrease of the object's distance to the goal plus half the decrease of the hand's distance to the
    object (both per metre), minus 0.01 a step, plus 1 for success. The episode ends with success, or is truncated.
    """

    camera = "front"
    agent_body = "hand"
    group = Translations(3)
    commands = 1
    arena_side = 0.56
    reach = WORKSPACE
    max_displacement = 0.04
    episode_steps = 120

    home: ClassVar[tuple[float, float, float]]
    """Initial position of the hand in metres, to which up to 2 cm along each axis are added."""

    # A step takes 0.2 s, enough for the servo of the hand to settle.
    _SUBSTEPS = 50

    def agent_pose(self) -> Float:
        """Return the positions of the hands, ``(num_worlds, 3)``."""
        return self.simulator.field("qpos")[:, _HAND].copy()

    def object_pose(self) -> Float:
        """Return the positions of the objects, ``(num_worlds, 3)``."""
        return self.simulator.field("qpos")[:, _OBJECT].copy()

    def goal(self) -> Float:
        """Return the goals of the objects, ``(num_worlds, 3)``, in metres."""
        return self.simulator.field("mocap_pos").copy()

    def opening(self) -> Float:
        """Return the distance between the fingers, ``(num_worlds,)``, in metres."""
        return np.asarray(self.simulator.field("qpos")[:, _FINGERS].sum(1))

    def sample_initial_state(self, world: int, generator: np.random.Generator) -> None:
        """Draw positions of hand, object and goal, with the hand open."""
        hand = np.array(self.home) + generator.uniform(-0.02, 0.02, 3)
        object_, goal = self.arrange(generator)
        pose = [*object_, OBJECT_HEIGHT, 1.0, 0.0, 0.0, 0.0]
        self.simulator.field("qpos")[world] = [*hand[_HAND], OPENING, OPENING, *pose]
        self.simulator.field("ctrl")[world] = [*hand[_HAND], OPENING, OPENING]
        self.simulator.field("mocap_pos")[world] = [*goal, 0.0]

    def place_agent(self, position: Float, worlds: Worlds) -> None:
        """Put hands somewhere else, at rest; what a hand held stays behind."""
        places = np.clip(position, *WORKSPACE)
        for name in ("qpos", "ctrl"):
            self.simulator.field(name)[worlds[:, None], _HAND] = places
        self.simulator.field("qvel")[worlds, _HAND_SPEED] = 0.0
        self.simulator.forward(worlds)

    def place_object(self, position: Float, worlds: Worlds) -> None:
        """Put objects upright on the table, at rest."""
        places = np.clip(position, *OBJECT_AREA)
        upright = np.tile([OBJECT_HEIGHT, 1.0, 0.0, 0.0, 0.0], (len(worlds), 1))
        self.simulator.field("qpos")[worlds, _OBJECT.start :] = np.concatenate([places, upright], 1)
        self.simulator.field("qvel")[worlds, _OBJECT_SPEED] = 0.0
        self.simulator.forward(worlds)

    @abstractmethod
    def arrange(self, generator: np.random.Generator) -> tuple[Float, Float]:
        """Return random positions of object and goal on the table, ``(2,)`` each, in metres."""

    def move(self, action: Float, worlds: Worlds | None) -> None:
        """Move the hands and the fingers by their servos."""
        action = self.clip(action)
        target = np.clip(self.agent_pose() + action[:, :3], *WORKSPACE)
        opening = np.where(action[:, 3] < 0, 0.0, OPENING)
        self.simulator.field("ctrl")[:, :3] = target[:, _HAND]
        self.simulator.field("ctrl")[:, 3:] = opening[:, None]
        self.simulator.step(self._SUBSTEPS, worlds)

    def reward_and_success(self, before: Info, after: Info) -> tuple[Float, Bool]:
        """Return the reward of the class docstring, and whether the task is achieved."""
        success = self.achieved()
        nearer = _distance(before["object_pose"], self.goal()) - _distance(after["object_pose"], self.goal())
        reach = _distance(before["agent_pose"], before["object_pose"])
        reach = reach - _distance(after["agent_pose"], after["object_pose"])
        return nearer + 0.5 * reach - 0.01 + 1.0 * success, success

    @abstractmethod
    def achieved(self) -> Bool:
        """Return whether the task is achieved, ``(num_worlds,)``."""


@register_world("Push")
class Push(Tabletop):
    """Push a puck onto the goal: achieved when its centre is within 3 cm of the goal's."""

    scene = "push.xml"
    home = (0.0, -0.20, 0.12)

    def arrange(self, generator: np.random.Generator) -> tuple[Float, Float]:
        """Return random positions of object and goal, with the goal beyond the object."""
        return generator.uniform([-0.12, -0.08], [0.12, 0.0]), generator.uniform([-0.14, 0.13], [0.14, 0.20])

    def achieved(self) -> Bool:
        """Return whether the puck is on the goal."""
        return np.asarray(_distance(self.object_pose()[:, :2], self.goal()[:, :2]) < 0.03)


@register_world("Pick")
class Pick(Tabletop):
    """Pick up a peg and place it: achieved when it lies within 3 cm of the goal and the hand has released it."""

    scene = "pick.xml"
    home = (0.0, -0.05, 0.16)

    def arrange(self, generator: np.random.Generator) -> tuple[Float, Float]:
        """Return random positions of object and goal, at least 12 cm apart."""
        while True:
            object_, goal = generator.uniform([-0.16, -0.10], [0.16, 0.12], (2, 2))
            if np.linalg.norm(object_ - goal) > 0.12:
                return object_, goal

    def achieved(self) -> Bool:
        """Return whether the peg lies on the goal, released."""
        object_ = self.object_pose()
        there = _distance(object_[:, :2], self.goal()[:, :2]) < 0.03
        lies = object_[:, 2] < OBJECT_HEIGHT + 0.004
        return np.asarray(there & lies & (self.opening() > 1.5 * OPENING))


def _distance(points: Float, target: Float) -> Float:
    return np.asarray(np.linalg.norm(points - target, axis=-1))
