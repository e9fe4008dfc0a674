"""The rollout engine: let a policy act in any environment.

Collection, demonstrations, evaluation, paired trials and videos all use `rollout`. It alone knows how environments
reset, where episodes end, and what a policy remembers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from ..batched_envs.batch_step import BatchedEnv, BatchObservation, BatchStep
from ..batched_envs.gymnasium_envs import SingleEnvBatch, autoreset_mode, vector_env_batch
from ..batched_envs.image_reader import FrameReader
from ..batched_envs.world_episodes import WorldEpisodes
from ..worlds.world import World
from .policy import PolicyLike, as_policy

__all__ = ["BatchObservation", "BatchStep", "BatchedEnv", "as_batched", "rollout"]


def rollout(
    env: Any,
    policy: PolicyLike,
    *,
    seed: int | None = None,
    deterministic: bool = True,
    autoreset: AutoresetMode | str | None = None,
    image_key: str | None = None,
    frames: bool = False,
) -> Iterator[BatchStep]:
    """Let a policy act, and yield every step.

    Gymnasium environments go on for ever, episode after episode: stop iterating when you have enough. A batch of our
    worlds ends when each has played one episode.

    Args:
        env: a Gymnasium environment, single or vector; a batch of our worlds; or any `BatchedEnv`.
        policy: acts on batches of observations, also in a single environment; on batches of images if it has an
            attribute ``acts_on_frames`` that is true.
        seed: of the environment.
        deterministic: passed to the policy.
        autoreset: how a vector environment resets, if it does not declare it: "NextStep", "SameStep" or "Disabled".
        image_key: entry of Dict observations that holds the image.
        frames: find or draw the images, for `BatchObservation.frames`.

    Raises:
        ValueError: the policy acts on images, and ``frames`` is false.

    Example:
        >>> from itertools import islice
        >>> env = gym.make_vec("equiact/Soccer-v0", num_envs=2, resolution=(16, 16))
        >>> steps = rollout(env, lambda observation: np.zeros((len(observation), 2)), seed=0)
        >>> [step.end.observation.shape for step in islice(steps, 3)]
        [(2, 16, 16, 3), (2, 16, 16, 3), (2, 16, 16, 3)]
    """
    batch, acting = as_batched(env, autoreset=autoreset, image_key=image_key, frames=frames), as_policy(policy)
    sees_frames = bool(getattr(acting, "acts_on_frames", False))
    if sees_frames and not frames:
        raise ValueError("expected frames=True for a policy that acts on images, got frames=False")
    current, state, episode_start = batch.reset(seed), None, np.ones(batch.num_envs, bool)
    while batch.running.any():
        seen = current.frames if sees_frames else current.observation
        action, state = acting.predict(seen, state, episode_start, deterministic)
        step = batch.step(action)
        yield step
        current, episode_start = step.next, step.restarted


def as_batched(
    env: Any, *, autoreset: AutoresetMode | str | None = None, image_key: str | None = None, frames: bool = False
) -> BatchedEnv:
    """Return a batch of environments with one way of being reset; see `rollout` for the arguments.

    Raises:
        TypeError: the argument is no environment.
        ValueError: there is no such ``autoreset`` mode.
    """
    if autoreset is not None:
        autoreset = autoreset_mode(autoreset)
    reader = FrameReader(image_key) if frames or image_key is not None else None
    if isinstance(env, VectorEnv):
        return vector_env_batch(env, autoreset, reader)
    if isinstance(env, gym.Env):
        return SingleEnvBatch(env, reader)
    if all(hasattr(env, name) for name in ("num_envs", "running", "reset", "step")):
        batched: BatchedEnv = env
        return batched
    if isinstance(env, World):
        return WorldEpisodes(env)
    raise TypeError(f"expected a Gymnasium environment, a batch of worlds or a BatchedEnv, got {type(env).__name__}")
