"""HyperDGA: models of hyperbolic space, the Delaunay graph against brute force, isometries, distances and the test."""

import json
from functools import partial
from itertools import combinations, permutations

import numpy as np
import pytest
import torch
from equiact import TranslationEncoder
from equiact.envs.data.transitions import Transitions
from equiact.envs.storage.artifacts import ArtifactError, write_artifact
from equiact.representations.analysis.hyperbolic import dual_faces, triangulations
from equiact.representations.analysis.hyperbolic.alignment import alignment_test, delaunay_alignment
from equiact.representations.analysis.hyperbolic.delaunay_graph import (
    euclidean_delaunay_edges,
    hyperbolic_delaunay_edges,
)
from equiact.representations.analysis.hyperbolic.hyperbolic_points import (
    HyperbolicPointsError,
    check_lorentz,
    lorentz_from_ball,
    lorentz_to_poincare,
    poincare_to_klein,
)
from equiact.representations.analysis.hyperbolic.hyperbolic_vae import HyperbolicVAE, HyperbolicVAEConfig
from equiact.representations.analysis.hyperbolic.mobius_maps import MobiusMap, centred, mobius_add
from equiact.representations.analysis.hyperbolic.point_set_distances import (
    chamfer_distance,
    pairwise_distances,
    wasserstein_distance,
)
from equiact.representations.analysis.hyperbolic.wrapped_normal import (
    WrappedNormal,
    exp_at_origin,
    exp_map,
    log_at_origin,
    log_map,
    transport_from_origin,
    transport_to_origin,
)
from equiact.representations.learning.config import ConfigError, OptimConfig
from equiact.scripts.analyses.analyze_alignment import frame_episodes
from equiact.scripts.benchmarks.instruments import hyperdga_benchmark as benchmark
from equiact.scripts.benchmarks.instruments.hyperdga_reference import (
    published_edges,
    published_score,
    reference_edges,
    reference_score,
)
from equiact.scripts.benchmarks.instruments.instrument import InstrumentRun
from equiact.scripts.cli import main
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.spatial import Delaunay


def points_of(number, dim, seed=0, scale=2.0):
    return benchmark.random_points(number, dim, scale, np.random.default_rng(seed))


def isometry_of(dim, seed, reach=2.0):
    random = np.random.default_rng(seed)
    direction = random.normal(size=dim)
    shift = np.tanh(reach * random.random() / 2) * direction / np.linalg.norm(direction)
    return MobiusMap(np.linalg.qr(random.normal(size=(dim, dim)))[0], shift)


def as_set(edges):
    return set(map(tuple, edges.tolist()))


def brute_force(poincare):
    """Edges by the published definition: the smallest |z| over the dual face in the power diagram, pair by pair."""
    klein = poincare_to_klein(poincare)
    gap = 1 - (klein**2).sum(1)
    centre = klein / (2 * np.sqrt(gap))[:, None]
    height = (centre**2).sum(1) - (klein**2).sum(1) / (4 * gap) + 1 / np.sqrt(gap)
    edges = set()
    for i, j in combinations(range(len(klein)), 2):
        slope, offset = -2 * (centre - centre[i]), height - height[i]  # power of each point less that of i
        others = [k for k in range(len(klein)) if k not in (i, j)]
        lorentz = lorentz_from_ball(poincare[[i, j]]).sum(0)
        constraints = [{"type": "eq", "fun": lambda z, a=slope[j], b=offset[j]: a @ z + b}]
        if others:
            constraints.append({"type": "ineq", "fun": lambda z, a=slope[others], b=offset[others]: a @ z + b})
        found = minimize(
            lambda z: z @ z, lorentz[1:] / lorentz[0], jac=lambda z: 2 * z, method="SLSQP",
            constraints=constraints, options={"maxiter": 300, "ftol": 1e-13},
        )  # fmt: skip
        power = slope @ found.x + offset
        if abs(power[j]) < 1e-7 and power.min() > -1e-7 and found.fun < 1:
            edges.add((i, j))
    return edges


# Models and distances


@given(st.integers(0, 10**6), st.integers(1, 5), st.floats(0.01, 6))
@settings(max_examples=30, deadline=None)
def test_models_convert_into_each_other(seed, dim, scale):
    y = points_of(6, dim, seed, scale)
    lorentz, klein = lorentz_from_ball(y), poincare_to_klein(y)
    np.testing.assert_allclose(lorentz_to_poincare(lorentz), y, atol=1e-12)
    square = lorentz[:, 0] ** 2 - (lorentz[:, 1:] ** 2).sum(1)
    np.testing.assert_allclose(square, 1, atol=1e-7 * lorentz[:, 0].max() ** 2)
    np.testing.assert_allclose(lorentz[:, 1:] / lorentz[:, :1], klein, atol=1e-12)


def test_distances_are_those_of_the_klein_formula_and_accurate_for_near_points():
    x, y = points_of(50, 3, 1, 1.0), points_of(50, 3, 2, 1.0)
    p, q = poincare_to_klein(x), poincare_to_klein(y)
    ratio = (1 - (p * q).sum(1)) / np.sqrt((1 - (p**2).sum(1)) * (1 - (q**2).sum(1)))
    np.testing.assert_allclose(pairwise_distances(x, y).diagonal(), np.arccosh(ratio), rtol=1e-9)
    lorentz = [lorentz_from_ball(each) for each in (x, y)]
    np.testing.assert_allclose(pairwise_distances(*lorentz, "lorentz").diagonal(), np.arccosh(ratio), rtol=1e-9)
    for step in (1e-6, 1e-12, 1e-100):  # 2 |dx| / (1 − |x|²) at the origin
        np.testing.assert_allclose(pairwise_distances([[0.0, 0.0]], [[step, 0.0]]), [[2 * step]], rtol=1e-9)
    assert pairwise_distances(x, x[:2]).shape == (50, 2)
    assert pairwise_distances(x, x).diagonal().max() == 0


