"""Self-attention as a module and as matrices: moves along the fibre, and invariants that tell two functions apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .attention_geometry import AttentionArchitecture

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AttentionWeights:
    """Weights of one self-attention layer ``X ↦ V X (K X)ᵀ (Q X)``.

    Attributes:
        query: ``Q``, ``(a, d)``.
        key: ``K``, ``(a, d)``.
        value: ``V``, ``(d', d)``.

    Raises:
        ValueError: the shapes do not fit, or an entry is not finite.
    """

    query: Floats
    key: Floats
    value: Floats

    def __post_init__(self) -> None:
        shapes = [each.shape for each in (self.query, self.key, self.value)]
        if any(len(shape) != 2 for shape in shapes) or shapes[0] != shapes[1] or shapes[1][1] != shapes[2][1]:
            raise ValueError(f"expected query and key of shape (a, d) and a value of shape (d', d), got {shapes}")
        if not all(np.isfinite(each).all() for each in (self.query, self.key, self.value)):
            raise ValueError("expected finite weights, got NaN or infinity")


class AttentionNetwork(nn.Module):
    """Self-attention layers in sequence, ``X ↦ V X S(Xᵀ Kᵀ Q X)``.

    ``S`` is the identity, or the softmax of each column.

    Args:
        architecture: widths, inner dimensions, and whether scores go through a softmax.
        seed: seed of the random weights, which have the variance ``1 / d``.

    Example:
        >>> network = AttentionNetwork(AttentionArchitecture((4, 3), (2,)))
        >>> network(torch.zeros(5, 4, 2, dtype=torch.float64)).shape
        torch.Size([5, 3, 2])
    """

    def __init__(self, architecture: AttentionArchitecture, seed: int = 0) -> None:
        super().__init__()
        self.normalised = architecture.normalised
        self.weights = nn.ParameterList()
        generator = torch.Generator().manual_seed(seed)
        for before, after, inner in zip(architecture.dims[:-1], architecture.dims[1:], architecture.inner, strict=True):
            for rows in (inner, inner, after):
                weight = torch.randn(rows, before, generator=generator, dtype=torch.float64)
                self.weights.append(nn.Parameter(weight / before**0.5))

    def forward(self, x: Tensor) -> Tensor:
        """Return the output ``(B, d_l, t)`` of inputs ``(B, d_0, t)``."""
        weights = list(self.weights)
        for query, key, value in zip(weights[::3], weights[1::3], weights[2::3], strict=True):
            scores = (key @ x).mT @ (query @ x)
            x = value @ (x @ (scores.softmax(-2) if self.normalised else scores))
        return x


def move_along_fibre(layers: Sequence[AttentionWeights], generator: np.random.Generator) -> list[AttentionWeights]:
    """Return other weights of the same function.

    Random moves: ``(Q, K) → (G⁻ᵀ Q, G K)``, ``(A, V) → (λA, λ⁻¹V)``, and a change of basis between two layers,
    ``V_i → H V_i`` and ``(Q, K, V)_{i+1} → (Q, K, V)_{i+1} H⁻¹``.

    Args:
        layers: weights of each layer of lightning attention.
        generator: source of random numbers.

    Raises:
        ValueError: the widths of the layers do not fit.
    """
    _require_chain(layers)
    moved = []
    basis = np.eye(layers[0].value.shape[1])
    for index, layer in enumerate(layers):
        undo = np.linalg.inv(basis)
        inner = _random_basis(len(layer.key), generator)
        scale = generator.uniform(0.5, 2.0)
        last = index == len(layers) - 1
        basis = np.eye(len(layer.value)) if last else _random_basis(len(layer.value), generator)
        query = scale * np.linalg.solve(inner.T, layer.query) @ undo
        moved.append(AttentionWeights(query, inner @ layer.key @ undo, basis @ layer.value @ undo / scale))
    return moved


def attention_invariants(layers: Sequence[AttentionWeights]) -> tuple[list[Floats], Floats]:
    """Return what of the weights the function determines: forms of unit norm, and one matrix.

    With ``U_i = V_{i−1}⋯V_1``, the forms are ``M_i = U_iᵀ K_iᵀ Q_i U_i`` divided by ``m_i = ±‖M_i‖``, with the sign
    that makes the entry of largest magnitude positive. The matrix is ``Π_i m_i^(3^{l−i}) · V_l⋯V_1``. Generic weights
    of two networks give the same function if and only if these are equal, for layers of rank at least 2 and two tokens
    or more. For one layer this is the fibre ``(λA, λ⁻¹V)``.

    Source: Henry, Marchetti, Kohn, ICLR 2025 (arXiv:2408.17221).

    Args:
        layers: weights of each layer of lightning attention.

    Returns:
        Forms ``(d_0, d_0)`` a layer, and the matrix ``(d_l, d_0)``.

    Raises:
        ValueError: the widths do not fit, or a form is zero, so that the network is the zero function.
    """
    _require_chain(layers)
    product, forms, scale = np.eye(layers[0].value.shape[1]), [], 1.0
    for index, layer in enumerate(layers):
        form = product.T @ layer.key.T @ layer.query @ product
        size = np.linalg.norm(form) * np.sign(form.flat[np.abs(form).argmax()])
        if size == 0:
            raise ValueError(f"expected scores that are not zero, got KᵀQ = 0 on the inputs of layer {index + 1}")
        forms.append(form / size)
        scale *= size ** (3 ** (len(layers) - 1 - index))
        product = layer.value @ product
    return forms, scale * product


def same_attention(
    first: Sequence[AttentionWeights], second: Sequence[AttentionWeights], tolerance: float = 1e-8
) -> bool:
    """Return whether generic weights of two networks give the same function, from `attention_invariants`.

    Args:
        first: weights of one network.
        second: weights of the other, with as many layers.
        tolerance: largest relative difference that counts as rounding; 1e-8 is half the digits of float64, since the
            matrices are products of a dozen factors.

    Raises:
        ValueError: the widths of the layers do not fit, or a form is zero.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> layer = AttentionWeights(*(generator.normal(size=(2, 3)) for _ in range(3)))
        >>> same_attention([layer], move_along_fibre([layer], generator))
        True
        >>> same_attention([layer], [AttentionWeights(layer.key, layer.query, layer.value)])
        False
    """
    if len(first) != len(second):
        return False
    ours, theirs = attention_invariants(first), attention_invariants(second)
    pairs = [*zip(ours[0], theirs[0], strict=True), (ours[1], theirs[1])]
    return all(
        a.shape == b.shape and bool(np.linalg.norm(a - b) <= tolerance * max(np.linalg.norm(a), np.linalg.norm(b)))
        for a, b in pairs
    )


def _random_basis(size: int, generator: np.random.Generator) -> Floats:
    """Return a random invertible matrix with a condition number of at most 4."""
    left, right = (np.linalg.qr(generator.normal(size=(size, size)))[0] for _ in range(2))
    basis: Floats = left @ np.diag(generator.uniform(0.5, 2.0, size)) @ right
    return basis


def _require_chain(layers: Sequence[AttentionWeights]) -> None:
    """Check that there are layers, and that each takes what the one before gives.

    Raises:
        ValueError: the widths do not fit.
    """
    if not layers:
        raise ValueError("expected at least one layer, got none")
    for before, after in pairwise(layers):
        if len(before.value) != after.value.shape[1]:
            raise ValueError(
                f"expected a layer of width {len(before.value)} behind a value of shape {before.value.shape}, got one "
                f"of width {after.value.shape[1]}"
            )
