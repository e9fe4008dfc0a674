"""Contract of every registered group: axioms, metric, gradients, representations, and errors for invalid arrays."""

import re

import numpy as np
import pytest
import torch
from equiact.envs.lie_groups.cyclic import Cyclic
from equiact.envs.lie_groups.group import Group, GroupError
from equiact.envs.lie_groups.products import Product
from equiact.envs.lie_groups.registry import GROUPS, register_group
from equiact.envs.lie_groups.registry import group_from_name as named
from equiact.envs.lie_groups.rigid_motions import SE2
from equiact.envs.lie_groups.rotations import SO2, SO3
from equiact.envs.lie_groups.translations import Translations
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

FAMILIES = {"R<n>": ["R1", "R2", "R3"], "C<n>": ["C2", "C5"]}
"""Members of the registered families that are tested; the third of any other."""
REGISTERED = [member for name in GROUPS.names() for member in FAMILIES.get(name, [name.replace("<n>", "3")])]
NAMES = [*REGISTERED, "SO2xSO2", "R2xSO2", "R3xSO3xC4"]
# Some groups import a library at their first use, which should not count as time of an example.
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
def test_identity_is_neutral(group, data):
    (g,) = data.draw(batches(group, 1))
    assert group.identity().shape == (group.dim,)
    assert_same(group.compose(group.identity(), g), g)
    assert_same(group.compose(g, group.identity()), g)


@groups
@given(data=st.data())
def test_inverse_gives_the_identity(group, data):
    (g,) = data.draw(batches(group, 1))
    assert_same(group.compose(g, group.inverse(g)), np.broadcast_to(group.identity(), g.shape))
    assert_same(group.compose(group.inverse(g), g), np.broadcast_to(group.identity(), g.shape))


@groups
@given(data=st.data())
def test_results_are_elements(group, data):
    g, h = data.draw(batches(group, 2))
    some = group.random(np.random.default_rng(0), 20)
    for each in (g, group.compose(g, h), group.inverse(g), group.identity(), some):
        group.validate(each)


@connected
def test_project_returns_elements(group):
    group.validate(group.project(np.random.default_rng(0).normal(size=(1000, group.dim))))


@groups
@given(data=st.data())
def test_exp_undoes_log(group, data):
    """Also at half a turn, where two tangent vectors have the same exponential."""
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
    turns, angle = SO2(), 0.7
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    frobenius = ((matrix - np.eye(2)) ** 2).sum()
    assert turns.squared_distance(turns.exp(np.array([angle])), turns.identity()) == pytest.approx(frobenius)
    space = SO3()
    assert space.squared_distance(space.exp(np.array([0.0, 0.0, angle])), space.identity()) == pytest.approx(frobenius)


def test_rotation_vectors_rotate_about_their_axis():
    turned = SO3().exp(np.array([0.0, 0.0, np.pi / 2])).reshape(3, 3) @ np.array([1.0, 0.0, 0.0])
    assert_same(turned, [0.0, 1.0, 0.0])


def test_a_robot_moves_in_its_own_frame_or_in_the_worlds():
    motions = SE2()
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
    """Return the rotation by half a turn, or the identity of translations."""
    tangent = np.zeros(group.tangent_dim)
    if isinstance(group, Product):
        return np.concatenate([half_turn(factor) for factor in group.factors])
    if not isinstance(group, Translations):
        tangent[-1] = np.pi
    return group.exp(tangent)


@groups
def test_gradients_are_finite_everywhere(group):
    """At the identity, at half a turn, for equal elements, and for a network's output of zero."""
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
def test_projection_is_continuous_and_reaches_every_element(group):
    """Along a full rotation, small steps of raw numbers are small steps in the group."""
    angles = np.linspace(-np.pi, np.pi, 400)
    loop = group.exp(angles[:, None] * np.eye(group.tangent_dim)[-1])
    projected = group.project(loop)
    assert_same(projected, loop, 1e-6)
    assert np.abs(np.diff(projected, axis=0)).max() < 0.02


