"""Isometries of hyperbolic space, on the Poincaré ball."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .hyperbolic_points import HyperbolicPointsError, check_ball, lorentz_from_ball, squared_norm

Floats = NDArray[np.float64]

ORTHOGONAL_TOLERANCE = 1e-9
"""Largest entry of ``QᵀQ − 1``; a product of many rotations has about 1e-12."""


def mobius_add(a: Floats, y: Floats) -> Floats:
    """Return ``a ⊕ y = ((1 − |a|²)(y + a) + |y + a|² a) / (|y + a|² + (1 − |a|²)(1 − |y|²))``.

    This is the usual ``((1 + 2⟨a, y⟩ + |y|²) a + (1 − |a|²) y) / (1 + 2⟨a, y⟩ + |a|²|y|²)``, arranged so that nothing
    cancels where ``y`` is near ``−a``. ``y ↦ a ⊕ y`` is the isometry that moves the origin to ``a`` along a geodesic.

    Args:
        a: points of the ball, ``(..., d)``.
        y: points of the ball, of a shape that broadcasts.

    Source: Ungar, *A gyrovector space approach to hyperbolic geometry*, 2008.

    Example:
        >>> mobius_add(np.array([0.5, 0.0]), np.array([[0.0, 0.0], [-0.5, 0.0]])).tolist()
        [[0.5, 0.0], [0.0, 0.0]]
    """
    total = y + a
    square, gap = squared_norm(total)[..., None], 1 - squared_norm(a)[..., None]
    return (gap * total + square * a) / (square + gap * (1 - squared_norm(y)[..., None]))


@dataclass(frozen=True)
class MobiusMap:
    """An isometry of hyperbolic space: ``y ↦ a ⊕ Q y`` on the Poincaré ball.

    All isometries have this form. In the plane those with ``det Q = 1`` are the Möbius maps of the unit disk.

    Attributes:
        rotation: orthogonal matrix ``Q``, ``(d, d)``; reflections are allowed.
        translation: image ``a`` of the origin, ``(d,)``, inside the unit ball.

    Raises:
        HyperbolicPointsError: the matrix is not orthogonal, or the image of the origin is not inside the ball.

    Example:
        >>> turn = MobiusMap(rotation=[[0.0, -1.0], [1.0, 0.0]], translation=[0.5, 0.0])
        >>> turn.apply([[0.0, 0.0], [0.0, 0.5]]).round(6).tolist()
        [[0.5, 0.0], [0.0, 0.0]]
    """

    rotation: ArrayLike
    translation: ArrayLike

    def __post_init__(self) -> None:
        matrix = np.array(self.rotation, np.float64)
        origin = check_ball(np.atleast_2d(np.array(self.translation, np.float64)), "the image of the origin")[0]
        square = matrix.shape == (len(origin), len(origin))
        if not square or not np.abs(matrix.T @ matrix - np.eye(len(origin))).max() <= ORTHOGONAL_TOLERANCE:
            raise HyperbolicPointsError(
                f"expected an orthogonal matrix of {len(origin)} rows as rotation, got {matrix.tolist()}"
            )
        object.__setattr__(self, "rotation", matrix)
        object.__setattr__(self, "translation", origin)

    def apply(self, points: ArrayLike) -> Floats:
        """Return the images of points of the Poincaré ball, ``(n, d)``.

        Raises:
            HyperbolicPointsError: a point, or its image after rounding, is not inside the ball.
        """
        y = check_ball(points)
        matrix, origin = np.asarray(self.rotation), np.asarray(self.translation)
        if y.shape[1] != len(origin):
            raise HyperbolicPointsError(f"expected points with {len(origin)} coordinates, got {y.shape[1]}")
        return check_ball(mobius_add(origin, y @ matrix.T), "images")


def centred(points: Floats) -> Floats:
    """Return points of the Poincaré ball after the isometry that moves their centroid to the origin.

    The centroid is the mean of the points in the Lorentz model, scaled back to the hyperboloid. Points are returned as
    they are if the farthest would become farther.

    Args:
        points: ``(n, d)``.
    """
    mean = lorentz_from_ball(points).mean(0)
    scale = np.sqrt(mean[0] ** 2 - squared_norm(mean[1:]))
    moved = mobius_add(-mean[1:] / (scale + mean[0]), points)
    farther = squared_norm(moved).max() >= squared_norm(points).max()
    return points if farther else moved
