"""Scripted controllers on the ground-truth state, which record demonstrations and label the states of learners.

An expert has no memory: from whatever state a world is in, it says what to do next. So it can label the states that a
learner got into, not only its own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...envs.simulation.state_layout import Float
from ...envs.worlds.tabletop import OBJECT_HEIGHT, OPENING, Pick, Push, Tabletop
from ...envs.worlds.task_world import TaskWorld

Expert = Callable[[TaskWorld], Float]
"""From the ground-truth state of a batch of worlds to the actions of an expert, ``(num_worlds, dim + commands)``."""

CARRY = 0.10
"""Height at which the hand passes over things, in metres."""
LOW = 0.02
"""Height at which it pushes and grips."""


def expert(world: TaskWorld) -> Float:
    """Return the action of the expert of this kind of world.

    Raises:
        ValueError: there is no expert of this kind of world.
    """
    for world_cls, act in EXPERTS.items():
        if isinstance(world, world_cls):
            return act(world)
    raise ValueError(f"there is no expert for {type(world).__name__}; there are for {[k.__name__ for k in EXPERTS]}")


def push(world: Tabletop) -> Float:
    """Go over the puck to the spot behind it, down, and shove it to the goal between the open fingers.

    Both fingers touch the puck, which therefore follows wherever the hand goes, sideways too. Behind is away from the
    goal in depth, along which the fingers point.
    """
    hand, puck, goal = world.agent_pose(), world.object_pose()[:, :2], world.goal()[:, :2]
    to_goal = goal - puck
    ahead = np.where(to_goal[:, 1] < -0.02, -1.0, 1.0)
    offset = puck - hand[:, :2]
    gap = offset[:, 1] * ahead
    spot = puck - np.stack([np.zeros_like(ahead), 0.085 * ahead], 1)
    to_spot = spot - hand[:, :2]
    low = hand[:, 2] < 0.035
    behind = low & (gap > 0.025)
    aligned = behind & (np.abs(offset[:, 0]) < 0.02)
    holds = aligned & (gap < 0.05)
    nearer = np.stack([offset[:, 0], 0.04 * ahead], 1)
    planar = np.select([holds[:, None], aligned[:, None]], [to_goal, nearer], to_spot)
    above = np.linalg.norm(to_spot, axis=1) < 0.03
    height = np.where(above | behind, LOW, CARRY)
    planar[low & ~behind] = 0.0
    return _action(world, planar, height - hand[:, 2], np.ones(len(hand)))


def pick(world: Tabletop) -> Float:
    """Go over the peg, down, grip; up, over the goal, down, let go; start over if the peg is lost."""
    hand, peg, goal, opening = world.agent_pose(), world.object_pose(), world.goal(), world.opening()
    to_peg, to_goal = peg - hand, goal[:, :2] - peg[:, :2]
    off_peg, off_goal = np.linalg.norm(to_peg[:, :2], axis=1), np.linalg.norm(to_goal, axis=1)
    around = (off_peg < 0.025) & (np.abs(to_peg[:, 2]) < 0.03)
    held = around & (opening < 1.4 * OPENING) & (opening > 0.6 * OPENING)
    is_open = opening > 1.6 * OPENING
    reached, at_goal = off_peg < 0.012, off_goal < 0.012
    target = np.where(held[:, None], to_goal, to_peg[:, :2])
    there = np.where(held, at_goal, reached)
    height = np.where(there, LOW, CARRY)
    climbing = ~there & (hand[:, 2] < CARRY - 0.03) & (np.where(held, off_goal, off_peg) > 0.025)
    target[climbing] = 0.0
    grip = is_open & reached & (hand[:, 2] < LOW + 0.008)
    let_go = held & at_goal & (peg[:, 2] < OBJECT_HEIGHT + 0.004)
    waits = grip | let_go | (~held & ~is_open)
    target[waits] = 0.0
    rise = np.where(waits, 0.0, height - hand[:, 2])
    return _action(world, target, rise, np.where(grip | (held & ~let_go), -1.0, 1.0))


EXPERTS: dict[type[TaskWorld], Callable[..., Float]] = {Push: push, Pick: pick}


def _action(world: Tabletop, planar: Float, rise: Float, gripper: Float) -> Float:
    """At most the largest displacement in the plane, and in height, with the gripper's command behind them."""
    length = np.linalg.norm(planar, axis=1, keepdims=True)
    limit = world.max_displacement
    planar = planar * np.minimum(1.0, limit / np.maximum(length, 1e-9))
    return np.concatenate([planar, np.clip(rise, -limit, limit)[:, None], gripper[:, None]], 1)
