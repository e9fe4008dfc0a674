"""Mixtures of Gaussians as densities: mixture density networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import zuko
from torch import Tensor

from ..learning.config import check_range
from .density import Density, DensityConfig
from .registry import register_density


@dataclass(frozen=True)
class MixtureConfig(DensityConfig):
    """Set the hyper-parameters of a `MixtureDensity`.

    Attributes:
        components: number of Gaussians, ``K``.
        least_variance: smallest variance of a Gaussian, in units of the squared spread of the data.
        blur: standard deviation of the Gaussian with which the mixture is convolved for its gradient, in units of the
            spread of the data; 0 for the gradient of the mixture itself.
        widths: widths of the hidden layers that map the context to the parameters of the mixture.
    """

    components: int = 10
    least_variance: float = 0.03
    blur: float = 0.8
    widths: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        check_range(self, "components", at_least=1)
        check_range(self, "least_variance", above=0)
        check_range(self, "blur", at_least=0)
        check_range(self, "widths", at_least=1)


@dataclass(frozen=True)
class DiagonalMixtureConfig(MixtureConfig):
    """Set the hyper-parameters of a `DiagonalMixtureDensity`; they are those of `MixtureConfig`."""

    least_variance: float = 1e-4
    blur: float = 0.0


@register_density("mixture")
class MixtureDensity(Density):
    """A mixture density network of spherical Gaussians: ``ρ_u(u | c) = Σ_k w_k(c) N(u; μ_k(c), σ_k(c)² I)``.

    `score` returns the gradient of the mixture convolved with a Gaussian,
    ``∇ log Σ_k w_k N(u; μ_k, (σ_k² + blur²) I)``. Far from the data, the gradient of the mixture itself leads to its
    widest component, and that of the convolved one to the nearest. Annealed Langevin dynamics climbs blurred densities
    for the same reason (Song and Ermon, *Generative modeling by estimating gradients of the data distribution*, NeurIPS
    2019). `log_prob` is that of the mixture itself.

    Deviations from Reichlin et al. (IROS 2022, arXiv:2207.08673): the Gaussians are spherical and have a least
    variance, and the gradient is blurred. Far from the data, the gradient of a diagonal Gaussian points along its
    narrowest axis rather than at its mean. The paper's form is `DiagonalMixtureDensity`.

    Args:
        dim: number of coordinates of ``z``.
        context: number of coordinates of ``c``; 0 for an unconditional density.
        config: hyper-parameters.

    Example:
        >>> import torch
        >>> from equiact.representations.learning.config import OptimConfig
        >>> density = MixtureDensity(2, context=3, config=MixtureConfig(optim=OptimConfig(steps=1)))
        >>> report = density.fit(torch.rand(20, 2), torch.rand(20, 3))
        >>> value, gradient = density.score(torch.zeros(5, 2), torch.zeros(5, 3))
        >>> value.shape, gradient.shape
        (torch.Size([5]), torch.Size([5, 2]))
    """

    config_class = MixtureConfig
    config: MixtureConfig
    covariance: ClassVar[str] = "spherical"

    def __init__(self, dim: int, context: int = 0, config: MixtureConfig | None = None) -> None:
        super().__init__(dim, context, config)
        options: dict[str, Any] = {"hidden_features": self.config.widths} if context else {}
        self.mixture = zuko.mixtures.GMM(
            dim, context, self.config.components, self.covariance, epsilon=self.config.least_variance, **options
        )

    def standardised_log_prob(self, u: Tensor, context: Tensor) -> Tensor:
        value: Tensor = self.mixture(context if self.context else None).log_prob(u)
        return value

    def far_log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the log density of the mixture convolved with a Gaussian of standard deviation ``blur``, ``(B,)``."""
        mixture = self.mixture(context if self.context else None)
        sharp = mixture.base.base_dist
        wider = zuko.distributions.DiagNormal(sharp.loc, (sharp.scale.square() + self.config.blur**2).sqrt())
        value: Tensor = zuko.distributions.Mixture(wider, mixture.logits).log_prob((z - self.mean) / self.spread)
        return value - self.dim * self.spread.log()


@register_density("diagonal-mixture")
class DiagonalMixtureDensity(MixtureDensity):
    """The mixture density network of the paper: ``ρ_u(u | c) = Σ_k w_k(c) N(u; μ_k(c), diag(σ_k(c)²))``, not blurred.

    Source: Reichlin et al., *Back to the manifold: recovering from out-of-distribution states*, IROS 2022
    (arXiv:2207.08673), after Bishop, *Mixture density networks*, 1994.
    """

    config_class = DiagonalMixtureConfig
    covariance = "diagonal"
