"""Plans from one view of a thing to another: the action that leads there, from class and poses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from representations.stabilizers import StabilizerEncoder


@dataclass(frozen=True)
class Plan:
    """What to do to make things look as they should.

    Attributes:
        action: ``(n, dim)`` group elements.
        length: ``(n,)`` of their tangents: angles in radians for rotations.
        likeness: ``(n,)`` cosine between the classes of both views; far below 1 no action leads from one to the other.
    """

    action: NDArray[np.floating[Any]]
    length: NDArray[np.floating[Any]]
    likeness: NDArray[np.floating[Any]]


def plan(encoder: StabilizerEncoder, now: NDArray[np.uint8], goal: NDArray[np.uint8]) -> Plan:
    """The shortest of the actions ``φ_i(goal)·φ_j(now)⁻¹``, all of which lead to the goal if the sets are cosets.

    Args:
        encoder: of class and poses.
        now: ``(n, H, W, C)`` uint8, how things look.
        goal: ``(n, H, W, C)`` uint8, how they are to look.
    """
    here, there = encoder.encode(now), encoder.encode(goal)
    poses = [encoder.poses(latents) for latents in (here, there)]
    group, rows = encoder.acting, np.arange(len(now))
    candidates = group.compose(poses[1][:, :, None], group.inverse(poses[0])[:, None])
    candidates = candidates.reshape(len(now), -1, group.dim)
    length = np.linalg.norm(group.log(candidates), axis=2)
    shortest = length.argmin(1)
    likeness = (here["class"] * there["class"]).sum(1)
    return Plan(candidates[rows, shortest], length[rows, shortest], likeness)
