"""Perturbations of a batch of our task worlds, each with a receipt; `PerturbedEnv` is for any environment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..arguments import integer_argument
from ..perturbations.errors import PerturbationError
from ..simulation.state_layout import Float, Worlds
from ..worlds.task_world import TaskWorld
from ..worlds.world import Bool


@dataclass(frozen=True)
class TaskPerturbation:
    """Drag the arm, push it or the object, or put one of them somewhere else.

    | kind | what happens | magnitude |
    |---|---|---|
    | ``"drag"`` | the arm moves in one direction, whatever the policy says, and then idles | m a step |
    | ``"push"`` | a force acts while the policy does, which then idles | N |
    | ``"move"`` | the target is somewhere else from one step to the next | m |

    The defaults are the protocol of Reichlin et al. (IROS 2022): the arm is dragged for 35 steps, then idles for 10.
    Objects are moved along the first two axes only, and stay where the agent can deal with them.

    Attributes:
        magnitude: strength, in the unit of the table.
        kind: what happens.
        target: what is perturbed; only the arm can be dragged. With ``"both"`` each has a direction of its own.
        onset: number of steps before it begins.
        onsets: number of steps before it begins in each episode of the batch; None for ``onset`` in all of them.
        duration: number of steps it lasts; 1 for ``"move"``.
        idle: number of steps after it in which the policy does not act.
        quadrant: one entry for each coordinate of the random direction: 1 or -1 fixes its sign, 0 leaves it free, None
            makes the coordinate zero.

    Raises:
        PerturbationError: a value out of range.
    """

    magnitude: float
    kind: Literal["drag", "push", "move"] = "drag"
    target: Literal["arm", "object", "both"] = "arm"
    onset: int = 1
    duration: int = 35
    idle: int = 10
    quadrant: tuple[int | None, ...] = (0, 0, 0)
    onsets: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.magnitude < math.inf:
            raise PerturbationError(f"magnitude must be positive and finite, got {self.magnitude}")
        for name, least in {"onset": 0, "duration": 1, "idle": 0}.items():
            integer_argument(name, getattr(self, name), least, PerturbationError)
        for each in self.onsets or ():
            integer_argument("onsets", each, 0, PerturbationError)
        for name, known in {"kind": ("drag", "push", "move"), "target": ("arm", "object", "both")}.items():
            if getattr(self, name) not in known:
                raise PerturbationError(f"{name} must be one of {known}, got {getattr(self, name)!r}")
        if self.kind == "drag" and self.target != "arm":
            raise PerturbationError(f"only the arm can be dragged, got target {self.target!r}; push or move it")
        if self.kind == "move" and self.duration != 1:
            raise PerturbationError(f"a move happens once: duration must be 1, got {self.duration}")
        if not set(self.quadrant) <= {-1, 0, 1, None} or set(self.quadrant) <= {None}:
            raise PerturbationError(
                f"quadrant must consist of 1, -1, 0 and None, and not of None alone; got {self.quadrant}"
            )

    @property
    def targets(self) -> tuple[str, ...]:
        """Return what is perturbed: ``"arm"``, ``"object"`` or both."""
        return ("arm", "object") if self.target == "both" else (self.target,)

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
        return _directions(self.quadrant, count, generator)

    def planar_directions(self, count: int, generator: np.random.Generator) -> Float:
        """Return random unit vectors within the first two axes of the quadrant, ``(count, 2)``."""
        planar = self.quadrant[:2]
        return _directions((0, 0) if set(planar) <= {None} else planar, count, generator)


def _directions(quadrant: tuple[int | None, ...], count: int, generator: np.random.Generator) -> Float:
    vectors = generator.normal(size=(count, len(quadrant)))
    for axis, sign in enumerate(quadrant):
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
        receipt: ``(num_worlds,)`` metres between the positions of the target before and after the perturbation, the
            larger one of arm and object; zero until it is over.

    Raises:
        PerturbationError: the episode is too short, the quadrant has another number of dimensions than the world, or
            ``onsets`` are of another number of episodes.
    """

    def __init__(self, world: TaskWorld, perturbation: TaskPerturbation, generator: np.random.Generator) -> None:
        perturbation.require_within(world.max_episode_steps)
        if len(perturbation.quadrant) != world.group.dim:
            raise PerturbationError(f"a quadrant of {world.group.dim} signs was expected, got {perturbation.quadrant}")
        count = world.num_worlds
        self._world = world
        self._perturbation = perturbation
        self._direction = perturbation.directions(count, generator)
        self._in_plane = perturbation.planar_directions(count, generator)
        self._since = -perturbation.onset_steps(count)
        self._before = self._positions()
        self._commands = np.zeros((count, world.commands))
        self.receipt: Float = np.zeros(count)

    def __call__(self, action: Float) -> Float:
        """Return the action to carry out in this step; commands keep their value where the policy does not act."""
        since, pert, dim = self._since, self._perturbation, self._world.group.dim
        self._since = since + 1
        begins, over = since == 0, since == pert.duration
        self._measure(begins, over)
        active = (since >= 0) & (since < pert.duration)
        if pert.kind == "push" and (active | over).any():
            self._push(active[:, None] * pert.magnitude * self._direction)
        elif pert.kind == "move" and begins.any():
            self._move(np.flatnonzero(begins))
        self._commands = np.where(begins[:, None], action[:, dim:], self._commands)
        idles = (since >= pert.duration) & (since < pert.duration + pert.idle)
        dragged = active & (pert.kind == "drag")
        shift = dragged[:, None] * pert.magnitude * self._direction
        return np.where((dragged | idles)[:, None], np.concatenate([shift, self._commands], 1), action)

    def _measure(self, begins: Bool, over: Bool) -> None:
        """Remember positions where it begins, and set the receipt where it is over."""
        positions = self._positions()
        for name, position in positions.items():
            self._before[name] = np.where(begins[:, None], position, self._before[name])
        moved = [np.linalg.norm(position - self._before[name], axis=1) for name, position in positions.items()]
        self.receipt = np.where(over, np.max(moved, axis=0), self.receipt)

    def _push(self, force: Float) -> None:
        pushes = {"arm": self._world.push_agent, "object": self._world.push_object}
        for name in self._perturbation.targets:
            pushes[name](force)

    def _move(self, worlds: Worlds) -> None:
        distance = self._perturbation.magnitude
        if "arm" in self._perturbation.targets:
            shift = distance * self._direction[worlds]
            self._world.place_agent(self._world.agent_pose()[worlds] + shift, worlds)
        if "object" in self._perturbation.targets:
            shift = distance * self._in_plane[worlds]
            self._world.place_object(self._world.object_pose()[worlds, :2] + shift, worlds)

    def _positions(self) -> dict[str, Float]:
        """Return the positions of what is perturbed, by name."""
        poses = {"arm": self._world.agent_pose, "object": self._world.object_pose}
        return {name: poses[name]() for name in self._perturbation.targets}