@groups
@given(data=st.data())
def test_relaxed_elements_transform_like_elements(group, data):
    """The action commutes with the projection and preserves distance and penalty; only elements have penalty zero."""
    g, h = data.draw(batches(group, 2))
    raw = group.relax(np.random.default_rng(data.draw(st.integers(0, 1000))).normal(size=(2, *g.shape)))
    moved = group.compose(g, raw)
    assert_same(group.project(moved), group.compose(g, group.project(raw)), 1e-6)
    assert_same(group.squared_distance(moved[0], moved[1]), group.squared_distance(raw[0], raw[1]), 1e-8)
    assert_same(group.constraint_penalty(moved), group.constraint_penalty(raw))
    assert_same(group.constraint_penalty(group.relax(h)), np.zeros(h.shape[:-1]))
    if not isinstance(group, Translations):
        assert (group.constraint_penalty(raw) > 0).all()


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
def test_validate_refuses_infinite_and_nan_coordinates(bad):
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
def test_validate_refuses_coordinates_of_no_element(name, bad, why):
    with pytest.raises(GroupError, match=f"is no element of {name}: .*{re.escape(why)}"):
        named(name).validate(np.array([named(name).identity(), bad]))


def test_validate_returns_the_array():
    assert Translations(2).validate([[1.0, 2.0]]).tolist() == [[1.0, 2.0]]


@groups
def test_a_group_is_found_by_the_name_it_gives_itself(group):
    assert isinstance(group, Group)
    assert named(group.name) == group


def test_a_group_of_ones_own_may_have_any_name():
    @register_group("Hexagons")
    def hexagons():
        return Cyclic(6)

    @register_group("Dials<n>")
    def dials(order):
        return Cyclic(order)

    assert named("Hexagons") == Cyclic(6), "an x in a name is no product"
    assert named("R2xHexagonsxDials12") == Product((Translations(2), Cyclic(6), Cyclic(12)))
    with pytest.raises(ValueError, match="'Hexagons' is already registered"):
        register_group("Hexagons")(SO2)


@groups
def test_the_representation_is_faithful_and_multiplies(group):
    generator = np.random.default_rng(0)
    g, h = (group.random(generator, 6) for _ in range(2))
    matrices = group.representation(g)
    assert matrices.shape == (6, *2 * matrices.shape[-1:])
    assert_same(matrices @ group.representation(h), group.representation(group.compose(g, h)))
    assert_same(group.representation(group.identity()), np.eye(matrices.shape[-1]))
    assert_same(group.representation(torch.from_numpy(g)).numpy(), matrices)
    differ = np.abs(matrices[:, None] - matrices).max((-1, -2)) > 1e-9
    np.testing.assert_array_equal(differ, np.abs(g[:, None] - g).max(-1) > 1e-9)


@pytest.mark.parametrize("name", ["SO2", "SO3", "C5", "R1", "R3"])
def test_the_action_on_space_is_an_action(name):
    group, generator = named(name), np.random.default_rng(0)
    g, h = (group.random(generator, 6) for _ in range(2))
    points = generator.normal(size=(6, 3, 1))

    def act(element, points):
        matrix = group.euclidean_action(element)
        return matrix[..., :3] @ points + matrix[..., 3:]

    assert_same(act(g, act(h, points)), act(group.compose(g, h), points))
    assert_same(group.euclidean_action(torch.from_numpy(g)).numpy(), group.euclidean_action(g))


