"""Find the periods of a latent whose orbits close up, such as the joint angles of an arm.

Actions move a state ``x ∈ Rⁿ`` in unknown units. The camera sees ``x`` up to a lattice ``Λ = {P z : z ∈ Zⁿ}``: ``x``
and ``x + λ`` look the same. Where a trajectory comes back to the same observation, its displacements add up to an
element of ``Λ``, with an error. From many such loops, ``P`` is found, up to a change of basis. No ground truth is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...learning.config import check_range
from .bases import LatticeError
from .move_reduction import projection_reduce

_BLOCK = 512
"""Rows of the table of distances that are in memory at a time."""
_GIVE_TOLERANCE = "give --tolerance (tolerance of estimate_periods)"


@dataclass(frozen=True)
class PeriodsConfig:
    """Set how closed loops and their lattice are found.

    Attributes:
        max_pairs: largest number of pairs of frames that look the same; more are refused.
        max_clusters: number of the shortest distinct loops from which the lattice is found; all loops then refine it.
        min_unwound: number of loops that must not wind, to find the tolerance: ratios of the first few lengths are
            large by chance.
        min_residuals: number of residuals for each dimension, from which their covariance is taken as the metric.
        min_spread: smallest standard deviation of residuals, in units of the tolerance, that is no rounding.

    Raises:
        ConfigError: a value is out of range.
    """

    max_pairs: int = 2**20
    max_clusters: int = 256
    min_unwound: int = 10
    min_residuals: int = 10
    min_spread: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("max_pairs", "max_clusters", "min_unwound", "min_residuals"):
            check_range(self, name, at_least=1)
        check_range(self, "min_spread", above=0)


DEFAULT_PERIODS = PeriodsConfig()


@dataclass(frozen=True)
class Periods:
    """The lattice of periods.

    Attributes:
        basis: ``(n, n)`` float64, reduced; each column is a period, in the units of the displacements. The shortest is
            first (in the metric of the residuals), and the largest coordinate of each is positive.
        coefficients: ``(m, n)`` int64, the windings of each loop: ``loop ≈ basis @ coefficients``.
        residual: ``(m,)`` float64, length of what is left of each loop.
        fits: ``(m,)`` bool, the residual is within the tolerance.
    """

    basis: NDArray[np.float64]
    coefficients: NDArray[np.int64]
    residual: NDArray[np.float64]
    fits: NDArray[np.bool_]


def closed_loops(
    observations: ArrayLike, displacements: ArrayLike, threshold: float, config: PeriodsConfig = DEFAULT_PERIODS
) -> NDArray[np.float64]:
    """Return the summed displacements between any two frames of a trajectory that look the same.

    Args:
        observations: ``(T, d)``, latents or images as vectors.
        displacements: ``(T - 1, n)``, performed between consecutive frames, in any units.
        threshold: largest Euclidean distance of two observations that look the same.
        config: largest number of pairs.

    Returns:
        ``(m, n)``. Loops that do not wind are among them; they are near 0.

    Raises:
        LatticeError: wrong shapes, values that are not finite, a threshold that is not positive, or more pairs than
            ``config.max_pairs``.

    Example:
        >>> angle = 0.5 * np.pi * np.arange(6)
        >>> loops = closed_loops(np.stack([np.cos(angle), np.sin(angle)], 1), np.full((5, 1), 0.25), 0.1)
        >>> loops.ravel().tolist()
        [1.0, 1.0]
    """
    seen, moved = _finite("observations", observations), _finite("displacements", displacements)
    if len(seen) != len(moved) + 1:
        raise LatticeError(f"expected one displacement less than observations, got {len(moved)} and {len(seen)}")
    if not 0 < threshold < np.inf:
        raise LatticeError(f"expected a positive threshold, got {threshold}")
    position = np.concatenate([np.zeros((1, moved.shape[1])), np.cumsum(moved, 0)])
    seen = seen - seen.mean(0)
    square = (seen**2).sum(1)
    loops, count = [], 0
    for begin in range(0, len(seen), _BLOCK):
        rows = np.arange(begin, min(begin + _BLOCK, len(seen)))
        near = square[rows, None] + square - 2 * seen[rows] @ seen.T <= threshold**2
        first, second = np.nonzero(near & (np.arange(len(seen)) > rows[:, None]))
        count += len(first)
        if count > config.max_pairs:
            raise LatticeError(
                f"expected at most {config.max_pairs} pairs that look the same, got more; lower the threshold"
            )
        loops.append(position[second] - position[rows[first]])
    return np.concatenate(loops)


def loop_tolerance(loops: ArrayLike, config: PeriodsConfig = DEFAULT_PERIODS) -> float:
    """Return the length of the longest loop that does not wind: the error that other loops have, too.

    Sorted lengths ``l_1 ≤ l_2 ≤ …`` have a gap between loops that do not wind and the shortest period. It is where the
    ratio ``l_{k+1} / l_k`` is largest, among ``k ≥ min_unwound`` of the shorter half.

    Args:
        loops: ``(m, n)``, as from `closed_loops`.
        config: number of loops that must not wind.

    Raises:
        LatticeError: all loops are 0, fewer than ``2 · min_unwound`` are not, or the lengths have no gap by a factor of
            two.

    Example:
        >>> turns = np.repeat([[0.0], [1.0], [2.0]], 20, 0)
        >>> noise = np.tile(np.linspace(-0.05, 0.05, 20), 3)[:, None]
        >>> round(loop_tolerance(turns + noise), 3)
        0.05
    """
    length = np.sort(np.linalg.norm(_finite("loops", loops), axis=1))
    given, length = len(length), length[length > 0]
    if not len(length):
        raise LatticeError(f"expected loops that are not all 0, got {given} loops of length 0; move farther")
    least = config.min_unwound
    if len(length) < 2 * least:
        raise LatticeError(
            f"expected at least {2 * least} loops that are not 0, to find the tolerance from those that do "
            f"not wind, got {len(length)}; record a longer trajectory, or {_GIVE_TOLERANCE}"
        )
    half = length[least - 1 : len(length) // 2 + 1]
    if (half[1:] / half[:-1]).max(initial=0) < 2:
        raise LatticeError(
            f"expected {least} or more short loops that do not wind, with an error, and a gap by a factor of "
            f"two from their lengths to the shortest period, got no gap in {len(length)} loops, the shortest of length "
            f"{length[0]:.3g}, and {given - len(length)} of length 0: the tolerance cannot be found; {_GIVE_TOLERANCE} "
            "below a quarter of the shortest period"
        )
    return float(half[(half[1:] / half[:-1]).argmax()])


def estimate_periods(
    loops: ArrayLike, tolerance: float | None = None, support: int = 1, config: PeriodsConfig = DEFAULT_PERIODS
) -> Periods:
    """Estimate the lattice of which all loops are elements, up to an error.

    1. Loops within ``2 · tolerance`` of each other are averaged. Loops within ``tolerance`` of 0, and means of fewer
       than ``support`` loops, are ignored.
    2. Start with the shortest independent means as the basis. While a mean is no integer combination of the basis, what
       is left of it replaces a basis vector, as in Euclid's algorithm: the volume falls at least by half.
    3. Fit the basis to ever longer loops by least squares, ``min_P Σ ‖loop − P c‖²`` with ``c = round(P⁻¹ loop)``.
    4. Reduce the basis (`projection_reduce`) in the metric ``‖x‖² = xᵀ C⁻¹ x``, where ``C`` is the covariance of the
       residuals. Observations within a threshold are apart by less in directions in which they change fast, so that
       the metric is that of the observations, and the basis does not depend on the units. For residuals that span
       fewer than ``n`` directions, such as those of exact loops, the metric is that of the displacements.

    Args:
        loops: ``(m, n)`` sums of displacements over closed loops.
        tolerance: largest error of a loop, in units of the displacements; below a quarter of the shortest period. If
            None, that of `loop_tolerance`.
        support: number of loops that must agree; larger than 1 if some loops are false.
        config: numbers of loops and residuals that the steps need.

    Raises:
        LatticeError: wrong shapes or values; the loops span fewer than ``n`` directions; or they are elements of no
            lattice with this tolerance.

    Example:
        >>> periods = estimate_periods([[2, 0], [3, 0], [1, 1.01], [3, -0.99], [0, 2]], tolerance=0.1)
        >>> abs(periods.basis).round(2).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    given = _finite("loops", loops)
    if tolerance is None:
        tolerance = loop_tolerance(given, config)
    if not 0 < tolerance < np.inf or support < 1:
        raise LatticeError(f"expected a positive tolerance and support, got {tolerance} and {support}")
    means = _cluster_means(given, tolerance, support, config.max_clusters)
    basis = _generated_lattice(means, tolerance)
    basis = _refined(basis, given, tolerance)
    basis = _canonical(basis, _residual_metric(basis, given, tolerance, config))
    coefficients, left = _remainder(basis, given)
    residual = np.linalg.norm(left, axis=1)
    return Periods(basis, coefficients.astype(np.int64), residual, residual <= tolerance)


