"""Worlds as Gymnasium environments: one world, or a batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.simulator import Float, Pixels
from envs.world import Bool, Info, World


class WorldEnv(gym.Env[Pixels, NDArray[np.float32]]):
    """One world as a Gymnasium environment.

    Args:
        world: the class of the world.
        render_mode: ``"rgb_array"`` or None; the observation is the frame in both.
        options: passed on to the world (``resolution``, ``max_episode_steps``, ``device``).
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012  (Gymnasium's own attribute)

    def __init__(self, world: type[World], render_mode: str | None = None, **options: Any) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
        self.world = world(1, **options)
        self.group = self.world.group
        self.render_mode = render_mode
        self.action_space: gym.Space[Any] = self.world.action_space
        self.observation_space = self.world.observation_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Pixels, dict[str, Any]]:
        super().reset(seed=seed)
        info = self.world.reset(np.arange(1), [self.np_random])
        return self.world.render()[0], _first(info)

    def step(self, action: NDArray[np.float32]) -> tuple[Pixels, float, bool, bool, dict[str, Any]]:
        outcome = self.world.step(np.asarray(action)[None])
        info = _first(outcome.info)
        frame = self.world.render()[0]
        return frame, float(outcome.reward[0]), bool(outcome.terminated[0]), bool(outcome.truncated[0]), info

    def render(self) -> Pixels | None:
        return self.world.render()[0] if self.render_mode == "rgb_array" else None


class WorldVectorEnv(VectorEnv[Pixels, NDArray[np.float32], NDArray[Any]]):
    """A batch of worlds as one Gymnasium vector environment; world ``i`` is seeded with ``seed + i``.

    Autoreset is Gymnasium's default, ``NEXT_STEP``: the step after the end of an episode ignores its action and
    resets. That step is not experience; `envs.collect.collect` leaves it out.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 5,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(self, world: type[World], num_envs: int = 1, render_mode: str | None = None, **options: Any) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
        self.world = world(num_envs, **options)
        self.group = self.world.group
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.single_action_space = self.world.action_space
        self.single_observation_space = self.world.observation_space
        self.action_space: gym.Space[Any] = self.world.batched_action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._generators = [np.random.default_rng() for _ in range(num_envs)]
        self._ended = np.zeros(num_envs, bool)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Pixels, dict[str, Any]]:
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, (int, np.integer)) else seed
        for i, one in enumerate(seeds or ()):
            if one is not None:
                self._generators[i] = gym.utils.seeding.np_random(one)[0]
        self._ended[:] = False
        info = self.world.reset(np.arange(self.num_envs), self._generators)
        return self.world.render(), _masked(info)

    def step(self, actions: NDArray[np.float32]) -> tuple[Pixels, Float, Bool, Bool, dict[str, Any]]:
        outcome = self.world.step(actions)
        reward, terminated, truncated, info = outcome.reward, outcome.terminated, outcome.truncated, outcome.info
        restarted = np.flatnonzero(self._ended)
        if restarted.size:
            fresh = self.world.reset(restarted, [self._generators[i] for i in restarted])
            for key, values in fresh.items():
                info[key][restarted] = values[restarted]
            reward[restarted], terminated[restarted], truncated[restarted] = 0.0, False, False
        self._ended = terminated | truncated
        return self.world.render(), reward, terminated, truncated, _masked(info)

    def render(self) -> tuple[Pixels, ...] | None:
        return tuple(self.world.render()) if self.render_mode == "rgb_array" else None


def _first(info: Info) -> dict[str, Any]:
    return {key: values[0] if values.ndim > 1 else values[0].item() for key, values in info.items()}


def _masked(info: Info) -> dict[str, Any]:
    """Gymnasium's form for vector environments: each key beside a mask of the worlds that reported it."""
    present = np.ones(len(info["displacement"]), bool)
    return {**info, **{f"_{key}": present for key in info}}
