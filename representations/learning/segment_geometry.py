"""Geometry of contact: distances from points to segments."""

from __future__ import annotations

from torch import Tensor


def distance_to_segment(point: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Return the distance ``(...)`` of points to segments, all ``(..., n)``; a segment may be a single point.

    Example:
        >>> import torch
        >>> distance_to_segment(torch.tensor([[0.5, 2.0]]), torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
        tensor([2.])
    """
    return (point - nearest_on_segment(point, start, end)).pow(2).sum(-1).clamp_min(1e-12).sqrt()


def nearest_on_segment(point: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Return the points of segments that are nearest to given points, all ``(..., n)``."""
    along = end - start
    share = ((point - start) * along).sum(-1) / along.pow(2).sum(-1).clamp_min(1e-12)
    return start + share.clamp(0, 1)[..., None] * along
