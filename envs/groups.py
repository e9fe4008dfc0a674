"""The groups that act on worlds: one place for all group arithmetic.

An element of a group is an array whose last axis holds its coordinates; every leading axis is a batch. The functions
take NumPy arrays and torch tensors alike, on any device, and return what they were given. Rotations are given by
matrices or by cosine and sine, which no path through the group makes jump; angles and rotation vectors, which do jump,
are tangents alone.
"""

from __future__ import annotations

import itertools
import re
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

Array = TypeVar("Array", np.ndarray[Any, Any], "torch.Tensor")

TOLERANCE = 1e-4
"""How far coordinates may be from an element's, in validation."""


class GroupError(ValueError):
    """An array is not an element of the group it was given to."""


class Group(ABC):
    """A group that acts on itself from the left.

    Attributes:
        name: what encoders write in their card and `group_from_name` reads back, such as ``"R2"``.
        dim: number of coordinates of one element.
        tangent_dim: number of coordinates of a tangent vector at the identity.
        raw_dim: how many numbers `project` makes an element of.
    """

    name: str
    dim: int
    tangent_dim: int
    raw_dim: int

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
        """The element reached from the identity along a tangent vector ``(..., tangent_dim)`` in unit time."""

    @abstractmethod
    def log(self, g: Array) -> Array:
        """A tangent vector at the identity with ``exp(log(g)) = g``, ``(..., tangent_dim)``."""

    @abstractmethod
    def embed(self, g: Array) -> Array:
        """Coordinates ``(..., k)`` in which the distance ``d_G`` is Euclidean."""

    def squared_distance(self, g: Array, h: Array) -> Array:
        """``d_G(g, h)²``, invariant under left translation; shape of the batch."""
        squared: Array = ((self.embed(g) - self.embed(h)) ** 2).sum(-1)
        return squared

    @abstractmethod
    def project(self, raw: Array) -> Array:
        """Elements from any numbers ``(..., raw_dim)``, such as a network's output, onto the whole group.

        Continuous wherever it is defined, which is everywhere but on a set of measure zero, and with finite gradients.
        """

    @abstractmethod
    def random(self, generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        """Random elements ``(count, dim)``: uniform where the group is compact, standard normal elsewhere."""

    def validate(self, g: np.ndarray[Any, Any], what: str = "action") -> np.ndarray[Any, Any]:
        """Return ``g`` as an array if it is a batch of elements, else raise.

        Args:
            g: array of shape ``(..., dim)``.
            what: what the array is called in the message.

        Raises:
            GroupError: wrong last axis, a NaN or infinite coordinate, or coordinates that no element has.
        """
        g = np.asarray(g)
        if g.ndim == 0 or g.shape[-1] != self.dim:
            raise GroupError(f"{what} must have shape (..., {self.dim}) to be an element of {self.name}, got {g.shape}")
        if not np.isfinite(g).all():
            raise GroupError(f"{what} must be finite to be an element of {self.name}, got {g[~np.isfinite(g)][0]}")
        off = self.off(g)
        if (off > TOLERANCE).any():
            worst = g.reshape(-1, self.dim)[off.argmax()]
            raise GroupError(f"{what} {np.round(worst, 4).tolist()} is no element of {self.name}: {self.condition}")
        return g

    condition: str = ""
    """What coordinates must satisfy, in words."""

    def off(self, g: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """By how much coordinates miss what those of an element satisfy; shape of the batch."""
        return np.zeros(g.shape[:-1])


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

    @property
    def raw_dim(self) -> int:  # type: ignore[override]
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
class PlaneRotations(Group):
    """SO(2), the rotations of the plane: coordinates ``(cos, sin)``, tangents are angles in radians.

    The distance is the squared Frobenius norm of the difference of matrices, ``4 − 4 cos`` of the angle between.

    >>> turns = PlaneRotations()
    >>> np.round(turns.log(turns.compose(turns.exp(np.array([3.0])), turns.exp(np.array([3.0])))), 3).tolist()
    [-0.283]
    """

    name = "SO2"
    dim, tangent_dim, raw_dim = 2, 1, 2
    condition = "cos² + sin² must be 1"

    def identity(self) -> np.ndarray[Any, Any]:
        return np.array([1.0, 0.0])

    def compose(self, g: Array, h: Array) -> Array:
        (a, b), (c, d) = _split(g), _split(h)
        return _stack(a * c - b * d, a * d + b * c)

    def inverse(self, g: Array) -> Array:
        cos, sin = _split(g)
        return _stack(cos, -sin)

    def exp(self, tangent: Array) -> Array:
        xp, angle = _module(tangent), tangent[..., 0]
        cos: Array = xp.cos(angle)
        sin: Array = xp.sin(angle)
        return _stack(cos, sin)

    def log(self, g: Array) -> Array:
        cos, sin = _split(g)
        angle: Array = _module(g).arctan2(sin, cos)[..., None]
        return angle

    def embed(self, g: Array) -> Array:
        return 2**0.5 * g

    def project(self, raw: Array) -> Array:
        return _unit(raw)

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        return self.exp(generator.uniform(-np.pi, np.pi, (count, 1)))

    def off(self, g: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(np.abs((g**2).sum(-1) - 1))


@dataclass(frozen=True)
class Cyclic(PlaneRotations):
    """The finite cyclic group of rotations by multiples of ``2π / order``, within SO(2).

    A network's output is projected onto all of SO(2): the elements are where training should bring it. `exp` goes to
    the element nearest to the angle.
    """

    order: int

    condition = "its angle must be a multiple of the full turn over the group's order"

    @property
    def name(self) -> str:  # type: ignore[override]
        """``"C<order>"``."""
        return f"C{self.order}"

    def exp(self, tangent: Array) -> Array:
        step = 2 * np.pi / self.order
        nearest: Array = _module(tangent).round(tangent / step) * step
        return super().exp(nearest)

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        return self.exp(2 * np.pi / self.order * generator.integers(self.order, size=(count, 1)))

    def off(self, g: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(np.abs(g - self.exp(self.log(g))).max(-1))


@dataclass(frozen=True)
class SpaceRotations(Group):
    """SO(3), the rotations of space: coordinates are a matrix row by row, tangents are rotation vectors in radians.

    The distance is the squared Frobenius norm of the difference of matrices. `project` makes a matrix of two columns by
    Gram and Schmidt, which is continuous (Zhou et al., *On the continuity of rotation representations in neural
    networks*, CVPR 2019). Rotation vectors are RoMa's (Brégier, *Deep regression on manifolds*, 3DV 2021).
    """

    name = "SO3"
    dim, tangent_dim, raw_dim = 9, 3, 6
    condition = "its matrix must be orthogonal with determinant 1"

    def identity(self) -> np.ndarray[Any, Any]:
        return np.eye(3).reshape(9)

    def compose(self, g: Array, h: Array) -> Array:
        return _flat(_matrix(g) @ _matrix(h))

    def inverse(self, g: Array) -> Array:
        return _flat(_matrix(g).swapaxes(-1, -2))

    def exp(self, tangent: Array) -> Array:
        import roma

        return _in_torch(lambda t: roma.rotvec_to_rotmat(t).flatten(-2), tangent)

    def log(self, g: Array) -> Array:
        import roma

        return _in_torch(lambda t: roma.rotmat_to_rotvec(t.unflatten(-1, (3, 3))), g)

    def embed(self, g: Array) -> Array:
        return g

    def project(self, raw: Array) -> Array:
        first = _unit(raw[..., :3])
        second = raw[..., 3:]
        second = _unit(second - (first * second).sum(-1)[..., None] * first)
        third = _module(raw).linalg.cross(first, second)
        columns: Array = _module(raw).stack((first, second, third), -1)
        return _flat(columns)

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        from scipy.spatial.transform import Rotation

        return np.asarray(Rotation.random(count, rng=generator).as_matrix().reshape(count, 9))

    def off(self, g: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        matrix = _matrix(g)
        gram = np.abs(matrix @ matrix.swapaxes(-1, -2) - np.eye(3)).max((-1, -2))
        return np.asarray(np.maximum(gram, np.abs(np.linalg.det(matrix) - 1)))


@dataclass(frozen=True)
class PlaneMotions(Group):
    """SE(2), the rigid motions of the plane: coordinates ``(x, y, cos, sin)``, tangents ``(vx, vy, angle)``.

    ``g·h`` first applies ``h``, then ``g``: for a robot whose pose is ``g``, ``g·h`` is its pose after the motion ``h``
    in its own frame, and ``h·g`` after the motion ``h`` in the world's.
    """

    name = "SE2"
    dim, tangent_dim, raw_dim = 4, 3, 4
    condition = "cos² + sin² must be 1"

    def identity(self) -> np.ndarray[Any, Any]:
        return np.array([0.0, 0.0, 1.0, 0.0])

    def compose(self, g: Array, h: Array) -> Array:
        turns = PlaneRotations()
        return _join(g[..., :2] + turns.compose(g[..., 2:], h[..., :2]), turns.compose(g[..., 2:], h[..., 2:]))

    def inverse(self, g: Array) -> Array:
        turns = PlaneRotations()
        back = turns.inverse(g[..., 2:])
        return _join(-turns.compose(back, g[..., :2]), back)

    def exp(self, tangent: Array) -> Array:
        xp, angle = _module(tangent), tangent[..., 2]
        along: Array = xp.sinc(angle / np.pi)
        across: Array = angle / 2 * xp.sinc(angle / (2 * np.pi)) ** 2
        turns = PlaneRotations()
        return _join(turns.compose(_stack(along, across), tangent[..., :2]), turns.exp(tangent[..., 2:]))

    def log(self, g: Array) -> Array:
        xp, turns = _module(g), PlaneRotations()
        angle = turns.log(g[..., 2:])
        half = angle[..., 0] / 2
        stretched: Array = xp.cos(half) / xp.sinc(half / np.pi)
        back = _stack(stretched, -half)
        return _join(turns.compose(back, g[..., :2]), angle)

    def embed(self, g: Array) -> Array:
        return _join(g[..., :2], PlaneRotations().embed(g[..., 2:]))

    def project(self, raw: Array) -> Array:
        return _join(raw[..., :2], _unit(raw[..., 2:]))

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        return np.concatenate([generator.normal(size=(count, 2)), PlaneRotations().random(generator, count)], -1)

    def off(self, g: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(np.abs((g[..., 2:] ** 2).sum(-1) - 1))


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
    def raw_dim(self) -> int:  # type: ignore[override]
        return sum(factor.raw_dim for factor in self.factors)

    @property
    def condition(self) -> str:  # type: ignore[override]
        """Those of the factors."""
        return "; ".join(f"{factor.name}: {factor.condition}" for factor in self.factors if factor.condition)

    def identity(self) -> np.ndarray[Any, Any]:
        return np.concatenate([factor.identity() for factor in self.factors])

    def compose(self, g: Array, h: Array) -> Array:
        parts = zip(self.factors, self.parts(g), self.parts(h), strict=True)
        return _join(*(factor.compose(a, b) for factor, a, b in parts))

    def inverse(self, g: Array) -> Array:
        return _join(*(factor.inverse(part) for factor, part in zip(self.factors, self.parts(g), strict=True)))

    def exp(self, tangent: Array) -> Array:
        parts = _cut(tangent, [factor.tangent_dim for factor in self.factors])
        return _join(*(factor.exp(part) for factor, part in zip(self.factors, parts, strict=True)))

    def log(self, g: Array) -> Array:
        return _join(*(factor.log(part) for factor, part in zip(self.factors, self.parts(g), strict=True)))

    def embed(self, g: Array) -> Array:
        return _join(*(factor.embed(part) for factor, part in zip(self.factors, self.parts(g), strict=True)))

    def project(self, raw: Array) -> Array:
        parts = _cut(raw, [factor.raw_dim for factor in self.factors])
        return _join(*(factor.project(part) for factor, part in zip(self.factors, parts, strict=True)))

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        return np.concatenate([factor.random(generator, count) for factor in self.factors], -1)

    def off(self, g: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        offs = [factor.off(part) for factor, part in zip(self.factors, self.parts(g), strict=True)]
        return np.asarray(np.max(offs, axis=0))

    def parts(self, g: Array) -> list[Array]:
        """The coordinates of each factor."""
        return _cut(g, [factor.dim for factor in self.factors])


NAMED: dict[str, Group] = {"SO2": PlaneRotations(), "SO3": SpaceRotations(), "SE2": PlaneMotions()}
"""Groups that have one name; a new one is a class and a line here."""


def group_from_name(name: str) -> Group:
    """The group that calls itself ``name``: R1, R2, …, SO2, SO3, SE2, C2, C3, …, and products such as R2xSO2.

    Raises:
        GroupError: no group has that name.

    >>> group_from_name("R2")
    Translations(dim=2)
    """
    parts = name.split("x")
    if len(parts) > 1:
        return Product(tuple(group_from_name(part) for part in parts))
    if name in NAMED:
        return NAMED[name]
    match = re.fullmatch(r"([RC])([1-9]\d*)", name)
    if match is None:
        known = ", ".join(["R1, R2, R3, … (translations)", *NAMED, "C2, C3, … (cyclic)", "products such as R2xSO2"])
        raise GroupError(f"unknown group {name!r}; known are {known}")
    return Translations(int(match[2])) if match[1] == "R" else Cyclic(int(match[2]))


def _module(array: Any) -> Any:
    """NumPy or torch; torch is not imported for the sake of NumPy arrays."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(array, torch.Tensor) else np


def _in_torch(function: Any, array: Array) -> Array:
    """A function of tensors, of either kind of array."""
    import torch

    given: Any = array
    result: Array = function(given) if isinstance(given, torch.Tensor) else function(torch.tensor(given)).numpy()
    return result


def _split(g: Array) -> tuple[Array, Array]:
    return g[..., 0], g[..., 1]


def _stack(a: Array, b: Array) -> Array:
    stacked: Array = _module(a).stack((a, b), -1)
    return stacked


def _join(*parts: Array) -> Array:
    """Coordinates one after another, the batches broadcast."""
    given: tuple[Any, ...] = parts
    batches: list[tuple[int, ...]] = [tuple(part.shape[:-1]) for part in given]
    batch: tuple[int, ...] = np.broadcast_shapes(*batches)
    xp = _module(parts[0])
    joined: Array = xp.concatenate([xp.broadcast_to(part, (*batch, part.shape[-1])) for part in given], -1)
    return joined


def _cut(array: Array, sizes: list[int]) -> list[Array]:
    ends = list(itertools.accumulate(sizes))
    return [array[..., end - size : end] for size, end in zip(sizes, ends, strict=True)]


def _unit(vectors: Array) -> Array:
    """Vectors of length 1; the bound keeps gradients finite near zero, where there is no direction."""
    squared = (vectors**2).sum(-1)[..., None]
    unit: Array = vectors / (squared + 1e-12) ** 0.5
    return unit


def _matrix(g: Array) -> Array:
    given: Any = g
    matrix: Array = given.reshape(*given.shape[:-1], 3, 3)
    return matrix


def _flat(matrix: Array) -> Array:
    flat: Array = matrix.reshape(*matrix.shape[:-2], 9)
    return flat
