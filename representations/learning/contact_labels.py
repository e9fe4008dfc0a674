"""Labels of contact between an agent and an object, and the loss of labels of which some are wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from scipy.stats import false_discovery_control, rankdata
from torch import Tensor
from torch.nn import functional

from .config import ConfigError, check_range
from .initial_maps import OrientationMapConfig, PositionMapConfig

UNCERTAIN = 0.5
"""Label of transitions that the likelihood of contact ignores."""


@dataclass(frozen=True)
class ContactConfig:
    """Set the labels and the likelihood of contact. Lengths are in units of the root-mean-square displacement.

    Attributes:
        initial_shares: shares of the transitions, those whose embedding changes most, that the first labels take for
            contacts. A first map is fitted with each of them; the one is kept whose distances from the agent's paths
            tell most about the changes of the embedding (`contact_information`).
        window: frames before and after a transition whose means are compared for the first map (`movement`).
        map_rounds: rounds of labels and least squares for a first map.
        still_quantile: quantile of the noise below which the object has not moved.
        moved_quantile: quantile of the noise above which it may have moved.
        false_discovery_rate: expected share of wrong ones among the transitions that are labelled as contacts.
        away_cosine: cosine of the agent's direction with the direction away from the object, above which it cannot
            touch the object.
        label_error: share of the labels that are taken to be wrong.
        still_weight: weight of the squared movement of the object where there is no contact.
        stay_weight: weight of the loss of an agent that stays where it is.
        initial_radius: distance of contact at the start.
        initial_softness: width of the sigmoid at the start.
        min_softness: smallest width of the sigmoid.
        initial_fit: fit of the first positions.
        orientation: fit of the first orientations.

    Raises:
        ConfigError: a value is out of range.
    """

    initial_shares: tuple[float, ...] = (0.005, 0.0125, 0.03, 0.08, 0.2, 0.4)
    window: int = 4
    map_rounds: int = 3
    still_quantile: float = 0.9
    moved_quantile: float = 0.99
    false_discovery_rate: float = 0.3
    away_cosine: float = 0.5
    label_error: float = 0.01
    still_weight: float = 2.5
    stay_weight: float = 0.3
    initial_radius: float = 0.6
    initial_softness: float = 0.2
    min_softness: float = 0.02
    initial_fit: PositionMapConfig = field(default_factory=PositionMapConfig)
    orientation: OrientationMapConfig = field(default_factory=OrientationMapConfig)

    def __post_init__(self) -> None:
        if not self.initial_shares or not all(0 < share <= 0.5 for share in self.initial_shares):
            raise ConfigError(f"initial_shares must be shares above 0 and at most 0.5, got {self.initial_shares}")
        check_range(self, "label_error", above=0, at_most=0.5)
        check_range(self, "false_discovery_rate", above=0, at_most=1)
        check_range(self, "window", at_least=1)
        check_range(self, "map_rounds", at_least=1)
        check_range(self, "still_quantile", above=0, at_most=1)
        check_range(self, "moved_quantile", at_least=self.still_quantile, at_most=1)
        check_range(self, "away_cosine", at_least=-1, at_most=1)
        for name in ("still_weight", "stay_weight"):
            check_range(self, name, at_least=0)
        for name in ("initial_radius", "initial_softness", "min_softness"):
            check_range(self, name, above=0)


def robust_bce(logit: Tensor, label_error: float) -> Tensor:
    """Compute the cross-entropy of a label of which a share ε is wrong.

    ``−log((1 − ε) p + ε (1 − p))`` with ``p = sigmoid(logit)``. Unlike the logistic loss it is bounded, so that a wrong
    label far from the object does not attract it.

    Args:
        logit: logit of the label, any shape.
        label_error: ``ε``.
    """
    right = functional.logsigmoid(logit) + math.log1p(-label_error)
    return -torch.logaddexp(right, functional.logsigmoid(-logit) + math.log(label_error))


def moved_beyond_noise(
    moved_by: Tensor, noise: Tensor, quantiles: tuple[float, float], false_discovery_rate: float
) -> tuple[Tensor, float]:
    """Label movements that exceed the noise, which is measured on transitions that cannot be contacts.

    If the agent moves away from the object, the object stays, and its apparent movement is noise. The p-value of a
    movement is the share of the noise that is at least as large. A movement is labelled 1 if it exceeds the higher
    quantile of the noise and passes the test of Benjamini and Hochberg (1995) at the false discovery rate. One below
    the lower quantile is labelled 0, and all others ½ (uncertain). If contacts are rare, a quantile alone labels more
    noise than contacts. It decides nevertheless if no movement passes the test: a rough map has a noise of its own.

    Args:
        moved_by: ``(N,)`` movements of the object, at least zero.
        noise: ``(M,)`` movements in the transitions without contact; if there are none, all movements.
        quantiles: lower and higher quantile.
        false_discovery_rate: expected share of noise among the movements that are labelled 1.

    Returns:
        The labels ``(N,)``, and the movement above which they are 1.

    Example:
        >>> noise = torch.linspace(0, 1, 1000)
        >>> moved_beyond_noise(torch.tensor([0.5, 0.95, 3.0]), noise, (0.9, 0.99), 0.2)[0].tolist()
        [0.0, 0.5, 1.0]
    """
    if len(noise) == 0:
        noise = moved_by
    still, may_have_moved = torch.quantile(noise, torch.tensor(quantiles, device=noise.device))
    at_least = len(noise) - torch.searchsorted(noise.sort().values, moved_by)
    p_values = (1 + at_least.cpu().numpy()) / (1 + len(noise))
    passed = torch.from_numpy(false_discovery_control(p_values) <= false_discovery_rate).to(moved_by.device)
    threshold = may_have_moved
    if passed.any() and not passed.all():
        threshold = torch.maximum(threshold, moved_by[~passed].max())
    label = torch.where(moved_by > threshold, 1.0, torch.where(moved_by > still, 0.5, 0.0))
    return label, float(threshold)


def contact_information(moved_by: Tensor, distance: Tensor) -> float:
    """Compute the information in bits that the distance between path and object holds about the object's movement.

    The mutual information ``I = Σ p(d, m) log₂ p(d, m)/(p(d) p(m))`` of bins: twenty of equal counts for the distance,
    and for the movement the top 0.5 %, the next 0.5 %, then 1, 2, 4, … %. So rare contacts count, and frequent ones.
    Only ranks matter. It is near zero if the object moves wherever the agent is.

    Args:
        moved_by: ``(N,)`` movements of the object.
        distance: ``(N,)`` distances between the agent's path and the object.

    Example:
        >>> apart = torch.rand(4000, generator=torch.Generator().manual_seed(0))
        >>> round(contact_information((apart < 0.05).float(), apart), 2)
        0.28
    """
    count = len(moved_by)
    rows = (NUM_DISTANCES * _rank(distance)).long()
    columns = torch.bucketize(1 - _rank(moved_by), torch.tensor(MOVEMENT_SHARES, device=moved_by.device))
    joint = torch.zeros(NUM_DISTANCES, len(MOVEMENT_SHARES) + 1, dtype=torch.float64, device=moved_by.device)
    joint.index_put_((rows, columns), joint.new_ones(count) / count, accumulate=True)
    independent = joint.sum(1, keepdim=True) * joint.sum(0)
    return float(torch.xlogy(joint, torch.where(joint > 0, joint / independent, 1)).sum() / math.log(2))


NUM_DISTANCES = 20
"""Bins of the distance in `contact_information`."""
MOVEMENT_SHARES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64)
"""Limits of the bins of the movement in `contact_information`, as shares of the transitions that move most."""


def _rank(values: Tensor) -> Tensor:
    """Return ranks in (0, 1); equal values share theirs."""
    ranks = (rankdata(values.cpu().numpy()) - 0.5) / max(1, len(values))
    return torch.as_tensor(ranks, device=values.device)
