"""Rotations of the plane and of space, the finite ones among them, and rigid motions of the plane.

Rotations are given by matrices or by cosine and sine, which no path through the group makes jump; angles and rotation
vectors, which do jump, are tangents alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.group import Array, Group, flat, in_torch, join, library_of, matrix_of, split, stack, unit


@dataclass(frozen=True)
class PlaneRotations(Group):
    """SO(2), the rotations of the plane: coordinates ``(cos, sin)``, tangents are angles in radians.

    The distance is the squared Frobenius norm of the difference of matrices, ``4 − 4 cos`` of the angle between.

    >>> turns = PlaneRotations()
    >>> np.round(turns.log(turns.compose(turns.exp(np.array([3.0])), turns.exp(np.array([3.0])))), 3).tolist()
    [-0.283]
    """

    name = "SO2"
    dim, tangent_dim = 2, 1
    condition = "cos² + sin² must be 1"

    def identity(self) -> np.ndarray[Any, Any]:
        return np.array([1.0, 0.0])

    def compose(self, g: Array, h: Array) -> Array:
        (a, b), (c, d) = split(g), split(h)
        return stack(a * c - b * d, a * d + b * c)

    def inverse(self, g: Array) -> Array:
        cos, sin = split(g)
        return stack(cos, -sin)

    def exp(self, tangent: Array) -> Array:
        xp, angle = library_of(tangent), tangent[..., 0]
        cos: Array = xp.cos(angle)
        sin: Array = xp.sin(angle)
        return stack(cos, sin)

    def log(self, g: Array) -> Array:
        cos, sin = split(g)
        angle: Array = library_of(g).arctan2(sin, cos)[..., None]
        return angle

    def embed(self, g: Array) -> Array:
        return 2**0.5 * g

    def project(self, raw: Array) -> Array:
        return unit(raw)

    def relax(self, raw: Array) -> Array:
        return raw

    def strain(self, relaxed: Array) -> Array:
        strain: Array = 2 * ((relaxed**2).sum(-1) - 1) ** 2
        return strain

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        return self.exp(generator.uniform(-np.pi, np.pi, (count, 1)))

    def off(self, g: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(np.abs((g**2).sum(-1) - 1))


@dataclass(frozen=True)
class Cyclic(PlaneRotations):
    """The finite cyclic group of rotations by multiples of ``2π / order``, within SO(2).

    A network's output is projected onto all of SO(2): what it calls a pose is free up to a factor on the right, so that
    encoded poses differ by elements of the group without being any. `exp` goes to the element nearest to the angle.
    """

    order: int

    condition = "its angle must be a multiple of the full turn over the group's order"

    @property
    def name(self) -> str:  # type: ignore[override]
        """``"C<order>"``."""
        return f"C{self.order}"

    def exp(self, tangent: Array) -> Array:
        step = 2 * np.pi / self.order
        nearest: Array = library_of(tangent).round(tangent / step) * step
        return super().exp(nearest)

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        return self.exp(2 * np.pi / self.order * generator.integers(self.order, size=(count, 1)))

    def off(self, g: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(np.abs(g - self.exp(self.log(g))).max(-1))


@dataclass(frozen=True)
class SpaceRotations(Group):
    """SO(3), the rotations of space: coordinates are a matrix row by row, tangents are rotation vectors in radians.

    The distance is the squared Frobenius norm of the difference of matrices. `project` makes a matrix of its first two
    columns by Gram and Schmidt, which is continuous (Zhou et al., *On the continuity of rotation representations in
    neural networks*, CVPR 2019). Rotation vectors are RoMa's (Brégier, *Deep regression on manifolds*, 3DV 2021).
    """

    name = "SO3"
    dim, tangent_dim = 9, 3
    condition = "its matrix must be orthogonal with determinant 1"

    def identity(self) -> np.ndarray[Any, Any]:
        return np.eye(3).reshape(9)

    def compose(self, g: Array, h: Array) -> Array:
        return flat(matrix_of(g) @ matrix_of(h))

    def inverse(self, g: Array) -> Array:
        return flat(matrix_of(g).swapaxes(-1, -2))

    def exp(self, tangent: Array) -> Array:
        import roma

        return in_torch(lambda t: roma.rotvec_to_rotmat(t).flatten(-2), tangent)

    def log(self, g: Array) -> Array:
        import roma

        return in_torch(lambda t: roma.rotmat_to_rotvec(t.unflatten(-1, (3, 3))), g)

    def embed(self, g: Array) -> Array:
        return g

    def project(self, raw: Array) -> Array:
        matrix = matrix_of(raw)
        first = unit(matrix[..., 0])
        second = unit(matrix[..., 1] - (first * matrix[..., 1]).sum(-1)[..., None] * first)
        columns: Array = library_of(raw).stack((first, second, library_of(raw).linalg.cross(first, second)), -1)
        return flat(columns)

    def relax(self, raw: Array) -> Array:
        matrix = matrix_of(raw)
        first, second = matrix[..., 0], matrix[..., 1]
        # Two columns times √1.5 have the length of three, and tell the same.
        columns: Array = 1.5**0.5 * library_of(raw).stack((first, second, 0 * first), -1)
        return flat(columns)

    def strain(self, relaxed: Array) -> Array:
        matrix = matrix_of(relaxed)
        first, second = matrix[..., 0], matrix[..., 1]
        lengths = ((first**2).sum(-1) - 1.5) ** 2 + ((second**2).sum(-1) - 1.5) ** 2
        strain: Array = (lengths + 2 * (first * second).sum(-1) ** 2) / 1.5
        return strain

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        from scipy.spatial.transform import Rotation

        return np.asarray(Rotation.random(count, rng=generator).as_matrix().reshape(count, 9))

    def off(self, g: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        matrix = matrix_of(g)
        gram = np.abs(matrix @ matrix.swapaxes(-1, -2) - np.eye(3)).max((-1, -2))
        return np.asarray(np.maximum(gram, np.abs(np.linalg.det(matrix) - 1)))


@dataclass(frozen=True)
class PlaneMotions(Group):
    """SE(2), the rigid motions of the plane: coordinates ``(x, y, cos, sin)``, tangents ``(vx, vy, angle)``.

    ``g·h`` first applies ``h``, then ``g``: for a robot whose pose is ``g``, ``g·h`` is its pose after the motion ``h``
    in its own frame, and ``h·g`` after the motion ``h`` in the world's.
    """

    name = "SE2"
    dim, tangent_dim = 4, 3
    condition = "cos² + sin² must be 1"

    def identity(self) -> np.ndarray[Any, Any]:
        return np.array([0.0, 0.0, 1.0, 0.0])

    def compose(self, g: Array, h: Array) -> Array:
        turns = PlaneRotations()
        return join(g[..., :2] + turns.compose(g[..., 2:], h[..., :2]), turns.compose(g[..., 2:], h[..., 2:]))

    def inverse(self, g: Array) -> Array:
        turns = PlaneRotations()
        back = turns.inverse(g[..., 2:])
        return join(-turns.compose(back, g[..., :2]), back)

    def exp(self, tangent: Array) -> Array:
        xp, angle = library_of(tangent), tangent[..., 2]
        along: Array = xp.sinc(angle / np.pi)
        across: Array = angle / 2 * xp.sinc(angle / (2 * np.pi)) ** 2
        turns = PlaneRotations()
        return join(turns.compose(stack(along, across), tangent[..., :2]), turns.exp(tangent[..., 2:]))

    def log(self, g: Array) -> Array:
        xp, turns = library_of(g), PlaneRotations()
        angle = turns.log(g[..., 2:])
        half = angle[..., 0] / 2
        stretched: Array = xp.cos(half) / xp.sinc(half / np.pi)
        back = stack(stretched, -half)
        return join(turns.compose(back, g[..., :2]), angle)

    def embed(self, g: Array) -> Array:
        return join(g[..., :2], PlaneRotations().embed(g[..., 2:]))

    def project(self, raw: Array) -> Array:
        return join(raw[..., :2], unit(raw[..., 2:]))

    def relax(self, raw: Array) -> Array:
        return raw

    def strain(self, relaxed: Array) -> Array:
        return PlaneRotations().strain(relaxed[..., 2:])

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        return np.concatenate([generator.normal(size=(count, 2)), PlaneRotations().random(generator, count)], -1)

    def off(self, g: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(np.abs((g[..., 2:] ** 2).sum(-1) - 1))
