"""A transform of TorchRL that adds the latents of a trained encoder to what an environment observes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...representations.encoders.encoder import Encoder, ObservationError
from .encode_observation import as_encoder

try:
    from torchrl.envs.transforms import Transform
except ModuleNotFoundError:  # an extra: the class says so when it is used
    Transform = None

_Base: Any = nn.Module if Transform is None else Transform


class EncodeTransform(_Base):  # type: ignore[misc]
    """Add the latents of an encoder to the observations of a TorchRL environment.

    Images may be channels last or channels first and have any batch axes. The images stay; remove them with
    ``ExcludeTransform("pixels")`` behind this one. It also works on replay buffers.

    Args:
        encoder: the encoder, or its folder.
        in_key: entry with the images, uint8.
        out_key: entry for the flat latents, ``(..., latent_dim)`` float32.

    Raises:
        ImportError: TorchRL is not installed.

    Example:
        ``TransformedEnv(GymEnv("equiact/Soccer-v0"), EncodeTransform("runs/demo/encoder"))``
    """

    def __init__(self, encoder: Encoder | str | Path, in_key: str = "pixels", out_key: str = "latents") -> None:
        if Transform is None:
            raise ImportError("EncodeTransform needs TorchRL: pip install 'equiact[offline]'")
        super().__init__(in_keys=[in_key], out_keys=[out_key])
        self.encoder = as_encoder(encoder)

    def _apply_transform(self, observation: Tensor) -> Tensor:
        channels_first = self._is_channels_first(tuple(observation.shape), observation.dtype)
        images = observation.movedim(-3, -1) if channels_first else observation
        latents = self.encoder.encode_flat(images.reshape(-1, *self.encoder.shape))
        return latents.reshape(*images.shape[:-3], self.encoder.latent_dim).to(observation.device)

    def _reset(self, tensordict: Any, tensordict_reset: Any) -> Any:
        return self._call(tensordict_reset)

    def transform_observation_spec(self, observation_spec: Any) -> Any:
        """Return the specification of the observations with that of the latents.

        Raises:
            ObservationError: the environment has no such entry, or it holds other images than the encoder sees.
        """
        from torchrl.data import Unbounded

        (in_key,), (out_key,) = self.in_keys, self.out_keys
        if in_key not in observation_spec.keys(True):
            found = ", ".join(map(str, observation_spec.keys(True)))
            raise ObservationError(f"expected the entry {in_key!r} with images, got {found}; set in_key")
        spec = observation_spec[in_key]
        self._is_channels_first(tuple(spec.shape), spec.dtype)
        shape = (*spec.shape[:-3], self.encoder.latent_dim)
        observation_spec[out_key] = Unbounded(shape=shape, dtype=torch.float32, device=spec.device)
        return observation_spec

    def _is_channels_first(self, shape: tuple[int, ...], dtype: torch.dtype) -> bool:
        height, width, channels = self.encoder.shape
        if dtype == torch.uint8:
            if shape[-3:] == (height, width, channels):
                return False
            if shape[-3:] == (channels, height, width):
                return True
        raise ObservationError(
            f"expected uint8 images (..., {height}, {width}, {channels}), as the encoder sees, or channels first, as "
            f"{self.in_keys[0]!r}, got {dtype} {shape}; set the resolution of the environment"
        )
