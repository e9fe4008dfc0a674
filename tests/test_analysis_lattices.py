"""Lattices: exact integers, reductions beside LLL, the symmetries of the network, and the periods of latents."""

from dataclasses import replace
from fractions import Fraction
from itertools import permutations, product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from equiact.envs.storage.artifacts import ArtifactError
from equiact.representations.analysis.lattices import lattice_training, lll
from equiact.representations.analysis.lattices.bases import (
    LatticeError,
    change_basis,
    check_basis,
    integer_determinant,
    is_unimodular,
    log_orthogonality_defect,
    orthogonality_defect,
)
from equiact.representations.analysis.lattices.gauss_moves import (
    GaussMove,
    LatticeOverflowError,
    apply_moves,
    multiply_moves,
)
from equiact.representations.analysis.lattices.latent_periods import (
    PeriodsConfig,
    closed_loops,
    estimate_periods,
    loop_tolerance,
)
from equiact.representations.analysis.lattices.lattice_network import (
    LatticeReducer,
    LatticeReducerConfig,
    pair_features,
)
from equiact.representations.analysis.lattices.lattice_training import (
    search_loss,
    stuck_gram_matrices,
    train_lattice_reducer,
)
from equiact.representations.analysis.lattices.lll import lll_reduce
from equiact.representations.analysis.lattices.move_reduction import (
    LEAST_DECREASE,
    best_moves,
    length_ratios,
    pairwise_and_projection_moves,
    pairwise_moves,
    pairwise_reduce,
    projection_coefficients,
    projection_moves,
    projection_reduce,
    reduce_by_moves,
)
from equiact.representations.analysis.lattices.torus_chart import torus_chart, torus_displacements
from equiact.representations.learning.config import ConfigError
from hypothesis import given, settings
from hypothesis import strategies as st

TINY = LatticeReducerConfig(layers=2, channels=4, width=8, proposals=3, steps=3, bases=32, batch_size=8)
flint = pytest.mark.skipif(lll.find_flint() is None, reason="needs python-flint")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def random_unimodular(dim, generator, moves=8, largest=2):
    chosen = []
    for _ in range(moves):
        index, v = int(generator.integers(dim)), generator.integers(-largest, largest + 1, dim)
        v[index] = 0
        chosen.append(GaussMove(index, tuple(map(int, v))))
    return multiply_moves(chosen, dim)


def signed_permutation(dim, generator):
    return np.eye(dim)[generator.permutation(dim)] * generator.choice([-1, 1], dim)


def network(dim=4, seed=0):
    """A network with large random weights: its proposals differ from the guess, so that mistakes show."""
    torch.manual_seed(seed)
    reducer = LatticeReducer(dim, TINY)
    with torch.no_grad():
        for parameter in reducer.parameters():
            parameter.mul_(2)
    return reducer.eval()


# --- bases ---


def test_the_defect_is_one_for_orthogonal_vectors_and_larger_for_others():
    rotation = np.linalg.qr(normal(5, 4, 4))[0]
    assert orthogonality_defect(rotation * [1, 2, 3, 1e-3]) == pytest.approx(np.ones(5))
    assert (orthogonality_defect(normal(50, 4, 4)) > 1).all()
    assert float(orthogonality_defect([[1.0, 3.0], [0.0, 4.0]])) == pytest.approx(5 / 4)


def test_the_defect_is_the_product_of_lengths_over_the_volume():
    basis = normal(20, 5, 5)
    expected = np.linalg.norm(basis, axis=1).prod(-1) / np.abs(np.linalg.det(basis))
    assert orthogonality_defect(basis) == pytest.approx(expected)
    assert np.exp(log_orthogonality_defect(basis)) == pytest.approx(expected)


@given(st.integers(1, 5).flatmap(lambda n: st.lists(st.integers(-9, 9), min_size=n * n, max_size=n * n)))
def test_the_integer_determinant_is_that_of_leibniz(entries):
    dim = round(len(entries) ** 0.5)
    matrix = np.array(entries).reshape(dim, dim)
    expected = 0
    for order in permutations(range(dim)):
        sign = round(np.linalg.det(np.eye(dim)[list(order)]))
        expected += sign * int(np.prod([matrix[row, column] for row, column in enumerate(order)]))
    assert integer_determinant(matrix) == expected
    assert is_unimodular(matrix) == (abs(expected) == 1)


def test_determinants_of_large_integers_are_exact():
    large = 10**30
    assert integer_determinant([[large, large + 1], [large - 1, large]]) == 1
    assert not is_unimodular(np.array([[2**40, 1], [1, 2**40]]))


@pytest.mark.parametrize(
    ("basis", "message"),
    [
        (normal(3, 2), "square"),
        (normal(3), "square"),
        (np.zeros((0, 2, 2)), "at least one basis"),
        ([[1.0, np.nan], [0, 1]], "finite"),
        ([[1, 0], [0, 0]], "zero vector"),
        ([[1, 2], [2, 4]], "independent"),
        ([[1, 1], [1, 1 + 1e-14]], "independent"),
        ([["a", "b"], ["c", "d"]], "real numbers"),
        ([[1j, 0], [0, 1]], "real numbers"),
    ],
)
def test_a_bad_basis_is_refused(basis, message):
    for function in (check_basis, orthogonality_defect, pairwise_reduce, projection_reduce, network(2).reduce):
        with pytest.raises(LatticeError, match=message):
            function(basis)


@pytest.mark.parametrize("matrix", [[[1.0, 0], [0, 1]], [[1, 2, 3], [0, 1, 0]], [1, 2], [[True, 0], [0, 1]]])
def test_only_square_integer_matrices_have_an_integer_determinant(matrix):
    with pytest.raises(LatticeError, match="integer"):
        integer_determinant(matrix)


