"""What a group is, and what its arithmetic is made of; the groups themselves are in `envs.groups`."""

from __future__ import annotations

import itertools
import sys
from abc import ABC, abstractmethod
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
    """

    name: str
    dim: int
    tangent_dim: int

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
        """Elements from any numbers ``(..., dim)``, such as a network's output, onto the whole group.

        Continuous wherever it is defined, which is everywhere but on a set of measure zero, and with finite gradients.
        """

    def relax(self, raw: Array) -> Array:
        """What training takes for an element while `strain` draws it to one: as it is here, one already.

        A group may leave out constraints as long as `compose` and `embed` still do for what is left: the action keeps
        distance and strain, and ``project(g·relax(raw)) = g·project(raw)``.
        """
        return self.project(raw)

    def strain(self, relaxed: Array) -> Array:
        """How far what `relax` returned is from an element: not at all here, where it is one; shape of the batch.

        Of columns ``V`` that ought to be orthonormal, ``w ‖VᵀV − 1‖²`` where the squared distance is ``w ‖V − V'‖²``.
        """
        zero: Array = 0 * relaxed[..., 0]
        return zero

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
            raise GroupError(
                f"{what} {np.round(worst, 4).tolist()} is no element of {self.name}: {self.condition}; "
                "make elements with the group's exp, or bring numbers onto it with its project"
            )
        return g

    condition: str = ""
    """What coordinates must satisfy, in words."""

    def off(self, g: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """By how much coordinates miss what those of an element satisfy; shape of the batch."""
        return np.zeros(g.shape[:-1])


def library_of(array: Any) -> Any:
    """NumPy or torch; torch is not imported for the sake of NumPy arrays."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(array, torch.Tensor) else np


def in_torch(function: Any, array: Array) -> Array:
    """A function of tensors, of either kind of array."""
    import torch

    given: Any = array
    result: Array = function(given) if isinstance(given, torch.Tensor) else function(torch.tensor(given)).numpy()
    return result


def split(g: Array) -> tuple[Array, Array]:
    """The first two coordinates."""
    return g[..., 0], g[..., 1]


def stack(a: Array, b: Array) -> Array:
    """Two coordinates side by side."""
    stacked: Array = library_of(a).stack((a, b), -1)
    return stacked


def join(*parts: Array) -> Array:
    """Coordinates one after another, the batches broadcast."""
    given: tuple[Any, ...] = parts
    batches: list[tuple[int, ...]] = [tuple(part.shape[:-1]) for part in given]
    batch: tuple[int, ...] = np.broadcast_shapes(*batches)
    xp = library_of(parts[0])
    joined: Array = xp.concatenate([xp.broadcast_to(part, (*batch, part.shape[-1])) for part in given], -1)
    return joined


def cut(array: Array, sizes: list[int]) -> list[Array]:
    """Coordinates in runs of these sizes; what `join` puts together."""
    ends = list(itertools.accumulate(sizes))
    return [array[..., end - size : end] for size, end in zip(sizes, ends, strict=True)]


def unit(vectors: Array) -> Array:
    """Vectors of length 1; the bound keeps gradients finite near zero, where there is no direction."""
    squared = (vectors**2).sum(-1)[..., None]
    unit: Array = vectors / (squared + 1e-12) ** 0.5
    return unit


def matrix_of(g: Array) -> Array:
    """Nine coordinates as a matrix of three rows."""
    given: Any = g
    matrix: Array = given.reshape(*given.shape[:-1], 3, 3)
    return matrix


def flat(matrix: Array) -> Array:
    """A matrix of three rows as nine coordinates; what `matrix_of` undoes."""
    flat: Array = matrix.reshape(*matrix.shape[:-2], 9)
    return flat
