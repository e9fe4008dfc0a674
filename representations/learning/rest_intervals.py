"""Intervals in which an object rests: frames of a trajectory between which it is not moved."""

from __future__ import annotations

import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor


def rest_intervals(start: Tensor, end: Tensor, rests: Tensor, frames: int) -> Tensor:
    """Return the interval that each frame belongs to; transitions at rest join their frames.

    Args:
        start: ``(N,)``, index of the first frame of each transition.
        end: ``(N,)``, index of its last frame.
        rests: ``(N,)`` bool, transitions in which the object is not moved.
        frames: number of frames ``F``.

    Returns:
        ``(F,)`` numbers from 0 on.

    Example:
        >>> start, end = torch.arange(3), torch.arange(1, 4)
        >>> rest_intervals(start, end, torch.tensor([True, False, True]), 4).tolist()
        [0, 0, 1, 1]
    """
    first, last = start[rests].cpu().numpy(), end[rests].cpu().numpy()
    joined = coo_array(([1] * len(first), (first, last)), shape=(frames, frames))
    return torch.as_tensor(connected_components(joined, directed=False)[1], device=start.device).long()


def interval_means(values: Tensor, interval: Tensor) -> Tensor:
    """Return the mean of values ``(F, k)`` over each interval, ``(I, k)``."""
    count = torch.bincount(interval)
    total = values.new_zeros(len(count), values.shape[1]).index_add(0, interval, values)
    return total / count[:, None]
