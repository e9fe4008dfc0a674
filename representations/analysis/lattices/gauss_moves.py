"""Extended Gauss moves ``Q = I + v e_iᵀ``, in exact integer arithmetic.

The move adds ``Σ_j v_j b_j`` to the basis vector ``b_i`` and leaves the others. ``v_i = 0``, so that ``det Q = 1``.
Every integer matrix of determinant 1 is a product of such moves.

Source: Marchetti, Cesa, Pratik, Behboodi, *Neural lattice reduction*, TMLR 2025 (arXiv:2311.08170).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .bases import LatticeError

INT64_LIMIT = 2.0**62
"""Bound on the integers of a product: half of the range of int64, as the bound itself is computed with rounding."""


class LatticeOverflowError(LatticeError):
    """Integers of a transform would exceed 64 bits."""


@dataclass(frozen=True)
class GaussMove:
    """An extended Gauss move ``Q = I + v e_iᵀ`` with ``v_i = 0``.

    Args:
        index: ``i``, from 0.
        coefficients: the integers ``v``.

    Raises:
        LatticeError: ``i`` is out of range, ``v_i`` is not 0, or a coefficient is no integer.

    Example:
        >>> GaussMove(1, (3, 0)).matrix().tolist()
        [[1, 3], [0, 1]]
        >>> (GaussMove(1, (3, 0)).inverse().matrix() @ GaussMove(1, (3, 0)).matrix()).tolist()
        [[1, 0], [0, 1]]
    """

    index: int
    coefficients: tuple[int, ...]

    def __post_init__(self) -> None:
        wrong = [x for x in self.coefficients if isinstance(x, bool) or not isinstance(x, int | np.integer)]
        if wrong:
            raise LatticeError(f"expected integer coefficients of a Gauss move, got {wrong[0]!r}")
        if not 0 <= self.index < len(self.coefficients):
            raise LatticeError(f"expected an index from 0 to {len(self.coefficients) - 1}, got {self.index}")
        if self.coefficients[self.index] != 0:
            raise LatticeError(
                f"expected the coefficient {self.index} of the move to be 0, so that its determinant is 1, got "
                f"{self.coefficients[self.index]}"
            )

    def matrix(self) -> NDArray[np.int64]:
        """Return ``Q``, ``(n, n)`` int64.

        Raises:
            LatticeOverflowError: a coefficient exceeds 64 bits.
        """
        return multiply_moves([self], len(self.coefficients))

    def inverse(self) -> GaussMove:
        """Return ``Q⁻¹ = I − v e_iᵀ``."""
        return GaussMove(self.index, tuple(-int(value) for value in self.coefficients))


def multiply_moves(moves: Sequence[GaussMove], dim: int) -> NDArray[np.int64]:
    """Return the product ``Q_1 Q_2 …`` of Gauss moves, computed with Python integers.

    Args:
        moves: the moves, in the order in which they are applied to a basis: ``B Q_1 Q_2 …``.
        dim: ``n``.

    Raises:
        LatticeError: a move has another dimension.
        LatticeOverflowError: an entry of the product exceeds 64 bits.

    Example:
        >>> multiply_moves([GaussMove(1, (2, 0)), GaussMove(0, (0, 1))], 2).tolist()
        [[3, 2], [1, 1]]
    """
    columns = [[int(row == column) for row in range(dim)] for column in range(dim)]
    for move in moves:
        if len(move.coefficients) != dim:
            raise LatticeError(f"expected moves of {dim} coefficients, got one of {len(move.coefficients)}")
        added = [sum(int(v) * columns[j][row] for j, v in enumerate(move.coefficients)) for row in range(dim)]
        columns[move.index] = [old + new for old, new in zip(columns[move.index], added, strict=True)]
    if max(abs(value) for column in columns for value in column) >= 2**63:
        raise LatticeOverflowError("expected a product of moves within 64 bits, got larger integers; apply fewer moves")
    return np.array(columns, np.int64).T.copy()


def apply_moves(transform: Tensor, index: Tensor, coefficients: Tensor) -> Tensor:
    """Return ``Q (I + v e_iᵀ)`` for a batch, exactly.

    Args:
        transform: ``(B, n, n)`` int64.
        index: ``(B,)`` int64, ``i`` of each move.
        coefficients: ``(B, n)``, integers as int64 or float64, with ``v_i = 0``.

    Raises:
        LatticeOverflowError: an entry could exceed 64 bits, or a float64 coefficient is no exact integer.

    Example:
        >>> move = apply_moves(torch.eye(2, dtype=torch.int64)[None], torch.tensor([1]), torch.tensor([[3, 0]]))
        >>> move.tolist()
        [[[1, 3], [0, 1]]]
    """
    largest = coefficients.abs().sum(1).double()
    bound = transform.abs().amax((1, 2)).double() * (largest + 1)
    if bool((bound >= INT64_LIMIT).any()) or bool((largest >= 2.0**53).any()):
        raise LatticeOverflowError(
            "expected a transform within 64 bits, got larger integers; the basis is too skew: reduce it with LLL first"
        )
    rows = torch.arange(len(transform), device=transform.device)
    result = transform.clone()
    result[rows, :, index] += (transform * coefficients.long()[:, None, :]).sum(2)
    return result