@pytest.mark.parametrize(
    ("points", "geometry", "message"),
    [
        ([[0.0, 0.1], [0.6, 0.8]], "poincare", "inside the unit ball .* got point 1 of norm 1;"),
        ([[3.0, 0.1], [0.6, 0.8]], "poincare", "got point 0 of norm 3"),
        ([[0.0, 0.1], [np.nan, 0.8]], "poincare", "finite coordinates, got point 1"),
        ([[0.0, np.inf]], "lorentz", "finite coordinates, got point 0"),
        ([[1.0, 0.0], [1.0, 0.5]], "lorentz", "x₀ = .* got point 1"),
        ([[-1.0, 0.0]], "lorentz", "x₀ = .* got point 0"),
        ([[1.0]], "lorentz", "got one coordinate"),
        ([0.1, 0.2], "poincare", r"shape \(n, d\)"),
        (np.zeros((0, 2)), "poincare", r"shape \(n, d\)"),
        ([["a", "b"]], "poincare", "real numbers"),
        (np.ones((2, 2), complex), "poincare", "real numbers"),
        ([[0.1, 0.2]], "poincare", "at least two points, got 1"),
        ([[0.1, 0.2], [0.3, 0.1], [0.1, 0.2]], "poincare", "same coordinates at 0 and 2"),
        ([[0.0, 0.0], [np.tanh(6.1), 0.0]], "poincare", "within 12 of the origin, got point 1 at 12.2"),
        ([[0.0, 0.0], [0.1, 0.1], [0.2, 0.2], [0.3, 0.3]], "euclidean", "hyperplane"),
        ([[0.0, 0.0, 0.0], [0.1, 0.1, 0.0], [0.2, 0.2, 0.0]], "euclidean", "hyperplane"),
        ([[0.0, 0.0], [0.1, 0.0], [0.2, 0.0], [0.3, 0.0]], "poincare", "hyperplane"),
        ([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1e-17, 1e-17]], "euclidean", "1 that merge with others, the first at"),
        (points_of(100, 8), "poincare", "at most 1000000 simplices, got 100 points in 8 dimensions"),
        ([[0.0, 0.0], [0.1, 0.0]], "klein", "geometry"),
    ],
)
def test_bad_points_are_refused(points, geometry, message):
    graph = (
        euclidean_delaunay_edges if geometry == "euclidean" else partial(hyperbolic_delaunay_edges, geometry=geometry)
    )
    with pytest.raises(ValueError, match=message):
        graph(points)


def test_lorentz_points_in_single_precision_are_accepted_and_corrected():
    exact = lorentz_from_ball(points_of(100, 2))
    corrected = check_lorentz(exact.astype(np.float32))
    np.testing.assert_array_equal(corrected[:, 0], np.hypot(1, np.linalg.norm(corrected[:, 1:], axis=1)))
    with pytest.raises(HyperbolicPointsError, match="x₀"):
        check_lorentz(exact * 1.0001)


# Isometries


@given(st.integers(0, 10**6), st.integers(2, 4))
@settings(max_examples=30, deadline=None)
def test_mobius_maps_are_isometries(seed, dim):
    x, y, move = points_of(20, dim, seed, 1.0), points_of(20, dim, seed + 1, 1.0), isometry_of(dim, seed)
    np.testing.assert_allclose(pairwise_distances(move.apply(x), move.apply(y)), pairwise_distances(x, y), rtol=1e-9)
    np.testing.assert_allclose(move.apply(np.zeros((1, dim)))[0], move.translation, atol=1e-15)
    np.testing.assert_allclose(mobius_add(-np.asarray(move.translation), move.apply(x)), x @ move.rotation.T, atol=1e-9)


def test_in_the_plane_they_are_the_maps_of_the_unit_disk():
    z, a = points_of(30, 2) @ [1, 1j], 0.3 - 0.4j
    quarter = MobiusMap([[0.0, -1.0], [1.0, 0.0]], [a.real, a.imag])
    expected = (1j * z + a) / (1 + a.conjugate() * 1j * z)
    np.testing.assert_allclose(quarter.apply(np.column_stack([z.real, z.imag])) @ [1, 1j], expected, atol=1e-12)


def test_near_the_boundary_nothing_cancels():
    spread = points_of(20, 2, 0, 0.01)
    far = np.array([np.tanh(5), 0.0])
    back = mobius_add(-far, mobius_add(far, spread))
    np.testing.assert_allclose(back, spread, atol=1e-11)  # 1e-16 e^10


@pytest.mark.parametrize(
    ("rotation", "translation"),
    [([[1.0, 0.1], [0.0, 1.0]], [0.0, 0.0]), (np.eye(3), [0.0, 0.0]), (np.eye(2), [1.0, 0.0])],
)
def test_maps_that_are_no_isometries_are_refused(rotation, translation):
    with pytest.raises(HyperbolicPointsError, match=r"orthogonal|unit ball"):
        MobiusMap(rotation, translation)
    with pytest.raises(HyperbolicPointsError, match="2 coordinates, got 3"):
        MobiusMap(np.eye(2), [0.1, 0.0]).apply(points_of(3, 3))


