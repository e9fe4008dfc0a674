"""Use a trained encoder in Stable-Baselines3: as the features extractor of a policy, or as an environment wrapper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from torch import Tensor, nn

from ...representations.encoders.encoder import Encoder, flatten_latents
from .encode_observation import as_encoder, encode_as_float32, latent_space, require_image_space


class EncoderFeatures(BaseFeaturesExtractor):
    """The latents of a saved encoder as features: for ``CnnPolicy`` and any algorithm.

    Give the folder, not the module: Stable-Baselines3 pickles ``policy_kwargs`` when it saves a policy.

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
        """Return the features ``(B, latent_dim)`` of images ``(B, C, H, W)`` in [0, 1]."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features: Tensor = flatten_latents(self.encoder.latents(observations))
            return features

    def train(self, mode: bool = True) -> Self:
        """Set the training mode of everything but a frozen encoder, whose batch statistics must not change."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def apply(self, fn: Callable[[nn.Module], None]) -> Self:
        """Apply a function to this module, but not to the encoder, whose weights PPO and A2C would draw anew."""
        fn(self)
        return self

    def require_pretrained(self) -> None:
        """Raise unless the encoder's weights are those of its folder, to the last bit.

        Raises:
            RuntimeError: they are not, as after fine-tuning.
        """
        saved = Encoder.load(self._source).state_dict()
        for name, value in self.encoder.state_dict().items():
            if not torch.equal(value.cpu(), saved[name]):
                raise RuntimeError(
                    f"{name} is not what {self._source} holds: the policy re-initialised or trained the encoder; "
                    "pass frozen=True to keep it"
                )


class VecEncodeObservation(VecEnvWrapper):
    """`EncodeObservation` for Stable-Baselines3's vector environments.

    Args:
        venv: a vector environment that observes uint8 images.
        encoder: the encoder, or its folder.

    Raises:
        ValueError: the environment observes something else than the encoder sees.
    """

    def __init__(self, venv: VecEnv, encoder: Encoder | str | Path) -> None:
        self.encoder = as_encoder(encoder)
        require_image_space(venv.observation_space, self.encoder)
        super().__init__(venv, observation_space=latent_space(self.encoder))

    def reset(self) -> NDArray[np.float32]:
        frames: Any = self.venv.reset()
        return encode_as_float32(self.encoder, frames)

    def step_wait(self) -> Any:
        observation: Any
        observation, reward, done, infos = self.venv.step_wait()
        for index in np.flatnonzero(done):
            last = infos[index]["terminal_observation"]
            infos[index]["terminal_observation"] = encode_as_float32(self.encoder, last[None])[0]
        return encode_as_float32(self.encoder, observation), reward, done, infos


def _freeze(module: nn.Module) -> None:
    """Make every parameter a buffer: what averages parameters, as the critic's target does, would round them away."""
    for part in module.modules():
        for name, value in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, value.detach())
