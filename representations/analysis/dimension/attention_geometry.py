"""Geometry of self-attention: dimension of the function space, and which parameters give the same function.

A layer maps ``X ∈ R^{d×t}`` to ``V X Xᵀ A X`` with ``A = KᵀQ``; a normalised layer to ``V X softmax(Xᵀ A X)`` with the
softmax over the rows of each column.

Source: Henry, Marchetti, Kohn, *Geometry of Lightning Self-Attention: Identifiability and Dimension*, ICLR 2025
(arXiv:2408.17221). `generic_attention_dimension` extends its formula to the architectures that the formula overcounts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate, pairwise

from ...learning.config import ConfigError, check_range


@dataclass(frozen=True)
class AttentionArchitecture:
    """Describe a network of self-attention layers, one head each, without biases or skip connections.

    Attributes:
        dims: widths ``(d_0, …, d_l)``; layer ``i`` maps ``R^{d_{i−1}×t}`` to ``R^{d_i×t}``.
        inner: inner dimensions ``(a_1, …, a_l)`` of queries and keys.
        tokens: number ``t`` of tokens.
        normalised: whether the scores go through a softmax.

    Raises:
        ConfigError: a number is below 1, or the lengths of ``dims`` and ``inner`` do not match.

    Example:
        >>> AttentionArchitecture(dims=(4, 4), inner=(2,)).parameters
        32
    """

    dims: tuple[int, ...]
    inner: tuple[int, ...]
    tokens: int = 2
    normalised: bool = False

    def __post_init__(self) -> None:
        for name in ("dims", "inner", "tokens"):
            check_range(self, name, at_least=1)
        if len(self.dims) != len(self.inner) + 1 or not self.inner:
            raise ConfigError(
                f"expected one inner dimension a layer, so that len(dims) = len(inner) + 1, got dims {self.dims} and "
                f"inner {self.inner}"
            )

    @property
    def parameters(self) -> int:
        """Return the number of entries of all queries, keys and values: ``Σ_i (2 a_i + d_i) d_{i−1}``."""
        return sum((2 * a + after) * before for (before, after), a in zip(pairwise(self.dims), self.inner, strict=True))

    @property
    def bottlenecks(self) -> tuple[int, ...]:
        """Return the numbers ``δ_i = min(d_0, …, d_{i−1})`` of a layer's input, ``i = 1, …, l``."""
        return tuple(accumulate(self.dims[:-1], min))

    @property
    def ranks(self) -> tuple[int, ...]:
        """Return the ranks ``α_i = min(a_i, δ_i)`` of the bilinear forms."""
        return tuple(map(min, self.inner, self.bottlenecks))

    @property
    def spans(self) -> tuple[int, ...]:
        """Return the numbers ``ν_i ≤ δ_i`` of linear functions of the input that layers ``i, …, l`` read.

        ``ν_l = min(δ_l, 2α_l + d_l)`` and ``ν_i = min(δ_i, 2α_i + ν_{i+1})``.
        """
        spans, later = list[int](), self.dims[-1]
        for delta, alpha in zip(reversed(self.bottlenecks), reversed(self.ranks), strict=True):
            later = min(delta, 2 * alpha + later)
            spans.insert(0, later)
        return tuple(spans)

    @property
    def first_rank_one(self) -> int | None:
        """Return the index (from 0) of the first layer whose input always has rank one; None if there is none.

        The input has rank one if there is one token, or the layer before has ``α = 1`` and no softmax.
        """
        if self.tokens == 1:
            return 0
        if self.normalised:
            return None
        return next((index + 1 for index, alpha in enumerate(self.ranks[:-1]) if alpha == 1), None)


def published_attention_dimension(architecture: AttentionArchitecture) -> int:
    """Return the published dimension of the function space.

    ``Σ_i α_i (2δ_i − α_i) + Σ_{i<l} δ_{i+1} (δ_i − δ_{i+1}) + d_l δ_l − l``; ``−l`` is dropped for normalised
    attention, which is proved for one layer and conjectured for more. One lightning layer has ``2αd − α² + d'd − 1``.

    Source: Henry, Marchetti, Kohn, ICLR 2025 (arXiv:2408.17221), for two tokens or more. The formula overcounts some
    architectures, and all with one token: `published_formula_holds`.

    Args:
        architecture: widths, inner dimensions, tokens.

    Example:
        >>> published_attention_dimension(AttentionArchitecture((4, 4), (2,)))
        27
        >>> published_attention_dimension(AttentionArchitecture((4, 4), (2,), normalised=True))
        28
    """
    delta, last = architecture.bottlenecks, architecture.dims[-1]
    forms = sum(alpha * (2 * each - alpha) for alpha, each in zip(architecture.ranks, delta, strict=True))
    quotients = sum(after * (before - after) for before, after in pairwise(delta))
    return forms + quotients + last * delta[-1] - (0 if architecture.normalised else len(delta))


