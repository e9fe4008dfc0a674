"""A decoder that visualises latents, trained on those of a frozen encoder."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn

from ...envs.data.transitions import Transitions
from ..encoders.decoders import decoder
from ..encoders.equivariant_encoder import Latents
from .config import OptimConfig, check_range
from .learner import Loss
from .pair_sampling import PairLearner, PairSamplingConfig


@dataclass(frozen=True)
class VisualizationDecoderConfig:
    """Set the hyper-parameters of a `VisualizationDecoder`.

    Attributes:
        octaves: frequencies of the Fourier features. The lowest has a wavelength of four units of the latent, each next
            one half of it.
        hidden_dim: width of the layer after the Fourier features.
        optim: how the loss is minimised; ``batch_size`` counts images.
        pairs: how pairs of images are drawn.

    Raises:
        ConfigError: a value is out of range.
    """

    octaves: int = 3
    hidden_dim: int = 256
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=4000))
    pairs: PairSamplingConfig = field(default_factory=PairSamplingConfig)

    def __post_init__(self) -> None:
        check_range(self, "octaves", at_least=0, at_most=16)
        check_range(self, "hidden_dim", at_least=1, at_most=16_384)


class FourierFeatures(nn.Module):
    """Map coordinates ``(B, n)`` to ``(z, sin 2^k πz/2, cos 2^k πz/2)``, ``(B, n (1 + 2 octaves))``.

    They let a small network change its output fast as a pose changes. Source: Tancik et al., *Fourier features let
    networks learn high frequency functions in low dimensional domains*, NeurIPS 2020 (arXiv:2006.10739).

    Args:
        octaves: number of frequencies.
    """

    def __init__(self, octaves: int) -> None:
        super().__init__()
        self.octaves = octaves

    def forward(self, latent: Tensor) -> Tensor:
        """Return the coordinates, their sines and their cosines."""
        frequencies = math.pi / 2 * 2.0 ** torch.arange(self.octaves, device=latent.device)
        phases = (latent[..., None] * frequencies).flatten(1)
        return torch.cat([latent, phases.sin(), phases.cos()], 1)


class VisualizationDecoder(nn.Module):
    """Decode latents to images, to look at predicted latents; the encoder is frozen and stays as it is.

    Args:
        encoder: a trained `Encoder` with an action on its latents (`EquivariantEncoder`); it is put into evaluation
            mode, without gradients.
        config: hyper-parameters.

    Attributes:
        encoder: the encoder.
    """

    def __init__(self, encoder: Any, config: VisualizationDecoderConfig = VisualizationDecoderConfig()) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder.eval().requires_grad_(False)
        size, hidden = encoder.latent_dim * (1 + 2 * config.octaves), config.hidden_dim
        layers = (nn.Linear(size, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), decoder(hidden, encoder.shape))
        self.layers = nn.Sequential(FourierFeatures(config.octaves), *layers)
        self.layers.to(next(encoder.parameters()).device)

    def forward(self, latents: Latents) -> Tensor:
        """Return images ``(B, C, H, W)`` of latents."""
        images: Tensor = self.layers(torch.cat([latent.flatten(1) for latent in latents.values()], 1))
        return images

    def train(self, mode: bool = True) -> Self:
        """Switch the decoder to training mode; the encoder stays in evaluation mode."""
        super().train(mode)
        self.encoder.eval()
        return self

    def require_fitting(self, transitions: Transitions) -> None:
        """Check that the transitions are those of the encoder.

        Raises:
            ValueError: they have another group or image shape.
        """
        self.encoder.require_fitting(transitions)


class VisualizationDecoderLearner(PairLearner[VisualizationDecoder]):
    """Train a `VisualizationDecoder` ``D`` on predicted latents: minimise ``E‖D(g·φ(x)) − y‖²`` with ``y = g·x``.

    Source: the visualisations of Pérez Rey et al., ECML PKDD 2023 (arXiv:2301.05231), whose decoder is trained on
    detached latents.

    Args:
        network: the decoder with its encoder.
        transitions: frames and displacements; the ground truth is not read.

    Raises:
        ValueError: the group or the frames of the transitions are not those of the encoder.
    """

    @property
    def batch_size(self) -> int:
        """Pairs in one update: each image and the next."""
        return self.sampler.num_images

    def loss(self, generator: torch.Generator) -> Loss:
        """Return the squared error of images decoded from predicted latents, summed over the pixels."""
        views = self.sampler.draw(generator)
        displacement, images = self.sampler.pair_with_next(views)
        encoder = self.network.encoder
        with torch.no_grad():
            predicted = encoder.act(displacement, encoder.latents(views.images))
        error = (self.network(predicted) - images).pow(2).sum((1, 2, 3)).mean()
        return error, {"reconstruction": error.detach()}
