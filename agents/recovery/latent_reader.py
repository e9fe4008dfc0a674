"""What a recovery policy reads from observations: the latent of the agent and the features of the scene."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.batched_envs.batch_rows import count_rows
from ...envs.batched_envs.image_reader import image_entry
from ...envs.lie_groups.registry import group_from_name
from ...envs.lie_groups.translations import Translations
from ...representations.densities.conditional_density import SceneDensity
from ...representations.densities.density import Density
from ...representations.encoders.encoder import Encoder
from .episode_state import Latents, Values

LatentFunction = Callable[[Any], NDArray[Any]]
"""Return latents ``(B, n)`` of a batch of observations."""


class LatentReader:
    """Read latents and scenes from observations of any kind.

    Args:
        encoder: an encoder of a translation group with the latent ``"agent"``, or a function to latents.
        density: density in that latent.
        image_key: entry of Dict observations for encoders and densities of images; the only image among them if None.

    Raises:
        ValueError: the group of the encoder is no translation group.
    """

    def __init__(self, encoder: Encoder | LatentFunction, density: Density, image_key: str | None = None) -> None:
        if isinstance(encoder, Encoder) and not isinstance(group_from_name(encoder.group), Translations):
            raise ValueError(
                "recovery goes back in a straight line, by translations R^n of the latent; got an encoder of the group "
                f"{encoder.group}, where the shortest way is a geodesic. Pass a function that returns positions in R^n "
                "as the encoder, such as the translation part of the pose"
            )
        self._encoder = encoder
        self._density = density
        self._image_key = image_key

    def latent(self, observation: Any) -> Latents:
        """Return the latents of the agent, ``(B, n)``.

        Raises:
            ValueError: there is no image for the encoder, it has no latent ``"agent"``, or the latents do not have the
                dimension of the density.
        """
        if isinstance(self._encoder, Encoder):
            latents = self._encoder.encode(self._images(observation))
            if "agent" not in latents:
                raise ValueError(
                    f"expected an encoder with the latent 'agent', got one with {sorted(latents)}; pass a function "
                    "that returns the latent to go back in"
                )
            latent = np.asarray(latents["agent"])
        else:
            latent = np.asarray(self._encoder(observation), np.float32)
        expected = (count_rows(observation), self._density.dim)
        if latent.shape != expected:
            raise ValueError(
                f"latents (B, {expected[1]}) were expected, which the density was fitted to; the encoder gives "
                f"{latent.shape} for {expected[0]} observations. To act on single ones, pass observation_space="
            )
        return latent

    def scene(self, observation: Any) -> Values:
        """Return the features of the scene that the density is conditioned on, ``(B, k)``."""
        features: Values = self._density.scene_of(self.scene_observation(observation)).numpy()
        return features

    def scene_observation(self, observation: Any) -> Any:
        """Return the part of the observation that the density sees: images, if it has a network for them."""
        return self._images(observation) if isinstance(self._density, SceneDensity) else observation

    def _images(self, observation: Any) -> Any:
        if not isinstance(observation, dict):
            return observation
        images = image_entry(observation, self._image_key)
        if images is None:
            raise ValueError(
                f"expected Dict observations with an image for the encoder, got the entries {list(observation)}; pass "
                "a function that maps observations to latents as the encoder"
            )
        return images
