"""Losses of the class–pose encoders, and the distances between sets of poses that they are made of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...envs.lie_groups.group import Group
from .config import check_range


@dataclass(frozen=True)
class ClassPoseLossConfig:
    """Set the weights of the losses that all class–pose encoders share.

    The defaults differ from the papers, where τ is 0.8 (arXiv:2207.03116) or 1 (arXiv:2301.05231) and α is 1:

    * With a larger τ, the differences between many similar classes stay at the level of noise for long.
    * With α = 1, alignment and spread of the images of one class cancel, and noise in the classes decides between
      latents whose poses are near each other.
    * With a larger α from the start, similar classes collapse: with 1.15 two of the four classes of Shapes did for one
      seed of two, with 1.3 those of Sprites did. With 0.7 at the start, more of the 27 classes of MultiSprites are
      separated, but the poses of Chairs are learned less well.

    Attributes:
        temperature: τ of the contrastive loss.
        alignment: α, the weight of the alignment term of the contrastive loss at the first update, and from the middle
            of the training on; it is interpolated linearly between.
        constraint_weight: weight of the penalty that makes relaxed poses group elements. It must be below 1: the
            penalty of outputs that are still zero is then smaller than their pose loss, and they grow from zero.

    Raises:
        ConfigError: a value is out of range.
    """

    temperature: float = 0.4
    alignment: tuple[float, float] = (1.0, 1.15)
    constraint_weight: float = 0.8

    def __post_init__(self) -> None:
        check_range(self, "temperature", above=0)
        check_range(self, "alignment", at_least=0)
        check_range(self, "constraint_weight", at_least=0)


def pairwise_pose_distance(group: Group, a: Tensor, b: Tensor) -> Tensor:
    """Return the squared distances ``d(a_i, b_j)²`` of two sets of poses, computed as one matrix product.

    Args:
        group: the group of the poses.
        a: ``(..., N, dim)``.
        b: ``(..., M, dim)``.

    Returns:
        Squared distances ``(..., N, M)``.
    """
    x, y = group.embed(a), group.embed(b)
    squared = x.square().sum(-1)[..., None] + y.square().sum(-1)[..., None, :] - 2 * x @ y.mT
    return squared.clamp_min(0)


def chamfer(group: Group, a: Tensor, b: Tensor) -> Tensor:
    """Return the one-sided Chamfer distance ``Σ_i min_j d(a_i, b_j)²`` of sets ``(B, N, dim)``, shape ``(B,)``."""
    return pairwise_pose_distance(group, a, b).amin(2).sum(1)


def info_nce(x: Tensor, y: Tensor, batch: Tensor, alignment: float, temperature: float) -> Tensor:
    """Return the contrastive loss ``−α E⟨x, y⟩/τ + E log Σ_e' exp(⟨e, e'⟩/τ)`` of unit vectors.

    The first term aligns the classes of the same object, the second spreads all classes over the sphere. Source: van
    den Oord et al., *Representation learning with contrastive predictive coding*, 2018 (arXiv:1807.03748).

    Args:
        x: classes ``(n, k)``.
        y: classes ``(n, k)`` of the same objects in other poses.
        batch: all classes ``(b, k)``, over which ``e`` and ``e'`` run.
        alignment: α.
        temperature: τ.
    """
    spread = (batch @ batch.T / temperature).logsumexp(1).mean()
    return spread - alignment * (x * y).sum(1).mean() / temperature


def orthonormality_penalty(columns: Tensor) -> Tensor:
    """Return ``‖FᵀF − 1‖²`` of matrices ``(B, n, k)``, zero where the columns are orthonormal; shape ``(B,)``."""
    gram = columns.mT @ columns
    identity = torch.eye(gram.shape[-1], device=gram.device, dtype=gram.dtype)
    return (gram - identity).square().sum((1, 2))
