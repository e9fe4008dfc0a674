"""The interface of a group: composition, exponential map, distance, and its actions by matrices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

Array = TypeVar("Array", np.ndarray[Any, Any], "torch.Tensor")


class GroupError(ValueError):
    """An array is not an element of its group, a group name is unknown, or a group lacks an operation."""


class Group(ABC):
    """A group, acting on itself by multiplication from the left.

    An element is an array whose last axis holds ``dim`` coordinates. All leading axes are batch axes. Every method
    takes NumPy arrays and torch tensors, on any device, and returns the type that it was given.

    A new group implements the abstract methods. The methods `representation`, `euclidean_action`, `grid` and
    `harmonic_matrices` are optional: only some encoders need them, and they raise `GroupError` until they are
    overridden.

    Attributes:
        name: name of the group, which `group_from_name` reads back, such as ``"R2"``.
        dim: number of coordinates of an element.
        tangent_dim: number of coordinates of a tangent vector at the identity.
    """

    name: str
    dim: int
    tangent_dim: int
    condition: str = ""
    """Equation that the coordinates of an element satisfy, in words; empty if every array is an element."""
    tolerance: ClassVar[float] = 1e-4
    """Largest `violation` that `validate` accepts."""

    @abstractmethod
    def identity(self) -> np.ndarray[Any, Any]:
        """Return the identity element, shape ``(dim,)``."""

    @abstractmethod
    def compose(self, g: Array, h: Array) -> Array:
        """Return the product ``g·h`` of each pair of elements, shape ``(..., dim)``."""

    @abstractmethod
    def inverse(self, g: Array) -> Array:
        """Return the inverse ``g⁻¹``, shape ``(..., dim)``."""

    @abstractmethod
    def exp(self, tangent: Array) -> Array:
        """Return the exponential of tangent vectors ``(..., tangent_dim)``, shape ``(..., dim)``.

        Raises:
            GroupError: see `require_tangent`, which an implementation should call first.
        """

    @abstractmethod
    def log(self, g: Array) -> Array:
        """Return the shortest tangent vector with ``exp(log(g)) = g``, shape ``(..., tangent_dim)``."""

    @abstractmethod
    def embed(self, g: Array) -> Array:
        """Return coordinates ``(..., k)`` in which the distance of the group is Euclidean."""

    def squared_distance(self, g: Array, h: Array) -> Array:
        """Return ``‖embed(g) − embed(h)‖²``, invariant under ``g, h ↦ k·g, k·h``; shape of the batch."""
        squared: Array = ((self.embed(g) - self.embed(h)) ** 2).sum(-1)
        return squared

    @abstractmethod
    def project(self, raw: Array) -> Array:
        """Return elements made from arbitrary numbers ``(..., dim)``, such as a network's output.

        The map reaches every element. It is continuous except on a set of measure zero, and has finite gradients.
        """

    def relax(self, raw: Array) -> Array:
        """Return the training-time stand-in for `project`, shape ``(..., dim)``; here `project` itself.

        A group may drop constraints here and leave them to `constraint_penalty`, which is added to the loss. `compose`
        and `embed` must still preserve distance and penalty, and ``project(g·relax(raw)) = g·project(raw)``.
        """
        return self.project(raw)

    def constraint_penalty(self, relaxed: Array) -> Array:
        """Return the violation of the constraints that `relax` dropped; shape of the batch, zero for elements.

        For columns ``V`` that should be orthonormal it is ``w ‖VᵀV − 1‖²``, where the squared distance is
        ``w ‖V − V'‖²``.
        """
        zero: Array = 0 * relaxed[..., 0]
        return zero

    @abstractmethod
    def random(self, generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        """Return random elements ``(count, dim)``: uniform on compact groups, standard normal otherwise."""

    @property
    def factors(self) -> tuple[Group, ...]:
        """Factors of a product; any other group is its own only factor."""
        return (self,)

    def parts(self, g: Array) -> list[Array]:
        """Return the coordinates of elements, one array for each of the `factors`."""
        return [g]

    @property
    def is_torus(self) -> bool:
        """Return whether each factor is ``SO(2)`` or a subgroup of it, so that elements are angles."""
        return False

    @property
    def is_rotation_group(self) -> bool:
        """Return whether this is ``SO(2)`` or ``SO(3)``, where ``‖log(g)‖`` is the angle of rotation in radians."""
        return False

    @property
    def is_translation_group(self) -> bool:
        """Return whether this is ``R^n``, where coordinates are added."""
        return False

    def representation(self, g: Array) -> Array:
        """Return the matrices ``ρ(g)`` of the smallest faithful linear representation, ``(..., k, k)``.

        ``ρ(g·h) = ρ(g) ρ(h)``. Groups with translations act on homogeneous coordinates.

        Raises:
            GroupError: no representation is implemented for this group.
        """
        raise self._lacks("representation", "SO2, SO3, SE2, R<n>, C<n> and products of them")

    def euclidean_action(self, g: Array) -> Array:
        """Return the affine matrices ``[A | t]`` with ``g·p = A p + t`` for points ``p`` of space, ``(..., 3, 4)``.

        Raises:
            GroupError: no action on space is implemented for this group.
        """
        raise self._lacks("euclidean_action", "SO2, C<n> (about the third axis), SO3, R1, R2 and R3")

    def grid(self, count: int) -> np.ndarray[Any, Any]:
        """Return ``count`` elements that cover the group evenly, ``(count, dim)``.

        Raises:
            GroupError: no grid is implemented for this group.
        """
        raise self._lacks("grid", "SO2 and SO3")

    def harmonic_matrices(self, g: torch.Tensor, degree: int) -> list[torch.Tensor]:
        """Return the matrices ``D_l(g)`` of the real irreducible representations of degrees 1 to ``degree``.

        ``D_l(g·h) = D_l(g) D_l(h)``, each orthogonal and of shape ``(..., n, n)`` with ``n = harmonic_dims(degree)[l −
        1]``.

        Raises:
            GroupError: no harmonics are implemented for this group.
        """
        raise self._lacks("harmonic_matrices", "SO2 and SO3")

    def harmonic_dims(self, degree: int) -> list[int]:
        """Return the dimensions of the real irreducible representations of degrees 1 to ``degree``.

        Raises:
            GroupError: no harmonics are implemented for this group.
        """
        raise self._lacks("harmonic_dims", "SO2 and SO3")

    def require_tangent(self, tangent: Array) -> None:
        """Check that an array holds tangent vectors; that a tensor is finite is not checked, which would be slow.

        Raises:
            GroupError: the last axis has the wrong length, or a coordinate of a NumPy array is NaN or infinite.
        """
        given: Any = tangent
        if given.ndim == 0 or given.shape[-1] != self.tangent_dim:
            raise GroupError(
                f"tangent vectors of {self.name} must have shape (..., {self.tangent_dim}), got {tuple(given.shape)}"
            )
        if isinstance(given, np.ndarray) and not np.isfinite(given).all():
            raise GroupError(f"tangent vectors of {self.name} must be finite, got {given[~np.isfinite(given)][0]}")

    def _lacks(self, method: str, known: str) -> GroupError:
        return GroupError(
            f"the group {self.name} has no {method}; groups that have one: {known}. "
            f"Choose one of these, or implement {type(self).__name__}.{method}"
        )

    def validate(self, g: np.ndarray[Any, Any], what: str = "action") -> np.ndarray[Any, Any]:
        """Return ``g`` as an array if it is a batch of elements, else raise.

        Args:
            g: array of shape ``(..., dim)``.
            what: name of the array in the error message.

        Raises:
            GroupError: the last axis has the wrong length, a coordinate is NaN or infinite, or `violation` exceeds
                `tolerance`.
        """
        g = np.asarray(g)
        if g.ndim == 0 or g.shape[-1] != self.dim:
            raise GroupError(f"{what} must have shape (..., {self.dim}) to be an element of {self.name}, got {g.shape}")
        if not np.isfinite(g).all():
            raise GroupError(f"{what} must be finite to be an element of {self.name}, got {g[~np.isfinite(g)][0]}")
        off = self.violation(g)
        if (off > self.tolerance).any():
            worst = g.reshape(-1, self.dim)[off.argmax()]
            raise GroupError(
                f"{what} {np.round(worst, 4).tolist()} is no element of {self.name}: {self.condition}; "
                "make elements with the group's exp, or project arbitrary numbers with its project"
            )
        return g

    def violation(self, g: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the largest absolute error in the equation `condition`; shape of the batch."""
        return np.zeros(g.shape[:-1])
