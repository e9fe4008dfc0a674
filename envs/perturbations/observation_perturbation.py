"""Base class of perturbations of observations."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from .errors import PerturbationError, closest
from .perturbation import Perturbation


@dataclass(frozen=True, kw_only=True)
class ObservationPerturbation(Perturbation):
    """A perturbation of what the environment shows, in any environment with arrays as observations.

    It changes the observations that the steps of its duration return; the simulated state and the reward stay as they
    are. Its receipt is the mean absolute difference, which is in grey levels for images.

    Attributes:
        magnitude: strength.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        key: entry of a Dict observation; None for all its arrays, or for the whole observation.
    """

    key: str | None = None

    @abstractmethod
    def perturb_values(self, values: Any, space: gym.spaces.Box, generator: np.random.Generator) -> Any:
        """Return the array to show instead, of any type; it is rounded and clipped into its space.

        Args:
            values: an array of floats.
            space: the space of the array.
            generator: draws what is random; its own for every perturbation and episode.
        """

    def check(self, env: gym.Env[Any, Any]) -> None:
        """Check that there are arrays to perturb."""
        super().check(env)
        self.boxes(env.observation_space)

    def boxes(self, space: gym.Space[Any]) -> dict[str | None, gym.spaces.Box]:
        """Return the spaces of the arrays that are perturbed, by key; the key of an observation without keys is None.

        Raises:
            PerturbationError: there are none.
        """
        if isinstance(space, gym.spaces.Box):
            self.require(self.key is None, "key", "left out, because the observation is no Dict", self.key)
            return {None: space}
        if not isinstance(space, gym.spaces.Dict):
            raise PerturbationError(f"{self.name}: expected a Box or Dict observation, got {space}")
        arrays: dict[str | None, gym.spaces.Box] = {
            key: each for key, each in space.spaces.items() if isinstance(each, gym.spaces.Box)
        }
        if not arrays or self.key not in (None, *arrays):
            hint = closest(str(self.key), [str(key) for key in arrays])
            raise PerturbationError(f"{self.name}: the observation has no array {self.key!r}{hint}")
        return arrays if self.key is None else {self.key: arrays[self.key]}

    def perturb_observation(
        self, observation: Any, space: gym.Space[Any], generator: np.random.Generator
    ) -> tuple[Any, float]:
        """Return the perturbed observation, a new object, and the mean absolute difference.

        Raises:
            PerturbationError: the observation has another shape than the space says.
        """
        boxes = self.boxes(space)
        if None not in boxes and not isinstance(observation, Mapping):
            raise PerturbationError(
                f"{self.name}: expected a dict, as the observation space says, got {type(observation).__name__}"
            )
        entries = {None: observation} if None in boxes else dict(observation)
        differences = []
        for key, box in boxes.items():
            values = self._values(entries, key, box)
            entries[key] = _fitted(self.perturb_values(values, box, generator), box)
            differences.append(np.abs(np.asarray(entries[key], float) - values).ravel())
        return entries[None] if None in boxes else entries, float(np.concatenate(differences).mean())

    def _values(self, entries: Any, key: str | None, box: gym.spaces.Box) -> NDArray[np.float64]:
        """Return an array of an observation as floats, after checking that it has the shape of its space."""
        where = "the observation" if key is None else f"the entry {key!r} of the observation"
        if key not in entries:
            raise PerturbationError(f"{self.name}: expected {where}, as the observation space says, got none")
        try:
            values = np.array(entries[key], float)
        except (TypeError, ValueError) as error:  # None, text, or rows of several lengths
            raise PerturbationError(
                f"{self.name}: expected {where} to be an array of numbers, as the observation space says, got "
                f"{type(entries[key]).__name__}"
            ) from error
        if values.shape != box.shape:
            raise PerturbationError(
                f"{self.name}: expected {where} to have the shape {box.shape}, as the observation space says, got "
                f"{values.shape}; pad it to one shape with a wrapper of the environment, or perturb actions instead"
            )
        return values


def is_image(space: gym.Space[Any]) -> bool:
    """Return whether a space is one of images: ``uint8`` from 0 to 255, with two or more dimensions."""
    return isinstance(space, gym.spaces.Box) and space.dtype == np.uint8 and len(space.shape) >= 2


def observation_unit(boxes: dict[str | None, gym.spaces.Box]) -> str:
    """Return the unit of differences of observations: grey levels if all are images."""
    return "grey levels" if all(is_image(box) for box in boxes.values()) else "units of the observation"


def _fitted(values: NDArray[Any], box: gym.spaces.Box) -> NDArray[Any]:
    if np.issubdtype(box.dtype, np.integer):
        values = np.rint(values)
    return np.asarray(np.clip(values, box.low, box.high), box.dtype)
