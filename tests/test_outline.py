"""Outlines of objects: laws of the clearance, known shapes, and their fit to contacts."""

import copy
import math

import numpy as np
import pytest
import torch
from equiact.representations.encoders.outline import Outline
from equiact.representations.learning.segment_geometry import distance_to_segment
from equiact.representations.learning.shape_fit import (
    OutlineFitConfig,
    Paths,
    align_orientation,
    fit_outline,
    mirror,
)
from torch import Tensor


def rotated(points: Tensor, angle: Tensor) -> Tensor:
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos * points[:, 0] - sin * points[:, 1], sin * points[:, 0] + cos * points[:, 1]], 1)


def unit(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()], 1)


def random_outline(order: int, seed: int = 0) -> Outline:
    outline = Outline(4, radius=0.8)
    outline.order.fill_(order)
    with torch.no_grad():
        outline.coefficients[1:] = 0.1 * torch.randn(8, generator=torch.Generator().manual_seed(seed))
    return outline


def outline_of(radius: np.ndarray, harmonics: int = 8) -> Outline:
    """Return the outline with these radii in equally spaced directions, by the Fourier transform of their logarithm."""
    spectrum = np.fft.rfft(np.log(radius)) / len(radius)
    values = [spectrum[:1].real, 2 * spectrum[1 : harmonics + 1].real, -2 * spectrum[1 : harmonics + 1].imag]
    outline = Outline(harmonics, radius=1.0)
    with torch.no_grad():
        outline.coefficients[:] = torch.tensor(np.concatenate(values))
    return outline


def segments(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    start, end = 4 * torch.rand(2, count, 2, generator=torch.Generator().manual_seed(seed)) - 2
    return start, end


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_a_ball_is_as_far_as_its_centre_less_its_radius(dim: int) -> None:
    start, end = torch.randn(2, 50, dim, generator=torch.Generator().manual_seed(0))
    expected = distance_to_segment(torch.zeros(50, dim), start, end) - 0.3
    torch.testing.assert_close(Outline(0, radius=0.3).clearance(start, end), expected)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_what_turns_together_keeps_its_clearance(order: int) -> None:
    start, end = segments(60)
    outline, angle, turn = random_outline(order), torch.linspace(-3, 3, 60), torch.linspace(7, -2, 60)
    before = outline.clearance(start, end, unit(order * angle))
    after = outline.clearance(rotated(start, turn), rotated(end, turn), unit(order * (angle + turn)))
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0)
    still = outline.clearance(rotated(start, turn), rotated(end, turn), unit(order * angle))
    assert float((still - before).abs().max()) > 0.05, "only the paths turn"


@pytest.mark.parametrize("order", [1, 2, 3])
def test_an_object_of_order_m_looks_the_same_after_an_mth_of_a_turn(order: int) -> None:
    start, end = segments(60)
    outline, orientation = random_outline(order), unit(torch.linspace(-3, 3, 60))
    before = outline.clearance(start, end, orientation)
    for divisor, same in ((order, True), (order + 1, False)):
        turn = torch.tensor(2 * math.pi / divisor).expand(60)
        after = outline.clearance(rotated(start, turn), rotated(end, turn), orientation)
        assert torch.allclose(after, before, atol=1e-4) == same


def test_the_clearance_is_that_of_the_nearest_point_along_its_ray() -> None:
    bar = outline_of(np.where(np.arange(360) < 180, 1.0, 2.0), harmonics=1)
    with torch.no_grad():
        bar.coefficients[:] = torch.tensor([0.0, math.log(2), 0.0])  # r = 2^cos β
    orientation = torch.tensor([[1.0, 0.0]])
    for point, expected in (([3.0, 0.0], 1.0), ([-3.0, 0.0], 2.5), ([0.0, 3.0], 2.0), ([0.0, 0.5], -0.5)):
        still = torch.tensor([point])
        assert float(bar.clearance(still, still, orientation)) == pytest.approx(expected, abs=1e-5)
    turned = torch.tensor([[0.0, 1.0]])
    still = torch.tensor([[0.0, 3.0]])
    assert float(bar.clearance(still, still, turned)) == pytest.approx(1.0, abs=1e-5)
    passing = torch.tensor([[3.0, -2.0]]), torch.tensor([[3.0, 2.0]])
    assert float(bar.clearance(*passing, orientation)) == pytest.approx(1.0, abs=1e-5)
    assert float(bar.reach) == pytest.approx(2, rel=1e-5) and float(bar.radius) == pytest.approx(1)


