"""Separation of learned classes, without ground truth: images of one trajectory against images of others."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..encoders.class_pose_base import ClassPoseBase
from .registry import HeldOut, register_ground_truth_free_metric


@register_ground_truth_free_metric("class-separation")
def class_separation(encoder: Any, held_out: HeldOut) -> dict[str, float]:
    """Return by how much the classes of one trajectory are more alike than those of different ones.

    ``E⟨e(o), e(o')⟩ − E⟨e(o), e(õ)⟩`` over the transitions ``(o, g, o')``, with ``õ`` the first frame of a random
    transition. It is zero if the class says nothing about the object: all objects have the same class, or it is noise.
    For ``K`` orbits that are equally frequent, and classes as far apart as they can be, it is 1; for one orbit it is
    zero, too, as there is nothing to tell apart.

    Returns:
        ``class_separation``, at most 1 for many orbits; none for encoders without a class.
    """
    if not isinstance(encoder, ClassPoseBase):
        return {}
    transitions = held_out.transitions
    classes = encoder.encode(transitions.frames)["class"].astype(float)
    first, last = classes[transitions.start], classes[transitions.end]
    others = np.random.default_rng(held_out.seed).permutation(len(first))
    return {"class_separation": float(((first * last).sum(1) - (first * first[others]).sum(1)).mean())}
