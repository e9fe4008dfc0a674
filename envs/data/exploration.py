"""Scripted exploration of our worlds: privileged policies that meet the object often enough.

Both policies read the poses of agent and object from the simulator (ground truth). They stand for a person who moves
the agent around on purpose; the learner sees the resulting frames and displacements only. To collect
training data use `equiact.explore`, which reads no ground truth and works in environments of others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from ..worlds.task_world import TaskWorld
from .policy import GroundTruthPolicy

Env = gym.Env[Any, Any] | VectorEnv[Any, Any, Any]


class ScriptedExploration(GroundTruthPolicy[TaskWorld]):
    """Base class: a privileged policy with random numbers of its own.

    Args:
        env: one of our worlds with an object, single or a batch.
        seed: of the actions; `collect` replaces it by its own.
    """

    def __init__(self, env: Env, seed: int = 0) -> None:
        super().__init__(_task_world(env), lambda world: np.zeros((world.num_worlds, 0)))
        self._generator = np.random.default_rng(seed)

    def seed(self, generator: np.random.Generator) -> None:
        """Draw all random numbers from this generator from now on."""
        self._generator = generator


class ObjectExploration(ScriptedExploration):
    """Move at random; a share of the moves goes towards the object (privileged).

    A move towards the object aims at a uniformly random spot of the square ``±spread`` around its centre. All other
    moves, and the commands, are uniform in the action space.

    Args:
        env: one of our worlds whose actions are translations.
        approach: probability of a move towards the object.
        spread: half the side of the square of targets, in metres.
        seed: of the actions; `collect` replaces it by its own.
    """

    def __init__(self, env: Env, approach: float = 0.5, spread: float = 0.3, seed: int = 0) -> None:
        super().__init__(env, seed)
        self._approach = approach
        self._spread = spread
        self._limit = float(self.world.action_space.high.flat[0])

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[NDArray[np.float32], None]:
        """Return displacements, with commands behind them, and the waypoints if there are any."""
        generator, limit = self._generator, self._limit
        agent, object_ = self.world.agent_pose(), self.world.object_pose()
        free = generator.uniform(-limit, limit, agent.shape)
        offset = object_ + generator.uniform(-self._spread, self._spread, agent.shape) - agent
        length = np.linalg.norm(offset, axis=-1, keepdims=True)
        towards = offset * np.minimum(1.0, limit / np.maximum(length, 1e-9))
        chosen = generator.random(length.shape) < self._approach
        commands = generator.uniform(-1.0, 1.0, (*agent.shape[:-1], self.world.commands))
        return np.concatenate([np.where(chosen, towards, free), commands], -1).astype(np.float32), None


@dataclass(frozen=True)
class _Plan:
    """The waypoint ``(n, dim)`` and commands ``(n, commands)`` that each world currently follows."""

    waypoint: NDArray[Any]
    commands: NDArray[Any]


class WaypointExploration(ScriptedExploration):
    """Move from waypoint to waypoint through the whole workspace (privileged).

    For worlds in which one step covers a small part of the workspace. Commands (of a gripper) are -1 or 1 and change
    together with the waypoint.

    Args:
        env: one of our worlds that declares its `reach`.
        near: probability that a new waypoint lies within ``±spread`` of the object.
        turn: probability of a new waypoint in each step.
        spread: half the side of the cube of waypoints near the object, in metres.
        noise: largest coordinate of the uniform noise of a move, as a share of the largest displacement.
        seed: of the actions; `collect` replaces it by its own.
    """

    def __init__(
        self,
        env: Env,
        near: float = 0.5,
        turn: float = 0.1,
        spread: float = 0.1,
        noise: float = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__(env, seed)
        self._near, self._turn, self._spread, self._noise = near, turn, spread, noise

    def predict(
        self, observation: Any, state: _Plan | None = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[NDArray[np.float32], _Plan]:
        """Return displacements, with commands behind them, and the waypoints if there are any."""
        generator, world = self._generator, self.world
        agent, limit = world.agent_pose(), world.max_displacement
        fresh = generator.random(len(agent)) < (1.0 if state is None else self._turn)
        plan = self._draw(agent, world.object_pose())
        if state is not None:
            plan = _Plan(
                np.where(fresh[:, None], plan.waypoint, state.waypoint),
                np.where(fresh[:, None], plan.commands, state.commands),
            )
        noise = generator.uniform(-self._noise * limit, self._noise * limit, agent.shape)
        move = np.clip(plan.waypoint - agent + noise, -limit, limit)
        return np.concatenate([move, plan.commands], 1).astype(np.float32), plan

    def _draw(self, agent: NDArray[Any], object_: NDArray[Any]) -> _Plan:
        generator, (low, high) = self._generator, self.world.reach
        anywhere = generator.uniform(low, high, agent.shape)
        close = np.clip(object_ + generator.uniform(-self._spread, self._spread, agent.shape), low, high)
        waypoint = np.where(generator.random((len(agent), 1)) < self._near, close, anywhere)
        return _Plan(waypoint, generator.choice([-1.0, 1.0], (len(agent), self.world.commands)))


def _task_world(env: Env) -> TaskWorld:
    world = getattr(env.unwrapped, "world", None)
    if not isinstance(world, TaskWorld):
        raise ValueError(
            f"expected one of our worlds with an object, whose poses scripted exploration reads; got {env}; "
            "pass a policy that acts on the observation instead"
        )
    return world
