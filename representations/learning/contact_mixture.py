"""Probabilities of contact from the geometry of agent and object together with the movement of the object."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .config import check_range

SMALLEST_MOVEMENT = 1e-6
"""Movements below this one, in units of the data, are taken for this one, since they have no logarithm."""
SMALLEST_DEVIATION = 1e-2
"""Smallest standard deviation of the logarithm of movements."""


@dataclass(frozen=True)
class ContactMixtureConfig:
    """Set how the probabilities of contact are computed (`label_contacts`).

    Attributes:
        near: clearance from the object, in its radii, up to which transitions take part in the fit. The noise of the
            position grows near the object; that of far transitions would be too small.
        iterations: rounds of expectation and maximisation.
        smallest_prior: smallest probability that geometry alone gives to contact, and to none.
        grazing: share of the contacts that hardly move the object.

    Raises:
        ConfigError: a value is out of range.
    """

    near: float = 1.5
    iterations: int = 20
    smallest_prior: float = 0.002
    grazing: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, "near", above=0)
        check_range(self, "iterations", at_least=1)
        check_range(self, "smallest_prior", above=0, below=0.5)
        check_range(self, "grazing", above=0, below=1)


MIXTURE = ContactMixtureConfig()


@dataclass(frozen=True)
class ContactMixture:
    """Two log-normal distributions of the movement of an object: without contact, which is noise, and with it.

    Attributes:
        mean: of the logarithm of the movement, without contact and with it, ``(2,)``.
        std: its standard deviation, ``(2,)``.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def fit(cls, moved_by: Tensor, prior: Tensor, iterations: int = MIXTURE.iterations) -> ContactMixture:
        """Fit both distributions by expectation and maximisation, with a prior probability for each transition.

        Args:
            moved_by: ``(N,)``, movements.
            prior: ``(N,)``, probability of contact by geometry alone, above 0 and below 1.
            iterations: rounds.
        """
        mixture = cls._of(moved_by, prior)
        for _ in range(iterations):
            mixture = cls._of(moved_by, mixture.contact(moved_by, prior))
        return mixture

    @classmethod
    def _of(cls, moved_by: Tensor, contact: Tensor) -> ContactMixture:
        """Return the distributions of movements whose probabilities of contact are known."""
        weight = torch.stack([1 - contact, contact])
        weight = weight / weight.sum(1, keepdim=True).clamp_min(1e-9)
        movement = _log(moved_by)
        mean = (weight * movement).sum(1)
        std = (weight * (movement - mean[:, None]).pow(2)).sum(1).sqrt()
        return cls(mean, std.clamp_min(SMALLEST_DEVIATION))

    def _log_densities(self, moved_by: Tensor) -> tuple[Tensor, Tensor]:
        deviation = (_log(moved_by) - self.mean[:, None]) / self.std[:, None]
        without, with_contact = -0.5 * deviation.pow(2) - self.std.log()[:, None]
        return without, with_contact

    def contact(self, moved_by: Tensor, prior: Tensor) -> Tensor:
        """Return the probability of contact, ``(N,)``; zero below the median of the noise, whatever the tails say."""
        without, with_contact = self._log_densities(moved_by)
        probability = torch.sigmoid(with_contact - without + torch.logit(prior))
        return torch.where(_log(moved_by) < self.mean[0], 0.0, probability)

    def evidence(self, moved_by: Tensor, grazing: float) -> Tensor:
        """Return the logarithm of the ratio of the densities with contact and without, ``(N,)``.

        ``log((1 − γ) p₁/p₀ + γ)``: a share ``γ`` of the contacts grazes the object, which moves as without contact.

        Args:
            moved_by: ``(N,)``, movements.
            grazing: ``γ``, above 0 and below 1.
        """
        without, with_contact = self._log_densities(moved_by)
        ratio = torch.where(_log(moved_by) < self.mean[0], -math.inf, with_contact - without)
        return torch.logaddexp(ratio + math.log1p(-grazing), torch.full_like(ratio, math.log(grazing)))

    def log_likelihood(self, moved_by: Tensor, prior: Tensor) -> Tensor:
        """Return the log-likelihood of each movement, up to a constant, ``(N,)``."""
        without, with_contact = self._log_densities(moved_by)
        return torch.logaddexp(without + torch.log1p(-prior), with_contact + prior.log())

    def threshold(self, share: float) -> float:
        """Return the movement at which contact is as probable as none, if this share of all are contacts."""
        if self.mean[1] <= self.mean[0]:
            return math.exp(float(self.mean.max()))
        grid = torch.linspace(float(self.mean[0]), float(self.mean[1]), 200, device=self.mean.device).exp()
        contact = self.contact(grid, torch.full_like(grid, share))
        return float(grid[(contact - 0.5).abs().argmin()])


