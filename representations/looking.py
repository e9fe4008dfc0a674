"""A decoder for looking only: it learns on latents that it cannot change, so that the encoder owes it nothing."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from envs.transitions import Transitions
from representations.acted import Latents, NextViewLearner, PosedEncoder
from representations.networks import decoder


class LookingLearner(NextViewLearner[PosedEncoder]):
    """Trains a decoder on latents of an encoder that were acted upon.

    Args:
        encoder: trained; it stays as it is.
        transitions: whose frames to draw.
        scale: factor on the number of updates.
    """

    updates = 2000

    def __init__(self, encoder: PosedEncoder, transitions: Transitions, scale: float = 1.0) -> None:
        super().__init__(encoder.eval().requires_grad_(False), transitions, scale)
        self.decoder = decoder(encoder.latent_dim, encoder.shape).to(next(encoder.parameters()).device)

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
        drawing: nn.Module = self.decoder
        images: Tensor = drawing(torch.cat([latent.flatten(1) for latent in latents.values()], 1))
        return images
