"""Labels of contact between an agent and an object, and the loss of labels of which some are wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from .config import check_range
from .initial_maps import OrientationMapConfig, PositionMapConfig


@dataclass(frozen=True)
class ContactConfig:
    """Set the labels and the likelihood of contact. Lengths are in units of the root-mean-square displacement.

    Attributes:
        initial_contact_share: share of the transitions, those whose embedding changes most, that the first labels take
            for contacts. Precision matters more than recall. If fewer transitions touch the object, collect data with a
            policy that approaches it.
        map_rounds: rounds of labels and least squares for the first map.
        still_quantile: quantile of the noise below which the object has not moved.
        moved_quantile: quantile of the noise above which it has moved.
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

    initial_contact_share: float = 0.2
    map_rounds: int = 3
    still_quantile: float = 0.9
    moved_quantile: float = 0.99
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
        for name in ("initial_contact_share", "label_error"):
            check_range(self, name, above=0, at_most=0.5)
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


def moved_beyond_noise(moved_by: Tensor, noise: Tensor, quantiles: tuple[float, float]) -> tuple[Tensor, float]:
    """Label movements that exceed the noise, which is measured on transitions that cannot be contacts.

    If the agent moves away from the object, the object stays, and its apparent movement is noise. A movement above the
    higher quantile of the noise is labelled 1, one below the lower quantile 0, and one in between ½ (uncertain).

    Args:
        moved_by: ``(N,)`` movements of the object, at least zero.
        noise: ``(M,)`` movements in the transitions without contact; if there are none, all movements.
        quantiles: lower and higher quantile.

    Returns:
        The labels ``(N,)``, and the movement above which they are 1.
    """
    if len(noise) == 0:
        noise = moved_by
    still, moved = torch.quantile(noise, torch.tensor(quantiles, device=noise.device))
    label = 0.5 * (moved_by > still).float() + 0.5 * (moved_by > moved).float()
    return label, float(moved)
