"""The rigid motions of the plane, ``SE(2)``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .array_ops import homogeneous_matrix, join, library_of, stack, unit
from .group import Array, Group
from .registry import register_group
from .rotations import SO2


@register_group("SE2")
@dataclass(frozen=True)
class SE2(Group):
    """``SE(2)``, the rigid motions of the plane: coordinates ``(x, y, cos, sin)``, tangent vectors ``(vx, vy, angle)``.

    ``g·h`` applies ``h`` first, then ``g``. Let a robot have the pose ``g``: after a motion ``h`` in its own frame its
    pose is ``g·h``, after a motion ``h`` in the world frame it is ``h·g``. The squared distance is that of ``(x, y)``
    plus that of ``SO(2)``.
    """

    name = "SE2"
    dim, tangent_dim = 4, 3
    condition = "cos² + sin² must be 1"

    def identity(self) -> np.ndarray[Any, Any]:
        """Return ``(0, 0, 1, 0)``."""
        return np.array([0.0, 0.0, 1.0, 0.0])

    def compose(self, g: Array, h: Array) -> Array:
        """Return ``(t_g + R_g t_h, R_g R_h)``."""
        rotations = SO2()
        return join(g[..., :2] + rotations.compose(g[..., 2:], h[..., :2]), rotations.compose(g[..., 2:], h[..., 2:]))

    def inverse(self, g: Array) -> Array:
        """Return ``(−Rᵀ t, Rᵀ)``."""
        rotations = SO2()
        back = rotations.inverse(g[..., 2:])
        return join(-rotations.compose(back, g[..., :2]), back)

    def exp(self, tangent: Array) -> Array:
        """Return the motion along a circular arc with constant velocity ``(vx, vy, angle)`` for unit time."""
        self.require_tangent(tangent)
        xp, angle = library_of(tangent), tangent[..., 2]
        along: Array = xp.sinc(angle / np.pi)
        across: Array = angle / 2 * xp.sinc(angle / (2 * np.pi)) ** 2
        rotations = SO2()
        return join(rotations.compose(stack(along, across), tangent[..., :2]), rotations.exp(tangent[..., 2:]))

    def log(self, g: Array) -> Array:
        """Return the velocity ``(vx, vy, angle)`` of the arc, with the angle in [−π, π]."""
        xp, rotations = library_of(g), SO2()
        angle = rotations.log(g[..., 2:])
        half = angle[..., 0] / 2
        stretched: Array = xp.cos(half) / xp.sinc(half / np.pi)
        back = stack(stretched, -half)
        return join(rotations.compose(back, g[..., :2]), angle)

    def embed(self, g: Array) -> Array:
        """Return ``(x, y, √2 cos, √2 sin)``."""
        return join(g[..., :2], SO2().embed(g[..., 2:]))

    def project(self, raw: Array) -> Array:
        """Return ``raw`` with its last two coordinates normalised."""
        return join(raw[..., :2], unit(raw[..., 2:]))

    def relax(self, raw: Array) -> Array:
        """Return ``raw``: the constraint ``cos² + sin² = 1`` is dropped."""
        return raw

    def constraint_penalty(self, relaxed: Array) -> Array:
        """Return ``2 (cos² + sin² − 1)²``."""
        return SO2().constraint_penalty(relaxed[..., 2:])

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        """Return standard normal translations with uniform rotations, ``(count, 4)``."""
        return np.concatenate([generator.normal(size=(count, 2)), SO2().random(generator, count)], -1)

    def representation(self, g: Array) -> Array:
        """Return the matrices ``[[R, t], [0, 1]]`` on homogeneous coordinates, ``(..., 3, 3)``."""
        return homogeneous_matrix(SO2().representation(g[..., 2:]), g[..., :2])

    def violation(self, g: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return ``|cos² + sin² − 1|``."""
        return np.asarray(np.abs((g[..., 2:] ** 2).sum(-1) - 1))
