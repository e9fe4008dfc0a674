"""Follow transitions along the trajectories that they form."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..lie_groups.registry import group_from_name
from .transitions import Transitions


def episode_ids(transitions: Transitions) -> NDArray[np.int64]:
    """Return the episode of each transition, ``(N,)``, counted from 0.

    A new episode begins where a transition does not start from the frame at which the one before it ended.

    Example:
        >>> frames, move = np.zeros((5, 1, 1, 3), np.uint8), np.zeros((3, 2), np.float32)
        >>> episode_ids(Transitions(frames, np.array([0, 1, 3]), np.array([1, 2, 4]), move, "R2")).tolist()
        [0, 0, 1]
    """
    begins = np.append(True, transitions.start[1:] != transitions.end[:-1])
    return np.asarray(np.cumsum(begins) - 1)


def successor_index(transitions: Transitions) -> NDArray[np.int64]:
    """Return the index of the transition that continues each one, ``(N,)``; -1 where there is none.

    Each transition continues at most one other.

    Example:
        >>> frames, move = np.zeros((4, 1, 1, 3), np.uint8), np.zeros((3, 2), np.float32)
        >>> successor_index(Transitions(frames, np.array([0, 1, 1]), np.array([1, 2, 3]), move, "R2")).tolist()
        [1, -1, -1]
    """
    waiting: dict[int, list[int]] = {}
    for i in reversed(range(len(transitions))):
        waiting.setdefault(int(transitions.start[i]), []).append(i)
    return np.array([waiting[frame].pop() if waiting.get(frame) else -1 for frame in transitions.end.tolist()])


def predecessor_index(transitions: Transitions) -> NDArray[np.int64]:
    """Return the index of the transition that each one continues, ``(N,)``; -1 where there is none.

    Example:
        >>> frames, move = np.zeros((4, 1, 1, 3), np.uint8), np.zeros((3, 2), np.float32)
        >>> predecessor_index(Transitions(frames, np.array([0, 1, 1]), np.array([1, 2, 3]), move, "R2")).tolist()
        [-1, 0, -1]
    """
    after = successor_index(transitions)
    before = np.full_like(after, -1)
    before[after[after >= 0]] = np.flatnonzero(after >= 0)
    return before


def n_step_transitions(
    transitions: Transitions, horizon: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return all transitions of 1 to ``horizon`` consecutive steps.

    The displacement of steps ``g₁, …, gₖ`` is the product ``gₖ ⋯ g₁``.

    Args:
        transitions: the single steps.
        horizon: largest number of steps, at least 1.

    Returns:
        Index of the frame each starts from, ``(M,)``; of the frame it leads to, ``(M,)``; and its displacement,
        ``(M, dim)``.
    """
    follower, group = successor_index(transitions), group_from_name(transitions.group)
    start, last, total = transitions.start, np.arange(len(transitions)), transitions.displacement
    parts = [(start, transitions.end, total)]
    for _ in range(horizon - 1):
        following = follower[last]
        on = following >= 0
        start, last = start[on], following[on]
        total = group.compose(transitions.displacement[last], total[on])
        parts.append((start, transitions.end[last], total))
    starts, ends, totals = zip(*parts, strict=True)
    return np.concatenate(starts), np.concatenate(ends), np.concatenate(totals)


def trajectories(transitions: Transitions, longest: int) -> Iterator[NDArray[np.int64]]:
    """Yield the indices of consecutive transitions, at most ``longest`` at a time.

    Every transition is in exactly one trajectory, even where trajectories branch, form a ring or stay at one frame.
    """
    follower = successor_index(transitions)
    heads = np.setdiff1d(np.arange(len(transitions)), follower)
    done = np.zeros(len(transitions), bool)
    for head in (*heads, *range(len(transitions))):  # rings have no head: they begin at any transition that is left
        steps: list[int] = []
        at = head
        while at >= 0 and not done[at]:
            done[at] = True
            steps.append(at)
            at = follower[at]
        for cut in range(0, len(steps), longest):
            yield np.array(steps[cut : cut + longest])


def trajectory_frames(
    transitions: Transitions, longest: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return the frames of all `trajectories`, and the displacements between them.

    Returns:
        Indices of the frames, trajectory after trajectory, ``(F,)``; the number of frames of each trajectory; and for
        each frame the displacement since the first frame of its trajectory, ``(F, dim)``.
    """
    parts, group = list(trajectories(transitions, longest)), group_from_name(transitions.group)
    length = np.array([len(part) + 1 for part in parts])
    begin = np.cumsum(length) - length
    frame = np.concatenate([[transitions.start[part[0]], *transitions.end[part]] for part in parts])
    moved = np.tile(group.identity(), (len(frame), 1))
    for step in range(1, length.max()):
        rows = begin[length > step] + step
        last = np.array([part[step - 1] for part in parts if len(part) >= step])
        moved[rows] = group.compose(transitions.displacement[last].astype(float), moved[rows - 1])
    return frame, length, moved.astype(np.float32)
