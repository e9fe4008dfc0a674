"""Effective dimension: formulas against exact ranks, critical points counted, Jacobian ranks of any module."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from equiact.representations.analysis.dimension import dimension_report, narrow_copies
from equiact.representations.analysis.dimension.attention_geometry import (
    AttentionArchitecture,
    explain_exception,
    generic_attention_dimension,
    published_attention_dimension,
    published_formula_holds,
)
from equiact.representations.analysis.dimension.attention_network import (
    AttentionNetwork,
    AttentionWeights,
    attention_invariants,
    move_along_fibre,
    same_attention,
)
from equiact.representations.analysis.dimension.convolution_geometry import (
    ConvolutionArchitecture,
    convolution_critical_points,
    convolution_degree,
    convolution_dimension,
    segre_veronese_degree,
    segre_veronese_ed_degree,
)
from equiact.representations.analysis.dimension.critical_points import (
    count_network_critical_points,
    count_segre_veronese_critical_points,
    quotient_dimension,
)
from equiact.representations.analysis.dimension.dimension_report import (
    compare_dimension,
    layer_dimensions,
    pose_head_dimension,
)
from equiact.representations.analysis.dimension.jacobian_rank import (
    EffectiveDimension,
    JacobianRankConfig,
    jacobian_rank,
    numerical_rank,
    unit_norms,
)
from equiact.representations.analysis.dimension.modular_arithmetic import (
    ModularDual,
    modular_matmul,
    modular_rank,
    random_parameters,
    random_prime,
)
from equiact.representations.analysis.dimension.module_derivatives import DimensionError, module_jacobian
from equiact.representations.analysis.dimension.narrow_copies import narrow_to, parameter_count
from equiact.representations.analysis.dimension.polynomial_networks import (
    attend_modular,
    convolve_modular,
    exact_rank,
)
from equiact.representations.encoders.backbones import make_backbone
from equiact.representations.encoders.class_pose import ClassPoseConfig, ClassPoseEncoder
from equiact.representations.encoders.translation_encoder import TranslationConfig, TranslationEncoder
from equiact.representations.learning.config import ConfigError
from equiact.scripts.analyses.analyze_dimension import AnalyzeDimension, describe_dimension
from equiact.scripts.analyses.user_modules import load_module
from equiact.scripts.benchmarks.instruments.dimension_benchmark import random_attention, random_convolution
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn


@pytest.fixture(autouse=True)
def same_weights_in_every_run():
    torch.manual_seed(0)


P31 = 2**31 - 1


# Linear algebra modulo a prime


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 40), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_modular_products_are_those_of_python_integers(seed, rows, inner, columns):
    generator = np.random.default_rng(seed)
    a, b = generator.integers(0, P31, (rows, inner)), generator.integers(0, P31, (inner, columns))
    exact = (a.astype(object) @ b.astype(object)) % P31
    assert (modular_matmul(a, b, P31) == exact.astype(np.int64)).all()


def test_modular_products_do_not_overflow_at_the_largest_residues():
    a = np.full((1, 2**15), P31 - 1)
    assert modular_matmul(a, a.T, P31)[0, 0] == 2**15
    with pytest.raises(ValueError, match="inner length of at most 32768, got 32769"):
        modular_matmul(np.ones((1, 2**15 + 1), int), np.ones((2**15 + 1, 1), int), P31)


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 12), st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_rank_of_a_product_is_its_inner_dimension(seed, rows, columns, inner):
    generator = np.random.default_rng(seed)
    left, right = generator.integers(0, P31, (rows, inner)), generator.integers(0, P31, (inner, columns))
    rank = modular_rank(modular_matmul(left, right, P31), P31)
    assert rank == min(rows, columns, inner)


def test_rank_modulo_a_small_prime_is_that_of_brute_force():
    generator = np.random.default_rng(1)
    for prime in (3, 5):
        for _ in range(20):
            matrix = generator.integers(0, prime, (4, 3))
            kernel = sum(not ((matrix @ np.array(x)) % prime).any() for x in product(range(prime), repeat=3))
            assert modular_rank(matrix, prime) == 3 - round(math.log(kernel, prime))


def test_zero_columns_and_swaps_do_not_confuse_the_rank():
    assert modular_rank(np.array([[0, 0, 1], [0, 2, 0], [0, 0, 3], [0, 4, 5]]), P31) == 2
    assert modular_rank(np.zeros((3, 2), int), P31) == 0
    assert modular_rank(np.array([[-1, 1], [1, -1]]), P31) == 1


@pytest.mark.parametrize("prime", [9, 2, 2**31 + 11, -7])
def test_only_odd_primes_below_two_to_the_31_are_taken(prime):
    with pytest.raises(ValueError, match="odd prime below"):
        modular_rank(np.eye(2, dtype=int), prime)


def test_a_rank_of_reals_or_of_a_vector_is_refused():
    for wrong in (np.eye(2), np.arange(3)):
        with pytest.raises(ValueError, match="matrix of integers"):
            modular_rank(wrong, 7)


def test_dual_numbers_carry_the_derivative_of_polynomials():
    prime, generator = random_prime(np.random.default_rng(0)), np.random.default_rng(1)
    (weight,) = random_parameters([(2, 2)], prime, generator)
    cubed = (weight @ weight.mT).power(3)
    w = weight.value[0].astype(object)
    gram = w @ w.T
    for entry in range(4):
        unit = np.zeros(4, object)
        unit[entry] = 1
        unit = unit.reshape(2, 2)
        expected = 3 * gram**2 * (unit @ w.T + w @ unit.T) % prime
        assert (cubed.tangent[entry, 0] == expected.astype(np.int64)).all()
    assert (cubed.value[0] == (gram**3 % prime).astype(np.int64)).all()


def test_modular_attention_has_the_jacobian_of_the_module():
    """On small integers without reduction, residues are the integers that float64 gives."""
    architecture = AttentionArchitecture((2, 3, 2), (2, 1), tokens=2)
    network, generator = AttentionNetwork(architecture), np.random.default_rng(0)
    small = [generator.integers(-1, 2, each.shape) for each in network.weights]
    for parameter, value in zip(network.weights, small, strict=True):
        parameter.data = torch.as_tensor(value, dtype=torch.float64)
    x = generator.integers(-1, 2, (3, 2, 2))
    weights = random_parameters([each.shape for each in small], P31, generator)
    weights = [ModularDual(v[None] % P31, w.tangent, P31) for v, w in zip(small, weights, strict=True)]
    exact = attend_modular(weights, ModularDual(x % P31, np.zeros((1, 1, 2, 2), int), P31)).jacobian()
    signed = np.where(exact > P31 // 2, exact - P31, exact)
    found = module_jacobian(network, dict(network.named_parameters()), torch.as_tensor(x, dtype=torch.float64))
    np.testing.assert_allclose(found, signed)


# Attention


def test_single_layer_is_the_formula_of_the_paper():
    for a, d, out in [(1, 4, 3), (2, 4, 3), (4, 4, 4), (7, 4, 1)]:
        alpha = min(a, d)
        expected = 2 * alpha * d - alpha**2 + d * out - 1
        assert published_attention_dimension(AttentionArchitecture((d, out), (a,))) == expected
        assert published_attention_dimension(AttentionArchitecture((d, out), (a,), normalised=True)) == expected + 1


@pytest.mark.parametrize("seed", range(20))
def test_the_derived_dimension_is_the_exact_rank(seed):
    architecture = random_attention(np.random.default_rng(seed), tokens=(2, 3))
    report = compare_dimension(architecture, seed)
    assert report.rank == report.derived <= report.formula
    assert report.agrees == published_formula_holds(architecture) == (report.note == "")


@pytest.mark.parametrize("seed", range(5))
def test_one_token_sees_the_symmetric_part(seed):
    architecture = random_attention(np.random.default_rng(seed), tokens=(1,))
    assert exact_rank(architecture, seed) == generic_attention_dimension(architecture)


@pytest.mark.parametrize("seed", range(8))
def test_softmax_attention_has_the_conjectured_dimension(seed):
    report = compare_dimension(random_attention(np.random.default_rng(seed), (1, 2, 3), normalised=True), seed)
    assert report.rank == report.derived


@pytest.mark.parametrize(
    ("architecture", "published", "rank", "why"),
    [
        (AttentionArchitecture((4, 4, 4), (1, 4)), 37, 31, "layer 1 has rank 1"),
        (AttentionArchitecture((4, 4, 4), (4, 1)), 37, 37, ""),
        (AttentionArchitecture((4, 4), (3,), tokens=1), 30, 25, "one token: scores"),
        (AttentionArchitecture((5, 4, 1), (2, 1)), 29, 28, "layers from 2 on read fewer"),
    ],
)
def test_known_exceptions_are_named(architecture, published, rank, why):
    assert published_attention_dimension(architecture) == published
    assert generic_attention_dimension(architecture) == exact_rank(architecture) == rank
    assert explain_exception(architecture).startswith(why) and bool(explain_exception(architecture)) == bool(why)


def test_one_token_under_a_softmax_is_a_product_of_matrices():
    architecture = AttentionArchitecture((4, 2, 3), (2, 2), tokens=1, normalised=True)
    report = compare_dimension(architecture)
    assert report.rank == report.derived == 2 * (4 + 3 - 2)
    assert "softmax is 1" in report.note


def test_wrong_architectures_are_refused():
    with pytest.raises(ConfigError, match=r"len\(dims\) = len\(inner\) \+ 1"):
        AttentionArchitecture((4, 4), (2, 2))
    for wrong in ({"dims": (4, 0)}, {"inner": (0,)}, {"tokens": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            AttentionArchitecture(**({"dims": (4, 4), "inner": (2,)} | wrong))
    with pytest.raises(ValueError, match="not polynomial"):
        exact_rank(AttentionArchitecture((4, 4), (2,), normalised=True))
    with pytest.raises(ValueError, match="smaller architecture"):
        exact_rank(AttentionArchitecture((400, 400), (400,)))


def lightning(layers, x):
    """The output by the definition ``V X Xᵀ A X`` with ``A = Kᵀ Q``, layer by layer."""
    for layer in layers:
        x = np.einsum("ij,bjt,bkt,kl,bls->bis", layer.value, x, x, layer.key.T @ layer.query, x)
    return x


def layers_of(dims, inner, seed=0):
    generator = np.random.default_rng(seed)
    return [
        AttentionWeights(*(generator.normal(size=(n, d)) for n in (a, a, e)))
        for d, e, a in zip(dims[:-1], dims[1:], inner, strict=True)
    ]


@pytest.mark.parametrize(("dims", "inner"), [((4, 3), (2,)), ((4, 4, 3), (2, 3)), ((3, 5, 4, 2), (2, 2, 3))])
def test_moves_along_the_fibre_keep_function_and_invariants(dims, inner):
    layers = layers_of(dims, inner)
    moved = move_along_fibre(layers, np.random.default_rng(1))
    x = np.random.default_rng(2).normal(size=(5, dims[0], 3))
    np.testing.assert_allclose(lightning(moved, x), lightning(layers, x), rtol=1e-6, atol=1e-9)
    assert not np.allclose(moved[0].value, layers[0].value)
    assert same_attention(layers, moved)
    other = [*layers[:-1], AttentionWeights(layers[-1].query, layers[-1].key, 2 * layers[-1].value)]
    assert not same_attention(layers, other) and not same_attention(layers, layers_of(dims, inner, 3))
    assert not same_attention(layers, layers[:-1])


def test_negative_scales_are_in_the_fibre():
    (layer,) = layers_of((3, 2), (2,))
    turned = AttentionWeights(-layer.query, layer.key, -layer.value)
    assert same_attention([layer], [turned])
    forms, value = attention_invariants([layer])
    assert np.linalg.norm(forms[0]) == pytest.approx(1) and value.shape == (2, 3)


def test_the_module_is_the_definition_of_lightning_attention():
    network = AttentionNetwork(AttentionArchitecture((3, 4, 2), (2, 1)))
    weights = [each.detach().numpy() for each in network.weights]
    layers = [AttentionWeights(*weights[i : i + 3]) for i in (0, 3)]
    x = torch.randn(5, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(network(x).detach().numpy(), lightning(layers, x.numpy()))


def test_softmax_columns_sum_to_one():
    """Attention whose value is the identity averages the tokens: a coordinate that all share is kept."""
    network = AttentionNetwork(AttentionArchitecture((3, 3), (2,), normalised=True))
    network.weights[2].data = torch.eye(3, dtype=torch.float64)
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    x[:, 0] = 2.0
    torch.testing.assert_close(network(x)[:, 0], x[:, 0])


def test_rank_of_softmax_attention_is_measured(monkeypatch):
    """A rank that no formula gives is reported as unexplained."""
    wrong = EffectiveDimension(32, 5, 0, 8, math.inf, True, True)
    monkeypatch.setattr(dimension_report, "jacobian_rank", lambda *_, **__: wrong)
    report = compare_dimension(AttentionArchitecture((4, 4), (2,), normalised=True))
    assert report.rank == 5 and not report.agrees
    assert report.note == "unexplained: the rank is 5, and the derived dimension 28"


def test_exact_rank_takes_as_many_inputs_as_a_bottleneck_needs():
    architecture = AttentionArchitecture((6, 6, 1, 6), (2, 2, 1), tokens=8)
    assert exact_rank(architecture) == generic_attention_dimension(architecture)


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"query and key of shape \(a, d\)"):
        AttentionWeights(np.ones((2, 3)), np.ones((2, 4)), np.ones((3, 3)))
    with pytest.raises(ValueError, match="finite weights"):
        AttentionWeights(np.full((2, 3), np.nan), np.ones((2, 3)), np.ones((3, 3)))
    wide, narrow = layers_of((3, 3), (2,)), layers_of((2, 2), (2,))
    with pytest.raises(ValueError, match="expected a layer of width 3"):
        attention_invariants([*wide, *narrow])
    with pytest.raises(ValueError, match="at least one layer"):
        move_along_fibre([], np.random.default_rng(0))
    zero = AttentionWeights(np.zeros((2, 3)), np.ones((2, 3)), np.ones((3, 3)))
    with pytest.raises(ValueError, match="scores that are not zero"):
        attention_invariants([zero])


# Polynomial convolutions


@pytest.mark.parametrize("seed", range(20))
def test_convolution_dimension_is_the_exact_rank(seed):
    architecture = random_convolution(np.random.default_rng(seed))
    report = compare_dimension(architecture, seed)
    assert report.agrees and report.rank == convolution_dimension(architecture) and report.note == ""


def test_modular_convolutions_are_those_of_torch():
    architecture, generator = ConvolutionArchitecture((3, 2), 3, strides=(2, 1), outputs=2), np.random.default_rng(0)
    signal = generator.integers(-2, 3, (4, architecture.input_length))
    filters = [generator.integers(-2, 3, size) for size in architecture.filters]
    duals = [ModularDual(each[None, :, None] % P31, np.zeros((1, 1, len(each), 1), int), P31) for each in filters]
    inputs = ModularDual(signal[..., None] % P31, np.zeros((1, 1, signal.shape[1], 1), int), P31)
    found = convolve_modular(architecture, duals, inputs).value[..., 0]
    kernels = [torch.as_tensor(each, dtype=torch.float64)[None, None] for each in filters]
    x = torch.as_tensor(signal, dtype=torch.float64)[:, None]
    expected = nn.functional.conv1d(nn.functional.conv1d(x, kernels[0], stride=2) ** 3, kernels[1])[:, 0]
    assert (found == expected.numpy() % P31).all() and found.shape == (4, 2)


def test_degrees_and_critical_points_of_classical_varieties():
    assert segre_veronese_degree((2,), (2,)) == 4  # Veronese surface
    assert segre_veronese_degree((1, 2), (1, 1)) == 3  # P1 × P2
    assert segre_veronese_ed_degree((1, 1), (1, 1)) == 6
    assert segre_veronese_ed_degree((1,), (3,)) == 7  # twisted cubic
    assert segre_veronese_ed_degree((2,), (2,)) == 13
    for degree in range(1, 8):  # rational normal curves: 3d − 2
        assert segre_veronese_ed_degree((1,), (degree,)) == 3 * degree - 2
    for dim in range(5):  # a projective space in itself: one critical point
        assert segre_veronese_ed_degree((dim,), (1,)) == 1
    assert segre_veronese_ed_degree((1, 0, 1), (1, 5, 1)) == 6  # a point as a factor changes nothing


def test_network_figures_are_those_of_its_variety():
    architecture = ConvolutionArchitecture((3, 2, 2), 3)
    assert architecture.projective_dims == (2, 1, 1) and architecture.degrees == (9, 3, 1)
    total = Fraction(math.factorial(4)) * 9**2 * 3 / 2
    assert convolution_degree(architecture) == total
    assert convolution_critical_points(architecture) == segre_veronese_ed_degree((2, 1, 1), (9, 3, 1))
    assert convolution_dimension(architecture) == 7 - 3 + 1
    assert ConvolutionArchitecture((3, 2), 2, strides=(2, 3), outputs=2).input_length == 11


@pytest.mark.parametrize(("filters", "power", "points"), [((2, 1), 3, 7), ((2, 1, 1), 2, 10), ((3, 1), 2, 13)])
def test_gradient_equations_have_as_many_solutions(filters, power, points):
    architecture = ConvolutionArchitecture(filters, power)
    assert convolution_critical_points(architecture) == points
    assert {count_network_critical_points(architecture, seed) for seed in (0, 1)} == {points}


@pytest.mark.slow
@pytest.mark.parametrize(("filters", "power", "points"), [((2, 2), 2, 14), ((2, 2), 3, 22)])
def test_gradient_equations_of_two_wide_layers(filters, power, points):
    architecture = ConvolutionArchitecture(filters, power)
    assert count_network_critical_points(architecture) == convolution_critical_points(architecture) == points


@pytest.mark.parametrize(("dims", "degrees", "points"), [((1, 1), (1, 1), 6), ((1,), (3,), 7), ((1,), (4,), 10)])
def test_distances_from_a_variety_have_as_many_critical_points(dims, degrees, points):
    assert count_segre_veronese_critical_points(dims, degrees, seed=3) == points


def test_strides_and_outputs_do_not_change_the_number_of_critical_points():
    architecture = ConvolutionArchitecture((2, 1), 2, strides=(2, 1), outputs=2)
    assert count_network_critical_points(architecture) == 4


def test_monomials_below_a_staircase_are_counted():
    assert quotient_dimension([(2, 0), (0, 2), (1, 1)]) == 3
    assert quotient_dimension([(0, 0)]) == 0
    with pytest.raises(ValueError, match="finitely many solutions"):
        quotient_dimension([(2, 0), (1, 1)])
    with pytest.raises(ValueError, match="got none"):
        quotient_dimension([])


def test_wrong_convolutions_are_refused():
    for wrong in ({"filters": (0, 2)}, {"power": 1}, {"strides": (0, 1)}, {"outputs": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            ConvolutionArchitecture(**({"filters": (2, 2)} | wrong))
    for filters, strides in [((), ()), ((2, 2), (1,))]:
        with pytest.raises(ConfigError, match="a stride for each"):
            ConvolutionArchitecture(filters, 2, strides)
    for dims, degrees in [((1,), (1, 1)), ((), ()), ((-1,), (1,)), ((1,), (0,))]:
        with pytest.raises(ValueError, match="degrees of at least 1"):
            segre_veronese_ed_degree(dims, degrees)
    with pytest.raises(ValueError, match="at most 25 critical points"):
        count_network_critical_points(ConvolutionArchitecture((3, 3), 2))


# Ranks of modules


def test_each_hidden_relu_unit_can_be_rescaled():
    for width in (2, 5):
        network = nn.Sequential(nn.Linear(3, width), nn.LeakyReLU(), nn.Linear(width, 4))
        found = jacobian_rank(network, (3,), seed=1)
        assert found.redundancy == width and found.clear and found.stable
        smooth = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 4))
        assert jacobian_rank(smooth, (3,)).redundancy == 0


def test_two_linear_layers_are_the_matrices_of_bounded_rank():
    network = nn.Sequential(nn.Linear(5, 2, bias=False), nn.Linear(2, 4, bias=False))
    assert jacobian_rank(network, (5,)).rank == 2 * (5 + 4 - 2)


def test_rank_of_the_module_is_the_exact_rank():
    for seed in range(4):
        architecture = random_attention(np.random.default_rng(seed), (2, 3))
        network = AttentionNetwork(architecture, seed)
        found = jacobian_rank(network, (architecture.dims[0], architecture.tokens))
        assert found.rank == exact_rank(architecture) and found.clear


def test_the_module_is_not_changed():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    jacobian_rank(network, (3,))
    assert network.training and network[0].weight.dtype == torch.float32
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network[0].weight.grad is None


def test_batch_normalisation_doubles_the_scales():
    network = nn.Sequential(nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), nn.LeakyReLU(), nn.Linear(4, 2))
    assert jacobian_rank(network, (3,)).redundancy == 4 + 4


def test_frozen_and_dead_parameters():
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    network[0].requires_grad_(False)
    assert jacobian_rank(network, (3,)).parameters == 10
    network = nn.Linear(3, 2)
    network.unused = nn.Parameter(torch.ones(5))
    found = jacobian_rank(network, (3,))
    assert (found.parameters, found.rank, found.inactive, found.redundancy) == (13, 8, 5, 5)


def test_bias_before_a_softmax_is_not_counted_though_it_has_rounding_errors():
    class Shift(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.shift = nn.Linear(4, 3), nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return (self.linear(x) + self.shift).softmax(-1)

    found = jacobian_rank(Shift(), (4,))
    assert found.inactive == 1 and found.redundancy == 1 + 5


def test_outputs_may_be_nested_and_some_may_be_whole_numbers():
    class Several(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 1)

        def forward(self, x):
            return {"a": self.a(x), "rest": (self.b(x), self.a(x).argmax(-1))}

    assert jacobian_rank(Several(), (2,)).rank == 9


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.ReLU(), "trainable parameters"),
        (nn.Embedding(4, 2), "embedding, pass the part behind it"),
        (nn.Linear(5, 2), "Check the input shape"),
        ("text", "expected a torch.nn.Module"),
        (nn.Linear(3, 700), "2.1e3 parameters|fit in"),
    ],
)
def test_modules_without_a_rank_are_refused(module, message):
    with pytest.raises(DimensionError, match=message):
        jacobian_rank(module, (3,), config=JacobianRankConfig(max_gib=0.01))


def make_module(function):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, x):
            return function(self.linear(x))

    return Wrapped()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda y: y.argmax(-1), "outputs of real numbers"),
        (lambda y: y.detach(), "differentiable in the parameters"),
        (lambda y: y.round(), "derivatives that are all zero"),
        (lambda y: y / 0, "finite outputs"),
        (lambda y: (y * 0).sqrt(), "finite derivatives"),
    ],
)
def test_functions_that_are_not_differentiable_are_refused(function, message):
    with pytest.raises(DimensionError, match=message):
        jacobian_rank(make_module(function), (3,))


def test_wrong_shapes_names_and_tolerances_are_refused():
    with pytest.raises(DimensionError, match="positive whole numbers"):
        jacobian_rank(nn.Linear(3, 2), (0,))
    with pytest.raises(DimensionError, match="names of parameters among weight, bias"):
        jacobian_rank(nn.Linear(3, 2), (3,), parameters=["weights"])
    for wrong in ({"tolerance": 0.0}, {"doublings": 0}, {"max_gib": 0.0}, {"min_gap": 1.0}, {"perturbation": -1.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            JacobianRankConfig(**wrong)


def test_the_gap_says_whether_the_rank_is_clear():
    assert numerical_rank(np.diag([1.0, 1e-2, 1e-12]), 1e-9) == (2, pytest.approx(1e10))
    assert numerical_rank(np.diag([1.0, 1e-8, 1e-10]), 1e-9) == (2, pytest.approx(100))
    scaled = unit_norms(np.array([[1e6, 0.0], [0.0, 1e-6]]), axis=0)
    np.testing.assert_allclose(scaled, np.eye(2))

    class Weak(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(2))

        def forward(self, x):
            return x[:, :1] * (self.w[0] + self.w[1]) + 1e-8 * x[:, 1:] * self.w[1]

    found = jacobian_rank(Weak(), (2,), config=JacobianRankConfig(tolerance=0.1))
    assert found.rank == 1 and found.gap > 1e6 and found.clear
    assert jacobian_rank(Weak(), (2,)).rank == 2


def test_a_bottleneck_needs_more_inputs():
    """Behind one number, an input gives one row however many outputs there are."""
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1), nn.Tanh(), nn.Linear(1, 40))
    found = jacobian_rank(network, (6,))
    assert found.stable and found.redundancy == 0 and found.inputs > 2 * found.parameters / 40
    short = jacobian_rank(network, (6,), config=JacobianRankConfig(min_inputs=1, doublings=1))
    assert not short.stable and short.rank < found.rank


def test_layers_alone_bound_the_whole():
    network = nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(), nn.Linear(4, 2))
    layers = layer_dimensions(network, (3,))
    whole = jacobian_rank(network, (3,)).rank
    ranks = [each.rank for each in layers.values()]
    assert max(ranks) <= whole <= sum(ranks)
    assert layer_dimensions(network, (3,), max_parameters=12)["0"] is None
    with pytest.raises(DimensionError, match="trainable parameters"):
        layer_dimensions(nn.ReLU(), (3,))


# Shipped networks


def test_narrow_copies_keep_the_architecture():
    wide = make_backbone("strided", (32, 32, 3))
    copy, divisor = narrow_to(wide, (3, 32, 32), 800)
    assert divisor == 16 and parameter_count(copy) == 774 and parameter_count(wide) > 100_000
    assert copy(torch.rand(2, 3, 32, 32, dtype=torch.float64)).shape == (2, 16)
    same, divisor = narrow_to(wide, (3, 32, 32), 10**6)
    assert divisor == 1 and parameter_count(same) == parameter_count(wide)
    with pytest.raises(DimensionError, match="774 in the narrowest, with widths divided by 16"):
        narrow_to(wide, (3, 32, 32), 500)


class Idle(nn.Module):
    """A layer that never runs."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, groups=3)), "got Conv2d in layer 1"),
        (nn.Sequential(nn.Conv2d(3, 7, 3)), "at most 1 parameters, got 28 in the narrowest, with widths divided by 7"),
        (nn.Sequential(nn.Conv2d(4, 8, 3)), "inputs of shape"),
        (Idle(), "layer with parameters in Idle, got none that runs"),
        (nn.Conv2d(3, 8, 3), "layers of a network only, got some in Conv2d"),
    ],
)
def test_modules_that_cannot_be_narrowed(module, message):
    with pytest.raises(DimensionError, match=message):
        narrow_to(module, (3, 8, 8), 1)


