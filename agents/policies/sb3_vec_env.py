"""Our worlds as Stable-Baselines3 vector environments, observed as pixels, as latents or as ground-truth state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from ...envs.batched_envs.world_episodes import Observe, observe_pixels
from ...envs.simulation.state_layout import Worlds
from ...envs.worlds.task_world import TaskWorld
from ...envs.worlds.world import StepResult
from ...representations.encoders.encoder import Encoder

__all__ = ["Observe", "WorldVecEnv", "observe_latents", "observe_pixels", "observe_state"]


def observe_state(world: TaskWorld, worlds: Worlds | None = None) -> NDArray[Any]:
    """Return the ground-truth positions of agent and object, ``(n, 2 dim)`` float32, in metres (privileged)."""
    state = np.concatenate([world.agent_pose(), world.object_pose()], 1).astype(np.float32)
    return state if worlds is None else state[worlds]


def observe_latents(encoder: Encoder) -> Observe:
    """Return a function that observes the encoder's latents of the frames, ``(n, latent_dim)`` float32."""

    def observe(world: TaskWorld, worlds: Worlds | None = None) -> NDArray[Any]:
        return encoder.encode_flat(world.render(worlds))

    return observe


class WorldVecEnv(VecEnv):
    """A batch of worlds as a vector environment of Stable-Baselines3.

    As all of them do, it resets within the step that ends an episode; the last observation of the episode is
    ``info["terminal_observation"]``. ``info`` also has ``"is_success"`` and, at the end, the ``"episode"`` statistics.

    Args:
        world: the batch.
        observe: what the policy sees: `observe_pixels`, `observe_state` or `observe_latents(encoder)`.

    Example:
        >>> from equiact.envs import task_world_class
        >>> environment = WorldVecEnv(task_world_class("Soccer")(2, resolution=(16, 16)), observe_state)
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
        """Start an episode in every world and return the observations."""
        for index, seed in enumerate(self._seeds):
            if seed is not None:
                self._generators[index] = np.random.default_rng(seed)
        self._reset_seeds()
        self.world.reset(np.arange(self.num_envs), self._generators)
        self._returns[:], self._lengths[:] = 0.0, 0
        return self._observe(self.world, None)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Store the actions of the next step."""
        self._actions = actions

    def step_wait(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], list[dict[str, Any]]]:
        """Act, reset the worlds whose episode ended, and return what Stable-Baselines3 expects."""
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

    def _infos(self, outcome: StepResult) -> list[dict[str, Any]]:
        infos: list[dict[str, Any]] = []
        for index in range(self.num_envs):
            info = {key: values[index] for key, values in outcome.info.items()}
            info["is_success"] = bool(info["success"])
            info["TimeLimit.truncated"] = bool(outcome.truncated[index])
            infos.append(info)
        return infos

    def close(self) -> None:
        """Do nothing: the world belongs to the caller."""

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Return the frame of every world."""
        return list(self.world.render())

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of the batch, once for every world."""
        if attr_name == "render_mode":
            return ["rgb_array" for _ in self._get_indices(indices)]
        return [getattr(self.world, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Raise an error: worlds of a batch share their attributes."""
        raise AttributeError(f"{attr_name} cannot be set: all worlds of a batch share their attributes")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Raise an error: worlds of a batch have no methods of their own."""
        raise AttributeError(
            f"{method_name}: worlds of a batch have no methods of their own; call those of the attribute `world`"
        )

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:
        """Return false for every world."""
        return [False for _ in self._get_indices(indices)]
