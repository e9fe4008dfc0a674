"""A network that reduces lattices: it proposes extended Gauss moves where pairwise moves and rounding are stuck.

Marchetti, Cesa, Pratik, Behboodi, *Neural lattice reduction: a self-supervised geometric deep learning approach*, TMLR
2025 (arXiv:2311.08170). `lattice_training` trains it.

Deviations from the paper, and why
----------------------------------
* The network corrects an analytic guess, the projection of ``b_i`` to the complement of the other vectors.
* A move is applied only if it lowers ``log δ``, which is checked: the result is never worse than the input.
* The network is asked only where pairwise and projection moves lower nothing: it is slower than they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from ....envs.storage.artifacts import ArtifactError, load_into, read_artifact, write_artifact
from ...learning.config import ConfigError, check_range, from_dict, to_dict
from .bases import LatticeReduction
from .move_reduction import (
    LEAST_DECREASE,
    MoveBatch,
    best_moves,
    pairwise_and_projection_moves,
    projection_coefficients,
    reduce_by_moves,
)

KIND = "lattice-reducer"
_ODD, _EVEN = 4, 8
"""Number of features of a pair of vectors that change sign with them, and that do not."""


@dataclass(frozen=True)
class LatticeReducerConfig:
    """Set the hyper-parameters of a `LatticeReducer`, and of its training.

    Attributes:
        layers: number of layers.
        channels: number of channels that change sign with a vector.
        width: number of channels that do not.
        proposals: number of moves that the network proposes for each vector.
        steps: number of updates.
        lr: learning rate of Adam at the start.
        final_lr_share: share of it at the end; the learning rate falls linearly.
        max_grad_norm: norm to which larger gradients are scaled.
        batch_size: bases in one update.
        bases: number of stuck bases that are drawn for the training.
        search: number of random corrections around each proposal.
        search_scale: standard deviation of the corrections.
        stuck_weight: weight of vectors that no correction shortens.

    Raises:
        ConfigError: a value is out of range.
    """

    layers: int = 2
    channels: int = 8
    width: int = 24
    proposals: int = 8
    steps: int = 1000
    lr: float = 5e-3
    final_lr_share: float = 0.03
    max_grad_norm: float = 1.0
    batch_size: int = 128
    bases: int = 8192
    search: int = 3
    search_scale: float = 0.4
    stuck_weight: float = 0.02

    def __post_init__(self) -> None:
        for name in ("layers", "channels", "width", "proposals", "steps", "batch_size", "bases", "search"):
            check_range(self, name, at_least=1, at_most=2**20)
        for name in ("lr", "max_grad_norm"):
            check_range(self, name, above=0)
        check_range(self, "final_lr_share", above=0, at_most=1)
        check_range(self, "search_scale", above=0)
        check_range(self, "stuck_weight", at_least=0)


class LatticeReducer(nn.Module):
    """Reduce lattices by a product of extended Gauss moves, which a network proposes from the Gram matrix.

    For each vector ``b_i`` the network returns several real ``v ∈ Rⁿ``, which are rounded to integers. Of these moves
    ``I + v e_iᵀ``, the one with the largest decrease of ``log δ`` is applied, as long as there is a decrease.

    * Invariant to rotations and scaling of space: features are cosines and ratios of lengths.
    * Equivariant to signed permutations ``S`` of the vectors: the transform of ``B S`` is ``S⁻¹ Q S``. The feature of a
      pair is *odd* (it changes sign with ``b_i`` or ``b_j``) or *even*. Odd features pass linear maps without bias,
      products with even ones, and matrix products, ``Σ_k x_ik y_kj``; even ones pass any network. Rounding is odd.
      The exception is a basis for which two moves lower ``log δ`` equally: the first in order is applied.
    * Exactly unimodular: the product is computed in int64, with a check for overflow.

    Source: Marchetti et al., *Neural lattice reduction*, TMLR 2025 (arXiv:2311.08170). Matrix products as layers:
    Maron, Ben-Hamu, Serviansky, Lipman, *Provably powerful graph networks*, NeurIPS 2019.

    Args:
        dim: ``n`` of the lattices on which it is trained; it runs on those of any dimension.
        config: hyper-parameters.

    Raises:
        ConfigError: ``dim`` is not between 2 and 64.

    Example:
        >>> reduction = LatticeReducer(2).reduce([[1, 7], [0, 1]])
        >>> reduction.basis.tolist(), reduction.transform.tolist()
        ([[1.0, 0.0], [0.0, 1.0]], [[1, -7], [0, 1]])
    """

    def __init__(self, dim: int, config: LatticeReducerConfig | None = None) -> None:
        super().__init__()
        if isinstance(dim, bool) or not isinstance(dim, int) or not 2 <= dim <= 64:
            raise ConfigError(f"expected lattices of dimension 2 to 64, got {dim!r}")
        self.dim = dim
        self.config = config or LatticeReducerConfig()
        channels, width, layers = self.config.channels, self.config.width, range(self.config.layers)
        self.odd = nn.Linear(_ODD, channels, bias=False)
        self.even = nn.Linear(_EVEN, width)
        self.gates = nn.ModuleList(nn.Linear(width, 3 * channels) for _ in layers)
        self.mixes = nn.ModuleList(nn.Linear(2 * channels, channels, bias=False) for _ in layers)
        self.updates = nn.ModuleList(nn.Linear(width + 3 * channels, width) for _ in layers)
        self.heads = nn.Linear(width, self.config.proposals * channels)
        self.double()

    def forward(self, gram: Tensor, dual_gram: Tensor) -> Tensor:
        """Return real coefficients of moves, ``(B, proposals, n, n)``, of which column ``i`` belongs to ``b_i``.

        Args:
            gram: ``(B, n, n)`` Gram matrices ``G``, in any scale.
            dual_gram: ``(B, n, n)``, ``G⁻¹``.
        """
        guess = projection_coefficients(dual_gram)
        odd, even = pair_features(gram, dual_gram, guess)
        odd = self.odd(odd.to(self.odd.weight.dtype))
        even = torch.relu(self.even(even.to(self.odd.weight.dtype)))
        for gate, mix, update in zip(self.gates, self.mixes, self.updates, strict=True):
            left, right, scale = gate(even).chunk(3, -1)
            product = _matrix_product(left * odd, right * odd)
            even = even + torch.relu(update(torch.cat([even, odd * odd, product * odd, product * product], -1)))
            odd = squash(mix(torch.cat([odd, scale * product], -1)))
        weights = self.heads(even).unflatten(-1, (self.config.proposals, self.config.channels))
        correction = (weights * odd[..., None, :]).sum(-1).permute(0, 3, 1, 2) / self.config.channels**0.5
        off_diagonal = 1 - torch.eye(gram.shape[-1], dtype=correction.dtype, device=correction.device)
        result: Tensor = (guess.to(correction.dtype)[:, None] + correction) * off_diagonal
        return result

    @torch.no_grad()
    def propose(self, gram: Tensor, dual_gram: Tensor) -> MoveBatch:
        """Return the best move for each basis; the network is asked where analytic moves lower nothing.

        Args:
            gram: ``(B, n, n)`` Gram matrices ``G``.
            dual_gram: ``(B, n, n)``, ``G⁻¹``.
        """
        move = pairwise_and_projection_moves(gram, dual_gram)
        stuck = move.decrease <= LEAST_DECREASE
        if not bool(stuck.any()):
            return move
        coefficients = self(gram[stuck], dual_gram[stuck]).round().to(gram.dtype)
        learned = best_moves(gram[stuck], coefficients)
        move.index[stuck], move.coefficients[stuck] = learned.index, learned.coefficients
        move.decrease[stuck] = learned.decrease
        return move

    def reduce(self, basis: ArrayLike, max_moves: int = 1000) -> LatticeReduction:
        """Return reduced bases with exactly unimodular transforms.

        Args:
            basis: ``(..., n, n)``, columns.
            max_moves: largest number of moves for one basis.

        Raises:
            LatticeError: not square, not finite, or singular.
            LatticeOverflowError: the transform exceeds 64 bits.
        """
        return reduce_by_moves(basis, self.propose, max_moves, str(self.odd.weight.device))

    def save(self, folder: str | Path) -> None:
        """Write the network as a folder: the weights (safetensors) and a card (JSON).

        Raises:
            ArtifactError: the folder holds other things, or a weight is not finite.
        """
        write_artifact(folder, KIND, {"dim": self.dim, "config": to_dict(self.config)}, self.state_dict())

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a saved network; nothing that is read is executed.

        Raises:
            ArtifactError: a file is missing, damaged or altered.
        """
        card, tensors = read_artifact(folder, KIND)
        try:
            dim: Any = card["dim"]
            config = from_dict(LatticeReducerConfig, card["config"])
        except (ConfigError, KeyError, TypeError) as error:
            raise ArtifactError(f"expected the card of a lattice reducer in {folder}, got {error}") from error
        return load_into(lambda: cls(dim, config), tensors, folder)


