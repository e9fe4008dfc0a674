"""Topological densification: pull the latents of each class together to one scale.

Sources: Hofer, Graf, Niethammer, Kwitt, *Topologically densified distributions*, ICML 2020 (arXiv:2002.04805);
García-Castellanos et al. (arXiv:2409.10967), with relative maps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...learning.config import check_range

LARGEST_SAMPLE = 4096
"""Most points of one class: their distances, and copies of them, take half a gigabyte."""


@dataclass(frozen=True)
class DensificationConfig:
    """Set the scale of topological densification, and the schedule of its weight.

    The weight grows linearly from zero in the first ``rise`` of each of ``cycles`` equal parts of the training, and
    then stays. The published code has 4 cycles and a rise of 0.75.

    Attributes:
        beta: length ``β`` to which the death times are pulled, in units of the latent.
        weight: largest weight of the loss.
        cycles: number of times that the weight starts from zero.
        rise: share of a cycle in which the weight grows.

    Raises:
        ConfigError: a value is out of range.

    Example:
        >>> config = DensificationConfig(weight=0.2)
        >>> [round(config.weight_at(step, 400), 3) for step in (0, 25, 75, 99, 100)]
        [0.0, 0.067, 0.2, 0.2, 0.0]
    """

    beta: float = 1.0
    weight: float = 0.1
    cycles: int = 4
    rise: float = 0.75

    def __post_init__(self) -> None:
        for name in ("beta", "weight"):
            check_range(self, name, at_least=0)
        check_range(self, "cycles", at_least=1)
        check_range(self, "rise", above=0, at_most=1)

    def weight_at(self, step: int, steps: int) -> float:
        """Return the weight in an update.

        Args:
            step: number of the update, from 0.
            steps: number of updates of the training.
        """
        progress = (step * self.cycles / steps) % 1.0
        return self.weight * min(1.0, progress / self.rise)


def topological_densification_loss(latents: Tensor, labels: Tensor, beta: float) -> Tensor:
    """Return ``Σ_c Σ_i |d_i − β|`` over the death times ``d_i`` of the latents of each class ``c``.

    At zero loss the latents of a class hang together by steps of length ``β``.

    Source: Hofer et al., ICML 2020 (arXiv:2002.04805).

    Args:
        latents: ``(B, dim)``.
        labels: classes ``(B,)``, whole numbers.
        beta: the length ``β``, at least 0.

    Returns:
        A scalar with gradients to the latents. A class with one latent adds nothing.

    Raises:
        ValueError: shapes do not match, ``β`` is negative, a latent is not finite, or a class has too many latents.

    Example:
        >>> latents = torch.tensor([[0.0], [1.0], [3.0], [10.0]])
        >>> float(topological_densification_loss(latents, torch.tensor([0, 0, 0, 1]), beta=1.5))
        1.0
    """
    if labels.shape != latents.shape[:1]:
        raise ValueError(f"expected a label for each of {len(latents)} latents, got shape {tuple(labels.shape)}")
    if not beta >= 0:
        raise ValueError(f"expected beta of at least 0, got {beta}")
    parts = [(death_times(latents[labels == label]) - beta).abs().sum() for label in torch.unique(labels)]
    return torch.stack(parts).sum() if parts else latents.sum() * 0


def death_times(points: Tensor) -> Tensor:
    """Return the death times of connected components in the Vietoris–Rips filtration: lengths of a shortest tree.

    ``d_1 ≤ … ≤ d_{n−1}`` are the edge lengths ``‖z_i − z_j‖`` of a minimum spanning tree. Which edges it has is found
    without gradients; the lengths have gradients to the points, zero where two points are the same.

    Args:
        points: ``(n, dim)``, any number of them.

    Returns:
        ``(n − 1,)``, ascending; ``(0,)`` for fewer than two points.

    Raises:
        ValueError: the points have another shape, are not finite, or are more than 4096.

    Example:
        >>> death_times(torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])).tolist()
        [0.0, 1.0, 5.0]
    """
    if points.ndim != 2:
        raise ValueError(f"expected points of shape (n, dim), got {tuple(points.shape)}; flatten them, one row each")
    if len(points) > LARGEST_SAMPLE:
        raise ValueError(
            f"expected at most {LARGEST_SAMPLE} points of a class, got {len(points)}; take smaller batches"
        )
    values = points.detach().cpu().double().numpy()
    if not np.isfinite(values).all():
        raise ValueError("expected finite points, got NaN or infinity; lower the learning rate or the weight")
    if len(points) < 2:
        return points[:0].sum(1)  # none, with a gradient
    first, second = (torch.as_tensor(index, device=points.device) for index in spanning_tree(values))
    lengths: Tensor = torch.linalg.vector_norm(points[first] - points[second], dim=1)
    return lengths.sort().values


def spanning_tree(points: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the edges of a minimum spanning tree of points under the Euclidean distance.

    A tree depends on the order of the lengths only. SciPy takes an entry 0 for a missing edge and would lose the edges
    between equal points, so that it is given the ranks of the lengths, from 1.

    Args:
        points: ``(n, dim)``, ``n ≥ 2``.

    Returns:
        Indices of the ends of the edges, ``(n − 1,)`` each.

    Example:
        >>> first, second = spanning_tree(np.array([[0.0], [0.0], [0.0]]))
        >>> len(first), len({*first.tolist(), *second.tolist()})
        (2, 3)
    """
    from scipy.sparse.csgraph import minimum_spanning_tree
    from scipy.spatial.distance import pdist, squareform

    lengths = pdist(points)
    ranks = np.empty(len(lengths))
    ranks[np.argsort(lengths, kind="stable")] = np.arange(1, len(lengths) + 1)
    tree = minimum_spanning_tree(squareform(ranks)).tocoo()
    return tree.row.astype(np.int64), tree.col.astype(np.int64)
