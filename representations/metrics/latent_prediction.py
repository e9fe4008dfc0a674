"""Prediction of latents on held-out data, without ground truth: the equivariance error against predicting no change."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...envs.data.trajectories import successor_index
from ...envs.data.transitions import Transitions
from ...envs.lie_groups.registry import group_from_name
from ...envs.lie_groups.translations import Translations
from ..encoders.encoder import as_tensor
from ..encoders.equivariant_encoder import EquivariantEncoder, Latents, pairwise_squared
from .registry import HeldOut, register_ground_truth_free_metric


@dataclass(frozen=True)
class PredictionConfig:
    """Set after how many steps predicted latents are measured.

    Attributes:
        error_steps: numbers of steps of the equivariance error.
        hit_steps: numbers of steps of the hit rate.
        candidates: number of images among which a hit is counted.
    """

    error_steps: tuple[int, ...] = (1, 5, 10)
    hit_steps: tuple[int, ...] = (1, 10, 20)
    candidates: int = 32


DEFAULT_PREDICTION = PredictionConfig()


class TranslatedAgent:
    """Predict the latent ``agent`` of an encoder by adding displacements: ``z' = z + a``.

    The agent–object encoder and the translation encoder are trained for this law. The object is left out: no action
    says how it moves.

    Args:
        encoder: an encoder with the latent ``agent``, ``(B, n)``, and the group ``R<n>``.
    """

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder

    def encode(self, observations: Any) -> dict[str, Any]:
        """Return the latent ``agent`` of uint8 images ``(B, H, W, C)``."""
        return {"agent": self._encoder.encode(observations)["agent"]}

    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        """Return the latent after displacements ``(B, n)``."""
        return {"agent": latents["agent"] + displacement}

    def latent_distance(self, a: Latents, b: Latents) -> Tensor:
        """Return the squared distances ``(A, B)``."""
        return pairwise_squared(a["agent"], b["agent"])


def predicting(encoder: Any) -> EquivariantEncoder | None:
    """Return an encoder that predicts latents: the encoder itself, or its agent (`TranslatedAgent`).

    Returns:
        None if the encoder predicts nothing.

    Example:
        >>> from equiact.representations.encoders.translation_encoder import TranslationEncoder
        >>> type(predicting(TranslationEncoder((16, 16, 3), "R2"))).__name__
        'TranslatedAgent'
    """
    if isinstance(encoder, EquivariantEncoder):
        return encoder
    if not isinstance(group_from_name(encoder.group), Translations):
        return None
    blank = np.zeros((1, *encoder.shape), np.uint8)
    return TranslatedAgent(encoder) if "agent" in encoder.encode(blank) else None


@dataclass(frozen=True)
class PredictionError:
    """Errors of predicted latents over trajectories of ``n`` steps.

    Attributes:
        steps: ``n``.
        predicted: ``√E d(gₙ⋯g₁·φ(x₀), φ(xₙ))``, with the squared distance ``d`` of the encoder (`latent_distance`).
        no_change: ``√E d(φ(x₀), φ(xₙ))``, the error of predicting no change.
        trajectories: number of trajectories.
    """

    steps: int
    predicted: float
    no_change: float
    trajectories: int

    @property
    def ratio(self) -> float:
        """Return ``predicted / no_change``: 0 is perfect, 1 no better than predicting no change.

        Infinite if the latents do not change at all, as those of a collapsed encoder, and the prediction is wrong.
        """
        if self.no_change > 0:
            return self.predicted / self.no_change
        return math.inf if self.predicted > 0 else 1.0


def prediction_error(
    encoder: EquivariantEncoder, transitions: Transitions, steps: int, *, most: int = 1000, seed: int = 0
) -> PredictionError | None:
    """Measure the predicted latents of an encoder after ``steps`` steps.

    Args:
        encoder: the encoder.
        transitions: data that it was not trained on.
        steps: number of displacements that act one after another.
        most: largest number of trajectories; random ones are drawn from more.
        seed: seed of the draw.

    Returns:
        The errors; None if no trajectory has so many steps.
    """
    rows = consecutive_rows(transitions, steps)
    if len(rows) == 0:
        return None
    rows = np.random.default_rng(seed).permutation(rows)[:most]
    errors = [_squared_errors(encoder, transitions, part) for part in np.array_split(rows, -(-len(rows) // 32))]
    predicted, no_change = np.concatenate(errors, 1).mean(1)
    return PredictionError(steps, math.sqrt(predicted), math.sqrt(no_change), len(rows))


def _squared_errors(
    encoder: EquivariantEncoder, transitions: Transitions, rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the squared errors of the prediction and of no change, ``(2, n)``."""
    with torch.no_grad():
        first = encoder.encode(as_tensor(transitions.frames[transitions.start[rows[:, 0]]]))
        last = encoder.encode(as_tensor(transitions.frames[transitions.end[rows[:, -1]]]))
        device = next(iter(first.values())).device
        predicted = first
        for step in as_tensor(transitions.displacement[rows]).unbind(1):
            predicted = encoder.act(step.to(device), predicted)
        both = [encoder.latent_distance(each, last).diagonal() for each in (predicted, first)]
    # Rounding may leave a tiny negative number, such as 1 minus the cosine of two equal classes.
    return np.asarray(torch.stack(both).clamp_min(0).double().cpu())


def consecutive_rows(transitions: Transitions, steps: int) -> NDArray[np.int64]:
    """Return the indices of all sequences of ``steps`` consecutive transitions, ``(n, steps)``."""
    successor = successor_index(transitions)
    rows = np.arange(len(transitions))[:, None]
    for _ in range(steps - 1):
        after = successor[rows[:, -1]]
        rows = np.concatenate([rows, after[:, None]], 1)[after >= 0]
    return rows


@register_ground_truth_free_metric("equivariance-error")
def equivariance_errors(
    encoder: Any, held_out: HeldOut, config: PredictionConfig = DEFAULT_PREDICTION
) -> dict[str, float]:
    """Return ``equivariance_error_<n>`` and its ratio to predicting no change, ``equivariance_ratio_<n>``.

    A number of steps that no held-out trajectory has is left out. The error is in units of the latent: those of the
    displacements for the agent of the agent–object and the translation encoder.
    """
    acting = predicting(encoder)
    if acting is None:
        return {}
    values = dict[str, float]()
    for count in config.error_steps:
        error = prediction_error(acting, held_out.transitions, count)
        if error is not None:
            values |= {f"equivariance_error_{count}": error.predicted, f"equivariance_ratio_{count}": error.ratio}
    return values
