"""Coverage of held-out data, without ground truth: which displacements and latents were visited."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.lie_groups.registry import group_from_name
from .registry import HeldOut, register_ground_truth_free_metric

Floats = NDArray[np.floating[Any]]


@register_ground_truth_free_metric("coverage")
def coverage(encoder: Any, held_out: HeldOut) -> dict[str, float]:
    """Measure the range of the displacements and of the latents in held-out data.

    Returns:
        ``displacement_rms`` and ``displacement_max``, the root-mean-square and the largest distance of a displacement
        from the identity; ``latent_range``, the width of the central 95 % of a latent coordinate, averaged over all
        coordinates; and ``latent_dimension``, the participation ratio ``(Σλ)²/Σλ²`` of the eigenvalues ``λ`` of the
        covariance of the latents: about the number of directions in which they vary, 0 for a collapsed encoder.
    """
    transitions = held_out.transitions
    group = group_from_name(transitions.group)
    identity = np.tile(group.identity(), (len(transitions), 1))
    squared = np.asarray(group.squared_distance(transitions.displacement.astype(float), identity))
    latents = encoder.encode_flat(transitions.frames[held_out.sample]).astype(float)
    low, high = np.percentile(latents, (2.5, 97.5), axis=0)
    return {
        "displacement_rms": float(np.sqrt(squared.mean())),
        "displacement_max": float(np.sqrt(squared.max())),
        "latent_range": float((high - low).mean()),
        "latent_dimension": participation_ratio(latents),
    }


def participation_ratio(points: Floats) -> float:
    """Compute ``(Σλ)²/Σλ²`` of the eigenvalues ``λ`` of the covariance of points ``(n, dim)``; 0 if all are equal.

    Example:
        >>> square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> participation_ratio(square), participation_ratio(square * [1, 0]), participation_ratio(square * 0)
        (2.0, 1.0, 0.0)
    """
    centred = points - points.mean(0)
    covariance = centred.T @ centred
    total = float((covariance**2).sum())
    return float(np.trace(covariance) ** 2 / total) if total > 0 else 0.0
