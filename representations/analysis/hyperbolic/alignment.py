"""HyperDGA: the share of edges of a Delaunay graph that join points of one set, and its test by permutations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .delaunay_graph import euclidean_delaunay_edges, hyperbolic_delaunay_edges
from .hyperbolic_points import Geometry, HyperbolicPointsError
from .point_set_distances import checked_pair


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
        """Expected score if points were assigned to A and B at random: ``1 − 2|A||B| / (n(n − 1))``, ``n = |A| + |B|``.

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
        """The smallest separation that is above the scores of random labels; it is large if a set has few points."""
        return (self.high - self.expected) / (1 - self.expected)

    @property
    def verdict(self) -> str:
        """The result in words.

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
            `euclidean_delaunay_edges`), or the sets have different dimensions.

    Source: Medbouhi et al., *Hyperbolic Delaunay geometric alignment*, ECML 2024 (arXiv:2404.08608).

    Example:
        >>> delaunay_alignment([[0.0, 0.0], [0.0, 0.1]], [[0.1, 0.0], [0.5, 0.5]]).score  # 3 of 5 edges
        0.4
    """
    one, other = checked_pair(a, b, geometry)
    points = np.concatenate([one, other])
    edges = euclidean_delaunay_edges(points) if geometry == "euclidean" else hyperbolic_delaunay_edges(points)
    joins = (edges[:, 0] < len(one)) & (edges[:, 1] >= len(one))
    return DelaunayAlignment(1 - float(joins.mean()), edges, edges[joins], (len(one), len(other)))


def alignment_test(
    a: ArrayLike, b: ArrayLike, geometry: Geometry = "poincare", *, permutations: int = 1000, seed: int = 0
) -> AlignmentTest:
    """Return the score of two sets, and the scores to expect if both are samples of one distribution.

    The graph of ``A ∪ B`` does not depend on which point is in which set. Under one distribution all assignments are
    equally likely, so that the scores of random assignments are those to expect. The points must be independent: frames
    of one episode, or a point and its reconstruction, are not.

    Args:
        a: points, as for `delaunay_alignment`.
        b: points.
        geometry: ``"poincare"``, ``"lorentz"`` or ``"euclidean"``.
        permutations: number of random assignments, at least 100.
        seed: seed of the assignments.

    Raises:
        HyperbolicPointsError: the points have no Delaunay graph, or there are too few permutations.

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
    scores = _random_scores(alignment, permutations, np.random.default_rng(seed))
    expected = alignment.expected_score
    low, high = np.quantile(scores, [0.025, 0.975])
    as_high = int((scores >= alignment.score - 1e-12).sum())  # equal scores differ by rounding
    separation = (alignment.score - expected) / (1 - expected)
    return AlignmentTest(alignment, expected, float(low), float(high), (as_high + 1) / (permutations + 1), separation)


def _random_scores(alignment: DelaunayAlignment, permutations: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Return scores of random assignments of the points to sets of the same sizes."""
    in_first = np.arange(sum(alignment.sizes)) < alignment.sizes[0]
    scores = np.empty(permutations)
    for index in range(permutations):
        shuffled = random.permutation(in_first)
        scores[index] = (shuffled[alignment.edges[:, 0]] == shuffled[alignment.edges[:, 1]]).mean()
    return scores
