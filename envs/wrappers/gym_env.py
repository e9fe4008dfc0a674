"""Worlds as Gymnasium environments: a single world, or a batch as a vector environment."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from ..simulation.state_layout import Float, Pixels
from ..worlds.world import Bool, Info, World


class WorldEnv(gym.Env[Pixels, NDArray[np.float32]]):
    """One world as a Gymnasium environment.

    Args:
        world: class of the world.
        render_mode: ``"rgb_array"`` or None. The observation is the frame in both.
        **options: options of the world: ``resolution``, ``max_episode_steps``, ``device``.

    Attributes:
        world: the world, a batch of one.
        group: the group that acts.

    Raises:
        ValueError: the render mode is not supported.

    Example:
        >>> import equiact
        >>> env = gym.make("equiact/Soccer-v0", resolution=(16, 16), device="cpu")
        >>> frame, info = env.reset(seed=0)
        >>> frame.shape, sorted(info)
        ((16, 16, 3), ['agent_pose', 'displacement', 'object_pose', 'success', 'touched'])
        >>> env.close()
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012  (Gymnasium's own attribute)

    def __init__(self, world: type[World], render_mode: str | None = None, **options: Any) -> None:
        _require_render_mode(render_mode)
        self.world = world(1, **options)
        self.group = self.world.group
        self.render_mode = render_mode
        self.action_space: gym.Space[Any] = self.world.action_space
        self.observation_space = self.world.observation_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Pixels, dict[str, Any]]:
        """Start an episode and return its first frame and info.

        Args:
            seed: seed of this and the following episodes, any integer type; None continues the random numbers.
            options: ignored.
        """
        super().reset(seed=None if seed is None else operator.index(seed))
        info = self.world.reset(np.arange(1), [self.np_random])
        return self.world.render()[0], _first(info)

    def step(self, action: NDArray[np.float32]) -> tuple[Pixels, float, bool, bool, dict[str, Any]]:
        """Perform an action and return frame, reward, terminated, truncated and info.

        Args:
            action: ``(dim + commands,)``.

        Raises:
            GroupError: the action has another shape, is not finite, or is no element of the group.
        """
        result = self.world.step(np.asarray(action)[None])
        info = _first(result.info)
        frame = self.world.render()[0]
        return frame, float(result.reward[0]), bool(result.terminated[0]), bool(result.truncated[0]), info

    def render(self) -> Pixels | None:
        """Return the current frame in mode ``"rgb_array"``, else None."""
        return self.world.render()[0] if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Free the threads and the memory of the simulator."""
        self.world.close()


class WorldVectorEnv(VectorEnv[Pixels, NDArray[np.float32], NDArray[Any]]):
    """A batch of worlds as a Gymnasium vector environment.

    World ``i`` is seeded with ``seed + i``. Autoreset is Gymnasium's default, ``NEXT_STEP``: the step after the end of
    an episode ignores its action and resets. That step is no transition, and `equiact.collect` leaves it out.

    Args:
        world: class of the world.
        num_envs: number of worlds.
        render_mode: ``"rgb_array"`` or None. The observation is the frame in both.
        **options: options of the world: ``resolution``, ``max_episode_steps``, ``device``.

    Attributes:
        world: the batch.
        group: the group that acts.

    Raises:
        ValueError: the render mode is not supported.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 5,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(self, world: type[World], num_envs: int = 1, render_mode: str | None = None, **options: Any) -> None:
        _require_render_mode(render_mode)
        self.world = world(num_envs, **options)
        self.group = self.world.group
        self.num_envs = self.world.num_worlds
        self.render_mode = render_mode
        self.single_action_space = self.world.action_space
        self.single_observation_space = self.world.observation_space
        self.action_space: gym.Space[Any] = self.world.batched_action_space()
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._generators = [np.random.default_rng() for _ in range(self.num_envs)]
        self._ended = np.zeros(self.num_envs, bool)
        self._was_reset = False

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Pixels, dict[str, Any]]:
        """Start episodes in all worlds and return their first frames and infos.

        Args:
            seed: ``s`` seeds world ``i`` with ``s + i``; a sequence seeds each world, None leaves one unseeded.
            options: ignored.
        """
        for i, one in enumerate(_seeds(seed, self.num_envs)):
            if one is not None:
                self._generators[i] = gym.utils.seeding.np_random(operator.index(one))[0]
        self._ended[:], self._was_reset = False, True
        info = self.world.reset(np.arange(self.num_envs), self._generators)
        return self.world.render(), _masked(info)

    def step(self, actions: NDArray[np.float32]) -> tuple[Pixels, Float, Bool, Bool, dict[str, Any]]:
        """Perform an action in every world; worlds whose episode has ended are reset instead.

        Args:
            actions: ``(num_envs, dim + commands)``.

        Raises:
            GroupError: the actions have another shape, are not finite, or are no elements of the group.
            gymnasium.error.ResetNeeded: the worlds were never reset.
        """
        if not self._was_reset:
            raise gym.error.ResetNeeded("the worlds have no initial states yet; call reset before step")
        result = self.world.step(actions)
        reward, terminated, truncated, info = result.reward, result.terminated, result.truncated, result.info
        restarted = np.flatnonzero(self._ended)
        if restarted.size:
            fresh = self.world.reset(restarted, [self._generators[i] for i in restarted])
            for key, values in fresh.items():
                info[key][restarted] = values[restarted]
            reward[restarted], terminated[restarted], truncated[restarted] = 0.0, False, False
        self._ended = terminated | truncated
        return self.world.render(), reward, terminated, truncated, _masked(info)

    def render(self) -> tuple[Pixels, ...] | None:
        """Return the current frames in mode ``"rgb_array"``, else None."""
        return tuple(self.world.render()) if self.render_mode == "rgb_array" else None

    def close_extras(self, **kwargs: Any) -> None:
        """Free the threads and the memory of the simulator."""
        self.world.close()


def _seeds(seed: int | Sequence[int | None] | None, count: int) -> Sequence[int | None]:
    """Return one seed per world."""
    if seed is None or isinstance(seed, Sequence | np.ndarray):
        seeds: Sequence[int | None] = [None] * count if seed is None else seed
    else:
        seeds = [operator.index(seed) + i for i in range(count)]
    if len(seeds) != count:
        raise ValueError(
            f"one seed for each of {count} worlds was expected, got {len(seeds)}; pass one integer for all"
        )
    return seeds


def _require_render_mode(render_mode: str | None) -> None:
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")


def _first(info: Info) -> dict[str, Any]:
    """Return the info of the first world, scalars as Python numbers."""
    return {key: values[0] if values.ndim > 1 else values[0].item() for key, values in info.items()}


def _masked(info: Info) -> dict[str, Any]:
    """Return Gymnasium's form for vector environments, with masks ``_key`` of the worlds that report a ``key``."""
    present = np.ones(len(info["displacement"]), bool)
    return {**info, **{f"_{key}": present for key in info}}
