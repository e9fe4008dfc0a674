"""The rotation groups of the plane and of space, ``SO(2)`` and ``SO(3)``.

Elements are matrices, or a cosine and a sine: continuous everywhere. Angles and rotation vectors jump at half a turn,
so they are used for tangent vectors only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .array_ops import (
    affine_matrix,
    block_diagonal,
    flat,
    identity_like,
    in_torch,
    library_of,
    matrix_of,
    rotation_matrix,
    split,
    stack,
    unit,
)
from .group import Array, Group
from .registry import register_group

if TYPE_CHECKING:
    import torch


@register_group("SO2")
@dataclass(frozen=True)
class SO2(Group):
    """``SO(2)``, the rotations of the plane: coordinates ``(cos, sin)``, tangent vectors are angles in radians.

    The squared distance is the squared Frobenius norm of the difference of the matrices, ``4 − 4 cos(angle)``.

    >>> rotations = SO2()
    >>> three = rotations.exp(np.array([3.0]))
    >>> np.round(rotations.log(rotations.compose(three, three)), 3).tolist()
    [-0.283]
    """

    name = "SO2"
    dim, tangent_dim = 2, 1
    condition = "cos² + sin² must be 1"

    @property
    def is_torus(self) -> bool:
        """True."""
        return True

    @property
    def is_rotation_group(self) -> bool:
        """True."""
        return True

    def identity(self) -> np.ndarray[Any, Any]:
        """Return ``(1, 0)``."""
        return np.array([1.0, 0.0])

    def compose(self, g: Array, h: Array) -> Array:
        """Return the rotation by the sum of the angles: the product of the complex numbers ``cos + i sin``."""
        (a, b), (c, d) = split(g), split(h)
        return stack(a * c - b * d, a * d + b * c)

    def inverse(self, g: Array) -> Array:
        """Return ``(cos, −sin)``."""
        cos, sin = split(g)
        return stack(cos, -sin)

    def exp(self, tangent: Array) -> Array:
        """Return ``(cos, sin)`` of the angle."""
        self.require_tangent(tangent)
        xp, angle = library_of(tangent), tangent[..., 0]
        cos: Array = xp.cos(angle)
        sin: Array = xp.sin(angle)
        return stack(cos, sin)

    def log(self, g: Array) -> Array:
        """Return the angle in [−π, π]."""
        cos, sin = split(g)
        angle: Array = library_of(g).arctan2(sin, cos)[..., None]
        return angle

    def embed(self, g: Array) -> Array:
        """Return ``√2 (cos, sin)``."""
        return 2**0.5 * g

    def project(self, raw: Array) -> Array:
        """Return the normalised vector."""
        return unit(raw)

    def relax(self, raw: Array) -> Array:
        """Return ``raw``: the constraint ``cos² + sin² = 1`` is dropped."""
        return raw

    def constraint_penalty(self, relaxed: Array) -> Array:
        """Return ``2 (cos² + sin² − 1)²``."""
        penalty: Array = 2 * ((relaxed**2).sum(-1) - 1) ** 2
        return penalty

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        """Return rotations with uniform angles, ``(count, 2)``."""
        return self.exp(generator.uniform(-np.pi, np.pi, (count, 1)))

    def representation(self, g: Array) -> Array:
        """Return the rotation matrices ``(..., 2, 2)``."""
        return rotation_matrix(*split(g))

    def euclidean_action(self, g: Array) -> Array:
        """Return the rotations about the third axis, ``(..., 3, 4)``."""
        turn = block_diagonal([rotation_matrix(*split(g)), identity_like(g, 1)])
        return affine_matrix(turn, 0 * turn[..., 0])

    def grid(self, count: int) -> np.ndarray[Any, Any]:
        """Return rotations by multiples of ``2π / count``, ``(count, 2)``."""
        return np.asarray(SO2.exp(self, np.linspace(-np.pi, np.pi, count, endpoint=False)[:, None]))

    def harmonic_matrices(self, g: torch.Tensor, degree: int) -> list[torch.Tensor]:
        """Return the rotation matrices of 1 to ``degree`` times the angle, each ``(..., 2, 2)``."""
        cos, sin = [g[..., 0]], [g[..., 1]]
        for _ in range(degree - 1):
            cos, sin = [*cos, cos[-1] * cos[0] - sin[-1] * sin[0]], [*sin, sin[-1] * cos[0] + cos[-1] * sin[0]]
        return [rotation_matrix(c, s) for c, s in zip(cos, sin, strict=True)]

    def harmonic_dims(self, degree: int) -> list[int]:
        """Return 2 for every degree."""
        return [2] * degree

    def violation(self, g: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return ``|cos² + sin² − 1|``."""
        return np.asarray(np.abs((g**2).sum(-1) - 1))


