"""Delaunay graphs of points in hyperbolic and in Euclidean space, in any dimension that Qhull manages.

Two points are joined if their Voronoi cells meet: some place has both as its nearest points. In hyperbolic space the
cells must meet at a finite distance.

The published form is a power diagram in Klein coordinates, with centres ``c = p / (2√(1 − |p|²))`` and weights
``w = |p|² / (4(1 − |p|²)) − 1/√(1 − |p|²)``. The points ``(c, |c|² − w)`` are lifted, their lower convex hull is
triangulated, and an edge is kept if its dual face meets the open ball. Since ``c = x/2`` and ``|c|² − w = x₀``, the
lifted points are those of the Lorentz model ``(x₀, x)``, up to a scale. Isometries act linearly there. So we take the
facets that are visible from the origin of Minkowski space (`triangulations`), which no isometry changes, and decide on
an edge by distances alone (`dual_faces`).

Source: Medbouhi et al., *Hyperbolic Delaunay geometric alignment*, ECML 2024 (arXiv:2404.08608); Nielsen and Nock,
*Hyperbolic Voronoi diagrams made easy*, 2010 (arXiv:0903.3287).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .dual_faces import edges_of_simplices, edges_with_finite_faces
from .hyperbolic_points import HyperbolicPointsError, as_poincare, check_points, lorentz_from_ball, squared_norm
from .mobius_maps import centred
from .triangulations import check_position, degenerate, euclidean_simplices, visible_facets

MAX_RADIUS = 12.0
"""Largest distance from the origin. At a distance ``R``, points nearer than about ``3e-7 e^R`` cannot be told apart."""


def hyperbolic_delaunay_edges(
    points: ArrayLike, geometry: Literal["poincare", "lorentz"] = "poincare"
) -> NDArray[np.int64]:
    """Return the edges of the hyperbolic Delaunay graph: pairs ``i < j`` in ascending order, ``(E, 2)``.

    ``{i, j}`` is an edge if some point at a finite distance is as near to ``i`` as to ``j``, and no point is nearer.

    Args:
        points: ``(n, d)`` in the Poincaré ball, or ``(n, d + 1)`` in the Lorentz model; at least two, and not farther
            than 12 from the origin.
        geometry: model of the points.

    Raises:
        HyperbolicPointsError: a point is not in the model or too far away; two points are equal, or too near to each
            other for double precision; more than ``d + 1`` points lie on a hyperplane; or the graph is too large.

    Source: Medbouhi et al., *Hyperbolic Delaunay geometric alignment*, ECML 2024 (arXiv:2404.08608).

    Example:
        >>> hyperbolic_delaunay_edges([[0.0, 0.0], [0.9, 0.0], [0.0, 0.9]]).tolist()  # 1 and 2 are far apart
        [[0, 1], [0, 2]]
    """
    poincare = as_poincare(points, geometry)
    check_position(poincare)
    _check_radius(poincare)
    number, dim = poincare.shape
    if dim == 1:
        return _consecutive(poincare)
    poincare = centred(poincare)
    if number <= dim + 1:
        return edges_with_finite_faces(poincare, np.arange(number)[None])
    simplices, neighbours = visible_facets(lorentz_from_ball(poincare))
    return edges_with_finite_faces(poincare, simplices, neighbours)


def euclidean_delaunay_edges(points: ArrayLike) -> NDArray[np.int64]:
    """Return the edges of the Delaunay triangulation: pairs ``i < j`` in ascending order, ``(E, 2)``.

    Args:
        points: ``(n, d)``, at least two.

    Raises:
        HyperbolicPointsError: a coordinate is not finite; two points are equal, or too near to each other for double
            precision; the points lie on a hyperplane; or the graph is too large.

    Example:
        >>> euclidean_delaunay_edges([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [3.0, 3.0]]).tolist()
        [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    """
    array = check_points(points)
    check_position(array)
    number, dim = array.shape
    if dim == 1:
        return _consecutive(array)
    if number > dim + 1:
        return edges_of_simplices(euclidean_simplices(array))
    if np.linalg.matrix_rank(array - array.mean(0)) < number - 1:
        raise degenerate(dim)
    return edges_of_simplices(np.arange(number)[None])


def _check_radius(poincare: NDArray[np.float64]) -> None:
    """Check that no point is farther from the origin than double precision allows."""
    square = squared_norm(poincare)
    if (radius := 2 * np.arctanh(np.sqrt(square.max()))) > MAX_RADIUS:
        raise HyperbolicPointsError(
            f"expected points within {MAX_RADIUS:g} of the origin, got point {square.argmax()} at {radius:.4g}, where "
            "double precision does not suffice; move the points by an isometry (MobiusMap)"
        )


def _consecutive(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the edges of points on a line: neighbours."""
    order = np.argsort(points[:, 0])
    pairs = np.sort(np.column_stack([order[:-1], order[1:]]), 1)
    return pairs[np.lexsort(pairs.T[::-1])]
