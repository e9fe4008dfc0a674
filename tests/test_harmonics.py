"""Harmonics: matrices that multiply as the rotations do, vectors of symmetric things, and rotations found from them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from envs.groups import group_from_name
from representations.acted import first_of_class
from representations.equivariance import distinct
from representations.harmonic_encoder import HarmonicEncoder
from representations.harmonics import Harmonics, spherical_harmonics

groups = pytest.mark.parametrize("name", ["SO2", "SO3", "SO2xSO2", "SO2xSO3"])
SPACE = Harmonics(group_from_name("SO3"), 6)


def turns(symmetry):
    return torch.from_numpy(Rotation.create_group(symmetry).as_matrix().reshape(-1, 9)).float()


def symmetric(symmetry):
    """A vector that these rotations leave as it is, of length 1 in every degree that has one."""
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
    """On the icosahedron's corners, products of degree two or less are summed exactly."""
    golden = (1 + 5**0.5) / 2
    corners = np.concatenate([np.roll([[0, a, b * golden] for a in (-1, 1) for b in (-1, 1)], s, 1) for s in range(3)])
    points = torch.from_numpy(corners / np.linalg.norm(corners, axis=1, keepdims=True))
    values = torch.cat(spherical_harmonics(points, 2), 1)
    torch.testing.assert_close(values.T @ values / len(points), torch.eye(8, dtype=torch.float64))


@pytest.mark.parametrize(("symmetry", "degrees"), [("T", {3, 4, 6}), ("O", {4, 6}), ("I", {6})])
def test_symmetric_things_have_harmonics_of_these_degrees_alone(symmetry, degrees):
    found = {degree for degree, part in enumerate(SPACE.split(symmetric(symmetry)), 1) if part.norm() > 0.5}
    assert found == degrees


@pytest.mark.parametrize(("symmetry", "order"), [("T", 12), ("O", 24), ("I", 60)])
def test_all_rotations_that_lead_from_one_view_to_another_are_found(symmetry, order):
    group, generator = group_from_name("SO3"), np.random.default_rng(1)
    encoder = HarmonicEncoder((16, 16, 3), "SO3", "strided", elements=80)
    start, done = (torch.from_numpy(group.random(generator, 4)).float() for _ in range(2))
    before = SPACE.act(start, symmetric(symmetry).expand(4, -1))
    after = SPACE.act(done, before)
    actions = encoder.between({"harmonics": before.numpy()}, {"harmonics": after.numpy()})
    assert distinct(group, actions).tolist() == [order] * 4
    expected = group.compose(
        group.compose(done, start)[:, None], group.compose(turns(symmetry)[None], group.inverse(start)[:, None])
    )
    gap = group.squared_distance(torch.from_numpy(actions)[:, :, None], expected[:, None])
    assert gap.amin(2).max() < 1e-3 and gap.amin(1).max() < 1e-3, "all of them, and no others"


@pytest.mark.parametrize("name", ["SO2xSO2", "SO3"])
def test_poses_are_relative_to_the_first_of_their_class(name):
    group, generator = group_from_name(name), np.random.default_rng(0)
    encoder = HarmonicEncoder((16, 16, 3), name, "strided", elements=4)
    shape = torch.randn(2, encoder.basis.dim, generator=torch.Generator().manual_seed(0))
    pose = torch.from_numpy(group.random(generator, 6)).float()
    which = torch.tensor([0, 1, 0, 1, 1, 0])
    latents = {"class": torch.eye(8)[which], "harmonics": encoder.basis.act(pose, shape[which])}
    relative = group.compose(pose, group.inverse(pose[[0, 1, 0, 1, 1, 0]]))
    gap = group.squared_distance(encoder.poses(latents), relative[:, None])
    assert gap.max() < 1e-3, "things without a symmetry have one pose"


@pytest.mark.parametrize("name", ["SO2xSO2", "SO3"])
def test_what_is_no_turned_view_of_its_class_or_nothing_tells_no_pose(name):
    encoder = HarmonicEncoder((16, 16, 3), name, "strided", elements=4)
    group, generator = encoder.acting, torch.Generator().manual_seed(0)
    thing, other = torch.randn(2, encoder.basis.dim, generator=generator)
    pose = torch.from_numpy(group.random(np.random.default_rng(0), 3)).float()
    views = [*encoder.basis.act(pose, thing), other, 1e-3 * other]
    latents = {"class": torch.eye(8)[[0, 0, 0, 0, 1]].numpy(), "harmonics": torch.stack(views).numpy()}
    assert encoder.told(latents, encoder.poses(latents)).tolist() == [True, True, True, False, False]


def test_a_set_may_be_larger_than_the_circle_is_sampled():
    encoder = HarmonicEncoder((16, 16, 3), "SO2", "strided", elements=100)
    vectors = torch.randn(3, encoder.basis.dim, generator=torch.Generator().manual_seed(0))
    poses = encoder.poses({"class": torch.eye(8)[:3], "harmonics": vectors})
    assert poses.shape == (3, 100, 2)
    assert distinct(encoder.acting, poses.numpy()).tolist() == [1, 1, 1]


def test_a_class_that_drifts_has_one_reference():
    """The second is like the first and the third like the second, but the third is unlike the first."""
    angle = torch.tensor([0.0, 0.6, 1.2])
    classes = torch.stack([angle.cos(), angle.sin()], 1)
    assert first_of_class(classes.numpy()).tolist() == [0, 0, 2]


def test_groups_with_too_many_elements_to_search_are_refused():
    with pytest.raises(ValueError, match="25,000,000 elements, more than 200,000; choose a lower degree"):
        HarmonicEncoder((16, 16, 3), "SO3xSO3", "strided")


@pytest.mark.parametrize("name", ["R2", "SE2", "SO3xR2", "C4"])
def test_groups_without_harmonics_are_refused(name):
    with pytest.raises(ValueError, match=f"harmonics are known of SO2, SO3 and their products, not of {name}"):
        HarmonicEncoder((16, 16, 3), name, "strided")


@pytest.mark.parametrize("degree", [1, 6, 12])
def test_on_the_circle_as_many_symmetries_are_found_as_the_highest_degree_has(degree):
    encoder = HarmonicEncoder((16, 16, 3), "SO2", "strided", elements=20, degree=degree)
    vectors = torch.zeros(4, encoder.basis.dim)
    generator = torch.Generator().manual_seed(0)
    vectors[:, -2:] = torch.nn.functional.normalize(torch.randn(4, 2, generator=generator), dim=1)
    seen = [vectors + 0.02 * torch.randn(vectors.shape, generator=generator) for _ in range(2)]
    actions = encoder.between(*({"harmonics": each} for each in seen))
    assert distinct(encoder.acting, actions.numpy()).tolist() == [degree] * 4