def _finite(name: str, values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values)
    if array.ndim == 2 and 0 in array.shape:
        raise LatticeError(f"expected {name} as a matrix with rows and columns, got none in the shape {array.shape}")
    if array.dtype.kind not in "iuf" or array.ndim != 2:
        raise LatticeError(f"expected {name} as a matrix of numbers, got {array.dtype} of the shape {array.shape}")
    if not np.isfinite(array).all():
        raise LatticeError(f"expected finite {name}, got NaN or infinity")
    return array.astype(np.float64)


def _cluster_means(
    loops: NDArray[np.float64], tolerance: float, support: int, max_clusters: int
) -> NDArray[np.float64]:
    """Return the means of the shortest groups of loops that agree up to their sign, shortest first."""
    left = loops[np.linalg.norm(loops, axis=1) > tolerance]
    left = left[np.argsort(np.linalg.norm(left, axis=1), kind="stable")]
    means: list[NDArray[np.float64]] = []
    while len(left) and len(means) < max_clusters:
        sign = np.where(left @ left[0] < 0, -1.0, 1.0)[:, None]
        near = np.linalg.norm(sign * left - left[0], axis=1) <= 2 * tolerance
        if near.sum() >= support:
            means.append((sign * left)[near].mean(0))
        left = left[~near]
    dim = loops.shape[1]
    rank = np.linalg.matrix_rank(np.array(means), tol=tolerance) if means else 0
    if rank < dim:
        raise LatticeError(
            f"expected closed loops in {dim} independent directions, got loops in {rank}: the other directions have no "
            "period, or too few loops; record a longer trajectory, or leave these coordinates out"
        )
    return np.array(means)


