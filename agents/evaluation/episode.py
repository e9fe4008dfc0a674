"""Play one episode of any Gymnasium environment with any policy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from ...envs.batched_envs.actions import require_actions
from ...envs.batched_envs.image_reader import copy_observation
from ...envs.data.policy import Policy


class EpisodeError(ValueError):
    """An episode cannot be played or evaluated: its values are not finite, or it does not end."""


@dataclass(frozen=True)
class Episode:
    """Hold one episode of ``T`` steps.

    Attributes:
        rewards: ``(T,)``.
        terminated: the episode reached an end of its own.
        truncated: the episode ran out of time.
        infos: ``T`` dicts that the environment returned.
        first_observation: observation after the reset.
        last_observation: observation after the last step.
    """

    rewards: NDArray[np.float64]
    terminated: bool
    truncated: bool
    infos: tuple[dict[str, Any], ...]
    first_observation: Any
    last_observation: Any

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self.rewards)

    @property
    def total_reward(self) -> float:
        """Return the sum of the rewards."""
        return float(self.rewards.sum())


@dataclass(frozen=True)
class EpisodeStep:
    """Hold one step, for those who watch an episode, such as a film.

    Attributes:
        index: number of the step, from 0.
        observation: what the policy acted on, not batched.
        action: what the policy returned, not batched.
        reward: reward of the step.
        info: info of the step.
    """

    index: int
    observation: Any
    action: Any
    reward: float
    info: dict[str, Any]


OnStep = Callable[[EpisodeStep], None]


def ignore_step(step: EpisodeStep) -> None:
    """Ignore a step."""


def play_episode(
    env: gym.Env[Any, Any],
    policy: Policy,
    observation: Any,
    *,
    deterministic: bool = True,
    max_steps: int = 100_000,
    on_step: OnStep = ignore_step,
    name: str = "the policy",
) -> Episode:
    """Let a policy act until an episode ends. The environment must have been reset, or restored to a start.

    Args:
        env: a single environment.
        policy: it gets batches of one observation, its own state, and ``episode_start``.
        observation: the first observation, not batched.
        deterministic: passed to the policy.
        max_steps: an episode that is longer is an error: it would never end.
        on_step: called after every step.
        name: the policy in messages.

    Raises:
        EpisodeError: an observation or a reward is not finite, or the episode does not end.
        ValueError: the policy returned something else than a batch of one finite action of the space.
    """
    first = copy_observation(observation)
    require_finite_observation(observation, "after the reset")
    rewards: list[float] = []
    infos: list[dict[str, Any]] = []
    state, episode_start = None, np.array([True])
    terminated = truncated = False
    while not (terminated or truncated):
        if len(rewards) == max_steps:
            raise EpisodeError(
                f"expected an episode of at most {max_steps} steps; give the environment a time limit, such as "
                "gym.make(..., max_episode_steps=1000)"
            )
        action, state = policy.predict(copy_observation(observation, batch=True), state, episode_start, deterministic)
        _require_action(action, env.action_space, len(rewards), name)
        seen = observation
        observation, reward, terminated, truncated, info = env.step(action[0])
        require_finite_observation(observation, f"in step {len(rewards)}")
        rewards.append(_finite(reward, len(rewards)))
        infos.append(info)
        episode_start = np.array([False])
        on_step(EpisodeStep(len(rewards) - 1, seen, action[0], rewards[-1], info))
    return Episode(np.array(rewards), bool(terminated), bool(truncated), tuple(infos), first, observation)


def _require_action(action: Any, space: gym.Space[Any], step: int, name: str) -> None:
    require_actions(action, space, 1, name)
    if not isinstance(action, dict | tuple) and not np.isfinite(np.asarray(action, float)).all():
        raise EpisodeError(f"{name} must return finite actions, got {action!r} in step {step}")


def _finite(reward: Any, step: int) -> float:
    try:
        value = float(reward)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise EpisodeError(f"expected a finite reward, got {reward!r} in step {step}; check the environment")
    return value


def require_finite_observation(observation: Any, when: str) -> None:
    """Check that an observation, or each of its entries, is finite.

    Raises:
        EpisodeError: it is not.
    """
    if isinstance(observation, dict | tuple):
        for entry in observation.values() if isinstance(observation, dict) else observation:
            require_finite_observation(entry, when)
        return
    values = np.asarray(observation)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise EpisodeError(f"expected finite observations, got {values} {when}; check the environment")
