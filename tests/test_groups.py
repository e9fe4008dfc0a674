"""Groups: the axioms, the metric, gradients, and the messages for arrays that are no elements."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from envs.groups import (
    NAMED,
    Cyclic,
    Group,
    GroupError,
    PlaneMotions,
    PlaneRotations,
    Product,
    SpaceRotations,
    Translations,
)
from envs.groups import group_from_name as named

NAMES = [*NAMED, "R1", "R2", "R3", "C2", "C5", "SO2xSO2", "R2xSO2", "R3xSO3xC4"]
# What a group needs is imported at its first use, which no example's time should be measured by.
settings.register_profile("groups", deadline=None)
settings.load_profile("groups")

groups = pytest.mark.parametrize("group", [named(n) for n in NAMES], ids=NAMES)
connected = pytest.mark.parametrize(
    "group", [named(n) for n in NAMES if "C" not in n], ids=[n for n in NAMES if "C" not in n]
)
shapes = st.sampled_from([(), (4,), (2, 3)])
near_and_far = st.sampled_from([0.0, np.pi, -np.pi, np.pi / 2, 1e-9, np.pi - 1e-9]) | st.floats(-100, 100)
"""Coordinates of tangents: none, half and quarter turns and nearly so, many turns, large translations."""


def batches(group, count):
    """``count`` batches of elements of one shape."""

    def elements(shape):
        tangents = arrays(float, (*shape, group.tangent_dim), elements=near_and_far)
        return st.tuples(*[tangents.map(group.exp)] * count)

    return shapes.flatmap(elements)


def assert_same(a, b, atol=1e-9):
    np.testing.assert_allclose(a, b, rtol=0, atol=atol)


@groups
@given(data=st.data())
def test_composition_is_associative(group, data):
    g, h, k = data.draw(batches(group, 3))
    assert group.compose(g, h).shape == g.shape
    assert_same(group.compose(group.compose(g, h), k), group.compose(g, group.compose(h, k)))


@groups
@given(data=st.data())
def test_identity_changes_nothing(group, data):
    (g,) = data.draw(batches(group, 1))
    assert group.identity().shape == (group.dim,)
    assert_same(group.compose(group.identity(), g), g)
    assert_same(group.compose(g, group.identity()), g)


@groups
@given(data=st.data())
def test_inverse_undoes(group, data):
    (g,) = data.draw(batches(group, 1))
    assert_same(group.compose(g, group.inverse(g)), np.broadcast_to(group.identity(), g.shape))
    assert_same(group.compose(group.inverse(g), g), np.broadcast_to(group.identity(), g.shape))


@groups
@given(data=st.data())
def test_what_comes_out_is_an_element(group, data):
    g, h = data.draw(batches(group, 2))
    some = group.random(np.random.default_rng(0), 20)
    for each in (g, group.compose(g, h), group.inverse(g), group.identity(), some):
        group.validate(each)


@connected
def test_what_a_network_puts_out_is_brought_onto_the_group(group):
    group.validate(group.project(np.random.default_rng(0).normal(size=(1000, group.dim))))


@groups
@given(data=st.data())
def test_exp_undoes_log(group, data):
    """At half a turn too, where two tangents lead to the same."""
    (g,) = data.draw(batches(group, 1))
    assert group.log(g).shape == (*g.shape[:-1], group.tangent_dim)
    assert_same(group.exp(group.log(g)), g, 1e-6)
    zero = np.zeros((*g.shape[:-1], group.tangent_dim))
    assert_same(group.exp(zero), np.broadcast_to(group.identity(), g.shape))


@connected
@given(data=st.data(), s=st.floats(-2, 2), t=st.floats(-2, 2))
def test_exp_of_multiples_of_one_tangent_composes(group, data, s, t):
    tangent = data.draw(arrays(float, (3, group.tangent_dim), elements=st.floats(-5, 5)))
    assert_same(group.compose(group.exp(s * tangent), group.exp(t * tangent)), group.exp((s + t) * tangent))


@connected
@given(data=st.data())
def test_log_undoes_exp_within_half_a_turn(group, data):
    tangent = data.draw(arrays(float, (5, group.tangent_dim), elements=st.floats(-1.7, 1.7)))
    assert_same(group.log(group.exp(tangent)), tangent, 1e-7)


@groups
@given(data=st.data())
def test_distance_is_left_invariant_symmetric_and_positive(group, data):
    g, h, k = data.draw(batches(group, 3))
    distance = group.squared_distance(g, h)
    assert np.shape(distance) == g.shape[:-1]
    assert_same(group.squared_distance(group.compose(k, g), group.compose(k, h)), distance, 1e-8)
    np.testing.assert_array_equal(distance, group.squared_distance(h, g))
    np.testing.assert_array_equal(group.squared_distance(g, g), np.zeros(g.shape[:-1]))
    assert (np.asarray(distance) >= np.abs(g - h).max(-1) ** 2 * (1 - 1e-9)).all()


def test_distances_are_those_of_the_papers():
    assert Translations(2).squared_distance(np.array([1.0, 1.0]), np.array([4.0, 5.0])) == 25.0
    turns, angle = PlaneRotations(), 0.7
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    frobenius = ((matrix - np.eye(2)) ** 2).sum()
    assert turns.squared_distance(turns.exp(np.array([angle])), turns.identity()) == pytest.approx(frobenius)
    space = SpaceRotations()
    assert space.squared_distance(space.exp(np.array([0.0, 0.0, angle])), space.identity()) == pytest.approx(frobenius)


def test_rotation_vectors_turn_about_their_axis():
    turned = SpaceRotations().exp(np.array([0.0, 0.0, np.pi / 2])).reshape(3, 3) @ np.array([1.0, 0.0, 0.0])
    assert_same(turned, [0.0, 1.0, 0.0])


def test_a_robot_moves_in_its_own_frame_or_in_the_worlds():
    motions = PlaneMotions()
    pose = motions.exp(np.array([0.0, 0.0, np.pi / 2]))  # at the origin, facing along y
    forward = np.array([1.0, 0.0, 1.0, 0.0])
    assert_same(motions.compose(pose, forward)[:2], [0.0, 1.0])
    assert_same(motions.compose(forward, pose)[:2], [1.0, 0.0])


def test_a_cyclic_group_has_its_order():
    group = Cyclic(6)
    step = group.exp(np.array([2 * np.pi / 6]))
    powers = [group.identity()]
    for _ in range(6):
        powers.append(group.compose(powers[-1], step))
    assert_same(powers[6], group.identity())
    assert len(np.unique(np.round(powers[:6], 6), axis=0)) == 6
    assert_same(group.exp(np.array([1.2])), step)


@groups
def test_tensors_give_the_same_as_arrays(group):
    generator = np.random.default_rng(0)
    g, h = (group.random(generator, 5) for _ in range(2))
    raw, tangent = generator.normal(size=(5, group.dim)), group.log(g)
    a, b = torch.from_numpy(g), torch.from_numpy(h)
    for tensor, array in [
        (group.compose(a, b), group.compose(g, h)),
        (group.inverse(a), group.inverse(g)),
        (group.exp(torch.from_numpy(tangent)), group.exp(tangent)),
        (group.log(a), group.log(g)),
        (group.squared_distance(a, b), group.squared_distance(g, h)),
        (group.project(torch.from_numpy(raw)), group.project(raw)),
    ]:
        assert isinstance(tensor, torch.Tensor) and isinstance(array, np.ndarray)
        assert_same(tensor.numpy(), array)


def half_turn(group):
    """As far from the identity as angles go, and at the origin."""
    tangent = np.zeros(group.tangent_dim)
    if isinstance(group, Product):
        return np.concatenate([half_turn(factor) for factor in group.factors])
    if not isinstance(group, Translations):
        tangent[-1] = np.pi
    return group.exp(tangent)


@groups
def test_gradients_are_finite_everywhere(group):
    """At the identity, at half a turn, where two elements are the same, and where a network's output vanishes."""
    for place in (group.identity(), half_turn(group), *group.random(np.random.default_rng(3), 2)):
        g = torch.tensor(place, requires_grad=True)
        tangent = group.log(g)
        assert torch.autograd.grad(tangent.sum(), g)[0].isfinite().all()
        t = tangent.detach().requires_grad_()
        moved = group.compose(group.exp(t), torch.tensor(place))
        assert torch.autograd.grad(group.squared_distance(moved, torch.tensor(place)), t)[0].isfinite().all()
    raw = torch.zeros(3, group.dim, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad(group.project(raw).sum(), raw)[0].isfinite().all()


@connected
def test_projection_reaches_every_element_without_a_jump(group):
    """Along a whole turn: small steps of raw numbers are small steps in the group."""
    angles = np.linspace(-np.pi, np.pi, 400)
    loop = group.exp(angles[:, None] * np.eye(group.tangent_dim)[-1])
    projected = group.project(loop)
    assert_same(projected, loop, 1e-6)
    assert np.abs(np.diff(projected, axis=0)).max() < 0.02


@groups
@given(data=st.data())
def test_what_is_relaxed_is_acted_on_as_elements_are(group, data):
    """The action, the distance and the projection commute, and nothing but elements is without strain."""
    g, h = data.draw(batches(group, 2))
    raw = group.relax(np.random.default_rng(data.draw(st.integers(0, 1000))).normal(size=(2, *g.shape)))
    moved = group.compose(g, raw)
    assert_same(group.project(moved), group.compose(g, group.project(raw)), 1e-6)
    assert_same(group.squared_distance(moved[0], moved[1]), group.squared_distance(raw[0], raw[1]), 1e-8)
    assert_same(group.strain(moved), group.strain(raw))
    assert_same(group.strain(group.relax(h)), np.zeros(h.shape[:-1]))
    if not isinstance(group, Translations):
        assert (group.strain(raw) > 0).all()


def test_batches_broadcast_against_one_element():
    group = Translations(2)
    batch = np.arange(6.0).reshape(3, 2)
    assert group.compose(np.array([10.0, 20.0]), batch).tolist() == [[10, 21], [12, 23], [14, 25]]
    product = named("R2xSO3")
    assert product.compose(product.identity(), product.random(np.random.default_rng(0), 7)).shape == (7, 11)


def test_tensors_have_gradients():
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


@pytest.mark.parametrize(
    ("name", "bad", "why"),
    [
        ("SO2", [1.0, 1.0], "cos² + sin² must be 1"),
        ("SE2", [3.0, 4.0, 0.5, 0.0], "cos² + sin² must be 1"),
        ("C4", [np.cos(0.3), np.sin(0.3)], "multiple of the full turn"),
        ("SO3", [*(2 * np.eye(3)).flat], "orthogonal with determinant 1"),
        ("SO3", [*np.diag([1.0, 1.0, -1.0]).flat], "orthogonal with determinant 1"),
        ("R2xSO2", [3.0, 4.0, 0.0, 0.0], "SO2: cos² + sin² must be 1"),
    ],
)
def test_validate_refuses_what_is_off_the_group(name, bad, why):
    with pytest.raises(GroupError, match=f"is no element of {name}: .*{re.escape(why)}"):
        named(name).validate(np.array([named(name).identity(), bad]))


def test_validate_returns_the_array():
    assert Translations(2).validate([[1.0, 2.0]]).tolist() == [[1.0, 2.0]]


@groups
def test_a_group_is_found_by_the_name_it_gives_itself(group):
    assert isinstance(group, Group)
    assert named(group.name) == group


def test_a_group_of_ones_own_may_have_any_name(monkeypatch):
    group = Cyclic(6)
    monkeypatch.setitem(NAMED, "Hexagons", group)
    assert named("Hexagons") is group


@pytest.mark.parametrize("name", ["", "R", "R0", "r2", "R2 ", "R-1", "SO4", "R2\n", "C", "R2x", "xSO2"])
def test_unknown_names_are_refused(name):
    with pytest.raises(GroupError, match="unknown group"):
        named(name)
