"""The grid of perturbations that methods are compared on: what happens, how strong it is, and how much time is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ...representations.learning.config import ConfigError, check_range

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ...envs.wrappers.task_perturbation import TaskPerturbation

Target = Literal["arm", "object", "both"]
"""What a perturbation acts on; see `TaskPerturbation`."""

KINDS: dict[str, tuple[Literal["drag", "push", "move"], Target]] = {
    "drag": ("drag", "arm"),
    "push": ("push", "arm"),
    "arm moved": ("move", "arm"),
    "object moved": ("move", "object"),
    "both moved": ("move", "both"),
}
"""Kind and target of the perturbation in each part of the grid, by the name in tables."""


@dataclass(frozen=True)
class RecoveryGridConfig:
    """Set the grid of perturbations.

    Every perturbation begins at a random step of each episode, drawn from all steps of the demonstrations. An episode
    succeeds within a time limit if the task is achieved in time.

    Attributes:
        pairs: number of paired trials in every condition.
        length: steps that a drag or a push lasts.
        drags: metres a step by which the arm is dragged.
        pushes: newtons with which the arm is pushed while the policy acts.
        arm_moves: metres by which the arm is put somewhere else.
        object_moves: metres by which the object is put somewhere else.
        both_moves: metres by which both are put somewhere else, in directions of their own.
        time_limits: time limits, as multiples of the median length of a demonstration.

    Raises:
        ConfigError: a value is out of range, or there is none.
    """

    pairs: int = 25
    length: int = 3
    drags: tuple[float, ...] = (0.01, 0.02, 0.03, 0.04)
    pushes: tuple[float, ...] = (20.0, 40.0, 80.0, 160.0)
    arm_moves: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2)
    object_moves: tuple[float, ...] = (0.02, 0.05, 0.1, 0.15)
    both_moves: tuple[float, ...] = (0.02, 0.05, 0.1, 0.15)
    time_limits: tuple[float, ...] = (1.5, 3.0, 10.0)

    def __post_init__(self) -> None:
        for name in ("pairs", "length"):
            check_range(self, name, at_least=1)
        for name in ("drags", "pushes", "arm_moves", "object_moves", "both_moves", "time_limits"):
            check_range(self, name, above=0)
            if not getattr(self, name):
                raise ConfigError(f"{name} must not be empty")

    @property
    def magnitudes(self) -> dict[str, tuple[float, ...]]:
        """Return the magnitudes of each part, by its name."""
        values = (self.drags, self.pushes, self.arm_moves, self.object_moves, self.both_moves)
        return dict(zip(KINDS, values, strict=True))

    @property
    def names(self) -> dict[str, list[str]]:
        """Return the names of the conditions of each part, by its name."""
        return {part: [condition_name(part, each) for each in found] for part, found in self.magnitudes.items()}

    def conditions(self, onsets: Sequence[int], dim: int) -> dict[str, TaskPerturbation]:
        """Return the perturbation of every condition, by its name.

        Args:
            onsets: steps before it begins in each of the episodes.
            dim: number of coordinates of the arm's position.
        """
        from ...envs.wrappers.task_perturbation import TaskPerturbation

        made = {}
        for part, magnitudes in self.magnitudes.items():
            kind, target = KINDS[part]
            length = 1 if kind == "move" else self.length
            timing: dict[str, Any] = {"duration": length, "idle": 0, "onsets": tuple(onsets), "quadrant": (0,) * dim}
            for each in magnitudes:
                made[condition_name(part, each)] = TaskPerturbation(each, kind, target, **timing)
        return made


def condition_name(part: str, magnitude: float) -> str:
    """Return the name of a condition.

    Example:
        >>> condition_name("arm moved", 0.05)
        'arm moved, 0.05'
    """
    return f"{part}, {magnitude:g}"


def limit_name(limit: float) -> str:
    """Return the name of a time limit.

    Example:
        >>> limit_name(1.5)
        'within 1.5 lengths'
    """
    return f"within {limit:g} lengths"


def within_limits(success: Any, length: Any, median: float, limits: Sequence[float]) -> NDArray[np.bool_]:
    """Return which episodes succeed within each time limit, ``(limits, N)``.

    Args:
        success: ``(N,)``, whether the task was achieved at all.
        length: ``(N,)``, number of steps until then.
        median: median length of a demonstration.
        limits: time limits, as multiples of it, from the shortest to the longest.

    Example:
        >>> import numpy as np
        >>> within_limits(np.array([True, True, False]), np.array([15, 16, 5]), 10.0, (1.5, 3.0)).tolist()
        [[True, False, False], [True, True, False]]
    """
    import numpy as np

    return np.stack([success & (length <= limit * median) for limit in limits])
