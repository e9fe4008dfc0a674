"""The LLL algorithm, by FLINT.

Source: Lenstra, Lenstra, Lovász, *Factoring polynomials with rational coefficients*, Mathematische Annalen 261, 1982.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bases import LatticeError, LatticeReduction, change_basis, check_basis
from .gauss_moves import LatticeOverflowError

LLL_BITS = 50
"""Bits to which a basis is rounded, relative to its largest entry: with `MAX_CONDITION`, three digits are left."""


def lll_reduce(basis: ArrayLike, delta: float = 0.99) -> LatticeReduction:
    """Reduce bases by the LLL algorithm.

    Entries are rounded to multiples of ``2⁻⁵⁰`` of the largest one, and FLINT reduces the integers. The transform is
    exact and unimodular; the reduced basis is the given one times the transform.

    Needs python-flint: ``pip install 'equiact[analysis]'``.

    Args:
        basis: ``(..., n, n)``, columns.
        delta: the constant of Lovász's condition, in (0.25, 1); 0.99 is stronger than the usual 0.75.

    Raises:
        LatticeError: see `check_basis`; or ``delta`` is out of range.
        LatticeOverflowError: the transform exceeds 64 bits.
        ImportError: python-flint is not installed.

    Source: Lenstra, Lenstra, Lovász, Mathematische Annalen 261, 1982. python-flint: https://python-flint.readthedocs.io.

    Example:
        >>> lll_reduce([[1, 7], [0, 1]]).basis.tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    if not 0.25 < delta < 1:
        raise LatticeError(f"expected delta between 0.25 and 1, got {delta}")
    flint = find_flint()
    if flint is None:
        raise ImportError("LLL needs python-flint; install it with: pip install 'equiact[analysis]'")
    checked = check_basis(basis)
    flat = checked.reshape(-1, *checked.shape[-2:])
    transform = np.stack([_lll_transform(flint, each, delta) for each in flat])
    reduced = change_basis(flat, transform)
    moves = np.zeros(checked.shape[:-2], np.int64)
    return LatticeReduction(reduced.reshape(checked.shape), transform.reshape(checked.shape), moves)


def _lll_transform(flint: Any, basis: NDArray[np.float64], delta: float) -> NDArray[np.int64]:
    """Return the unimodular matrix of one basis; FLINT reduces rows, hence the transposes."""
    exponent = LLL_BITS - int(np.frexp(np.abs(basis).max())[1])
    whole = np.rint(np.ldexp(basis.T, exponent))
    given = flint.fmpz_mat([[int(value) for value in row] for row in whole.tolist()])
    _, transform = given.lll(transform=True, delta=delta)
    rows = [[int(value) for value in row] for row in transform.tolist()]
    if max(abs(value) for row in rows for value in row) >= 2**63:
        raise LatticeOverflowError("expected a transform within 64 bits, got larger integers; scale the basis")
    return np.array(rows, np.int64).T.copy()


def find_flint() -> Any:
    """Return the module python-flint; None if it is not installed."""
    try:
        import flint
    except ImportError:
        return None
    return flint
