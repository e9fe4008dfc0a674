"""Reduce many bases at once by extended Gauss moves, each of which lowers the orthogonality defect.

A move changes one vector, ``b_i ← b_i + Σ_j v_j b_j``, so that ``log δ`` falls by ``log (‖b_i‖ / ‖b_i + B v‖)``. Of the
moves that are proposed, the one with the largest decrease is applied, and of equal ones the first. The reduction ends
when no proposed move lowers ``log δ`` by more than `LEAST_DECREASE`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .bases import LatticeReduction, change_basis, check_basis
from .gauss_moves import apply_moves

LEAST_DECREASE = 1e-9
"""Smallest decrease of ``log δ`` of a move: above float64 rounding, so that no move is undone by another."""


@dataclass(frozen=True)
class MoveBatch:
    """One extended Gauss move for each of ``B`` bases.

    Attributes:
        index: ``(B,)`` int64, the vector that changes.
        coefficients: ``(B, n)`` float64, whole numbers, 0 at the index.
        decrease: ``(B,)`` float64, by which ``log δ`` falls.
    """

    index: Tensor
    coefficients: Tensor
    decrease: Tensor

    def better(self, other: MoveBatch) -> MoveBatch:
        """Return the moves with the larger decrease; of equal ones those of this batch."""
        better = other.decrease > self.decrease
        return MoveBatch(
            torch.where(better, other.index, self.index),
            torch.where(better[:, None], other.coefficients, self.coefficients),
            torch.where(better, other.decrease, self.decrease),
        )


Propose = Callable[[Tensor, Tensor], MoveBatch]
"""Function of the Gram matrices ``Bᵀ B`` of the bases and of their duals ``(Bᵀ B)⁻¹``, each ``(B, n, n)``."""


def pairwise_moves(gram: Tensor, dual_gram: Tensor) -> MoveBatch:
    """Return the best moves with one coefficient, ``v_j = −round(⟨b_j, b_i⟩ / ⟨b_j, b_j⟩)``.

    Args:
        gram: ``(B, n, n)``.
        dual_gram: ``(B, n, n)``; not used.

    Source: pairwise (Gauss) reduction, see Nguyen and Vallée, *The LLL algorithm*, 2010.

    Example:
        >>> move = pairwise_moves(torch.tensor([[[1.0, 2.0], [2.0, 5.0]]]).double(), torch.zeros(1, 2, 2))
        >>> move.index.tolist(), move.coefficients.tolist()
        ([1], [[-2.0, 0.0]])
    """
    squares = gram.diagonal(dim1=1, dim2=2)
    coefficient = -(gram / squares[:, :, None]).round()
    coefficient.diagonal(dim1=1, dim2=2).zero_()
    after = squares[:, None, :] + coefficient * (2 * gram + coefficient * squares[:, :, None])
    ratio, flat = (after / squares[:, None, :]).flatten(1).min(1)
    rows, dim = torch.arange(len(gram), device=gram.device), gram.shape[-1]
    other, index = flat // dim, flat % dim
    coefficients = torch.zeros_like(squares)
    coefficients[rows, other] = coefficient[rows, other, index]
    return MoveBatch(index, coefficients, -0.5 * ratio.clamp_min(torch.finfo(ratio.dtype).tiny).log())


def projection_coefficients(dual_gram: Tensor) -> Tensor:
    """Return the real ``u`` that project each vector to the complement of the others: ``u_ji = (G⁻¹)_ji / (G⁻¹)_ii``.

    ``b_i + Σ_{j≠i} u_ji b_j`` is the shortest vector for real ``u``.

    Args:
        dual_gram: ``(B, n, n)``, ``G⁻¹``.

    Returns:
        ``(B, n, n)``; column ``i`` belongs to ``b_i``, and the diagonal is 0.
    """
    result = dual_gram / dual_gram.diagonal(dim1=1, dim2=2)[:, None, :]
    result.diagonal(dim1=1, dim2=2).zero_()
    return result


def projection_moves(gram: Tensor, dual_gram: Tensor) -> MoveBatch:
    """Return the best of the moves with the rounded `projection_coefficients` (Babai's rounding).

    Source: Babai, *On Lovász' lattice reduction and the nearest lattice point problem*, Combinatorica 6, 1986.
    """
    return best_moves(gram, projection_coefficients(dual_gram).round()[:, None])


def best_moves(gram: Tensor, proposals: Tensor) -> MoveBatch:
    """Return the best of proposed moves.

    Args:
        gram: ``(B, n, n)``.
        proposals: ``(B, K, n, n)`` whole numbers; column ``i`` of each matrix is a ``v`` for the vector ``b_i``, with a
            diagonal of 0.
    """
    dim = gram.shape[-1]
    ratio, flat = length_ratios(gram, proposals).flatten(1).min(1)
    rows, choice, index = torch.arange(len(gram), device=gram.device), flat // dim, flat % dim
    decrease = -0.5 * ratio.clamp_min(torch.finfo(ratio.dtype).tiny).log()
    return MoveBatch(index, proposals[rows, choice, :, index], decrease)


def length_ratios(gram: Tensor, proposals: Tensor) -> Tensor:
    """Return ``‖b_i + B v‖² / ‖b_i‖²`` of proposed moves ``(B, K, n, n)``, as ``(B, K, n)``."""
    combination = proposals + torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    after = (combination * (gram[:, None] @ combination)).sum(2)
    return after / gram.diagonal(dim1=1, dim2=2)[:, None]


def pairwise_and_projection_moves(gram: Tensor, dual_gram: Tensor) -> MoveBatch:
    """Return the better of `pairwise_moves` and `projection_moves`."""
    return pairwise_moves(gram, dual_gram).better(projection_moves(gram, dual_gram))


def reduce_by_moves(basis: ArrayLike, propose: Propose, max_moves: int = 1000, device: str = "cpu") -> LatticeReduction:
    """Apply the proposed moves to bases, one after another, as long as they lower the defect.

    The transform is exact: it is multiplied in int64, with a check for overflow. Decreases are computed in float64.

    Args:
        basis: ``(..., n, n)``, columns.
        propose: function that proposes a move for each basis.
        max_moves: largest number of moves for one basis.
        device: where to compute.

    Raises:
        LatticeError: see `check_basis`.
        LatticeOverflowError: the transform exceeds 64 bits.

    Example:
        >>> reduction = reduce_by_moves([[1, 7], [0, 1]], pairwise_moves)
        >>> reduction.basis.tolist(), reduction.transform.tolist(), int(reduction.moves)
        ([[1.0, 0.0], [0.0, 1.0]], [[1, -7], [0, 1]], 1)
    """
    checked = check_basis(basis)
    flat = checked.reshape(-1, *checked.shape[-2:])
    size = np.abs(flat).max((1, 2), keepdims=True)
    transform, moves = _reduce(torch.from_numpy(flat / size).to(device), propose, max_moves)
    exact = transform.cpu().numpy()
    reduced = change_basis(flat, exact).reshape(checked.shape)
    return LatticeReduction(reduced, exact.reshape(checked.shape), moves.cpu().numpy().reshape(checked.shape[:-2]))


def _reduce(basis: Tensor, propose: Propose, max_moves: int) -> tuple[Tensor, Tensor]:
    """Return the transforms and the numbers of moves; bases that are done are put aside now and then."""
    count, dim = len(basis), basis.shape[-1]
    dual = torch.linalg.inv(basis)
    transform = torch.eye(dim, dtype=torch.int64, device=basis.device).repeat(count, 1, 1)
    done, moves = transform.clone(), torch.zeros(count, dtype=torch.int64, device=basis.device)
    rows = torch.arange(count, device=basis.device)
    for _ in range(max_moves):
        move = propose(basis.mT @ basis, dual @ dual.mT)
        going = move.decrease > LEAST_DECREASE
        left = int(going.sum())
        if left < 0.7 * len(rows):  # putting aside costs a copy
            done[rows] = transform
            parts = (basis, dual, transform, rows, move.index, move.coefficients, move.decrease)
            basis, dual, transform, rows, *chosen = (each[going] for each in parts)
            move, going = MoveBatch(*chosen), going[going]
        if not left:
            break
        coefficients = move.coefficients * going[:, None]
        transform = apply_moves(transform, move.index, coefficients)
        basis, dual = _moved(basis, dual, move.index, coefficients)
        moves[rows] += going
    done[rows] = transform
    return done, moves


def _moved(basis: Tensor, dual: Tensor, index: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``B (I + v e_iᵀ)`` and ``(I − v e_iᵀ) B⁻¹``."""
    rows = torch.arange(len(basis), device=basis.device)
    basis[rows, :, index] += (basis @ coefficients[:, :, None])[:, :, 0]
    dual -= coefficients[:, :, None] * dual[rows, index][:, None]
    return basis, dual


def pairwise_reduce(basis: ArrayLike, max_moves: int = 1000) -> LatticeReduction:
    """Reduce bases by pairwise (Gauss) reduction: no network, one coefficient a move.

    Args:
        basis: ``(..., n, n)``, columns.
        max_moves: largest number of moves for one basis.

    Raises:
        LatticeError: see `check_basis`.
        LatticeOverflowError: the transform exceeds 64 bits.

    Example:
        >>> pairwise_reduce([[1, 7], [0, 1]]).basis.tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return reduce_by_moves(basis, pairwise_moves, max_moves)


def projection_reduce(basis: ArrayLike, max_moves: int = 1000) -> LatticeReduction:
    """Reduce bases by the better of `pairwise_moves` and `projection_moves`: no network.

    Args:
        basis: ``(..., n, n)``, columns.
        max_moves: largest number of moves for one basis.

    Raises:
        LatticeError: see `check_basis`.
        LatticeOverflowError: the transform exceeds 64 bits.

    Example:
        >>> projection_reduce([[1, 7], [0, 1]]).transform.tolist()
        [[1, -7], [0, 1]]
    """
    return reduce_by_moves(basis, pairwise_and_projection_moves, max_moves)