def _generated_lattice(means: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """Return a basis of the lattice that the means generate, by Euclid's algorithm with a tolerance."""
    basis = _shortest_independent(means, tolerance)
    while True:
        basis = projection_reduce(basis).basis
        if np.linalg.norm(basis, axis=0).min() <= 4 * tolerance:
            raise LatticeError(
                f"expected loops on a lattice whose periods exceed {4 * tolerance:g}, four times the tolerance, got "
                "others; lower the threshold of closed_loops, or raise support (--support) to ignore false loops"
            )
        basis = _refined(basis, means, tolerance)
        for mean in means:  # the shortest first: its error counts least
            _, remainder = _remainder(basis, mean[None])
            if np.linalg.norm(remainder) > 2 * tolerance:  # the error of the mean, and that of the fitted basis
                share = np.abs(np.linalg.solve(basis, remainder[0]))
                basis[:, share.argmax()] = remainder[0]
                break
        else:
            return basis


def _shortest_independent(means: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    chosen: list[NDArray[np.float64]] = []
    for mean in means:
        if np.linalg.matrix_rank(np.array([*chosen, mean]), tol=tolerance) > len(chosen):
            chosen.append(mean)
    if len(chosen) < means.shape[1]:
        raise LatticeError(
            f"expected loops that are within the tolerance {tolerance:g} of 0 or far from it, got one of length "
            f"{np.linalg.norm(means[0]):g}; raise tolerance (--tolerance), or lower the threshold of closed_loops"
        )
    return np.array(chosen).T.copy()


def _remainder(basis: NDArray[np.float64], loops: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return the rounded coefficients ``(m, n)`` and what is left ``(m, n)`` of loops."""
    coefficients = np.rint(np.linalg.solve(basis, loops.T)).T
    return coefficients, loops - coefficients @ basis.T


def _refined(basis: NDArray[np.float64], loops: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """Fit the basis to the loops that fit it, by least squares; long loops only after short ones.

    If loops of length ``r`` err by up to the tolerance, a basis that is fitted to them errs by up to twice of it at
    loops of length ``2 r``, which have errors of their own: a loop fits within three times the tolerance.
    """
    length = np.linalg.norm(loops, axis=1)
    radius = np.linalg.norm(basis, axis=0).max()
    while True:
        coefficients, left = _remainder(basis, loops)
        fits = (np.linalg.norm(left, axis=1) <= 3 * tolerance) & (length <= radius)
        if np.linalg.matrix_rank(coefficients[fits]) == len(basis):
            basis = np.linalg.lstsq(coefficients[fits], loops[fits], rcond=None)[0].T
        if radius > length.max():
            return basis
        radius *= 2


def _residual_metric(
    basis: NDArray[np.float64], loops: NDArray[np.float64], tolerance: float, config: PeriodsConfig
) -> NDArray[np.float64]:
    """Return ``W`` with ``Wᵀ W = C⁻¹``, which whitens the residuals; the identity if ``C`` is singular."""
    _, left = _remainder(basis, loops)
    left = left[np.linalg.norm(left, axis=1) <= tolerance]
    spread, directions = np.linalg.eigh(left.T @ left / max(len(left), 1))
    if len(left) < config.min_residuals * len(basis) or spread[0] <= (config.min_spread * tolerance) ** 2:
        return np.eye(len(basis))
    result: NDArray[np.float64] = (directions / np.sqrt(spread)).T
    return result


def _canonical(basis: NDArray[np.float64], metric: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the basis reduced in a metric, the shortest vector first, and the largest coordinate of each positive."""
    transform = projection_reduce(metric @ basis).transform
    reduced = basis @ transform
    reduced = reduced[:, np.argsort(np.linalg.norm(metric @ reduced, axis=0), kind="stable")]
    largest = np.take_along_axis(reduced, np.abs(reduced).argmax(0)[None], 0)
    result: NDArray[np.float64] = reduced * np.sign(largest) + 0.0  # no −0
    return result
