"""Consistency of learned contacts, without ground truth: geometry and motion of the latents tell the same ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..encoders.agent_object import AgentObjectEncoder
from .registry import HeldOut, register_ground_truth_free_metric

Mask = NDArray[np.bool_]


@register_ground_truth_free_metric("contact-consistency")
def contact_consistency(encoder: Any, held_out: HeldOut) -> dict[str, float]:
    """Compare two ways in which an agent–object encoder tells that the agent touched the object in a transition.

    *Geometry*: the segment from ``z_int`` to ``z'_int`` comes closer to ``z_ext`` than the learned radius.
    *Motion*: ``z_ext`` moves further than the learned threshold (`AgentObjectEncoder.contact_threshold`).

    Returns:
        ``contact_rate``, the share of transitions with motion; ``contact_consistency``, Cohen's κ of geometry and
        motion (1: they agree everywhere, 0: no better than chance); and ``object_still_ratio``, the root-mean-square
        movement of ``z_ext`` without geometric contact divided by that with contact (0: objects move by contact
        only), if there are both kinds. None for other encoders.
    """
    if not isinstance(encoder, AgentObjectEncoder):
        return {}
    geometry, moved_by = _geometry_and_motion(encoder, held_out)
    motion = moved_by > float(encoder.contact_threshold * encoder.unit)
    values = {"contact_rate": float(motion.mean()), "contact_consistency": cohens_kappa(geometry, motion)}
    if geometry.any() and not geometry.all():
        still, touched = (math.sqrt((moved_by[rows] ** 2).mean()) for rows in (~geometry, geometry))
        values["object_still_ratio"] = still / touched if touched > 0 else math.inf
    return values


def cohens_kappa(a: Mask, b: Mask) -> float:
    """Compute Cohen's κ of two labels: ``(p − p₀)/(1 − p₀)``, with agreement ``p`` and its expectation ``p₀``.

    0 if one of them is constant: labels that never change tell nothing.

    Example:
        >>> a = np.array([True, True, False, False])
        >>> cohens_kappa(a, a), cohens_kappa(a, np.array([True, False, True, False])), cohens_kappa(a, ~a)
        (1.0, 0.0, -1.0)
    """
    agreement = float((a == b).mean())
    by_chance = float(a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean()))
    return (agreement - by_chance) / (1 - by_chance) if by_chance < 1 else 0.0


def _geometry_and_motion(encoder: AgentObjectEncoder, held_out: HeldOut) -> tuple[Mask, NDArray[np.float64]]:
    """Return whether the agent's segment meets the object, and how far the object moves, both ``(N,)``."""
    latents = encoder.encode(held_out.transitions.frames)
    near = encoder.clearance(latents, held_out.transitions) < 0
    return near, encoder.movement(latents, held_out.transitions)
