"""Anchors: states that two encoders have both seen, found without ground truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ....envs.data.trajectories import trajectories
from ....envs.data.transitions import Transitions
from .relative_maps import AnchorError

Indices = NDArray[np.int64]


def draw_anchors(total: int, count: int, seed: int) -> Indices:
    """Return the indices of random anchors, without repetition, ``(count,)``.

    Args:
        total: number of states to draw from.
        count: number of anchors.
        seed: seed of the draw.

    Raises:
        AnchorError: there are fewer states than anchors, or no anchors are wanted.

    Example:
        >>> len(set(draw_anchors(100, 16, seed=0).tolist()))
        16
    """
    if not 1 <= count <= total:
        raise AnchorError(f"expected 1 to {total} anchors, as there are frames, got {count}")
    return np.asarray(np.random.default_rng(seed).choice(total, count, replace=False))


def matched_frames(first: Transitions, second: Transitions, tolerance: float = 1e-4) -> tuple[Indices, Indices]:
    """Return the frames of two data sets that show the same states, such as those of two cameras.

    Trajectories are compared in the order of their first transitions. Those that begin in the same state, as with the
    same seed, and perform the same displacements are in the same states. From the first different displacement on a
    trajectory is left out. No ground truth is read.

    Args:
        first: transitions of one camera.
        second: transitions of another, recorded with the same seeds and actions.
        tolerance: largest difference of two coordinates of a displacement that counts as none.

    Returns:
        Indices of frames of ``first``, and of the same states among the frames of ``second``, ``(n,)`` each.

    Raises:
        AnchorError: the groups differ, or no trajectories begin with the same displacement.

    Example:
        >>> frames, move = np.zeros((3, 8, 8, 3), np.uint8), np.array([[0.1, 0.0], [0.0, 0.2]], np.float32)
        >>> one = Transitions(frames, np.array([0, 1]), np.array([1, 2]), move, "R2")
        >>> other = Transitions(frames, np.array([0, 1]), np.array([1, 2]), move * [[1], [2]], "R2")
        >>> [index.tolist() for index in matched_frames(one, other)]
        [[0, 1], [0, 1]]
    """
    if first.group != second.group:
        raise AnchorError(f"expected data sets of one group, got {first.group} and {second.group}")
    matched: list[tuple[Indices, Indices]] = []
    for one, other in zip(*(trajectories(each, len(each)) for each in (first, second)), strict=False):
        size = min(len(one), len(other))
        apart = np.abs(first.displacement[one[:size]] - second.displacement[other[:size]]).max(1) > tolerance
        same = int(np.argmax(np.append(apart, True)))
        if same:
            matched.append((_frames(first, one[:same]), _frames(second, other[:same])))
    if not matched:
        raise AnchorError(
            "expected episodes with the same displacements in both data sets, got none; record both with the same "
            "seed and the same actions"
        )
    return np.concatenate([pair[0] for pair in matched]), np.concatenate([pair[1] for pair in matched])


def _frames(transitions: Transitions, rows: Indices) -> Indices:
    """Return the frames of consecutive transitions, ``(len(rows) + 1,)``."""
    return np.append(transitions.start[rows[0]], transitions.end[rows])
