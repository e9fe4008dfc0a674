"""How well an encoder knows where things are, on data it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.transitions import Transitions
from representations.agent_object import AgentObjectEncoder

Points = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Located:
    """Where agent and object are and where an encoder has them, in metres, one row a frame.

    The estimates are moved by the one translation, common to agent and object, that the theory leaves free.
    """

    agent_true: Points
    agent_estimated: Points
    object_true: Points
    object_estimated: Points

    @classmethod
    def align(cls, agent_true: Points, agent: Points, object_true: Points, object_: Points) -> Located:
        """Remove the mean error of agent and object together from the estimates."""
        offset = 0.5 * ((agent - agent_true).mean(0) + (object_ - object_true).mean(0))
        return cls(agent_true, agent - offset, object_true, object_ - offset)


def rmse(estimated: Points, true: Points) -> float:
    """``√E‖ẑ − z‖²``: root of the mean squared distance, all coordinates together.

    >>> rmse(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0]]))
    5.0
    """
    return float(np.sqrt(((estimated - true) ** 2).sum(1).mean()))


def isometry_error(located: Located) -> float:
    """``E‖(p_agent − p_object) − (z_int − z_ext)‖²`` in m², the paper's metric; no translation changes it."""
    true = located.agent_true - located.object_true
    estimated = located.agent_estimated - located.object_estimated
    return float(((true - estimated) ** 2).sum(1).mean())


def probe_r2(latent: Points, target: Points) -> float:
    """R² of a linear probe with intercept: fitted on the first half, measured on the second.

    >>> probe_r2(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[1.0], [3.0], [5.0], [7.0]]))
    1.0
    """
    half = len(latent) // 2
    design = np.concatenate([latent, np.ones((len(latent), 1))], 1)
    weights = np.linalg.lstsq(design[:half], target[:half], rcond=None)[0]
    residual = ((design[half:] @ weights - target[half:]) ** 2).sum()
    return float(1.0 - residual / ((target[half:] - target[half:].mean(0)) ** 2).sum())


def precision_recall(predicted: NDArray[np.bool_], true: NDArray[np.bool_]) -> tuple[float, float]:
    """Precision and recall of a detection; precision is 0 where nothing was predicted.

    >>> precision_recall(np.array([True, True, False]), np.array([True, False, True]))
    (0.5, 0.5)
    """
    hits = float((predicted & true).sum())
    return hits / max(1, int(predicted.sum())), hits / max(1, int(true.sum()))


def locate(encoder: AgentObjectEncoder, transitions: Transitions) -> Located:
    """What the encoder says of every frame, beside the truth."""
    latents = _encode(encoder, transitions.frames)
    truth = _require_truth(transitions)
    return Located.align(truth["agent_pose"], latents["agent"], truth["object_pose"], latents["object"])


def object_moves(located: Located, transitions: Transitions) -> NDArray[Any]:
    """How far the encoder has the object move in each transition, in metres, ``(N,)``."""
    estimated = located.object_estimated
    return np.asarray(np.linalg.norm(estimated[transitions.end] - estimated[transitions.start], axis=1))


def evaluate_encoder(encoder: AgentObjectEncoder, transitions: Transitions, arena_side: float) -> dict[str, float]:
    """All metrics on held-out transitions.

    Args:
        encoder: what to evaluate.
        transitions: data that it was not trained on, with their truths.
        arena_side: side of the square of the agent's positions in metres; percentages are of it.

    Returns:
        ``agent_rmse``, ``object_rmse`` (m), the same with ``_pct`` (% of the arena's side), ``isometry_error`` (m²),
        ``agent_probe_r2``, ``object_probe_r2``, ``contact_precision``, ``contact_recall``.

    Raises:
        ValueError: the transitions do not hold the true poses.
    """
    located = locate(encoder, transitions)
    threshold = float(encoder.contact_threshold * encoder.unit)
    return _metrics(located, transitions, object_moves(located, transitions) > threshold, arena_side)


def chance(transitions: Transitions, arena_side: float) -> dict[str, float]:
    """The same metrics of a constant guess at the mean, and of contacts drawn at random at their true rate."""
    truth = _require_truth(transitions)
    agent, object_ = truth["agent_pose"], truth["object_pose"]
    guess = Located(agent, np.zeros_like(agent) + agent.mean(0), object_, np.zeros_like(object_) + object_.mean(0))
    rate = 0.0 if transitions.touched is None else float(transitions.touched.mean())
    drawn = np.random.default_rng(0).random(len(transitions)) < rate
    return _metrics(guess, transitions, drawn, arena_side)


def _metrics(
    located: Located, transitions: Transitions, predicted: NDArray[np.bool_], arena_side: float
) -> dict[str, float]:
    agent = rmse(located.agent_estimated, located.agent_true)
    object_ = rmse(located.object_estimated, located.object_true)
    metrics = {
        "agent_rmse": agent,
        "object_rmse": object_,
        "agent_rmse_pct": 100 * agent / arena_side,
        "object_rmse_pct": 100 * object_ / arena_side,
        "isometry_error": isometry_error(located),
        "agent_probe_r2": probe_r2(located.agent_estimated, located.agent_true),
        "object_probe_r2": probe_r2(located.object_estimated, located.object_true),
    }
    if transitions.touched is not None:
        precision, recall = precision_recall(predicted, transitions.touched)
        metrics |= {"contact_precision": precision, "contact_recall": recall}
    return metrics


def _encode(encoder: AgentObjectEncoder, frames: NDArray[np.uint8]) -> dict[str, Points]:
    parts = [encoder.encode(frames[first : first + 512]) for first in range(0, len(frames), 512)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _require_truth(transitions: Transitions) -> dict[str, Points]:
    missing = {"agent_pose", "object_pose"} - set(transitions.truth)
    if missing:
        raise ValueError(f"evaluation needs the true poses of every frame; the transitions lack {sorted(missing)}")
    return dict(transitions.truth)
