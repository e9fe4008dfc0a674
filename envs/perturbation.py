"""Pushes in mid-episode, each with a receipt of what it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from envs.simulator import Float
from envs.task import TaskWorld


class PerturbationError(ValueError):
    """A push that cannot be made, or that did nothing."""


@dataclass(frozen=True)
class Perturbation:
    """A drag of the arm, or a shove of the object, from one step of the episode to another, then a pause.

    The published protocol (Reichlin et al., IROS 2022) is the default: the arm is dragged for 35 steps, then idles 10.

    Attributes:
        magnitude: metres a step by which the arm is dragged; newtons with which the object is shoved.
        onset: steps before it begins.
        duration: steps it lasts.
        idle: steps after it in which the policy does not act.
        target: what is pushed.
        quadrant: signs of the direction's coordinates, which is random within this quadrant; 0 leaves one free, and
            None keeps it at zero.

    Raises:
        PerturbationError: a magnitude or a time that is not positive.
    """

    magnitude: float
    onset: int = 1
    duration: int = 35
    idle: int = 10
    target: Literal["arm", "object"] = "arm"
    quadrant: tuple[int | None, ...] = (0, 0, 0)

    def __post_init__(self) -> None:
        if not self.magnitude > 0:
            raise PerturbationError(f"magnitude must be positive, got {self.magnitude}")
        if self.duration < 1 or self.onset < 0 or self.idle < 0:
            raise PerturbationError(
                f"duration must be at least 1, onset and idle at least 0; "
                f"got {self.duration}, {self.onset} and {self.idle}"
            )

    @property
    def end(self) -> int:
        """The first step in which the policy acts again."""
        return self.onset + self.duration + self.idle

    def require_within(self, steps: int) -> None:
        """Check that an episode of so many steps has room for it.

        Raises:
            PerturbationError: it has not.
        """
        if self.end >= steps:
            raise PerturbationError(
                f"the push ends with step {self.end}, the episode with step {steps}: nothing is left to recover in; "
                "shorten the push or lengthen the episode (max_episode_steps)"
            )

    def directions(self, count: int, generator: np.random.Generator) -> Float:
        """Random unit vectors of the quadrant, ``(count, dim)``."""
        vectors = generator.normal(size=(count, len(self.quadrant)))
        for axis, sign in enumerate(self.quadrant):
            if sign is None:
                vectors[:, axis] = 0.0
            elif sign != 0:
                vectors[:, axis] = sign * np.abs(vectors[:, axis])
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


class Pushed:
    """A perturbation at work in a batch of worlds: takes the policy's actions, gives those that are carried out.

    Args:
        world: the batch, at the start of its episodes.
        perturbation: what is done to it.
        generator: of the directions.

    Raises:
        PerturbationError: the episode has no room for it, or the quadrant has other dimensions than the world.
    """

    def __init__(self, world: TaskWorld, perturbation: Perturbation, generator: np.random.Generator) -> None:
        perturbation.require_within(world.max_episode_steps)
        if len(perturbation.quadrant) != world.group.dim:
            raise PerturbationError(f"a quadrant of {world.group.dim} signs was expected, got {perturbation.quadrant}")
        self._world = world
        self._perturbation = perturbation
        self._direction = perturbation.directions(world.num_worlds, generator)
        self._step = 0
        self._before = self._pose()
        self._commands = np.zeros((world.num_worlds, 0))
        self.receipt: Float = np.zeros(world.num_worlds)
        """Metres between where what was pushed was before and after the push, ``(num_worlds,)``."""

    def __call__(self, action: Float) -> Float:
        """The action to carry out in this step; commands behind the displacement stay as they were before the push."""
        step, push, dim = self._step, self._perturbation, self._world.group.dim
        self._step += 1
        if step == push.onset:
            self._before, self._commands = self._pose(), action[:, dim:].copy()
        pushing = push.onset <= step < push.onset + push.duration
        if push.target == "object" and push.onset <= step <= push.onset + push.duration:
            self._world.push_object(pushing * push.magnitude * self._direction)
        if step == push.onset + push.duration:
            self.receipt = np.asarray(np.linalg.norm(self._pose() - self._before, axis=1))
        if not push.onset <= step < push.end:
            return action
        drag = push.magnitude * self._direction if push.target == "arm" and pushing else np.zeros_like(self._direction)
        return np.concatenate([drag, self._commands], 1)

    def _pose(self) -> Float:
        return self._world.agent_pose() if self._perturbation.target == "arm" else self._world.object_pose()
