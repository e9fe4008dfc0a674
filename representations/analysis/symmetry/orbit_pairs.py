"""Pairs of vectors in one orbit of an unknown finite group, and the statistics of them that discovery needs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .finite_groups import FiniteGroup

Vectors = NDArray[np.complex128]

MAX_VECTOR_LENGTH = 64
"""Longest vectors: the statistics have ``n⁴`` entries, 268 MB for 64."""


def sample_orbit_pairs(group: FiniteGroup, count: int, noise: float = 0.0, seed: int = 0) -> tuple[Vectors, Vectors]:
    """Draw pairs ``(x, y = g·x)`` of complex functions on a group, with ``(g·x)(h) = x(g⁻¹h)`` and ``g`` unknown.

    Real and imaginary part of ``x`` are standard normal. Noise is added to ``x`` after ``y`` was computed.

    Args:
        group: the group.
        count: number of pairs.
        noise: standard deviation of the noise of the real part, and of the imaginary part.
        seed: seed of the draw.

    Returns:
        ``x`` and ``y``, each ``(count, n)``.

    Raises:
        ValueError: the count is not positive, or the noise is negative.

    Source: the experiments of arXiv:2312.08550.

    Example:
        >>> from equiact.representations.analysis.symmetry.group_constructors import cyclic_group
        >>> x, y = sample_orbit_pairs(cyclic_group(5), 3)
        >>> bool(np.allclose(np.sort_complex(x), np.sort_complex(y)))
        True
    """
    if count < 1 or not noise >= 0:
        raise ValueError(f"expected a positive count and noise of at least 0, got {count} and {noise}")
    generator = np.random.default_rng(seed)
    x = _complex_normal(generator, (count, group.order))
    moved = group.table[group.inverses[generator.integers(group.order, size=count)]]
    y = np.take_along_axis(x, moved, 1)
    return x + noise * _complex_normal(generator, x.shape), y


def invariance_moments(x: Any, y: Any) -> NDArray[np.complex128]:
    """Return the covariance of ``D = x x† − y y†``, scaled to vectors whose coordinates have variance 1.

    For all matrices ``Q`` it gives ``Var tr(Q†D)``, the loss of invariance of the quadratic form ``Q``. It is no second
    moment, because noise in ``x`` alone shifts the mean of ``D`` by a multiple of the identity, which says nothing
    about the group.

    Args:
        x: ``(pairs, n)`` complex or real vectors, ``n`` at most 64.
        y: vectors of the same orbits, in the same order.

    Returns:
        ``(n², n²)`` Hermitian matrix ``E vec(D) vec(D)†``.

    Raises:
        ValueError: the arrays have other shapes, fewer than two pairs, or values that are not finite.

    Example:
        >>> from equiact.representations.analysis.symmetry.group_constructors import cyclic_group
        >>> moments = invariance_moments(*sample_orbit_pairs(cyclic_group(3), 100))
        >>> bool(abs(moments @ np.eye(3).reshape(9)).max() < 1e-9)  # |x|² is invariant
        True
    """
    first, second = (np.asarray(each) for each in (x, y))
    if first.shape != second.shape or first.ndim != 2 or not 1 <= first.shape[-1] <= MAX_VECTOR_LENGTH:
        raise ValueError(
            f"expected x and y of one shape (pairs, n) with n at most {MAX_VECTOR_LENGTH}, got {first.shape} and "
            f"{second.shape}"
        )
    if len(first) < 2 or first.dtype.kind not in "iufc" or second.dtype.kind not in "iufc":
        raise ValueError(f"expected at least two pairs of numbers, got {len(first)} of {first.dtype}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("expected finite vectors, got NaN or infinity; remove these pairs")
    power = (abs(first) ** 2).mean() + (abs(second) ** 2).mean()
    if power == 0:
        raise ValueError("expected vectors that are not all zero")
    n = first.shape[1]
    total, moments = np.zeros(n * n, complex), np.zeros((n * n, n * n), complex)
    for begin in range(0, len(first), _CHUNK):  # bounds the memory
        part = _outer(first[begin : begin + _CHUNK]) - _outer(second[begin : begin + _CHUNK])
        total += part.sum(0)
        moments += part.T @ part.conj()
    mean = total / len(first)
    return np.asarray((moments / len(first) - np.outer(mean, mean.conj())) * (2 / power) ** 2)


_CHUNK = 2048


def invariant_forms_table(moments: NDArray[np.complex128]) -> NDArray[np.int64]:
    """Return the multiplication table from the invariant quadratic forms alone, without a network; element 0 is 1.

    The forms ``x ↦ Σ Q(g, h) x̄(g) x(h)`` that a group leaves invariant have ``Q(g, h) = q(g⁻¹h)``. They are the ``n``
    eigenvectors of the moments with the smallest eigenvalues. The projection ``P`` to them is ``1 / n`` where
    ``g⁻¹h = k`` and 0 elsewhere, ``P[(0, k), (g, h)]``, so that ``h = g·k`` is read by an optimal assignment for each
    ``g``. This is the simple rival of the spectral network.

    Args:
        moments: ``(n², n²)``, from `invariance_moments`.

    Returns:
        ``(n, n)`` integers; no check that it is the table of a group.

    Example:
        >>> from equiact.representations.analysis.symmetry.group_constructors import cyclic_group
        >>> invariant_forms_table(invariance_moments(*sample_orbit_pairs(cyclic_group(3), 100))).tolist()
        [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
    """
    from scipy.optimize import linear_sum_assignment

    n = round(len(moments) ** 0.5)
    _, vectors = np.linalg.eigh(moments)
    basis = vectors[:, :n].reshape(n, n, n)
    # [g, k, h]: overlap of the entry (0, k) with (g, h)
    overlap = np.einsum("ki,ghi->gkh", basis[0], basis.conj(), optimize=True).real
    return np.stack([linear_sum_assignment(-each)[1] for each in overlap])


def _outer(vectors: NDArray[Any]) -> Vectors:
    return np.asarray((vectors[:, :, None] * vectors[:, None, :].conj()).reshape(len(vectors), -1), complex)


def _complex_normal(generator: np.random.Generator, shape: tuple[int, int]) -> Vectors:
    return np.asarray(generator.normal(size=shape) + 1j * generator.normal(size=shape))
