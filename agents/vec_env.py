"""Our worlds as Stable-Baselines3 vector environments, observed as pixels, as an encoder's latents or as true state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from envs.simulator import Worlds
from envs.task import TaskWorld
from envs.world import Outcome
from representations.encoder import Encoder

Observe = Callable[[TaskWorld, Worlds | None], NDArray[Any]]


def observe_pixels(world: TaskWorld, worlds: Worlds | None = None) -> NDArray[Any]:
    """Frames, ``(n, H, W, 3)`` uint8."""
    return world.render(worlds)


def observe_state(world: TaskWorld, worlds: Worlds | None = None) -> NDArray[Any]:
    """True positions of agent and object, ``(n, 2 dim)`` float32, in metres."""
    state = np.concatenate([world.agent_pose(), world.object_pose()], 1).astype(np.float32)
    return state if worlds is None else state[worlds]


def observe_latents(encoder: Encoder) -> Observe:
    """The encoder's latents of the frames, ``(n, latent_dim)`` float32: what `observe_state` says, but seen."""

    def observe(world: TaskWorld, worlds: Worlds | None = None) -> NDArray[Any]:
        latents = encoder.encode(world.render(worlds))
        return np.concatenate([latent.reshape(len(latent), -1) for latent in latents.values()], 1)

    return observe


class WorldVecEnv(VecEnv):
    """A batch of worlds for Stable-Baselines3, which resets within the step that ends an episode.

    Args:
        world: the batch.
        observe: what the agent sees: `observe_pixels`, `observe_state` or `observe_latents(encoder)`.

    Example:
        >>> from envs import task_class
        >>> environment = WorldVecEnv(task_class("Soccer")(2, resolution=(16, 16)), observe_state)
        >>> environment.reset().shape
        (2, 4)
    """

    def __init__(self, world: TaskWorld, observe: Observe = observe_pixels) -> None:
        self.world = world
        self._observe = observe
        self._generators = [np.random.default_rng() for _ in range(world.num_worlds)]
        self._actions: NDArray[Any] = np.zeros((world.num_worlds, world.group.dim + world.commands))
        self._returns = np.zeros(world.num_worlds)
        self._lengths = np.zeros(world.num_worlds, int)
        sample = observe(world, None)
        space: gym.Space[Any] = world.observation_space
        if sample.dtype != np.uint8:
            space = gym.spaces.Box(-np.inf, np.inf, sample.shape[1:], np.float32)
        super().__init__(world.num_worlds, space, world.action_space)

    def reset(self) -> NDArray[Any]:
        for index, seed in enumerate(self._seeds):
            if seed is not None:
                self._generators[index] = np.random.default_rng(seed)
        self._reset_seeds()
        self.world.reset(np.arange(self.num_envs), self._generators)
        self._returns[:], self._lengths[:] = 0.0, 0
        return self._observe(self.world, None)

    def step_async(self, actions: NDArray[Any]) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], list[dict[str, Any]]]:
        outcome = self.world.step(self._actions)
        observation = self._observe(self.world, None)
        self._returns += outcome.reward
        self._lengths += 1
        infos = self._infos(outcome)
        ended = np.flatnonzero(outcome.terminated | outcome.truncated)
        if ended.size:
            for index in ended:
                infos[index]["terminal_observation"] = observation[index].copy()
                infos[index]["episode"] = {"r": float(self._returns[index]), "l": int(self._lengths[index])}
            self.world.reset(ended, [self._generators[index] for index in ended])
            self._returns[ended], self._lengths[ended] = 0.0, 0
            observation = observation.copy()
            observation[ended] = self._observe(self.world, ended)
        return observation, outcome.reward.astype(np.float32), outcome.terminated | outcome.truncated, infos

    def _infos(self, outcome: Outcome) -> list[dict[str, Any]]:
        infos: list[dict[str, Any]] = []
        for index in range(self.num_envs):
            info = {key: values[index] for key, values in outcome.info.items()}
            info["is_success"] = bool(info["success"])
            info["TimeLimit.truncated"] = bool(outcome.truncated[index])
            infos.append(info)
        return infos

    def close(self) -> None: ...

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        return list(self.world.render())

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        if attr_name == "render_mode":
            return ["rgb_array" for _ in self._get_indices(indices)]
        return [getattr(self.world, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise AttributeError(f"{attr_name} cannot be set: the worlds of a batch share their attributes")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        raise AttributeError(f"{method_name}: the worlds of a batch have no methods of their own; use .world")

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:
        return [False for _ in self._get_indices(indices)]