def test_a_change_of_basis_does_not_cancel():
    skew, large = np.array([[0.1, 0.3], [0.0, 0.7]]), 10**12
    given, back = skew @ [[1, large], [0, 1]], np.array([[1, -large], [0, 1]])
    exact = [[Fraction(a) for a in row] for row in given.tolist()]
    expected = [float(row[0] * -large + row[1]) for row in exact]
    assert (given @ back)[0, 1] != expected[0]
    assert change_basis(given, back)[:, 1].tolist() == expected
    batch = np.stack([skew, given])
    assert change_basis(batch, np.stack([np.eye(2, dtype=int), back]))[1, :, 1].tolist() == expected
    with pytest.raises(LatticeError, match="integer matrices"):
        change_basis(skew, np.eye(2))
    with pytest.raises(LatticeError, match="shape"):
        change_basis(skew, np.eye(3, dtype=int))


# --- moves ---


def test_a_move_has_determinant_one_and_its_inverse_undoes_it():
    move = GaussMove(1, (4, 0, -7))
    assert move.matrix().tolist() == [[1, 4, 0], [0, 1, 0], [0, -7, 1]]
    assert integer_determinant(move.matrix()) == 1
    assert (move.matrix() @ move.inverse().matrix() == np.eye(3)).all()


def test_moves_multiply_from_left_to_right():
    generator = np.random.default_rng(0)
    moves = []
    for _ in range(6):
        index, v = int(generator.integers(4)), generator.integers(-3, 4, 4)
        v[index] = 0
        moves.append(GaussMove(index, tuple(map(int, v))))
    expected = np.eye(4, dtype=int)
    for move in moves:
        expected = expected @ move.matrix()
    result = multiply_moves(moves, 4)
    assert (result == expected).all()
    assert result.dtype == np.int64
    batch = torch.eye(4, dtype=torch.int64)[None].repeat(2, 1, 1)
    for move in moves:
        v = torch.tensor([move.coefficients, [0] * 4])
        batch = apply_moves(batch, torch.tensor([move.index, 0]), v)
    assert (batch[0].numpy() == expected).all()
    assert (batch[1] == torch.eye(4)).all()


@pytest.mark.parametrize(
    ("index", "coefficients", "message"),
    [(0, (1, 2), "to be 0"), (2, (0, 0), "from 0 to 1"), (-1, (0, 0), "from 0"), (0, (0, 1.5), "integer coefficients")],
)
def test_a_bad_move_is_refused(index, coefficients, message):
    with pytest.raises(LatticeError, match=message):
        GaussMove(index, coefficients)


def test_integers_that_overflow_are_refused_rather_than_wrapped():
    with pytest.raises(LatticeOverflowError, match="64 bits"):
        multiply_moves([GaussMove(1, (2**40, 0)), GaussMove(0, (0, 2**40))], 2)
    assert multiply_moves([GaussMove(1, (2**62, 0))], 2)[0, 1] == 2**62
    with pytest.raises(LatticeOverflowError, match="64 bits"):
        apply_moves(torch.tensor([[[2**40, 0], [0, 1]]]), torch.tensor([1]), torch.tensor([[2**30, 0]]))
    with pytest.raises(LatticeOverflowError, match="64 bits"):
        apply_moves(torch.eye(2, dtype=torch.int64)[None], torch.tensor([1]), torch.tensor([[2.0**53, 0.0]]))
    with pytest.raises(LatticeError, match="2 coefficients"):
        multiply_moves([GaussMove(0, (0, 1, 1))], 2)


# --- reductions ---


def reductions():
    return {"pairwise": pairwise_reduce, "projection": projection_reduce, "network": network().reduce}


@pytest.mark.parametrize("name", reductions())
@pytest.mark.parametrize("dim", [2, 3, 5, 8])
def test_reductions_are_unimodular_and_never_worse(name, dim):
    basis = normal(40, dim, dim)
    reduction = reductions()[name](basis)
    assert all(integer_determinant(each) == 1 for each in reduction.transform)
    assert reduction.basis == pytest.approx(basis @ reduction.transform)
    assert (log_orthogonality_defect(reduction.basis) <= log_orthogonality_defect(basis) + 1e-9).all()
    assert (reduction.moves > 0).any()
    single = reductions()[name](basis[0])
    assert (single.transform == reduction.transform[0]).all()
    assert single.moves.shape == ()


@pytest.mark.parametrize("name", reductions())
def test_a_reduced_basis_has_no_better_pair(name):
    reduced = reductions()[name](normal(30, 4, 4)).basis
    product = np.swapaxes(reduced, -1, -2) @ reduced
    square = np.diagonal(product, axis1=1, axis2=2)
    ratio = np.abs(product / square[:, :, None]) * (1 - np.eye(4))
    assert ratio.max() <= 0.5 + 1e-6
    assert (reductions()[name](reduced).moves == 0).all()


def shortest_defect(basis, reach=3):
    """The smallest defect of a plane lattice, by trying all pairs of short vectors."""
    short = [basis @ np.array(z) for z in product(range(-reach, reach + 1), repeat=2) if any(z)]
    volume = abs(np.linalg.det(basis))
    return min(
        np.linalg.norm(a) * np.linalg.norm(b) / volume
        for a in short
        for b in short
        if abs(a[0] * b[1] - a[1] * b[0]) == pytest.approx(volume)
    )


def test_in_the_plane_the_best_basis_is_found():
    generator = np.random.default_rng(3)
    for seed in range(8):
        basis = projection_reduce(normal(2, 2, seed=seed)).basis
        skew = change_basis(basis, random_unimodular(2, generator))
        for reduce in (pairwise_reduce, projection_reduce, network(2).reduce):
            assert float(orthogonality_defect(reduce(skew).basis)) == pytest.approx(shortest_defect(basis))


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 5), st.integers(0, 10**6))
def test_the_cubic_lattice_is_found_in_any_basis(dim, seed):
    transform = random_unimodular(dim, np.random.default_rng(seed), moves=dim)
    reduced = projection_reduce(transform)
    assert (reduced.basis == transform @ reduced.transform).all()
    assert abs(integer_determinant(reduced.basis.astype(int))) == 1
    assert float(orthogonality_defect(reduced.basis)) <= float(orthogonality_defect(transform)) + 1e-9


