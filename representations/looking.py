"""A decoder for looking only: it learns on latents that it cannot change, so that the encoder owes it nothing."""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor, nn

from envs.transitions import Transitions
from representations.acted import Latents, NextViewLearner, PosedEncoder
from representations.networks import decoder

OCTAVES = 3
"""Frequencies of the waves: the slowest is as long as four units of the latent, each next half as long."""
HIDDEN = 256
"""Width of the layer between the waves and the decoder."""


class LookingLearner(NextViewLearner[PosedEncoder]):
    """Trains a decoder on latents of an encoder that were acted upon.

    Args:
        encoder: trained; it stays as it is.
        transitions: whose frames to draw.
        scale: factor on the number of updates.
    """

    updates = 4000

    def __init__(self, encoder: PosedEncoder, transitions: Transitions, scale: float = 1.0) -> None:
        super().__init__(encoder.eval().requires_grad_(False), transitions, scale)
        size = encoder.latent_dim * (1 + 2 * OCTAVES)
        hidden = (nn.Linear(size, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU())
        self.decoder = nn.Sequential(_Waves(), *hidden, decoder(HIDDEN, encoder.shape))
        self.decoder.to(next(encoder.parameters()).device)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.encoder.eval()
        return self

    def loss(self, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of images drawn from latents of others that were acted upon."""
        drawn = self.draw(generator)
        displacement, images = self.onwards(drawn)
        with torch.no_grad():
            foretold = self.encoder.act(displacement, self.encoder.latents(drawn.images))
        error = (self.drawn(foretold) - images).pow(2).sum((1, 2, 3)).mean()
        return error, {"looking": error.detach()}

    def drawn(self, latents: Latents) -> Tensor:
        """Images of latents, ``(B, C, H, W)``."""
        images: Tensor = self.decoder(torch.cat([latent.flatten(1) for latent in latents.values()], 1))
        return images


class _Waves(nn.Module):
    """Coordinates ``(B, n)`` and their sines and cosines: what is seen may change fast as a pose does.

    Tancik et al., *Fourier features let networks learn high frequency functions in low dimensional domains*, NeurIPS
    2020 (arXiv:2006.10739).
    """

    def forward(self, latent: Tensor) -> Tensor:
        octaves = math.pi / 2 * 2.0 ** torch.arange(OCTAVES, device=latent.device)
        phases = (latent[..., None] * octaves).flatten(1)
        return torch.cat([latent, phases.sin(), phases.cos()], 1)
