"""Labels of contact between an agent and an object, and the loss of labels of which some are wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional

from .config import ConfigError, check_range
from .contact_mixture import ContactMixtureConfig
from .initial_maps import ContactMapConfig, PositionMapConfig


@dataclass(frozen=True)
class ContactConfig:
    """Set the labels and the likelihood of contact. Lengths are in units of the root-mean-square displacement.

    Attributes:
        initial_shares: shares of the transitions, those whose embedding changes most, that the first labels take for
            contacts. A first map is fitted with each of them; the one is kept whose distances from the agent's paths
            tell most about the changes of the embedding (`contact_information`).
        window: frames before and after a transition whose means are compared for the first map (`movement`).
        map_rounds: rounds of labels and least squares for a first map, and of labels and likelihood after it.
        label_error: share of the labels that are taken to be wrong.
        still_weight: weight of the squared movement of the object where there is no contact.
        stay_weight: weight of the loss of an agent that stays where it is.
        initial_radius: distance of contact at the start.
        initial_softness: width of the sigmoid at the start.
        min_softness: smallest width of the sigmoid.
        mixture: the probabilities of contact.
        initial_fit: fit of the first positions.
        contact_map: fit of the first positions and of the radius to the likelihood of contact.

    Raises:
        ConfigError: a value is out of range.
    """

    initial_shares: tuple[float, ...] = (0.005, 0.0125, 0.03, 0.08, 0.2, 0.4)
    window: int = 4
    map_rounds: int = 3
    label_error: float = 0.01
    still_weight: float = 2.5
    stay_weight: float = 0.15
    initial_radius: float = 0.6
    initial_softness: float = 0.2
    min_softness: float = 0.02
    mixture: ContactMixtureConfig = field(default_factory=ContactMixtureConfig)
    initial_fit: PositionMapConfig = field(default_factory=PositionMapConfig)
    contact_map: ContactMapConfig = field(default_factory=ContactMapConfig)

    def __post_init__(self) -> None:
        if not self.initial_shares or not all(0 < share <= 0.5 for share in self.initial_shares):
            raise ConfigError(f"initial_shares must be shares above 0 and at most 0.5, got {self.initial_shares}")
        check_range(self, "label_error", above=0, at_most=0.5)
        check_range(self, "window", at_least=1)
        check_range(self, "map_rounds", at_least=1)
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


def label_nll(logit: Tensor, contact: Tensor, label_error: float) -> Tensor:
    """Return the robust cross-entropy of probabilities of contact, both ``(B,)`` (`robust_bce`)."""
    return contact * robust_bce(logit, label_error) + (1 - contact) * robust_bce(-logit, label_error)


def movement_nll(logit: Tensor, evidence: Tensor, label_error: float) -> Tensor:
    """Compute the negative log-likelihood of movements, given the probability of contact that geometry predicts.

    ``−log(P q + (1 − P)(1 − q))`` with ``P = sigmoid(logit)`` and ``q = sigmoid(evidence)``, which is kept within
    ``[ε, 1 − ε]``. In each update, geometry and movement decide together what a contact is. Labels that were
    made before would keep the geometry of that time.

    Args:
        logit: logit of the predicted probability, any shape.
        evidence: logarithm of the ratio of the densities of the movement with contact and without.
        label_error: ``ε``.
    """
    limit = math.log1p(-label_error) - math.log(label_error)
    evidence = evidence.clamp(-limit, limit)
    logs = functional.logsigmoid
    return -torch.logaddexp(logs(logit) + logs(evidence), logs(-logit) + logs(-evidence))


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
