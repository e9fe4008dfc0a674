"""By how much a latent changes in every transition: between two frames, or between the frames before and after."""

from __future__ import annotations

import torch
from torch import Tensor


def movement(state: Tensor, start: Tensor, end: Tensor, window: int = 1) -> Tensor:
    """Compute by how much a latent changes, between the mean of the frames before and that of the frames after.

    ``‖mean(w'₁ … w'ₐ) − mean(w₁ … w_b)‖ / √(1/a + 1/b)`` over up to ``window`` frames of the same trajectory on each
    side, of which the nearest are the two frames of the transition. An object that is seldom touched rests for many
    frames: their mean has less noise than one of them. The divisor makes the noise equal where a trajectory is short.

    Args:
        state: ``(F, k)``, the latent of every frame.
        start: ``(N,)``, index of the first frame of each transition.
        end: ``(N,)``, index of its last frame.
        window: largest number of frames on each side.

    Returns:
        ``(N,)`` movements, at least zero.

    Example:
        >>> jump = torch.tensor([[0.1], [-0.1], [1.1], [0.9]])
        >>> start, end = torch.arange(3), torch.arange(1, 4)
        >>> [round(each, 2) for each in movement(jump, start, end, window=2).tolist()]
        [0.33, 1.0, 0.33]
    """
    previous, following = torch.full((2, len(state)), -1, device=state.device)
    previous[end], following[start] = start, end
    before, count_before = _mean_along(state, start, previous, window)
    after, count_after = _mean_along(state, end, following, window)
    change: Tensor = (after - before).norm(dim=1)
    return change if window == 1 else change / (1 / count_before + 1 / count_after).sqrt()


def _mean_along(state: Tensor, frame: Tensor, neighbour: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Return the mean of up to ``window`` frames, from each on to its neighbours, and their number."""
    total, count, alive = state[frame].clone(), torch.ones_like(frame, dtype=state.dtype), torch.ones_like(frame) > 0
    for _ in range(window - 1):
        alive = alive & (neighbour[frame] >= 0)
        frame = torch.where(alive, neighbour[frame], frame)
        total += state[frame] * alive[:, None]
        count += alive
    return total / count[:, None], count