@register_group("SO3")
@dataclass(frozen=True)
class SO3(Group):
    """``SO(3)``, the rotations of space: coordinates are a matrix row by row, tangents are rotation vectors in radians.

    The squared distance is the squared Frobenius norm of the difference of the matrices. `project` orthonormalises the
    first two columns by Gram and Schmidt, which is continuous (Zhou et al., *On the continuity of rotation
    representations in neural networks*, CVPR 2019). `exp` and `log` are RoMa's (Brégier, *Deep regression on
    manifolds*, 3DV 2021).
    """

    name = "SO3"
    dim, tangent_dim = 9, 3
    condition = "its matrix must be orthogonal with determinant 1"

    @property
    def is_rotation_group(self) -> bool:
        """True."""
        return True

    def identity(self) -> np.ndarray[Any, Any]:
        """Return the identity matrix, row by row."""
        return np.eye(3).reshape(9)

    def compose(self, g: Array, h: Array) -> Array:
        """Return the matrix product."""
        return flat(matrix_of(g) @ matrix_of(h))

    def inverse(self, g: Array) -> Array:
        """Return the transposed matrix."""
        return flat(matrix_of(g).swapaxes(-1, -2))

    def exp(self, tangent: Array) -> Array:
        """Return the rotation about the vector by its length in radians."""
        self.require_tangent(tangent)
        import roma

        return in_torch(lambda t: roma.rotvec_to_rotmat(t).flatten(-2), tangent)

    def log(self, g: Array) -> Array:
        """Return the rotation vector, of length at most π."""
        import roma

        return in_torch(lambda t: roma.rotmat_to_rotvec(t.unflatten(-1, (3, 3))), g)

    def embed(self, g: Array) -> Array:
        """Return the matrix, row by row."""
        return g

    def project(self, raw: Array) -> Array:
        """Return the rotation whose first two columns are those of ``raw``, orthonormalised."""
        matrix = matrix_of(raw)
        first = unit(matrix[..., 0])
        second = unit(matrix[..., 1] - (first * matrix[..., 1]).sum(-1)[..., None] * first)
        columns: Array = library_of(raw).stack((first, second, library_of(raw).linalg.cross(first, second)), -1)
        return flat(columns)

    def relax(self, raw: Array) -> Array:
        """Return the first two columns times √1.5, and a third of zeros: orthonormality is dropped.

        The factor gives two columns the norm of three, so that distances have the scale of the group's.
        """
        matrix = matrix_of(raw)
        first, second = matrix[..., 0], matrix[..., 1]
        columns: Array = 1.5**0.5 * library_of(raw).stack((first, second, 0 * first), -1)
        return flat(columns)

    def constraint_penalty(self, relaxed: Array) -> Array:
        """Return ``1.5 ‖VᵀV − 1‖²`` of the first two columns ``√1.5 V``."""
        matrix = matrix_of(relaxed)
        first, second = matrix[..., 0], matrix[..., 1]
        lengths = ((first**2).sum(-1) - 1.5) ** 2 + ((second**2).sum(-1) - 1.5) ** 2
        penalty: Array = (lengths + 2 * (first * second).sum(-1) ** 2) / 1.5
        return penalty

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        """Return uniformly distributed rotations ``(count, 9)``."""
        from scipy.spatial.transform import Rotation

        return np.asarray(Rotation.random(count, rng=generator).as_matrix().reshape(count, 9))

    def representation(self, g: Array) -> Array:
        """Return the rotation matrices ``(..., 3, 3)``."""
        return matrix_of(g)

    def euclidean_action(self, g: Array) -> Array:
        """Return the rotations about the origin, ``(..., 3, 4)``."""
        turn = matrix_of(g)
        return affine_matrix(turn, 0 * turn[..., 0])

    def grid(self, count: int) -> np.ndarray[Any, Any]:
        """Return a super-Fibonacci spiral ``(count, 9)`` (Alexa, *Super-Fibonacci spirals*, CVPR 2022)."""
        from scipy.spatial.transform import Rotation

        along = np.arange(count) + 0.5
        inner, outer = np.sqrt(along / count), np.sqrt(1 - along / count)
        first, second = 2 * np.pi * along / math.sqrt(2), 2 * np.pi * along / 1.533751168755204288118041
        quaternions = [inner * np.sin(first), inner * np.cos(first), outer * np.sin(second), outer * np.cos(second)]
        return np.asarray(Rotation.from_quat(np.stack(quaternions, 1)).as_matrix().reshape(-1, 9))

    def harmonic_matrices(self, g: torch.Tensor, degree: int) -> list[torch.Tensor]:
        """Return Wigner's matrices on real spherical harmonics, each ``(..., 2l + 1, 2l + 1)``."""
        from .spherical_harmonics import wigner_matrices

        return wigner_matrices(matrix_of(g), degree)

    def harmonic_dims(self, degree: int) -> list[int]:
        """Return ``2l + 1`` for every degree ``l``."""
        return [2 * order + 1 for order in range(1, degree + 1)]

    def violation(self, g: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the largest absolute error in ``R Rᵀ = 1`` and ``det R = 1``."""
        matrix = matrix_of(g)
        gram = np.abs(matrix @ matrix.swapaxes(-1, -2) - np.eye(3)).max((-1, -2))
        return np.asarray(np.maximum(gram, np.abs(np.linalg.det(matrix) - 1)))
