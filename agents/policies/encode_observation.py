"""Observe the latents of a trained encoder instead of images, in any environment of Gymnasium, single or vector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from ...representations.encoders.encoder import Encoder
from .image_layout import find_layouts

_GOALS = frozenset({"achieved_goal", "desired_goal"})


class EncodeObservation(gym.ObservationWrapper[Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Observe an encoder's latents, a few numbers, where the environment gives an image.

    A replay buffer then stores four floats a step instead of twelve thousand bytes. Images may be channels first, and
    stacks of frames, which become ``frames * latent_dim`` numbers. Of a Dict observation the images are replaced and
    the other entries kept.

    The reward of a goal environment with images as goals cannot be computed from latents. With ``goal_threshold`` it is
    replaced by a sparse one: 0 where ``‖z − z_goal‖ < goal_threshold`` for the latents of the achieved and the desired
    goal, else −1. ``info["is_success"]`` says which. Hindsight experience replay computes it for other goals, too.

    Args:
        env: an environment that observes uint8 images, plainly or in a Dict.
        encoder: the encoder, or its folder. With a folder, ``gym.make(wrapper.spec)`` makes the environment again.
        keys: entries of a Dict observation to encode; all with images that the encoder sees by default.
        goal_threshold: distance of latents below which a goal that is an image is reached, in units of the latents.

    Raises:
        ValueError: the environment observes something else than the encoder sees; or its goals are images and there is
            no threshold; or there is one, and its goals are no images.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        encoder: Encoder | str | Path,
        keys: Sequence[str] | None = None,
        goal_threshold: float | None = None,
    ) -> None:
        _require_encoder(encoder)
        chosen = None if keys is None else list(keys)
        folder = None if isinstance(encoder, Encoder) else str(Path(encoder).expanduser().resolve())
        gym.utils.RecordConstructorArgs.__init__(self, encoder=folder, keys=chosen, goal_threshold=goal_threshold)
        gym.ObservationWrapper.__init__(self, env)
        self.encoder = as_encoder(encoder)
        self._observed = EncodedSpace(env.observation_space, self.encoder, chosen)
        self._goal_reward = None if goal_threshold is None else SparseGoalReward(goal_threshold)
        if goal_threshold is not None:
            self._observed.require_goals()
            self.compute_reward = self._goal_reward  # hides that of the environment
        elif self._observed.encodes_goals and env.has_wrapper_attr("compute_reward"):
            raise ValueError(
                "expected goals that are not images, because compute_reward of the environment reads them; pass "
                "goal_threshold= for a sparse reward of the latents, encode in the policy instead "
                "(features_extractor_class=EncoderFeatures), or pass keys=['observation']"
            )
        self.observation_space = self._observed.space

    def observation(self, observation: Any) -> Any:
        return self._observed.encode_one(observation)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        if self._goal_reward is not None:
            reward = float(self._goal_reward(observation["achieved_goal"], observation["desired_goal"], info))
            info = {**info, "is_success": reward == 0}
        return observation, reward, terminated, truncated, info


class SparseGoalReward:
    """The reward 0 where the latents of two goals are nearer than a threshold, else −1.

    Args:
        threshold: the distance, positive.

    Raises:
        ValueError: the threshold is not positive and finite.

    Example:
        >>> reward = SparseGoalReward(0.5)
        >>> reward(np.array([[0.0, 0.0], [0.0, 1.0]]), np.array([[0.3, 0.0], [0.0, 0.0]])).tolist()
        [0.0, -1.0]
    """

    def __init__(self, threshold: float) -> None:
        if isinstance(threshold, bool) or not 0 < threshold < np.inf:
            raise ValueError(f"expected goal_threshold above 0 and finite, got {threshold!r}")
        self._threshold = threshold

    def __call__(self, achieved: NDArray[Any], desired: NDArray[Any], info: Any = None) -> NDArray[np.float32]:
        """Return the rewards ``(...,)`` of latents ``(..., latent_dim)``; the info is not read."""
        distance = np.linalg.norm(np.asarray(achieved) - np.asarray(desired), axis=-1)
        return np.where(distance < self._threshold, 0.0, -1.0).astype(np.float32)


class VectorEncodeObservation(VectorWrapper[Any, Any, Any, Any, Any]):
    """`EncodeObservation` for the vector environments of Gymnasium, with every autoreset mode.

    Args:
        env: a vector environment that observes uint8 images, plainly or in a Dict.
        encoder: the encoder, or its folder.
        keys: entries of a Dict observation to encode; all with images that the encoder sees by default.

    Raises:
        ValueError: the environment observes something else than the encoder sees.
    """

    def __init__(
        self, env: VectorEnv[Any, Any, Any], encoder: Encoder | str | Path, keys: Sequence[str] | None = None
    ) -> None:
        super().__init__(env)
        self.encoder = as_encoder(encoder)
        self._observed = EncodedSpace(env.single_observation_space, self.encoder, keys)
        self.single_observation_space = self._observed.space
        self.observation_space = batch_space(self._observed.space, env.num_envs)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        return self._observed.encode(observation), info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(actions)
        if "final_obs" in info:
            last = np.array(info["final_obs"], dtype=object, copy=True)
            for index in np.flatnonzero(info["_final_obs"]):
                last[index] = self._observed.encode_one(info["final_obs"][index])
            info = {**info, "final_obs": last}
        return self._observed.encode(observation), reward, terminated, truncated, info


class EncodedSpace:
    """Replace the images in observations of a space by latents.

    Args:
        space: space of a single observation with images.
        encoder: the encoder.
        keys: entries of a Dict space to encode; all with images that the encoder sees by default.

    Attributes:
        space: space of a single observation after encoding.
        encodes_goals: whether the goals of a goal environment are encoded.

    Raises:
        ValueError: the space has other images than the encoder sees.
    """

    def __init__(self, space: gym.Space[Any], encoder: Encoder, keys: Sequence[str] | None = None) -> None:
        self._encoder = encoder
        self._layouts = find_layouts(space, encoder.shape, keys)
        latents = {key: latent_space(encoder, layout.frames) for key, layout in self._layouts.items()}
        self.encodes_goals = bool(_GOALS & latents.keys())
        if isinstance(space, gym.spaces.Dict):
            self.space: gym.Space[Any] = gym.spaces.Dict({key: latents.get(key, space[key]) for key in space.spaces})
        else:
            self.space = latents[None]

    def require_goals(self) -> None:
        """Check that both goals of a goal environment are encoded.

        Raises:
            ValueError: they are not.
        """
        if not _GOALS <= self._layouts.keys():
            encoded = ", ".join(str(key) for key in self._layouts if key is not None) or "the whole observation"
            raise ValueError(
                f"expected a goal environment whose entries {', '.join(sorted(_GOALS))} are encoded for "
                f"goal_threshold=, got latents of {encoded}; leave goal_threshold out, or keys"
            )

    def encode(self, observations: Any) -> Any:
        """Return a batch of observations with latents instead of images.

        Raises:
            ObservationError: the images have another shape or type than the space says.
        """
        if isinstance(observations, dict):
            return {key: self._encoded(key, value) for key, value in observations.items()}
        return self._encoded(None, observations)

    def encode_one(self, observation: Any) -> Any:
        """Return one observation with latents instead of images.

        Raises:
            ObservationError: an image has another shape or type than the space says.
        """
        if isinstance(observation, dict):
            return {
                key: self._encoded(key, np.asarray(value)[None])[0] if key in self._layouts else value
                for key, value in observation.items()
            }
        return self._encoded(None, np.asarray(observation)[None])[0]

    def _encoded(self, key: str | None, values: Any) -> Any:
        layout = self._layouts.get(key)
        if layout is None:
            return values
        latents = encode_as_float32(self._encoder, layout.to_frames(np.asarray(values)))
        return latents.reshape(-1, layout.frames * latents.shape[1])


def as_encoder(encoder: Encoder | str | Path) -> Encoder:
    """Return an encoder, which is loaded if its folder is given."""
    return encoder if isinstance(encoder, Encoder) else Encoder.load(encoder)


def latent_space(encoder: Encoder, frames: int = 1) -> gym.spaces.Box:
    """Return the space of the flat latents of an encoder, ``(frames * latent_dim,)``."""
    return gym.spaces.Box(-np.inf, np.inf, (frames * encoder.latent_dim,), np.float32)


def encode_as_float32(encoder: Encoder, observation: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the flat latents ``(B, latent_dim)`` of images."""
    return encoder.encode_flat(observation).astype(np.float32, copy=False)


def _require_encoder(encoder: Any) -> None:
    """Raise if the environment is made again from a spec, which cannot hold an `Encoder`."""
    if encoder is None:
        raise ValueError(
            "expected the folder of an encoder, got None: the wrapper was made with an Encoder object, which a spec "
            "cannot hold; save the encoder and give its folder: EncodeObservation(env, 'runs/encoder')"
        )
