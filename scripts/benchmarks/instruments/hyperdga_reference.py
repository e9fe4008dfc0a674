"""HyperDGA in the plane by loops: two slow rivals, which also check the fast form.

`reference_edges` has lean loops, as the definition reads: one over the points for the power diagram, one over the
triangles for the Voronoi vertices, and one over their sides for the intersection with the disk. At a border of the
triangulation it looks at the ray of the edge itself.

`published_edges` takes the steps of the published scripts, written anew: triangles are oriented by a determinant, a
Voronoi vertex is read from the normal of a lifted triangle, all Voronoi cells are listed and put in order, and
intersections with the disk are computed by slopes and angles. `published_score` then looks up the ends of each edge in
lists. At a border it also accepts the ray of another side of the same triangle.

Source: code of Medbouhi et al., *Hyperbolic Delaunay geometric alignment*, ECML 2024
(https://github.com/anissmedbouhi/HyperDGA, experiment 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

Floats = NDArray[np.float64]
Edge = tuple[int, int]
Triangle = tuple[int, int, int]

INFINITY = -1
"""Number of the end of a ray that has no Voronoi vertex."""


class CellSide(NamedTuple):
    """A side of a Voronoi cell: from one vertex along a unit direction to another.

    Attributes:
        ends: numbers of the two vertices; one may be `INFINITY`.
        start: the vertex at a finite distance.
        direction: unit vector from there.
    """

    ends: Edge
    start: Floats
    direction: Floats


def reference_edges(klein: Floats) -> set[Edge]:
    """Return the edges ``i < j`` of the hyperbolic Delaunay graph of points in the plane, by lean loops.

    Args:
        klein: Klein coordinates, ``(n, 2)``, ``n ≥ 4``, in general position.
    """
    centres, heights = _lifted(klein)
    hull = ConvexHull(np.column_stack([centres, heights]))
    triangles: list[Triangle] = [(a, b, c) for a, b, c in hull.simplices[hull.equations[:, 2] < 0].tolist()]
    vertices = [_voronoi_vertex(centres[list(each)], heights[list(each)]) for each in triangles]
    kept = set()
    for edge, sides in _triangles_at_edges(triangles).items():
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
    """Return ``1 − |E_het| / |E|`` of two sets in the plane, of which the first has the first rows, by lean loops."""
    return _score(reference_edges(klein), first, len(klein))


def published_edges(klein: Floats) -> set[Edge]:
    """Return the edges ``i < j`` of the hyperbolic Delaunay graph of points in the plane, by the published steps.

    Args:
        klein: Klein coordinates, ``(n, 2)``, ``n ≥ 4``, in general position.
    """
    centres, heights = _lifted(klein)
    lifted = np.column_stack([centres, heights])
    hull = ConvexHull(lifted)
    triangles = [
        _oriented(sides, centres) for sides, plane in zip(hull.simplices, hull.equations, strict=True) if plane[2] <= 0
    ]
    vertices = np.array([_vertex_from_normal(*lifted[list(each)]) for each in triangles])
    at_edge = _triangles_at_edges(triangles)
    cells = _voronoi_cells(centres, vertices, triangles, at_edge)
    kept = set()
    for index, triangle in enumerate(triangles):
        edges = [_ascending(pair) for pair in combinations(triangle, 2)]
        if np.linalg.norm(vertices[index]) < 1:
            kept.update(edges)
            continue
        for edge in edges:
            sides = at_edge[edge]
            if len(sides) == 2:
                meets = _segment_meets_disk(vertices[sides[0]], vertices[sides[1]])
            else:
                rays = [side for end in edge for side in cells[end] if side.ends == (index, INFINITY)]
                meets = any(_ray_meets_disk(ray) for ray in rays)
            if meets:
                kept.add(edge)
    return kept


def published_score(klein: Floats, first: int) -> float:
    """Return ``1 − |E_het| / |E|`` of two sets in the plane, of which the first has the first rows, as published."""
    return _score(published_edges(klein), first, len(klein))


def _score(edges: set[Edge], first: int, number: int) -> float:
    """Return the share of edges inside a set; the ends of each edge are looked up in lists."""
    in_first, in_second = list(range(first)), list(range(first, number))
    same = 0
    for i, j in edges:
        if (i in in_second and j in in_second) or (i in in_first and j in in_first):
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


def _ascending(pair: Sequence[int]) -> Edge:
    i, j = pair
    return (i, j) if i < j else (j, i)


def _triangles_at_edges(triangles: list[Triangle]) -> dict[Edge, list[int]]:
    """Return the numbers of the one or two triangles at each edge."""
    at_edge: dict[Edge, list[int]] = {}
    for index, triangle in enumerate(triangles):
        for pair in combinations(triangle, 2):
            at_edge.setdefault(_ascending(pair), []).append(index)
    return at_edge


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


def _oriented(corners: NDArray[np.int32], centres: Floats) -> Triangle:
    """Return the corners of a triangle counterclockwise; they stay NumPy integers, as in the published scripts."""
    a, b, c = corners
    is_counterclockwise = np.linalg.det(np.column_stack([centres[[a, b, c]], np.ones(3)])) > 0
    return (a, b, c) if is_counterclockwise else (a, c, b)


def _vertex_from_normal(a: Floats, b: Floats, c: Floats) -> Floats:
    """Return the Voronoi vertex of a lifted triangle, from its normal."""
    normal = np.cross(a, b) + np.cross(b, c) + np.cross(c, a)
    normal = normal / np.linalg.norm(normal)
    vertex: Floats = -0.5 / normal[2] * normal[:2]
    return vertex


def _voronoi_cells(
    centres: Floats, vertices: Floats, triangles: list[Triangle], at_edge: dict[Edge, list[int]]
) -> dict[int, list[CellSide]]:
    """Return the sides of the Voronoi cell of each point, each behind the one that it continues."""
    cells: dict[int, list[CellSide]] = {corner: [] for triangle in triangles for corner in triangle}
    for index, (a, b, c) in enumerate(triangles):
        start = vertices[index]
        for i, j, third in ((a, b, c), (b, c, a), (c, a, b)):
            sides = at_edge[_ascending((i, j))]
            if len(sides) == 2:
                other = sides[1] if sides[0] == index else sides[0]
                along = vertices[other] - start
                cells[i].append(CellSide((index, other), start, along / np.linalg.norm(along)))
            else:
                away = _outward(centres[[i, j]], centres[third])
                away = away / np.linalg.norm(away)
                cells[i].append(CellSide((index, INFINITY), start, away))
                cells[j].append(CellSide((INFINITY, index), start, -away))
    for cell in cells.values():
        _put_in_order(cell)
    return cells


def _put_in_order(cell: list[CellSide]) -> None:
    """Swap the sides of a cell so that each begins where the one before ends."""
    first = min(range(len(cell)), key=lambda index: cell[index].ends[0])
    cell[0], cell[first] = cell[first], cell[0]
    for i in range(len(cell) - 1):
        for j in range(i + 1, len(cell)):
            if cell[i].ends[1] == cell[j].ends[0]:
                cell[i + 1], cell[j] = cell[j], cell[i + 1]
                break


def _segment_meets_disk(start: Floats, end: Floats) -> bool:
    """Return whether an end is inside the disk, or the line ``y = m x + p`` crosses the circle twice in between."""
    if min(np.linalg.norm(start), np.linalg.norm(end)) < 1:
        return True
    slope = (end[1] - start[1]) / (end[0] - start[0])
    offset = start[1] - slope * start[0]
    discriminant = slope**2 - offset**2 + 1
    if discriminant <= 0:
        return False
    x = (-slope * offset + np.sqrt(discriminant) * np.array([-1, 1])) / (1 + slope**2)
    crossings = np.array([x, slope * x + offset])
    low, high = np.minimum(start, end)[:, None], np.maximum(start, end)[:, None]
    return bool(((low <= crossings) & (crossings <= high)).all())


def _ray_meets_disk(ray: CellSide) -> bool:
    """Return whether a ray from outside the disk is within the angle of the tangents."""
    distance = np.linalg.norm(ray.start)
    cosine = np.dot(ray.direction, -ray.start / distance)
    return bool(np.arccos(np.clip(cosine, -1, 1)) < np.arcsin(1 / distance))
