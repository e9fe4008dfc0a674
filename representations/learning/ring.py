"""Angles of images that form a ring: views of one object that turns."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse import csr_array
from scipy.spatial.distance import pdist, squareform

Floats = NDArray[np.float64]

GRID = 120
"""Angles at which the curve through the ring is computed."""
SMOOTHING = 0.12
"""Width of the kernel of this curve, in radians."""


def ring_angles(points: Floats, neighbours: tuple[int, ...]) -> tuple[Floats, float]:
    """Compute the angle of every point, for points that lie near a closed curve.

    The first two eigenvectors of the diffusion map (Coifman and Lafon, 2006) are cosine and sine of a closed curve,
    whatever the density of the points on it. A graph of too many neighbours cuts across the ring, and one of too few
    falls apart; of several numbers the one is kept for which the points in these coordinates are nearest to a circle.
    The angles are then such that equal changes of the angle are equal changes of the points, as for the image of an
    object that turns. Their origin and direction mean nothing.

    Args:
        points: ``(N, k)``.
        neighbours: numbers of neighbours to try, each below ``N``.

    Returns:
        The angles ``(N,)`` in (−π, π], and the deviation from a circle: the standard deviation of the radii divided by
        their mean; 0.15 to 0.25 for good rings. It does not tell whether there is a ring: a strip has a small one too.

    Raises:
        ValueError: there are not more points than neighbours.

    Example:
        >>> angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 300)
        >>> found, deviation = ring_angles(np.stack([np.cos(angle), np.sin(angle)], 1), (8,))
        >>> error = np.exp(1j * (found - angle)), np.exp(1j * (found + angle))
        >>> bool(max(abs(each.mean()) for each in error) > 0.99)
        True
    """
    if len(points) <= max(neighbours):
        raise ValueError(f"expected more than {max(neighbours)} points, got {len(points)}")
    distance = squareform(pdist(points))
    maps = [_diffusion_coordinates(distance, count) for count in neighbours]
    coordinates = min(maps, key=_deviation)
    angle = np.arctan2(coordinates[:, 1], coordinates[:, 0])
    return _equal_speed(angle, points), _deviation(coordinates)


def _diffusion_coordinates(distance: Floats, neighbours: int) -> Floats:
    """Return the first two eigenvectors, without the constant one, scaled to unit variance, ``(N, 2)``."""
    count = len(distance)
    nearest = np.argsort(distance, 1)[:, 1 : neighbours + 1]
    squared = np.take_along_axis(distance, nearest, 1) ** 2
    scale = np.sqrt(squared[:, -1]).clip(1e-12)
    weight = np.exp(-squared / (scale[:, None] * scale[nearest]))
    graph = csr_array(
        (weight.ravel(), (np.repeat(np.arange(count), neighbours), nearest.ravel())), shape=(count, count)
    )
    graph = graph.maximum(graph.T)
    even = 1 / graph.sum(1)
    graph = graph * even[:, None] * even  # takes out the density of the points
    root = 1 / np.sqrt(graph.sum(1))
    symmetric = (graph * root[:, None] * root).toarray()
    vectors = eigh(symmetric, subset_by_index=(count - 3, count - 2))[1]
    coordinates = vectors * root[:, None]
    coordinates = coordinates - coordinates.mean(0)
    return np.asarray(coordinates / coordinates.std(0))


def _deviation(coordinates: Floats) -> float:
    radius = np.linalg.norm(coordinates, axis=1)
    return float(radius.std() / radius.mean())


def _equal_speed(angle: Floats, points: Floats) -> Floats:
    """Return angles that are proportional to the length of the smoothed curve through the points."""
    grid = np.linspace(-math.pi, math.pi, GRID + 1)
    weight = np.exp((np.cos(grid[:, None] - angle) - 1) / SMOOTHING**2)
    curve = weight @ points / weight.sum(1, keepdims=True)
    length = np.concatenate([[0.0], np.linalg.norm(np.diff(curve, axis=0), axis=1).cumsum()])
    return np.asarray(np.interp(angle, grid, 2 * math.pi * length / length[-1] - math.pi))
