"""Edges of a hyperbolic Delaunay triangulation whose dual faces have a point at a finite distance.

The dual face of an edge holds the places that have both ends as their nearest points. With ``D_ij = cosh d_ij − 1``:

1. A simplex has a circumcentre at a finite distance exactly if ``1ᵀ D⁻¹ 1 > 0``. For a triangle with the longest side
   ``ij`` this is ``√D_ij < √D_ik + √D_jk``.
2. In the plane, the dual face of an edge is at a finite distance unless the edge is the longest side of a triangle
   without circumcentre. In more dimensions such an edge has none either, but others may have none, too.

Distances are accurate where coordinates are not: an error of a point moves ``D`` by as much as the point, and not more.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .hyperbolic_points import HyperbolicPointsError, lorentz_from_ball, squared_norm
from .mobius_maps import mobius_add

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Masks = NDArray[np.bool_]

EMPTY_TOLERANCE = 1e-8
"""Relative error allowed in the check of a simplex; rounding of points 0.05 apart gives 1e-9 at a distance of 12."""


def edges_of_simplices(simplices: Indices) -> Indices:
    """Return the different pairs of corners of simplices in ascending order, ``(E, 2)``.

    Example:
        >>> edges_of_simplices(np.array([[0, 1, 3], [1, 3, 2]])).tolist()
        [[0, 1], [0, 3], [1, 2], [1, 3], [2, 3]]
    """
    number = int(simplices.max()) + 1
    return _decoded(np.unique(_codes(simplices, number)), number)


def edges_with_finite_faces(points: Floats, simplices: Indices, neighbours: Indices | None = None) -> Indices:
    """Return the edges of simplices whose dual faces have a point at a finite distance, ``(E, 2)``.

    An edge that is the longest side of a triangle without circumcentre has none. Else, in the plane, it has one. In
    more dimensions it has one if a simplex at it has a circumcentre, or no corner is nearer to its midpoint than its
    ends. The rest is decided by `dual_face_is_finite`.

    Args:
        points: points of the Poincaré ball, ``(n, d)``.
        simplices: corners of the simplices.
        neighbours: the simplices opposite to the corners, −1 for none; None for a single simplex, whose corners may lie
            on a hyperplane.

    Raises:
        HyperbolicPointsError: a simplex is no Delaunay simplex, by rounding.
    """
    number, dim = points.shape
    pairs = list(combinations(range(simplices.shape[1]), 2))
    excess = np.stack([_excess(points, simplices[:, a], simplices[:, b]) for a, b in pairs], axis=1)
    has_centre = np.zeros(len(simplices), bool)
    if neighbours is not None:
        weights = _circumcentre_weights(excess, simplices.shape[1])
        _require_empty_balls(points, simplices, neighbours, weights)
        has_centre = weights.sum(1) > 0
    removed, central = _longest_sides(excess, simplices.shape[1])
    code = _codes(simplices, number)
    kept = _codes_without(code, removed)
    if dim == 2:
        return _decoded(kept, number)
    sure = np.union1d(np.setdiff1d(kept, code[~central]), np.intersect1d(kept, code[has_centre]))
    links = _links(np.setdiff1d(kept, sure), code, simplices)
    found = [i * number + j for (i, j), link in links if dual_face_is_finite(points, (i, j), link)]
    return _decoded(np.union1d(sure, np.array(found, np.int64)), number)


def dual_face_is_finite(points: Floats, edge: tuple[int, int], link: Indices) -> bool:
    """Return whether a place at a finite distance is as near to both ends of an edge, and no point of the link nearer.

    The midpoint of the edge is moved to the origin. In Klein coordinates the places as near to ``i`` as to ``j`` are
    the ``z ⟂ x_i``, and ``k`` is not nearer where ``⟨x_k / x_k0, z⟩ ≤ 1 − x_i0 / x_k0``. The smallest ``|z|`` of this
    polyhedron is found by non-negative least squares: with the residual ``r`` it is ``|z|² = 1/|r|² − 1``.

    Args:
        points: points of the Poincaré ball, ``(n, d)``.
        edge: numbers of the ends.
        link: numbers of the other corners of all simplices at the edge.

    Source: Lawson and Hanson, *Solving least squares problems*, 1974, section 23.4.

    Example:
        >>> points = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, 0.6], [0.0, -0.1]])
        >>> dual_face_is_finite(points, (0, 1), np.array([2])), dual_face_is_finite(points, (0, 1), np.array([2, 3]))
        (True, False)
    """
    from scipy.optimize import nnls

    if not len(link):
        return True
    ends = lorentz_from_ball(points[list(edge)]).sum(0)
    middle = ends[1:] / (np.sqrt(ends[0] ** 2 - squared_norm(ends[1:])) + ends[0])
    moved = lorentz_from_ball(mobius_add(-middle, points[[edge[0], *link]]))
    axis = moved[0, 1:] / np.linalg.norm(moved[0, 1:])
    slope = moved[1:, 1:] / moved[1:, :1]
    slope -= np.outer(slope @ axis, axis)
    bound = 1 - moved[0, 0] / moved[1:, 0]
    target = np.append(np.zeros(len(axis)), 1.0)
    residual = nnls(-np.column_stack([slope, bound]).T, target)[1]
    return bool(residual**2 > 0.5)


def _excess(points: Floats, one: Indices, other: Indices) -> Floats:
    """Return ``D_ij = cosh d_ij − 1`` of pairs of points; ``take`` is several times faster than an index."""
    gap = 1 - squared_norm(points)
    return 2 * squared_norm(points.take(one, 0) - points.take(other, 0)) / (gap.take(one) * gap.take(other))


def _longest_sides(excess: Floats, size: int) -> tuple[Masks, Masks]:
    """Return two masks of the edges of simplices, ``(m, pairs)``.

    The first says which are the longest side of a triangle of the simplex that has no circumcentre:
    ``√D_ij ≥ √D_ik + √D_jk``. The second says for which no corner is nearer to the midpoint than the ends:
    ``D_ik + D_jk ≥ D_ij``.
    """
    index = {pair: column for column, pair in enumerate(combinations(range(size), 2))}
    root = np.sqrt(excess)
    removed, central = np.zeros(excess.shape, bool), np.ones(excess.shape, bool)
    for (i, j), column in index.items():
        for k in set(range(size)) - {i, j}:
            one, other = index[min(i, k), max(i, k)], index[min(j, k), max(j, k)]
            removed[:, column] |= root[:, column] >= root[:, one] + root[:, other]
            central[:, column] &= excess[:, one] + excess[:, other] >= excess[:, column]
    return removed, central


def _circumcentre_weights(excess: Floats, size: int) -> Floats:
    """Return ``λ = D⁻¹ 1`` of simplices, ``(m, size)``.

    ``Σ λ_i x_i`` has the same Lorentz product with all corners. It is the circumcentre, up to a scale, if
    ``Σ λ_i > 0``; else there is none at a finite distance.
    """
    if size == 3:
        opposite = excess[:, ::-1]
        weights: Floats = opposite * (excess.sum(1, keepdims=True) - 2 * opposite) / excess.prod(1, keepdims=True)
        return weights / 2
    matrix = np.zeros((len(excess), size, size))
    rows, columns = np.triu_indices(size, 1)
    matrix[:, rows, columns] = matrix[:, columns, rows] = excess
    return np.asarray(np.linalg.solve(matrix, np.ones((len(excess), size, 1)))[..., 0], np.float64)


def _require_empty_balls(points: Floats, simplices: Indices, neighbours: Indices, weights: Floats) -> None:
    """Check that no simplex has the far corner of a neighbour in its circumscribed ball: ``Σ λ_i D_il ≥ 1``.

    Distances are more accurate than the convex hull, so that this finds simplices that are wrong by rounding.

    Raises:
        HyperbolicPointsError: one has.
    """
    facet, corner = np.nonzero(neighbours > np.arange(len(simplices))[:, None])  # each pair once
    total = simplices.sum(1)
    beyond = total.take(neighbours[facet, corner]) - total.take(facet) + simplices[facet, corner]
    near = simplices.take(facet, 0)
    terms = np.stack([_excess(points, near[:, i], beyond) * weights[:, i].take(facet) for i in range(near.shape[1])])
    wrong = np.flatnonzero(terms.sum(0) - 1 < -EMPTY_TOLERANCE * (1 + np.abs(terms).sum(0)))
    if wrong.size:
        raise HyperbolicPointsError(
            f"expected points that double precision can tell apart, got {len(wrong)} wrong simplices, the first at "
            f"{near[wrong[0]].tolist()}; remove points that are very near to others, or lie far out"
        )


def _codes(simplices: Indices, number: int) -> Indices:
    """Return a number for each edge of each simplex, ``(m, pairs)``: ``i n + j`` with ``i < j``."""
    pairs = combinations(simplices.T, 2)
    return np.stack([np.minimum(one, other) * number + np.maximum(one, other) for one, other in pairs], axis=1)


def _decoded(code: Indices, number: int) -> Indices:
    return np.column_stack(np.divmod(code, number))


def _codes_without(code: Indices, removed: Masks) -> Indices:
    """Return the different codes of which no copy is removed, ascending."""
    marked = np.sort((2 * code + ~removed).ravel())  # a removed copy comes first
    edge = marked >> 1
    first = np.append(True, edge[1:] != edge[:-1])
    return edge[first & (marked & 1 == 1)]  # type: ignore[no-any-return]


def _links(chosen: Indices, code: Indices, simplices: Indices) -> list[tuple[tuple[int, int], Indices]]:
    """Return chosen edges ``(i, j)``, each with the other corners of all simplices at it."""
    if not len(chosen):
        return []
    number = int(simplices.max()) + 1
    simplex, pair = np.nonzero(np.isin(code, chosen))
    edge = code[simplex, pair]
    order = np.argsort(edge, kind="stable")
    starts = np.searchsorted(edge[order], chosen)
    links = []
    for each, rows in zip(chosen, np.split(simplex[order], starts[1:]), strict=True):
        ends = divmod(int(each), number)
        links.append((ends, np.setdiff1d(simplices[rows], ends)))
    return links
