"""Array operations that work alike on NumPy arrays and torch tensors, without importing torch for NumPy arrays."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import numpy as np

from .group import Array


def library_of(array: Any) -> Any:
    """Return the module ``numpy`` or ``torch``, whichever the array belongs to."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(array, torch.Tensor) else np


def in_torch(function: Any, array: Array) -> Array:
    """Return a function of tensors, applied to an array of either kind and returned as that kind."""
    import torch

    given: Any = array
    result: Array = function(given) if isinstance(given, torch.Tensor) else function(torch.tensor(given)).numpy()
    return result


def split(g: Array) -> tuple[Array, Array]:
    """Return the first two coordinates, each of the shape of the batch."""
    return g[..., 0], g[..., 1]


def stack(a: Array, b: Array) -> Array:
    """Return two arrays of coordinates, stacked along a new last axis."""
    stacked: Array = library_of(a).stack((a, b), -1)
    return stacked


def join(*parts: Array) -> Array:
    """Return arrays concatenated along the last axis, after broadcasting their batch axes."""
    given: tuple[Any, ...] = parts
    batches: list[tuple[int, ...]] = [tuple(part.shape[:-1]) for part in given]
    batch: tuple[int, ...] = np.broadcast_shapes(*batches)
    xp = library_of(parts[0])
    joined: Array = xp.concatenate([xp.broadcast_to(part, (*batch, part.shape[-1])) for part in given], -1)
    return joined


def cut(array: Array, sizes: list[int]) -> list[Array]:
    """Return slices of the given sizes along the last axis; undoes `join`."""
    ends = list(itertools.accumulate(sizes))
    return [array[..., end - size : end] for size, end in zip(sizes, ends, strict=True)]


def unit(vectors: Array) -> Array:
    """Return ``v / √(‖v‖² + 10⁻¹²)``: unit vectors, with finite gradients at zero."""
    squared = (vectors**2).sum(-1)[..., None]
    unit: Array = vectors / (squared + 1e-12) ** 0.5
    return unit


def matrix_of(g: Array) -> Array:
    """Return nine coordinates as a 3 × 3 matrix, row by row."""
    given: Any = g
    matrix: Array = given.reshape(*given.shape[:-1], 3, 3)
    return matrix


def flat(matrix: Array) -> Array:
    """Return a 3 × 3 matrix as nine coordinates, row by row; undoes `matrix_of`."""
    flat: Array = matrix.reshape(*matrix.shape[:-2], 9)
    return flat


def rotation_matrix(cos: Array, sin: Array) -> Array:
    """Return the matrices ``[[cos, −sin], [sin, cos]]``, shape ``(..., 2, 2)``."""
    matrix: Array = library_of(cos).stack((stack(cos, -sin), stack(sin, cos)), -2)
    return matrix


def identity_like(g: Array, size: int) -> Array:
    """Return a batch of ``size × size`` identity matrices of the kind, type and device of ``g``, for ``(..., k)``."""
    given: Any = g
    xp = library_of(given)
    eye = xp.eye(size).to(given) if xp is not np else np.eye(size, dtype=given.dtype)
    batch: Array = xp.broadcast_to(eye, (*given.shape[:-1], size, size))
    return batch


def block_diagonal(blocks: list[Array]) -> Array:
    """Return batches of square matrices as the blocks of one, ``(..., k, k)``."""
    given: list[Any] = blocks
    xp, total = library_of(given[0]), sum(block.shape[-1] for block in given)
    rows: list[Any] = []
    start = 0
    block: Any
    for block in given:
        size = block.shape[-1]
        left, right = (xp.zeros_like(block[..., :1]) for _ in range(2))
        left = xp.broadcast_to(left, (*block.shape[:-1], start))
        right = xp.broadcast_to(right, (*block.shape[:-1], total - start - size))
        rows.append(xp.concatenate([left, block, right], -1))
        start += size
    matrix: Array = xp.concatenate(rows, -2)
    return matrix


def affine_matrix(linear: Array, shift: Array) -> Array:
    """Return the matrices ``[A | t]`` of ``p ↦ A p + t``, shape ``(..., n, n + 1)``."""
    matrix: Array = library_of(shift).concatenate([linear, shift[..., None]], -1)
    return matrix


def homogeneous_matrix(linear: Array, shift: Array) -> Array:
    """Return the matrices ``[[A, t], [0, 1]]`` of ``p ↦ A p + t``, shape ``(..., n + 1, n + 1)``."""
    upper = affine_matrix(linear, shift)
    xp = library_of(shift)
    last = xp.zeros_like(upper[..., :1, :])
    last[..., -1] = 1
    matrix: Array = xp.concatenate([upper, last], -2)
    return matrix
