"""HyperDGA in the plane by loops, as its definition reads: the slow rival, and the check of the fast form.

As in the published scripts there is a loop over the points for the power diagram, one over the triangles for the
Voronoi vertices, and one over their sides for the intersection with the disk. At a border of the triangulation it looks
at the ray of the edge itself; the published scripts also accept the ray of another side of the same triangle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

Floats = NDArray[np.float64]
Edge = tuple[int, int]


def reference_edges(klein: Floats) -> set[Edge]:
    """Return the edges ``i < j`` of the hyperbolic Delaunay graph of points in the plane.

    Args:
        klein: Klein coordinates, ``(n, 2)``, ``n ≥ 4``, in general position.
    """
    centres, heights = _lifted(klein)
    hull = ConvexHull(np.column_stack([centres, heights]))
    triangles = [
        tuple(map(int, sides)) for sides, plane in zip(hull.simplices, hull.equations, strict=True) if plane[2] < 0
    ]
    vertices = [_voronoi_vertex(centres[list(each)], heights[list(each)]) for each in triangles]
    at_edge: dict[Edge, list[int]] = {}
    for index, (a, b, c) in enumerate(triangles):
        for i, j in ((a, b), (b, c), (c, a)):
            at_edge.setdefault((min(i, j), max(i, j)), []).append(index)
    kept = set()
    for edge, sides in at_edge.items():
        start = vertices[sides[0]]
        if len(sides) == 2:
            direction, length = vertices[sides[1]] - start, 1.0
        else:
            third = next(corner for corner in triangles[sides[0]] if corner not in edge)
            direction, length = _outward(centres[list(edge)], centres[third]), np.inf
        if _meets_disk(start, direction, length):
            kept.add(edge)
    return kept


def reference_score(klein: Floats, first: int) -> float:
    """Return ``1 − |E_het| / |E|`` of two sets in the plane, of which the first has the first rows."""
    in_first, in_second = list(range(first)), list(range(first, len(klein)))
    edges = reference_edges(klein)
    same = 0
    for i, j in edges:
        if (i in in_first and j in in_first) or (i in in_second and j in in_second):
            same += 1
    return same / len(edges)


def _lifted(klein: Floats) -> tuple[Floats, Floats]:
    """Return the centres of the power diagram, and the heights ``|c|² − w``."""
    centres, heights = np.zeros(klein.shape), np.zeros(len(klein))
    for index, point in enumerate(klein):
        gap = 1 - np.linalg.norm(point) ** 2
        centres[index] = point / (2 * np.sqrt(gap))
        weight = np.linalg.norm(point) ** 2 / (4 * gap) - 1 / np.sqrt(gap)
        heights[index] = np.linalg.norm(centres[index]) ** 2 - weight
    return centres, heights


def _voronoi_vertex(centres: Floats, heights: Floats) -> Floats:
    """Return the place with the same power to three centres."""
    matrix = 2 * (centres[1:] - centres[0])
    vertex: Floats = np.linalg.solve(matrix, heights[1:] - heights[0])
    return vertex


def _outward(ends: Floats, third: Floats) -> Floats:
    """Return the direction orthogonal to an edge, away from the third corner."""
    along = ends[1] - ends[0]
    normal = np.array([-along[1], along[0]])
    return normal if np.dot(normal, third - ends[0]) < 0 else -normal


def _meets_disk(start: Floats, direction: Floats, length: float) -> bool:
    """Return whether a segment or a ray has a point inside the unit disk."""
    nearest = np.clip(-np.dot(start, direction) / np.dot(direction, direction), 0, length)
    return bool(np.linalg.norm(start + nearest * direction) < 1)