def test_redundancy_of_the_spatial_softmax_backbone_is_explained():
    """One scale a hidden channel, one shift a softmax map, and hidden units that are off for all inputs."""
    copy, _ = narrow_to(make_backbone("spatial_softmax", (16, 16, 3)), (3, 16, 16), 500)
    found = jacobian_rank(copy, (3, 16, 16))
    first, last = copy.convolutions[0].out_channels, copy.convolutions[-1].out_channels
    dead = found.inactive - last
    assert dead % (copy.hidden.in_features + 1) == 0
    assert found.redundancy == first + last + dead and found.clear and found.stable


@pytest.mark.slow
def test_redundancy_of_the_strided_backbone_is_explained():
    """One scale a channel between a convolution and its normalisation, and one across each hidden ReLU."""
    copy, divisor = narrow_to(make_backbone("strided", (32, 32, 3)), (3, 32, 32), 800)
    hidden, last = (16 + 32 + 64 + 64) // divisor, 256 // divisor
    assert jacobian_rank(copy, (3, 32, 32)).redundancy == 2 * hidden + last


@pytest.mark.parametrize(
    ("encoder", "group", "redundancy"),
    [
        ("class-pose", "R2", 0),
        ("class-pose", "SO2", 1),  # the length of a vector
        ("class-pose", "SE2", 1),
        ("class-pose", "SO3", 3 * 9 + 3),  # a third column that is not read, and the Gram–Schmidt triangle
        ("pose-set", "SO2", 80),
        ("harmonics", "SO2", 0),
    ],
)
def test_redundancy_of_pose_heads(encoder, group, redundancy):
    found = pose_head_dimension(encoder, group, features=8)
    if encoder == "pose-set":
        redundancy = found.parameters // 18  # one length a pose
    assert found.redundancy == redundancy and found.clear


