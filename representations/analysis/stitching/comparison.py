"""Compare alignments: fit each on the anchors of two encoders, and measure it on other states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....envs.lie_groups.group import Group
from ...encoders.agent_object import AgentObjectEncoder
from ...encoders.class_pose import ClassPoseEncoder
from ...encoders.encoder import Encoder
from ...encoders.translation_encoder import TranslationEncoder
from ...metrics.position_metrics import rmse
from .alignments import (
    Alignment,
    absolute_alignment,
    isometric_alignment,
    linear_alignment,
    procrustes_alignment,
)
from .class_pose_alignments import ProjectedAlignment, class_pose_alignment
from .relative_maps import AnchorError, cosine_relative, robust_relative

Floats = NDArray[np.floating[Any]]
FitAlignment = Callable[[Floats, Floats], Alignment]
"""Return the alignment of latents of B with latents of A, ``fit(latents_b, latents_a)``."""

_GENERAL: dict[str, FitAlignment] = {"procrustes": procrustes_alignment, "linear": linear_alignment}

NEARLY_BEST = 1.1
"""An alignment with an error of at most this many times the smallest is as good, if it has fewer parameters."""


@dataclass(frozen=True)
class AlignmentScore:
    """How well aligned latents of B agree with the latents of A, on states that are no anchors.

    Attributes:
        r2: ``1 − Σ‖ẑ − z‖² / Σ‖z − z̄‖²``; 1 is perfect, 0 as good as the mean, negative worse.
        error: root-mean-square distance ``√E‖ẑ − z‖²``, in units of the latents of A.
    """

    r2: float
    error: float


def suiting_alignments(encoder_a: Encoder) -> dict[str, FitAlignment]:
    """Return the functions that fit an alignment to the latents of an encoder, those with few parameters first.

    Args:
        encoder_a: the encoder whose latents are the target; it says which of them are points or poses.

    Returns:
        ``fit(latents_b, latents_a)`` by name: ``"absolute"``, ``"isometric"`` of points, ``"class-pose"`` of a class
        and a pose, ``"procrustes"`` and ``"linear"``. Each raises `AnchorError` if the anchors do not suffice.

    Example:
        >>> list(suiting_alignments(AgentObjectEncoder((8, 8, 3), "R2")))
        ['absolute', 'isometric', 'procrustes', 'linear']
    """
    point_dim = _point_dim(encoder_a)
    if point_dim is not None:
        isometric = partial(isometric_alignment, point_dim=point_dim)
        return {"absolute": absolute_alignment, "isometric": isometric, **_GENERAL}
    if isinstance(encoder_a, ClassPoseEncoder):
        group = encoder_a.acting
        general = {name: partial(_fit_projected, fit, group) for name, fit in _GENERAL.items()}
        return {"absolute": absolute_alignment, "class-pose": partial(class_pose_alignment, group=group), **general}
    return {"absolute": absolute_alignment, **_GENERAL}


def score_alignment(alignment: Alignment, latents_b: Floats, latents_a: Floats) -> AlignmentScore:
    """Return the agreement of aligned latents of B with the latents of A.

    Args:
        alignment: the alignment.
        latents_b: flat latents of states by encoder B, ``(n, dim of B)``.
        latents_a: those by encoder A, ``(n, dim of A)``.

    Example:
        >>> z = np.array([[0.0], [2.0]])
        >>> score_alignment(absolute_alignment(z, z), z, z + 1)
        AlignmentScore(r2=0.0, error=1.0)
    """
    return agreement(alignment.align(latents_b), latents_a)


def agreement(predicted: Floats, target: Floats) -> AlignmentScore:
    """Return R² and error of predicted vectors ``(n, dim)``.

    Raises:
        AnchorError: there are fewer than two states, or all have the same target.
    """
    if len(target) < 2:
        raise AnchorError(f"expected at least two states that are no anchors, got {len(target)}; give more frames")
    spread = rmse(target, target.mean(0))
    # Latents are in float32: a smaller spread is rounding.
    if spread <= 1e-6 * float(np.abs(target).max()):
        raise AnchorError(
            f"expected states with different latents by encoder A, got one latent for all {len(target)} states; the "
            "encoder does not see what changes in them"
        )
    error = rmse(predicted, target)
    return AlignmentScore(r2=1 - (error / spread) ** 2, error=error)


def score_relative_maps(
    anchors_b: Floats, anchors_a: Floats, latents_b: Floats, latents_a: Floats
) -> dict[str, AlignmentScore]:
    """Return the agreement of relative coordinates of B with those of A, ``"cosine"`` and ``"robust"``.

    Args:
        anchors_b: latents of the anchors by encoder B, ``(k, dim of B)``.
        anchors_a: those by encoder A, ``(k, dim of A)``.
        latents_b: latents of states by encoder B, ``(n, dim of B)``.
        latents_a: those by encoder A, ``(n, dim of A)``.
    """
    return {
        name: agreement(relative(latents_b, anchors_b), relative(latents_a, anchors_a))
        for name, relative in (("cosine", cosine_relative), ("robust", robust_relative))
    }


def suggest_alignment(scores: Mapping[str, AlignmentScore]) -> str:
    """Return the first alignment whose error is at most 1.1 times the smallest.

    Args:
        scores: scores by name, those with few parameters first, as from `suiting_alignments`.

    Raises:
        AnchorError: there are no scores.

    Example:
        >>> suggest_alignment({"isometric": AlignmentScore(0.99, 0.10), "linear": AlignmentScore(0.99, 0.098)})
        'isometric'
    """
    if not scores:
        raise AnchorError("expected scores of alignments, got none; none suits the encoders, or the anchors are few")
    smallest = min(score.error for score in scores.values())
    return next(name for name, score in scores.items() if score.error <= NEARLY_BEST * smallest)


def _point_dim(encoder: Encoder) -> int | None:
    """Return the number of coordinates of the points that a latent consists of; None for other latents."""
    if isinstance(encoder, TranslationEncoder):
        return encoder.dim
    return encoder.dim if isinstance(encoder, AgentObjectEncoder) and not encoder.config.has_outline else None


def _fit_projected(fit: FitAlignment, group: Group, latents_b: Floats, latents_a: Floats) -> Alignment:
    return ProjectedAlignment(fit(latents_b, latents_a), group)
