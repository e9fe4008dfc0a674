"""Run a policy of encoder A on encoder B without training: encoders that are followed by a map of their latents.

Both classes are encoders: `EncodeObservation`, `VecEncodeObservation`, `EncoderFeatures` and `observe_latents` take
them as they take any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...representations.analysis.stitching.alignments import Alignment
from ...representations.analysis.stitching.relative_maps import CosineRelative, RobustRelative
from ...representations.encoders.encoder import Encoder, ObservationError, flatten_latents


@dataclass(frozen=True)
class MappedEncoderConfig:
    """Name the parts of an encoder that is followed by a map.

    Attributes:
        encoder: class of the encoder.
        mapping: class of the map.
    """

    encoder: str = ""
    mapping: str = ""


class MappedEncoder(Encoder):
    """Encode images, and map all latents together: ``z = f(φ(o))``.

    Args:
        encoder: the encoder ``φ``; it is not copied.
        mapping: the map ``f`` of flat latents ``(B, dim)``, with the attribute ``latent_dim``.
    """

    config_class = MappedEncoderConfig

    def __init__(self, encoder: Encoder, mapping: Alignment | CosineRelative | RobustRelative) -> None:
        config = MappedEncoderConfig(type(encoder).__name__, type(mapping).__name__)
        super().__init__(encoder.shape, encoder.group, config)
        self.encoder, self.mapping = encoder, mapping
        self.eval()

    @property
    def latent_dim(self) -> int:
        """Number of coordinates after the map."""
        return self.mapping.latent_dim

    def latents(self, images: Tensor) -> dict[str, Tensor]:
        """Return the mapped latents of float images ``(B, C, H, W)``."""
        return self.name_latents(self.mapping(flatten_latents(self.encoder.float_latents(images))))

    def name_latents(self, flat: Tensor) -> dict[str, Tensor]:
        """Return the mapped latents ``(B, latent_dim)`` by name."""
        return {"mapped": flat}

    def card(self) -> dict[str, Any]:
        """Return the card of the encoder, with the class of the map in place of its configuration."""
        return {**self.encoder.card(), "encoder": type(self).__name__, "config": vars(self.config)}

    def save(self, folder: str | Path) -> None:
        """Raise an error: the encoder is saved, and the map is made again from the anchors.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"expected an encoder to save, got a {type(self).__name__}, which is made from an encoder and anchors; "
            "save its attribute encoder and the frames of the anchors, and make it again"
        )


class StitchedEncoder(MappedEncoder):
    """Encode with encoder B, and align its latents with those of encoder A: ``z = f(φ_B(o)) ≈ φ_A(o)``.

    A policy that was trained on the latents of A runs on these, in the environment that B sees. If A has latents as
    those of B, in number and size, these have their names; otherwise there is one latent, ``stitched``.

    Source: García-Castellanos et al. (arXiv:2409.10967), for the protocol.

    Args:
        encoder: encoder B; it is not copied.
        alignment: map of its latents to those of A, such as `isometric_alignment` returns.

    Raises:
        ValueError: the alignment is for latents of another size.

    Example:
        >>> from equiact.representations.analysis.stitching.alignments import AffineAlignment
        >>> from equiact.representations.encoders.translation_encoder import TranslationEncoder
        >>> encoder = TranslationEncoder((16, 16, 3), "R2")
        >>> stitched = StitchedEncoder(encoder, AffineAlignment(np.eye(2), np.array([1.0, 0.0])))
        >>> frames = np.zeros((4, 16, 16, 3), np.uint8)
        >>> bool(np.allclose(stitched.encode(frames)["agent"] - encoder.encode(frames)["agent"], [1, 0]))
        True
    """

    def __init__(self, encoder: Encoder, alignment: Alignment) -> None:
        super().__init__(encoder, alignment)
        self._shapes = {name: latent.shape[1:] for name, latent in self._black().items()}
        self.encode(np.zeros((1, *self.shape), np.uint8))  # raises if the alignment does not fit

    def name_latents(self, flat: Tensor) -> dict[str, Tensor]:
        """Return the aligned latents by the names of the encoder, or as ``stitched``."""
        sizes = [shape.numel() for shape in self._shapes.values()]
        if sum(sizes) != flat.shape[1]:
            return {"stitched": flat}
        parts = zip(self._shapes.items(), torch.split(flat, sizes, 1), strict=True)
        return {name: part.reshape(len(flat), *shape) for (name, shape), part in parts}

    def _black(self) -> dict[str, Tensor]:
        """Return the latents of a black image, for their names and sizes."""
        return self.encoder.encode(torch.zeros(1, *self.shape, dtype=torch.uint8))


class RelativeEncoder(MappedEncoder):
    """Encode, and describe the latent by its similarities to those of anchors: ``r = f(φ(o); φ(o_1), …, φ(o_k))``.

    A policy that was trained on the relative coordinates of encoder A runs on those of encoder B, if both have frames
    of the same anchor states. Nothing is fitted.

    Latents: ``relative`` ``(B, k)``.

    Source: García-Castellanos et al. (arXiv:2409.10967).

    Args:
        encoder: the encoder; it is not copied.
        anchor_frames: frames of the anchor states, ``(k, H, W, C)`` uint8, in the same order for all encoders.
        map_class: `RobustRelative` or `CosineRelative`.

    Raises:
        ObservationError: the frames do not fit the encoder.
        AnchorError: the encoder gives all anchors the same latent.

    Example:
        >>> from equiact.representations.encoders.translation_encoder import TranslationEncoder
        >>> frames = np.random.default_rng(0).integers(0, 255, (8, 16, 16, 3), np.uint8)
        >>> relative = RelativeEncoder(TranslationEncoder((16, 16, 3), "R2"), frames)
        >>> relative.encode(frames)["relative"].shape
        (8, 8)
    """

    def __init__(
        self,
        encoder: Encoder,
        anchor_frames: NDArray[np.uint8],
        map_class: type[CosineRelative] | type[RobustRelative] = RobustRelative,
    ) -> None:
        if len(anchor_frames) == 0:
            raise ObservationError("expected frames of anchors, got none")
        device = next(encoder.parameters()).device
        super().__init__(encoder, map_class(encoder.encode_flat(anchor_frames)).to(device))

    def name_latents(self, flat: Tensor) -> dict[str, Tensor]:
        """Return the relative coordinates as ``relative``."""
        return {"relative": flat}
