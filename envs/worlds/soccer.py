"""Soccer: an agent on a walled pitch pushes a ball into a goal."""

from __future__ import annotations

import numpy as np

from ..lie_groups.translations import Translations
from ..simulation.state_layout import Float, Worlds
from .registry import register_world
from .task_world import TaskWorld
from .world import Bool, Info

AGENT_RADIUS, BALL_RADIUS = 0.10, 0.12
"""Radii in metres, as in the scene."""
GOAL_LINE, GOAL_HALF_WIDTH = 0.87, 0.40
"""Position of the goal line along x and half the width of the goal, in metres, as in the scene."""
KERB = 0.75
"""Largest coordinate of the ball's centre on the pitch, in metres, as in the scene."""
GOAL = np.array([GOAL_LINE + BALL_RADIUS, 0.0])
"""Target of the ball's centre, in metres."""


@register_world("Soccer")
class Soccer(TaskWorld):
    """A walled pitch, an agent that moves by translations of the plane (``R²``), and a ball that it pushes by contact.

    The ball is at rest at the end of each step. A kerb, which the agent passes over, keeps the ball away from the
    walls, so that the agent can always get behind it.

    Observation: ``(64, 64, 3)`` uint8 RGB, from a fixed third-person camera.

    | quantity | range | unit |
    |---|---|---|
    | action, ``(dx, dy)`` | [-0.3, 0.3]² | m |
    | agent's centre, ``(x, y)`` | [-1, 1]² | m |
    | ball's centre, ``(x, y)`` | [-0.75, 0.75]², beyond ``x = 0.87`` in the goal | m |

    Reward: the decrease of the ball's distance to the goal plus half the decrease of the agent's distance to the spot
    behind the ball (both per metre), minus 0.05 a step, plus 2 for a goal. The episode ends when the ball crosses the
    goal line (success), or is truncated after 40 steps.
    """

    scene = "soccer.xml"
    camera = "third_person"
    object_body = "ball"
    group = Translations(2)
    arena_side = 2.0
    reach = np.array([[-1.0, -1.0], [1.0, 1.0]])
    max_displacement = 0.3

    # A step takes 0.7 s: the agent's servo settles within 0.4 s, then the rolling ball (time constant 0.07 s).
    _SUBSTEPS = 35

    def agent_pose(self) -> Float:
        """Return the positions of the agents, ``(num_worlds, 2)``."""
        return self.simulator.field("qpos")[:, :2].copy()

    def object_pose(self) -> Float:
        """Return the positions of the balls, ``(num_worlds, 2)``."""
        return self.simulator.field("qpos")[:, 2:].copy()

    def sample_initial_state(self, world: int, generator: np.random.Generator) -> None:
        """Draw positions of agent and ball that do not touch."""
        agent = generator.uniform(-1.0, 1.0, 2)
        ball = generator.uniform(-0.7, 0.7, 2)
        while np.linalg.norm(agent - ball) < AGENT_RADIUS + BALL_RADIUS + 0.01:
            agent = generator.uniform(-1.0, 1.0, 2)
        self.simulator.field("qpos")[world] = [*agent, *ball]
        self.simulator.field("ctrl")[world] = agent

    def place_agent(self, position: Float, worlds: Worlds) -> None:
        """Put agents somewhere else on the pitch."""
        for name in ("qpos", "ctrl"):
            self.simulator.field(name)[worlds, :2] = np.clip(position, *self.reach)
        self.simulator.forward(worlds)

    def place_object(self, position: Float, worlds: Worlds) -> None:
        """Put balls somewhere else within the kerb."""
        self.simulator.field("qpos")[worlds, 2:] = np.clip(position, -KERB, KERB)
        self.simulator.forward(worlds)

    def move(self, action: Float, worlds: Worlds | None) -> None:
        """Move the agents by their servos, then stop everything."""
        self.simulator.field("ctrl")[:] = np.clip(self.agent_pose() + self.clip(action), -1.0, 1.0)
        self.simulator.step(self._SUBSTEPS, worlds)
        self.simulator.field("qvel")[:] = 0.0
        self.simulator.field("qacc_warmstart")[:] = 0.0

    def reward_and_success(self, before: Info, after: Info) -> tuple[Float, Bool]:
        """Return the reward of the class docstring, and whether the ball is in the goal."""
        agent, object_ = before["agent_pose"], before["object_pose"]
        new_agent, new_object = after["agent_pose"], after["object_pose"]
        to_goal = _distance(object_, GOAL) - _distance(new_object, GOAL)
        to_ball = _distance(agent, _behind(object_)) - _distance(new_agent, _behind(new_object))
        success = (new_object[:, 0] > GOAL_LINE) & (np.abs(new_object[:, 1]) < GOAL_HALF_WIDTH)
        return to_goal + 0.5 * to_ball - 0.05 + 2.0 * success, success


def _distance(points: Float, target: Float) -> Float:
    return np.asarray(np.linalg.norm(points - target, axis=-1))


def _behind(ball: Float) -> Float:
    """Return the agent's positions from which a straight push sends the ball towards the goal, ``(n, 2)``."""
    direction = (GOAL - ball) / np.maximum(_distance(ball, GOAL)[:, None], 1e-6)
    return np.clip(ball - (AGENT_RADIUS + BALL_RADIUS) * direction, -1.0, 1.0)
