"""Perturbations of observations: noise, a constant shift and blackout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from .errors import PerturbationError
from .observation_perturbation import ObservationPerturbation, is_image
from .registry import register_perturbation


@dataclass(frozen=True, kw_only=True)
class _AddedValues(ObservationPerturbation):
    """A perturbation with a magnitude in the unit of the observation: images and other arrays do not mix."""

    def check(self, env: gym.Env[Any, Any]) -> None:
        super().check(env)
        boxes = self.boxes(env.observation_space)
        if len({is_image(box) for box in boxes.values()}) > 1:
            raise PerturbationError(
                f"{self.name}: the observation holds images and other arrays, which have no common unit; pass the key "
                f"of one of {', '.join(map(str, boxes))}"
            )


@register_perturbation("observation-noise")
@dataclass(frozen=True, kw_only=True)
class ObservationNoise(_AddedValues):
    """Add Gaussian noise to the observation.

    Attributes:
        magnitude: standard deviation: grey levels for images, else the unit of the observation.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        key: see `ObservationPerturbation`.
    """

    def perturb_values(self, values: Any, space: gym.spaces.Box, generator: np.random.Generator) -> Any:
        """Return the values plus noise."""
        return values + self.magnitude * generator.normal(size=values.shape)


@register_perturbation("observation-shift")
@dataclass(frozen=True, kw_only=True)
class ObservationShift(_AddedValues):
    """Add the same amount to every entry of the observation, like a biased sensor.

    Attributes:
        magnitude: the amount: grey levels for images, else the unit of the observation.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        key: see `ObservationPerturbation`.
        sign: ``"+"`` or ``"-"``.
    """

    sign: str = "+"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.sign in ("+", "-"), "sign", "'+' or '-'", self.sign)

    def perturb_values(self, values: Any, space: gym.spaces.Box, generator: np.random.Generator) -> Any:
        """Return the shifted values."""
        return values + (self.magnitude if self.sign == "+" else -self.magnitude)


@register_perturbation("blackout")
@dataclass(frozen=True, kw_only=True)
class Blackout(ObservationPerturbation):
    """Show zeros, or a darker observation: ``(1 − magnitude) · observation``.

    Attributes:
        magnitude: share of every value that is lost; 1 is black.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        key: see `ObservationPerturbation`.
    """

    magnitude: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.magnitude <= 1, "magnitude", "a share of at most 1", self.magnitude)

    def perturb_values(self, values: Any, space: gym.spaces.Box, generator: np.random.Generator) -> Any:
        """Return the darker values."""
        return np.zeros_like(values) if self.magnitude == 1 else (1 - self.magnitude) * values
