"""A policy that goes where an encoder sees the object; it reads images only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from ...envs.data.policy import batch_actions
from ...representations.encoders.agent_object import AgentObjectEncoder

Env = gym.Env[Any, Any] | VectorEnv[Any, Any, Any]


@dataclass(frozen=True)
class DisplacementModel:
    """Predict the displacement of the agent from its position and an action, by least squares.

    ``Δz = W·(1, a, z, a ⊗ z)``. Relative actions need ``a`` alone, targets need ``a`` and ``z``, and the product lets
    the effect of an action change with the place.

    Attributes:
        weight: ``W``, ``(1 + k + n + k·n, n)``.

    Example:
        >>> target, z = np.random.default_rng(0).normal(size=(2, 100, 2))
        >>> model = DisplacementModel.fit(target, z, 0.5 * (target - z))
        >>> model.predict(np.array([[2.0, 0.0]]), np.array([[1.0, 1.0]])).round(3).tolist()
        [[0.5, -0.5]]
    """

    weight: NDArray[np.float64]

    @classmethod
    def fit(cls, actions: NDArray[Any], positions: NDArray[Any], displacements: NDArray[Any]) -> DisplacementModel:
        """Return the model that fits transitions best.

        Args:
            actions: flattened actions, ``(N, k)``.
            positions: positions of the agent, ``(N, n)``.
            displacements: what the actions performed there, ``(N, n)``.
        """
        return cls(np.linalg.lstsq(_features(actions, positions), displacements, rcond=None)[0])

    def predict(self, actions: NDArray[Any], positions: NDArray[Any]) -> NDArray[np.float64]:
        """Return the displacements ``(B, n)`` of actions ``(B, k)`` at positions ``(B, n)``."""
        return _features(actions, positions) @ self.weight


def _features(actions: NDArray[Any], positions: NDArray[Any]) -> NDArray[np.float64]:
    """Return ``(1, a, z, a ⊗ z)`` of every row."""
    products = (actions[:, :, None] * positions[:, None]).reshape(len(actions), -1)
    return np.concatenate([np.ones((len(actions), 1)), actions, positions, products], 1).astype(np.float64)


class ActionPool:
    """Random actions of an environment, of which a policy takes those that lead where it wants to be.

    Choosing among samples works in every action space, absolute or relative, continuous or discrete. What does not move
    the agent, such as a gripper, stays random.

    Args:
        env: a single or a vector environment.
        size: number of actions.
        generator: draws them.

    Attributes:
        flat: the actions as vectors, ``(size, k)``; discrete ones are one-hot.
    """

    def __init__(self, env: Env, size: int, generator: np.random.Generator) -> None:
        self._batched = isinstance(env, VectorEnv)
        self._space = action_space_of(env)
        self._space.seed(int(generator.integers(2**31)))
        self._actions = [self._space.sample() for _ in range(size)]
        self.flat = flatten_actions(self._space, self._actions)

    def take(self, chosen: NDArray[np.int64]) -> Any:
        """Return a batch of the actions with these indices, as the environment expects it."""
        actions = [self._actions[index] for index in chosen]
        return batch_actions(self._space, actions) if self._batched else actions


def action_space_of(env: Env) -> gym.Space[Any]:
    """Return the action space of one environment, also of a vector of them."""
    return env.single_action_space if isinstance(env, VectorEnv) else env.action_space


def flatten_actions(space: gym.Space[Any], actions: Sequence[Any]) -> NDArray[np.float64]:
    """Return actions as vectors, ``(N, k)``; discrete ones are one-hot.

    Example:
        >>> flatten_actions(gym.spaces.Discrete(3), [2, 0]).tolist()
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    flat = [np.asarray(gym.spaces.flatten(space, action), np.float64) for action in actions]
    return np.reshape(flat, (len(flat), gym.spaces.flatdim(space)))


class ApproachPolicy:
    """Act at random; in a share of the steps, go to where the encoder sees the object.

    The target is a uniformly random spot of the box ``±spread`` around the object. Of the pool of actions, the one
    whose predicted displacement ends nearest to the target is taken.

    Args:
        encoder: locates agent and object.
        model: predicts displacements.
        pool: the actions.
        share: probability of a step towards the object.
        spread: half the side of the box of targets, in units of the displacements.
        generator: draws targets and random actions.
    """

    acts_on_frames = True

    def __init__(
        self,
        encoder: AgentObjectEncoder,
        model: DisplacementModel,
        pool: ActionPool,
        share: float,
        spread: float,
        generator: np.random.Generator,
    ) -> None:
        self._encoder, self._model, self._pool = encoder, model, pool
        self._share, self._spread, self._generator = share, spread, generator

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Any, None]:
        """Return actions for a batch of images, ``(B, H, W, C)`` uint8."""
        generator, size = self._generator, len(self._pool.flat)
        latents = self._encoder.encode(observation)
        agent, object_ = latents["agent"], latents["object"]
        target = object_ + generator.uniform(-self._spread, self._spread, object_.shape)
        towards = np.array([self._nearest(*each) for each in zip(agent, target, strict=True)])
        random = generator.integers(size, size=len(agent))
        return self._pool.take(np.where(generator.random(len(agent)) < self._share, towards, random)), None

    def _nearest(self, agent: NDArray[Any], target: NDArray[Any]) -> int:
        """Return the index of the action that leads an agent nearest to a target, both ``(n,)``."""
        actions = self._pool.flat
        moved = self._model.predict(actions, np.broadcast_to(agent, (len(actions), len(agent))))
        return int(np.linalg.norm(agent + moved - target, axis=1).argmin())
