"""HyperDGA: the share of edges of a Delaunay graph that join points of one set, and its test by permutations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .delaunay_graph import euclidean_delaunay_edges, hyperbolic_delaunay_edges
from .hyperbolic_points import Geometry, HyperbolicPointsError
from .point_set_distances import checked_pair
from .triangulations import repeated_pair

MIN_POINTS = 3
"""Fewest points of each set: the score of one or two says nothing about a distribution."""
MIN_EPISODES = 5
"""Fewest episodes of each set: 5 and 5 have 126 scores, and one can be above the 97.5 % quantile; 4 and 4 have 35."""


@dataclass(frozen=True)
class DelaunayAlignment:
    """Score of two sets of points, and the graph that it is from.

    Attributes:
        score: ``1 − |E_het| / |E|`` in [0, 1]; lower is better aligned.
        edges: edges of the Delaunay graph of ``A ∪ B``, ``(E, 2)``. Points of B are numbered after those of A.
        heterogeneous_edges: those that join a point of A to one of B.
        sizes: numbers of points of A and of B.
    """

    score: float
    edges: NDArray[np.int64]
    heterogeneous_edges: NDArray[np.int64]
    sizes: tuple[int, int]

    @property
    def expected_score(self) -> float:
        """Return the mean score of random assignments to A and B: ``1 − 2|A||B| / (n(n − 1))``, ``n = |A| + |B|``.

        Example:
            >>> delaunay_alignment([[0.0], [2.0]], [[1.0], [3.0]], geometry="euclidean").expected_score  # 1 − 8/12
            0.33333333333333337
        """
        first, second = self.sizes
        number = first + second
        return 1 - 2 * first * second / (number * (number - 1))


@dataclass(frozen=True)
class AlignmentTest:
    """A score beside those of the same points with random labels.

    Attributes:
        alignment: the score and the graph.
        expected: expected score if A and B are samples of one distribution.
        low: 2.5 % quantile of the scores with random labels.
        high: 97.5 % quantile.
        p_value: probability of a score at least as high if A and B are samples of one distribution. At least
            ``1 / (permutations + 1)``.
        separation: ``(score − expected) / (1 − expected)``: 0 for one distribution, 1 if no edge joins A to B.
    """

    alignment: DelaunayAlignment
    expected: float
    low: float
    high: float
    p_value: float
    separation: float

    @property
    def detectable(self) -> float:
        """Return the smallest separation above the scores of random labels; it is large if a set has few points."""
        return (self.high - self.expected) / (1 - self.expected)

    @property
    def verdict(self) -> str:
        """Return the result in words.

        Example:
            >>> points = np.random.default_rng(0).normal(size=(100, 2))
            >>> alignment_test(points[:50], points[50:] + 3, geometry="euclidean").verdict
            'apart: A and B differ more than two samples of one distribution do'
        """
        if self.alignment.score > self.high:
            return "apart: A and B differ more than two samples of one distribution do"
        if self.alignment.score < self.low:
            return "interleaved: A and B are nearer than two samples of one distribution are, as paired points are"
        return f"no difference found; a separation below {self.detectable:.2g} would not be noticed"


def delaunay_alignment(a: ArrayLike, b: ArrayLike, geometry: Geometry = "poincare") -> DelaunayAlignment:
    """Return the score ``1 − |E_het| / |E|`` over the edges of the Delaunay graph of ``A ∪ B``.

    An isometry applied to both sets leaves it unchanged.

    Args:
        a: points ``(n, d)`` of the Poincaré ball or of Euclidean space, or ``(n, d + 1)`` of the Lorentz model.
        b: points ``(m, d)``, or ``(m, d + 1)``.
        geometry: ``"poincare"``, ``"lorentz"`` or ``"euclidean"``.

    Raises:
        HyperbolicPointsError: the points have no Delaunay graph (`hyperbolic_delaunay_edges`,
            `euclidean_delaunay_edges`), a point is in both sets, or the sets have different dimensions.

    Source: Medbouhi et al., *Hyperbolic Delaunay geometric alignment*, ECML 2024 (arXiv:2404.08608).

    Example:
        >>> delaunay_alignment([[0.0, 0.0], [0.0, 0.1]], [[0.1, 0.0], [0.5, 0.5]]).score  # 3 of 5 edges
        0.4
    """
    one, other = checked_pair(a, b, geometry)
    _require_different(one, other)
    points = np.concatenate([one, other])
    edges = euclidean_delaunay_edges(points) if geometry == "euclidean" else hyperbolic_delaunay_edges(points)
    joins = (edges[:, 0] < len(one)) & (edges[:, 1] >= len(one))
    return DelaunayAlignment(1 - float(joins.mean()), edges, edges[joins], (len(one), len(other)))


def alignment_test(
    a: ArrayLike,
    b: ArrayLike,
    geometry: Geometry = "poincare",
    *,
    episodes: tuple[ArrayLike, ArrayLike] | None = None,
    permutations: int = 1000,
    seed: int = 0,
) -> AlignmentTest:
    """Return the score of two sets, and the scores to expect if both are samples of one distribution.

    The graph of ``A ∪ B`` does not depend on which point is in which set. Under one distribution all assignments are
    equally likely, so that the scores of random assignments are those to expect. The points must be independent; a
    point and its reconstruction are not. Frames of one episode are not either: give ``episodes``, and whole episodes
    are assigned.

    Args:
        a: points, as for `delaunay_alignment`.
        b: points.
        geometry: ``"poincare"``, ``"lorentz"`` or ``"euclidean"``.
        episodes: number of the episode of each point of A, ``(n,)``, and of B, ``(m,)``; None for independent points.
        permutations: number of random assignments, at least 100.
        seed: seed of the assignments.

    Raises:
        HyperbolicPointsError: the points have no Delaunay graph, or there are too few of them, or too few episodes or
            permutations.

    Source: Friedman and Rafsky, *Multivariate generalizations of the Wald–Wolfowitz and Smirnov two-sample tests*,
    1979, with the minimum spanning tree in place of the Delaunay graph.

    Example:
        >>> points = 0.3 * np.random.default_rng(0).normal(size=(60, 2)).clip(-2, 2)
        >>> test = alignment_test(points[:30], points[30:])
        >>> test.low <= test.alignment.score <= test.high
        True
    """
    if permutations < 100:
        raise HyperbolicPointsError(f"expected at least 100 permutations, got {permutations}")
    alignment = delaunay_alignment(a, b, geometry)
    if min(alignment.sizes) < MIN_POINTS:
        raise HyperbolicPointsError(
            f"expected at least {MIN_POINTS} points of each set, got {alignment.sizes[0]} of A and "
            f"{alignment.sizes[1]} of B; give more points"
        )
    blocks, in_first = _blocks(alignment.sizes, episodes)
    scores = _random_scores(alignment, blocks, in_first, permutations, np.random.default_rng(seed))
    expected = alignment.expected_score if episodes is None else float(scores.mean())
    low, high = np.quantile(scores, [0.025, 0.975])
    as_high = int((scores >= alignment.score - 1e-12).sum())  # equal scores differ by rounding
    separation = (alignment.score - expected) / (1 - expected)
    return AlignmentTest(alignment, expected, float(low), float(high), (as_high + 1) / (permutations + 1), separation)


def _require_different(one: NDArray[np.float64], other: NDArray[np.float64]) -> None:
    """Check that no point is in a set twice or in both.

    Raises:
        HyperbolicPointsError: one is; the message says which.
    """
    pair = repeated_pair(np.concatenate([one, other]))
    if pair is None:
        return
    names = [f"point {row} of A" if row < len(one) else f"point {row - len(one)} of B" for row in pair]
    raise HyperbolicPointsError(
        f"expected different points, got the same coordinates at {names[0]} and {names[1]}; remove one of them"
    )


def _blocks(
    sizes: tuple[int, int], episodes: tuple[ArrayLike, ArrayLike] | None
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the block of each point of A and B, and for each block whether it is in A.

    Blocks are assigned as a whole: episodes, or single points.

    Raises:
        HyperbolicPointsError: a point has no episode, or there are too few episodes.
    """
    if episodes is None:
        number = sum(sizes)
        return np.arange(number), np.arange(number) < sizes[0]
    one, other = (np.asarray(each) for each in episodes)
    if (one.shape, other.shape) != ((sizes[0],), (sizes[1],)):
        raise HyperbolicPointsError(f"expected an episode for each point, got shapes {one.shape} and {other.shape}")
    inverses = [np.unique(each, return_inverse=True)[1].ravel() for each in (one, other)]
    counts = [int(each.max()) + 1 for each in inverses]
    if min(counts) < MIN_EPISODES:
        raise HyperbolicPointsError(
            f"expected at least {MIN_EPISODES} episodes in each set, since frames of one episode are not independent, "
            f"got {counts[0]} in A and {counts[1]} in B; record more episodes"
        )
    return np.concatenate([inverses[0], inverses[1] + counts[0]]), np.arange(sum(counts)) < counts[0]


def _random_scores(
    alignment: DelaunayAlignment,
    blocks: NDArray[np.int64],
    in_first: NDArray[np.bool_],
    permutations: int,
    random: np.random.Generator,
) -> NDArray[np.float64]:
    """Return scores of random assignments of the blocks to as many in each set."""
    ends = blocks[alignment.edges]
    scores = np.empty(permutations)
    for index in range(permutations):
        shuffled = random.permutation(in_first)
        scores[index] = (shuffled[ends[:, 0]] == shuffled[ends[:, 1]]).mean()
    return scores