def test_the_centroid_of_a_disc_is_its_centre_wherever_it_is_seen_from() -> None:
    alpha = np.arange(720) * np.pi / 360
    offset = np.array([0.2, -0.1])
    along = offset[0] * np.cos(alpha) + offset[1] * np.sin(alpha)
    disc = outline_of(along + np.sqrt(1 - offset @ offset + along**2))
    torch.testing.assert_close(disc.centroid(), torch.tensor([0.2, -0.1]), atol=1e-4, rtol=0)
    torch.testing.assert_close(disc.polygon().norm(dim=1), torch.ones(360), atol=1e-3, rtol=0)
    angle = torch.tensor([0.0, math.pi / 2])
    found = disc.at_centroid(torch.tensor([[5.0, 5.0], [0.0, 0.0]]), unit(angle))
    torch.testing.assert_close(found, torch.tensor([[5.2, 4.9], [0.1, 0.2]]), atol=1e-4, rtol=0)
    disc.order.fill_(2)
    assert disc.centroid().tolist() == [0, 0], "an object with a symmetry is seen from its centre"


def test_roughness_weighs_harmonics_by_their_square() -> None:
    outline = Outline(2, radius=1.0)
    with torch.no_grad():
        outline.coefficients[:] = torch.tensor([7.0, 1.0, 2.0, 3.0, 4.0])
    assert float(outline.roughness()) == 1 + 4 * 4 + 9 + 4 * 16


def contacts_with(outline: Outline, count: int, seed: int = 0) -> tuple[Paths, Tensor]:
    """Return random paths past an object in random orientations; it moves, with noise, where they touch it."""
    generator = torch.Generator().manual_seed(seed)
    start, end = segments(count, seed)
    end = start + 0.4 * (end - start)
    orientation = unit(2 * math.pi * torch.rand(count, generator=generator))
    with torch.no_grad():
        touched = outline.clearance(start, end, orientation) < 0
    noise = 0.02 * torch.randn(count, generator=generator).exp()
    moved = 0.4 * (0.5 * torch.randn(count, generator=generator)).exp()
    return Paths(start, end, orientation, torch.where(touched, moved, noise)), touched


def test_contacts_tell_the_outline_though_none_is_labelled() -> None:
    true = random_outline(1, seed=3)
    paths, touched = contacts_with(true, 6000)
    first = Outline(8, radius=0.6)
    unchanged = copy.deepcopy(first.state_dict())
    fit = fit_outline(first, torch.tensor(math.log(0.2)), paths, OutlineFitConfig(rounds=3))
    assert all(torch.equal(first.state_dict()[name], value) for name, value in unchanged.items())
    beta = torch.linspace(-3.14, 3.14, 90)
    with torch.no_grad():
        found, expected = fit.outline.radii(beta), true.radii(beta)
        off, round_off = ((each - expected).abs().mean() for each in (found, expected.mean()))
    assert float(off) < 0.06 < 0.1 < float(round_off)
    assert float(((fit.contact > 0.5) == touched).float().mean()) > 0.99
    assert 0.02 < fit.threshold < 0.4
    assert float(paths.moved_by[~touched].median()) < fit.threshold < float(paths.moved_by[touched].median())


@pytest.mark.parametrize(("order", "mirrored"), [(1, False), (1, True), (2, False), (3, True)])
def test_contacts_tell_the_order_and_the_direction(order: int, mirrored: bool) -> None:
    true = random_outline(order, seed=order)
    paths, _ = contacts_with(true, 4000)
    seen = mirror(paths.orientation) if mirrored else paths.orientation
    config = OutlineFitConfig(rounds=2)
    first = Outline(4, radius=0.7)
    found = align_orientation(first, torch.tensor(-2.0), paths._replace(orientation=seen), 3, config)
    assert found[:2] == (order, mirrored) and found.evidence > 5


def test_contacts_with_a_ball_tell_no_direction() -> None:
    paths, _ = contacts_with(Outline(0, radius=0.8), 4000)
    found = align_orientation(Outline(4, radius=0.7), torch.tensor(-2.0), paths, 2, OutlineFitConfig(rounds=2))
    assert found.evidence < 3


def test_an_object_that_nobody_comes_near_keeps_its_outline_and_has_no_contact() -> None:
    far = torch.full((10, 2), 9.0)
    paths = Paths(far, far, unit(torch.zeros(10)), torch.ones(10))
    fit = fit_outline(Outline(2, 0.5), torch.tensor(-2.0), paths)
    assert 0.3 < float(fit.outline.radius) < 0.8 and torch.isfinite(fit.outline.coefficients).all()
    assert float(fit.contact.max()) < 0.5
