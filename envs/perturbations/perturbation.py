"""Base class of perturbations: how strong, from which step, for how long."""

from __future__ import annotations

import math
from abc import ABC
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from ..arguments import integer_argument
from .errors import PerturbationError
from .registry import PERTURBATION_REGISTRY

Onset = int | tuple[int, int]
"""A step, or the first and the last step of which one is drawn in each episode."""


@dataclass(frozen=True, kw_only=True)
class Perturbation(ABC):
    """A disturbance of an environment in some steps of an episode.

    It is active in the steps ``onset, …, onset + duration − 1``, where step 0 is the first call of ``env.step`` after
    a reset. Subclasses say what ``magnitude`` means, and refuse a magnitude without effect.

    Attributes:
        magnitude: strength, positive and finite; its unit depends on the class.
        onset: number of steps before it begins. A pair ``(10, 50)`` draws one of 10, …, 50 in each episode.
        duration: number of steps that it lasts.

    Raises:
        PerturbationError: a value out of range.
    """

    unit: ClassVar[str] = ""
    """Unit of the magnitude; empty for shares and factors."""
    needs_mujoco: ClassVar[bool] = False

    magnitude: float
    onset: Onset = 0
    duration: int = 1

    def __post_init__(self) -> None:
        value = self.magnitude
        is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
        self.require(is_number and 0 < value < math.inf, "magnitude", "a positive, finite number", value)
        integer_argument(f"{self.name}: duration", self.duration, 1, PerturbationError)
        self._check_onset()

    @property
    def name(self) -> str:
        """Return the name under which the class is registered, or the name of the class."""
        cls = type(self)
        return next((name for name, each in PERTURBATION_REGISTRY.items() if each is cls), cls.__name__)

    @property
    def idle_steps(self) -> int:
        """Return the number of steps after it in which the policy does not act."""
        return 0

    def check(self, env: gym.Env[Any, Any]) -> None:
        """Check that the perturbation can be applied in an environment, before any episode is played.

        Args:
            env: a single environment. One that builds its model when it is first reset is reset.

        Raises:
            PerturbationError: it cannot; the message says what to change.
        """
        limit = episode_length(env)
        last = self.onset if isinstance(self.onset, int) else self.onset[1]
        end = last + self.duration + self.idle_steps
        if limit is not None and end > limit:
            raise PerturbationError(
                f"{self.name}: it ends with step {end}, but the episode with step {limit}; lower onset or duration, or "
                "lengthen the episode (max_episode_steps)"
            )

    def draw_onset(self, generator: np.random.Generator) -> int:
        """Return the step in which it begins in this episode."""
        if isinstance(self.onset, int):
            return self.onset
        return int(generator.integers(self.onset[0], self.onset[1] + 1))

    def require(self, holds: bool, key: str, expected: str, got: Any) -> None:
        """Check a value of one of the attributes.

        Raises:
            PerturbationError: it does not hold.
        """
        if not holds:
            raise PerturbationError(f"{self.name}: {key} must be {expected}, got {got!r}")

    def __str__(self) -> str:
        """Return the text from which `parse_perturbation` makes an equal perturbation."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if self._is_told(field)}
        return f"{self.name}:{','.join(f'{key}={_text(key, value)}' for key, value in values.items())}"

    def _is_told(self, field: Any) -> bool:
        return field.default is MISSING or getattr(self, field.name) != field.default

    def _check_onset(self) -> None:
        bounds = self.onset if isinstance(self.onset, tuple) else (self.onset,)
        if len(bounds) > 2:
            raise PerturbationError(f"{self.name}: onset must be a step or a pair of steps, got {self.onset!r}")
        for bound in bounds:
            integer_argument(f"{self.name}: onset", bound, 0, PerturbationError)
        self.require(bounds[0] <= bounds[-1], "onset", "a pair (first, last) with first ≤ last", self.onset)


def episode_length(env: gym.Env[Any, Any]) -> int | None:
    """Return the number of steps after which an environment truncates an episode; None if that is not known."""
    while True:
        if isinstance(env, gym.wrappers.TimeLimit):
            return int(env._max_episode_steps)
        if not isinstance(env, gym.Wrapper):
            break
        env = env.env
    limit = None if env.spec is None else env.spec.max_episode_steps
    return None if limit is None else int(limit)


def _text(key: str, value: Any) -> str:
    """Return a value as `parse_perturbation` reads it."""
    if key == "onset" and isinstance(value, tuple):
        return "-".join(map(str, value))
    if isinstance(value, tuple):
        return " ".join(map(_plain, value))
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, float | np.floating):
        return str(value)
    return f"{value:g}" if float(f"{value:g}") == value else repr(float(value))
