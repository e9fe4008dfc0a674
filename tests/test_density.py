"""Densities: normalised, with the right gradient, conditioned on their context; and what has no density."""

import numpy as np
import pytest
import torch

from representations.density import DENSITIES, DensityError, SceneDensity
from representations.homing import displaced, homing_cosine

families = pytest.mark.parametrize("family", sorted(DENSITIES))


def fitted(family, z, context=None, steps=300):
    torch.manual_seed(0)
    density = DENSITIES[family](z.shape[1], 0 if context is None else context.shape[1])
    density.fit(z, context, steps=steps)
    return density.eval()


def blobs(count=2000, seed=0):
    """Two clouds, of which the context says which one."""
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(2, (count, 1), generator=generator).float()
    z = 0.1 * torch.randn(count, 2, generator=generator) + torch.cat([which, -which], 1)
    return z, 2 * which - 1


@pytest.mark.parametrize("family", sorted(set(DENSITIES) - {"nearest"}))
def test_it_integrates_to_one(family):
    density = fitted(family, blobs()[0])
    axis = torch.linspace(-2.5, 2.5, 251)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        total = density.log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 2
    assert float(total) == pytest.approx(1, abs=0.05)


@families
def test_its_context_says_where(family):
    z, context = blobs()
    density = fitted(family, z, context)
    with torch.no_grad():
        right, wrong = density.log_prob(z, context), density.log_prob(z, -context)
    assert float((right > wrong).float().mean()) > 0.98


@families
def test_the_score_is_the_gradient(family):
    z, context = blobs()
    density = fitted(family, z, context, steps=50)
    at, given = z[:5].double().float(), context[:5]
    value, gradient = density.score(at, given)
    assert value.shape == (5,) and gradient.shape == (5, 2)
    epsilon = 1e-3
    for axis in range(2):
        shift = torch.zeros(2)
        shift[axis] = epsilon
        with torch.no_grad():
            slope = density.far_log_prob(at + shift, given) - density.far_log_prob(at - shift, given)
        torch.testing.assert_close(gradient[:, axis], slope / (2 * epsilon), atol=0.3, rtol=0.1)


@pytest.mark.parametrize("family", sorted(set(DENSITIES) - {"mixture"}))
def test_most_climb_their_own_density(family):
    z, context = blobs()
    density = fitted(family, z, context, steps=50)
    torch.testing.assert_close(density.far_log_prob(z, context), density.log_prob(z, context))


def test_a_mixture_climbs_its_convolution_with_a_gaussian():
    z, _ = blobs()
    density = fitted("mixture", z)
    noise = density.blur * density.spread * torch.randn(200_000, 2, generator=torch.Generator().manual_seed(0))
    for point in z[:3] + 0.5:
        with torch.no_grad():
            blurred = density.log_prob(point + noise).exp().mean().log()
            assert float(density.far_log_prob(point[None])) == pytest.approx(float(blurred), abs=0.03)


@pytest.mark.parametrize("family", ["mixture", "kernel"])
def test_far_away_the_gradient_points_home(family):
    z, context = blobs()
    density = fitted(family, z, context)
    generator = torch.Generator().manual_seed(3)
    away = torch.randn(200, 2, generator=generator)
    away = away / away.norm(dim=1, keepdim=True)
    _, gradient = density.score(z[:200] + 1.5 * away, context[:200])
    assert float(torch.nn.functional.cosine_similarity(gradient, -away, dim=1).median()) > 0.9


@families
@pytest.mark.parametrize("z", [torch.zeros(1, 2), torch.ones(10, 2), torch.zeros(0, 2)])
def test_a_single_state_has_no_density(family, z):
    with pytest.raises(DensityError, match="at least two different states"):
        DENSITIES[family](2).fit(z)
    with pytest.raises(DensityError, match="finite"):
        DENSITIES[family](2).fit(torch.tensor([[0.0, 1.0], [float("nan"), 0.0]]))


@pytest.mark.parametrize("family", ["mixture", "kernel"])
def test_a_scene_says_where(family):
    """A bright left or right half of the first image tells the episodes apart."""
    episode = (np.arange(600) // 30).astype(np.int64)
    side = np.arange(20) % 2
    z = torch.tensor(np.stack([side[episode], -side[episode]], 1), dtype=torch.float32) + 0.1 * torch.randn(
        600, 2, generator=torch.Generator().manual_seed(0)
    )
    first = np.zeros((20, 16, 16, 3), np.uint8)
    for index, which in enumerate(side):
        first[index, 4:12, 8 * which : 8 * which + 8] = 255
    commands = np.ones((600, 1))
    torch.manual_seed(0)
    density = SceneDensity((16, 16, 3), 2, 1, family)
    density.fit_scenes(z, first, episode, commands, steps=200)
    right, _ = density.score(z, density.context_of(density.scene_of(first)[episode], commands))
    wrong, _ = density.score(z, density.context_of(density.scene_of(first)[(episode + 1) % 20], commands))
    assert float((right > wrong).float().mean()) > 0.95
    with pytest.raises(DensityError, match="no family of densities 'spline'"):
        SceneDensity((16, 16, 3), 2, 1, "spline")


@families
def test_a_density_comes_back_as_it_was_saved(family, tmp_path):
    generator = np.random.default_rng(0)
    episode, commands = (np.arange(60) // 20).astype(np.int64), np.ones((60, 1))
    first = generator.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    z = torch.from_numpy(generator.normal(size=(60, 2))).float()
    density = SceneDensity((16, 16, 3), 2, 1, family)
    density.fit_scenes(z, first, episode, commands, steps=5)
    density.eval().save(tmp_path / "density")
    loaded = SceneDensity.load(tmp_path / "density")
    for one, other in zip(
        density.score(z, density.context_of(density.scene_of(first)[episode], commands)),
        loaded.score(z, loaded.context_of(loaded.scene_of(first)[episode], commands)),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_homing_is_one_where_the_gradient_points_at_the_nearest_state():
    class Home(DENSITIES["mixture"]):
        def score(self, z, context=None):
            return torch.zeros(len(z)), self.sign * -z

    density, latent = Home(2), np.zeros((50, 2), np.float32)
    reach = np.array([[-1.0, -1.0], [1.0, 1.0]])
    away = displaced(latent, 0.5, reach, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(away, axis=1), 0.5, rtol=1e-5)
    given = np.zeros((1, 4, 4, 3), np.uint8), np.zeros(50, int), np.zeros((50, 1))
    for density.sign in (1.0, -1.0):
        assert homing_cosine(density, latent, away, *given) == pytest.approx(density.sign)
    outside = displaced(latent, 2.0, reach, np.random.default_rng(0))
    assert np.isnan(outside).all()