def test_an_encoder_without_a_pose_head_is_refused():
    with pytest.raises(ValueError, match="encoder with a pose head, got 'translation'; names are class-pose"):
        pose_head_dimension("translation", "R2")


def test_calibration_keeps_units_active():
    copy, divisor = narrow_to(make_backbone("strided", (32, 32, 3)), (3, 32, 32), 800, seed=2)
    assert divisor == 16
    normalised = [layer for layer in copy.modules() if isinstance(layer, narrow_copies.Normalisation)]
    assert len(normalised) == 5 and all(layer.running_var.ne(1).all() and not layer.training for layer in normalised)


# Command


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(), nn.Linear(4, 2))

    def forward(self, x):
        return self.net(x)


class NeedsArguments(Small):
    def __init__(self, width):
        super().__init__()


class Fails(Small):
    def __init__(self):
        raise RuntimeError("boom")


class FailsInside(Small):
    def __init__(self):
        raise TypeError("width")


def no_module():
    return 3


def wide_attention():
    return AttentionNetwork(AttentionArchitecture((4, 4), (2,)))


def test_command_measures_a_module_of_the_user():
    rows = AnalyzeDimension(module=f"{__name__}:Small", input_shape=(3,)).run()
    assert rows == {f"{__name__}:Small": {"parameters": 26, "effective dimension": 22, "redundancy": 4}}
    narrow = AnalyzeDimension(module=f"{__name__}:Small", input_shape=(3,), max_parameters=20).run()
    row = narrow[f"{__name__}:Small"]
    assert (row["parameters"], row["widths divided by"]) == (26, 2)
    assert row["parameters of the narrow copy"] == 4 * 2 + 3 * 1
    assert row["effective dimension of the narrow copy"] + row["redundancy of the narrow copy"] == 11
    assert len(row) == 5


