"""Real spherical harmonics, and the matrices by which rotations act on them."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def wigner_matrices(rotations: Tensor, degree: int) -> list[Tensor]:
    """Return the real Wigner matrices ``D_l`` of degrees 1 to ``degree``, each ``(..., 2l + 1, 2l + 1)``.

    ``Y_l(R p) = D_l(R) Y_l(p)``, solved by least squares at more points ``p`` of the sphere than there are unknowns.

    Args:
        rotations: matrices ``(..., 3, 3)``.
        degree: highest degree.
    """
    points, inverses = _sampled(degree)
    moved = points.to(rotations) @ rotations.mT
    values = spherical_harmonics(moved, degree)
    return [value.mT @ inverse.to(rotations) for value, inverse in zip(values, inverses, strict=True)]


@cache
def _sampled(degree: int) -> tuple[Tensor, list[Tensor]]:
    """Return fixed points of the sphere, and the pseudo-inverses of the harmonics there."""
    import torch

    drawn = torch.randn(3 * degree + 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = drawn / drawn.norm(dim=1, keepdim=True)
    return points, [torch.linalg.pinv(value.T) for value in spherical_harmonics(points, degree)]


def spherical_harmonics(points: Tensor, degree: int) -> list[Tensor]:
    """Return the real spherical harmonics of degrees 1 to ``degree`` at unit vectors, each ``(..., 2l + 1)``.

    Their mean square over the sphere is 1. The order is ``m = −l … l``. Computed by the recurrences of the associated
    Legendre functions.

    Args:
        points: unit vectors ``(..., 3)``.
        degree: highest degree.
    """
    import torch

    x, y, z = points.unbind(-1)
    cos, sin = [torch.ones_like(x)], [torch.zeros_like(x)]
    for _ in range(degree):
        cos, sin = [*cos, x * cos[-1] - y * sin[-1]], [*sin, x * sin[-1] + y * cos[-1]]
    legendre = _legendre(x, z, degree)
    result = []
    for n in range(1, degree + 1):
        row = []
        for m in range(-n, n + 1):
            size = (2 * n + 1) * math.factorial(n - abs(m)) / math.factorial(n + abs(m)) * (2 if m else 1)
            row.append(math.sqrt(size) * legendre[n, abs(m)] * (cos[m] if m >= 0 else sin[-m]))
        result.append(torch.stack(row, -1))
    return result


def _legendre(x: Tensor, z: Tensor, degree: int) -> dict[tuple[int, int], Tensor]:
    """Return the associated Legendre functions of ``z`` without the factor ``(1 − z²)^{m/2}``, by degree and order."""
    import torch

    legendre: dict[tuple[int, int], Tensor] = {}
    for m in range(degree + 1):
        legendre[m, m] = torch.full_like(x, math.prod(range(2 * m - 1, 0, -2)))
        for n in range(m + 1, degree + 1):
            before = legendre[n - 2, m] if n > m + 1 else torch.zeros_like(x)
            legendre[n, m] = ((2 * n - 1) * z * legendre[n - 1, m] - (n + m - 1) * before) / (n - m)
    return legendre
