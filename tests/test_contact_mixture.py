"""Probabilities of contact: two distributions of movement, and what geometry says."""

import math

import numpy as np
import pytest
import torch
from equiact.representations.learning.config import ConfigError
from equiact.representations.learning.contact_mixture import (
    ContactMixture,
    ContactMixtureConfig,
    contact_prior,
    label_contacts,
)


def test_the_probability_is_that_of_bayes() -> None:
    mixture = ContactMixture(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.5]))
    moved_by, prior = torch.tensor([math.exp(1.5)]), torch.tensor([0.2])
    densities = [math.exp(-0.5 * ((1.5 - mean) / std) ** 2) / std for mean, std in ((0.0, 1.0), (2.0, 0.5))]
    expected = 0.2 * densities[1] / (0.2 * densities[1] + 0.8 * densities[0])
    assert float(mixture.contact(moved_by, prior)) == pytest.approx(expected, rel=1e-5)
    likelihood = math.log(0.2 * densities[1] + 0.8 * densities[0])
    assert float(mixture.log_likelihood(moved_by, prior)) == pytest.approx(likelihood, rel=1e-5)
    assert float(mixture.contact(torch.tensor([0.9]), torch.tensor([0.99]))) == 0, "below the median of the noise"


@pytest.mark.parametrize("grazing", [0.1, 0.4])
def test_contacts_that_graze_are_little_evidence_against_contact(grazing: float) -> None:
    mixture = ContactMixture(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.5]))
    still, moved = mixture.evidence(torch.tensor([0.5, math.exp(1.5)]), grazing)
    densities = [math.exp(-0.5 * ((1.5 - mean) / std) ** 2) / std for mean, std in ((0.0, 1.0), (2.0, 0.5))]
    assert float(still) == pytest.approx(math.log(grazing)), "below the median of the noise"
    assert float(moved) == pytest.approx(math.log(grazing + (1 - grazing) * densities[1] / densities[0]), rel=1e-5)


def test_labels_hold_the_evidence_of_the_share_that_grazes() -> None:
    clearance, moved_by = torch.tensor([-1.0, -0.5, 0.5, 1.0]).repeat(20), torch.tensor([1.0, 2.0, 0.1, 0.2]).repeat(20)
    for grazing in (0.1, 0.4):
        config = ContactMixtureConfig(grazing=grazing)
        evidence = label_contacts(moved_by, clearance, torch.tensor(1.0), torch.tensor(0.1), config).evidence
        assert float(evidence.min()) == pytest.approx(math.log(grazing), abs=0.01)
    with pytest.raises(ConfigError, match="grazing"):
        ContactMixtureConfig(grazing=0.0)


def test_the_threshold_is_where_both_are_as_probable() -> None:
    even = ContactMixture(torch.tensor([0.0, 2.0]), torch.tensor([0.5, 0.5]))
    assert even.threshold(0.5) == pytest.approx(math.e, rel=0.02)
    rare = even.threshold(0.01)
    expected = 1 + math.log(99) * 0.25 / 2
    assert rare == pytest.approx(math.exp(expected), rel=0.02)


def test_the_prior_is_a_sigmoid_within_bounds() -> None:
    found = contact_prior(torch.tensor([0.5, 0.0, -0.5, 9.0, -9.0]), torch.tensor(0.5), 0.01)
    expected = [1 / (1 + math.e), 0.5, 1 / (1 + 1 / math.e), 0.01, 0.99]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3, 0.7])
@pytest.mark.parametrize("factor", [6.0, 20.0])
def test_contacts_are_recognised_however_many_there_are(share: float, factor: float) -> None:
    """Objects move by some times the noise, which is twice as large near the object; geometry is uncertain."""
    generator = torch.Generator().manual_seed(0)
    count = 20_000
    meant = torch.rand(count, generator=generator) < share
    clearance = torch.where(meant, -0.5, 3.0) * torch.rand(count, generator=generator)
    contact = torch.rand(count, generator=generator) < torch.sigmoid(-clearance / 0.1)
    spread = 0.02 * (1 + (-clearance.clamp_min(0)).exp())
    noise = spread * torch.randn(count, 2, generator=generator).norm(dim=1)
    moved_by = torch.where(contact, 0.04 * factor * (0.4 * torch.randn(count, generator=generator)).exp(), noise)
    found, _, threshold = label_contacts(moved_by, clearance, torch.tensor(1.0), torch.tensor(0.1))
    called, probable = found > 0.5, 0.9 if factor == 6 else 0.97
    assert float((called & contact).sum() / called.sum()) > probable
    assert float((called & contact).sum() / contact.sum()) > probable
    assert float(found.mean()) == pytest.approx(float(contact.float().mean()), rel=0.1)
    assert float(noise.median()) < threshold < float(moved_by[contact].median())


def test_transitions_far_away_do_not_make_the_noise_small() -> None:
    """Far from the object its position hardly shakes; the noise near it must not be taken for contact."""
    generator = torch.Generator().manual_seed(1)
    clearance = torch.cat([torch.rand(1000, generator=generator), 3 + torch.rand(9000, generator=generator)])
    clearance[:200] *= -1
    noise = torch.where(clearance < 1.5, 0.1, 0.001) * torch.randn(10_000, generator=generator).abs()
    moved_by = torch.where(clearance < 0, 1.0 + noise, noise)
    found = label_contacts(moved_by, clearance, torch.tensor(1.0), torch.tensor(0.05)).contact
    assert float((found[clearance > 0] > 0.5).float().mean()) < 0.002
    assert float((found[clearance < 0] > 0.5).float().mean()) > 0.99


@pytest.mark.parametrize("near", [0, 1])
def test_an_object_that_nobody_comes_near_is_never_touched(near: int) -> None:
    """A wrong map of the object is no reason to stop the training: the evidence tells afterwards."""
    moved_by = torch.rand(50, generator=torch.Generator().manual_seed(0))
    clearance = torch.cat([torch.full((near,), 0.1), torch.full((50 - near,), 9.0)])
    found, evidence, threshold = label_contacts(moved_by, clearance, torch.tensor(1.0), torch.tensor(0.1))
    assert float(found[near:].max()) < 0.5 and torch.isfinite(evidence).all() and math.isfinite(threshold)


def test_movements_that_are_all_alike_have_no_contacts_and_no_nan() -> None:
    clearance = torch.linspace(-1, 1, 50)
    for value in (0.0, 1.0):
        found, _, threshold = label_contacts(torch.full((50,), value), clearance, torch.tensor(1.0), torch.tensor(0.1))
        assert torch.isfinite(found).all() and math.isfinite(threshold)
