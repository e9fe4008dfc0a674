"""Harmonic vectors, on which a group acts by orthogonal matrices, and the search for elements between two of them.

On the circle, ``SO(2)`` acts on ``(cos mθ, sin mθ)`` by rotations by ``m`` times the angle. On the sphere, ``SO(3)``
acts on the ``2l + 1`` spherical harmonics of degree ``l`` by Wigner's matrices. A vector that a subgroup leaves
unchanged represents an object with these symmetries. The lowest degree with a non-zero invariant vector is 3 for the
tetrahedron, 4 for the cube and 6 for the icosahedron (Klein, *Vorlesungen über das Ikosaeder*, 1884).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
import torch
from torch import Tensor

from ...envs.lie_groups.group import Group, GroupError
from ..learning.config import check_range


@dataclass(frozen=True)
class HarmonicSearchConfig:
    """Set how group elements between two harmonic vectors are found: on a grid, then refined.

    Attributes:
        samples_per_period: grid elements of ``SO(2)`` in one period of the highest harmonic.
        space_samples: grid elements of ``SO(3)``.
        plane_neighbors: grid elements of ``SO(2)`` among which a maximum must be the highest.
        space_neighbors: the same for ``SO(3)``.
        max_grid: largest number of grid elements; more do not fit in memory with their matrices.
        refinements: number of Gauss–Newton steps for one element.
        max_step: longest such step, in radians.

    Raises:
        ConfigError: a value is out of range.
    """

    samples_per_period: int = 6
    space_samples: int = 5000
    plane_neighbors: int = 5
    space_neighbors: int = 30
    max_grid: int = 200_000
    refinements: int = 4
    max_step: float = 0.2

    def __post_init__(self) -> None:
        for name in ("samples_per_period", "space_samples", "plane_neighbors", "space_neighbors", "max_grid"):
            check_range(self, name, at_least=1)
        check_range(self, "refinements", at_least=0)
        check_range(self, "max_step", above=0)


class Harmonics:
    """The harmonic vectors of degrees 1 to ``degree``; for a product of groups, those of each factor.

    There is one vector of each degree for a factor ``SO(2)``, and two for ``SO(3)``: a single vector of ``2l + 1``
    coordinates may have symmetries that its object does not have.

    Args:
        group: ``SO(2)``, ``SO(3)``, or a product of them with a small grid.
        degree: the highest degree; symmetries of a higher order are not distinguished.
        config: how elements are searched.

    Raises:
        GroupError: no harmonics are implemented for the group, or its grid is too large.
    """

    def __init__(self, group: Group, degree: int, config: HarmonicSearchConfig = HarmonicSearchConfig()) -> None:
        self.group, self.degree, self.config = group, degree, config
        self.factors = group.factors
        try:
            dims = [factor.harmonic_dims(degree) for factor in self.factors]
        except GroupError as error:
            raise GroupError(f"harmonics need SO2, SO3 or a product of them, got {group.name}: {error}") from error
        self.shapes = [
            (dim, 1 if factor.is_torus else 2) for factor, row in zip(self.factors, dims, strict=True) for dim in row
        ]
        """Shape of the matrix of vectors of each degree: length and number of its columns."""
        self.dim = sum(math.prod(shape) for shape in self.shapes)
        """Total number of coordinates."""
        if math.prod(self._grid_sizes) > config.max_grid:
            raise GroupError(
                f"{group.name} with degree {degree} needs a grid of {math.prod(self._grid_sizes):,} elements, more "
                f"than {config.max_grid:,}; choose a lower degree, a group with fewer factors, or raise search.max_grid"
            )

    def split(self, vectors: Tensor) -> list[Tensor]:
        """Return coordinates ``(..., dim)`` as one matrix ``(..., length, number)`` for each degree."""
        parts = torch.split(vectors, [math.prod(shape) for shape in self.shapes], -1)
        return [part.reshape(*part.shape[:-1], *shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def matrices(self, g: Tensor) -> list[Tensor]:
        """Return the orthogonal matrices of each degree, ``(..., length, length)``, with ``D(g·h) = D(g) D(h)``."""
        parts = zip(self.factors, self.group.parts(g), strict=True)
        return [block for factor, part in parts for block in factor.harmonic_matrices(part, self.degree)]

    def act(self, g: Tensor, vectors: Tensor) -> Tensor:
        """Return ``D(g) f`` for vectors ``f`` of shape ``(..., dim)``."""
        return self._multiply(self.matrices(g), vectors)

    def _multiply(self, matrices: list[Tensor], vectors: Tensor) -> Tensor:
        parts = zip(matrices, self.split(vectors), strict=True)
        return torch.cat([(matrix @ part).flatten(-2) for matrix, part in parts], -1)

    def find_elements(self, a: Tensor, b: Tensor, count: int, min_cosine: float) -> tuple[Tensor, Tensor]:
        """Find the group elements ``g`` at which the cosine of ``b`` and ``D(g) a`` has its highest local maxima.

        Computed on the CPU in float32, on whatever device the vectors are.

        Args:
            a: vectors ``(B, dim)``.
            b: vectors ``(B, dim)``.
            count: number of maxima.
            min_cosine: smallest cosine of a maximum on the grid but the highest. Choose it well below that of a match:
                the grid does not hit the maxima of the highest harmonics.

        Returns:
            Elements ``(B, count, group.dim)``, the highest maximum first, whatever its cosine, and repeated if there
            are fewer, and their cosines ``(B, count)``.
        """
        a, b = (each / each.norm(dim=-1, keepdim=True).clamp_min(1e-9) for each in (a.cpu().float(), b.cpu().float()))
        grid, matrices, neighbors = self._grid
        pairs = zip(matrices, self.split(a), self.split(b), strict=True)
        cosine = torch.stack([(y @ x.mT).flatten(1) @ matrix.flatten(1).T for matrix, x, y in pairs]).sum(0)
        around = reduce(torch.maximum, (cosine[:, each] for each in neighbors.T))
        top, index = cosine.masked_fill(cosine < around, -torch.inf).topk(min(count, len(grid)), 1)
        index = torch.where(top >= min_cosine, index, index[:, :1])
        index = torch.cat([index, index[:, :1].expand(-1, count - index.shape[1])], 1)
        return self._refine(a, b, grid[index])

    def _refine(self, a: Tensor, b: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """Minimise ``‖b − D(g) a‖²`` by Gauss–Newton steps from ``g``; return the elements and their cosines."""
        for _ in range(self.config.refinements):
            acted = self.act(g, a[:, None])
            slopes = torch.stack([self._multiply(each, acted) for each in self._generators], -1)
            square = slopes.mT @ slopes + 1e-3 * torch.eye(slopes.shape[-1])
            step = torch.linalg.solve(square, slopes.mT @ (b[:, None] - acted)[..., None])[..., 0]
            step = step / step.norm(dim=-1, keepdim=True).div(self.config.max_step).clamp_min(1.0)
            g = self.group.compose(self.group.exp(step), g)
        return g, (self.act(g, a[:, None]) * b[:, None]).sum(-1)

    @cached_property
    def _generators(self) -> list[list[Tensor]]:
        """Return derivatives of the matrices at the identity along each tangent coordinate, by central differences."""
        small = 1e-4 * torch.eye(self.group.tangent_dim, dtype=torch.float64)
        ahead, back = (self.matrices(self.group.exp(sign * small)) for sign in (1, -1))
        slopes = [((one - other) / 2e-4).float() for one, other in zip(ahead, back, strict=True)]
        return [[slope[axis] for slope in slopes] for axis in range(self.group.tangent_dim)]

    @property
    def _grid_sizes(self) -> list[int]:
        """Return the number of grid elements of each factor."""
        plane = self.config.samples_per_period * self.degree
        return [plane if factor.is_torus else self.config.space_samples for factor in self.factors]

    @cached_property
    def _grid(self) -> tuple[Tensor, list[Tensor], Tensor]:
        """Return grid elements ``(n, dim)``, their matrices, and the indices of the nearest of each, ``(n, k)``."""
        from scipy.spatial import cKDTree

        axes = [factor.grid(size) for factor, size in zip(self.factors, self._grid_sizes, strict=True)]
        rows = np.meshgrid(*[np.arange(len(axis)) for axis in axes], indexing="ij")
        grid = np.concatenate([axis[row.ravel()] for axis, row in zip(axes, rows, strict=True)], 1)
        embedded = self.group.embed(grid)
        plane, space = self.config.plane_neighbors, self.config.space_neighbors
        count = math.prod(plane if factor.is_torus else space for factor in self.factors)
        neighbors = cKDTree(embedded).query(embedded, min(count, len(grid)))[1].reshape(len(grid), -1)
        elements = torch.from_numpy(grid).float()
        return elements, self.matrices(elements), torch.from_numpy(neighbors)
