"""Base class of perturbations of actions, and null actions."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import gymnasium as gym
import numpy as np

from .errors import PerturbationError
from .perturbation import Perturbation

NullAction: TypeAlias = Literal["zero", "hold"]
"""Action in place of the policy's: zero, clipped into the space, or the last one that was carried out."""


@dataclass(frozen=True)
class ActionHistory:
    """Hold the actions of an episode until now.

    Attributes:
        space: action space.
        intended: actions before any perturbation, the current one last.
        executed: actions that were carried out, without the current one.
    """

    space: gym.Space[Any]
    intended: list[Any]
    executed: list[Any]


@dataclass(frozen=True, kw_only=True)
class ActionPerturbation(Perturbation):
    """A perturbation that changes actions before they are carried out, in any environment.

    Its receipt is the mean distance between the actions with and without it: the Euclidean norm for numbers, and the
    share of changed actions for discrete ones.
    """

    spaces: ClassVar[tuple[type, ...]] = (gym.spaces.Box, gym.spaces.Discrete, gym.spaces.MultiDiscrete)
    """Action spaces in which it is defined."""

    def check(self, env: gym.Env[Any, Any]) -> None:
        """Check that the perturbation is defined in the action space."""
        super().check(env)
        if not isinstance(env.action_space, self.spaces):
            expected = " or ".join(space.__name__ for space in self.spaces)
            raise PerturbationError(
                f"{self.name}: expected an action space {expected}, got {env.action_space}; choose another perturbation"
            )

    @abstractmethod
    def perturb_action(self, action: Any, history: ActionHistory, generator: np.random.Generator) -> Any:
        """Return the action to carry out.

        Args:
            action: the current action, perhaps changed by other perturbations; not to be written to.
            history: actions until now.
            generator: draws what is random; its own for every perturbation and episode.
        """


def null_action(kind: NullAction, space: gym.Space[Any], history: ActionHistory) -> Any:
    """Return the action that replaces the policy's.

    Args:
        kind: ``"zero"`` for commands such as torques, velocities and displacements; ``"hold"`` for absolute targets. In
            the first step of an episode, ``"hold"`` is the policy's own action.
        space: action space.
        history: actions until now.

    Raises:
        PerturbationError: there is no zero in this space.
    """
    require_null_action(kind, space)
    if kind == "zero" and isinstance(space, gym.spaces.Box):
        return np.clip(np.zeros_like(space.low), space.low, space.high)
    return history.executed[-1] if history.executed else history.intended[-1]


def require_null_action(kind: NullAction, space: gym.Space[Any], name: str = "null_action") -> None:
    """Check that a null action exists in a space.

    Raises:
        PerturbationError: it does not.
    """
    if kind not in ("zero", "hold"):
        raise PerturbationError(f"{name} must be 'zero' or 'hold', got {kind!r}")
    if kind == "zero" and not isinstance(space, gym.spaces.Box):
        raise PerturbationError(f"{name} must be 'hold' in the action space {space}: it has no zero")


def action_distance(one: Any, other: Any, space: gym.Space[Any]) -> float:
    """Return the norm of the difference of two actions; for discrete ones 1 if they differ, else 0."""
    if isinstance(space, gym.spaces.Box):
        return float(np.linalg.norm(np.asarray(one, float) - np.asarray(other, float)))
    return float(not np.array_equal(one, other))
