"""The outline of an object: how far its edge is from its position, in every direction."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..learning.segment_geometry import distance_to_segment

POINTS_ON_PATH = 9
"""Points of a segment whose clearance from an outline that is not round is computed."""
DIRECTIONS = 360
"""Directions in which an outline is drawn, and in which its centroid is integrated."""


class Outline(nn.Module):
    """Tell how far a segment is from the edge of an object.

    The edge is at the distance ``r(β)`` from the object's position in the direction ``β``, seen from the object:

    ``log r(β) = c₀ + Σ_k (aₖ cos kβ + bₖ sin kβ)``, ``β = m·α − φ``,

    with ``α`` the direction in the plane and ``φ = m·θ`` the angle of the orientation ``(cos mθ, sin mθ)``. The order
    ``m`` of the object's rotational symmetry is 1 if it has none. Without harmonics the object is a ball, of any
    dimension. The outline must be seen whole from the position. That of an agent of some size is included in it.

    Args:
        harmonics: ``K``, number of harmonics; 0 for a ball.
        radius: of the ball at the start.

    Attributes:
        coefficients: ``c₀, a₁ … a_K, b₁ … b_K``.
        order: ``m``.

    Example:
        >>> ball = Outline(0, radius=1.0)
        >>> ball.clearance(torch.tensor([[0.0, 3.0]]), torch.tensor([[4.0, 3.0]])).tolist()
        [2.0]
    """

    order: Tensor

    def __init__(self, harmonics: int, radius: float) -> None:
        super().__init__()
        self.harmonics = harmonics
        self.coefficients = nn.Parameter(torch.zeros(1 + 2 * harmonics))
        with torch.no_grad():
            self.coefficients[0] = math.log(radius)
        self.register_buffer("order", torch.ones((), dtype=torch.long))

    @property
    def radius(self) -> Tensor:
        """The geometric mean of the radii."""
        return self.coefficients[0].exp()

    @property
    def reach(self) -> Tensor:
        """The largest radius."""
        return self.radii(_directions(self.coefficients)).max()

    def clearance(self, start: Tensor, end: Tensor, orientation: Tensor | None = None) -> Tensor:
        """Return the distance of segments to the edge along the ray from the object; negative if they meet it.

        Args:
            start: ``(B, n)``, start of each segment, seen from the object's position.
            end: ``(B, n)``, its end.
            orientation: ``(B, 2)``, needed if there are harmonics.

        Returns:
            ``(B,)``.
        """
        if self.harmonics == 0 or orientation is None:
            return distance_to_segment(torch.zeros_like(start), start, end) - self.radius
        share = torch.linspace(0, 1, POINTS_ON_PATH, device=start.device)[:, None]
        point = start[:, None] + share * (end - start)[:, None]
        angle = torch.atan2(point[..., 1], point[..., 0])
        turned = torch.atan2(orientation[:, 1], orientation[:, 0])[:, None]
        distance = point.pow(2).sum(-1).clamp_min(1e-12).sqrt()
        return (distance - self.radii(self.order * angle - turned)).amin(1)

    def radii(self, beta: Tensor) -> Tensor:
        """Return ``r(β)``, of the shape of ``β``."""
        multiples = torch.arange(1, self.harmonics + 1, device=beta.device)
        cosines, sines = self.coefficients[1:].view(2, -1)
        angle = beta[..., None] * multiples
        logarithm: Tensor = self.coefficients[0] + angle.cos() @ cosines + angle.sin() @ sines
        return logarithm.exp()

    def roughness(self) -> Tensor:
        """Return ``Σ k² (aₖ² + bₖ²)``."""
        multiples = torch.arange(1, self.harmonics + 1, device=self.coefficients.device)
        return (self.coefficients[1:].view(2, -1) * multiples).square().sum()

    def centroid(self) -> Tensor:
        """Return the centroid of the outline, seen from the object's position in the orientation 0, ``(2,)``.

        ``⅔ ∫ r³ u dβ / ∫ r² dβ`` with the unit vectors ``u``; zero if the object has a symmetry.
        """
        beta = _directions(self.coefficients)
        radii = self.radii(beta)
        unit = torch.stack([beta.cos(), beta.sin()], 1)
        centroid = 2 / 3 * (radii.pow(3)[:, None] * unit).sum(0) / radii.pow(2).sum()
        return centroid * (self.order == 1)

    def at_centroid(self, position: Tensor, orientation: Tensor) -> Tensor:
        """Return where the centroid is, for objects at these positions ``(B, 2)`` in these orientations ``(B, 2)``."""
        across = torch.stack([-orientation[:, 1], orientation[:, 0]], 1)
        x, y = self.centroid()
        centroid: Tensor = position + x * orientation + y * across
        return centroid

    def polygon(self) -> Tensor:
        """Return points of the edge in the orientation 0, seen from the centroid, ``(DIRECTIONS, 2)``."""
        alpha = _directions(self.coefficients)
        points = self.radii(self.order * alpha)[:, None] * torch.stack([alpha.cos(), alpha.sin()], 1)
        return points - self.centroid()


def _directions(like: Tensor) -> Tensor:
    return torch.arange(DIRECTIONS, device=like.device, dtype=like.dtype) * (2 * math.pi / DIRECTIONS)
