"""Plans from one view of a thing to another: the action that leads there, from class and poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.groups import Group
from envs.orbits import OrbitWorld
from representations.acted import PosedEncoder

Floats = NDArray[np.floating[Any]]

ROTATIONS = ("SO2", "SO3")
"""Groups in which what is left to the goal is an angle."""


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


@dataclass(frozen=True)
class Performed:
    """Plans that were performed in a world of rotations.

    Attributes:
        now: ``(n, H, W, C)`` uint8, how things looked before.
        after: how they looked when the planned actions had been performed.
        goal: how they were to look.
        left: ``(n,)`` radians, of the shortest turn that was left to what looks like the goal.
        left_before: the same, had nothing been done.
    """

    now: NDArray[np.uint8]
    after: NDArray[np.uint8]
    goal: NDArray[np.uint8]
    left: Floats
    left_before: Floats

    @property
    def figures(self) -> dict[str, float]:
        """How far off plans are, in degrees and in pixels, and how far what is not turned at all."""
        left, before = np.degrees(self.left), np.degrees(self.left_before)
        return {
            "plan_error_median_degrees": float(np.median(left)),
            "plan_error_90_degrees": float(np.quantile(left, 0.9)),
            "unplanned_error_median_degrees": float(np.median(before)),
            "pixels_off_goal": _differ(self.after, self.goal),
            "pixels_off_goal_unplanned": _differ(self.now, self.goal),
        }


def perform(encoder: PosedEncoder, kind: type[OrbitWorld], count: int = 60) -> Performed:
    """Plan from random poses to random goals in a world of rotations, all classes alike, and do what was planned.

    Args:
        encoder: of class and poses.
        kind: the world.
        count: how many plans.

    Raises:
        ValueError: the world's group is of no rotations, or not the encoder's.
    """
    if kind.group.name not in ROTATIONS or encoder.group != kind.group.name:
        raise ValueError(
            f"plans are performed where things turn, by one of {ROTATIONS}: got a world of {kind.group.name} and an "
            f"encoder for {encoder.group}; use `plan` for others"
        )
    generator, orbit = np.random.default_rng(0), np.arange(count) % len(kind.orbits)
    world, group = kind(count, device="cpu"), kind.group
    start, end = (group.random(generator, count) for _ in range(2))
    goal, now = world.look(orbit, end), world.look(orbit, start)
    world.step(plan(encoder, now, goal).action)
    stabilizers = [kind.stabilizer(int(one)) for one in orbit]
    left, before = (left_to_go(group, pose, end, stabilizers) for pose in (world.pose, start))
    return Performed(now, world.render(), goal, left, before)


def _differ(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Share of pixels with a colour that differs by more than a tenth of its range."""
    return float((np.abs(a.astype(int) - b.astype(int)).max(-1) > 25.5).mean())
