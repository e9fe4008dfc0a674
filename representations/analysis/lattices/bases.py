"""Bases of lattices: checks, the orthogonality defect, and products that are exact.

A basis is a matrix ``B`` whose *columns* ``b_1, …, b_n`` span the lattice ``{B z : z ∈ Zⁿ}``. Two bases ``B`` and
``B Q`` span the same lattice if and only if ``Q`` is an integer matrix of determinant ±1 (unimodular).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_CONDITION = 1e12
"""Largest condition number of a basis: beyond it, float64 (``2⁻⁵³ ≈ 1e-16``) leaves under four digits of ``B⁻¹``."""
_MAX_DIM = 64
_MAX_NUMBERS = 2**27
"""Largest number of entries of a batch of bases, 1 GiB in float64."""
_EXACT_BELOW = 1e-10
"""Relative rounding error of a float64 product ``B Q``, above which the product is computed with Python integers."""


class LatticeError(ValueError):
    """A matrix is no basis of a lattice, or no unimodular matrix, or its integers are too large."""


@dataclass(frozen=True)
class LatticeReduction:
    """Reduced bases, and the unimodular matrices that lead to them: ``basis = given @ transform``.

    Attributes:
        basis: ``(..., n, n)`` float64, the reduced bases, as columns.
        transform: ``(..., n, n)`` int64, determinant ±1.
        moves: ``(...)`` int64, number of Gauss moves; 0 where the method does not count any.
    """

    basis: NDArray[np.float64]
    transform: NDArray[np.int64]
    moves: NDArray[np.int64]


def check_basis(basis: ArrayLike) -> NDArray[np.float64]:
    """Return a basis, or a batch of them, as float64, after checking it.

    Args:
        basis: ``(..., n, n)``, columns; ``n`` from 1 to 64.

    Raises:
        LatticeError: not square, not finite, or singular: the condition number ``‖B‖₁ ‖B⁻¹‖₁`` exceeds `MAX_CONDITION`.

    Example:
        >>> check_basis([[1, 2], [0, 1]]).dtype
        dtype('float64')
    """
    array = np.asarray(basis)
    if array.dtype.kind not in "iuf":
        raise LatticeError(f"expected a basis of real numbers, got an array of the type {array.dtype}")
    _require_square(array.shape)
    if array.size > _MAX_NUMBERS:
        raise LatticeError(f"expected at most {_MAX_NUMBERS} numbers in a batch of bases, got {array.size}; split it")
    result = array.astype(np.float64)
    if not np.isfinite(result).all():
        raise LatticeError("expected a finite basis, got NaN or infinity; leave out the bases that are not finite")
    _require_not_singular(result)
    return result


def _require_square(shape: tuple[int, ...]) -> None:
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise LatticeError(
            f"expected a square basis (..., n, n), whose columns span the lattice, got the shape {shape}; from more "
            "vectors than coordinates estimate_periods finds a basis (--loops of equiact analyze lattice)"
        )
    if 0 in shape:
        raise LatticeError(f"expected at least one basis, of at least one vector, got none in the shape {shape}")
    if shape[-1] > _MAX_DIM:
        raise LatticeError(f"expected bases of dimension n from 1 to {_MAX_DIM}, got n = {shape[-1]}")


def _require_not_singular(basis: NDArray[np.float64]) -> None:
    size = np.abs(basis).max((-1, -2), keepdims=True)
    if not np.abs(basis).max(-2).all():
        raise LatticeError("expected a basis, got one with a zero vector; give n independent vectors")
    condition = float(np.max(np.linalg.cond(basis / size, 1)))
    if not condition <= MAX_CONDITION:
        raise LatticeError(
            f"expected independent vectors, got a basis with the condition number {condition:.1e}, more than "
            f"{MAX_CONDITION:.0e}; it is singular to working precision"
        )


def log_orthogonality_defect(basis: ArrayLike) -> Any:
    """Return ``log δ(B) = Σ_i log ‖b_i‖ − log |det B| ≥ 0``; it is 0 for orthogonal vectors (Hadamard's inequality).

    Args:
        basis: ``(..., n, n)``, columns.

    Returns:
        ``(...)`` float64.

    Raises:
        LatticeError: see `check_basis`.

    Source: Marchetti, Cesa, Pratik, Behboodi, *Neural lattice reduction*, TMLR 2025 (arXiv:2311.08170).

    Example:
        >>> round(float(log_orthogonality_defect([[1, 1], [0, 1]])), 4)
        0.3466
    """
    checked = check_basis(basis)
    unit = checked / np.linalg.norm(checked, axis=-2, keepdims=True)
    return np.maximum(-np.linalg.slogdet(unit)[1], 0.0)


def orthogonality_defect(basis: ArrayLike) -> Any:
    """Return ``δ(B) = Π_i ‖b_i‖ / |det B| ≥ 1`` of bases ``(..., n, n)``.

    Raises:
        LatticeError: see `check_basis`.

    Example:
        >>> round(float(orthogonality_defect([[1, 1], [0, 1]])) ** 2, 9)
        2.0
    """
    return np.exp(log_orthogonality_defect(basis))


def integer_determinant(matrix: ArrayLike) -> int:
    """Return the determinant of an integer matrix, exactly: fraction-free elimination with Python integers.

    Source: Bareiss, *Sylvester's identity and multistep integer-preserving Gaussian elimination*, Mathematics of
    Computation 22, 1968.

    Args:
        matrix: ``(n, n)`` integers of any size (an array of integers or of Python integers).

    Raises:
        LatticeError: the matrix is not square or has entries that are no integers.

    Example:
        >>> integer_determinant([[3, 1], [5, 2]])
        1
    """
    rows = _integer_rows(matrix)
    size, sign, previous = len(rows), 1, 1
    for k in range(size - 1):
        pivot = next((row for row in range(k, size) if rows[row][k]), None)
        if pivot is None:
            return 0
        if pivot != k:
            rows[k], rows[pivot], sign = rows[pivot], rows[k], -sign
        for i in range(k + 1, size):
            for j in range(k + 1, size):
                rows[i][j] = (rows[i][j] * rows[k][k] - rows[i][k] * rows[k][j]) // previous
        previous = rows[k][k]
    return sign * rows[-1][-1]


def is_unimodular(matrix: ArrayLike) -> bool:
    """Return whether an integer matrix ``(n, n)`` has the determinant 1 or −1, exactly.

    Raises:
        LatticeError: the matrix is not square or has entries that are no integers.

    Example:
        >>> is_unimodular([[1, 5], [0, -1]]), is_unimodular([[2, 0], [0, 1]])
        (True, False)
    """
    return integer_determinant(matrix) in (1, -1)


def change_basis(basis: ArrayLike, transform: ArrayLike) -> NDArray[np.float64]:
    """Return ``B Q``, without cancellation.

    Large entries of ``Q`` cancel when a skew basis is reduced. Where the float64 product could be wrong by more than
    1e-10 of its shortest column, it is computed with Python integers and rounded once.

    Args:
        basis: ``(..., n, n)`` float64.
        transform: ``(..., n, n)`` int64.

    Raises:
        LatticeError: the shapes differ, or an entry of the transform is no integer.

    Example:
        >>> change_basis([[1e9, 1e9 + 1], [0, 1]], [[1, -1], [0, 1]]).tolist()
        [[1000000000.0, 1.0], [0.0, 1.0]]
    """
    left, right = np.asarray(basis, np.float64), np.asarray(transform)
    if left.shape != right.shape or right.dtype.kind not in "iu":
        raise LatticeError(
            f"expected integer matrices of the shape {left.shape} of the bases, got {right.dtype} of {right.shape}"
        )
    dim = left.shape[-1]
    product = left @ right.astype(np.float64)
    error = dim * 2.0**-52 * (np.abs(left) @ np.abs(right.astype(np.float64))).max((-1, -2))
    shortest = np.linalg.norm(product, axis=-2).min(-1)
    for where in zip(*np.nonzero(np.atleast_1d(error > _EXACT_BELOW * shortest)), strict=True):
        at = where if left.ndim > 2 else ()
        product[at] = _exact_product(left[at], right[at])
    return product


def _exact_product(basis: NDArray[np.float64], transform: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return ``B Q`` of one basis, rounded once: float64 numbers are fractions of integers."""
    exact = [[Fraction(float(value)) for value in row] for row in basis]
    unit = lcm(*(value.denominator for row in exact for value in row))
    whole = np.array([[int(value * unit) for value in row] for row in exact], dtype=object)
    product = whole @ transform.astype(object)
    return np.array([[value / unit for value in row] for row in product], np.float64)


def _integer_rows(matrix: ArrayLike) -> list[list[int]]:
    rows: Sequence[Any] = np.asarray(matrix, dtype=object).tolist()
    square = isinstance(rows, list) and all(isinstance(row, list) and len(row) == len(rows) for row in rows)
    if not square or not rows:
        raise LatticeError(f"expected a square integer matrix, got an array of the shape {np.shape(rows)}")
    if wrong := [x for row in rows for x in row if isinstance(x, bool) or not isinstance(x, int | np.integer)]:
        raise LatticeError(f"expected a matrix of integers, got the entry {wrong[0]!r}; round it, if that is meant")
    return [[int(value) for value in row] for row in rows]
