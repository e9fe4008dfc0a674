"""Geometry of contact: distances from points to segments, and ellipses that are mapped to the unit circle."""

from __future__ import annotations

import torch
from torch import Tensor


def distance_to_segment(point: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Return the distance ``(B,)`` of points to segments, all ``(B, n)``; a segment may be a single point.

    Example:
        >>> distance_to_segment(torch.tensor([[0.5, 2.0]]), torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
        tensor([2.])
    """
    return (point - nearest_on_segment(point, start, end)).pow(2).sum(1).clamp_min(1e-12).sqrt()


def nearest_on_segment(point: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Return the points of segments that are nearest to given points, all ``(B, n)``."""
    along = end - start
    share = ((point - start) * along).sum(1) / along.pow(2).sum(1).clamp_min(1e-12)
    return start + share.clamp(0, 1)[:, None] * along


def whiten_ellipse(point: Tensor, orientation: Tensor, radii: Tensor) -> Tensor:
    """Apply the linear map that takes the ellipse of the object to the unit circle.

    ``(a I − b [[c, s], [s, −c]]) p`` with the orientation ``(c, s) = (cos 2θ, sin 2θ)``; ``a`` is half the sum and
    ``b`` half the difference of the inverse radii. A shorter ``(c, s)`` makes a rounder ellipse, and zero a circle. The
    map is smooth, where an angle would jump.

    Args:
        point: ``(B, 2)``, relative to the centre of the object.
        orientation: ``(B, 2)`` in the unit disc.
        radii: ``(2,)``, along the long axis (at angle θ) and across it.

    Returns:
        The mapped points, ``(B, 2)``.
    """
    inverse = 1 / radii
    cos, sin = orientation.unbind(1)
    mirrored = torch.stack([cos * point[:, 0] + sin * point[:, 1], sin * point[:, 0] - cos * point[:, 1]], 1)
    return inverse.mean() * point - 0.5 * (inverse[1] - inverse[0]) * mirrored