@flint
@pytest.mark.parametrize("dim", [2, 3, 4, 6, 8])
def test_projection_moves_are_at_most_two_percent_above_lll(dim):
    basis = normal(300, dim, dim, seed=dim)
    ours, reference = projection_reduce(basis), lll_reduce(basis)
    ratio = np.exp((log_orthogonality_defect(ours.basis) - log_orthogonality_defect(reference.basis)).mean())
    assert ratio <= (1.002 if dim <= 6 else 0.99)


@flint
def test_lll_is_exact_and_meets_its_conditions():
    basis = normal(20, 5, 5) * 1e7
    reduction = lll_reduce(basis)
    assert all(is_unimodular(each) for each in reduction.transform)
    assert reduction.basis == pytest.approx(basis @ reduction.transform)
    for reduced in reduction.basis:
        r = np.linalg.qr(reduced)[1]
        mu, size = r / np.diag(r)[:, None], np.diag(r) ** 2
        assert np.abs(np.triu(mu, 1)).max() <= 0.52
        for k in range(1, 5):
            assert size[k] >= (0.98 - mu[k - 1, k] ** 2) * size[k - 1]
    assert lll_reduce(basis[0]).transform.shape == (5, 5)
    for delta in (0.25, 1.0):
        with pytest.raises(LatticeError, match="delta"):
            lll_reduce(basis, delta)


@flint
def test_lll_reduces_batches_of_any_shape():
    bases = normal(6, 3, 3).reshape(2, 3, 3, 3)
    reduction = lll_reduce(bases)
    for index in np.ndindex(2, 3):
        alone = lll_reduce(bases[index])
        np.testing.assert_array_equal(reduction.basis[index], alone.basis)
        np.testing.assert_array_equal(reduction.transform[index], alone.transform)
        assert alone.basis.shape == (3, 3)


class HugeTransform:
    """A matrix of FLINT whose reduction needs an integer of a given size."""

    size = 0

    def __init__(self, rows):
        self.rows = rows

    def lll(self, **_options):
        return self, HugeTransform([[1, self.size], [0, 1]])

    def tolist(self):
        return self.rows


@pytest.mark.parametrize("sign", [1, -1])
def test_lll_transforms_beyond_64_bits_are_refused(monkeypatch, sign):
    monkeypatch.setattr(lll, "find_flint", lambda: SimpleNamespace(fmpz_mat=HugeTransform))
    monkeypatch.setattr(HugeTransform, "size", sign * (2**63 - 1))
    assert lll_reduce(np.eye(2)).transform.tolist() == [[1, 0], [sign * (2**63 - 1), 1]]
    monkeypatch.setattr(HugeTransform, "size", sign * 2**63)
    with pytest.raises(LatticeOverflowError, match="within 64 bits"):
        lll_reduce(np.eye(2))


def test_lll_names_the_missing_package(monkeypatch):
    monkeypatch.setattr(lll, "find_flint", lambda: None)
    with pytest.raises(ImportError, match=r"equiact\[analysis\]"):
        lll_reduce(np.eye(2))


def test_transforms_that_would_overflow_are_refused():
    with pytest.raises(LatticeOverflowError, match="LLL first"):
        reduce_by_moves(
            np.eye(2),
            lambda g, d: replace(
                pairwise_moves(g, d), coefficients=torch.full((1, 2), 2.0**62), decrease=torch.ones(1)
            ),
        )


def test_the_number_of_moves_is_bounded():
    basis = normal(10, 6, 6)
    assert (pairwise_reduce(basis, max_moves=2).moves <= 2).all()
    assert all(is_unimodular(each) for each in pairwise_reduce(basis, max_moves=2).transform)


def move_of_brute_force(matrix, candidates):
    """The largest decrease of log δ among candidates (index, v)."""
    dim = len(matrix)
    decreases = []
    for index, v in candidates:
        w = np.eye(dim)[index] + v
        decreases.append(0.5 * np.log(matrix[index, index] / (w @ matrix @ w)))
    return max(decreases)


def test_pairwise_moves_are_the_best_with_one_coefficient():
    basis = torch.from_numpy(normal(10, 3, 3))
    matrix = basis.mT @ basis
    move = pairwise_moves(matrix, torch.linalg.inv(matrix))
    for row in range(10):
        candidates = [(i, c * np.eye(3)[j]) for i in range(3) for j in range(3) if i != j for c in range(-30, 31)]
        assert float(move.decrease[row]) == pytest.approx(move_of_brute_force(matrix[row].numpy(), candidates))
        w = move.coefficients[row] + torch.eye(3)[move.index[row]]
        after = 0.5 * float(torch.log(matrix[row, move.index[row], move.index[row]] / (w @ matrix[row] @ w)))
        assert after == pytest.approx(float(move.decrease[row]))


def test_the_projection_is_the_shortest_real_combination():
    basis = torch.from_numpy(normal(6, 4, 4))
    matrix = basis.mT @ basis
    u = projection_coefficients(torch.linalg.inv(matrix))
    for row in range(6):
        for i in range(4):
            others = [j for j in range(4) if j != i]
            best = np.linalg.lstsq(basis[row][:, others].numpy(), -basis[row][:, i].numpy(), rcond=None)[0]
            assert u[row, others, i].numpy() == pytest.approx(best)
    assert (u.diagonal(dim1=1, dim2=2) == 0).all()
    rounded = projection_moves(matrix, torch.linalg.inv(matrix))
    candidates = [[(i, u[row, :, i].round().numpy()) for i in range(4)] for row in range(6)]
    expected = [move_of_brute_force(matrix[row].numpy(), candidates[row]) for row in range(6)]
    assert rounded.decrease.tolist() == pytest.approx(expected)