def pair_features(gram: Tensor, dual_gram: Tensor, guess: Tensor) -> tuple[Tensor, Tensor]:
    """Return the features of pairs of vectors: odd ``(B, n, n, 4)``, and even ``(B, n, n, 8)``.

    All are invariant to rotations and scaling of space.

    Args:
        gram: ``(B, n, n)``, ``G``.
        dual_gram: ``(B, n, n)``, ``G⁻¹``.
        guess: ``(B, n, n)`` `projection_coefficients`.
    """
    square, dual_square = gram.diagonal(dim1=1, dim2=2), dual_gram.diagonal(dim1=1, dim2=2)
    off_diagonal = 1 - torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    cosine = gram / (square[:, :, None] * square[:, None, :]).sqrt()
    dual_cosine = dual_gram / (dual_square[:, :, None] * dual_square[:, None, :]).sqrt()
    left_over = guess - guess.round()
    odd = [cosine, dual_cosine, left_over, squash(gram / square[:, None, :]) * off_diagonal]
    length = square.log() - square.log().mean(1, keepdim=True)
    slant = (square * dual_square).log()  # 0 for a vector that is orthogonal to the others
    each = [values.expand_as(gram) for part in (length, slant) for values in (part[:, :, None], part[:, None, :])]
    even = [*each, cosine.abs(), left_over.abs(), squash(guess).abs(), off_diagonal.expand_as(gram)]
    return torch.stack(odd, -1), torch.stack(even, -1)


def squash(x: Tensor) -> Tensor:
    """Return ``x / (1 + |x|)``, which is odd."""
    return x / (1 + x.abs())


def _matrix_product(left: Tensor, right: Tensor) -> Tensor:
    """Return ``Σ_k left_ik right_kj / √n`` in each channel, ``(B, n, n, C)``."""
    product: Tensor = left.permute(0, 3, 1, 2) @ right.permute(0, 3, 1, 2)
    return product.permute(0, 2, 3, 1) / math.sqrt(left.shape[1])
