"""Perturbations of a batch of our task worlds, each with a receipt; `PerturbedEnv` is for any environment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

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
        onsets: number of steps before it begins in each episode of the batch; None for ``onset`` in all of them.
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
    onsets: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.magnitude < math.inf:
            raise PerturbationError(f"magnitude must be positive and finite, got {self.magnitude}")
        for name, least in {"onset": 0, "duration": 1, "idle": 0}.items():
            integer_argument(name, getattr(self, name), least, PerturbationError)
        for each in self.onsets or ():
            integer_argument("onsets", each, 0, PerturbationError)
        if self.target not in ("arm", "object"):
            raise PerturbationError(f"target must be 'arm' or 'object', got {self.target!r}")
        if not set(self.quadrant) <= {-1, 0, 1, None} or set(self.quadrant) <= {None}:
            raise PerturbationError(
                f"quadrant must consist of 1, -1, 0 and None, and not of None alone; got {self.quadrant}"
            )

    @property
    def end(self) -> int:
        """Return the first step in which the policy acts again in all episodes."""
        return max(self.onsets or (self.onset,)) + self.duration + self.idle

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

    def onset_steps(self, count: int) -> NDArray[np.int64]:
        """Return the number of steps before it begins in each of ``count`` episodes, ``(count,)``.

        Raises:
            PerturbationError: ``onsets`` are of another number of episodes.
        """
        if self.onsets is None:
            return np.full(count, self.onset)
        if len(self.onsets) != count:
            raise PerturbationError(f"expected onsets of {count} episodes, one for each, got {len(self.onsets)}")
        return np.array(self.onsets)

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
        PerturbationError: the episode is too short, the quadrant has another number of dimensions than the world, or
            ``onsets`` are of another number of episodes.
    """

    def __init__(self, world: TaskWorld, perturbation: TaskPerturbation, generator: np.random.Generator) -> None:
        perturbation.require_within(world.max_episode_steps)
        if len(perturbation.quadrant) != world.group.dim:
            raise PerturbationError(f"a quadrant of {world.group.dim} signs was expected, got {perturbation.quadrant}")
        self._world = world
        self._perturbation = perturbation
        self._direction = perturbation.directions(world.num_worlds, generator)
        self._since = -perturbation.onset_steps(world.num_worlds)
        self._before = self._position()
        self._commands = np.zeros((world.num_worlds, world.commands))
        self.receipt: Float = np.zeros(world.num_worlds)

    def __call__(self, action: Float) -> Float:
        """Return the action to carry out in this step; commands keep their value from before the perturbation."""
        since, pert, dim = self._since, self._perturbation, self._world.group.dim
        self._since = since + 1
        begins, over = since == 0, since == pert.duration
        position = self._position()
        self._before = np.where(begins[:, None], position, self._before)
        self._commands = np.where(begins[:, None], action[:, dim:], self._commands)
        active = (since >= 0) & (since < pert.duration)
        shift = active[:, None] * pert.magnitude * self._direction
        if pert.target == "object" and (active | over).any():
            self._world.push_object(shift)
        self.receipt = np.where(over, np.linalg.norm(position - self._before, axis=1), self.receipt)
        drag = shift if pert.target == "arm" else np.zeros_like(shift)
        holds = (since >= 0) & (since < pert.duration + pert.idle)
        return np.where(holds[:, None], np.concatenate([drag, self._commands], 1), action)

    def _position(self) -> Float:
        return self._world.agent_pose() if self._perturbation.target == "arm" else self._world.object_pose()
