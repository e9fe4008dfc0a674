"""Direct products of groups, such as the torus ``SO2xSO2``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .array_ops import block_diagonal, cut, join
from .group import Array, Group


@dataclass(frozen=True)
class Product(Group):
    """The direct product of groups, each acting on its own coordinates.

    Coordinates and tangent vectors of the factors are concatenated. Squared distances are added.

    Args:
        components: the factors, in order.

    Example:
        >>> from equiact.envs.lie_groups.registry import group_from_name
        >>> group_from_name("R2xSO2").dim
        4
    """

    components: tuple[Group, ...]

    @property
    def factors(self) -> tuple[Group, ...]:
        """The factors, in order."""
        return self.components

    @property
    def name(self) -> str:  # type: ignore[override]
        """Names of the factors, joined by ``x``."""
        return "x".join(factor.name for factor in self.components)

    @property
    def dim(self) -> int:  # type: ignore[override]
        """Sum of the dimensions of the factors."""
        return sum(factor.dim for factor in self.components)

    @property
    def tangent_dim(self) -> int:  # type: ignore[override]
        """Sum of the tangent dimensions of the factors."""
        return sum(factor.tangent_dim for factor in self.components)

    @property
    def condition(self) -> str:  # type: ignore[override]
        """Conditions of the factors."""
        return "; ".join(f"{factor.name}: {factor.condition}" for factor in self.components if factor.condition)

    @property
    def is_torus(self) -> bool:
        """Return whether every factor is a torus."""
        return all(factor.is_torus for factor in self.components)

    def identity(self) -> np.ndarray[Any, Any]:
        """Return the identities of the factors, concatenated."""
        return np.concatenate([factor.identity() for factor in self.components])

    def compose(self, g: Array, h: Array) -> Array:
        """Return ``(g₁·h₁, g₂·h₂, …)``."""
        parts = zip(self.components, self.parts(g), self.parts(h), strict=True)
        return join(*(factor.compose(a, b) for factor, a, b in parts))

    def inverse(self, g: Array) -> Array:
        """Return ``(g₁⁻¹, g₂⁻¹, …)``."""
        return join(*(factor.inverse(part) for factor, part in self._pairs(g)))

    def exp(self, tangent: Array) -> Array:
        """Return ``(exp t₁, exp t₂, …)``."""
        self.require_tangent(tangent)
        parts = cut(tangent, [factor.tangent_dim for factor in self.components])
        return join(*(factor.exp(part) for factor, part in zip(self.components, parts, strict=True)))

    def log(self, g: Array) -> Array:
        """Return ``(log g₁, log g₂, …)``."""
        return join(*(factor.log(part) for factor, part in self._pairs(g)))

    def embed(self, g: Array) -> Array:
        """Return the embeddings of the factors, concatenated."""
        return join(*(factor.embed(part) for factor, part in self._pairs(g)))

    def project(self, raw: Array) -> Array:
        """Return the projections of the factors, concatenated."""
        return join(*(factor.project(part) for factor, part in self._pairs(raw)))

    def relax(self, raw: Array) -> Array:
        """Return the relaxed elements of the factors, concatenated."""
        return join(*(factor.relax(part) for factor, part in self._pairs(raw)))

    def constraint_penalty(self, relaxed: Array) -> Array:
        """Return the sum of the penalties of the factors."""
        penalty: Array = sum(factor.constraint_penalty(part) for factor, part in self._pairs(relaxed))  # type: ignore[assignment]
        return penalty

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        """Return independent random elements of the factors, concatenated."""
        return np.concatenate([factor.random(generator, count) for factor in self.components], -1)

    def representation(self, g: Array) -> Array:
        """Return the direct sum of the representations of the factors: block-diagonal matrices.

        Raises:
            GroupError: a factor has no representation.
        """
        return block_diagonal([factor.representation(part) for factor, part in self._pairs(g)])

    def violation(self, g: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the largest violation among the factors."""
        return np.asarray(np.max([factor.violation(part) for factor, part in self._pairs(g)], axis=0))

    def parts(self, g: Array) -> list[Array]:
        """Return the coordinates of each factor."""
        return cut(g, [factor.dim for factor in self.components])

    def _pairs(self, g: Array) -> list[tuple[Group, Array]]:
        return list(zip(self.components, self.parts(g), strict=True))
