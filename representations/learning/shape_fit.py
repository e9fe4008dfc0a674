"""Fit of the outline of an object to all contacts at once, whose labels are not known."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..encoders.outline import Outline
from .config import check_range
from .contact_labels import label_nll
from .contact_mixture import ContactLabels, ContactMixture, ContactMixtureConfig, contact_prior, near_object


@dataclass(frozen=True)
class OutlineFitConfig:
    """Set how an outline and the probabilities of contact are fitted in turn (`fit_outline`).

    Attributes:
        rounds: rounds of probabilities and outline.
        steps: updates of the outline in a round, each on all transitions near the object.
        lr: learning rate of Adam.
        roughness: weight of `Outline.roughness`.
        min_softness: smallest width of the sigmoid of contact, in units of the data.
        label_error: share of the labels that are taken to be wrong.
        mixture: the probabilities of contact. Noise grows more steeply towards an outline than towards a round object,
            so that fewer transitions take part.

    Raises:
        ConfigError: a value is out of range.
    """

    rounds: int = 4
    steps: int = 60
    lr: float = 0.02
    roughness: float = 3e-4
    min_softness: float = 0.12
    label_error: float = 0.01
    mixture: ContactMixtureConfig = field(default_factory=partial(ContactMixtureConfig, near=1.0))

    def __post_init__(self) -> None:
        for name in ("lr", "min_softness"):
            check_range(self, name, above=0)
        for name in ("rounds", "steps"):
            check_range(self, name, at_least=1)
        check_range(self, "roughness", at_least=0)
        check_range(self, "label_error", above=0, at_most=0.5)


OUTLINE_FIT = OutlineFitConfig()


class Paths(NamedTuple):
    """Transitions as an object sees them.

    Attributes:
        start: ``(N, 2)``, position of the agent at the start, less that of the object.
        end: ``(N, 2)``, position of the agent at the end, less that of the object at the start.
        orientation: ``(N, 2)``, orientation of the object at the start.
        moved_by: ``(N,)``, movement of the object, at least zero.
    """

    start: Tensor
    end: Tensor
    orientation: Tensor
    moved_by: Tensor


class OutlineFit(NamedTuple):
    """An outline, and what it says of the transitions.

    Attributes:
        outline: the outline.
        log_softness: logarithm of the width of the sigmoid of contact.
        contact: ``(N,)``, probability of contact in every transition.
        threshold: movement at which contact is as probable as none, for a transition of which nothing else is known.
        log_likelihood: of the movement in each of the ``K`` transitions near the first outline, ``(K,)``.
    """

    outline: Outline
    log_softness: Tensor
    contact: Tensor
    threshold: float
    log_likelihood: Tensor


def fit_outline(
    first: Outline, log_softness: Tensor, paths: Paths, config: OutlineFitConfig = OUTLINE_FIT
) -> OutlineFit:
    """Fit an outline and the probability of contact of every transition, by expectation and maximisation.

    Probabilities of contact are computed with an outline (`label_contacts`), and the outline is fitted to them.

    Args:
        first: outline at the start, whose order of symmetry is kept; it is not changed.
        log_softness: logarithm of the softness at the start.
        paths: all transitions.
        config: how to fit.
    """
    outline, log_softness = copy.deepcopy(first).requires_grad_(), log_softness.detach().clone().requires_grad_()
    near = near_object(_clearance(outline, paths), outline.radius.detach(), config.mixture.near)
    close = Paths(*(each[near] for each in paths))
    for _ in range(config.rounds):
        prior = _prior(outline, log_softness, close, config)
        mixture = ContactMixture.fit(close.moved_by, prior, config.mixture.iterations)
        _minimise(outline, log_softness, close, mixture.contact(close.moved_by, prior), config)
    prior = _prior(outline, log_softness, paths, config)
    labels = ContactLabels.of(mixture, paths.moved_by, prior, config.mixture)
    likelihood = mixture.log_likelihood(close.moved_by, prior[near])
    return OutlineFit(outline, log_softness.detach(), labels.contact, labels.threshold, likelihood)


@torch.no_grad()
def _clearance(outline: Outline, paths: Paths) -> Tensor:
    return outline.clearance(paths.start, paths.end, paths.orientation)


def _prior(outline: Outline, log_softness: Tensor, paths: Paths, config: OutlineFitConfig) -> Tensor:
    """Return the probability of contact by geometry alone."""
    softness = log_softness.detach().exp() + config.min_softness
    return contact_prior(_clearance(outline, paths), softness, config.mixture.smallest_prior)


def _minimise(outline: Outline, log_softness: Tensor, paths: Paths, contact: Tensor, config: OutlineFitConfig) -> None:
    """Fit outline and softness to the probabilities of contact."""
    optimizer = torch.optim.Adam([*outline.parameters(), log_softness], config.lr)
    with torch.enable_grad():
        for _ in range(config.steps):
            clearance = outline.clearance(paths.start, paths.end, paths.orientation)
            logit = -clearance / (log_softness.exp() + config.min_softness)
            loss = label_nll(logit, contact, config.label_error).mean() + config.roughness * outline.roughness()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()


class ContactAlignment(NamedTuple):
    """What contacts tell about an angle that was seen.

    Attributes:
        order: order of rotational symmetry.
        mirrored: whether the direction of rotation must be turned around.
        evidence: by how many standard errors the movements are likelier than with the other direction. Below about 3
            the contacts tell no direction, and the angle may mean nothing.
    """

    order: int
    mirrored: bool
    evidence: float


def align_orientation(
    first: Outline, log_softness: Tensor, paths: Paths, largest_order: int, config: OutlineFitConfig = OUTLINE_FIT
) -> ContactAlignment:
    """Choose the order of symmetry and the direction of rotation for which the movements are most likely.

    Images tell an angle ``φ = ±m·θ`` (`ring_angles`). They tell neither the sign nor the order ``m``. Where the agent
    touches the object does.

    Args:
        first: round outline.
        log_softness: logarithm of the softness at the start.
        paths: all transitions, with orientations ``(cos φ, sin φ)``.
        largest_order: orders up to this one are tried.
        config: how to fit.
    """
    likelihood = {}
    for order in range(1, largest_order + 1):
        for mirrored in (False, True):
            outline = copy.deepcopy(first)
            outline.order.fill_(order)
            turned = mirror(paths.orientation) if mirrored else paths.orientation
            fit = fit_outline(outline, log_softness, paths._replace(orientation=turned), config)
            likelihood[order, mirrored] = fit.log_likelihood
    order, mirrored = max(likelihood, key=lambda each: float(likelihood[each].mean()))
    gain = likelihood[order, mirrored] - likelihood[order, not mirrored]
    return ContactAlignment(order, mirrored, float(gain.mean() / (gain.std() / len(gain) ** 0.5).clamp_min(1e-12)))


def mirror(orientation: Tensor) -> Tensor:
    """Return the orientations of the opposite angles, ``(B, 2)``."""
    return orientation * orientation.new_tensor([1.0, -1.0])