def contact_prior(clearance: Tensor, softness: Tensor, smallest: float = MIXTURE.smallest_prior) -> Tensor:
    """Return ``sigmoid(−d/s)``, the probability of contact by geometry alone, within ``[smallest, 1 − smallest]``.

    Example:
        >>> contact_prior(torch.tensor([0.0, 100.0]), torch.tensor(1.0), smallest=0.01)
        tensor([0.5000, 0.0100])
    """
    return torch.sigmoid(-clearance / softness).clamp(smallest, 1 - smallest)


class ContactLabels(NamedTuple):
    """What movements say of contacts, alone and together with geometry.

    Attributes:
        contact: probability of contact by movement and geometry, ``(N,)``.
        evidence: what the movement alone says (`ContactMixture.evidence`), ``(N,)``.
        threshold: movement at which contact is as probable as none, for a transition of which nothing else is known.
    """

    contact: Tensor
    evidence: Tensor
    threshold: float

    @classmethod
    def of(
        cls, mixture: ContactMixture, moved_by: Tensor, prior: Tensor, config: ContactMixtureConfig = MIXTURE
    ) -> ContactLabels:
        """Return the labels of transitions, given their probabilities of contact by geometry alone, ``(N,)``."""
        contact = mixture.contact(moved_by, prior)
        share = min(max(float(contact.mean()), config.smallest_prior), 1 - config.smallest_prior)
        return cls(contact, mixture.evidence(moved_by, config.grazing), mixture.threshold(share))


def label_contacts(
    moved_by: Tensor, clearance: Tensor, radius: Tensor, softness: Tensor, config: ContactMixtureConfig = MIXTURE
) -> ContactLabels:
    """Compute the probability of contact in every transition, from movement and geometry.

    ``p(m) = p₁(m) P(contact) + p₀(m) (1 − P(contact))`` for the movement ``m`` of the object, with
    ``P(contact) = sigmoid(−d/s)``. Both ``p`` are log-normal and fitted to the transitions near the object
    (`ContactMixture`). No transition must be known to be free of contact.

    Args:
        moved_by: ``(N,)``, movements of the object.
        clearance: ``(N,)``, ``d``: distance between the agent's path and the edge of the object, negative if they meet.
        radius: ``()``, of the object.
        softness: ``()``, ``s``.
        config: how to fit.

    Example:
        >>> moved_by = torch.tensor([0.01, 0.02, 0.01, 0.9, 1.0, 1.1]).repeat(10)
        >>> clearance = torch.tensor([2.0, 1.0, 0.1, -0.1, -1.0, -0.5]).repeat(10)
        >>> label_contacts(moved_by, clearance, torch.tensor(1.0), torch.tensor(0.1)).contact[:6].round().tolist()
        [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    """
    near = near_object(clearance, radius, config.near)
    prior = contact_prior(clearance, softness, config.smallest_prior)
    mixture = ContactMixture.fit(moved_by[near], prior[near], config.iterations)
    return ContactLabels.of(mixture, moved_by, prior, config)


def near_object(clearance: Tensor, radius: Tensor, near: float) -> Tensor:
    """Return the indices of the transitions whose clearance is below ``near`` radii.

    Those of all transitions if fewer than two are so near: then the map of the object is wrong, and no contact is
    found. The evidence for an object says so after the training.
    """
    found = (clearance < near * radius).nonzero()[:, 0]
    return found if len(found) > 1 else torch.arange(len(clearance), device=clearance.device)


def _log(moved_by: Tensor) -> Tensor:
    return moved_by.clamp_min(SMALLEST_MOVEMENT).log()
