"""Metrics of positions: how far the predicted positions of agent and object are from the ground truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.data.transitions import Transitions
from ..encoders.agent_object import AgentObjectEncoder
from ..encoders.encoder import Encoder

Points = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class AlignedPositions:
    """Hold positions of agent and object in metres, one row for each frame.

    The predictions are moved by one translation, common to agent and object, which the method leaves free.

    Attributes:
        agent: ground-truth positions of the agent, ``(F, n)``.
        agent_predicted: predicted positions of the agent, ``(F, n)``.
        object: ground-truth positions of the object, ``(F, n)``.
        object_predicted: predicted positions of the object, ``(F, n)``.
    """

    agent: Points
    agent_predicted: Points
    object: Points
    object_predicted: Points

    @classmethod
    def align(
        cls, agent: Points, agent_predicted: Points, object_: Points, object_predicted: Points
    ) -> AlignedPositions:
        """Return positions whose predictions have no mean error of agent and object together."""
        offset = 0.5 * ((agent_predicted - agent).mean(0) + (object_predicted - object_).mean(0))
        return cls(agent, agent_predicted - offset, object_, object_predicted - offset)


def rmse(predicted: Points, ground_truth: Points) -> float:
    """Compute ``√E‖ẑ − z‖²``, the root of the mean squared distance.

    Example:
        >>> rmse(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0]]))
        5.0
    """
    return float(np.sqrt(((predicted - ground_truth) ** 2).sum(1).mean()))


def isometry_error(positions: AlignedPositions) -> float:
    """Compute ``E‖(p_agent − p_object) − (z_int − z_ext)‖²`` in m², the metric of the paper.

    A common translation of the predictions does not change it.
    """
    relative = positions.agent - positions.object
    predicted = positions.agent_predicted - positions.object_predicted
    return float(((relative - predicted) ** 2).sum(1).mean())


def probe_r2(latent: Points, target: Points) -> float:
    """Compute R² of a linear probe with intercept, fitted on the first half and measured on the second.

    Example:
        >>> probe_r2(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[1.0], [3.0], [5.0], [7.0]]))
        1.0
    """
    half = len(latent) // 2
    design = np.concatenate([latent, np.ones((len(latent), 1))], 1)
    weights = np.linalg.lstsq(design[:half], target[:half], rcond=None)[0]
    residual = ((design[half:] @ weights - target[half:]) ** 2).sum()
    return float(1.0 - residual / ((target[half:] - target[half:].mean(0)) ** 2).sum())


def precision_recall(predicted: NDArray[np.bool_], ground_truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Compute precision and recall of a detection; precision is 0 if nothing was predicted.

    Example:
        >>> precision_recall(np.array([True, True, False]), np.array([True, False, True]))
        (0.5, 0.5)
    """
    hits = float((predicted & ground_truth).sum())
    return hits / max(1, int(predicted.sum())), hits / max(1, int(ground_truth.sum()))


def locate(encoder: Encoder, transitions: Transitions) -> AlignedPositions:
    """Return predicted and ground-truth positions of every frame.

    Args:
        encoder: an encoder with the latents ``agent`` and ``object``.
        transitions: the frames, with ground truth.

    Raises:
        ValueError: the transitions lack the ground truth ``agent_pose`` or ``object_pose``.
    """
    return _align(encoder.encode(transitions.frames), transitions)


def _align(latents: Mapping[str, Points], transitions: Transitions) -> AlignedPositions:
    ground_truth = _require_ground_truth(transitions)
    return AlignedPositions.align(
        ground_truth["agent_pose"], latents["agent"], ground_truth["object_pose"], latents["object"]
    )


def evaluate_encoder(encoder: AgentObjectEncoder, transitions: Transitions, arena_side: float) -> dict[str, float]:
    """Compute all metrics of positions and contacts on held-out transitions.

    Args:
        encoder: the encoder.
        transitions: data that it was not trained on, with ground truth.
        arena_side: side of the square of the agent's positions in metres, for percentages.

    Returns:
        ``agent_rmse``, ``object_rmse`` (m), the same with ``_pct`` (% of the arena's side), ``isometry_error`` (m²),
        ``agent_probe_r2``, ``object_probe_r2``, ``contact_precision``, ``contact_recall``.

    Raises:
        ValueError: the transitions lack the ground truth ``agent_pose`` or ``object_pose``.
    """
    latents = encoder.encode(transitions.frames)
    contacts = encoder.movement(latents, transitions) > float(encoder.contact_threshold * encoder.unit)
    return _metrics(_align(latents, transitions), transitions, contacts, arena_side)


def chance(transitions: Transitions, arena_side: float) -> dict[str, float]:
    """Compute the metrics of `evaluate_encoder` for constant predictions at the mean, and random contacts.

    The contacts are drawn at their ground-truth rate.

    Raises:
        ValueError: the transitions lack the ground truth ``agent_pose`` or ``object_pose``.
    """
    ground_truth = _require_ground_truth(transitions)
    agent, object_ = ground_truth["agent_pose"], ground_truth["object_pose"]
    means = np.zeros_like(agent) + agent.mean(0), np.zeros_like(object_) + object_.mean(0)
    rate = 0.0 if transitions.touched is None else float(transitions.touched.mean())
    drawn = np.random.default_rng(0).random(len(transitions)) < rate
    return _metrics(AlignedPositions(agent, means[0], object_, means[1]), transitions, drawn, arena_side)


def _metrics(
    positions: AlignedPositions, transitions: Transitions, contacts: NDArray[np.bool_], arena_side: float
) -> dict[str, float]:
    agent = rmse(positions.agent_predicted, positions.agent)
    object_ = rmse(positions.object_predicted, positions.object)
    metrics = {
        "agent_rmse": agent,
        "object_rmse": object_,
        "agent_rmse_pct": 100 * agent / arena_side,
        "object_rmse_pct": 100 * object_ / arena_side,
        "isometry_error": isometry_error(positions),
        "agent_probe_r2": probe_r2(positions.agent_predicted, positions.agent),
        "object_probe_r2": probe_r2(positions.object_predicted, positions.object),
    }
    if transitions.touched is not None:
        precision, recall = precision_recall(contacts, transitions.touched)
        metrics |= {"contact_precision": precision, "contact_recall": recall}
    return metrics


def _require_ground_truth(transitions: Transitions) -> dict[str, Points]:
    missing = {"agent_pose", "object_pose"} - set(transitions.ground_truth)
    if missing:
        raise ValueError(
            f"expected ground truth of the poses in every frame, the transitions lack {sorted(missing)}; "
            "record them, or evaluate on other data"
        )
    return dict(transitions.ground_truth)
