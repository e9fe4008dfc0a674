"""Triangulations by Qhull, and checks that the points have one in double precision."""

from __future__ import annotations

from math import ceil, comb, exp, floor, lgamma, log, pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .hyperbolic_points import HyperbolicPointsError

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

MAX_SIMPLICES = 1_000_000
"""Largest expected number of simplices: about 1 GB of memory."""


def expected_simplices(number: int, dim: int) -> float:
    """Return how many simplices the Delaunay triangulation of uniform random points has on average, at most.

    It is the smaller of ``n`` times the mean of a Poisson process, which is 2 in the plane, 6.8 in space and 187 in
    five dimensions, and the number for the worst position of the points.

    Args:
        number: number of points.
        dim: number of coordinates, at least 1.

    Source: Møller, *Random tessellations in R^d*, 1989; McMullen, *The maximum numbers of faces of a convex polytope*,
    1970.

    Example:
        >>> round(expected_simplices(10, 2)), round(expected_simplices(1000, 3))
        (16, 6768)
    """
    log_mean = (dim + 1) * log(2) + (dim - 1) / 2 * log(pi) - log(dim**2 * (dim + 1))
    log_mean += lgamma((dim**2 + 1) / 2) - lgamma(dim**2 / 2)
    log_mean += dim * (lgamma(dim / 2 + 1) - lgamma((dim + 1) / 2))
    low, high = floor((dim + 1) / 2), ceil((dim + 1) / 2)
    worst = comb(max(number - high, 0), low) + comb(max(number - low - 1, 0), high - 1)
    return min(number * exp(log_mean), float(worst))


def repeated_pair(points: Floats) -> tuple[int, int] | None:
    """Return two rows ``i < j`` with the same coordinates; None if all rows differ.

    Args:
        points: ``(n, d)``.

    Example:
        >>> repeated_pair(np.array([[0.0, 1.0], [2.0, 3.0], [0.0, 1.0]]))
        (0, 2)
    """
    order = np.lexsort(points.T)
    same = np.flatnonzero((np.diff(points[order], axis=0) == 0).all(1))
    if not same.size:
        return None
    i, j = sorted(map(int, order[same[0] : same[0] + 2]))
    return i, j


def check_position(points: Floats) -> None:
    """Check that there are at least two points, no two of them equal, and not too many for a triangulation.

    Raises:
        HyperbolicPointsError: a condition is not met.
    """
    number, dim = points.shape
    if number < 2:
        raise HyperbolicPointsError(f"expected at least two points, got {number}")
    if pair := repeated_pair(points):
        raise HyperbolicPointsError(
            f"expected different points, got the same coordinates at {pair[0]} and {pair[1]}; remove one of them"
        )
    if (simplices := expected_simplices(number, dim)) > MAX_SIMPLICES:
        raise HyperbolicPointsError(
            f"expected a Delaunay triangulation of at most {MAX_SIMPLICES} simplices, got {number} points in {dim} "
            f"dimensions with about {simplices:.3g}; take fewer points or fewer dimensions"
        )


def visible_facets(lorentz: Floats) -> tuple[Indices, Indices]:
    """Return the facets of the convex hull of points that are visible from the origin, and their neighbours.

    In Klein coordinates they triangulate the convex hull of the points.

    Args:
        lorentz: points of the Lorentz model, ``(n, d + 1)``, ``n ≥ d + 2``.

    Returns:
        The corners of the facets, ``(m, d + 1)``; and for each corner the facet opposite to it, ``(m, d + 1)``, which
        is −1 if that facet is not visible.

    Raises:
        HyperbolicPointsError: the points lie on a hyperplane, or some are too near to each other.
    """
    from scipy.spatial import ConvexHull, QhullError

    try:
        hull = ConvexHull(lorentz)
    except QhullError as error:
        raise degenerate(lorentz.shape[1] - 1) from error
    _require_all(hull.simplices, lorentz)
    visible = hull.equations[:, -1] > 0
    renumbered = np.where(visible, np.cumsum(visible) - 1, -1)
    return hull.simplices[visible].astype(np.int64), renumbered[hull.neighbors[visible]]


def euclidean_simplices(points: Floats) -> Indices:
    """Return the simplices of the Delaunay triangulation, ``(m, d + 1)``.

    Args:
        points: ``(n, d)``, ``n ≥ d + 2``.

    Raises:
        HyperbolicPointsError: the points lie on a hyperplane, or some are too near to each other.
    """
    from scipy.spatial import Delaunay, QhullError

    try:
        triangulation = Delaunay(points - points.mean(0))
    except QhullError as error:
        raise degenerate(points.shape[1]) from error
    _require_all(triangulation.simplices, points)
    simplices: Indices = triangulation.simplices.astype(np.int64)
    return simplices


def degenerate(dim: int) -> HyperbolicPointsError:
    """Return the error for points on a hyperplane."""
    return HyperbolicPointsError(
        f"expected points in general position in {dim} dimensions, got points on a hyperplane; give their "
        "coordinates in the hyperplane"
    )


def _require_all(simplices: NDArray[Any], points: Floats) -> None:
    """Check that every point is a corner of some simplex, as it is without rounding."""
    is_corner = np.zeros(len(points), bool)
    is_corner[simplices] = True
    if (lost := np.flatnonzero(~is_corner)).size:
        raise HyperbolicPointsError(
            f"expected points that double precision can tell apart, got {len(lost)} that merge with others, the first "
            f"at {lost[0]}; remove points that are very near to others, or lie far out"
        )