def test_centring_moves_the_centroid_to_the_origin_and_never_away():
    cluster = mobius_add(np.array([np.tanh(4), 0.0]), points_of(50, 2, 0, 0.5))
    moved = centred(cluster)
    np.testing.assert_allclose(lorentz_from_ball(moved)[:, 1:].mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(pairwise_distances(moved[1:], moved[:1]), pairwise_distances(cluster[1:], cluster[:1]))
    symmetric = np.array([[0.9, 0.0], [0.9, 0.001], [-0.9, 0.0]])  # the centroid is off the middle
    assert centred(symmetric) is symmetric


# The Delaunay graph


@pytest.mark.parametrize("scale", [0.5, 2.0, 4.0])
@pytest.mark.parametrize("seed", range(5))
def test_in_the_plane_it_is_the_graph_of_the_definition(seed, scale):
    points = points_of(200, 2, seed, scale)
    edges, klein = hyperbolic_delaunay_edges(points), poincare_to_klein(points)
    assert as_set(edges) == reference_edges(klein) == published_edges(klein)
    assert np.all(edges[:, 0] < edges[:, 1]) and np.all(np.diff(edges @ [1000, 1]) > 0)


@pytest.mark.parametrize(("number", "dim"), [(3, 2), (10, 2), (4, 3), (12, 3), (20, 3), (12, 4), (5, 5), (13, 5)])
@pytest.mark.parametrize(("seed", "scale"), [(0, 0.7), (1, 2.0), (2, 3.0)])
def test_in_any_dimension_it_is_that_of_brute_force(number, dim, seed, scale):
    points = points_of(number, dim, seed, scale)
    assert as_set(hyperbolic_delaunay_edges(points)) == brute_force(points)


def test_all_ways_to_decide_on_an_edge_are_taken(monkeypatch):
    answers = []

    def counted(*arguments):
        answers.append(original(*arguments))
        return answers[-1]

    original = dual_faces.dual_face_is_finite
    monkeypatch.setattr(dual_faces, "dual_face_is_finite", counted)
    edges = hyperbolic_delaunay_edges(points_of(40, 5, 3))
    assert 5 < answers.count(True) < len(edges) / 2 and answers.count(False) > 5


@pytest.mark.parametrize(("number", "dim"), [(150, 3), (60, 4)])
def test_the_quick_decisions_are_those_of_the_dual_face(number, dim, monkeypatch):
    points = [points_of(number, dim, seed, scale) for seed, scale in enumerate((1.0, 2.0, 3.0))]
    quick = [hyperbolic_delaunay_edges(each) for each in points]

    def undecided(excess, size):
        return np.zeros(excess.shape, bool), np.zeros(excess.shape, bool)

    monkeypatch.setattr(dual_faces, "_longest_sides", undecided)
    monkeypatch.setattr(dual_faces, "_require_empty_balls", lambda points, simplices, neighbours, weights: None)
    monkeypatch.setattr(dual_faces, "_circumcentre_weights", lambda excess, size: -np.ones((len(excess), size)))
    for each, edges in zip(points, quick, strict=True):
        np.testing.assert_array_equal(hyperbolic_delaunay_edges(each), edges)


def test_an_edge_whose_dual_face_is_nearly_central_but_ends_outside_is_none():
    """Two corners are a little nearer to the midpoint than the ends, from opposite sides: all else is far out."""
    for height, expected in ((0.4844, False), (0.51, True)):
        points = np.array([[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, height, -1e-3], [0.0, -height, -1e-3]])
        edges = as_set(hyperbolic_delaunay_edges(points))
        assert ((0, 1) in edges) == expected and edges == brute_force(points)


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_every_place_has_its_two_nearest_points_joined(dim):
    points, places = points_of(40, dim, 1), points_of(20_000, dim, 2, 3.0)
    nearest = np.argsort(pairwise_distances(places, points, "poincare"), axis=1)[:, :2]
    assert set(map(tuple, np.sort(nearest, axis=1).tolist())) <= as_set(hyperbolic_delaunay_edges(points))


def test_on_a_geodesic_neighbours_are_joined():
    path = np.array([0.8, -0.5, 0.1, -0.9])
    chain = [(0, 2), (1, 2), (1, 3)]
    assert as_set(hyperbolic_delaunay_edges(path[:, None])) == set(chain)
    assert as_set(euclidean_delaunay_edges(path[:, None])) == set(chain)
    three = np.column_stack([path, 0 * path, 0 * path])[:3]
    assert as_set(hyperbolic_delaunay_edges(three)) == {(0, 2), (1, 2)}
    assert as_set(hyperbolic_delaunay_edges(three[:, :2])) == {(0, 2), (1, 2)}
    assert as_set(hyperbolic_delaunay_edges(three[:2])) == {(0, 1)}
    assert dual_faces.dual_face_is_finite(three, (0, 1), np.array([], np.int64))


def test_a_triangle_loses_its_longest_side_where_it_has_no_circumcentre():
    """The ideal limit: a right angle at the origin with legs of length r has a circumcentre while sinh(r/2) < 1."""
    limit = np.tanh(np.arcsinh(1))
    for factor, edges in ((0.999, 3), (1.001, 2)):
        corner = factor * limit
        found = as_set(hyperbolic_delaunay_edges([[0.0, 0.0], [corner, 0.0], [0.0, corner]]))
        assert len(found) == edges and ((1, 2) in found) == (edges == 3)


def test_small_sets_have_nearly_the_euclidean_graph_and_large_ones_a_sparse_one():
    tiny = points_of(100, 2, 0, 1e-3)
    assert as_set(hyperbolic_delaunay_edges(tiny)) >= {
        tuple(sorted(pair)) for a, b in Delaunay(tiny).simplices[:, :2] for pair in [(int(a), int(b))]
    } - brute_border(tiny)
    far = points_of(100, 2, 0, 6.0)
    assert len(hyperbolic_delaunay_edges(far)) < 0.8 * len(euclidean_delaunay_edges(far))


def brute_border(points):
    """Edges of the Euclidean convex hull and near it, which may have no dual point at a finite distance."""
    triangulation = Delaunay(points)
    border = triangulation.simplices[(triangulation.neighbors < 0).any(1)]
    return {tuple(sorted(map(int, pair))) for simplex in border for pair in combinations(simplex, 2)}


@pytest.mark.parametrize(("number", "dim"), [(60, 2), (40, 3), (4, 3), (30, 4)])
def test_euclidean_edges_are_those_with_an_empty_ball(number, dim):
    points = np.random.default_rng(dim).normal(size=(number, dim)) * 1e3 + 1e4
    edges = as_set(euclidean_delaunay_edges(points))
    gabriel = set()
    for i, j in combinations(range(number), 2):
        middle, radius = (points[i] + points[j]) / 2, np.linalg.norm(points[i] - points[j]) / 2
        if np.all(np.linalg.norm(np.delete(points, [i, j], 0) - middle, axis=1) > radius):
            gabriel.add((i, j))
    assert gabriel <= edges
    simplices = Delaunay(points).simplices if number > dim + 1 else [range(number)]
    assert edges == {tuple(sorted(map(int, pair))) for each in simplices for pair in combinations(each, 2)}


@given(st.integers(0, 10**6), st.integers(2, 4), st.floats(0.3, 3))
@settings(max_examples=40, deadline=None)
def test_isometries_leave_the_edges_unchanged(seed, dim, scale):
    points, move = points_of(40, dim, seed, scale), isometry_of(dim, seed)
    expected = hyperbolic_delaunay_edges(points)
    np.testing.assert_array_equal(hyperbolic_delaunay_edges(move.apply(points)), expected)
    np.testing.assert_array_equal(hyperbolic_delaunay_edges(lorentz_from_ball(points), "lorentz"), expected)


@pytest.mark.parametrize(
    ("radius", "spread", "accurate"),
    [(3, 3e-3, True), (5, 0.01, True), (6, 0.01, True), (8, 0.1, True), (9, 0.3, True), (6, 1e-3, False)]
    + [(8, value, False) for value in (0.01, 3e-3)]
    + [(10, value, False) for value in (0.03, 1e-3)],
)
def test_what_rounding_would_get_wrong_is_refused(radius, spread, accurate):
    """Two clusters far apart: the edges inside one are those of this one alone, or the points are refused."""
    refused = 0
    for seed in range(4):
        one, other = points_of(50, 2, 2 * seed, spread), points_of(50, 2, 2 * seed + 1, spread)
        away = np.array([np.tanh((radius - 3 * spread) / 2), 0.0])
        both = np.concatenate([mobius_add(away, one), mobius_add(-away, other)])
        try:
            edges = hyperbolic_delaunay_edges(both)
        except HyperbolicPointsError:
            refused += 1
            continue
        inside = as_set(edges[edges.max(1) < 50])
        assert inside <= as_set(hyperbolic_delaunay_edges(one)) and len(inside) > 100
    assert refused == 0 if accurate else refused >= 2


def test_one_cluster_far_out_is_as_accurate_as_at_the_origin():
    cluster = points_of(50, 2, 0, 0.003)
    for radius in (6.0, 9.0):
        away = np.array([np.tanh(radius / 2), 0.0])
        np.testing.assert_array_equal(
            hyperbolic_delaunay_edges(mobius_add(away, cluster)), hyperbolic_delaunay_edges(cluster)
        )


def test_a_wrong_triangulation_is_refused(monkeypatch):
    points = points_of(30, 2, 0, 1.0)

    def flipped(lorentz):
        simplices, neighbours = original(lorentz)
        first, other = 0, int(neighbours[0].max())
        far = (set(simplices[other]) - set(simplices[first])).pop()
        near = (set(simplices[first]) - set(simplices[other])).pop()
        shared = sorted(set(simplices[first]) & set(simplices[other]))
        simplices[first], simplices[other] = [near, far, shared[0]], [near, far, shared[1]]
        neighbours[:] = -1
        neighbours[first, 2] = other  # opposite to the corner that is not shared
        return simplices, neighbours

    from equiact.representations.analysis.hyperbolic import delaunay_graph

    original = triangulations.visible_facets
    monkeypatch.setattr(delaunay_graph, "visible_facets", flipped)
    with pytest.raises(HyperbolicPointsError, match="1 wrong simplices"):
        hyperbolic_delaunay_edges(points)


def test_the_expected_number_of_simplices_is_that_of_random_points():
    for dim, number in ((2, 4000), (3, 3000), (4, 1500)):
        count = len(Delaunay(np.random.default_rng(0).random((number, dim))).simplices)
        assert 0.7 < count / triangulations.expected_simplices(number, dim) <= 1.05
    assert triangulations.expected_simplices(8, 7) <= 9


# Distances of sets


def by_definition(x, y):
    """The distance of two points of the Poincaré ball, from the Möbius map that moves one to the origin."""
    return 2 * np.arctanh(np.linalg.norm(mobius_add(-x, y)))


def test_chamfer_is_the_mean_of_squared_nearest_distances(monkeypatch):
    a, b = points_of(30, 3, 1), points_of(20, 3, 2)
    for geometry, one, other in (("poincare", a, b), ("lorentz", lorentz_from_ball(a), lorentz_from_ball(b))):
        table = np.array([[by_definition(x, y) for y in b] for x in a])
        expected = ((table.min(1) ** 2).mean() + (table.min(0) ** 2).mean()) / 2
        assert chamfer_distance(one, other, geometry) == pytest.approx(expected, rel=1e-6)
    monkeypatch.setattr("equiact.representations.analysis.hyperbolic.point_set_distances.CHUNK_PAIRS", 70)
    assert chamfer_distance(a, b) == pytest.approx(expected)
    np.testing.assert_allclose(pairwise_distances(a, b, "poincare"), table)
    flat = np.linalg.norm(a[:, None] - b, axis=2)
    assert chamfer_distance(a, b, "euclidean") == pytest.approx(
        ((flat.min(1) ** 2).mean() + (flat.min(0) ** 2).mean()) / 2
    )
    assert chamfer_distance(a, a) == 0


def test_wasserstein_is_the_best_assignment():
    a, b = points_of(5, 2, 1), points_of(5, 2, 2)
    table = pairwise_distances(a, b, "poincare")
    best = min(np.mean([table[i, j] for i, j in enumerate(order)]) for order in permutations(range(5)))
    assert wasserstein_distance(a, b) == pytest.approx(best)
    assert wasserstein_distance(a, a) == 0


@pytest.mark.parametrize("geometry", ["poincare", "euclidean"])
def test_wasserstein_of_unequal_sizes_is_that_of_repeated_points(geometry):
    a, b = points_of(4, 2, 1), points_of(6, 2, 2)
    repeated = wasserstein_distance(np.repeat(a, 3, 0), np.repeat(b, 2, 0), geometry)
    assert wasserstein_distance(a, b, geometry) == pytest.approx(repeated)
    one = wasserstein_distance(a[:1], b, geometry)
    assert one == pytest.approx(pairwise_distances(a[:1], b, geometry).mean())


@given(st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_isometries_leave_score_and_distances_unchanged(seed):
    a, b, move = points_of(25, 2, seed, 1.0), points_of(25, 2, seed + 1, 2.0), isometry_of(2, seed)
    for measure in (chamfer_distance, wasserstein_distance):
        assert measure(move.apply(a), move.apply(b)) == pytest.approx(measure(a, b), rel=1e-6)
    assert delaunay_alignment(move.apply(a), move.apply(b)).score == delaunay_alignment(a, b).score


def test_too_large_sets_are_refused_before_allocation():
    many = np.zeros((600, 2)) + np.arange(600)[:, None] / 1000
    with pytest.raises(
        HyperbolicPointsError, match=r"at most 250000 pairs of points, got 600 × 599; .* sets of one size"
    ):
        wasserstein_distance(many, many[1:], "euclidean")
    huge = np.broadcast_to(np.zeros((1, 1)), (6000, 1))
    with pytest.raises(
        HyperbolicPointsError, match=r"at most 25000000 pairs of points, got 6000 × 6000; take fewer points$"
    ):
        wasserstein_distance(huge, huge, "euclidean")
    with pytest.raises(HyperbolicPointsError, match="one dimension, got 2 and 3"):
        chamfer_distance(points_of(3, 2), points_of(3, 3))
    with pytest.raises(ValueError, match="geometry among poincare, lorentz, euclidean, got 'klein'"):
        chamfer_distance(points_of(3, 2), points_of(3, 2), "klein")


# Score and test


def test_the_score_is_the_share_of_edges_inside_a_set():
    points = points_of(150, 2, 4)
    found = delaunay_alignment(points[:100], points[100:])
    edges = as_set(hyperbolic_delaunay_edges(points))
    across = {edge for edge in edges if edge[0] < 100 <= edge[1]}
    assert as_set(found.edges) == edges and as_set(found.heterogeneous_edges) == across
    assert found.score == pytest.approx(1 - len(across) / len(edges)) and found.sizes == (100, 50)
    for score in (reference_score, published_score):
        assert found.score == pytest.approx(score(poincare_to_klein(points), 100))


def test_the_expected_score_is_the_mean_over_all_labels():
    points = points_of(6, 2, 0, 1.0)
    scores = [
        delaunay_alignment(points[list(first)], np.delete(points, first, 0)).score
        for first in combinations(range(6), 2)
    ]
    assert delaunay_alignment(points[:2], points[2:]).expected_score == pytest.approx(np.mean(scores))


@pytest.mark.parametrize("geometry", ["poincare", "euclidean"])
def test_the_p_value_is_uniform_for_one_distribution_and_small_for_two(geometry):
    random = np.random.default_rng(0)
    p_values, inside = [], 0
    for _ in range(60):
        points = benchmark.random_points(80, 2, 1.0, random)
        test = alignment_test(points[:30], points[30:], geometry, permutations=200)
        p_values.append(test.p_value)
        inside += test.low <= test.alignment.score <= test.high
    assert 0.35 < np.mean(p_values) < 0.65 and np.mean(np.array(p_values) < 0.1) < 0.25 and inside > 50
    apart = alignment_test(points[:30], np.array([0.3, 0.0]) + 0.3 * points[30:], geometry, permutations=200)
    assert apart.p_value == pytest.approx(1 / 201) and apart.verdict.startswith("apart") and apart.separation > 0.3


def test_the_interval_has_95_percent_of_the_scores_with_random_labels():
    points, random = points_of(120, 2, 3), np.random.default_rng(5)
    test = alignment_test(points[:50], points[50:], permutations=2000)
    edges = test.alignment.edges
    labels = [random.permutation(120) < 50 for _ in range(4000)]
    scores = np.array([(label[edges[:, 0]] == label[edges[:, 1]]).mean() for label in labels])
    assert 0.93 < ((scores >= test.low) & (scores <= test.high)).mean() < 0.97
    assert scores.mean() == pytest.approx(test.expected, abs=0.003)
    share = (scores >= test.alignment.score).mean()
    assert test.p_value == pytest.approx(share, abs=0.04)


def test_paired_points_are_interleaved_and_sets_that_do_not_touch_have_separation_one():
    points = points_of(100, 2, 0, 1.0)
    paired = alignment_test(points, mobius_add(np.array([1e-4, 0.0]), points))
    assert paired.verdict.startswith("interleaved") and paired.separation < -0.05 and paired.p_value > 0.99
    same = alignment_test(points[:50], points[50:])
    assert same.verdict == f"no difference found; a separation below {same.detectable:.2g} would not be noticed"
    few = alignment_test(points[:40], points[40:43], geometry="euclidean")
    assert 0 < same.detectable < few.detectable < 1
    again = alignment_test(points[:50], points[50:])
    assert (same.low, same.high, same.p_value) == (again.low, again.high, again.p_value)
    assert same.low < same.expected < same.high
    far = alignment_test(
        mobius_add(np.array([0.95, 0.0]), 0.1 * points), mobius_add(np.array([-0.95, 0.0]), 0.1 * points)
    )
    assert far.separation > 0.95
    with pytest.raises(HyperbolicPointsError, match="at least 100 permutations, got 99"):
        alignment_test(points[:50], points[50:], permutations=99)


def test_repeated_points_are_named_by_set_and_row():
    points = points_of(10, 2, 0)
    with pytest.raises(HyperbolicPointsError, match="point 3 of A and point 1 of B"):
        delaunay_alignment(points[:6], np.concatenate([points[7:8], points[3:4]]))
    with pytest.raises(HyperbolicPointsError, match="point 0 of B and point 2 of B"):
        delaunay_alignment(points[:6], points[[7, 8, 7]], "euclidean")
    for sizes in ((2, 8), (7, 1)):
        with pytest.raises(HyperbolicPointsError, match=f"got {sizes[0]} of A and {sizes[1]} of B"):
            alignment_test(points[: sizes[0]], points[10 - sizes[1] :])


def clustered(episodes, random, frames=10):
    """Frames of an episode are near to each other; all episodes are of one distribution."""
    centres = random.normal(size=(episodes, 1, 2))
    points = (centres + 0.1 * random.normal(size=(episodes, frames, 2))).reshape(-1, 2)
    return points, np.repeat(np.arange(episodes), frames)


def test_whole_episodes_are_assigned_so_that_frames_need_not_be_independent():
    random = np.random.default_rng(0)
    by_frame, by_episode = [], []
    for seed in range(40):
        (a, of_a), (b, of_b) = clustered(8, random), clustered(6, random)
        given = {"geometry": "euclidean", "permutations": 200, "seed": seed}
        by_frame.append(alignment_test(a, b, **given).p_value)
        by_episode.append(alignment_test(a, b, episodes=(of_a, of_b), **given).p_value)
    assert np.mean(np.array(by_frame) < 0.05) > 0.9  # wrong: all are of one distribution
    assert np.mean(np.array(by_episode) < 0.05) < 0.2 and 0.35 < np.mean(by_episode) < 0.65
    far = alignment_test(a, b + 4, episodes=(of_a, of_b), **given)
    assert far.verdict.startswith("apart") and far.p_value < 0.02


def test_episodes_of_one_point_are_independent_points_and_few_episodes_are_refused():
    points = points_of(60, 2, 3)
    alone = alignment_test(points[:30], points[30:], seed=4)
    named = alignment_test(points[:30], points[30:], episodes=(np.arange(30), np.arange(30)), seed=4)
    assert (named.low, named.high, named.p_value) == (alone.low, alone.high, alone.p_value)
    assert named.expected == pytest.approx(alone.expected, abs=0.01)
    few = np.arange(30) % 4
    with pytest.raises(HyperbolicPointsError, match=r"at least 5 episodes in each set.* got 30 in A and 4 in B"):
        alignment_test(points[:30], points[30:], episodes=(np.arange(30), few))
    with pytest.raises(HyperbolicPointsError, match="an episode for each point"):
        alignment_test(points[:30], points[30:], episodes=(np.arange(30), np.arange(29)))


def test_the_score_grows_with_corruption():
    random, clean = np.random.default_rng(0), points_of(300, 2, 1, 1.0)
    other = benchmark.random_points(300, 2, 1.0, random)
    scores = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        wrong = random.random(300) < share
        moved = np.where(wrong[:, None], mobius_add(np.array([0.6, 0.0]), other), other)
        scores.append(delaunay_alignment(clean, moved).score)
    assert scores == sorted(scores) and scores[0] < 0.52 and scores[-1] > 0.65


# The hyperbolic VAE


def test_maps_of_the_lorentz_model_are_inverse_and_isometric():
    torch.manual_seed(0)
    tangent = torch.randn(50, 3, dtype=torch.float64)
    mean = exp_at_origin(torch.randn(50, 3, dtype=torch.float64))
    torch.testing.assert_close(log_at_origin(exp_at_origin(tangent)), tangent)
    moved = transport_from_origin(tangent, mean)
    torch.testing.assert_close(transport_to_origin(moved, mean), tangent)
    product = (moved[:, 1:] * mean[:, 1:]).sum(1) - moved[:, 0] * mean[:, 0]
    torch.testing.assert_close(product, torch.zeros(50, dtype=torch.float64), atol=1e-10, rtol=0)
    torch.testing.assert_close(moved[:, 1:].square().sum(1) - moved[:, 0] ** 2, tangent.square().sum(1))
    point = exp_map(moved, mean)
    torch.testing.assert_close(log_map(point, mean), moved)
    distance = pairwise_distances(point.numpy(), mean.numpy(), "lorentz").diagonal()
    np.testing.assert_allclose(distance, tangent.norm(dim=1).numpy())
    near = exp_map(1e-3 * moved, mean)
    torch.testing.assert_close(log_map(near, mean), 1e-3 * moved, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_wrapped_normal_integrates_to_one(dim):
    """Importance sampling with the wrapped normal at the origin, whose density is known in polar coordinates."""
    torch.manual_seed(0)
    zero = torch.zeros(200_000, dim, dtype=torch.float64)
    wide = WrappedNormal(exp_at_origin(zero), torch.ones_like(zero))
    sample = wide.rsample(torch.Generator().manual_seed(0))
    narrow = WrappedNormal(exp_at_origin(zero + 0.3), 0.5 * torch.ones_like(zero))
    weight = (narrow.log_prob(sample) - wide.log_prob(sample)).exp()
    assert float(weight.mean()) == pytest.approx(1, abs=0.02)
    length = log_at_origin(sample).norm(dim=1)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(log_at_origin(sample)).sum(1)
    torch.testing.assert_close(wide.log_prob(sample), normal - (dim - 1) * (length.sinh() / length).log())
    with pytest.raises(ValueError, match=r"mean \(..., d \+ 1\)"):
        WrappedNormal(zero, zero)


def trained_vae(steps=300, **changes):
    nodes = benchmark.binary_tree(6)
    torch.manual_seed(0)
    config = HyperbolicVAEConfig(optim=OptimConfig(steps, 1e-2, 64), **changes)
    vae = HyperbolicVAE(nodes.shape[1], config)
    random = np.random.default_rng(0)
    data = np.concatenate([benchmark.flip_bits(nodes, 0.1, random) for _ in range(20)])
    before = float(vae.loss(torch.from_numpy(data).float()).detach())
    vae.fit(data)
    return vae, data, before, nodes


def test_a_vae_learns_and_its_latents_tell_noise():
    vae, data, before, nodes = trained_vae()
    assert float(vae.loss(torch.from_numpy(data).float()).detach()) < 0.75 * before
    random = np.random.default_rng(1)
    sets = [
        vae.encode(np.concatenate([benchmark.flip_bits(nodes, s, random) for _ in range(2)])) for s in (0.1, 0.1, 0.4)
    ]
    same, noisy = (alignment_test(sets[0], other) for other in sets[1:])
    assert same.p_value > 0.01 and noisy.p_value < 0.005 and noisy.alignment.score > same.alignment.score + 0.1
    again = trained_vae()[0]
    np.testing.assert_array_equal(again.encode(nodes), vae.encode(nodes))


def test_the_divergence_of_the_posterior_from_the_prior_is_a_cost():
    torch.manual_seed(0)
    data, losses = torch.ones(5000, 4), []
    for weight in (0.0, 1.0):
        vae = HyperbolicVAE(4, HyperbolicVAEConfig(kl_weight=weight))
        for parameter in vae.parameters():
            torch.nn.init.constant_(parameter, 0.0)
        losses.append(float(vae.loss(data, torch.Generator().manual_seed(0)).detach()))
    assert losses[0] == pytest.approx(4 * np.log(2), rel=1e-5)
    # Both have their mean at the origin: the Gaussians decide, and the stretch cancels. σ = log 2.
    scale = np.log(2) + 1e-4
    assert losses[1] - losses[0] == pytest.approx(2 * (scale**2 / 2 - 0.5 - np.log(scale)), abs=0.03)


def test_means_stay_within_the_radius():
    vae, _, _, nodes = trained_vae(steps=20, max_radius=0.5, latent_dim=3)
    with torch.no_grad():
        vae.encoder[2].weight.mul_(100)
    points = vae.encode(nodes)
    assert points.shape == (63, 3)
    assert 0.4 < (2 * np.arctanh(np.linalg.norm(points, axis=1))).max() <= 0.5 + 1e-6
    for wrong in (nodes[:, 1:], 2 * nodes, nodes - np.nan, nodes[0]):
        with pytest.raises(HyperbolicPointsError, match="expected data"):
            vae.encode(wrong)
    for name, value in (("max_radius", 12.5), ("latent_dim", 0), ("width", 0), ("kl_weight", -1.0)):
        with pytest.raises(ConfigError, match=name):
            HyperbolicVAEConfig(**{name: value})


def test_a_saved_vae_is_the_same_and_a_damaged_one_is_refused(tmp_path):
    torch.manual_seed(0)
    config = HyperbolicVAEConfig(latent_dim=3, width=16, optim=OptimConfig(5, 1e-2, 8))
    vae, folder, data = HyperbolicVAE(6, config), tmp_path / "vae", np.eye(6)
    vae.fit(data)
    vae.save(folder)
    loaded = HyperbolicVAE.load(folder)
    assert (loaded.features, loaded.config) == (6, config)
    np.testing.assert_array_equal(loaded.encode(data), vae.encode(data))
    losses = [each.loss(torch.eye(6), torch.Generator().manual_seed(0)) for each in (vae, loaded)]
    assert float(losses[0].detach()) == float(losses[1].detach())
    card = json.loads((folder / "card.json").read_text())
    for width, message in ((17, "unaltered card"), (None, "unaltered weights")):
        vae.save(folder)
        if width is None:
            weights = folder / card["weights"]["file"]
            content = bytearray(weights.read_bytes())
            content[-1] ^= 1
            weights.write_bytes(bytes(content))
        else:
            altered = {**card, "config": {**card["config"], "width": width}}
            (folder / "card.json").write_text(json.dumps(altered))
        with pytest.raises(ArtifactError, match=message):
            HyperbolicVAE.load(folder)
    write_artifact(tmp_path / "incomplete", "hyperbolic-vae", {"features": 6}, vae.state_dict())
    with pytest.raises(ArtifactError, match=r"card of a hyperbolic VAE .* got 'config'"):
        HyperbolicVAE.load(tmp_path / "incomplete")
    with pytest.raises(ArtifactError, match="saved hyperbolic-vae"):
        HyperbolicVAE.load(tmp_path / "missing")


# The command


def printed(capsys, *arguments):
    status = main(["analyze", "alignment", *map(str, arguments), "--json"])
    output = capsys.readouterr()
    return json.loads(output.out) if status == 0 else " ".join(output.err.split())


@pytest.fixture
def files(tmp_path):
    a, b = points_of(120, 2, 1, 1.0), mobius_add(np.array([0.5, 0.0]), points_of(80, 2, 2, 1.0))
    np.save(tmp_path / "a.npy", a)
    np.savez(tmp_path / "b.npz", agent=np.concatenate([b, b[:5]]), step=np.arange(85))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "damaged.npy").write_bytes(b"no array")
    return tmp_path, a, b


def test_the_command_compares_files(files, capsys):
    folder, a, b = files
    result = printed(capsys, folder / "a.npy", folder / "b.npz", "--latent", "agent", "--geometry", "poincare")
    assert result["score"] == pytest.approx(delaunay_alignment(a, b).score)
    test = alignment_test(a, b)
    assert (result["expected_score"], result["p_value"]) == (test.expected, test.p_value)
    assert result["points"] == "120 and 80" and result["equal_points_left_out"] == 5
    assert result["verdict"].startswith("apart") and result["chamfer"] == pytest.approx(chamfer_distance(a, b))
    assert result["wasserstein"] == pytest.approx(wasserstein_distance(a[:80], b))
    few = printed(capsys, folder / "a.npy", folder / "b.npz", "--latent", "agent", "--max-points", "50")
    assert few["points"] == "50 and 50"


def test_the_command_says_what_is_missing(files, capsys):
    folder = files[0]
    a, b = folder / "a.npy", folder / "b.npz"
    assert "expected --latent with the name of the array" in printed(capsys, a, b)
    assert "among agent, step" in printed(capsys, a, b, "--latent", "pose")
    assert "shape (85,)" in printed(capsys, a, b, "--latent", "step")
    assert "expected two files of points, got 1" in printed(capsys, a)
    assert "got files and --encoder" in printed(capsys, a, a, "--encoder", folder)
    assert "expected two files of points, or --encoder" in printed(capsys)
    assert "the second file to hold points and to end in .npy or .npz" in printed(capsys, a, folder / "c.csv")
    for damaged in ("damaged.npy", "objects.npy"):
        message = printed(capsys, a, folder / damaged)
        assert "expected the second file to be an NPY file" in message and "unsafe" not in message
    assert "expected the first file to be a file" in printed(capsys, folder / "missing.npy", a)
    assert "--max-points of at least 3" in printed(capsys, a, a, "--max-points", "2")


def test_the_command_names_rows_of_points_in_both_sets_and_refuses_too_few(files, capsys):
    folder, a, _ = files
    np.save(folder / "shared.npy", np.concatenate([points_of(7, 2, 9), a[4:5]]))
    assert "row 4 of the first file and row 7 of the second file" in printed(
        capsys, folder / "a.npy", folder / "shared.npy"
    )
    np.save(folder / "one.npy", np.tile(points_of(2, 2, 9), (4, 1)))
    message = printed(capsys, folder / "a.npy", folder / "one.npy")
    assert "at least 3 different points of the second file, got 2 among 8" in message
    np.save(folder / "zero.npy", np.array([[0.0, 0.1], [0.2, 0.3], [0.1, 0.4]]))
    np.save(folder / "minus.npy", np.array([[-0.0, 0.1], [0.4, 0.3], [0.5, 0.4]]))
    assert "row 0 of the first file and row 0" in printed(capsys, folder / "zero.npy", folder / "minus.npy")


def saved_data(folder, seed, shift=0):
    """A square at random places, which moves once in each of 150 episodes."""
    random = np.random.default_rng(seed)
    place, step = random.integers(6, 18, (150, 2)), random.integers(-3, 4, (150, 2))
    images = random.integers(0, 30, (300, 32, 32, 3), dtype=np.uint8)  # noise, so that no two images are equal
    for image, (x, y) in zip(images, np.stack([place, place + step], 1).reshape(-1, 2) + shift, strict=True):
        image[y : y + 4, x : x + 4] = 255
    moved = np.stack([step, 0 * step], 1).reshape(-1, 2).astype(np.float32)
    path = folder / f"data{seed}.npz"
    np.savez(path, images=images, episode=np.repeat(np.arange(150), 2), displacement=moved)
    return path


def test_the_command_compares_encoders_and_data(tmp_path, capsys):
    torch.manual_seed(0)
    for name in ("one", "two"):
        TranslationEncoder((32, 32, 3), "R2").save(tmp_path / name)
    train, shifted = saved_data(tmp_path, 0), saved_data(tmp_path, 1, shift=6)
    given = ("--encoder", tmp_path / "one", "--data", train)
    camera = printed(capsys, *given, "--other-data", shifted)
    assert camera["verdict"].startswith("apart"), camera
    both = printed(capsys, *given, "--other-data", shifted, "--other-encoder", tmp_path / "two")
    assert set(both) == {"encoder", "other_encoder", "better_aligned"}
    assert both["encoder"] == camera
    best = min(("encoder", "other_encoder"), key=lambda name: both[name]["separation"])
    assert both["better_aligned"] == "--" + best.replace("_", "-")
    assert camera["episodes"] == "150 and 150"
    halves = printed(capsys, *given, "--other-encoder", tmp_path / "two")
    first, second = map(int, halves["points"].split(" and "))
    assert abs(first - second) <= 5 and halves["score"] > 0.9  # untrained encoders have unrelated latents
    assert halves["episodes"] == "75 and 75"
    assert halves["verdict"].startswith("apart: the encoders have different coordinates")
    assert "euclidean for latents" in printed(capsys, *given, "--other-data", shifted, "--geometry", "poincare")
    assert "among agent" in printed(capsys, *given, "--other-data", shifted, "--latent", "pose")


def test_the_command_knows_episodes_and_says_which_encoder_is_not_usable(tmp_path, capsys):
    frames, moves = np.zeros((7, 8, 8, 3), np.uint8), np.zeros((4, 2), np.float32)
    data = Transitions(frames, np.array([0, 3, 1, 4]), np.array([1, 4, 2, 5]), moves, "R2")
    of_frames = frame_episodes(data)
    assert len(set(of_frames[:3])) == len(set(of_frames[3:6])) == 1 and len(set(of_frames)) == 3
    torch.manual_seed(0)
    for name, ratio in (("bad", 1.2), ("good", 0.2)):
        encoder = TranslationEncoder((32, 32, 3), "R2")
        encoder.metrics = {"equivariance_ratio_1": ratio}
        encoder.save(tmp_path / name)
    one, two = saved_data(tmp_path, 0), saved_data(tmp_path, 2)
    for name in ("bad", "good"):
        data = ("--data", one, "--other-data", two)
        assert main(["analyze", "alignment", *map(str, ("--encoder", tmp_path / name, *data)), "--json"]) == 0
        output = capsys.readouterr()
        assert ("The encoder of --encoder is not usable" in " ".join(output.err.split())) == (name == "bad")
        assert json.loads(output.out)["verdict"].startswith("no difference")
    both = printed(capsys, "--encoder", tmp_path / "good", "--other-encoder", tmp_path / "bad", *data)
    assert both["better_aligned"].startswith("no difference")
    few = tmp_path / "few.npz"
    np.savez(few, **{name: array[:8] for name, array in np.load(one).items()})  # 4 episodes
    message = printed(capsys, "--encoder", tmp_path / "good", "--data", few, "--other-data", two)
    assert "got 4 in A and 150 in B" in message and "A: the random latents of --data, B:" in message


# The benchmark


def run_of(folder):
    return InstrumentRun("hyperdga", 1, True, folder, folder)


def test_the_benchmark_measures_speed_and_invariance():
    config = benchmark.HyperDGABenchmarkConfig((200,), points_in_space=200, repeats=3, slow_repeats=1, sets=5)
    speed = benchmark.measure_speed(config, 0)
    assert speed["graph of 200 points in 2-D: different_edges"] == 0 and speed["graph of 200 points in 3-D: ms"] > 0
    for row in ("graph of 200 points in 2-D: ", "score of 200 points in 2-D: "):
        for rival in ("published_steps", "lean_loops"):
            ratio = speed[f"{row}{rival}_ms"] / speed[f"{row}ms"]
            assert speed[f"{row}times_faster_than_{rival}"] == pytest.approx(ratio)
    changes = benchmark.measure_invariance(config, 0)
    assert changes["points as they are: largest_change_of_score"] == 0
    assert changes["published rescaling: largest_change_of_score"] > 0.001


def test_the_benchmark_measures_corruption(tmp_path, monkeypatch):
    monkeypatch.setattr(
        benchmark, "_trained_vae", lambda nodes, *_: HyperbolicVAE(nodes.shape[1], HyperbolicVAEConfig())
    )
    figures = benchmark.measure_corruption(benchmark.HyperDGABenchmarkConfig(depth=6), run_of(tmp_path))
    assert {"noise 0.1: score", "noise 0.8: Wasserstein", "Chamfer: rank_correlation_with_noise"} <= set(figures)
    assert (tmp_path / "hyperdga_graph.png").stat().st_size < 200_000


@pytest.mark.slow
def test_the_benchmark_finds_the_edges_of_the_loops_and_a_score_that_follows_noise_and_drift(tmp_path):
    figures = benchmark.run_hyperdga(run_of(tmp_path))
    assert all(figures[f"graph of {number} points in 2-D: different_edges"] == 0 for number in (2000, 4094))
    assert figures["score: rank_correlation_with_noise"] > 0.9
    assert figures["camera panned by 0 of 32 pixels: p"] > 0.01 > figures["camera panned by 8 of 32 pixels: p"]