@pytest.mark.parametrize("name", ["SO2", "SO3"])
def test_harmonics_are_orthogonal_and_multiply(name):
    group, generator = named(name), np.random.default_rng(0)
    g, h = (torch.from_numpy(group.random(generator, 4)) for _ in range(2))
    ones, others, products = (group.harmonic_matrices(each, 4) for each in (g, h, group.compose(g, h)))
    assert [len(matrix[0]) for matrix in ones] == group.harmonic_dims(4)
    for one, other, both in zip(ones, others, products, strict=True):
        assert_same((one @ other).numpy(), both.numpy())
        assert_same((one @ one.mT).numpy(), np.broadcast_to(np.eye(one.shape[-1]), one.shape))


@pytest.mark.parametrize(("name", "count", "gap"), [("SO2", 12, 0.4), ("SO3", 500, 0.8)])
def test_a_grid_covers_the_group(name, count, gap):
    group = named(name)
    grid = group.validate(group.grid(count))
    assert grid.shape == (count, group.dim)
    some = group.random(np.random.default_rng(0), 100)
    assert group.squared_distance(some[:, None], grid).min(1).max() < gap


@pytest.mark.parametrize(
    ("name", "use", "message"),
    [
        ("SE2", lambda group, g: group.euclidean_action(g), "the group SE2 has no euclidean_action; groups that have"),
        ("R6", lambda group, g: group.euclidean_action(g), "R6 does not act on points of space; choose R1, R2 or R3"),
        ("C4", lambda group, g: group.grid(3), "the group C4 has no grid.*SO2 and SO3.*implement Cyclic.grid"),
        ("R2", lambda group, g: group.harmonic_dims(3), "the group R2 has no harmonic_dims"),
        ("SO2xSO2", lambda group, g: group.harmonic_matrices(g, 3), "has no harmonic_matrices"),
    ],
)
def test_operations_that_a_group_lacks_are_named(name, use, message):
    with pytest.raises(GroupError, match=message):
        use(named(name), named(name).identity())


def test_a_group_without_a_representation_says_which_have_one():
    class Scalings(Translations):
        name = "Scalings"
        representation = Group.representation

    with pytest.raises(GroupError, match=r"group Scalings has no representation.*SO2, SO3, SE2.*Scalings.represent"):
        Scalings(1).representation(np.zeros(1))


def test_properties_describe_groups():
    def having(what):
        return {name for name in NAMES if getattr(named(name), what)}

    assert having("is_torus") == {"SO2", "C2", "C5", "SO2xSO2"}
    assert having("is_rotation_group") == {"SO2", "SO3"}
    assert having("is_translation_group") == {"R1", "R2", "R3"}
    assert [factor.name for factor in named("R3xSO3xC4").factors] == ["R3", "SO3", "C4"]
    assert named("SE2").factors == (SE2(),)


@pytest.mark.parametrize("name", ["SO3", "SE2", "R3xSO3xC4"])
def test_order_matters_where_a_group_is_not_abelian(name):
    group, generator = named(name), np.random.default_rng(0)
    g, h = (group.random(generator, 6) for _ in range(2))
    assert (group.squared_distance(group.compose(g, h), group.compose(h, g)) > 1e-3).all()


@pytest.mark.parametrize("name", ["", "R", "R0", "r2", "R2 ", "R-1", "SO4", "R2\n", "C", "R2x", "xSO2"])
def test_unknown_names_are_refused(name):
    with pytest.raises(GroupError, match="unknown group"):
        named(name)


@pytest.mark.parametrize("name", ["R2", "SO2", "C5", "SO3", "SE2", "SO2xR2"])
def test_what_is_no_tangent_vector_is_refused(name):
    group = named(name)
    wide = np.zeros((3, group.tangent_dim + 1))
    for tangent in (wide, torch.tensor(wide), np.zeros(()), np.zeros((3, 0))):
        with pytest.raises(GroupError, match=r"tangent vectors of .* must have shape \(\.\.\., \d\), got"):
            group.exp(tangent)
    for value in (np.inf, np.nan):
        with pytest.raises(GroupError, match=r"tangent vectors of .* must be finite, got"):
            group.exp(np.full((3, group.tangent_dim), value))
