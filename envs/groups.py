"""The groups that act on worlds: one place for all group arithmetic.

An element of a group is an array whose last axis holds its coordinates; every leading axis is a batch. The functions
take NumPy arrays and torch tensors alike, on any device, and return what they were given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.group import TOLERANCE, Array, Group, GroupError, cut, join
from envs.rotations import Cyclic, PlaneMotions, PlaneRotations, SpaceRotations

__all__ = [
    "NAMED",
    "TOLERANCE",
    "Cyclic",
    "Group",
    "GroupError",
    "PlaneMotions",
    "PlaneRotations",
    "Product",
    "SpaceRotations",
    "Translations",
    "factors",
    "group_from_name",
    "is_torus",
]


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

    @property
    def tangent_dim(self) -> int:  # type: ignore[override]
        return self.dim

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

    def embed(self, g: Array) -> Array:
        return g

    def project(self, raw: Array) -> Array:
        return raw

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        return generator.normal(size=(count, self.dim))


@dataclass(frozen=True)
class Product(Group):
    """A product of groups: coordinates one after another, squared distances added. ``SO2xSO2`` is the torus.

    >>> group_from_name("R2xSO2").dim
    4
    """

    factors: tuple[Group, ...]

    @property
    def name(self) -> str:  # type: ignore[override]
        """The names of the factors, joined by an x."""
        return "x".join(factor.name for factor in self.factors)

    @property
    def dim(self) -> int:  # type: ignore[override]
        return sum(factor.dim for factor in self.factors)

    @property
    def tangent_dim(self) -> int:  # type: ignore[override]
        return sum(factor.tangent_dim for factor in self.factors)

    @property
    def condition(self) -> str:  # type: ignore[override]
        """Those of the factors."""
        return "; ".join(f"{factor.name}: {factor.condition}" for factor in self.factors if factor.condition)

    def identity(self) -> np.ndarray[Any, Any]:
        return np.concatenate([factor.identity() for factor in self.factors])

    def compose(self, g: Array, h: Array) -> Array:
        parts = zip(self.factors, self.parts(g), self.parts(h), strict=True)
        return join(*(factor.compose(a, b) for factor, a, b in parts))

    def inverse(self, g: Array) -> Array:
        return join(*(factor.inverse(part) for factor, part in zip(self.factors, self.parts(g), strict=True)))

    def exp(self, tangent: Array) -> Array:
        parts = cut(tangent, [factor.tangent_dim for factor in self.factors])
        return join(*(factor.exp(part) for factor, part in zip(self.factors, parts, strict=True)))

    def log(self, g: Array) -> Array:
        return join(*(factor.log(part) for factor, part in zip(self.factors, self.parts(g), strict=True)))

    def embed(self, g: Array) -> Array:
        return join(*(factor.embed(part) for factor, part in zip(self.factors, self.parts(g), strict=True)))

    def project(self, raw: Array) -> Array:
        return join(*(factor.project(part) for factor, part in zip(self.factors, self.parts(raw), strict=True)))

    def relax(self, raw: Array) -> Array:
        return join(*(factor.relax(part) for factor, part in zip(self.factors, self.parts(raw), strict=True)))

    def strain(self, relaxed: Array) -> Array:
        parts = zip(self.factors, self.parts(relaxed), strict=True)
        strain: Array = sum(factor.strain(part) for factor, part in parts)  # type: ignore[assignment]
        return strain

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        return np.concatenate([factor.random(generator, count) for factor in self.factors], -1)

    def off(self, g: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        offs = [factor.off(part) for factor, part in zip(self.factors, self.parts(g), strict=True)]
        return np.asarray(np.max(offs, axis=0))

    def parts(self, g: Array) -> list[Array]:
        """The coordinates of each factor."""
        return cut(g, [factor.dim for factor in self.factors])


NAMED: dict[str, Group] = {"SO2": PlaneRotations(), "SO3": SpaceRotations(), "SE2": PlaneMotions()}
"""Groups that have one name; a new one is a class and a line here."""


def factors(group: Group) -> tuple[Group, ...]:
    """What a product is made of; of any other group, itself."""
    return group.factors if isinstance(group, Product) else (group,)


def is_torus(group: Group) -> bool:
    """Whether elements are angles, one or several: circles, tori, and the finite groups in them.

    >>> is_torus(group_from_name("SO2xSO2")), is_torus(group_from_name("SO2xR1"))
    (True, False)
    """
    return all(isinstance(factor, PlaneRotations) for factor in factors(group))


def group_from_name(name: str) -> Group:
    """The group that calls itself ``name``: R1, R2, …, SO2, SO3, SE2, C2, C3, …, and products such as R2xSO2.

    Raises:
        GroupError: no group has that name.

    >>> group_from_name("R2")
    Translations(dim=2)
    """
    if name in NAMED:
        return NAMED[name]
    parts = name.split("x")
    if len(parts) > 1:
        return Product(tuple(group_from_name(part) for part in parts))
    match = re.fullmatch(r"([RC])([1-9]\d*)", name)
    if match is None:
        known = ", ".join(["R1, R2, R3, … (translations)", *NAMED, "C2, C3, … (cyclic)", "products such as R2xSO2"])
        raise GroupError(f"unknown group {name!r}; known are {known}")
    return Translations(int(match[2])) if match[1] == "R" else Cyclic(int(match[2]))
