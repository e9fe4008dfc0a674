"""Perturbations of actions: noise, a constant shift, delay, dropout and override."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from .action_perturbation import ActionHistory, ActionPerturbation, NullAction, null_action, require_null_action
from .errors import PerturbationError
from .registry import register_perturbation


@dataclass(frozen=True, kw_only=True)
class _BoxActionPerturbation(ActionPerturbation):
    """A perturbation of bounded numbers; it is a share of half their range."""

    spaces: ClassVar[tuple[type, ...]] = (gym.spaces.Box,)

    def check(self, env: gym.Env[Any, Any]) -> None:
        super().check(env)
        space = env.action_space
        if not (isinstance(space, gym.spaces.Box) and space.is_bounded()):
            raise PerturbationError(
                f"{self.name}: expected an action space with bounds, of which magnitude is a share, got {space}; wrap "
                "the environment, for example in gymnasium.wrappers.RescaleAction"
            )

    def _add(self, action: Any, shift: Any, space: Any) -> Any:
        half_range = (space.high.astype(float) - space.low) / 2
        return np.clip(action + self.magnitude * half_range * shift, space.low, space.high).astype(space.dtype)


@register_perturbation("action-noise")
@dataclass(frozen=True, kw_only=True)
class ActionNoise(_BoxActionPerturbation):
    """Add Gaussian noise to the action, and clip it into the action space.

    Attributes:
        magnitude: standard deviation, as a share of half the range of each entry.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
    """

    def perturb_action(self, action: Any, history: ActionHistory, generator: np.random.Generator) -> Any:
        """Return the action plus noise."""
        return self._add(action, generator.normal(size=np.shape(action)), history.space)


@register_perturbation("action-shift")
@dataclass(frozen=True, kw_only=True)
class ActionShift(_BoxActionPerturbation):
    """Add the same amount to every entry of the action, and clip it into the action space.

    Attributes:
        magnitude: the amount, as a share of half the range of each entry.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        sign: ``"+"`` or ``"-"``.
    """

    sign: str = "+"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.sign in ("+", "-"), "sign", "'+' or '-'", self.sign)

    def perturb_action(self, action: Any, history: ActionHistory, generator: np.random.Generator) -> Any:
        """Return the shifted action."""
        return self._add(action, 1.0 if self.sign == "+" else -1.0, history.space)


@register_perturbation("action-delay")
@dataclass(frozen=True, kw_only=True)
class ActionDelay(ActionPerturbation):
    """Carry out the action that the policy chose some steps before.

    In the first steps of an episode that is the first action.

    Attributes:
        magnitude: the delay in steps, a whole number.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
    """

    unit: ClassVar[str] = "steps"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(float(self.magnitude).is_integer(), "magnitude", "a whole number of steps", self.magnitude)

    def perturb_action(self, action: Any, history: ActionHistory, generator: np.random.Generator) -> Any:
        """Return the earlier action."""
        return history.intended[max(0, len(history.intended) - 1 - int(self.magnitude))]


@dataclass(frozen=True, kw_only=True)
class _ReplacedAction(ActionPerturbation):
    """A perturbation that replaces the action in a share of the steps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.magnitude <= 1, "magnitude", "a probability of at most 1", self.magnitude)

    def perturb_action(self, action: Any, history: ActionHistory, generator: np.random.Generator) -> Any:
        replaced = generator.random() < self.magnitude
        other = self.other_action(history, generator)  # drawn in any case, so that all magnitudes draw the same
        return other if replaced else action

    def other_action(self, history: ActionHistory, generator: np.random.Generator) -> Any:
        raise NotImplementedError


@register_perturbation("action-dropout")
@dataclass(frozen=True, kw_only=True)
class ActionDropout(_ReplacedAction):
    """Lose the action in a share of the steps.

    Attributes:
        magnitude: probability of losing the action of a step, at most 1.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        replacement: what is carried out instead: ``"zero"``, clipped into the action space, or ``"hold"``, the action
            of the step before; discrete actions have no zero.
    """

    replacement: NullAction = "zero"

    def check(self, env: gym.Env[Any, Any]) -> None:
        """Check that there is such a replacement in the action space."""
        super().check(env)
        require_null_action(self.replacement, env.action_space, f"{self.name}: replacement")

    def other_action(self, history: ActionHistory, generator: np.random.Generator) -> Any:
        """Return the null action."""
        return null_action(self.replacement, history.space, history)


@register_perturbation("action-override")
@dataclass(frozen=True, kw_only=True)
class ActionOverride(_ReplacedAction):
    """Carry out another action than the policy's, in a share of the steps.

    Attributes:
        magnitude: probability of replacing the action of a step, at most 1.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        value: ``"random"`` for an action that is uniform over the action space, or a number for every entry.
    """

    magnitude: float = 1.0
    value: str | float = "random"

    def __post_init__(self) -> None:
        super().__post_init__()
        valid = self.value == "random" if isinstance(self.value, str) else np.isfinite(self.value)
        self.require(bool(valid), "value", "'random' or a finite number", self.value)

    def check(self, env: gym.Env[Any, Any]) -> None:
        """Check that the value lies in the action space."""
        super().check(env)
        space = env.action_space
        if isinstance(space, gym.spaces.Box) and self.value == "random" and not space.is_bounded():
            raise PerturbationError(f"{self.name}: value must be a number in the unbounded action space {space}")
        if self.value != "random" and not space.contains(self._constant(space)):
            raise PerturbationError(f"{self.name}: value must lie in the action space {space}, got {self.value!r}")

    def other_action(self, history: ActionHistory, generator: np.random.Generator) -> Any:
        """Return the constant or a uniform action."""
        space: Any = history.space
        if self.value != "random":
            return self._constant(space)
        if isinstance(space, gym.spaces.Discrete):
            return space.start + generator.integers(space.n)
        if isinstance(space, gym.spaces.MultiDiscrete):
            return (space.start + generator.integers(space.nvec)).astype(space.dtype)
        return generator.uniform(space.low, space.high).astype(space.dtype)

    def _constant(self, space: Any) -> Any:
        if isinstance(space, gym.spaces.Discrete):
            return np.int64(self.value) if float(self.value).is_integer() else self.value
        return np.full(space.shape, self.value, space.dtype)
