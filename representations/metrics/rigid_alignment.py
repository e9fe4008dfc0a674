"""Positions of the agent against the ground truth, up to a rigid motion: data of a user may have other axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .position_metrics import probe_r2, rmse
from .registry import HeldOut, register_metric

Points = NDArray[np.floating[Any]]


@register_metric("agent-position")
def agent_position(encoder: Any, held_out: HeldOut) -> dict[str, float]:
    """Compare the latent ``agent`` with the ground truth ``agent_pose`` on the sample of held-out frames.

    Returns:
        ``agent_rigid_rmse``, the root-mean-square distance after the best rotation, reflection and translation, where
        both have as many coordinates; and ``agent_linear_r2``, R² of a linear probe. None without the latent or the
        ground truth.
    """
    if "agent_pose" not in held_out.transitions.ground_truth:
        return {}
    latents = encoder.encode(held_out.transitions.frames[held_out.sample])
    if "agent" not in latents:
        return {}
    agent, pose = latents["agent"].astype(float), held_out.pose.astype(float)
    values = {"agent_linear_r2": probe_r2(agent, pose)}
    if agent.shape == pose.shape:
        values["agent_rigid_rmse"] = rmse(align_rigidly(agent, pose), pose)
    return values


def align_rigidly(points: Points, target: Points) -> Points:
    """Return points ``(n, dim)`` after the rotation or reflection and the translation that bring them nearest.

    ``min_{Q, t} Σ‖Q pᵢ + t − qᵢ‖²`` over orthogonal ``Q``. Source: Schönemann, *A generalized solution of the
    orthogonal Procrustes problem*, Psychometrika 1966.

    Example:
        >>> target = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
        >>> turned = target @ np.array([[0.0, 1.0], [-1.0, 0.0]]) + 5
        >>> bool(np.allclose(align_rigidly(turned, target), target))
        True
    """
    centred, goal = points - points.mean(0), target - target.mean(0)
    left, _, right = np.linalg.svd(centred.T @ goal)
    aligned: Points = centred @ (left @ right) + target.mean(0)
    return aligned