def generic_attention_dimension(architecture: AttentionArchitecture) -> int:
    """Return the dimension of the function space, for every architecture.

    The function depends on the bilinear forms ``M_i = (V_{i−1}⋯V_1)ᵀ A_i (V_{i−1}⋯V_1)`` and on ``P = V_l⋯V_1``. All
    that layers ``i, …, l`` read of the input is a space of ``ν_i`` linear functions (`AttentionArchitecture.spans`).
    With ``ν_0 = d_0`` the dimension is
    ``Σ_i dim(M_i) + Σ_{i≥0} ν_{i+1} (ν_i − ν_{i+1}) + d_l ν_l − l``, where ``−l`` is dropped for normalised attention.
    ``dim(M_i) = α_i (2ν_i − α_i)``, the dimension of the forms of rank ``α_i``. Behind a layer of rank one, or for one
    token, only the symmetric part acts, of rank ``ρ = min(2α_i, ν_i)``: ``dim(M_i) = ρ ν_i − ρ(ρ − 1)/2``.
    One token under a softmax gives ``x ↦ P x``: the matrices of rank ``ρ = min(dims)``, ``ρ (d_0 + d_l − ρ)``.

    It equals `published_attention_dimension` where `published_formula_holds`. It is derived here and checked by exact
    ranks; it is no result of the paper.

    Args:
        architecture: widths, inner dimensions, tokens.

    Example:
        >>> generic_attention_dimension(AttentionArchitecture((4, 4), (2,)))
        27
        >>> deep = AttentionArchitecture((4, 4, 4), (1, 4))
        >>> published_attention_dimension(deep), generic_attention_dimension(deep)
        (37, 31)
    """
    dims, spans = architecture.dims, architecture.spans
    if architecture.normalised and architecture.tokens == 1:
        return min(dims) * (dims[0] + dims[-1] - min(dims))
    symmetric_from = architecture.first_rank_one
    forms = 0
    for index, (alpha, span) in enumerate(zip(architecture.ranks, spans, strict=True)):
        is_symmetric = symmetric_from is not None and index >= symmetric_from
        forms += _symmetric_forms(min(2 * alpha, span), span) if is_symmetric else alpha * (2 * span - alpha)
    quotients = sum(after * (before - after) for before, after in pairwise((dims[0], *spans)))
    return forms + quotients + dims[-1] * spans[-1] - (0 if architecture.normalised else len(spans))


def _symmetric_forms(rank: int, size: int) -> int:
    """Return the dimension of the symmetric matrices of a size and of at most a rank."""
    return rank * size - math.comb(rank, 2)


def published_formula_holds(architecture: AttentionArchitecture) -> bool:
    """Return whether `published_attention_dimension` is the dimension, and not too large.

    Example:
        >>> published_formula_holds(AttentionArchitecture((4, 4, 4), (2, 1)))
        True
        >>> published_formula_holds(AttentionArchitecture((4, 4, 4), (1, 2)))
        False
    """
    return published_attention_dimension(architecture) == generic_attention_dimension(architecture)


def explain_exception(architecture: AttentionArchitecture) -> str:
    """Return why the published formula fails for an architecture; empty where it holds.

    Example:
        >>> explain_exception(AttentionArchitecture((4, 4), (2,), tokens=1))
        'one token: scores xᵀAx see only the symmetric part of A'
    """
    if published_formula_holds(architecture):
        return ""
    if architecture.tokens == 1 and architecture.normalised:
        return "one token: its softmax is 1, and queries and keys have no effect"
    reasons = []
    if architecture.tokens == 1:
        reasons.append("one token: scores xᵀAx see only the symmetric part of A")
    elif architecture.first_rank_one is not None:
        reasons.append(
            f"layer {architecture.first_rank_one} has rank 1: later layers get inputs u vᵀ, and uᵀAu sees only the "
            "symmetric part of A"
        )
    narrow = [index + 1 for index, span in enumerate(architecture.spans) if span < architecture.bottlenecks[index]]
    if narrow:
        reasons.append(
            f"layers from {narrow[0]} on read fewer linear functions of the input than the width that they are given"
        )
    return "; ".join(reasons)
