"""Plans from one view of a thing to another: the action that leads there, from class and poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.groups import Group
from representations.acted import PosedEncoder

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Plan:
    """What to do to make things look as they should.

    Attributes:
        action: ``(n, dim)`` group elements.
        length: ``(n,)`` of their tangents: angles in radians for rotations.
        likeness: ``(n,)`` cosine between the classes of both views; far below 1 no action leads from one to the other.
    """

    action: Floats
    length: Floats
    likeness: Floats


def plan(encoder: PosedEncoder, now: NDArray[np.uint8], goal: NDArray[np.uint8]) -> Plan:
    """The shortest of the actions that lead from how things look to how they are to look.

    Args:
        encoder: of class and poses.
        now: ``(n, H, W, C)`` uint8, how things look.
        goal: ``(n, H, W, C)`` uint8, how they are to look.

    Raises:
        ValueError: there are not as many goals as views.
    """
    if len(now) != len(goal):
        raise ValueError(f"as many goals as views were expected, got {len(goal)} and {len(now)}; repeat what is single")
    here, there = encoder.encode(now), encoder.encode(goal)
    candidates, rows = encoder.between(here, there), np.arange(len(now))
    length = np.linalg.norm(encoder.acting.log(candidates), axis=2)
    shortest = length.argmin(1)
    likeness = (here["class"] * there["class"]).sum(1)
    return Plan(candidates[rows, shortest], length[rows, shortest], likeness)


def left_to_go(group: Group, reached: Floats, goal: Floats, stabilizers: Sequence[Floats]) -> Floats:
    """Length of the shortest action from each pose that was reached to one that looks like the goal, ``(n,)``.

    Args:
        group: that acts.
        reached: ``(n, dim)`` poses.
        goal: ``(n, dim)`` poses.
        stabilizers: of each thing, ``(order, dim)``.
    """
    rows = zip(reached, goal, stabilizers, strict=True)
    left = [group.compose(group.compose(end, stabilizer), group.inverse(pose)) for pose, end, stabilizer in rows]
    return np.array([np.linalg.norm(group.log(each), axis=1).min() for each in left])
