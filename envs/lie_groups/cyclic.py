"""The cyclic groups: finitely many rotations of the plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .array_ops import library_of
from .group import Array, Group
from .registry import register_group
from .rotations import SO2

if TYPE_CHECKING:
    import torch


@register_group("C<n>")
@dataclass(frozen=True)
class Cyclic(SO2):
    """The cyclic group ``C_n`` of rotations by multiples of ``2π / n``, a subgroup of ``SO(2)``.

    `exp` returns the element nearest to the angle. `project` maps a network's output to all of ``SO(2)``: an encoded
    pose is then defined up to a rotation from the right, and only relative poses are elements of the group.

    Args:
        order: ``n``, the number of elements.
    """

    order: int

    condition = "its angle must be a multiple of the full turn over the group's order"

    @property
    def name(self) -> str:  # type: ignore[override]
        """``"C<order>"``."""
        return f"C{self.order}"

    @property
    def is_rotation_group(self) -> bool:
        """False: encoded poses are not elements of the group, so that a planned action may not be performed."""
        return False

    def exp(self, tangent: Array) -> Array:
        """Return ``(cos, sin)`` of the multiple of ``2π / n`` that is nearest to the angle."""
        step = 2 * np.pi / self.order
        nearest: Array = library_of(tangent).round(tangent / step) * step
        return super().exp(nearest)

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        """Return elements drawn uniformly, ``(count, 2)``."""
        return self.exp(2 * np.pi / self.order * generator.integers(self.order, size=(count, 1)))

    def grid(self, count: int) -> np.ndarray[Any, Any]:
        """Raise `GroupError`: the group is finite, and is not covered by grids of any size."""
        return Group.grid(self, count)

    def harmonic_matrices(self, g: torch.Tensor, degree: int) -> list[torch.Tensor]:
        """Raise `GroupError`: harmonics are implemented for the full rotation groups."""
        return Group.harmonic_matrices(self, g, degree)

    def harmonic_dims(self, degree: int) -> list[int]:
        """Raise `GroupError`: harmonics are implemented for the full rotation groups."""
        return Group.harmonic_dims(self, degree)

    def violation(self, g: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the largest absolute difference from the nearest element's coordinates."""
        return np.asarray(np.abs(g - self.exp(self.log(g))).max(-1))
