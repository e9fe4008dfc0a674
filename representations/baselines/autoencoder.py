"""Autoencoders: latents that do not depend on actions, as baselines for equivariant encoders.

The plain one minimises ``E‖o − D(E(o))‖²``. The variational one adds ``β KL(N(μ, σ²) ‖ N(0, 1))`` and samples its
latent (Kingma & Welling, *Auto-encoding variational Bayes*, ICLR 2014; Higgins et al., *β-VAE*, ICLR 2017).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...envs.data.transitions import Transitions
from ...envs.lie_groups.registry import group_from_name
from ..encoders.backbones import make_backbone
from ..encoders.encoder import Encoder, as_tensor, to_images
from ..encoders.registry import register_encoder, register_learner
from ..learning.config import OptimConfig, check_range
from ..learning.learner import Loss, Stage


@dataclass(frozen=True)
class AutoencoderConfig:
    """Set the hyper-parameters of an `Autoencoder`.

    Attributes:
        backbone: name of the image network.
        variational: whether the latent is sampled and held near a standard normal.
        beta: weight of the divergence, if the autoencoder is variational.
        optim: number of updates, learning rate and batch size (images).

    Raises:
        ConfigError: a value is out of range.
    """

    backbone: str = "spatial_softmax"
    variational: bool = False
    beta: float = 1.0
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=2500, lr=1e-3))

    def __post_init__(self) -> None:
        check_range(self, "beta", at_least=0)


@register_encoder("autoencoder")
class Autoencoder(Encoder):
    """Encode an image as a latent with as many coordinates as the group, from reconstruction alone.

    Latents: ``agent`` ``(B, n)``, with the name of the equivariant latent that it replaces in comparisons. No loss ties
    it to the agent. It minimises ``E ‖o − D(E(o))‖²``; the variational one adds ``β KL(N(μ, σ²) ‖ N(0, 1))``.

    Source: Kingma and Welling, *Auto-encoding variational Bayes*, ICLR 2014; Higgins et al., *β-VAE*, ICLR 2017.

    Args:
        shape: height, width and channels of the images.
        group: name of the group; the latent has its dimension.
        config: hyper-parameters.

    Attributes:
        dim: ``n``.
    """

    config_class = AutoencoderConfig
    config: AutoencoderConfig

    def __init__(self, shape: tuple[int, int, int], group: str, config: AutoencoderConfig | None = None) -> None:
        super().__init__(shape, group, config)
        self.dim = group_from_name(group).dim
        self.trunk = make_backbone(self.config.backbone, self.shape)
        self.head = nn.Linear(self.trunk.features, 2 * self.dim)

    @property
    def latent_dim(self) -> int:
        return self.dim

    def latents(self, images: Tensor) -> dict[str, Tensor]:
        return {"agent": self.head(self.trunk(images))[:, : self.dim]}


@register_learner(Autoencoder)
class AutoencoderLearner(nn.Module):
    """Train an `Autoencoder` on the frames of transitions; the displacements are not read.

    ``minimise E ‖o − D(z)‖² + β KL(N(μ(o), σ²(o)) ‖ N(0, 1))``, the second term only if it is variational.

    Args:
        network: the autoencoder.
        transitions: transitions whose frames are reconstructed.

    Attributes:
        network: the autoencoder.

    Raises:
        ValueError: the transitions have another group or image shape than the encoder.
    """

    def __init__(self, network: Autoencoder, transitions: Transitions) -> None:
        super().__init__()
        network.require_fitting(transitions)
        self.network = network
        self.config = network.config
        device = next(network.parameters()).device
        height, width, channels = network.shape
        small = (-(-height // 4), -(-width // 4))
        self.decoder = nn.Sequential(
            nn.Linear(network.dim, 64),
            nn.ReLU(),
            nn.Linear(64, 16 * small[0] * small[1]),
            nn.Unflatten(1, (16, *small)),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 16, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, channels, 4, stride=2, padding=1),
        ).to(device)
        self._frames = as_tensor(transitions.frames).to(device)

    def stages(self) -> list[Stage]:
        """Return one stage, which minimises `loss`."""
        optim = self.config.optim
        return [Stage("reconstruction", optim.steps, self.loss, list(self.parameters()), optim.batch_size, optim.lr)]

    def loss(self, generator: torch.Generator) -> Loss:
        """Return the squared error of an image, and the divergence of its latent from a standard normal."""
        size = self.config.optim.batch_size
        chosen = torch.randint(len(self._frames), (size,), generator=generator).to(self._frames.device)
        images = to_images(self._frames.index_select(0, chosen))
        mean, log_variance = self.network.head(self.network.trunk(images)).chunk(2, 1)
        latent, divergence = mean, mean.new_zeros(())
        if self.config.variational:
            noise = torch.randn(mean.shape, generator=generator).to(mean.device)
            latent = mean + (0.5 * log_variance).exp() * noise
            divergence = 0.5 * (mean.pow(2) + log_variance.exp() - 1 - log_variance).sum(1).mean()
        decoded = self.decoder(latent)[..., : images.shape[2], : images.shape[3]]
        error = functional.mse_loss(decoded, images, reduction="sum") / size
        loss = error + self.config.beta * divergence
        return loss, {"reconstruction": error.detach(), "divergence": divergence.detach()}
