"""Kernel densities: Gaussians on stored data points, without training."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..learning.config import check_range
from ..learning.training import TrainingCallback, TrainingReport
from .density import Density, DensityConfig
from .registry import register_density


@dataclass(frozen=True)
class KernelConfig(DensityConfig):
    """Set the hyper-parameters of a `KernelDensity`. Nothing is minimised: ``optim`` is ignored.

    Attributes:
        kernels: largest number of data points that are stored; of more data a random subset is taken.
        context_bandwidth: standard deviation of the kernel of contexts, in units of the context.
    """

    kernels: int = 5000
    context_bandwidth: float = 0.3

    def __post_init__(self) -> None:
        check_range(self, "kernels", at_least=2)
        check_range(self, "context_bandwidth", above=0)


@dataclass(frozen=True)
class NearestConfig(KernelConfig):
    """Set the hyper-parameters of a `NearestDensity`; they are those of `KernelConfig`."""


@register_density("kernel")
class KernelDensity(Density):
    """A conditional kernel density: ``ρ_u(u | c) = Σ_i k(c, c_i) N(u; u_i, h² I) / Σ_i k(c, c_i)``.

    ``(u_i, c_i)`` are data points, and ``k(c, c_i) = exp(−‖c − c_i‖² / 2b²)`` with the bandwidth ``b`` of contexts.
    The bandwidth ``h = n^(−1 / (dim + 4))`` follows Scott's rule.

    Source: Rosenblatt, *Conditional probability density and regression estimators*, 1969; Scott, *Multivariate density
    estimation*, 1992.

    Args:
        dim: number of coordinates of ``z``.
        context: number of coordinates of ``c``; 0 for an unconditional density.
        config: hyper-parameters.
    """

    config_class = KernelConfig
    config: KernelConfig

    def __init__(self, dim: int, context: int = 0, config: KernelConfig | None = None) -> None:
        super().__init__(dim, context, config)
        self.centers: Tensor
        self.contexts: Tensor
        self.bandwidth: Tensor
        self.allocate(0)
        self.register_buffer("bandwidth", torch.ones(()))

    def allocate(self, points: int) -> None:
        """Allocate the buffers of that many data points, at zero."""
        self.register_buffer("centers", torch.zeros(points, self.dim))
        self.register_buffer("contexts", torch.zeros(points, self.context))

    @property
    def points(self) -> int:
        """Number of stored data points."""
        return len(self.centers)

    def standardised_log_prob(self, u: Tensor, context: Tensor) -> Tensor:
        near = -0.5 * (torch.cdist(context, self.contexts) / self.config.context_bandwidth).pow(2)
        squared = (u[:, None] - self.centers).pow(2).sum(2) / self.bandwidth**2
        normalise = self.dim * (self.bandwidth * math.sqrt(2 * math.pi)).log()
        return self.combine(near - 0.5 * squared) - near.logsumexp(1) - normalise

    def combine(self, logarithms: Tensor) -> Tensor:
        """Return the logarithm of the sum of all kernels, ``(B,)``, of their logarithms ``(B, points)``."""
        return logarithms.logsumexp(1)

    def _learn(self, z: Tensor, context: Tensor, seed: int, callbacks: Iterable[TrainingCallback]) -> TrainingReport:
        generator = torch.Generator().manual_seed(seed)
        kept = torch.randperm(len(z), generator=generator)[: self.config.kernels]
        self.centers = ((z - self.mean) / self.spread)[kept]
        self.contexts = context[kept]
        self.bandwidth.fill_(len(kept) ** (-1 / (self.dim + 4)))
        return TrainingReport()


@register_density("nearest")
class NearestDensity(KernelDensity):
    """The largest kernel instead of the sum of all: ``log ρ_u(u | c) = max_i log(k(c, c_i) N(u; u_i, h² I)) − …``.

    Its gradient points at the nearest data point with a similar context: the baseline of nearest-neighbour return. It
    does not integrate to one.
    """

    config_class = NearestConfig

    def combine(self, logarithms: Tensor) -> Tensor:
        """Return the logarithm of the largest kernel, ``(B,)``, of the logarithms ``(B, points)`` of all."""
        return logarithms.amax(1)
