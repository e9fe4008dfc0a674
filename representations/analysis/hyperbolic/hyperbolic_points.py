"""Points of hyperbolic space of curvature −1 in three models.

* Poincaré ball: ``y``, ``|y| < 1``. Angles are true.
* Klein ball: ``p = 2y / (1 + |y|²)``, ``|p| < 1``. Geodesics are straight.
* Lorentz model: ``(x₀, x)`` with ``x₀² − |x|² = 1`` and ``x₀ > 0``. Isometries are linear. ``p = x / x₀``.

Computations use the Poincaré ball. A rounding error of ``ε`` moves a point at distance ``R`` from the origin by about
``ε e^R / 4`` there, and by about ``ε e^{2R} / 8`` in the Klein ball.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

Geometry = Literal["poincare", "lorentz", "euclidean"]
"""Model in which points are given."""

LORENTZ_TOLERANCE = 1e-5
"""Largest relative error of ``x₀``: that of a few float32 operations is about 1e-6."""


class HyperbolicPointsError(ValueError):
    """Points are outside their space, not finite, equal, or in a position that has no Delaunay graph."""


def check_points(points: ArrayLike, what: str = "points") -> Floats:
    """Return points as a float64 array ``(n, d)``, after checking that they are finite.

    Args:
        points: ``(n, d)``, ``n ≥ 1`` and ``d ≥ 1``.
        what: name of the points in messages.

    Raises:
        HyperbolicPointsError: the shape or type is another one, or a coordinate is not finite.

    Example:
        >>> check_points([[0, 1], [2, 3]]).dtype
        dtype('float64')
    """
    array: Any = np.asarray(points)
    if array.ndim != 2 or not array.size or array.dtype.kind not in "fiu":
        raise HyperbolicPointsError(
            f"expected {what} of shape (n, d) with real numbers, got shape {array.shape} of {array.dtype}; "
            "reshape each point to one row"
        )
    array = array.astype(np.float64)
    if np.isfinite(array).all():
        return array  # type: ignore[no-any-return]
    _refuse(~np.isfinite(array).all(1), array, f"{what} with finite coordinates", "remove it")
    return array  # type: ignore[no-any-return]


def check_ball(points: ArrayLike, what: str = "points") -> Floats:
    """Return points of the open unit ball as float64 ``(n, d)``.

    Raises:
        HyperbolicPointsError: a point is on or outside the unit sphere; the message has the index of the first one.

    Example:
        >>> check_ball([[0.0, 0.5], [0.6, 0.8]])
        Traceback (most recent call last):
        equiact.representations.analysis.hyperbolic.hyperbolic_points.HyperbolicPointsError: expected points inside the
        unit ball (|y| < 1), got point 1 of norm 1; do not rescale points into the ball, which is no isometry
    """
    array = check_points(points, what)
    square = squared_norm(array)
    if (bad := np.flatnonzero(square >= 1)).size:
        raise HyperbolicPointsError(
            f"expected {what} inside the unit ball (|y| < 1), got point {bad[0]} of norm "
            f"{square[bad[0]] ** 0.5:.17g}; do not rescale points into the ball, which is no isometry"
        )
    return array


def check_lorentz(points: ArrayLike, what: str = "points") -> Floats:
    """Return points of the Lorentz model as float64 ``(n, d + 1)``, with ``x₀ = √(1 + |x|²)`` to the last bit.

    Args:
        points: ``(n, d + 1)``, ``x₀`` first.
        what: name of the points in messages.

    Raises:
        HyperbolicPointsError: ``x₀`` differs by more than a share of 1e-5, which allows for float32.

    Example:
        >>> check_lorentz([[1.0, 0.0], [1.25, 0.75]]).shape
        (2, 2)
    """
    array = check_points(points, what)
    if array.shape[1] < 2:
        raise HyperbolicPointsError(f"expected {what} (x₀, x₁, …) of the Lorentz model, got one coordinate")
    time = np.hypot(1.0, np.sqrt(squared_norm(array[:, 1:])))
    wrong = ~(np.abs(array[:, 0] - time) <= LORENTZ_TOLERANCE * time)
    _refuse(wrong, array, f"{what} with x₀ = √(1 + |x|²)", "x₀ is the first coordinate, and the curvature −1")
    return np.column_stack([time, array[:, 1:]])


def as_poincare(points: ArrayLike, geometry: Literal["poincare", "lorentz"], what: str = "points") -> Floats:
    """Return points of the Poincaré ball or of the Lorentz model as checked points of the Poincaré ball.

    Raises:
        HyperbolicPointsError: a point is not in the model.
        ValueError: there is no such model.
    """
    if geometry == "poincare":
        return check_ball(points, what)
    if geometry == "lorentz":
        return lorentz_to_poincare(points, what)
    raise ValueError(f"expected the geometry 'poincare' or 'lorentz', got {geometry!r}")


def check_geometry(geometry: str) -> None:
    """Check the name of a geometry.

    Raises:
        ValueError: it is none of ``"poincare"``, ``"lorentz"`` and ``"euclidean"``.
    """
    if geometry not in get_args(Geometry):
        raise ValueError(f"expected a geometry among {', '.join(get_args(Geometry))}, got {geometry!r}")


def squared_norm(points: Floats) -> Floats:
    """Return ``|y|²`` along the last axis."""
    return np.einsum("...i,...i->...", points, points)  # type: ignore[no-any-return]


def lorentz_from_ball(y: Floats) -> Floats:
    """Return the points of the Lorentz model ``((1 + |y|²), 2y) / (1 − |y|²)``, ``(n, d + 1)``.

    Args:
        y: checked points of the Poincaré ball, ``(n, d)``.

    Example:
        >>> lorentz_from_ball(np.array([[0.5, 0.0]])).round(3).tolist()
        [[1.667, 1.333, 0.0]]
    """
    gap = 1 - squared_norm(y)[:, None]
    return np.concatenate([2 / gap - 1, 2 * y / gap], axis=1)


def lorentz_to_poincare(points: ArrayLike, what: str = "points") -> Floats:
    """Return ``x / (1 + x₀)``, ``(n, d)``.

    Raises:
        HyperbolicPointsError: a point is not on the hyperboloid, or so far away that it is rounded to the sphere.
    """
    x = check_lorentz(points, what)
    return check_ball(x[:, 1:] / (1 + x[:, :1]), what)


def poincare_to_klein(points: ArrayLike) -> Floats:
    """Return ``2y / (1 + |y|²)``, ``(n, d)``.

    Raises:
        HyperbolicPointsError: a point is not inside the ball, or is rounded to the sphere.

    Example:
        >>> poincare_to_klein([[0.5, 0.0]]).tolist()
        [[0.8, 0.0]]
    """
    y = check_ball(points)
    return check_ball(2 * y / (1 + squared_norm(y)[:, None]))


def _refuse(wrong: NDArray[np.bool_], points: Floats, expected: str, advice: str) -> None:
    """Raise for the first wrong point."""
    if (bad := np.flatnonzero(wrong)).size:
        first = np.array2string(points[bad[0]], precision=6, threshold=6)
        raise HyperbolicPointsError(f"expected {expected}, got point {bad[0]}: {first}; {advice}")
