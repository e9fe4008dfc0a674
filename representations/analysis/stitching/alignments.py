"""Alignments: maps from the latents of one encoder to those of another, fitted on anchors that both have seen.

They are the rivals of relative maps. An alignment needs no training of what stands on the latents, either: a policy of
encoder A gets the aligned latents of encoder B.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .relative_maps import AnchorError

Floats = NDArray[np.floating[Any]]


class Alignment(nn.Module):
    """Base class: map flat latents of encoder B to flat latents of encoder A.

    Attributes:
        latent_dim: number of coordinates of the latents of A.
    """

    latent_dim: int

    def forward(self, latents: Tensor) -> Tensor:
        """Return aligned latents ``(B, latent_dim)`` of tensors ``(B, dim)``."""
        raise NotImplementedError

    def align(self, latents: Floats) -> NDArray[np.float32]:
        """Return aligned latents ``(B, latent_dim)`` of an array ``(B, dim)``, without gradients."""
        with torch.no_grad():
            aligned: NDArray[np.float32] = self(torch.from_numpy(np.array(latents, np.float32))).numpy()
        return aligned


class AffineAlignment(Alignment):
    """Map latents by ``z ↦ z M + t``.

    Args:
        matrix: ``M``, ``(dim of B, dim of A)``.
        offset: ``t``, ``(dim of A,)``.

    Example:
        >>> AffineAlignment(np.array([[0.0, 1.0], [2.0, 0.0]]), np.array([5.0, 0.0])).align(np.ones((1, 2))).tolist()
        [[7.0, 1.0]]
    """

    matrix: Tensor
    offset: Tensor

    def __init__(self, matrix: Floats, offset: Floats) -> None:
        super().__init__()
        if np.ndim(matrix) != 2 or np.shape(offset) != np.shape(matrix)[1:]:
            raise ValueError(
                f"expected a matrix (m, n) and an offset (n,), got {np.shape(matrix)} and {np.shape(offset)}"
            )
        self.latent_dim = int(np.shape(matrix)[1])
        self.register_buffer("matrix", torch.from_numpy(np.array(matrix, np.float32)))
        self.register_buffer("offset", torch.from_numpy(np.array(offset, np.float32)))

    def forward(self, latents: Tensor) -> Tensor:
        """Return ``z M + t``."""
        if latents.ndim != 2 or latents.shape[1] != len(self.matrix):
            raise ValueError(f"expected latents (B, {len(self.matrix)}), got {tuple(latents.shape)}")
        return latents @ self.matrix.to(latents.dtype) + self.offset.to(latents.dtype)


def absolute_alignment(latents_b: Floats, latents_a: Floats) -> AffineAlignment:
    """Return the identity: the latents of B are taken for those of A.

    Args:
        latents_b: latents of the anchors by encoder B, ``(k, dim)``.
        latents_a: those by encoder A, row by row of the same states, ``(k, dim)``.

    Raises:
        AnchorError: the latents have different sizes.
    """
    latents_b, latents_a = require_paired(latents_b, latents_a)
    _require_same_size(latents_b, latents_a)
    dim = latents_a.shape[1]
    return AffineAlignment(np.eye(dim), np.zeros(dim))


def linear_alignment(latents_b: Floats, latents_a: Floats) -> AffineAlignment:
    """Return the linear regression ``min_{M, t} Σ ‖z_B M + t − z_A‖²``.

    Coordinates of B without variation get the coefficient zero, as in every solution of smallest norm.

    Args:
        latents_b: latents of the anchors by encoder B, ``(k, dim of B)``.
        latents_a: those by encoder A, ``(k, dim of A)``.

    Raises:
        AnchorError: there are fewer anchors than coordinates of B plus one.

    Example:
        >>> b = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [2.0, 3.0]])
        >>> alignment = linear_alignment(b, b @ [[1.0], [-2.0]] + 3)
        >>> alignment.align(np.array([[10.0, 10.0]])).round(3).tolist()
        [[-7.0]]
    """
    latents_b, latents_a = require_paired(latents_b, latents_a)
    _require_anchors(latents_b, latents_b.shape[1] + 1)
    centre_b, centre_a = latents_b.mean(0), latents_a.mean(0)
    matrix = np.linalg.lstsq(latents_b - centre_b, latents_a - centre_a, rcond=None)[0]
    return AffineAlignment(matrix, centre_a - centre_b @ matrix)


def procrustes_alignment(latents_b: Floats, latents_a: Floats) -> AffineAlignment:
    """Return the similarity ``min_{s, Q, t} Σ ‖s z_B Q + t − z_A‖²`` over orthogonal ``Q`` and ``s > 0``.

    If the latents have different sizes, the shorter ones are extended by zeros.

    Source: Schönemann and Carroll, *Fitting one matrix to another under choice of a central dilation and a rigid
    motion*, Psychometrika 1970.

    Args:
        latents_b: latents of the anchors by encoder B, ``(k, dim of B)``.
        latents_a: those by encoder A, ``(k, dim of A)``.

    Raises:
        AnchorError: there are fewer anchors than coordinates, or all latents of B are the same.

    Example:
        >>> b = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
        >>> alignment = procrustes_alignment(b, 3 * b[:, ::-1] + 1)
        >>> alignment.align(np.array([[10.0, 20.0]])).round(3).tolist()
        [[61.0, 31.0]]
    """
    latents_b, latents_a = require_paired(latents_b, latents_a)
    _require_anchors(latents_b, max(latents_b.shape[1], latents_a.shape[1]))
    centre_b, centre_a = latents_b.mean(0), latents_a.mean(0)
    spread = ((latents_b - centre_b) ** 2).sum()
    if not spread > 0:
        raise AnchorError("expected anchors that differ, encoder B gave all of them the same latent; check encoder B")
    rotation, correlation = orthogonal_map(latents_b - centre_b, latents_a - centre_a)
    matrix = correlation / spread * rotation
    return AffineAlignment(matrix, centre_a - centre_b @ matrix)


def isometric_alignment(latents_b: Floats, latents_a: Floats, point_dim: int) -> AffineAlignment:
    """Return one rotation or reflection and translation that moves all points of a latent together.

    A latent is a list of points of R^n, such as those of agent and object: ``z = (p¹, …, p^m)``. The map is
    ``pʲ ↦ pʲ Q + t`` with ``min_{Q, t} Σ_j Σ ‖pʲ_B Q + t − pʲ_A‖²`` over orthogonal ``Q``; it keeps all lengths.

    Source: Schönemann, *A generalized solution of the orthogonal Procrustes problem*, Psychometrika 1966.

    Args:
        latents_b: latents of the anchors by encoder B, ``(k, m · point_dim)``.
        latents_a: those by encoder A, ``(k, m · point_dim)``.
        point_dim: ``n``, number of coordinates of a point.

    Raises:
        AnchorError: the latents are no lists of points, or the anchors have fewer points than ``n + 1``.

    Example:
        >>> b = np.array([[0.0, 0.0, 1.0, 0.0], [0.0, 2.0, 3.0, 3.0]])
        >>> a = np.stack([-b[:, 1], b[:, 0], -b[:, 3], b[:, 2]], 1) + 5
        >>> isometric_alignment(b, a, point_dim=2).align(np.array([[1.0, 0.0, 0.0, 1.0]])).round(3).tolist()
        [[5.0, 6.0, 4.0, 5.0]]
    """
    latents_b, latents_a = require_paired(latents_b, latents_a)
    _require_same_size(latents_b, latents_a)
    if point_dim < 1 or latents_b.shape[1] % point_dim:
        raise AnchorError(f"expected latents that are points of {point_dim} coordinates, got {latents_b.shape[1]}")
    points_b, points_a = latents_b.reshape(-1, point_dim), latents_a.reshape(-1, point_dim)
    _require_anchors(points_b, point_dim + 1)
    centre_b, centre_a = points_b.mean(0), points_a.mean(0)
    rotation, _ = orthogonal_map(points_b - centre_b, points_a - centre_a)
    count = latents_b.shape[1] // point_dim
    return AffineAlignment(np.kron(np.eye(count), rotation), np.tile(centre_a - centre_b @ rotation, count))


def orthogonal_map(centred_b: Floats, centred_a: Floats) -> tuple[Floats, float]:
    """Return ``Q`` with ``min_Q ‖Z_B Q − Z_A‖``, and the sum of singular values of ``Z_Bᵀ Z_A``.

    If the sizes differ, the shorter rows are extended by zeros, and the surplus rows or columns of ``Q`` left out.
    """
    from scipy.linalg import orthogonal_procrustes

    sizes = centred_b.shape[1], centred_a.shape[1]
    padded = [np.pad(each, ((0, 0), (0, max(sizes) - each.shape[1]))) for each in (centred_b, centred_a)]
    rotation, correlation = orthogonal_procrustes(*padded)
    return rotation[: sizes[0], : sizes[1]], float(correlation)


def require_paired(latents_b: Floats, latents_a: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both in float64, after checking that they are finite rows ``(k, dim)`` of the same states.

    Raises:
        AnchorError: they are not.
    """
    pair = np.asarray(latents_b, np.float64), np.asarray(latents_a, np.float64)
    if any(each.ndim != 2 or 0 in each.shape for each in pair) or len(pair[0]) != len(pair[1]):
        raise AnchorError(f"expected a row of each encoder for every anchor, got {pair[0].shape} and {pair[1].shape}")
    if not all(np.isfinite(each).all() for each in pair):
        raise AnchorError("expected finite latents of the anchors, got NaN or infinity; check the encoders")
    return pair


def _require_same_size(latents_b: Floats, latents_a: Floats) -> None:
    if latents_b.shape[1] != latents_a.shape[1]:
        raise AnchorError(
            f"expected latents of one size, got {latents_b.shape[1]} and {latents_a.shape[1]} coordinates; use "
            "linear_alignment"
        )


def _require_anchors(latents: Floats, least: int) -> None:
    if len(latents) < least:
        raise AnchorError(
            f"expected at least {least} anchors for latents of {latents.shape[1]} coordinates, got {len(latents)}"
        )
