"""Harmonics: vectors that rotations act on by matrices, and what can be told of a rotation from what it did to one.

On the circle, ``cos mθ`` and ``sin mθ`` are turned into each other by ``SO(2)``; on the sphere, the ``2l + 1``
spherical harmonics of a degree ``l`` by ``SO(3)``. A vector that some elements leave as it is stands for a thing with
these symmetries: there are none below degree 3 for a tetrahedron, 4 for a cube and 6 for an icosahedron (Klein,
*Vorlesungen über das Ikosaeder*, 1884).
"""

from __future__ import annotations

import math
from functools import cache, cached_property, reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.groups import Group, PlaneRotations, Product, SpaceRotations, factors

SAMPLES = 6
"""Elements of the grid in a period of the highest harmonic in the plane."""
COVERING = 5000
"""Elements of the grid in space."""
LARGEST = 200_000
"""Elements of a grid that fit in memory, with what they do to the vectors."""
NEIGHBOURS = {PlaneRotations: 5, SpaceRotations: 30}
"""How many elements of the grid a peak is the highest of."""
LONGEST = 0.2
"""Longest step of the refinement, in radians."""
COPIES = {PlaneRotations: 1, SpaceRotations: 2}
"""Vectors of a degree: in space a single one may have symmetries that the thing it is of has not."""


