"""Densities: normalised, with the right gradient, conditioned on their context, saved and loaded."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from equiact.envs.named_registry import RegistryError
from equiact.envs.storage.artifacts import ArtifactError, read_artifact, write_artifact
from equiact.representations.densities.conditional_density import SceneDensity, SceneDensityConfig
from equiact.representations.densities.density import Density, DensityError
from equiact.representations.densities.flow import FlowConfig
from equiact.representations.densities.kernel import KernelConfig
from equiact.representations.densities.mixture import DiagonalMixtureConfig, MixtureConfig, MixtureDensity
from equiact.representations.densities.registry import DENSITIES, make_density, register_density
from equiact.representations.encoders.encoder import ObservationError
from equiact.representations.learning.config import ConfigError, OptimConfig
from equiact.representations.metrics.density_gradient_metrics import displaced, score_alignment

families = pytest.mark.parametrize("family", DENSITIES.names())


def fitted(family, z, context=None, steps=300):
    torch.manual_seed(0)
    config = replace(DENSITIES.get(family).config_class(), optim=OptimConfig(steps, 3e-3, 256))
    density = make_density(config, z.shape[1], 0 if context is None else context.shape[1])
    density.fit(z, context)
    return density.eval()


def scene_density(family="mixture", steps=5):
    return SceneDensity((16, 16, 3), 2, 1, family, SceneDensityConfig(optim=OptimConfig(steps, 1e-3, 256)))


def scenes():
    """States ``z``, first images, episodes and commands of three short episodes."""
    generator = np.random.default_rng(0)
    episode, commands = (np.arange(60) // 20).astype(np.int64), np.ones((60, 1))
    first = generator.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    return torch.from_numpy(generator.normal(size=(60, 2))).float(), first, episode, commands


def blobs(count=2000, seed=0):
    """Two clouds, of which the context says which one."""
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(2, (count, 1), generator=generator).float()
    z = 0.1 * torch.randn(count, 2, generator=generator) + torch.cat([which, -which], 1)
    return z, 2 * which - 1


@pytest.mark.parametrize("family", sorted(set(DENSITIES.names()) - {"nearest"}))
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


@pytest.mark.parametrize("family", sorted(set(DENSITIES.names()) - {"mixture"}))
def test_most_climb_their_own_density(family):
    z, context = blobs()
    density = fitted(family, z, context, steps=50)
    torch.testing.assert_close(density.far_log_prob(z, context), density.log_prob(z, context))


def test_a_mixture_climbs_its_convolution_with_a_gaussian():
    z, _ = blobs()
    density = fitted("mixture", z)
    noise = density.config.blur * density.spread * torch.randn(200_000, 2, generator=torch.Generator().manual_seed(0))
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
        make_density(family, 2).fit(z)
    with pytest.raises(DensityError, match="finite"):
        make_density(family, 2).fit(torch.tensor([[0.0, 1.0], [float("nan"), 0.0]]))


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
    density = scene_density(family, 200)
    density.fit_scenes(z, first, episode, commands)
    right, _ = density.score(z, density.context_of(density.scene_of(first)[episode], commands))
    wrong, _ = density.score(z, density.context_of(density.scene_of(first)[(episode + 1) % 20], commands))
    assert float((right > wrong).float().mean()) > 0.95
    with pytest.raises(RegistryError, match="unknown density 'spline'; choose from diagonal-mixture, flow"):
        SceneDensity((16, 16, 3), 2, 1, "spline")


@families
def test_a_density_comes_back_as_it_was_saved(family, tmp_path):
    z, first, episode, commands = scenes()
    density = scene_density(family)
    density.fit_scenes(z, first, episode, commands)
    density.eval().save(tmp_path / "density")
    loaded = SceneDensity.load(tmp_path / "density")
    for one, other in zip(
        density.score(z, density.context_of(density.scene_of(first)[episode], commands)),
        loaded.score(z, loaded.context_of(loaded.scene_of(first)[episode], commands)),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_homing_is_one_where_the_gradient_points_at_the_nearest_state():
    class Home(MixtureDensity):
        def score(self, z, context=None):
            return torch.zeros(len(z)), self.sign * -z

    density, latent = Home(2), np.zeros((50, 2), np.float32)
    reach = np.array([[-1.0, -1.0], [1.0, 1.0]])
    away = displaced(latent, 0.5, reach, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(away, axis=1), 0.5, rtol=1e-5)
    given = np.zeros((1, 4, 4, 3), np.uint8), np.zeros(50, int), np.zeros((50, 1))
    for density.sign in (1.0, -1.0):
        assert score_alignment(density, latent, away, *given) == pytest.approx(density.sign)
    outside = displaced(latent, 2.0, reach, np.random.default_rng(0))
    assert np.isnan(outside).all()


def test_homing_is_towards_the_nearest_state_of_the_same_episode():
    """Two states in the first episode, of which the second is nearer; a nearer one is in another episode."""

    class Still(MixtureDensity):
        def score(self, z, context=None):
            return torch.zeros(len(z)), torch.tensor([[1.0, 0.0]])

    latent = np.array([[-3.0, 0.0], [2.0, 0.0], [0.0, 0.5]], np.float32)
    away = np.array([[0.0, 0.0], [np.nan, 0.0], [np.nan, 0.0]], np.float32)
    given = np.zeros((2, 4, 4, 3), np.uint8), np.array([0, 0, 1]), np.zeros((3, 1))
    assert score_alignment(Still(2), latent, away, *given) == pytest.approx(1)


def test_a_configuration_sets_the_family_and_its_hyperparameters(tmp_path):
    family = MixtureConfig(components=3, widths=(8,))
    density = SceneDensity((16, 16, 3), 2, 1, family, SceneDensityConfig(image_features=4))
    density.standardise(torch.rand(9, 2))
    assert density.family == "mixture" and density.context == 5
    density.save(tmp_path / "density")
    loaded = SceneDensity.load(tmp_path / "density")
    assert loaded.density.config.components == 3 and loaded.config.image_features == 4
    assert make_density(DiagonalMixtureConfig(), 2).covariance == "diagonal"
    stored = make_density(KernelConfig(kernels=10), 2)
    stored.fit(blobs()[0])
    assert stored.points == 10


@pytest.mark.parametrize(
    ("config_class", "wrong"),
    [
        (MixtureConfig, {"components": 0}),
        (MixtureConfig, {"least_variance": 0.0}),
        (MixtureConfig, {"blur": float("nan")}),
        (FlowConfig, {"transforms": 0}),
        (KernelConfig, {"context_bandwidth": 0.0}),
        (SceneDensityConfig, {"states_per_episode": 257}),
    ],
)
def test_a_hyperparameter_out_of_range_is_refused(config_class, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        config_class(**wrong)


def test_a_configuration_of_another_family_is_refused():
    with pytest.raises(ConfigError, match="MixtureDensity needs a MixtureConfig"):
        MixtureDensity(2, 0, FlowConfig())
    with pytest.raises(ConfigError, match="name or the configuration of a density"):
        make_density(OptimConfig(), 2)


def test_a_new_family_is_one_class_with_a_decorator(tmp_path, monkeypatch):
    monkeypatch.setattr(DENSITIES, "_entries", dict(DENSITIES._entries))

    @register_density("test-unit-gaussian")
    class UnitGaussian(Density):
        def standardised_log_prob(self, u, context):
            return torch.distributions.Normal(0.0, 1.0).log_prob(u).sum(1)

        def _learn(self, z, context, seed, callbacks):
            """Learn nothing: mean and spread are known."""

    density = make_density("test-unit-gaussian", 2)
    density.fit(blobs()[0])
    scene = SceneDensity((16, 16, 3), 2, 1, "test-unit-gaussian")
    scene.standardise(blobs()[0])
    scene.save(tmp_path / "density")
    assert isinstance(SceneDensity.load(tmp_path / "density").density, UnitGaussian)


@families
def test_a_card_that_asks_for_more_than_its_weights_is_refused_before_allocation(family, tmp_path):
    density = scene_density(family)
    density.fit_scenes(*scenes())
    density.save(tmp_path / "density")
    card, tensors = read_artifact(tmp_path / "density", "density")
    wide = {"widths": [200_000, 200_000]} if "widths" in card["family_config"] else {}
    for change in (
        {"family_config": card["family_config"] | wide, "points": 10**12},
        {"config": card["config"] | {"image_features": 10**10}},
        {"dim": 10**9},
        {"shape": [8000, 8000, 10**6]},
        {"shape": ["a", 16, 3]},
        {"family": "spline"},
        {"config": {"feature": 8}},
    ):
        write_artifact(tmp_path / "density", "density", card | change, tensors)
        with pytest.raises(ArtifactError):
            SceneDensity.load(tmp_path / "density")


def test_an_altered_density_is_refused(tmp_path):
    density = scene_density()
    density.standardise(torch.rand(9, 2))
    density.save(tmp_path / "density")
    card = tmp_path / "density" / "card.json"
    text = card.read_text()
    card.write_text(text.replace('"blur": 0.8', '"blur": 0.9'))
    assert card.read_text() != text
    with pytest.raises(ArtifactError, match="sha256"):
        SceneDensity.load(tmp_path / "density")


def test_data_of_another_shape_are_refused():
    z, first, episode, commands = scenes()
    with pytest.raises(ObservationError, match="uint8"):
        scene_density().fit_scenes(z, first / 255, episode, commands)
    with pytest.raises(ObservationError, match=r"\(B, 16, 16, 3\)"):
        scene_density().scene_of(first[:, :8])
    with pytest.raises(DensityError, match="ascending"):
        scene_density().fit_scenes(z, first, episode[::-1].copy(), commands)
    with pytest.raises(DensityError, match="as many as images"):
        scene_density().fit_scenes(z, first[:2], episode, commands)
    with pytest.raises(DensityError, match=r"states \(N, 2\)"):
        make_density("mixture", 2).fit(torch.zeros(5, 3))
    with pytest.raises(DensityError, match="contexts"):
        make_density("mixture", 2, 3).fit(torch.rand(5, 2))


@pytest.mark.parametrize("family", ["mixture", "diagonal-mixture", "flow", "kernel", "nearest"])
def test_a_density_that_was_not_fitted_is_refused(family, tmp_path):
    density, scene = make_density(family, 2), SceneDensity((16, 16, 3), 2, 1, family)
    for use in (density.log_prob, density.score, lambda z: scene.log_prob(z, torch.zeros(3, 9))):
        with pytest.raises(DensityError, match="that was fitted, got a new one"):
            use(torch.zeros(3, 2))
    with pytest.raises(DensityError, match="that was fitted, got a new one"):
        scene.save(tmp_path / "density")


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_data_of_other_types_are_cast_or_refused(dtype):
    data = (100 * np.random.default_rng(0).random((20, 2))).astype(dtype)
    for given in (data, torch.from_numpy(data)):
        density = make_density("kernel", 2)
        density.fit(given)
        assert density.log_prob(torch.zeros(1, 2)).dtype == torch.float32
    for wrong in (data.astype(complex), data.tolist(), torch.ones(4, 2, dtype=torch.bool)):
        with pytest.raises(DensityError, match="states must be a tensor or an array of real numbers"):
            make_density("kernel", 2).fit(wrong)


def single_gaussian(**options):
    """Return a mixture of one Gaussian with known centre and width, in data units, of data with a spread of 2."""
    density = MixtureDensity(2, 0, MixtureConfig(components=1, **options))
    density.standardise(2 * torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)))
    gaussian = density.mixture().base.base_dist
    centre = density.mean + density.spread * gaussian.loc[0].detach()
    return density.eval(), centre, float(density.spread), float(gaussian.scale[0, 0].detach())


@pytest.mark.parametrize("blur", [0.0, 0.5, 2.0])
def test_the_blur_widens_a_gaussian_by_as_much_as_it_says(blur):
    """Of one Gaussian, ``∇ log N(z; μ, (σ² + blur²) s²) = (μ − z) / (σ² + blur²) s²``."""
    density, centre, spread, sigma = single_gaussian(blur=blur)
    z = centre + torch.tensor([[3.0, -1.0], [0.5, 4.0]])
    value, gradient = density.score(z)
    torch.testing.assert_close(gradient, (centre - z) / (spread**2 * (sigma**2 + blur**2)))
    expected = torch.distributions.Normal(centre, spread * sigma).log_prob(z).sum(1)
    torch.testing.assert_close(value, expected, atol=1e-4, rtol=1e-4)


def test_only_the_spherical_mixture_is_blurred_unless_it_is_asked_for():
    assert MixtureConfig().blur == 0.8 and DiagonalMixtureConfig().blur == 0.0
    default, _, _, _ = single_gaussian()
    z = torch.tensor([[3.0, -1.0]])
    assert not torch.allclose(default.far_log_prob(z), default.log_prob(z))
