"""Evidence for an object, without ground truth: what the agent meets lies elsewhere afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from ...envs.data.trajectories import trajectories
from ...envs.data.transitions import Transitions
from ..encoders.agent_object import AgentObjectEncoder
from ..encoders.agent_objects import encoders_of_objects
from ..learning.config import check_range
from .registry import HeldOut, register_ground_truth_free_metric


@dataclass(frozen=True)
class EvidenceConfig:
    """Set what counts as a passage of the agent, and as an object.

    Attributes:
        away: clearance from the object, in its radii, from which on the agent is away from it.
        quantile: share of the passages that missed the object which a movement must exceed.
        fewest: number of passages of each kind below which nothing is said.
        least: smallest `object_evidence` of an encoder that found an object.
        significance: largest p-value of the test that the object moves farther when it is met.
        apart: smallest distance of two objects, in their radii (`objects_apart`); below, they are the same object.

    Raises:
        ConfigError: a value is out of range.
    """

    away: float = 0.5
    quantile: float = 0.9
    fewest: int = 10
    least: float = 0.5
    significance: float = 1e-3
    apart: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, "away", at_least=0)
        check_range(self, "quantile", above=0, below=1)
        check_range(self, "fewest", at_least=1)
        check_range(self, "least", at_least=0, at_most=1)
        check_range(self, "significance", above=0, at_most=1)
        check_range(self, "apart", at_least=0)


EVIDENCE = EvidenceConfig()


class Passages(NamedTuple):
    """Parts of episodes in which the agent came near the object: it was away from it before and after.

    Attributes:
        met: whether the agent's path met the object, ``(P,)``.
        moved_by: distance of the object's positions before and after, ``(P,)``.
    """

    met: NDArray[np.bool_]
    moved_by: NDArray[np.float64]


@register_ground_truth_free_metric("object-evidence")
def object_evidence(encoder: Any, held_out: HeldOut, config: EvidenceConfig = EVIDENCE) -> dict[str, float]:
    """Compare how far the object moves when the agent meets it, and when it passes by.

    ``P(m > q)`` for the movement ``m`` of ``z_ext`` over a passage in which the agent's path met the object, where
    ``q`` is a quantile of the movements over passages in which it came near and missed it. What the agent meets lies
    elsewhere afterwards: an encoder that found the object has a value near 1. Noise of ``z_ext`` that the agent causes
    by being near is gone when it is away again, and what moves by itself moves in both kinds of passages: the value is
    about 0.1, if ``q`` is larger than nine of ten movements.

    With several objects the values are those of the object with the least evidence.

    Returns:
        ``object_evidence``, ``P(m > q)``, and ``object_evidence_p``, the p-value of the test of Mann and Whitney that
        the object moves no farther when it is met; ``passages_met`` and ``passages_missed``, their numbers. The first
        two only if there are enough of both. With several objects also ``objects_apart``, see there. None for other
        encoders.
    """
    found = [_evidence(each, held_out, config) for each in encoders_of_objects(encoder)]
    least = min(found, key=lambda values: values.get("object_evidence", -1.0), default={})
    return {**least, "objects_apart": objects_apart(encoder, held_out)} if len(found) > 1 else least


def objects_apart(encoder: Any, held_out: HeldOut) -> float:
    """Return the smallest median distance between two of several objects, in the mean of their radii of contact.

    An encoder with more objects than there are may see one of them twice. Objects that touch each other are about one
    radius apart.
    """
    latents = encoder.encode(held_out.transitions.frames)
    parts = enumerate(encoders_of_objects(encoder), 1)
    seen = [(np.asarray(latents[f"object_{index}"], float), part.reach) for index, part in parts]
    return min(
        float(np.median(np.linalg.norm(one - other, axis=1)) / np.mean([radius, other_radius]))
        for (one, radius), (other, other_radius) in combinations(seen, 2)
    )


def _evidence(encoder: AgentObjectEncoder, held_out: HeldOut, config: EvidenceConfig) -> dict[str, float]:
    met, moved_by = find_passages(encoder, held_out.transitions, config.away)
    values = {"passages_met": float(met.sum()), "passages_missed": float((~met).sum())}
    if min(values.values()) < config.fewest:
        return values
    share = float((moved_by[met] > np.quantile(moved_by[~met], config.quantile)).mean())
    test = mannwhitneyu(moved_by[met], moved_by[~met], alternative="greater")
    return {"object_evidence": share, "object_evidence_p": float(test.pvalue), **values}


def find_passages(encoder: AgentObjectEncoder, transitions: Transitions, away: float = EVIDENCE.away) -> Passages:
    """Return the passages of the agent near the object.

    Args:
        encoder: the encoder.
        transitions: the data; ground truth is not read.
        away: clearance, in the largest radius of the object, from which on the agent is away from it.
    """
    latents = encoder.encode(transitions.frames)
    far = away * encoder.reach
    path = encoder.clearance(latents, transitions)
    away_before = encoder.clearance(latents, replace(transitions, end=transitions.start)) > far
    away_after = encoder.clearance(latents, replace(transitions, start=transitions.end)) > far
    found = [
        passage
        for episode in trajectories(transitions, len(transitions))
        for passage in _split(episode, path < far, away_before, away_after)
    ]
    if not found:
        return Passages(np.zeros(0, bool), np.zeros(0))
    met = np.array([(path[passage] < 0).any() for passage in found])
    first, last = (np.array([passage[end] for passage in found]) for end in (0, -1))
    whole = replace(
        transitions,
        start=transitions.start[first],
        end=transitions.end[last],
        displacement=np.zeros((len(found), transitions.displacement.shape[1]), np.float32),
        touched=None,
    )
    return Passages(met, encoder.movement(latents, whole))


def _split(
    episode: NDArray[np.int64], near: NDArray[np.bool_], away_before: NDArray[np.bool_], away_after: NDArray[np.bool_]
) -> Iterator[NDArray[np.int64]]:
    """Yield the passages of an episode: the steps between two frames away from the object, if some come near."""
    begin = None
    for at, step in enumerate(episode):
        if away_before[step]:
            begin = at
        if begin is not None and away_after[step]:
            passage = episode[begin : at + 1]
            if near[passage].any():
                yield passage


def doubt_of_object(metrics: Mapping[str, float], config: EvidenceConfig = EVIDENCE) -> str | None:
    """Return what to say if the metrics of `object_evidence` do not show an object; None if they do.

    Args:
        metrics: metrics of an encoder.
        config: what counts as an object.

    Example:
        >>> doubt_of_object({"object_evidence": 0.95, "object_evidence_p": 1e-9})
        >>> doubt_of_object({"object_evidence": 0.12, "object_evidence_p": 0.4})[:19]
        'No object was found'
    """
    if metrics.get("objects_apart", config.apart) < config.apart:
        return (
            f"Two objects lie in the same place: their distance is {metrics['objects_apart']:.2f} radii in the median, "
            f"expected at least {config.apart}. There are fewer objects than the encoder has; train it with fewer."
        )
    if "passages_met" not in metrics and "object_evidence" not in metrics:
        return None
    if "object_evidence" not in metrics:
        return (
            f"It cannot be told whether an object was found: the agent met it {metrics['passages_met']:.0f} times "
            f"and passed by {metrics['passages_missed']:.0f} times, expected {config.fewest} of both. "
            "Measure on more episodes, or collect with --explore learned."
        )
    share, p_value = metrics["object_evidence"], metrics["object_evidence_p"]
    if share >= config.least and p_value <= config.significance:
        return None
    return (
        f"No object was found: in {share:.0%} of the passages in which the agent met it, its latent moves farther than "
        f"in {config.quantile:.0%} of those that missed it (p = {p_value:.2g}; expected at least {config.least:.0%}, "
        f"{1 - config.quantile:.0%} is chance). Do not use the latent 'object'. There may be too few contacts, more "
        "than one object, or something that moves by itself; collect with --explore learned, or more."
    ).replace("%", " %")
