"""The translation groups ``R^n``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .array_ops import affine_matrix, homogeneous_matrix, identity_like, join
from .group import Array, Group, GroupError
from .registry import register_group


@register_group("R<n>")
@dataclass(frozen=True)
class Translations(Group):
    """The translations of ``R^n``: ``g·h = g + h``.

    An element is a vector ``(..., n)``, and so is a tangent vector. The distance is Euclidean.

    Args:
        dim: ``n``.

    >>> plane = Translations(2)
    >>> plane.compose(np.array([1.0, 2.0]), plane.inverse(np.array([1.0, 0.0]))).tolist()
    [0.0, 2.0]
    """

    dim: int

    @property
    def name(self) -> str:  # type: ignore[override]
        """``"R<dim>"``."""
        return f"R{self.dim}"

    @property
    def tangent_dim(self) -> int:  # type: ignore[override]
        """``n``."""
        return self.dim

    @property
    def is_translation_group(self) -> bool:
        """True."""
        return True

    def identity(self) -> np.ndarray[Any, Any]:
        """Return the zero vector."""
        return np.zeros(self.dim)

    def compose(self, g: Array, h: Array) -> Array:
        """Return ``g + h``."""
        product: Array = g + h
        return product

    def inverse(self, g: Array) -> Array:
        """Return ``−g``."""
        return -g

    def exp(self, tangent: Array) -> Array:
        """Return the vector itself."""
        self.require_tangent(tangent)
        return tangent

    def log(self, g: Array) -> Array:
        """Return the vector itself."""
        return g

    def embed(self, g: Array) -> Array:
        """Return the vector itself."""
        return g

    def project(self, raw: Array) -> Array:
        """Return the vector itself: every vector is an element."""
        return raw

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        """Return standard normal vectors ``(count, n)``."""
        return generator.normal(size=(count, self.dim))

    def representation(self, g: Array) -> Array:
        """Return the matrices ``[[1, g], [0, 1]]`` on homogeneous coordinates, ``(..., n + 1, n + 1)``."""
        return homogeneous_matrix(identity_like(g, self.dim), g)

    def euclidean_action(self, g: Array) -> Array:
        """Return ``[1 | t]`` with ``t = (g, 0, …)``, ``(..., 3, 4)``.

        Raises:
            GroupError: ``n`` is larger than 3.
        """
        if self.dim > 3:
            raise GroupError(f"{self.name} does not act on points of space; choose R1, R2 or R3")
        return affine_matrix(identity_like(g, 3), join(g, 0 * identity_like(g, 3)[..., 0, : 3 - self.dim]))
