"""Errors of odometry: noise, a constant bias, and a bias that drifts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lie_groups.group import Group

Spread = float | Sequence[float] | NDArray[np.float64]
"""One number for all coordinates of a tangent vector, or one for each."""


class OdometryNoise:
    """Random errors of measured displacements.

    In step ``t`` of an episode the displacement ``d`` is measured as ``exp(b_t + ε_t)·d``, where

    - ``ε_t ~ N(0, noise²)`` is independent in each step and coordinate,
    - ``b_t = b_{t−1} + δ_t`` with ``δ_t ~ N(0, drift²)`` is the bias, and ``b_0 = bias`` at the start of an episode.

    All are tangent vectors of the group: metres and radians per step. With zeros, displacements are unchanged.

    Args:
        group: the group.
        noise: standard deviation of ``ε``, at least 0; one number, or ``tangent_dim`` of them.
        bias: the bias ``b_0``; one number, or ``tangent_dim`` of them.
        drift: standard deviation of ``δ``, at least 0; one number, or ``tangent_dim`` of them.

    Raises:
        ValueError: an argument is not finite, is negative, or has another shape.

    Example:
        >>> from equiact.envs.lie_groups.registry import group_from_name
        >>> errors = OdometryNoise(group_from_name("R2"), bias=[0.5, 0.0])
        >>> errors.start(np.random.default_rng(0))
        >>> errors.measure(np.zeros(2)).tolist()
        [0.5, 0.0]
    """

    def __init__(self, group: Group, *, noise: Spread = 0.0, bias: Spread = 0.0, drift: Spread = 0.0) -> None:
        self._group = group
        self._noise = _vector("noise", noise, group, at_least=0.0)
        self._first_bias = _vector("bias", bias, group, at_least=-np.inf)
        self._drift = _vector("drift", drift, group, at_least=0.0)
        self._bias = self._first_bias
        self._generator = np.random.default_rng()

    def start(self, generator: np.random.Generator) -> None:
        """Start an episode.

        Args:
            generator: source of the random numbers of this episode.
        """
        self._generator, self._bias = generator, self._first_bias

    def measure(self, displacement: NDArray[Any]) -> NDArray[Any]:
        """Return a displacement ``(dim,)`` with the errors of the next step."""
        if not (self._noise.any() or self._first_bias.any() or self._drift.any()):
            return displacement
        self._bias = self._bias + self._drift * self._generator.standard_normal(self._group.tangent_dim)
        error = self._bias + self._noise * self._generator.standard_normal(self._group.tangent_dim)
        return np.asarray(self._group.compose(self._group.exp(error), displacement))


def _vector(name: str, value: Spread, group: Group, at_least: float) -> NDArray[np.float64]:
    given = np.asarray(value, float)
    if given.shape not in ((), (group.tangent_dim,)) or not np.isfinite(given).all() or (given < at_least).any():
        bound = " of at least 0" if at_least == 0 else ""
        raise ValueError(
            f"{name} must be one finite number{bound}, or {group.tangent_dim} of them for the group {group.name} "
            f"(metres or radians per step), got {value!r}"
        )
    return np.broadcast_to(given, (group.tangent_dim,)).copy()
