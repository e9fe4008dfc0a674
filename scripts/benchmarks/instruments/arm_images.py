"""A two-joint arm seen by a camera, whose actions have unknown units: data for the estimation of periods."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ArmTrajectory:
    """A trajectory of an arm with two joints that turn without limits.

    Attributes:
        frames: ``(T, 32, 32, 3)`` uint8.
        actions: ``(T - 1, 2)`` performed displacements, in unknown units: ``units @ change of angles``.
        units: ``(2, 2)`` ground truth, for evaluation only; the periods are ``2π · units``.
    """

    frames: NDArray[np.uint8]
    actions: NDArray[np.float64]
    units: NDArray[np.float64]

    @property
    def periods(self) -> NDArray[np.float64]:
        """Return the ground truth of the periods, ``(2, 2)``, as columns."""
        return 2 * np.pi * self.units


def arm_trajectory(steps: int, seed: int, units_seed: int = 0) -> ArmTrajectory:
    """Return a trajectory with random changes of both joint angles, uniform in ±2 rad.

    Args:
        steps: number of steps.
        seed: seed of the actions.
        units_seed: seed of the units, a random matrix with a condition number of at most 5.
    """
    generator = np.random.default_rng(seed)
    turns = generator.uniform(-2, 2, (steps, 2))
    angles = generator.uniform(-np.pi, np.pi, 2) + np.concatenate([np.zeros((1, 2)), np.cumsum(turns, 0)])
    units = _random_units(np.random.default_rng(units_seed))
    return ArmTrajectory(render_arm(angles), turns @ units.T, units)


def render_arm(angles: NDArray[np.float64], resolution: int = 32) -> NDArray[np.uint8]:
    """Return images ``(T, resolution, resolution, 3)`` of arms: a red upper arm, a green forearm, a blue hand.

    Args:
        angles: ``(T, 2)`` in radians; the second is relative to the upper arm.
        resolution: height and width.
    """
    axis = np.linspace(-1, 1, resolution)
    pixels = np.stack(np.meshgrid(axis, axis), -1)[None]
    elbow = 0.45 * _direction(angles[:, 0])
    hand = elbow + 0.4 * _direction(angles.sum(1))
    upper, fore = _distance(pixels, 0 * elbow, elbow), _distance(pixels, elbow, hand)
    tip = _distance(pixels, hand, hand + 1e-9)
    cover = [
        np.clip((width - distance) * resolution / 2 + 0.5, 0, 1)
        for distance, width in ((upper, 0.11), (fore, 0.09), (tip, 0.14))
    ]
    return np.asarray(np.rint(255 * np.stack(cover, -1)), np.uint8)


def _direction(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def _distance(pixels: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distances ``(T, height, width)`` of pixels to segments ``(T, 2)``."""
    along, offset = (end - start)[:, None, None], pixels - start[:, None, None]
    share = np.clip((offset * along).sum(-1) / (along**2).sum(-1), 0, 1)
    return np.asarray(np.linalg.norm(offset - share[..., None] * along, axis=-1))


def _random_units(generator: np.random.Generator) -> NDArray[np.float64]:
    while True:
        units = generator.normal(size=(2, 2))
        if np.linalg.cond(units) < 5:
            return np.asarray(units)
