"""Distances between points and between sets of points in hyperbolic or Euclidean space: Chamfer and Wasserstein."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .hyperbolic_points import (
    Geometry,
    HyperbolicPointsError,
    as_poincare,
    check_geometry,
    check_points,
    squared_norm,
)

Floats = NDArray[np.float64]

MAX_PAIRS = 25_000_000
"""Largest number of pairs for an assignment: 200 MB of distances."""
MAX_TRANSPORT_PAIRS = 250_000
"""Largest number of variables of a linear programme, which takes about ten seconds."""
CHUNK_PAIRS = 4_000_000
"""Pairs whose distances are in memory at a time: 32 MB."""


def checked_pair(a: ArrayLike, b: ArrayLike, geometry: Geometry) -> tuple[Floats, Floats]:
    """Return two checked sets of points: of the Poincaré ball if the geometry is hyperbolic, else as they are.

    Args:
        a: ``(n, d)``, or ``(n, d + 1)`` in the Lorentz model.
        b: ``(m, d)``, or ``(m, d + 1)``.
        geometry: ``"poincare"``, ``"lorentz"`` or ``"euclidean"``.

    Raises:
        HyperbolicPointsError: a point is not in the model, or the sets have different dimensions.
        ValueError: there is no such geometry.
    """
    check_geometry(geometry)
    if geometry == "euclidean":
        one, other = check_points(a, "points of A"), check_points(b, "points of B")
    else:
        one, other = as_poincare(a, geometry, "points of A"), as_poincare(b, geometry, "points of B")
    if one.shape[1] != other.shape[1]:
        raise HyperbolicPointsError(
            f"expected two sets of points of one dimension, got {one.shape[1]} and {other.shape[1]} coordinates"
        )
    return one, other


def pairwise_distances(a: ArrayLike, b: ArrayLike, geometry: Geometry = "poincare") -> Floats:
    """Return the distances ``d(a_i, b_j)``, ``(n, m)``.

    In hyperbolic space ``d = 2 arsinh(|x − y| / √((1 − |x|²)(1 − |y|²)))`` of points of the Poincaré ball. The form
    with ``arccosh`` and Klein coordinates loses all digits for near points.

    Args:
        a: ``(n, d)``, or ``(n, d + 1)`` in the Lorentz model.
        b: ``(m, d)``, or ``(m, d + 1)``.
        geometry: ``"poincare"``, ``"lorentz"`` or ``"euclidean"``.

    Raises:
        HyperbolicPointsError: a point is not in the model, or the sets have different dimensions.

    Example:
        >>> pairwise_distances([[0.0, 0.0]], [[0.5, 0.0], [0.0, 0.0]]).round(4).tolist()  # log 3
        [[1.0986, 0.0]]
    """
    one, other = checked_pair(a, b, geometry)
    return _lengths(_separations(one, other, geometry), geometry)


def chamfer_distance(a: ArrayLike, b: ArrayLike, geometry: Geometry = "poincare") -> float:
    """Return ``½ (mean_a min_b d(a, b)² + mean_b min_a d(a, b)²)``, as in the code of Medbouhi et al. (2024).

    Args:
        a: ``(n, d)``, or ``(n, d + 1)`` in the Lorentz model.
        b: ``(m, d)``, or ``(m, d + 1)``.
        geometry: ``"poincare"``, ``"lorentz"`` or ``"euclidean"``.

    Raises:
        HyperbolicPointsError: a point is not in the model, or the sets have different dimensions.

    Example:
        >>> round(chamfer_distance([[0.0, 0.0]], [[0.5, 0.0]]), 4)  # (log 3)²
        1.2069
    """
    one, other = checked_pair(a, b, geometry)
    rows = max(1, CHUNK_PAIRS // len(other))
    to_other, to_one = np.empty(len(one)), np.full(len(other), np.inf)
    for begin in range(0, len(one), rows):
        part = _separations(one[begin : begin + rows], other, geometry)
        to_other[begin : begin + rows] = part.min(1)
        to_one = np.minimum(to_one, part.min(0))
    return float(sum((_lengths(each, geometry) ** 2).mean() for each in (to_other, to_one))) / 2


def wasserstein_distance(a: ArrayLike, b: ArrayLike, geometry: Geometry = "poincare") -> float:
    """Return the 1-Wasserstein distance ``min_π Σ π_ij d(a_i, b_j)`` of two sets with equal weights of their points.

    Exact: by an optimal assignment for sets of one size, else by a linear programme.

    Args:
        a: ``(n, d)``, or ``(n, d + 1)`` in the Lorentz model.
        b: ``(m, d)``, or ``(m, d + 1)``.
        geometry: ``"poincare"``, ``"lorentz"`` or ``"euclidean"``.

    Raises:
        HyperbolicPointsError: a point is not in the model, the sets have different dimensions, or are too large.

    Example:
        >>> round(wasserstein_distance([[0.0, 0.0], [0.0, 0.1]], [[0.0, 0.1], [0.5, 0.0]]), 4)  # log 3 / 2
        0.5493
    """
    from scipy.optimize import linear_sum_assignment

    one, other = checked_pair(a, b, geometry)
    equal = len(one) == len(other)
    limit = MAX_PAIRS if equal else MAX_TRANSPORT_PAIRS
    if len(one) * len(other) > limit:
        advice = "take fewer points" + " or sets of one size" * (not equal)
        raise HyperbolicPointsError(
            f"expected at most {limit} pairs of points, got {len(one)} × {len(other)}; {advice}"
        )
    cost = _lengths(_separations(one, other, geometry), geometry)
    if equal:
        return float(cost[linear_sum_assignment(cost)].mean())
    return _transport_cost(cost)


def _separations(one: Floats, other: Floats, geometry: Geometry) -> Floats:
    """Return ``|x − y|²``, in hyperbolic space divided by ``(1 − |x|²)(1 − |y|²)``; they grow with the distance."""
    from scipy.spatial.distance import cdist

    table: Floats = cdist(one, other, "sqeuclidean")
    if geometry != "euclidean":
        table /= (1 - squared_norm(one))[:, None] * (1 - squared_norm(other))
    return table


def _lengths(separations: Floats, geometry: Geometry) -> Floats:
    """Return the distances of `_separations`."""
    root = np.sqrt(separations)
    return root if geometry == "euclidean" else 2 * np.arcsinh(root)


def _transport_cost(cost: Floats) -> float:
    """Return the least cost of moving equal weights of the rows to equal weights of the columns."""
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    rows, columns = cost.shape
    variable = np.arange(cost.size)
    row, column = np.divmod(variable, columns)
    sums = coo_array(
        (np.ones(2 * cost.size), (np.append(row, rows + column), np.append(variable, variable))),
        shape=(rows + columns, cost.size),
    )
    # Scaled to whole numbers, so that the sums of both sides are equal to the last bit.
    amounts = np.append(np.full(rows, float(columns)), np.full(columns, float(rows)))
    result = linprog(cost.ravel(), A_eq=sums.tocsr(), b_eq=amounts, bounds=(0, None), method="highs")
    if result.status != 0:
        raise HyperbolicPointsError(f"expected the linear programme to be solved, got {result.message!r}")
    return float(result.fun) / cost.size