def test_command_measures_layers_where_no_copy_is_narrow(capsys):
    rows = AnalyzeDimension(module=f"{__name__}:wide_attention", input_shape=(4, 2), max_parameters=20).run()
    assert rows[f"{__name__}:wide_attention"] == {"parameters": 32, "whole": "not measured"}
    assert rows["layer weights"] == {"not measured": "more than --max-parameters 20"}
    said = " ".join(capsys.readouterr().err.split())
    assert "more than --max-parameters 20" in said and "got ParameterList in layer weights" in said


def test_command_measures_backbones_and_pose_heads():
    rows = AnalyzeDimension(backbone="spatial_softmax", input_shape=(3, 16, 16), max_parameters=200).run()
    assert rows["spatial_softmax"]["widths divided by"] == 8
    assert rows["spatial_softmax"]["redundancy of the narrow copy"] > 0
    with pytest.raises(ValueError, match="--input-shape C H W"):
        AnalyzeDimension(backbone="strided", input_shape=(3, 16)).run()


def test_command_measures_backbone_and_pose_head_of_an_encoder(tmp_path):
    ClassPoseEncoder((16, 16, 3), "SO2", ClassPoseConfig(backbone="spatial_softmax")).save(tmp_path / "encoder")
    rows = AnalyzeDimension(encoder=tmp_path / "encoder", max_parameters=200, features=4).run()
    assert rows["backbone trunk"]["widths divided by"] == 8
    head = {"parameters": 10, "effective dimension": 9, "redundancy": 1}
    own = rows["pose head for 4 features"].pop("parameters of that of the encoder")
    assert rows["pose head for 4 features"] == head
    left_out = sum(row["parameters"] for row in rows.values() if row.get("dimension") == "not measured")
    assert rows["backbone trunk"]["parameters"] + own + left_out == rows["encoder"]["parameters"] and own > 10