def test_the_best_of_many_proposals_is_chosen():
    generator = torch.Generator().manual_seed(0)
    basis = torch.from_numpy(normal(5, 3, 3))
    matrix = basis.mT @ basis
    proposals = torch.randint(-2, 3, (5, 6, 3, 3), generator=generator).double()
    proposals.diagonal(dim1=2, dim2=3).zero_()
    move = best_moves(matrix, proposals)
    ratios = length_ratios(matrix, proposals)
    for row in range(5):
        candidates = [(i, proposals[row, k, :, i].numpy()) for k in range(6) for i in range(3)]
        expected = move_of_brute_force(matrix[row].numpy(), candidates)
        assert float(move.decrease[row]) == pytest.approx(expected)
        assert float(-0.5 * ratios[row].min().log()) == pytest.approx(expected)
        w = move.coefficients[row] + torch.eye(3)[move.index[row]]
        square = matrix[row, move.index[row], move.index[row]]
        assert float(0.5 * torch.log(square / (w @ matrix[row] @ w))) == pytest.approx(expected)


# --- the network ---


def gram_pair(basis):
    matrix = torch.from_numpy(np.swapaxes(basis, -1, -2) @ basis)
    return matrix, torch.linalg.inv(matrix)


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_the_network_is_invariant_to_rotations_and_scale(dim):
    basis, rotation = normal(6, dim, dim), np.linalg.qr(normal(dim, dim, seed=1))[0]
    reducer = network()
    with torch.no_grad():
        expected, moved = reducer(*gram_pair(basis)), reducer(*gram_pair(3e4 * rotation @ basis))
    assert moved.numpy() == pytest.approx(expected.numpy(), abs=1e-7)
    given, turned = reducer.reduce(basis), reducer.reduce(3e4 * rotation @ basis)
    assert (given.transform == turned.transform).all()


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_the_network_is_equivariant_to_signed_permutations(dim):
    generator = np.random.default_rng(dim)
    reducer = network()
    for seed in range(5):
        basis, s = normal(8, dim, dim, seed=seed), signed_permutation(dim, generator)
        with torch.no_grad():
            expected = np.einsum("ji,bkjl,lm->bkim", s, reducer(*gram_pair(basis)).numpy(), s)
            assert reducer(*gram_pair(basis @ s)).numpy() == pytest.approx(expected, rel=1e-7, abs=1e-7)
        given, moved = reducer.reduce(basis), reducer.reduce(basis @ s)
        inverse = s.T.astype(int)
        assert (moved.transform == inverse @ given.transform @ s.astype(int)).all()
        assert moved.basis == pytest.approx(given.basis @ s)


def test_features_are_odd_and_even():
    basis = normal(4, 3, 3)
    flip = np.diag([1.0, -1.0, 1.0])
    (one, dual), (other, other_dual) = gram_pair(basis), gram_pair(basis @ flip)
    odd, even = pair_features(one, dual, projection_coefficients(dual))
    flipped, same = pair_features(other, other_dual, projection_coefficients(other_dual))
    sign = torch.from_numpy(flip.diagonal()[:, None] * flip.diagonal()[None])[None, :, :, None]
    assert (flipped - sign * odd).abs().max() < 1e-9
    assert (same - even).abs().max() < 1e-9
    for values in (odd, even):  # no feature is constant
        assert (values.flatten(0, 2).std(0) > 1e-3).all()


def test_proposals_differ_from_the_guess_and_leave_the_diagonal():
    matrix, dual = gram_pair(normal(3, 4, 4))
    with torch.no_grad():
        proposals = network()(matrix, dual)
    assert proposals.shape == (3, TINY.proposals, 4, 4)
    assert (proposals.diagonal(dim1=2, dim2=3) == 0).all()
    difference = (proposals - projection_coefficients(dual)[:, None]).abs().amax((0, 2, 3))
    assert (difference > 1e-2).all()
    assert (proposals[:, 0] - proposals[:, 1]).abs().max() > 1e-2


def test_the_network_is_asked_only_where_analytic_moves_are_stuck():
    reduced = projection_reduce(normal(20, 5, 5)).basis
    basis = reduced.copy()
    basis[:10, :, 0] += 3 * basis[:10, :, 1]
    matrix, dual = gram_pair(basis)
    analytic = pairwise_and_projection_moves(matrix, dual)
    stuck = analytic.decrease <= LEAST_DECREASE
    assert stuck[10:].all()
    assert not stuck[:10].any()
    reducer = network()
    move = reducer.propose(matrix, dual)
    assert torch.equal(move.coefficients[~stuck], analytic.coefficients[~stuck])
    with torch.no_grad():
        learned = best_moves(matrix[stuck], reducer(matrix[stuck], dual[stuck]).round())
    assert torch.equal(move.coefficients[stuck], learned.coefficients)
    assert torch.equal(move.decrease[stuck], learned.decrease)


