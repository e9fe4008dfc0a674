"""The simple rival of learned discovery: match equal observations, and count which state each action leads to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .action_data import ActionData
from .action_group import ActionGroup
from .group_catalogue import identify
from .group_constructors import generated_permutations, group_from_permutations
from .group_recovery import DiscoveredGroup, NoGroupFoundError

MAX_OBSERVATIONS = 8000
"""Most observations to match: all pairs are compared, 256 MB of distances."""


def group_of_matched_states(data: ActionData) -> ActionGroup:
    """Recover the group of actions by counting, where observations of one state are alike.

    Observations are matched (`match_states`). Each action maps each state to the one that follows most often. If these
    maps are permutations, the group that they generate is the answer. The margin is the smallest share of the votes
    that a winning state has.

    Args:
        data: transitions; each action must occur in each state.

    Raises:
        NoGroupFoundError: an action does not permute the states, or a state was not tried.
        ValueError: there are more than 4000 transitions.

    Example:
        >>> frames = np.array([0, 90, 180, 90, 180, 0], np.uint8).reshape(6, 1, 1, 1)
        >>> following = np.array([90, 180, 0, 180, 0, 90], np.uint8).reshape(6, 1, 1, 1)
        >>> group_of_matched_states(ActionData(frames, np.zeros(6, int), following)).found.name
        'C3'
    """
    count = len(data)
    states = match_states(np.concatenate([data.frames, data.next_frames]).reshape(2 * count, -1))
    total = int(states.max()) + 1
    votes = np.zeros((data.num_actions, total, total), np.int64)
    np.add.at(votes, (data.actions, states[:count], states[count:]), 1)
    if (untried := np.argwhere(votes.sum(2) == 0)).size:
        raise NoGroupFoundError(f"no group was found: action {untried[0][0]} was not tried in state {untried[0][1]}")
    maps = votes.argmax(2)
    if any(len(set(each.tolist())) < total for each in maps):
        raise NoGroupFoundError(f"no group was found: an action does not permute the {total} states that were matched")
    try:
        group = group_from_permutations(maps.tolist())
    except ValueError as error:
        raise NoGroupFoundError(f"no group was found: {error}") from error
    elements = (generated_permutations(maps.tolist()) == maps[:, None]).all(2).argmax(1)
    margin = float((votes.max(2) / votes.sum(2)).min())
    return ActionGroup(DiscoveredGroup(group, identify(group), margin), elements)


def match_states(observations: Any) -> NDArray[np.int64]:
    """Return the number of the state of each observation, by hierarchical clustering.

    Average linkage, cut where the distance of merged clusters grows most; equal observations need no cut.

    Args:
        observations: ``(N, m)`` numbers, ``N`` at most 8000.

    Returns:
        ``(N,)`` integers from 0.

    Raises:
        ValueError: too many observations, or another shape.

    Example:
        >>> match_states([[0.0], [5.1], [0.1], [5.0], [9.9]]).tolist()
        [0, 1, 0, 1, 2]
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    points = np.asarray(observations)
    if points.ndim != 2 or not 1 <= len(points) <= MAX_OBSERVATIONS:
        raise ValueError(f"expected observations (N, m) with N at most {MAX_OBSERVATIONS}, got {points.shape}")
    distinct, inverse = np.unique(points, axis=0, return_inverse=True)
    labels = np.arange(len(distinct))
    if len(distinct) == len(points) > 2:  # none are equal: noise
        tree = linkage(distinct.astype(float), "average")
        growth = np.diff(np.append(tree[:, 2], 2 * tree[-1, 2]))  # of the distance, one merge after another
        cut = int(growth[:-1].argmax())
        labels = fcluster(tree, (tree[cut, 2] + tree[cut + 1, 2]) / 2, "distance") - 1
    states = labels[inverse.ravel()]
    _, first, renumbered = np.unique(states, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[renumbered.ravel()], np.int64)
