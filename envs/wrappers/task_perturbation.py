"""Perturbations of a batch of our task worlds, each with a receipt; `PerturbedEnv` is for any environment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..arguments import integer_argument
from ..perturbations.errors import PerturbationError
from ..simulation.state_layout import Float
from ..worlds.task_world import TaskWorld


@dataclass(frozen=True)
class TaskPerturbation:
    """Drag the arm or push the object for some steps, then pause.

    The defaults are the protocol of Reichlin et al. (IROS 2022): the arm is dragged for 35 steps, then idles for 10.

    Attributes:
        magnitude: metres per step by which the arm is dragged, or newtons with which the object is pushed.
        onset: number of steps before it begins.
        duration: number of steps it lasts.
        idle: number of steps after it in which the policy does not act.
        target: what is perturbed.
        quadrant: one entry for each coordinate of the random direction: 1 or -1 fixes its sign, 0 leaves it free, None
            makes the coordinate zero.

    Raises:
        PerturbationError: a value out of range.
    """

    magnitude: float
    onset: int = 1
    duration: int = 35
    idle: int = 10
    target: Literal["arm", "object"] = "arm"
    quadrant: tuple[int | None, ...] = (0, 0, 0)

    def __post_init__(self) -> None:
        if not 0 < self.magnitude < math.inf:
            raise PerturbationError(f"magnitude must be positive and finite, got {self.magnitude}")
        for name, least in {"onset": 0, "duration": 1, "idle": 0}.items():
            integer_argument(name, getattr(self, name), least, PerturbationError)
        if self.target not in ("arm", "object"):
            raise PerturbationError(f"target must be 'arm' or 'object', got {self.target!r}")
        if not set(self.quadrant) <= {-1, 0, 1, None} or set(self.quadrant) <= {None}:
            raise PerturbationError(
                f"quadrant must consist of 1, -1, 0 and None, and not of None alone; got {self.quadrant}"
            )

    @property
    def end(self) -> int:
        """Return the first step in which the policy acts again."""
        return self.onset + self.duration + self.idle

    def require_within(self, steps: int) -> None:
        """Check that the perturbation ends before an episode of ``steps`` steps does.

        Raises:
            PerturbationError: it does not.
        """
        if self.end >= steps:
            raise PerturbationError(
                f"the perturbation ends with step {self.end}, the episode with step {steps}: no step is left to "
                "recover in; shorten the perturbation or lengthen the episode (max_episode_steps)"
            )

    def directions(self, count: int, generator: np.random.Generator) -> Float:
        """Return random unit vectors within the quadrant, ``(count, dim)``."""
        vectors = generator.normal(size=(count, len(self.quadrant)))
        for axis, sign in enumerate(self.quadrant):
            if sign is None:
                vectors[:, axis] = 0.0
            elif sign != 0:
                vectors[:, axis] = sign * np.abs(vectors[:, axis])
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


class PerturbationInjector:
    """Apply a perturbation to a batch of worlds: call it with the policy's actions, step with those it returns.

    Args:
        world: the batch, at the start of its episodes.
        perturbation: what to apply.
        generator: draws the directions.

    Attributes:
        receipt: ``(num_worlds,)`` metres between the position of the target before and after the perturbation; zero
            until it is over.

    Raises:
        PerturbationError: the episode is too short, or the quadrant has another number of dimensions than the world.
    """

    def __init__(self, world: TaskWorld, perturbation: TaskPerturbation, generator: np.random.Generator) -> None:
        perturbation.require_within(world.max_episode_steps)
        if len(perturbation.quadrant) != world.group.dim:
            raise PerturbationError(f"a quadrant of {world.group.dim} signs was expected, got {perturbation.quadrant}")
        self._world = world
        self._perturbation = perturbation
        self._direction = perturbation.directions(world.num_worlds, generator)
        self._step = 0
        self._before = self._position()
        self._commands = np.zeros((world.num_worlds, 0))
        self.receipt: Float = np.zeros(world.num_worlds)

    def __call__(self, action: Float) -> Float:
        """Return the action to carry out in this step; commands keep their value from before the perturbation."""
        step, pert, dim = self._step, self._perturbation, self._world.group.dim
        self._step += 1
        if step == pert.onset:
            self._before, self._commands = self._position(), action[:, dim:].copy()
        active = pert.onset <= step < pert.onset + pert.duration
        if pert.target == "object" and pert.onset <= step <= pert.onset + pert.duration:
            self._world.push_object(active * pert.magnitude * self._direction)
        if step == pert.onset + pert.duration:
            self.receipt = np.asarray(np.linalg.norm(self._position() - self._before, axis=1))
        if not pert.onset <= step < pert.end:
            return action
        drag = pert.magnitude * self._direction if pert.target == "arm" and active else np.zeros_like(self._direction)
        return np.concatenate([drag, self._commands], 1)

    def _position(self) -> Float:
        return self._world.agent_pose() if self._perturbation.target == "arm" else self._world.object_pose()