@pytest.mark.parametrize(
    "values",
    [
        {"layers": 0},
        {"lr": 0.0},
        {"final_lr_share": 0.0},
        {"final_lr_share": 1.1},
        {"max_grad_norm": 0.0},
        {"search_scale": -1.0},
        {"stuck_weight": -0.1},
    ],
)
def test_a_configuration_out_of_range_is_refused(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        LatticeReducerConfig(**values)


@pytest.mark.parametrize("dim", [1, 65, 2.0, True])
def test_a_dimension_out_of_range_is_refused(dim):
    with pytest.raises(ConfigError, match="2 to 64"):
        LatticeReducer(dim)


def test_training_is_repeatable_and_reports():
    seen = []
    first = train_lattice_reducer(3, TINY, seed=1, progress=lambda *status: seen.append(status))
    second = train_lattice_reducer(3, TINY, seed=1)
    other = train_lattice_reducer(3, TINY, seed=2)
    assert [status[:2] for status in seen] == [(3, 3)]
    pairs = list(zip(first.state_dict().values(), second.state_dict().values(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert any(
        not torch.equal(a, b) for a, b in zip(first.state_dict().values(), other.state_dict().values(), strict=True)
    )
    assert next(first.parameters()).dtype == torch.float64


def test_learning_rate_and_gradients_follow_the_configuration(monkeypatch):
    rates, norms = [], []
    step, clip = torch.optim.Adam.step, torch.nn.utils.clip_grad_norm_

    def watched_step(self, *arguments, **options):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **options)

    def watched_clip(parameters, most):
        norms.append(most)
        return clip(parameters, most)

    monkeypatch.setattr(torch.optim.Adam, "step", watched_step)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", watched_clip)
    train_lattice_reducer(2, replace(TINY, steps=4, lr=0.1, final_lr_share=0.2, max_grad_norm=0.3))
    assert rates == pytest.approx([0.1, 0.08, 0.06, 0.04]) and norms == [0.3] * 4


def test_stuck_bases_are_stuck():
    matrix = stuck_gram_matrices(50, 4, torch.Generator().manual_seed(0))
    assert (pairwise_and_projection_moves(matrix, torch.linalg.inv(matrix)).decrease <= LEAST_DECREASE).all()


def test_the_loss_is_zero_for_proposals_that_are_right():
    """For a cubic lattice with one skew vector, the best move is the rounded guess itself."""

    class Guess(torch.nn.Module):
        config = replace(TINY, search_scale=1e-3, stuck_weight=0.0)
        offset = 0.0

        def forward(self, matrix, dual):
            off_diagonal = 1 - torch.eye(matrix.shape[-1])
            return ((projection_coefficients(dual) + self.offset) * off_diagonal)[:, None]

    skew = np.eye(3)
    skew[:, 2] = [2, -3, 1]
    matrix, dual = gram_pair(skew[None])
    guess, generator = Guess(), torch.Generator().manual_seed(0)
    assert float(search_loss(guess, matrix, dual, generator)) == pytest.approx(0, abs=1e-9)
    guess.offset = 0.25
    # b_0 and b_1 are no longer than their projections after rounding; the two coefficients of b_2 err by 1/4
    assert float(search_loss(guess, matrix, dual, generator)) >= 2 * 0.25**2 - 1e-9

    class TwoGuesses(Guess):
        """The nearest proposal learns, and the others are free."""

        def forward(self, matrix, dual):
            right = super().forward(matrix, dual)
            return torch.cat([right, right + 0.4 * (right != 0)], 1)

    assert float(search_loss(TwoGuesses(), matrix, dual, generator)) == pytest.approx(0, abs=1e-9)


def test_a_saved_network_is_the_same(tmp_path):
    reducer = network(3)
    reducer.save(tmp_path / "reducer")
    loaded = LatticeReducer.load(tmp_path / "reducer")
    assert (loaded.dim, loaded.config) == (3, TINY)
    basis = normal(20, 6, 6)
    assert (loaded.reduce(basis).transform == reducer.reduce(basis).transform).all()
    card = tmp_path / "reducer" / "card.json"
    card.write_text(card.read_text().replace('"dim": 3', '"dim": 4'))
    with pytest.raises(ArtifactError):
        LatticeReducer.load(tmp_path / "reducer")


@pytest.mark.slow
def test_a_trained_network_is_better_than_its_guess():
    reducer = train_lattice_reducer(8, LatticeReducerConfig(steps=300, bases=4096), seed=0)
    basis = projection_reduce(normal(500, 8, 8, seed=9)).basis
    reduced = reducer.reduce(basis)
    ratio = np.exp((log_orthogonality_defect(reduced.basis) - log_orthogonality_defect(basis)).mean())
    assert ratio < 0.985
    assert all(is_unimodular(each) for each in reduced.transform)


# --- periods ---


def noisy_loops(periods, count, noise, seed, reach=4):
    generator = np.random.default_rng(seed)
    windings = generator.integers(-reach, reach + 1, (count, len(periods)))
    error = generator.standard_normal(windings.shape)
    error *= noise * generator.random((count, 1)) / np.linalg.norm(error, axis=1, keepdims=True)
    return windings @ periods.T + error, windings


def same_lattice(first, second, relative):
    """Whether two bases span one lattice, up to a relative error of each vector."""
    whole = np.rint(np.linalg.solve(first, second)).astype(int)
    error = np.linalg.norm(second - first @ whole, axis=0) / np.linalg.norm(second, axis=0)
    return is_unimodular(whole) and error.max() < relative


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_periods_are_found_in_noisy_loops(dim, seed):
    periods = np.random.default_rng(seed).standard_normal((dim, dim)) + 2 * np.eye(dim)
    shortest = np.linalg.norm(projection_reduce(periods).basis, axis=0).min()
    loops, _ = noisy_loops(periods, 400, 0.08 * shortest, seed)
    found = estimate_periods(loops, 0.1 * shortest)
    assert same_lattice(periods, found.basis, 0.01)
    assert found.fits.all()
    assert loops - found.coefficients @ found.basis.T == pytest.approx(0, abs=0.1 * shortest)
    assert found.residual == pytest.approx(np.linalg.norm(loops - found.coefficients @ found.basis.T, axis=1))


def test_periods_that_no_loop_has_are_found():
    found = estimate_periods([[2.0, 0.0], [3.0, 0.0], [0.0, 6.0], [0.0, 10.0], [0.0, 15.0]], 0.05)
    assert found.basis == pytest.approx(np.eye(2))
    assert found.coefficients.tolist() == [[2, 0], [3, 0], [0, 6], [0, 10], [0, 15]]


def test_periods_are_canonical():
    periods = np.array([[1.0, 0.3], [0.2, 2.0]])
    found = [
        estimate_periods(noisy_loops(periods @ change, 200, 1e-9, 0)[0], 0.01).basis
        for change in (np.eye(2), np.array([[-1, 0], [3, 1]]), np.array([[0, 1], [1, 5]]))
    ]
    assert found[1] == pytest.approx(found[0], abs=1e-6)
    assert found[2] == pytest.approx(found[0], abs=1e-6)
    assert np.linalg.norm(found[0][:, 0]) < np.linalg.norm(found[0][:, 1])


def test_the_chart_does_not_depend_on_the_units():
    """The metric is that of the observations: the same windings are found, whatever the actions are measured in."""
    angles = np.array([[2.0, 0.0], [0.0, 1.0]])  # observations change twice as fast with the second angle
    windings = []
    for units in (np.eye(2), np.array([[1.0, 0.9], [0.0, 0.5]]), np.array([[2.0, 0.0], [-1.5, 0.6]])):
        loops, _ = noisy_loops(2 * np.pi * np.eye(2), 2000, 0.2, 0)
        error = loops - 2 * np.pi * np.rint(loops / (2 * np.pi))
        skewed = (loops - error + error @ angles.T / 2) @ units.T
        found = estimate_periods(skewed, 0.6)
        windings.append(np.abs(np.rint(np.linalg.solve(2 * np.pi * units, found.basis))))
    assert windings[0].tolist() == [[1, 0], [0, 1]]  # the first angle is shorter
    assert (windings[1] == windings[0]).all()
    assert (windings[2] == windings[0]).all()


def test_long_loops_refine_the_periods():
    periods = np.diag([1.0, 1.5])
    loops, _ = noisy_loops(periods, 3000, 0.05, 0, reach=60)
    short, _ = noisy_loops(periods, 200, 0.05, 1, reach=2)
    found = estimate_periods(np.concatenate([short, loops]), 0.06)
    assert same_lattice(periods, found.basis, 1e-4)
    assert found.fits.mean() > 0.99


def test_false_loops_are_ignored_if_loops_must_agree():
    periods = np.array([[1.0, 0.2], [0.0, 1.3]])
    loops, _ = noisy_loops(periods, 500, 0.03, 0, reach=2)
    false = np.random.default_rng(1).uniform(-3, 3, (10, 2))
    found = estimate_periods(np.concatenate([loops, false]), 0.05, support=5)
    assert same_lattice(periods, found.basis, 0.01)
    assert found.fits[:500].all()
    assert not found.fits[500:].all()
    with pytest.raises(LatticeError, match="raise support"):
        estimate_periods(np.concatenate([loops, false]), 0.05)


def test_a_loop_and_its_reverse_agree():
    loops = np.array([[1.0, 0.0], [-1.0, 0.0], [1.02, 0.0], [0.0, 1.5], [0.0, -1.5], [0.0, 1.52]])
    found = estimate_periods(loops, 0.05, support=3)
    assert found.basis == pytest.approx(np.diag([1 + 0.02 / 3, 1.5 + 0.02 / 3]))


@pytest.mark.parametrize(
    ("loops", "tolerance", "message"),
    [
        ([[1.0, 0.0], [2.0, 0.0]], 0.1, "2 independent directions, got loops in 1"),
        ([[0.01, 0.0]], 0.1, "in 0"),
        ([[1.0, np.inf]], 0.1, "finite"),
        ([1.0, 2.0], 0.1, "matrix"),
        ([[1.0]], 0.0, "positive"),
        ([[1.0], [1.35], [1.7]], 0.15, "on a lattice"),
        ([[0.45, 0.0], [5.0, 0.4], [5.0, -0.6]], 0.44, "raise tolerance"),
    ],
)
def test_loops_without_a_lattice_are_refused(loops, tolerance, message):
    with pytest.raises(LatticeError, match=message):
        estimate_periods(loops, tolerance)


def test_the_tolerance_is_that_of_loops_that_do_not_wind():
    periods = np.array([[1.0, 0.2], [0.0, 1.3]])
    loops, windings = noisy_loops(periods, 2000, 0.08, 0)
    expected = np.linalg.norm(loops[(windings == 0).all(1)], axis=1).max()
    assert loop_tolerance(loops) == expected
    assert same_lattice(periods, estimate_periods(loops).basis, 0.01)
    with pytest.raises(LatticeError, match="gap"):
        loop_tolerance(np.random.default_rng(0).uniform(-1, 1, (500, 2)))
    for few, message in (
        (loops[:15], "at least 20 loops that are not 0.*got 15.*give --tolerance"),
        (np.zeros((30, 2)), "not all 0, got 30 loops of length 0"),
        (windings[:500] @ periods.T, "and [1-9][0-9]* of length 0: .* give --tolerance"),
        (loops[(windings != 0).any(1)], "got no gap in .* of length 0.*, and 0 of .* give --tolerance"),
    ):
        with pytest.raises(LatticeError, match=message):
            loop_tolerance(few)
    twenty = np.concatenate([np.full(10, 0.1), np.ones(10)])[:, None]
    assert loop_tolerance(twenty) == 0.1
    with pytest.raises(LatticeError, match="got 19"):
        loop_tolerance(twenty[1:])


def torus_trajectory(units, steps=1500, seed=0):
    """Observations of two angles, ground truth of the angles, and displacements in other units."""
    generator = np.random.default_rng(seed)
    turns = generator.uniform(-2, 2, (steps, 2))
    angles = np.concatenate([np.zeros((1, 2)), np.cumsum(turns, 0)])
    seen = np.concatenate([np.cos(angles), np.sin(angles)], 1)
    return seen, angles, turns @ units.T


def test_closed_loops_are_all_pairs_that_look_the_same():
    seen, _, moved = torus_trajectory(np.eye(2), steps=600)
    loops = closed_loops(seen, moved, 0.2)
    position = np.concatenate([np.zeros((1, 2)), np.cumsum(moved, 0)])
    expected = [
        position[t] - position[s]
        for s in range(601)
        for t in range(s + 1, 601)
        if np.linalg.norm(seen[s] - seen[t]) <= 0.2
    ]
    assert loops == pytest.approx(np.array(expected))
    assert len(closed_loops(seen[:2], moved[:1], 1e-3)) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [({"threshold": 0.0}, "threshold"), ({"displacements": np.zeros((5, 2))}, "one displacement less")],
)
def test_bad_trajectories_are_refused(change, message):
    arguments = {"observations": np.zeros((5, 3)), "displacements": np.zeros((4, 2)), "threshold": 0.1} | change
    with pytest.raises(LatticeError, match=message):
        closed_loops(**arguments)


def test_too_many_pairs_are_refused():
    with pytest.raises(LatticeError, match=r"at most 1048576 pairs .* lower the threshold"):
        closed_loops(np.zeros((2000, 1)), np.zeros((1999, 1)), 1.0)
    few = np.zeros((10, 1)), np.zeros((9, 1)), 1.0
    assert len(closed_loops(*few, PeriodsConfig(max_pairs=45))) == 45
    with pytest.raises(LatticeError, match="at most 44 pairs"):
        closed_loops(*few, PeriodsConfig(max_pairs=44))


def test_the_configuration_of_periods_is_used():
    three = np.array([[0.1], [0.1], [0.1], [1.0], [1.0], [1.0]])
    assert loop_tolerance(three, PeriodsConfig(min_unwound=3)) == 0.1
    with pytest.raises(LatticeError, match="at least 8 loops"):
        loop_tolerance(three, PeriodsConfig(min_unwound=4))
    longer = [[2.0], [3.0], [4.5]]  # the first two means are on the integers, all three on the halves
    assert estimate_periods(longer, 0.05).basis == pytest.approx(np.array([[0.5]]))
    assert estimate_periods(longer, 0.05, config=PeriodsConfig(max_clusters=2)).basis == pytest.approx(np.eye(1))
    loops = np.random.default_rng(0).integers(-3, 4, (500, 2)) * [1.0, 1.2] + normal(500, 2) * [0.01, 0.03]
    for config, shortest in (
        (PeriodsConfig(), [0.0, 1.2]),  # in the metric of the residuals: 1.2 / 0.03 < 1 / 0.01
        (PeriodsConfig(min_residuals=1000), [1.0, 0.0]),
        (PeriodsConfig(min_spread=1.0), [1.0, 0.0]),
    ):
        assert estimate_periods(loops, 0.15, config=config).basis[:, 0] == pytest.approx(shortest, abs=0.01)
    for name in ("max_pairs", "max_clusters", "min_unwound", "min_residuals", "min_spread"):
        with pytest.raises(ConfigError, match=name):
            PeriodsConfig(**{name: 0})


def test_the_chart_of_a_torus_in_unknown_units_is_its_angles():
    units = np.array([[0.7, 1.9], [-0.4, 1.1]])
    seen, angles, moved = torus_trajectory(units)
    found = estimate_periods(closed_loops(seen, moved, 0.25), support=3)
    assert same_lattice(2 * np.pi * units, found.basis, 0.01)
    whole = np.rint(np.linalg.solve(2 * np.pi * units, found.basis))
    expected = np.linalg.solve(whole, (angles / (2 * np.pi)).T).T
    position = np.concatenate([np.zeros((1, 2)), np.cumsum(moved, 0)])[:50]
    difference = torus_chart(position, found.basis) - expected[:50]
    assert np.abs(difference - np.rint(difference)).max() < 0.02


def test_the_chart_is_periodic_and_below_one():
    basis = np.array([[1.0, 0.4], [0.0, 1.5]])
    points = normal(50, 2)
    chart = torus_chart(points, basis)
    assert ((chart >= 0) & (chart < 1)).all()
    moved = torus_chart(points + basis @ [3, -5], basis)
    difference = moved - chart
    assert difference - np.rint(difference) == pytest.approx(0, abs=1e-9)
    assert np.mod((chart @ basis.T - points) @ np.linalg.inv(basis).T + 0.5, 1) == pytest.approx(0.5)
    assert torus_chart([[-1e-20, 0.0]], np.eye(2)).tolist() == [[0.0, 0.0]]
    for bad in (np.zeros((3, 3)), [[np.nan, 0.0]], 1.0):
        with pytest.raises(LatticeError, match="coordinates"):
            torus_chart(bad, basis)


def test_displacements_on_the_torus_compose():
    from equiact.envs.lie_groups.registry import group_from_name

    basis = np.array([[1.0, 0.4], [0.0, 1.5]])
    first, second = normal(20, 2), normal(20, 2, seed=1)
    elements, name = torus_displacements(first, basis)
    group = group_from_name(name)
    assert name == "SO2xSO2"
    group.validate(elements, "elements")
    together = torus_displacements(first + second, basis)[0]
    assert group.compose(elements, torus_displacements(second, basis)[0]) == pytest.approx(together)
    assert torus_displacements(basis.T, basis)[0] == pytest.approx(np.array([[1, 0, 1, 0]] * 2), abs=1e-9)
    quarter = torus_displacements(basis[:, 1] / 4, basis)[0]
    assert quarter == pytest.approx(np.array([1.0, 0, 0, 1]), abs=1e-9)
    assert torus_displacements([[0.25]], [[1.0]])[1] == "SO2"


# --- command and benchmark ---


def analyze(**options):
    from equiact.scripts.analyses.analyze_lattice import AnalyzeLattice

    return AnalyzeLattice(**options)


def test_the_command_reduces_bases(tmp_path):
    np.save(tmp_path / "bases.npy", normal(50, 4, 4))
    network(4).save(tmp_path / "reducer")
    result = analyze(bases=tmp_path / "bases.npy", reducer=tmp_path / "reducer", output=tmp_path / "out.npz").run()
    assert (result["lattices"], result["dimension"]) == (50, 4)
    defect = result["defect"]
    assert defect["given"] == pytest.approx(np.exp(log_orthogonality_defect(normal(50, 4, 4)).mean()))
    assert defect["network"] <= defect["projection"] < defect["given"]
    with np.load(tmp_path / "out.npz") as written:
        assert np.exp(log_orthogonality_defect(written["basis"]).mean()) == pytest.approx(defect[result["best"]])
        assert defect[result["best"]] == min(defect.values())
        assert written["basis"] == pytest.approx(normal(50, 4, 4) @ written["transform"])


def test_the_command_trains_a_network_and_uses_it(tmp_path, monkeypatch):
    def train_tiny(dim, config, seed, progress):
        assert config == LatticeReducerConfig()
        return train_lattice_reducer(dim, TINY, seed, progress)

    monkeypatch.setattr(lattice_training, "train_lattice_reducer", train_tiny)
    np.save(tmp_path / "bases.npy", normal(20, 3, 3))
    folder = tmp_path / "reducer"
    result = analyze(bases=tmp_path / "bases.npy", reducer=folder, train=True, seed=3).run()
    reducer = train_lattice_reducer(3, TINY, seed=3)
    loaded = LatticeReducer.load(folder)
    assert (loaded.dim, loaded.config) == (3, TINY)
    pairs = zip(loaded.state_dict().values(), reducer.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    expected = log_orthogonality_defect(reducer.reduce(normal(20, 3, 3)).basis).mean()
    assert result["defect"]["network"] == pytest.approx(np.exp(expected))
    again = analyze(bases=tmp_path / "bases.npy", reducer=folder).run()
    assert again["defect"] == result["defect"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bases": "bases.npy"}, "got no --reducer FOLDER; add it"),
        ({"loops": "loops.npy", "reducer": "new"}, "got no BASES; add it"),
        ({"bases": "bases.npy", "reducer": "taken"}, "taken"),
    ],
)
def test_the_command_refuses_training_before_it_begins(tmp_path, options, message):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match=message):
        analyze(train=True, **{name: tmp_path / path for name, path in options.items()}).run()


def test_the_command_finds_periods(tmp_path):
    periods = np.array([[1.0, 0.2], [0.0, 1.3]])
    np.save(tmp_path / "loops.npy", noisy_loops(periods, 400, 0.05, 0)[0])
    result = analyze(loops=tmp_path / "loops.npy", tolerance=0.06, output=tmp_path / "periods.npz").run()
    assert result["share that fits"] == 1
    assert list(result["periods"]) == ["period 1", "period 2"]
    with np.load(tmp_path / "periods.npz") as written:
        assert same_lattice(periods, written["periods"], 0.01)
        assert written["windings"].shape == (400, 2)


def test_the_command_refuses_bad_files(tmp_path):
    (tmp_path / "text.npy").write_text("text")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    np.save(tmp_path / "complex.npy", np.eye(2) * 1j)
    for name, message in (("text", "NPY"), ("objects", "NPY"), ("complex", "real numbers"), ("missing", "not exist")):
        with pytest.raises(ValueError, match=message):
            analyze(bases=tmp_path / f"{name}.npy").run()
    for shape, message in (
        ((0, 3, 3), "at least one basis"),
        ((65, 65), "from 1 to 64, got n = 65"),
        ((2, 3), "square basis .*--loops"),
    ):
        np.save(tmp_path / "bases.npy", np.ones(shape))
        with pytest.raises(ValueError, match=message):
            analyze(bases=tmp_path / "bases.npy").run()
    np.save(tmp_path / "loops.npy", np.zeros((0, 2)))
    with pytest.raises(ValueError, match="--loops, got zero loops"):
        analyze(loops=tmp_path / "loops.npy").run()
    np.save(tmp_path / "loops.npy", np.eye(2))
    with pytest.raises(ValueError, match="positive --tolerance, got -1"):
        analyze(loops=tmp_path / "loops.npy", tolerance=-1.0).run()
    np.savez(tmp_path / "loops.npz", loops=np.eye(2))
    with pytest.raises(ValueError, match="--loops to be an NPY file with one array, got the NPZ archive"):
        analyze(loops=tmp_path / "loops.npz").run()
    with pytest.raises(ValueError, match="both or none"):
        analyze().run()
    with pytest.raises(ValueError, match="both or none"):
        analyze(bases=tmp_path / "a.npy", loops=tmp_path / "b.npy").run()
    with pytest.raises(ValueError, match=r"\.npz"):
        analyze(bases=tmp_path / "a.npy", output=tmp_path / "b.txt").run()


def test_the_benchmark_measures_errors_of_periods():
    from equiact.scripts.benchmarks.instruments.lattice_benchmark import period_error, random_bases

    truth = np.array([[1.0, 0.5], [0.0, 2.0]])
    other = truth @ np.array([[1, 1], [0, 1]])
    assert period_error(other, truth) == pytest.approx(0)
    assert period_error(1.02 * other, truth) == pytest.approx(0.02)
    assert period_error(truth * [2, 1], truth) == np.inf
    plain, skew = random_bases(200, 4, 0), random_bases(200, 4, 0, skew=True)
    assert log_orthogonality_defect(skew).mean() > log_orthogonality_defect(plain).mean() + 2


def test_an_arm_looks_the_same_after_a_turn():
    from equiact.scripts.benchmarks.instruments.arm_images import arm_trajectory, render_arm

    angles = normal(5, 2)
    assert (render_arm(angles) == render_arm(angles + 2 * np.pi * np.array([3, -2]))).mean() > 0.999
    assert (render_arm(angles) != render_arm(angles + np.array([np.pi, 0]))).any((1, 2, 3)).all()
    assert (render_arm(angles) != render_arm(angles + np.array([0, np.pi]))).any((1, 2, 3)).all()
    arm = arm_trajectory(20, 0)
    assert (arm.frames.shape, arm.actions.shape) == ((21, 32, 32, 3), (20, 2))
    assert arm.periods == pytest.approx(2 * np.pi * arm.units)


@pytest.mark.slow
def test_an_encoder_learns_on_the_estimated_torus():
    from equiact.scripts.benchmarks.instruments.lattice_benchmark import QUICK, measure_arm

    values = measure_arm(QUICK, 0)
    assert values["period_error_percent"] < 1
    assert values["hit_rate_estimated_periods"] > 0.8
    assert values["hit_rate_estimated_periods"] > values["hit_rate_known_periods"] - 0.06  # three standard errors
