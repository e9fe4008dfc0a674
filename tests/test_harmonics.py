"""Harmonics: orthogonal representations, invariant vectors of symmetric objects, rotations between two vectors."""

import numpy as np
import pytest
import torch
from equiact.envs.lie_groups.registry import group_from_name
from equiact.envs.lie_groups.spherical_harmonics import spherical_harmonics
from equiact.representations.encoders.equivariant_encoder import first_of_class
from equiact.representations.encoders.group_harmonics import Harmonics, HarmonicSearchConfig
from equiact.representations.encoders.harmonic_encoder import HarmonicConfig, HarmonicEncoder
from equiact.representations.learning.config import ConfigError
from equiact.representations.metrics.symmetry_order import count_distinct_poses
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

groups = pytest.mark.parametrize("name", ["SO2", "SO3", "SO2xSO2", "SO2xSO3"])
SPACE = Harmonics(group_from_name("SO3"), 6)


def harmonic_encoder(group, **hyperparameters):
    return HarmonicEncoder((16, 16, 3), group, HarmonicConfig(backbone="strided", **hyperparameters))


def turns(symmetry):
    return torch.from_numpy(Rotation.create_group(symmetry).as_matrix().reshape(-1, 9)).float()


def symmetric(symmetry):
    """Return an invariant vector of these rotations, of length 1 in every degree that has one."""
    drawn = torch.randn(1, SPACE.dim, generator=torch.Generator().manual_seed(0))
    mean = torch.stack([SPACE.act(turn[None], drawn) for turn in turns(symmetry)]).mean(0)
    parts = [(part / part.norm() if part.norm() > 1e-3 else 0 * part).flatten(1) for part in SPACE.split(mean)]
    return torch.cat(parts, 1)


@groups
@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_matrices_are_an_orthogonal_representation(name, seed):
    group = group_from_name(name)
    basis, generator = Harmonics(group, 4), np.random.default_rng(seed)
    g, h = (torch.from_numpy(group.random(generator, 3)) for _ in range(2))
    vectors = torch.from_numpy(generator.normal(size=(3, basis.dim)))
    torch.testing.assert_close(basis.act(g, basis.act(h, vectors)), basis.act(group.compose(g, h), vectors))
    torch.testing.assert_close(basis.act(g, vectors).norm(dim=1), vectors.norm(dim=1))


def test_spherical_harmonics_are_orthonormal():
    """On the corners of the icosahedron, products of degree two or less are integrated exactly."""
    golden = (1 + 5**0.5) / 2
    corners = np.concatenate([np.roll([[0, a, b * golden] for a in (-1, 1) for b in (-1, 1)], s, 1) for s in range(3)])
    points = torch.from_numpy(corners / np.linalg.norm(corners, axis=1, keepdims=True))
    values = torch.cat(spherical_harmonics(points, 2), 1)
    torch.testing.assert_close(values.T @ values / len(points), torch.eye(8, dtype=torch.float64))


@pytest.mark.parametrize(("symmetry", "degrees"), [("T", {3, 4, 6}), ("O", {4, 6}), ("I", {6})])
def test_symmetric_objects_have_invariant_vectors_only_in_these_degrees(symmetry, degrees):
    found = {degree for degree, part in enumerate(SPACE.split(symmetric(symmetry)), 1) if part.norm() > 0.5}
    assert found == degrees


@pytest.mark.parametrize(("symmetry", "order"), [("T", 12), ("O", 24), ("I", 60)])
def test_all_rotations_between_two_views_are_found(symmetry, order):
    group, generator = group_from_name("SO3"), np.random.default_rng(1)
    encoder = harmonic_encoder("SO3", num_poses=80)
    start, done = (torch.from_numpy(group.random(generator, 4)).float() for _ in range(2))
    before = SPACE.act(start, symmetric(symmetry).expand(4, -1))
    after = SPACE.act(done, before)
    actions = encoder.relative_pose({"harmonics": before.numpy()}, {"harmonics": after.numpy()})
    assert count_distinct_poses(group, actions).tolist() == [order] * 4
    expected = group.compose(
        group.compose(done, start)[:, None], group.compose(turns(symmetry)[None], group.inverse(start)[:, None])
    )
    gap = group.squared_distance(torch.from_numpy(actions)[:, :, None], expected[:, None])
    assert gap.amin(2).max() < 1e-3 and gap.amin(1).max() < 1e-3, "all of them, and no others"


@pytest.mark.parametrize("name", ["SO2xSO2", "SO3"])
def test_poses_are_relative_to_the_first_of_their_class(name):
    group, generator = group_from_name(name), np.random.default_rng(0)
    encoder = harmonic_encoder(name, num_poses=4)
    shape = torch.randn(2, encoder.basis.dim, generator=torch.Generator().manual_seed(0))
    pose = torch.from_numpy(group.random(generator, 6)).float()
    which = torch.tensor([0, 1, 0, 1, 1, 0])
    latents = {"class": torch.eye(8)[which], "harmonics": encoder.basis.act(pose, shape[which])}
    relative = group.compose(pose, group.inverse(pose[[0, 1, 0, 1, 1, 0]]))
    gap = group.squared_distance(encoder.poses(latents), relative[:, None])
    assert gap.max() < 1e-3, "objects without a symmetry have one pose"


