"""The wrapped normal distribution on hyperbolic space, in the Lorentz model, differentiable in its parameters."""

from __future__ import annotations

import math

import torch
from torch import Tensor

TINY = 1e-12
"""Squared length below which ``sinh(r) / r`` is 1 in double precision."""


def exp_at_origin(tangent: Tensor) -> Tensor:
    """Return ``(cosh |v|, sinh |v| · v / |v|)``, the point that the geodesic from the origin along ``v`` reaches.

    Args:
        tangent: ``(..., d)``.

    Returns:
        Points of the Lorentz model, ``(..., d + 1)``.

    Example:
        >>> exp_at_origin(torch.zeros(1, 2))
        tensor([[1., 0., 0.]])
    """
    length = _length(tangent)
    return torch.cat([length.cosh(), _sinh_ratio(length) * tangent], -1)


def log_at_origin(point: Tensor) -> Tensor:
    """Return the tangent vector at the origin whose geodesic reaches a point, ``(..., d)``; inverse of `exp_at_origin`.

    Args:
        point: points of the Lorentz model, ``(..., d + 1)``.
    """
    length = _length(point[..., 1:])
    return length.asinh() / length * point[..., 1:]


def transport_from_origin(tangent: Tensor, mean: Tensor) -> Tensor:
    """Return the parallel transport ``(0, v) + ⟨μ, v⟩ / (1 + μ₀) · (e₀ + μ)`` of a tangent vector to ``μ``.

    Args:
        tangent: tangent vectors ``v`` at the origin, ``(..., d)``.
        mean: points ``μ`` of the Lorentz model, ``(..., d + 1)``.

    Returns:
        Tangent vectors at ``μ``, ``(..., d + 1)``.
    """
    share = (mean[..., 1:] * tangent).sum(-1, keepdim=True) / (1 + mean[..., :1])
    return torch.cat([share * (1 + mean[..., :1]), tangent + share * mean[..., 1:]], -1)


def transport_to_origin(tangent: Tensor, mean: Tensor) -> Tensor:
    """Return the tangent vector at the origin, ``(..., d)``; inverse of `transport_from_origin`.

    Args:
        tangent: tangent vectors at ``μ``, ``(..., d + 1)``.
        mean: points ``μ`` of the Lorentz model, ``(..., d + 1)``.
    """
    return tangent[..., 1:] - tangent[..., :1] / (1 + mean[..., :1]) * mean[..., 1:]


def exp_map(tangent: Tensor, mean: Tensor) -> Tensor:
    """Return ``cosh |u| μ + sinh |u| u / |u|`` for tangent vectors ``u`` at ``μ``, ``(..., d + 1)``."""
    length = _lorentz_length(tangent)
    return length.cosh() * mean + _sinh_ratio(length) * tangent


def log_map(point: Tensor, mean: Tensor) -> Tensor:
    """Return the tangent vector at ``μ`` whose geodesic reaches a point, ``(..., d + 1)``; inverse of `exp_map`."""
    away = point - mean
    half = _lorentz_length(away) / 2  # sinh of half of the distance
    distance = 2 * half.asinh()
    return distance / distance.sinh() * (away - 2 * half.square() * mean)


class WrappedNormal:
    """The distribution of ``exp_μ(PT(v))`` with ``v ~ N(0, diag(σ²))`` at the origin.

    ``log p(z) = log N(v; 0, σ²) − (d − 1) log(sinh |v| / |v|)``.

    Source: Nagano et al., *A wrapped normal distribution on hyperbolic space for gradient-based learning*, ICML 2019
    (arXiv:1902.02992).

    Args:
        mean: points ``μ`` of the Lorentz model, ``(..., d + 1)``.
        scale: standard deviations ``σ``, ``(..., d)``.

    Raises:
        ValueError: the shapes do not fit.

    Example:
        >>> prior = WrappedNormal(exp_at_origin(torch.zeros(5, 2)), torch.ones(5, 2))
        >>> z = prior.rsample()
        >>> z.shape, prior.log_prob(z).shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        if mean.shape != (*scale.shape[:-1], scale.shape[-1] + 1):
            raise ValueError(
                f"expected a mean (..., d + 1) and a scale (..., d), got {tuple(mean.shape)} and {tuple(scale.shape)}"
            )
        self.mean, self.scale = mean, scale

    def rsample(self, generator: torch.Generator | None = None) -> Tensor:
        """Return one point for each mean, ``(..., d + 1)``, with gradients to mean and scale."""
        noise = torch.randn(self.scale.shape, generator=generator, dtype=self.scale.dtype)
        return exp_map(transport_from_origin(self.scale * noise.to(self.scale.device), self.mean), self.mean)

    def log_prob(self, point: Tensor) -> Tensor:
        """Return the log density with respect to the volume of hyperbolic space, ``(...)``."""
        tangent = transport_to_origin(log_map(point, self.mean), self.mean)
        standard = tangent / self.scale
        normal = -0.5 * (standard.square() + math.log(2 * math.pi)).sum(-1) - self.scale.log().sum(-1)
        stretch = _sinh_ratio(_length(tangent)).log().squeeze(-1)
        return normal - (tangent.shape[-1] - 1) * stretch


def _length(vector: Tensor) -> Tensor:
    """Return ``|v|`` with its last axis kept; at least 1e-6, so that its gradient is finite."""
    return vector.square().sum(-1, keepdim=True).clamp_min(TINY).sqrt()


def _lorentz_length(vector: Tensor) -> Tensor:
    """Return ``√(|x|² − x₀²)`` with its last axis kept; at least 1e-6."""
    square = vector[..., 1:].square().sum(-1, keepdim=True) - vector[..., :1].square()
    return square.clamp_min(TINY).sqrt()


def _sinh_ratio(length: Tensor) -> Tensor:
    return length.sinh() / length
