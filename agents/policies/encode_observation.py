"""Observe the latents of a trained encoder instead of images, in any Gymnasium environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from ...representations.encoders.encoder import Encoder


class EncodeObservation(gym.ObservationWrapper[NDArray[np.float32], NDArray[Any], NDArray[np.uint8]]):
    """Observe an encoder's latents, a few numbers, where the environment gives an image.

    A replay buffer then stores four floats a step instead of twelve thousand bytes.

    Args:
        env: an environment that observes uint8 images.
        encoder: the encoder, or its folder.

    Raises:
        ValueError: the environment observes something else than the encoder sees.
    """

    def __init__(self, env: gym.Env[NDArray[np.uint8], NDArray[Any]], encoder: Encoder | str | Path) -> None:
        super().__init__(env)
        self.encoder = as_encoder(encoder)
        require_image_space(env.observation_space, self.encoder)
        self.observation_space: gym.Space[NDArray[np.float32]] = latent_space(self.encoder)

    def observation(self, observation: NDArray[np.uint8]) -> NDArray[np.float32]:
        latents: NDArray[np.float32] = encode_as_float32(self.encoder, observation[None])[0]
        return latents


def as_encoder(encoder: Encoder | str | Path) -> Encoder:
    """Return an encoder, which is loaded if its folder is given."""
    return encoder if isinstance(encoder, Encoder) else Encoder.load(encoder)


def require_image_space(space: gym.Space[Any], encoder: Encoder) -> None:
    """Raise unless a space has the images that an encoder sees.

    Raises:
        ValueError: it has something else.
    """
    if space.shape != encoder.shape or space.dtype != np.uint8:
        raise ValueError(
            f"expected an environment that observes uint8 images {encoder.shape}, as the encoder sees, got {space}; "
            "set the resolution of the environment to that of the encoder"
        )


def latent_space(encoder: Encoder) -> Any:
    """Return the space of the flat latents of an encoder."""
    return gym.spaces.Box(-np.inf, np.inf, (encoder.latent_dim,), np.float32)


def encode_as_float32(encoder: Encoder, observation: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the flat latents ``(B, latent_dim)`` of images."""
    return encoder.encode_flat(observation).astype(np.float32, copy=False)