@pytest.mark.parametrize("name", ["SO2xSO2", "SO3"])
def test_poses_are_not_reliable_if_the_harmonics_match_no_rotation_or_vanish(name):
    encoder = harmonic_encoder(name, num_poses=4)
    group, generator = encoder.acting, torch.Generator().manual_seed(0)
    thing, other = torch.randn(2, encoder.basis.dim, generator=generator)
    pose = torch.from_numpy(group.random(np.random.default_rng(0), 3)).float()
    views = [*encoder.basis.act(pose, thing), other, 1e-3 * other]
    latents = {"class": torch.eye(8)[[0, 0, 0, 0, 1]].numpy(), "harmonics": torch.stack(views).numpy()}
    assert encoder.pose_is_reliable(latents, encoder.poses(latents)).tolist() == [True, True, True, False, False]


def test_a_set_may_be_larger_than_the_circle_is_sampled():
    encoder = harmonic_encoder("SO2", num_poses=100)
    vectors = torch.randn(3, encoder.basis.dim, generator=torch.Generator().manual_seed(0))
    poses = encoder.poses({"class": torch.eye(8)[:3], "harmonics": vectors})
    assert poses.shape == (3, 100, 2)
    assert count_distinct_poses(encoder.acting, poses.numpy()).tolist() == [1, 1, 1]


def test_classes_are_compared_with_the_first_of_their_group():
    """The second equals the first and the third the second, but the third differs from the first."""
    angle = torch.tensor([0.0, 0.6, 1.2])
    classes = torch.stack([angle.cos(), angle.sin()], 1)
    assert first_of_class(classes.numpy()).tolist() == [0, 0, 2]


def test_groups_with_too_many_elements_to_search_are_refused():
    with pytest.raises(ValueError, match="25,000,000 elements, more than 200,000; choose a lower degree"):
        harmonic_encoder("SO3xSO3")


@pytest.mark.parametrize("name", ["R2", "SE2", "SO3xR2", "C4"])
def test_groups_without_harmonics_are_refused(name):
    with pytest.raises(ValueError, match=f"harmonics need SO2, SO3 or a product of them, got {name}"):
        harmonic_encoder(name)


@pytest.mark.parametrize("degree", [1, 6, 12])
def test_on_the_circle_as_many_symmetries_are_found_as_the_highest_degree_has(degree):
    encoder = harmonic_encoder("SO2", num_poses=20, degree=degree)
    vectors = torch.zeros(4, encoder.basis.dim)
    generator = torch.Generator().manual_seed(0)
    vectors[:, -2:] = torch.nn.functional.normalize(torch.randn(4, 2, generator=generator), dim=1)
    seen = [vectors + 0.02 * torch.randn(vectors.shape, generator=generator) for _ in range(2)]
    actions = encoder.relative_pose(*({"harmonics": each} for each in seen))
    assert count_distinct_poses(encoder.acting, actions.numpy()).tolist() == [degree] * 4


def test_the_search_is_configured():
    """With a grid so coarse that it misses the maximum, the refinement finds it; without refinement it does not."""
    group, errors = group_from_name("SO2"), []
    vectors = torch.randn(5, Harmonics(group, 3).dim, generator=torch.Generator().manual_seed(0))
    g = group.exp(torch.full((5, 1), 0.05))
    for refinements in (0, 4):
        basis = Harmonics(group, 3, HarmonicSearchConfig(samples_per_period=4, refinements=refinements))
        found, _ = basis.find_elements(vectors, basis.act(g, vectors), 1, 0.4)
        errors.append(float(group.squared_distance(found[:, 0], g).max()))
    assert errors[0] > 1e-3 > 1e-6 > errors[1]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_poses": 4_000_000}, "num_poses must be at least 1 and at most 10000, got 4000000"),
        ({"degree": 0}, "degree must be at least 1 and at most 30, got 0"),
        ({"match_cosine": float("nan")}, "match_cosine must be at least 0 and at most 1, got nan"),
        ({"class_dim": 10**6}, "class_dim must be at least 2 and at most 4096, got 1000000"),
    ],
)
def test_values_out_of_range_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        HarmonicConfig(**wrong)


@pytest.mark.parametrize("name", ["SO2", "SO3"])
def test_where_no_cosine_reaches_the_smallest_one_the_highest_is_returned(name):
    """Vectors of different objects match nowhere: the best element is found nevertheless, and repeated."""
    basis = Harmonics(group_from_name(name), 3)
    a, b = torch.randn(2, 20, basis.dim, generator=torch.Generator().manual_seed(0))
    expected, expected_cosine = basis.find_elements(a, b, 1, -1.0)
    assert 0.1 < expected_cosine.median() < 0.9
    found, cosine = basis.find_elements(a, b, 3, 0.99)
    torch.testing.assert_close(cosine, expected_cosine.expand(-1, 3))
    torch.testing.assert_close(found, expected.expand(-1, 3, -1))
    drawn = torch.from_numpy(basis.group.random(np.random.default_rng(0), 2000)).float()
    acted = basis.act(drawn[:, None], a[None])
    best = torch.nn.functional.cosine_similarity(acted, b[None].expand_as(acted), dim=2).amax(0)
    assert (cosine[:, 0] > best - 0.05).all(), "no drawn element is much better"
