"""Scripted exploration of our worlds: a privileged policy that meets the object often enough.

It reads the poses of agent and object from the simulator (ground truth). To collect training data use
`equiact.explore`, which reads no ground truth and works in environments of others.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from ..worlds.task_world import TaskWorld
from .policy import GroundTruthPolicy

Env = gym.Env[Any, Any] | VectorEnv[Any, Any, Any]


class ObjectExploration(GroundTruthPolicy[TaskWorld]):
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
        super().__init__(_task_world(env), lambda world: np.zeros((world.num_worlds, 0)))
        self._generator = np.random.default_rng(seed)
        self._approach = approach
        self._spread = spread
        self._limit = float(self.world.action_space.high.flat[0])

    def seed(self, generator: np.random.Generator) -> None:
        """Draw all random numbers from this generator from now on."""
        self._generator = generator

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[NDArray[np.float32], None]:
        """Return displacements, with commands behind them."""
        generator, limit = self._generator, self._limit
        agent, object_ = self.world.agent_pose(), self.world.object_pose()
        free = generator.uniform(-limit, limit, agent.shape)
        offset = object_ + generator.uniform(-self._spread, self._spread, agent.shape) - agent
        length = np.linalg.norm(offset, axis=-1, keepdims=True)
        towards = offset * np.minimum(1.0, limit / np.maximum(length, 1e-9))
        chosen = generator.random(length.shape) < self._approach
        commands = generator.uniform(-1.0, 1.0, (*agent.shape[:-1], self.world.commands))
        return np.concatenate([np.where(chosen, towards, free), commands], -1).astype(np.float32), None


def _task_world(env: Env) -> TaskWorld:
    world = getattr(env.unwrapped, "world", None)
    if not isinstance(world, TaskWorld):
        raise ValueError(
            f"expected one of our worlds with an object, whose poses scripted exploration reads; got {env}; "
            "pass a policy that acts on the observation instead"
        )
    return world