def test_command_counts_the_parameters_of_all_parts_of_an_encoder(tmp_path):
    encoder = TranslationEncoder((16, 16, 3), "R2", TranslationConfig(backbone="spatial_softmax"))
    encoder.save(tmp_path / "encoder")
    rows = AnalyzeDimension(encoder=tmp_path / "encoder", max_parameters=200).run()
    assert rows["head (Linear)"] == {"parameters": parameter_count(encoder.head), "dimension": "not measured"}
    counted = sum(row["parameters"] for name, row in rows.items() if name != "encoder")
    assert counted == rows["encoder"]["parameters"] == parameter_count(encoder)


def test_command_refuses_options_without_effect(tmp_path):
    for options, option in [
        ({"backbone": "strided", "group": "NOPE"}, "--group with --backbone"),
        ({"backbone": "strided", "features": 3}, "--features with --backbone"),
        ({"module": "a:B", "group": "SO2"}, "--group with --module"),
        ({"encoder": tmp_path, "group": "SO2"}, "--group with --encoder"),
        ({"encoder": tmp_path, "input_shape": (3, 8, 8)}, "--input-shape with --encoder"),
    ]:
        with pytest.raises(ValueError, match=f"expected no {option}"):
            AnalyzeDimension(**options).run()


def test_a_rank_that_is_not_certain_is_marked_with_the_reason():
    found = EffectiveDimension(parameters=10, rank=7, inactive=0, inputs=4, gap=12.0, stable=False, clear=False)
    assert describe_dimension(found) == {
        "parameters": 10,
        "effective dimension": "~7",
        "redundancy": "~3",
        "stable": "no: more inputs may raise the rank",
        "clear": "no: gap 12",
    }


