"""A variational autoencoder with latents in hyperbolic space: a source of points for HyperDGA."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from ....envs.storage.artifacts import ArtifactError, load_into, read_artifact, write_artifact
from ...learning.config import ConfigError, OptimConfig, check_range, from_dict, to_dict
from .hyperbolic_points import HyperbolicPointsError
from .wrapped_normal import WrappedNormal, exp_at_origin, log_at_origin

KIND = "hyperbolic-vae"


@dataclass(frozen=True)
class HyperbolicVAEConfig:
    """Set the hyper-parameters of a `HyperbolicVAE`.

    Attributes:
        latent_dim: dimension of the hyperbolic space.
        width: width of the hidden layer of the encoder, and of that of the decoder.
        kl_weight: weight of the Kullback–Leibler divergence.
        max_radius: largest distance of a mean from the origin; at most 12, the limit of the Delaunay graph.
        optim: number of updates, learning rate and batch size.

    Raises:
        ConfigError: a value is out of range.
    """

    latent_dim: int = 2
    width: int = 100
    kl_weight: float = 1.0
    max_radius: float = 8.0
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=3000, lr=3e-3, batch_size=256))

    def __post_init__(self) -> None:
        check_range(self, "latent_dim", at_least=1)
        check_range(self, "width", at_least=1)
        check_range(self, "kl_weight", at_least=0)
        check_range(self, "max_radius", above=0, at_most=12)


class HyperbolicVAE(nn.Module):
    """Encode vectors with entries in [0, 1] as points of hyperbolic space.

    ``maximise E_q log p(x | z) − w KL(q(z | x) ‖ p(z))``, with wrapped normal distributions ``q`` and ``p``, and a
    Bernoulli likelihood. The divergence is estimated by one sample.

    Source: Nagano et al., *A wrapped normal distribution on hyperbolic space for gradient-based learning*, ICML 2019
    (arXiv:1902.02992).

    Args:
        features: number of entries of a vector.
        config: hyper-parameters.

    Example:
        >>> config = HyperbolicVAEConfig(optim=OptimConfig(steps=2, batch_size=4))
        >>> vae = HyperbolicVAE(8, config)
        >>> vae.fit(np.eye(8))
        >>> points = vae.encode(np.eye(8))
        >>> points.shape, bool((np.linalg.norm(points, axis=1) < 1).all())
        ((8, 2), True)
    """

    def __init__(self, features: int, config: HyperbolicVAEConfig | None = None) -> None:
        super().__init__()
        self.config = config or HyperbolicVAEConfig()
        self.features = features
        width, dim = self.config.width, self.config.latent_dim
        self.encoder = nn.Sequential(nn.Linear(features, width), nn.Tanh(), nn.Linear(width, 2 * dim))
        self.decoder = nn.Sequential(nn.Linear(dim, width), nn.Tanh(), nn.Linear(width, features))

    def posterior(self, data: Tensor) -> WrappedNormal:
        """Return ``q(z | x)`` of vectors ``(B, features)``."""
        mean, scale = self.encoder(data).chunk(2, -1)
        length = mean.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        limit = self.config.max_radius
        bounded = limit * (length / limit).tanh() / length * mean
        return WrappedNormal(exp_at_origin(bounded), nn.functional.softplus(scale) + 1e-4)

    def loss(self, data: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the negative lower bound of the log likelihood, averaged over vectors ``(B, features)``."""
        posterior = self.posterior(data)
        point = posterior.rsample(generator)
        origin = exp_at_origin(torch.zeros_like(posterior.scale))
        prior = WrappedNormal(origin, torch.ones_like(posterior.scale))
        logits = self.decoder(log_at_origin(point))
        error = nn.functional.binary_cross_entropy_with_logits(logits, data, reduction="none").sum(-1)
        divergence = posterior.log_prob(point) - prior.log_prob(point)
        return (error + self.config.kl_weight * divergence).mean()

    def fit(self, data: ArrayLike, seed: int = 0) -> None:
        """Minimise `loss` with Adam on batches that are drawn with replacement.

        Args:
            data: vectors ``(n, features)`` with entries in [0, 1].
            seed: seed of the batches and of the samples; the initial weights are not drawn again.

        Raises:
            HyperbolicPointsError: the data have another shape, or an entry is out of range.
        """
        rows, optim = self._checked(data), self.config.optim
        generator = torch.Generator().manual_seed(seed)
        adam = torch.optim.Adam(self.parameters(), lr=optim.lr)
        for _ in range(optim.steps):
            chosen = torch.randint(len(rows), (optim.batch_size,), generator=generator)
            adam.zero_grad()
            torch.autograd.backward(self.loss(rows[chosen], generator))
            adam.step()

    def encode(self, data: ArrayLike) -> NDArray[np.float64]:
        """Return the means of ``q(z | x)`` as points of the Poincaré ball, ``(n, latent_dim)``.

        Args:
            data: vectors ``(n, features)`` with entries in [0, 1].

        Raises:
            HyperbolicPointsError: the data have another shape, or an entry is out of range.
        """
        with torch.no_grad():
            lorentz = self.posterior(self._checked(data)).mean.double().numpy()
        return lorentz[:, 1:] / (1 + np.sqrt(1 + np.square(lorentz[:, 1:]).sum(1, keepdims=True)))  # type: ignore[no-any-return]

    def save(self, folder: str | Path) -> None:
        """Write the network as a folder: the weights (safetensors) and a card (JSON).

        Raises:
            ArtifactError: the folder holds other things, or a weight is not finite.
        """
        write_artifact(folder, KIND, {"features": self.features, "config": to_dict(self.config)}, self.state_dict())

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a saved network; nothing that is read is executed.

        Raises:
            ArtifactError: a file is missing, damaged or altered.
        """
        card, tensors = read_artifact(folder, KIND)
        try:
            features: Any = card["features"]
            config = from_dict(HyperbolicVAEConfig, card["config"])
        except (ConfigError, KeyError, TypeError) as error:
            raise ArtifactError(f"expected the card of a hyperbolic VAE in {folder}, got {error}") from error
        return load_into(lambda: cls(features, config), tensors, folder)

    def _checked(self, data: ArrayLike) -> Tensor:
        array = np.asarray(data, np.float64)
        if array.ndim != 2 or array.shape[1] != self.features or not len(array):
            raise HyperbolicPointsError(f"expected data of shape (n, {self.features}), got {array.shape}")
        if not ((array >= 0) & (array <= 1)).all():
            raise HyperbolicPointsError("expected data with entries from 0 to 1, got others; scale them")
        return torch.from_numpy(array.astype(np.float32))
