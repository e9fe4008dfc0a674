"""A trained encoder as the eyes of a Stable-Baselines3 policy: as its features extractor, or in front of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from torch import Tensor, nn

from representations.encoder import Encoder


class EncoderFeatures(BaseFeaturesExtractor):
    """The latents of a saved encoder as features: for ``CnnPolicy`` and any algorithm.

    Give the folder, not the module: Stable-Baselines3 pickles ``policy_kwargs`` when it saves a policy. With PPO and
    A2C also pass ``ortho_init=False``, or they draw the encoder's weights anew; `require_pretrained` tells whether that
    happened.

    Args:
        observation_space: of uint8 images, channels first (Stable-Baselines3 transposes them).
        encoder: folder of the encoder.
        frozen: whether the encoder stays as it is to the last bit (no gradient, evaluation mode), or is fine-tuned.

    Example:
        ``SAC("CnnPolicy", env, policy_kwargs={"features_extractor_class": EncoderFeatures,
        "features_extractor_kwargs": {"encoder": "runs/demo/encoder"}, "share_features_extractor": True})``
    """

    def __init__(self, observation_space: gym.Space[Any], encoder: str | Path, frozen: bool = True) -> None:
        loaded = Encoder.load(encoder)
        height, width, channels = loaded.shape
        if observation_space.shape != (channels, height, width):
            raise ValueError(
                f"the encoder in {encoder} sees images of shape {(channels, height, width)} (channels first), "
                f"the environment's have {observation_space.shape}"
            )
        super().__init__(observation_space, loaded.latent_dim)
        self.encoder = loaded.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.frozen = frozen
        self._source = str(encoder)
        if frozen:
            _freeze(self.encoder)

    def forward(self, observations: Tensor) -> Tensor:
        """Features ``(B, latent_dim)`` of images ``(B, C, H, W)`` in [0, 1]."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return torch.cat([latent.flatten(1) for latent in self.encoder.latents(observations).values()], 1)

    def train(self, mode: bool = True) -> Self:
        """Training mode for everything but a frozen encoder, whose batch statistics must not drift."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def require_pretrained(self) -> None:
        """Raise unless the encoder's weights are those of its folder, to the last bit.

        Raises:
            RuntimeError: they are not, as after PPO's orthogonal initialisation.
        """
        saved = Encoder.load(self._source).state_dict()
        for name, value in self.encoder.state_dict().items():
            if not torch.equal(value.cpu(), saved[name]):
                raise RuntimeError(
                    f"{name} is not what {self._source} holds: the policy re-initialised or trained the encoder; "
                    "pass policy_kwargs={'ortho_init': False, ...} to PPO and A2C"
                )


class EncodeObservation(gym.ObservationWrapper[NDArray[np.float32], NDArray[Any], NDArray[np.uint8]]):
    """Observe an encoder's latents, a few numbers, where the environment gives an image.

    A replay buffer then stores four floats a step instead of twelve thousand bytes.

    Args:
        env: an environment that observes uint8 images.
        encoder: the encoder, or its folder.
    """

    def __init__(self, env: gym.Env[NDArray[np.uint8], NDArray[Any]], encoder: Encoder | str | Path) -> None:
        super().__init__(env)
        self.encoder = _loaded(encoder)
        self.observation_space: gym.Space[NDArray[np.float32]] = _latent_space(self.encoder)

    def observation(self, observation: NDArray[np.uint8]) -> NDArray[np.float32]:
        latents: NDArray[np.float32] = _encode(self.encoder, observation[None])[0]
        return latents


class VecEncodeObservation(VecEnvWrapper):
    """`EncodeObservation` for Stable-Baselines3's vector environments.

    Args:
        venv: a vector environment that observes uint8 images.
        encoder: the encoder, or its folder.
    """

    def __init__(self, venv: VecEnv, encoder: Encoder | str | Path) -> None:
        self.encoder = _loaded(encoder)
        super().__init__(venv, observation_space=_latent_space(self.encoder))

    def reset(self) -> NDArray[np.float32]:
        frames: Any = self.venv.reset()
        return _encode(self.encoder, frames)

    def step_wait(self) -> Any:
        observation: Any
        observation, reward, done, infos = self.venv.step_wait()
        for index in np.flatnonzero(done):
            last = infos[index]["terminal_observation"]
            infos[index]["terminal_observation"] = _encode(self.encoder, last[None])[0]
        return _encode(self.encoder, observation), reward, done, infos


def _freeze(module: nn.Module) -> None:
    """Make every parameter a buffer: what averages parameters, as the critic's target does, would round them away."""
    for part in module.modules():
        for name, value in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, value.detach())


def _loaded(encoder: Encoder | str | Path) -> Encoder:
    return encoder if isinstance(encoder, Encoder) else Encoder.load(encoder)


def _latent_space(encoder: Encoder) -> Any:
    return gym.spaces.Box(-np.inf, np.inf, (encoder.latent_dim,), np.float32)


def _encode(encoder: Encoder, observation: NDArray[np.uint8]) -> NDArray[np.float32]:
    latents = [latent.reshape(len(latent), -1) for latent in encoder.encode(observation).values()]
    return np.concatenate(latents, 1, dtype=np.float32)