class Harmonics:
    """The harmonics of degrees 1 to ``degree``, `COPIES` of each; of a product, those of its factors.

    Args:
        group: ``SO(2)``, ``SO(3)`` or a small product of such.
        degree: the highest: symmetries of a higher order than it are not told apart.

    Raises:
        ValueError: the group has no harmonics here, or too many elements to search.
    """

    def __init__(self, group: Group, degree: int) -> None:
        self.group, self.degree = group, degree
        self.factors = factors(group)
        for factor in self.factors:
            if type(factor) not in (PlaneRotations, SpaceRotations):
                raise ValueError(f"harmonics are known of SO2, SO3 and their products, not of {group.name}")
        if math.prod(self._counts) > LARGEST:
            raise ValueError(
                f"{group.name} with degree {degree} would have to be searched on {math.prod(self._counts):,} elements, "
                f"more than {LARGEST:,}; choose a lower degree or fewer factors"
            )

    @cached_property
    def shapes(self) -> list[tuple[int, int]]:
        """Length and number of the vectors of every degree."""
        degrees = range(1, self.degree + 1)
        lengths = [[2 if isinstance(each, PlaneRotations) else 2 * m + 1 for m in degrees] for each in self.factors]
        return [(length, COPIES[type(each)]) for each, row in zip(self.factors, lengths, strict=True) for length in row]

    @cached_property
    def dim(self) -> int:
        """Coordinates of all vectors."""
        return sum(math.prod(shape) for shape in self.shapes)

    def split(self, vectors: Tensor) -> list[Tensor]:
        """Coordinates ``(..., dim)`` as vectors: the columns ``(..., length, number)`` of each degree."""
        parts = torch.split(vectors, [math.prod(shape) for shape in self.shapes], -1)
        return [part.reshape(*part.shape[:-1], *shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def matrices(self, g: Tensor) -> list[Tensor]:
        """What elements do to vectors of each degree, ``(..., length, length)``: ``D(g·h) = D(g) D(h)``, orthogonal."""
        parts = self.group.parts(g) if isinstance(self.group, Product) else [g]
        blocks = []
        for factor, part in zip(self.factors, parts, strict=True):
            blocks += (_plane if isinstance(factor, PlaneRotations) else _space)(part, self.degree)
        return blocks

    def act(self, g: Tensor, vectors: Tensor) -> Tensor:
        """``D(g) f`` of all vectors, ``(..., dim)``."""
        return self._multiplied(self.matrices(g), vectors)

    def _multiplied(self, matrices: list[Tensor], vectors: Tensor) -> Tensor:
        parts = zip(matrices, self.split(vectors), strict=True)
        return torch.cat([(matrix @ part).flatten(-2) for matrix, part in parts], -1)

    def peaks(self, a: Tensor, b: Tensor, count: int, floor: float) -> tuple[Tensor, Tensor]:
        """Elements ``g`` at which ``⟨b, D(g) a⟩ / (‖a‖ ‖b‖)`` is highest around, found on a grid and then refined.

        On the CPU and in float32, wherever the vectors are.

        Args:
            a: vectors ``(B, dim)``.
            b: as many.
            count: how many of the highest.
            floor: what they must be higher than on the grid, which does not meet the peaks of the sharpest harmonics.

        Returns:
            ``(B, count, group.dim)``, the highest first and again where there are fewer, and their heights.
        """
        a, b = (each / each.norm(dim=-1, keepdim=True).clamp_min(1e-9) for each in (a.cpu().float(), b.cpu().float()))
        grid, matrices, near = self._grid
        pairs = zip(matrices, self.split(a), self.split(b), strict=True)
        height = torch.stack([(y @ x.mT).flatten(1) @ matrix.flatten(1).T for matrix, x, y in pairs]).sum(0)
        around = reduce(torch.maximum, (height[:, each] for each in near.T))
        height = height.masked_fill((height < around) | (height < floor), -torch.inf)
        top, index = height.topk(min(count, len(grid)), 1)
        index = torch.where(top.isfinite(), index, index[:, :1])
        index = torch.cat([index, index[:, :1].expand(-1, count - index.shape[1])], 1)
        return self._refined(a, b, grid[index])

    def _refined(self, a: Tensor, b: Tensor, g: Tensor, rounds: int = 4) -> tuple[Tensor, Tensor]:
        """The least ``‖b − D(g) a‖²`` within reach, by Gauss's and Newton's method; and how alike both then are."""
        for _ in range(rounds):
            turned = self.act(g, a[:, None])
            slopes = torch.stack([self._multiplied(each, turned) for each in self._generators], -1)
            square = slopes.mT @ slopes + 1e-3 * torch.eye(slopes.shape[-1])
            step = torch.linalg.solve(square, slopes.mT @ (b[:, None] - turned)[..., None])[..., 0]
            step = step / step.norm(dim=-1, keepdim=True).div(LONGEST).clamp_min(1.0)
            g = self.group.compose(self.group.exp(step), g)
        return g, (self.act(g, a[:, None]) * b[:, None]).sum(-1)

    @cached_property
    def _generators(self) -> list[list[Tensor]]:
        """Derivatives of the matrices along every coordinate of the tangent, by differences."""
        small = 1e-4 * torch.eye(self.group.tangent_dim, dtype=torch.float64)
        ahead, back = (self.matrices(self.group.exp(sign * small)) for sign in (1, -1))
        slopes = [((one - other) / 2e-4).float() for one, other in zip(ahead, back, strict=True)]
        return [[slope[axis] for slope in slopes] for axis in range(self.group.tangent_dim)]

    @property
    def _counts(self) -> list[int]:
        """Elements of each factor's grid."""
        return [COVERING if isinstance(each, SpaceRotations) else SAMPLES * self.degree for each in self.factors]

    @cached_property
    def _grid(self) -> tuple[Tensor, list[Tensor], Tensor]:
        """Elements that cover the group, what they do, and the nearest of each."""
        from scipy.spatial import cKDTree

        axes = [_covering(each, count) for each, count in zip(self.factors, self._counts, strict=True)]
        rows = np.meshgrid(*[np.arange(len(axis)) for axis in axes], indexing="ij")
        grid = np.concatenate([axis[row.ravel()] for axis, row in zip(axes, rows, strict=True)], 1)
        embedded = self.group.embed(grid)
        near = cKDTree(embedded).query(embedded, math.prod(NEIGHBOURS[type(each)] for each in self.factors))[1]
        elements = torch.from_numpy(grid).float()
        return elements, self.matrices(elements), torch.from_numpy(near)


def _covering(group: Group, count: int) -> NDArray[np.floating[Any]]:
    """Elements that cover a group evenly; in space, a super-Fibonacci spiral (Alexa, CVPR 2022)."""
    if isinstance(group, PlaneRotations):
        return np.asarray(group.exp(np.linspace(-np.pi, np.pi, count, endpoint=False)[:, None]))
    from scipy.spatial.transform import Rotation

    along = np.arange(count) + 0.5
    inner, outer = np.sqrt(along / count), np.sqrt(1 - along / count)
    first, second = 2 * np.pi * along / math.sqrt(2), 2 * np.pi * along / 1.533751168755204288118041
    quaternions = [inner * np.sin(first), inner * np.cos(first), outer * np.sin(second), outer * np.cos(second)]
    return np.asarray(Rotation.from_quat(np.stack(quaternions, 1)).as_matrix().reshape(-1, 9))


def _plane(g: Tensor, degree: int) -> list[Tensor]:
    """Rotations by one to ``degree`` times the angle."""
    cos, sin = [g[..., 0]], [g[..., 1]]
    for _ in range(degree - 1):
        cos, sin = [*cos, cos[-1] * cos[0] - sin[-1] * sin[0]], [*sin, sin[-1] * cos[0] + cos[-1] * sin[0]]
    return [torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2) for c, s in zip(cos, sin, strict=True)]


def _space(g: Tensor, degree: int) -> list[Tensor]:
    """Wigner's matrices, real: ``Y(g·p) = D(g) Y(p)``, solved at enough points ``p`` of the sphere."""
    points, inverses = _sampled(degree)
    moved = points.to(g) @ g.reshape(*g.shape[:-1], 3, 3).mT
    values = spherical_harmonics(moved, degree)
    return [value.mT @ inverse.to(g) for value, inverse in zip(values, inverses, strict=True)]


@cache
def _sampled(degree: int) -> tuple[Tensor, list[Tensor]]:
    drawn = torch.randn(3 * degree + 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = drawn / drawn.norm(dim=1, keepdim=True)
    return points, [torch.linalg.pinv(value.T) for value in spherical_harmonics(points, degree)]


def spherical_harmonics(points: Tensor, degree: int) -> list[Tensor]:
    """Real spherical harmonics of degrees 1 to ``degree`` at unit vectors ``(..., 3)``, each ``(..., 2l + 1)``.

    Of mean square 1 over the sphere, in the order ``m = −l … l``, by the recurrences of Legendre's functions.
    """
    x, y, z = points.unbind(-1)
    cos, sin = [torch.ones_like(x)], [torch.zeros_like(x)]
    for _ in range(degree):
        cos, sin = [*cos, x * cos[-1] - y * sin[-1]], [*sin, x * sin[-1] + y * cos[-1]]
    legendre = dict[tuple[int, int], Tensor]()
    for m in range(degree + 1):
        legendre[m, m] = torch.full_like(x, math.prod(range(2 * m - 1, 0, -2)))
        for n in range(m + 1, degree + 1):
            before = legendre[n - 2, m] if n > m + 1 else torch.zeros_like(x)
            legendre[n, m] = ((2 * n - 1) * z * legendre[n - 1, m] - (n + m - 1) * before) / (n - m)
    result = []
    for n in range(1, degree + 1):
        row = []
        for m in range(-n, n + 1):
            size = (2 * n + 1) * math.factorial(n - abs(m)) / math.factorial(n + abs(m)) * (2 if m else 1)
            row.append(math.sqrt(size) * legendre[n, abs(m)] * (cos[m] if m >= 0 else sin[-m]))
        result.append(torch.stack(row, -1))
    return result
