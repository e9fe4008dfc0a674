"""The Lie groups that act on worlds: one place for all group arithmetic.

An element of a group is an array whose last axis holds its coordinates; every leading axis is a batch. The functions
take NumPy arrays and torch tensors alike and return what they were given.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

Array = TypeVar("Array", np.ndarray[Any, Any], "torch.Tensor")


class GroupError(ValueError):
    """An array is not an element of the group it was given to."""


class Group(ABC):
    """A Lie group with a left action on itself.

    Attributes:
        name: what encoders write in their card and `group_from_name` reads back, such as ``"R2"``.
        dim: number of coordinates of one element.
    """

    name: str
    dim: int

    @abstractmethod
    def identity(self) -> np.ndarray[Any, Any]:
        """The neutral element, shape ``(dim,)``."""

    @abstractmethod
    def compose(self, g: Array, h: Array) -> Array:
        """The product ``g·h``, elementwise over the batch."""

    @abstractmethod
    def inverse(self, g: Array) -> Array:
        """The element with ``g·g⁻¹ = 1``."""

    @abstractmethod
    def exp(self, tangent: Array) -> Array:
        """The element reached from the identity along a tangent vector in unit time."""

    @abstractmethod
    def log(self, g: Array) -> Array:
        """A tangent vector at the identity with ``exp(log(g)) = g``."""

    @abstractmethod
    def squared_distance(self, g: Array, h: Array) -> Array:
        """``d_G(g, h)²``, invariant under left translation; shape of the batch."""

    def validate(self, g: np.ndarray[Any, Any], what: str = "action") -> np.ndarray[Any, Any]:
        """Return ``g`` as an array if it is a finite batch of elements, else raise.

        Args:
            g: array of shape ``(..., dim)``.
            what: what the array is called in the message.

        Raises:
            GroupError: wrong last axis, or a NaN or infinite coordinate.
        """
        g = np.asarray(g)
        if g.ndim == 0 or g.shape[-1] != self.dim:
            raise GroupError(f"{what} must have shape (..., {self.dim}) to be an element of {self.name}, got {g.shape}")
        if not np.isfinite(g).all():
            raise GroupError(f"{what} must be finite to be an element of {self.name}, got {g[~np.isfinite(g)][0]}")
        return g


@dataclass(frozen=True)
class Translations(Group):
    """The translations of ``R^n``, written additively.

    >>> plane = Translations(2)
    >>> plane.compose(np.array([1.0, 2.0]), plane.inverse(np.array([1.0, 0.0]))).tolist()
    [0.0, 2.0]
    """

    dim: int

    @property
    def name(self) -> str:  # type: ignore[override]
        """``"R<dim>"``."""
        return f"R{self.dim}"

    def identity(self) -> np.ndarray[Any, Any]:
        return np.zeros(self.dim)

    def compose(self, g: Array, h: Array) -> Array:
        product: Array = g + h
        return product

    def inverse(self, g: Array) -> Array:
        return -g

    def exp(self, tangent: Array) -> Array:
        return tangent

    def log(self, g: Array) -> Array:
        return g

    def squared_distance(self, g: Array, h: Array) -> Array:
        squared: Array = ((g - h) ** 2).sum(-1)
        return squared


def group_from_name(name: str) -> Group:
    """The group that calls itself ``name``.

    Raises:
        GroupError: no group has that name.

    >>> group_from_name("R2")
    Translations(dim=2)
    """
    match = re.fullmatch(r"R([1-9]\d*)", name)
    if match is None:
        raise GroupError(f"unknown group {name!r}; known are R1, R2, R3, … (translations)")
    return Translations(int(match.group(1)))
