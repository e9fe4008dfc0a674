"""Groups: the axioms, the metric, and the messages for arrays that are no elements."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from envs.groups import Group, GroupError, Translations, group_from_name

DIMS = (1, 2, 3)
coordinates = st.floats(-1e3, 1e3, allow_subnormal=False)


@st.composite
def group_and_elements(draw, count):
    """A group and ``count`` batches of its elements, of the same batch shape."""
    dim = draw(st.sampled_from(DIMS))
    shape = (*draw(st.sampled_from([(), (4,), (2, 3)])), dim)
    return Translations(dim), [draw(arrays(np.float64, shape, elements=coordinates)) for _ in range(count)]


def assert_same(a, b):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)


@given(group_and_elements(3))
def test_composition_is_associative(case):
    group, (g, h, k) = case
    assert_same(group.compose(group.compose(g, h), k), group.compose(g, group.compose(h, k)))


@given(group_and_elements(1))
def test_identity_changes_nothing(case):
    group, (g,) = case
    assert group.identity().shape == (group.dim,)
    assert_same(group.compose(group.identity(), g), g)
    assert_same(group.compose(g, group.identity()), g)


@given(group_and_elements(1))
def test_inverse_undoes(case):
    group, (g,) = case
    assert_same(group.compose(g, group.inverse(g)), np.broadcast_to(group.identity(), g.shape))
    assert_same(group.compose(group.inverse(g), g), np.broadcast_to(group.identity(), g.shape))


@given(group_and_elements(2))
def test_exp_and_log_are_inverse(case):
    group, (g, tangent) = case
    assert_same(group.exp(group.log(g)), g)
    assert_same(group.log(group.exp(tangent)), tangent)
    assert_same(group.exp(np.zeros_like(tangent)), np.broadcast_to(group.identity(), g.shape))


@given(group_and_elements(1), st.floats(-2, 2), st.floats(-2, 2))
def test_exp_of_multiples_of_one_tangent_composes(case, s, t):
    group, (tangent,) = case
    assert_same(group.compose(group.exp(s * tangent), group.exp(t * tangent)), group.exp((s + t) * tangent))


@given(group_and_elements(3))
def test_distance_is_left_invariant_symmetric_and_positive(case):
    group, (g, h, k) = case
    distance = group.squared_distance(g, h)
    moved = group.squared_distance(group.compose(k, g), group.compose(k, h))
    assert distance.shape == g.shape[:-1]
    np.testing.assert_allclose(moved, distance, rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(distance, group.squared_distance(h, g))
    np.testing.assert_array_equal(group.squared_distance(g, g), np.zeros(g.shape[:-1]))
    assert (distance >= np.abs(g - h).max(-1) ** 2 * (1 - 1e-9)).all()


def test_distance_is_euclidean():
    assert Translations(2).squared_distance(np.array([1.0, 1.0]), np.array([4.0, 5.0])) == 25.0


def test_batches_broadcast_against_one_element():
    group = Translations(2)
    batch = np.arange(6.0).reshape(3, 2)
    assert group.compose(np.array([10.0, 20.0]), batch).tolist() == [[10, 21], [12, 23], [14, 25]]


def test_tensors_give_tensors_with_gradients():
    group = Translations(2)
    g = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    loss = group.squared_distance(group.compose(group.inverse(g), g * 2), torch.zeros(2)).sum()
    loss.backward()
    assert loss.item() == 30.0
    assert g.grad.tolist() == [[2.0, 4.0], [6.0, 8.0]]


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((4, 1)), np.float64(1.0)])
def test_validate_refuses_wrong_shapes(bad):
    with pytest.raises(GroupError, match=r"push must have shape \(\.\.\., 2\) to be an element of R2, got \("):
        Translations(2).validate(bad, "push")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_validate_refuses_what_is_not_finite(bad):
    with pytest.raises(GroupError, match=f"action must be finite to be an element of R2, got {bad}"):
        Translations(2).validate(np.array([[0.0, 1.0], [bad, 0.0]]))


def test_validate_returns_the_array():
    assert Translations(2).validate([[1.0, 2.0]]).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("dim", [1, 2, 3, 12])
def test_a_group_is_found_by_the_name_it_gives_itself(dim):
    group = group_from_name(Translations(dim).name)
    assert isinstance(group, Group)
    assert group == Translations(dim)


@pytest.mark.parametrize("name", ["", "R", "R0", "r2", "R2 ", "R-1", "SO3", "R2\n"])
def test_unknown_names_are_refused(name):
    with pytest.raises(GroupError, match="unknown group"):
        group_from_name(name)
