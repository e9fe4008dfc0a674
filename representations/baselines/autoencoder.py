"""Autoencoders: latents that know nothing of actions, to compare equivariant ones with.

The plain one minimises ``E‖o − D(E(o))‖²``; the variational one adds ``β KL(N(μ, σ²) ‖ N(0, 1))`` and draws its latent
(Kingma & Welling, *Auto-encoding variational Bayes*, ICLR 2014; Higgins et al., *β-VAE*, ICLR 2017).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from envs.transitions import Transitions
from representations.encoder import Encoder, as_tensor, to_images
from representations.networks import make_backbone
from representations.training import Stage


class Autoencoder(Encoder):
    """A latent of as many numbers as the group has, from reconstruction alone.

    Args:
        shape: height, width and channels of the images.
        group: ``"R<n>"``, whose dimension is the latent's.
        backbone: as of the encoders that it is compared with.
        variational: whether the latent is drawn and held near a standard normal.

    Latents: ``agent`` ``(B, n)``, so called to take the equivariant latent's place; nothing ties it to the agent.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        group: str,
        backbone: str = "spatial_softmax",
        variational: bool = False,
    ) -> None:
        super().__init__(shape, group)
        self.backbone, self.variational = backbone, variational
        self.dim = int(group[1:])
        self.trunk = make_backbone(backbone, self.shape)
        self.head = nn.Linear(self.trunk.features, 2 * self.dim)

    @property
    def latent_dim(self) -> int:
        return self.dim

    def latents(self, images: Tensor) -> dict[str, Tensor]:
        return {"agent": self.head(self.trunk(images))[:, : self.dim]}


class AutoencoderLearner(nn.Module):
    """Trains an `Autoencoder` on the frames of transitions; it does not look at the displacements.

    Args:
        encoder: what to train.
        transitions: whose frames to reconstruct.
        scale: factor on the number of updates.
        beta: weight of the divergence, where the latent is drawn.
    """

    def __init__(self, encoder: Autoencoder, transitions: Transitions, scale: float = 1.0, beta: float = 1.0) -> None:
        super().__init__()
        self.encoder = encoder
        height, width, channels = encoder.shape
        self._small = (-(-height // 4), -(-width // 4))
        self.decoder = nn.Sequential(
            nn.Linear(encoder.dim, 64),
            nn.ReLU(),
            nn.Linear(64, 16 * self._small[0] * self._small[1]),
            nn.Unflatten(1, (16, *self._small)),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 16, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, channels, 4, stride=2, padding=1),
        )
        self._frames = as_tensor(transitions.frames)
        self._scale, self._beta = scale, beta

    def stages(self) -> list[Stage]:
        """What to minimise."""
        steps = max(1, round(self._scale * 2500))
        return [Stage("reconstruction", steps, lambda g: self.loss(64, g), list(self.parameters()), 64, 1e-3)]

    def loss(self, size: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of an image, and the divergence of its latent from a standard normal."""
        images = to_images(self._frames[torch.randint(len(self._frames), (size,), generator=generator)])
        mean, log_variance = self.encoder.head(self.encoder.trunk(images)).chunk(2, 1)
        latent, divergence = mean, mean.new_zeros(())
        if self.encoder.variational:
            noise = torch.randn(mean.shape, generator=generator)
            latent = mean + (0.5 * log_variance).exp() * noise
            divergence = 0.5 * (mean.pow(2) + log_variance.exp() - 1 - log_variance).sum(1).mean()
        decoded = self.decoder(latent)[..., : images.shape[2], : images.shape[3]]
        error = functional.mse_loss(decoded, images, reduction="sum") / size
        return error + self._beta * divergence, {"reconstruction": error.detach(), "divergence": divergence.detach()}
