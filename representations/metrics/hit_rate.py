"""The hit rate: how often the latent that an encoder predicts is nearest to the latent of the right image.

Source: Marchetti et al., AISTATS 2023 (arXiv:2207.03116).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...envs.data.transitions import Transitions
from ..encoders.encoder import as_tensor
from ..encoders.equivariant_encoder import EquivariantEncoder
from .latent_prediction import DEFAULT_PREDICTION, PredictionConfig, consecutive_rows, predicting
from .registry import HeldOut, register_ground_truth_free_metric, register_metric


class TooFewTrajectoriesError(ValueError):
    """There are fewer trajectories than the candidates of one batch."""


@dataclass(frozen=True)
class TrajectorySample:
    """First and last images of trajectories, and the displacements between them.

    Attributes:
        start: first images, ``(n, H, W, C)`` uint8.
        end: last images, ``(n, H, W, C)`` uint8.
        displacement: ``(n, steps, dim)`` float32, in the order in which they were performed.
    """

    start: NDArray[np.uint8]
    end: NDArray[np.uint8]
    displacement: NDArray[np.float32]


@register_metric("hit-rate")
def hit_rates(encoder: Any, held_out: HeldOut, steps: tuple[int, ...] = (1, 10, 20)) -> dict[str, float]:
    """Return ``hit_rate_<n>`` after ``n`` steps; none if the encoder is not equivariant."""
    if not isinstance(encoder, EquivariantEncoder):
        return {}
    return {f"hit_rate_{n}": hit_rate(encoder, sample_trajectories(held_out.transitions, n)) for n in steps}


@register_ground_truth_free_metric("hit-rate")
def hit_rates_of_data(
    encoder: Any, held_out: HeldOut, config: PredictionConfig = DEFAULT_PREDICTION
) -> dict[str, float]:
    """Return ``hit_rate_<n>`` after ``n`` steps, also of encoders that predict their latent ``agent`` only.

    A number of steps with fewer trajectories than one batch is left out: episodes of a user may be short.
    """
    acting = predicting(encoder)
    if acting is None:
        return {}
    values = dict[str, float]()
    size = config.candidates
    for count in config.hit_steps:
        try:
            sample = sample_trajectories(held_out.transitions, count, batch_size=size)
            values[f"hit_rate_{count}"] = hit_rate(acting, sample, size)
        except TooFewTrajectoriesError:
            continue
    return values


def sample_trajectories(
    transitions: Transitions, steps: int, *, batch_size: int = 32, batches: int = 10, seed: int = 0
) -> TrajectorySample:
    """Draw random trajectories of ``steps`` steps, in full batches.

    No two end in the same image, as those of a blocked robot would: no encoder could tell them apart.

    Args:
        transitions: the data.
        steps: length of the trajectories.
        batch_size: trajectories in a batch.
        batches: largest number of batches.
        seed: seed of the draw.

    Raises:
        TooFewTrajectoriesError: there are fewer trajectories than one batch.
    """
    rows = consecutive_rows(transitions, steps)
    rows = np.random.default_rng(seed).permutation(rows)
    images = (transitions.frames[transitions.end[row[-1]]] for row in rows)
    rows = rows[list({sha256(image).digest(): index for index, image in enumerate(images)}.values())]
    if len(rows) < batch_size:
        raise TooFewTrajectoriesError(
            f"expected at least {batch_size} trajectories of {steps} steps that end in different images, got "
            f"{len(rows)}; collect more transitions, or longer episodes"
        )
    rows = rows[: min(batches, len(rows) // batch_size) * batch_size]
    return TrajectorySample(
        transitions.frames[transitions.start[rows[:, 0]]],
        transitions.frames[transitions.end[rows[:, -1]]],
        transitions.displacement[rows],
    )


def hit_rate(encoder: EquivariantEncoder, sample: TrajectorySample, batch_size: int = 32) -> float:
    """Return the share of trajectories whose predicted latent is nearest to the latent of their own last image.

    The displacements act on the latent of the first image one after another. The distance is
    `EquivariantEncoder.latent_distance`, the candidates are the last images of a batch: chance is ``1 / batch_size``.

    Args:
        encoder: the encoder.
        sample: the trajectories.
        batch_size: number of candidates; 32 in the paper.

    Raises:
        ValueError: the last batch is not full, which would raise the hit rate.
    """
    if len(sample.start) == 0 or len(sample.start) % batch_size:
        raise ValueError(f"expected full batches of {batch_size} trajectories, got {len(sample.start)} trajectories")
    hits = []
    for begin in range(0, len(sample.start), batch_size):
        part = slice(begin, begin + batch_size)
        with torch.no_grad():
            predicted, actual = (encoder.encode(as_tensor(frames[part])) for frames in (sample.start, sample.end))
            device = next(iter(predicted.values())).device
            for step in as_tensor(sample.displacement[part]).unbind(1):
                predicted = encoder.act(step.to(device), predicted)
            nearest = encoder.latent_distance(predicted, actual).argmin(1).cpu()
        hits.append((nearest == torch.arange(batch_size)).float().mean().item())
    return float(np.mean(hits))