def test_command_says_which_shape_the_module_does_not_take():
    for shape, message in [((5,), "got 5: mat1 and mat2"), ((0,), "positive whole numbers"), (None, "got 3 32 32")]:
        with pytest.raises(ValueError, match=f"--input-shape .*{message}"):
            AnalyzeDimension(module=f"{__name__}:Small", input_shape=shape).run()


def test_command_names_its_option_where_a_copy_is_too_large(monkeypatch):
    monkeypatch.setattr("equiact.scripts.analyses.analyze_dimension._MOST_OF_BACKBONES", 10)
    with pytest.raises(ValueError, match="divided by 16; raise --max-parameters"):
        AnalyzeDimension(backbone="strided", max_parameters=20).run()


def test_command_refuses_what_is_no_module():
    with pytest.raises(ValueError, match="one of --module, --encoder and --backbone, got --module and --backbone"):
        AnalyzeDimension(module="a:B", backbone="strided").run()
    for path, message in [
        ("no_colon", "module:Class"),
        (f"{__name__}:Missing", "Missing"),
        (f"{__name__}:NeedsArguments", "take no arguments"),
        (f"{__name__}:no_module", "torch.nn.Module, got int"),
        (f"{__name__}:Fails", "but it raised RuntimeError: boom"),
        (f"{__name__}:FailsInside", "but it raised TypeError: width"),
        ("my_networks.py:Net", "leave out .py: --module my_networks:Net"),
        ("my_missing_networks:Net", "my_missing_networks.py must lie in the current folder"),
    ]:
        with pytest.raises(ValueError, match=message):
            load_module(path)
