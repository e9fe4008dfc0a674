"""Symmetry discovery: groups and their names, spectral networks, actions of unknown effect, hand-over, command."""

import dataclasses
import itertools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from equiact.envs.lie_groups.group import GroupError
from equiact.envs.lie_groups.registry import group_from_name
from equiact.representations.analysis.symmetry.action_data import (
    ActionData,
    load_action_data,
    save_action_data,
    split_actions,
)
from equiact.representations.analysis.symmetry.action_encoder import (
    ActionEncoder,
    ActionEncoderConfig,
    discover_action_group,
    train_action_encoder,
)
from equiact.representations.analysis.symmetry.action_group import (
    ActionGroup,
    ActionGroupConfig,
    action_matrices,
    group_of_actions,
)
from equiact.representations.analysis.symmetry.finite_groups import FiniteGroup, GroupTableError, block_dimensions
from equiact.representations.analysis.symmetry.group_catalogue import (
    abelian_name,
    catalogue,
    extend_isomorphism,
    identify,
    isomorphism,
)
from equiact.representations.analysis.symmetry.group_constructors import (
    alternating_group,
    cyclic_group,
    dicyclic_group,
    dihedral_group,
    direct_product,
    group_from_permutations,
    quaternion_group,
    semidirect_product,
    symmetric_group,
)
from equiact.representations.analysis.symmetry.group_handover import (
    TableGroup,
    faithful_representation,
    group_for_encoders,
    register_table_group,
    transitions_of_actions,
)
from equiact.representations.analysis.symmetry.group_recovery import (
    DiscoveredGroup,
    NoGroupFoundError,
    discover_group,
    group_of_network,
    recover_table,
    table_distances,
)
from equiact.representations.analysis.symmetry.irreducible_representations import (
    irreducible_representations,
    irrep_dims,
    real_representations,
    regular_representation,
    representation_error,
)
from equiact.representations.analysis.symmetry.orbit_pairs import (
    invariance_moments,
    invariant_forms_table,
    sample_orbit_pairs,
)
from equiact.representations.analysis.symmetry.spectral_network import (
    SpectralConfig,
    SpectralNetwork,
    fit_spectral_network,
    unitarity_error,
)
from equiact.representations.analysis.symmetry.state_matching import group_of_matched_states, match_states
from equiact.representations.learning.config import ConfigError, OptimConfig
from equiact.scripts.analyses import array_files
from equiact.scripts.analyses.analyze_symmetry import AnalyzeSymmetry
from equiact.scripts.analyses.array_files import read_arrays, read_npy
from hypothesis import given, settings
from hypothesis import strategies as st

NUMBERS_OF_GROUPS = [1, 1, 1, 2, 1, 2, 1, 5, 2, 2, 1, 5, 1, 2, 1, 14, 1, 5, 1, 5, 2, 2, 1, 15]
ALL = [(name, group) for order in range(1, 25) for name, group in catalogue(order)]
SMALL = [(name, group) for name, group in ALL if group.order <= 8]
UP_TO_12 = [(name, group) for name, group in ALL if 8 < group.order <= 12]


def named(groups: list[tuple[str, FiniteGroup]]) -> pytest.MarkDecorator:
    """Return a parametrisation over groups, with their names as identifiers."""
    return pytest.mark.parametrize(("name", "group"), groups, ids=[name for name, _ in groups])


def fourier_transform(group: FiniteGroup) -> tuple[np.ndarray, ...]:
    """Return the weights of an exactly invariant network: the adjoint matrices of all irreducible representations."""
    return tuple(irrep.conj().transpose(0, 2, 1) for irrep in irreducible_representations(group))


# ---------------------------------------------------------------------------------------------------- finite groups


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([[0, 1], [1, 2]], r"1·1 = 2; the table is not closed"),
        ([[0, 1], [1, -1]], r"not closed"),
        ([[0, 1, 2], [1, 0, 1], [2, 1, 0]], r"1 twice in row 1"),
        ([[0, 1, 2], [2, 0, 1], [2, 1, 0]], r"2 twice in column 0"),
        ([[1, 0, 2], [0, 2, 1], [2, 1, 0]], r"expected an identity"),
        ([[0, 1, 2], [2, 0, 1], [1, 2, 0]], r"0·1 = 1 and 1·0 = 2"),
        ([[0, 1], [1, 0], [0, 1]], r"square table"),
        ([[0.0, 1.0], [1.0, 0.0]], r"table of integers, got float64"),
        (np.zeros((0, 0), int), r"1 to 512 rows"),
    ],
)
def test_a_table_that_is_no_group_is_refused_with_the_reason(table: list[list[int]], message: str) -> None:
    with pytest.raises(GroupTableError, match=message):
        FiniteGroup(np.array(table))


def test_a_latin_square_with_identity_that_is_not_associative_is_refused_with_three_elements() -> None:
    loop = np.array([[0, 1, 2, 3, 4], [1, 0, 3, 4, 2], [2, 4, 0, 1, 3], [3, 2, 4, 0, 1], [4, 3, 1, 2, 0]])
    pattern = r"\((\d)·(\d)\)·(\d) = (\d) and \d·\(\d·\d\) = \d"
    with pytest.raises(GroupTableError, match=pattern) as caught:
        FiniteGroup(loop)
    match = re.search(pattern, str(caught.value))
    assert match is not None
    a, b, c, left = map(int, match.groups())
    assert loop[loop[a, b], c] == left != loop[a, loop[b, c]]


def test_the_table_of_a_group_is_a_copy_that_cannot_be_written() -> None:
    table = np.array([[0, 1], [1, 0]])
    group = FiniteGroup(table)
    table[0, 0] = 1
    assert group.table[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        group.table[0, 0] = 1


@named(ALL)
def test_invariants_agree_with_their_definitions(name: str, group: FiniteGroup) -> None:
    table, n, one = group.table, group.order, group.identity
    for g in range(n):
        power, order = g, 1
        while power != one:
            power, order = table[power, g], order + 1
        assert group.orders[g] == order
        assert table[g, group.inverses[g]] == table[group.inverses[g], g] == one
    classes = {frozenset(int(table[table[k, g], group.inverses[k]]) for k in range(n)) for g in range(n)}
    assert {frozenset(each) for each in group.conjugacy_classes} == classes
    assert group.center == tuple(g for g in range(n) if all(table[g, h] == table[h, g] for h in range(n)))
    assert group.is_abelian == (len(group.center) == n)
    assert len(group.subgroup(group.generators)) == n
    commutator = group.commutator_subgroup
    assert n % len(commutator) == 0 and (len(commutator) == 1) == group.is_abelian


def test_known_groups_have_their_known_invariants() -> None:
    assert [len(each) for each in symmetric_group(4).conjugacy_classes] == [1, 6, 6, 3, 8] or sorted(
        len(each) for each in symmetric_group(4).conjugacy_classes
    ) == [1, 3, 6, 6, 8]
    assert alternating_group(5).order == 60 and len(alternating_group(5).commutator_subgroup) == 60
    assert irrep_dims(alternating_group(5)) == (1, 3, 3, 4, 5)
    assert irrep_dims(symmetric_group(4)) == (1, 1, 2, 3, 3)
    assert dihedral_group(6).center == (0, 3) and quaternion_group().center == (0, 2)
    assert dihedral_group(3).table[3, 1] == dihedral_group(3).table[2, 3]  # f r = r⁻¹ f
    assert dicyclic_group(3).table[6, 6] == 3  # x² = a³
    assert symmetric_group(2).order == 2 and alternating_group(2).order == 1 and alternating_group(3).order == 3


def test_a_subgroup_and_labels_outside_the_group_are_refused() -> None:
    with pytest.raises(ValueError, match="elements between 0 and 3, got 4"):
        cyclic_group(4).subgroup([4])
    with pytest.raises(ValueError, match="permutation of 0, …, 3"):
        cyclic_group(4).relabelled([0, 1, 2, 2])
    with pytest.raises(ValueError, match="whole number between 2 and 512, got 1"):
        dihedral_group(1)
    with pytest.raises(ValueError, match="at most 512"):
        group_from_permutations([[1, 2, 3, 4, 5, 0], [1, 0, 2, 3, 4, 5]])
    with pytest.raises(ValueError, match="permutations of the same points"):
        group_from_permutations([[0, 0]])
    with pytest.raises(ValueError, match="action of shape"):
        semidirect_product(cyclic_group(3), cyclic_group(2), [[0, 1, 2]])
    with pytest.raises(GroupTableError):  # x ↦ 2x has order 2 modulo 3, not 3
        semidirect_product(cyclic_group(3), cyclic_group(3), [[0, 1, 2], [0, 2, 1], [0, 1, 2]])


# -------------------------------------------------------------------------------------------------------- catalogue


def test_the_catalogue_has_all_groups_up_to_order_24() -> None:
    """The number of groups of each order is known; no two of the same order are isomorphic."""
    assert [len(catalogue(order)) for order in range(1, 25)] == NUMBERS_OF_GROUPS
    for order in range(1, 25):
        for (_, one), (_, other) in itertools.combinations(catalogue(order), 2):
            assert isomorphism(one, other) is None
    assert len({name for name, _ in ALL}) == len(ALL)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(ALL), st.randoms(use_true_random=False))
def test_a_group_is_identified_whatever_its_elements_are_called(entry: tuple[str, FiniteGroup], random: object) -> None:
    name, group = entry
    labels = list(range(group.order))
    random.shuffle(labels)  # type: ignore[attr-defined]
    other = group.relabelled(labels)
    assert identify(other) == name
    images = isomorphism(group, other)
    assert images is not None and sorted(images.tolist()) == list(range(group.order))
    assert (images[group.table] == other.table[images[:, None], images]).all()


def test_larger_groups_have_names_where_they_are_in_a_family() -> None:
    assert identify(cyclic_group(100)) == "C100"
    assert abelian_name(direct_product(cyclic_group(6), cyclic_group(10))) == "C30xC2"
    assert identify(dihedral_group(15)) == "D15" and identify(dicyclic_group(8)) == "Dic8"
    assert identify(alternating_group(5)) == "unnamed group of order 60"
    assert identify(symmetric_group(5)) == "unnamed group of order 120"
    with pytest.raises(ValueError, match="abelian"):
        abelian_name(dihedral_group(3))
    with pytest.raises(ValueError, match="at most 64"):
        isomorphism(cyclic_group(65), cyclic_group(65))
    with pytest.raises(ValueError, match="between 1 and 64"):
        catalogue(65)


# -------------------------------------------------------------------------------------------------- representations


@named(ALL)
def test_representations_are_unitary_complete_and_orthogonal(name: str, group: FiniteGroup) -> None:
    irreps = irreducible_representations(group, seed=3)
    assert all(representation_error(group, irrep) < 1e-9 for irrep in irreps)
    assert len(irreps) == len(group.conjugacy_classes)
    dims = tuple(irrep.shape[1] for irrep in irreps)
    assert sum(d * d for d in dims) == group.order and dims in block_dimensions(group.order)
    assert dims.count(1) == group.order // len(group.commutator_subgroup)
    characters = np.stack([np.trace(irrep, axis1=1, axis2=2) for irrep in irreps])
    assert np.allclose(characters @ characters.conj().T, group.order * np.eye(len(irreps)))
    assert np.allclose(irreps[0], 1)


@named(ALL)
def test_real_representations_are_orthogonal_and_a_few_are_faithful(name: str, group: FiniteGroup) -> None:
    irreps = real_representations(group)
    assert all(irrep.dtype == float and representation_error(group, irrep) < 1e-9 for irrep in irreps)
    pairs = {frozenset((g, int(group.inverses[g]))) for g in range(group.order)}
    real_classes = {
        frozenset(k for each in pairs if g in each for h in each for c in group.conjugacy_classes if h in c for k in c)
        for g in range(group.order)
    }
    assert len(irreps) == len(real_classes)  # as many as classes of {g, g⁻¹}
    blocks = faithful_representation(group)
    flat = np.concatenate([block.reshape(group.order, -1) for block in blocks], 1)
    assert (
        group.order == 1 or np.linalg.norm(flat[:, None] - flat, axis=2)[~np.eye(group.order, dtype=bool)].min() > 0.1
    )


def test_smallest_faithful_representations_are_known() -> None:
    sizes = {"C6": [2], "D4": [2], "Q8": [4], "A4": [3], "S4": [3], "C2xC2xC2": [1, 1, 1], "C4xC2": [1, 2]}
    for name, group in ALL:
        if name in sizes:
            assert [block.shape[1] for block in faithful_representation(group)] == sizes[name]


def test_the_regular_representation_multiplies_and_errors_are_found() -> None:
    group = dihedral_group(4)
    regular = regular_representation(group)
    assert representation_error(group, regular) == 0
    assert regular[3] @ np.eye(8)[5] @ np.arange(8) == group.table[3, 5]
    wrong = irreducible_representations(group)[4].copy()
    wrong[1] *= 1.1
    assert representation_error(group, wrong) > 0.05
    with pytest.raises(ValueError, match=r"shape \(8, d, d\)"):
        representation_error(group, wrong[1:])
    with pytest.raises(ValueError, match="at most 128"):
        irreducible_representations(cyclic_group(129))


def test_block_dimensions_are_all_that_the_theorems_allow() -> None:
    assert block_dimensions(1) == [(1,)] and block_dimensions(2) == [(1, 1)]
    assert block_dimensions(6) == [(1,) * 6, (1, 1, 2)]
    assert block_dimensions(12) == [(1,) * 12, (1, 1, 1, 1, 2, 2), (1, 1, 1, 3)]
    with pytest.raises(ValueError, match="between 1 and 64"):
        block_dimensions(0)


# ------------------------------------------------------------------------------------------------ spectral networks


@named([each for each in ALL if each[1].order <= 16])
def test_the_fourier_transform_is_invariant_unitary_and_gives_the_table(name: str, group: FiniteGroup) -> None:
    blocks = fourier_transform(group)
    network = SpectralNetwork(blocks, 0.0)
    x, y = sample_orbit_pairs(group, 20, seed=1)
    for one, other in zip(network.features(x), network.features(y), strict=True):
        assert np.allclose(one, other)
    assert unitarity_error(blocks) < 1e-12
    table, margin = recover_table(blocks)
    assert (table == group.table).all() and margin == pytest.approx(1)
    distances = np.sort(table_distances(blocks), 2)
    assert np.allclose(distances[..., 0], 0, atol=1e-6)
    assert np.allclose(distances[..., 1:], np.sqrt(2 * group.order))


@named([each for each in ALL if each[1].order <= 12])
def test_the_published_regulariser_vanishes_for_abelian_groups_only(name: str, group: FiniteGroup) -> None:
    """Without the weights d_i the true Fourier transform of a non-abelian group is not a minimum."""
    error = unitarity_error(fourier_transform(group), weighted=False)
    assert (error < 1e-12) if group.is_abelian else (error > 0.1)
    if not group.is_abelian:  # nor does another factor in place of n help
        rows = np.concatenate([block.reshape(group.order, -1) for block in fourier_transform(group)], 1)
        gram = rows @ rows.conj().T
        assert abs(gram - np.trace(gram).real / group.order * np.eye(group.order)).max() > 0.1


def test_features_of_a_wrong_group_are_not_invariant() -> None:
    network = SpectralNetwork(fourier_transform(cyclic_group(6)), 0.0)
    x, y = sample_orbit_pairs(dihedral_group(3), 50)
    assert max(abs(a - b).max() for a, b in zip(network.features(x), network.features(y), strict=True)) > 1
    with pytest.raises(ValueError, match=r"shape \(B, 6\)"):
        network.features(x[:, :5])


def test_pairs_are_orbits_and_noise_has_its_standard_deviation() -> None:
    group = dihedral_group(3)
    x, y = sample_orbit_pairs(group, 4000, noise=0.5, seed=1)
    moved = np.stack([y[:, group.table[g]] for g in range(6)])  # (g⁻¹·y)(h) = y(gh)
    rest = (moved - x)[abs(moved - x).mean(2).argmin(0), np.arange(4000)]
    assert rest.real.std() == pytest.approx(0.5, rel=0.03) and rest.imag.std() == pytest.approx(0.5, rel=0.03)
    assert y.real.std() == pytest.approx(1, rel=0.03)
    for wrong in ((0, 0.0), (5, -1.0), (5, np.nan)):
        with pytest.raises(ValueError, match="positive count"):
            sample_orbit_pairs(group, *wrong)


def test_moments_are_the_covariance_of_quadratic_forms() -> None:
    x, y = sample_orbit_pairs(dihedral_group(3), 3000, noise=0.3)
    form = np.random.default_rng(0).normal(size=(6, 6)) + 1j * np.random.default_rng(1).normal(size=(6, 6))
    values = np.einsum("xg,gh,xh->x", x, form.conj(), x.conj()) - np.einsum("xg,gh,xh->x", y, form.conj(), y.conj())
    power = (abs(x) ** 2).mean() + (abs(y) ** 2).mean()
    expected = (abs(values - values.mean()) ** 2).mean() * (2 / power) ** 2
    vector = form.reshape(-1)
    assert (vector.conj() @ invariance_moments(x, y) @ vector).real == pytest.approx(expected)
    assert np.allclose(invariance_moments(3 * x, 3 * y), invariance_moments(x, y))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((3, 2)), np.zeros((3, 3)), "one shape"),
        (np.ones((1, 2)), np.ones((1, 2)), "at least two pairs"),
        (np.ones((3, 65)), np.ones((3, 65)), "at most 64"),
        (np.full((3, 2), np.nan), np.ones((3, 2)), "finite"),
        (np.zeros((3, 2)), np.zeros((3, 2)), "not all zero"),
        (np.array([["a"], ["b"]]), np.array([["a"], ["b"]]), "numbers"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(x: np.ndarray, y: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        discover_group(x, y)


@named([each for each in ALL if 1 < each[1].order <= 16])
def test_invariant_forms_give_the_table_without_a_network(name: str, group: FiniteGroup) -> None:
    moments = invariance_moments(*sample_orbit_pairs(group, 800, seed=5))
    assert (invariant_forms_table(moments) == group.table).all()


@named(SMALL)
def test_groups_up_to_order_8_are_discovered(name: str, group: FiniteGroup) -> None:
    found = discover_group(*sample_orbit_pairs(group, 500, seed=7), seed=7)
    assert (found.table == group.table).all() and found.name == name
    assert found.margin > 0.99 and found.loss is not None and found.loss < 1e-6
    assert tuple(irrep.shape[1] for irrep in found.irreps) == irrep_dims(group)


@pytest.mark.slow
@named([*SMALL, *UP_TO_12])
def test_groups_up_to_order_12_are_discovered_from_ten_seeds(name: str, group: FiniteGroup) -> None:
    tables = [discover_group(*sample_orbit_pairs(group, 1000, seed=s), seed=s).table for s in range(10)]
    assert sum((table == group.table).all() for table in tables) >= (10 if group.order <= 8 else 9)


@pytest.mark.slow
def test_the_symmetric_group_of_four_points_is_discovered() -> None:
    group = symmetric_group(4)
    found = discover_group(*sample_orbit_pairs(group, 1500, seed=0), dims=(1, 1, 2, 3, 3), seed=0)
    assert found.name == "S4" and (found.table == group.table).all()


def test_noise_beyond_the_published_threshold_is_survived() -> None:
    group = cyclic_group(5)
    found = discover_group(*sample_orbit_pairs(group, 4000, noise=0.6, seed=2), dims=(1,) * 5, seed=2)
    assert (found.table == group.table).all()


def test_unknown_block_dimensions_are_chosen_by_the_loss_under_noise() -> None:
    group = dihedral_group(3)
    found = discover_group(*sample_orbit_pairs(group, 2000, noise=0.3, seed=2), config=SpectralConfig(restarts=4))
    assert found.name == "D3" and (found.table == group.table).all()


def test_the_identity_may_have_any_number() -> None:
    group = cyclic_group(5).relabelled([3, 1, 4, 0, 2])
    found = discover_group(*sample_orbit_pairs(group, 500))
    assert found.name == "C5" and found.group.identity == 0  # elements are counted from coordinate 0


def test_unrelated_pairs_are_not_explained_by_a_group() -> None:
    generator = np.random.default_rng(0)
    with pytest.raises(NoGroupFoundError, match="no group was found"):
        discover_group(generator.normal(size=(300, 5)), generator.normal(size=(300, 5)))


def test_a_table_with_a_small_margin_is_refused() -> None:
    noisy = tuple(
        block + 0.4 * np.random.default_rng(0).normal(size=block.shape) for block in fourier_transform(cyclic_group(3))
    )
    network = SpectralNetwork(noisy, 0.5)
    assert group_of_network(network, SpectralConfig(min_margin=0)).name == "C3"
    with pytest.raises(NoGroupFoundError, match=r"margin of at least 0\.99"):
        group_of_network(network, SpectralConfig(min_margin=0.99))


def test_losses_of_different_blocks_can_be_compared() -> None:
    """White noise costs every unitary network n³ / n² = n, whatever its blocks: the weights d_i see to that."""
    for group in (cyclic_group(8), quaternion_group(), dihedral_group(4)):
        blocks = fourier_transform(group)
        forms = [np.einsum("gab,hcb->acgh", block, block.conj()) for block in blocks]
        total = sum(form.shape[0] * (abs(form) ** 2).sum() for form in forms)
        assert total == pytest.approx(group.order**3)


def test_training_is_reproducible_and_checks_its_input() -> None:
    moments = invariance_moments(*sample_orbit_pairs(cyclic_group(4), 200))
    once, twice = (fit_spectral_network(moments, [(1,) * 4], seed=3) for _ in range(2))
    assert all((a == b).all() for a, b in zip(once.blocks, twice.blocks, strict=True)) and once.dims == (1,) * 4
    assert all(np.allclose(block[0], np.eye(block.shape[1])) for block in once.blocks)
    for options in ([], [(1, 1)], [(1, 1, 1, 1), (2, 1)]):
        with pytest.raises(ValueError, match="block dimensions"):
            fit_spectral_network(moments, options)
    with pytest.raises(ConfigError, match="regularization"):
        SpectralConfig(regularization=())
    with pytest.raises(ConfigError, match="restarts"):
        SpectralConfig(restarts=0)


def test_the_start_with_the_lowest_loss_is_kept() -> None:
    moments = invariance_moments(*sample_orbit_pairs(quaternion_group(), 500))
    config = SpectralConfig(restarts=1, regularization=(1.0,))
    single = [fit_spectral_network(moments, [(1, 1, 1, 1, 2)], config, seed).loss for seed in range(8)]
    assert max(single) > 0.1  # local minima exist
    assert fit_spectral_network(moments, [(1, 1, 1, 1, 2)], seed=int(np.argmax(single))).loss < 1e-6


# ------------------------------------------------------------------------------------- actions of unknown effect


def acted(
    group: FiniteGroup, actions: tuple[int, ...], count: int, noise: float, seed: int = 0
) -> tuple[np.ndarray, ...]:
    """Return vectors of the regular representation before and after random actions, mixed by a random matrix."""
    generator = np.random.default_rng(seed)
    mix = np.linalg.qr(generator.normal(size=(group.order, group.order)))[0] * generator.uniform(0.5, 2, group.order)
    x = generator.normal(size=(count, group.order))
    label = generator.integers(len(actions), size=count)
    y = np.einsum("xij,xj->xi", regular_representation(group)[np.array(actions)[label]], x)
    noisy = [each @ mix + noise * generator.normal(size=each.shape) for each in (x, y)]
    return noisy[0], label, noisy[1]


@named([each for each in ALL if 1 < each[1].order <= 24])
def test_generators_are_enough_to_recover_the_group(name: str, group: FiniteGroup) -> None:
    recovered = group_of_actions(*acted(group, group.generators, 600, noise=0.05))
    assert recovered.found.name == name
    orders = recovered.found.group.orders[recovered.elements]
    assert orders.tolist() == group.orders[list(group.generators)].tolist()


def test_the_elements_of_the_actions_satisfy_their_relations() -> None:
    recovered = group_of_actions(*acted(dihedral_group(4), (1, 4, 1, 0), 800, noise=0.05))
    r, f, again, nothing = recovered.elements.tolist()
    table = recovered.found.table
    assert again == r and nothing == 0 and table[f, f] == 0
    assert table[table[f, r], f] == recovered.found.group.inverses[r]


def test_actions_that_do_nothing_generate_the_trivial_group() -> None:
    points = np.random.default_rng(0).normal(size=(50, 3))
    recovered = group_of_actions(points, np.zeros(50, int), points)
    assert recovered.found.name == "C1" and recovered.elements.tolist() == [0]


def test_actions_of_no_finite_group_and_of_no_effect_on_the_latents_are_refused() -> None:
    generator = np.random.default_rng(0)
    x, label = generator.normal(size=(400, 2)), np.zeros(400, int)
    golden = np.pi * (5**0.5 - 1)  # the angle that is worst approximated by fractions of a turn
    turn = np.array([[np.cos(golden), np.sin(golden)], [-np.sin(golden), np.cos(golden)]])
    with pytest.raises(NoGroupFoundError, match=r"margin of at least 0\.75, got at most 0\.[0-3]"):
        group_of_actions(x, label, x @ turn)
    with pytest.raises(NoGroupFoundError, match="predict no direction"):
        group_of_actions(x, label, generator.normal(size=(400, 2)))
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    with pytest.raises(NoGroupFoundError, match="at most 3 elements"):
        group_of_actions(x, label, x @ turn, ActionGroupConfig(max_order=3))


def test_directions_that_no_action_predicts_are_dropped() -> None:
    before, label, after = acted(dihedral_group(3), (1, 3), 1000, noise=0.0)
    generator = np.random.default_rng(1)
    extra = [np.concatenate([each, 5 * generator.normal(size=(1000, 4))], 1) for each in (before, after)]
    assert action_matrices(extra[0], label, extra[1])[0].shape[1] == 5  # six less the fixed vector
    assert group_of_actions(extra[0], label, extra[1]).found.name == "D3"


@pytest.mark.parametrize(
    ("before", "action", "after", "message"),
    [
        (np.zeros((4, 2)), np.zeros(4, int), np.zeros((4, 3)), "shape"),
        (np.zeros((4, 2)), np.zeros(4), np.zeros((4, 2)), "whole numbers"),
        (np.zeros((4, 2)), np.full(4, -1), np.zeros((4, 2)), "whole numbers"),
        (np.full((4, 2), np.inf), np.zeros(4, int), np.zeros((4, 2)), "finite"),
        (np.zeros((4, 2)), np.array([0, 0, 2, 2]), np.zeros((4, 2)), "at least 4 times, got action 1 0 times"),
    ],
)
def test_latents_that_do_not_fit_are_refused(
    before: np.ndarray, action: np.ndarray, after: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        group_of_actions(before, action, after)


# ------------------------------------------------------------------------------------------------- images, counting


def lamp_data(count: int = 64, noise: float = 0.0) -> ActionData:
    """Return images of a bar that one action turns by 90° and another mirrors: the group D4."""
    generator = np.random.default_rng(0)
    bar = np.zeros((16, 16))
    bar[2:5, 3:14], bar[5:10, 3:6], bar[11:14, 3:6] = 200, 120, 60
    group = dihedral_group(4)
    states = np.stack([np.rot90(np.flipud(bar) if k >= 4 else bar, k % 4) for k in range(8)])
    label = np.arange(count) % 2
    pose = np.arange(count) // 2 % 8
    after = group.table[np.array([1, 4])[label], pose]
    noisy = [states[each] + noise * generator.normal(size=(count, 16, 16)) for each in (pose, after)]
    frames = [np.clip(each, 0, 255).astype(np.uint8)[..., None] for each in noisy]
    return ActionData(frames[0], label, frames[1])


def test_counting_recovers_the_group_where_states_repeat() -> None:
    recovered = group_of_matched_states(lamp_data())
    assert recovered.found.name == "D4" and recovered.found.margin == 1
    orders = recovered.found.group.orders[recovered.elements]
    assert orders.tolist() == [4, 2]


def test_counting_finds_what_actions_do_one_after_another() -> None:
    data, group = lamp_data(), dihedral_group(4)
    states, poses = np.unique(data.frames.reshape(64, -1), axis=0, return_inverse=True)
    maps = np.zeros((3, 8), int)
    for action in range(2):
        after = (data.next_frames.reshape(64, 1, -1) == states).all(2).argmax(1)
        maps[action, poses.ravel()[data.actions == action]] = after[data.actions == action]
    maps[2] = maps[0][maps[1]]  # first the reflection, then the rotation
    actions, before = (each.ravel() for each in np.indices((3, 8)))
    frames = states.reshape(8, 16, 16, 1)
    recovered = group_of_matched_states(ActionData(*(frames[before], actions, frames[maps[actions, before]])))
    turn, mirror, both = recovered.elements.tolist()
    assert recovered.found.table[turn, mirror] == both != recovered.found.table[mirror, turn]
    assert extend_isomorphism(group, recovered.found.group, (1, 4), (turn, mirror)) is not None


def test_counting_survives_noise_that_is_smaller_than_the_differences() -> None:
    assert group_of_matched_states(lamp_data(256, noise=10.0)).found.name == "D4"


def test_counting_refuses_states_that_were_not_tried_and_maps_that_are_not_one_to_one() -> None:
    data = lamp_data(64)
    kept = ~((data.actions == 0) & (np.arange(64) // 2 % 8 == 3))
    with pytest.raises(NoGroupFoundError, match="action 0 was not tried in state"):
        group_of_matched_states(ActionData(data.frames[kept], data.actions[kept], data.next_frames[kept]))
    same = np.broadcast_to(data.frames[:1], data.frames.shape)
    with pytest.raises(NoGroupFoundError, match="does not permute the 8 states"):
        group_of_matched_states(ActionData(data.frames, data.actions, np.ascontiguousarray(same)))
    with pytest.raises(ValueError, match="at most 8000"):
        match_states(np.zeros((8001, 1)))


def test_data_are_saved_loaded_and_checked(tmp_path: Path) -> None:
    data = lamp_data()
    save_action_data(tmp_path / "transitions.npz", data)
    again = load_action_data(tmp_path)
    assert (again.frames == data.frames).all() and (again.actions == data.actions).all() and len(again) == 64
    with pytest.raises(ValueError, match="does not exist"):
        load_action_data(tmp_path / "other.npz")
    np.savez(tmp_path / "half.npz", frames=data.frames, actions=data.actions)
    with pytest.raises(ValueError, match="got no next_frames"):
        load_action_data(tmp_path / "half.npz")
    np.save(tmp_path / "one.npy", data.frames)
    with pytest.raises(ValueError, match="expected an NPZ file"):
        load_action_data(tmp_path / "one.npy")
    for change, message in (
        ({"frames": data.frames.astype(float)}, "uint8"),
        ({"frames": data.frames[..., 0]}, "of one shape"),
        ({"actions": data.actions[:-1]}, "of integers"),
        ({"actions": data.actions - 1}, "got numbers from -1 to 0"),
        ({"actions": data.actions + 1023}, "got numbers from 1023 to 1024"),
        ({"actions": 2 * data.actions}, "got no action 1; number the actions without gaps"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(data, **change)


def test_a_split_keeps_transitions_together_and_holds_out_each_action() -> None:
    data = lamp_data(64)
    training, held_out = split_actions(data, 0.25, seed=1)
    assert len(training) == 48 and np.bincount(held_out.actions).tolist() == [8, 8]
    rows = {(a, f.tobytes(), g.tobytes()) for a, f, g in zip(data.actions, data.frames, data.next_frames, strict=True)}
    for part in (training, held_out):
        assert {
            (a, f.tobytes(), g.tobytes()) for a, f, g in zip(part.actions, part.frames, part.next_frames, strict=True)
        } <= rows
    few = ActionData(data.frames[:6], data.actions[:6], data.next_frames[:6])
    with pytest.raises(ValueError, match="at least 4 times, so that 1 of its transitions are held out, got action 0 3"):
        split_actions(few, 0.25, 0)
    assert [len(part) for part in split_actions(few, 0.4, 0)] == [4, 2]


@pytest.mark.parametrize("share", [0.1, 0.25, 0.3, 0.7])
def test_as_many_transitions_are_held_out_as_asked_for_or_refused(share: float) -> None:
    images = np.zeros((100, 1, 1, 1), np.uint8)
    for count in range(1, 100):
        data = ActionData(images[:count], np.zeros(count, int), images[:count])
        if count * share >= 6 - 1e-9:
            training, held_out = split_actions(data, share, 0, least=6)
            assert len(held_out) == int(share * count + 1e-9) and len(training) > 0
        else:
            with pytest.raises(ValueError, match="so that 6 of its transitions are held out"):
                split_actions(data, share, 0, least=6)


def test_an_encoder_needs_as_many_held_out_transitions_as_the_latent_has_coordinates() -> None:
    config = ActionEncoderConfig(optim=OptimConfig(steps=1, batch_size=8))
    with pytest.raises(ValueError, match=r"each action at least 64 times, so that 16 .* got action 1 63 times"):
        discover_action_group(lamp_data(127), config)
    with pytest.raises(NoGroupFoundError):  # enough of them, for an encoder that is not trained
        discover_action_group(lamp_data(128), config)


def test_on_four_transitions_a_quarter_turn_is_no_half_turn() -> None:
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    points = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    assert group_of_actions(points, np.zeros(4, int), points @ turn.T).found.name == "C4"
    with pytest.raises(ValueError, match="at least 4 times, got action 0 3 times"):
        group_of_actions(points[:3], np.zeros(3, int), points[:3] @ turn.T)


def test_an_encoder_learns_the_group_of_actions_from_images() -> None:
    config = ActionEncoderConfig(optim=OptimConfig(steps=120, lr=3e-3, batch_size=64))
    recovered = discover_action_group(lamp_data(256), config, seed=0)
    assert recovered.found.name == "D4" and recovered.found.margin > 0.6
    assert recovered.found.group.orders[recovered.elements].tolist() == [4, 2]


def test_an_untrained_encoder_encodes_unit_vectors_and_training_is_reproducible() -> None:
    data, config = lamp_data(16), ActionEncoderConfig(optim=OptimConfig(steps=2, batch_size=8))
    latents = ActionEncoder((16, 16, 1), 2, config).encode(data.frames)
    assert latents.shape == (16, 16) and np.allclose(np.linalg.norm(latents, axis=1), 1)
    once, twice = (train_action_encoder(data, config, seed=5) for _ in range(2))
    assert torch.equal(once.matrices, twice.matrices) and not once.training


# --------------------------------------------------------------------------------------------------------- hand-over


@named([each for each in ALL if 1 < each[1].order <= 12])
def test_encoders_get_the_group_with_elements_that_multiply_as_in_the_table(name: str, group: FiniteGroup) -> None:
    labels = np.random.default_rng(0).permutation(group.order)
    found = group.relabelled(labels)
    registered, elements = group_for_encoders(found, name)
    acting = group_from_name(registered)
    assert registered == name and np.allclose(acting.validate(elements), elements)
    products = acting.compose(elements[:, None], elements[None])
    assert np.allclose(products, elements[found.table], atol=1e-9)
    assert np.allclose(acting.compose(elements, acting.inverse(elements)), acting.identity(), atol=1e-9)


@pytest.mark.parametrize("make", [lambda: dihedral_group(4), quaternion_group, lambda: symmetric_group(4)])
def test_a_table_group_satisfies_the_axioms_of_encoders(make: object) -> None:
    group = TableGroup(make(), "X")  # type: ignore[operator]
    generator = np.random.default_rng(0)
    g, h, k = (group.random(generator, 20) for _ in range(3))
    assert np.allclose(group.compose(group.compose(g, h), k), group.compose(g, group.compose(h, k)))
    assert np.allclose(group.squared_distance(group.compose(k, g), group.compose(k, h)), group.squared_distance(g, h))
    raw = torch.randn(20, group.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = group.compose(torch.from_numpy(g), raw)
    assert torch.allclose(group.project(moved), group.compose(torch.from_numpy(g), group.project(raw)))
    assert np.allclose(group.project(raw.numpy()), group.project(raw).numpy())
    assert np.allclose(group.project(g), g) and np.allclose(group.constraint_penalty(g), 0)
    assert torch.allclose(group.constraint_penalty(moved), group.constraint_penalty(raw))
    assert (group.constraint_penalty(raw.numpy()) > 0.1).all() and group.relax(raw) is raw
    assert np.allclose(group.representation(group.compose(g, h)), group.representation(g) @ group.representation(h))
    assert np.allclose(group.exp(np.zeros((3, 0))), group.identity()) and group.violation(raw.numpy()).max() > 0.1
    raw.requires_grad_()
    group.project(raw).sum().backward()
    assert raw.grad is not None and torch.isfinite(raw.grad).all()
    with pytest.raises(GroupError, match="no log"):
        group.log(g)
    with pytest.raises(GroupError, match="no element of X"):
        group.validate(g + 0.1)


def test_a_name_belongs_to_one_group() -> None:
    assert register_table_group("D5", dihedral_group(5)) == register_table_group("D5", dihedral_group(5)) == "D5"
    with pytest.raises(GroupError, match="no other group has"):
        register_table_group("D5", dihedral_group(7))
    with pytest.raises(GroupError, match="no other group has"):
        register_table_group("SO3", dihedral_group(5))
    with pytest.raises(GroupError, match="another group"):
        group_for_encoders(cyclic_group(4), "C2xC2")
    with pytest.raises(GroupError, match="of the catalogue"):
        group_for_encoders(alternating_group(5), "A5")
    assert group_for_encoders(dict(catalogue(16))["C4:C4"], "C4:C4")[0] == "C4_C4"


@pytest.mark.parametrize(("order", "expected"), [(6, "C6"), (8, "D4")])
def test_encoders_train_on_the_transitions_that_were_handed_over(order: int, expected: str) -> None:
    from equiact.representations.encoders.class_pose import ClassPoseConfig
    from equiact.representations.learning.training import train_encoder

    data, group = lamp_data(), cyclic_group(6) if order == 6 else dihedral_group(4)
    recovered = ActionGroup(DiscoveredGroup(group, expected, 1.0), np.array([1, 4]))
    transitions = transitions_of_actions(data, recovered)
    assert transitions.group == expected and len(transitions) == 64
    assert (transitions.frames[transitions.end] == data.next_frames).all()
    config = ClassPoseConfig(backbone="strided", optim=OptimConfig(steps=2, batch_size=16))
    encoder = train_encoder(transitions, config, device="cpu")
    assert np.isfinite(encoder.encode(data.frames)["pose"]).all()


# ------------------------------------------------------------------------------------------------------------ command


def test_the_command_names_a_table(tmp_path: Path) -> None:
    np.save(tmp_path / "table.npy", quaternion_group().relabelled([3, 1, 0, 2, 5, 4, 7, 6]).table)
    result = AnalyzeSymmetry(table=tmp_path / "table.npy").run()
    assert result["group"] == "Q8" and result["order"] == 8 and not result["abelian"] and result["margin"] == 1
    assert result["irreps of dimension"] == {"1": 4, "2": 1}
    assert result["elements of order"] == {"1": 1, "2": 1, "4": 6} and result["conjugacy classes"] == 5


def test_the_command_discovers_the_group_of_actions(tmp_path: Path) -> None:
    save_action_data(tmp_path / "transitions.npz", lamp_data(256))
    result = AnalyzeSymmetry(data=tmp_path, steps=120, device="cpu").run()
    assert (result["group"], result["by counting states"]) == ("D4", "D4")
    assert set(result["elements"]) == {"action 0", "action 1"}


def test_the_command_refuses_files_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"got neither; give a file TABLE.npy, or --data"):
        AnalyzeSymmetry().run()
    with pytest.raises(ValueError, match="got both"):
        AnalyzeSymmetry(table=tmp_path, data=tmp_path).run()
    with pytest.raises(ValueError, match="folder of transitions with --data"):
        AnalyzeSymmetry(table=tmp_path).run()
    with pytest.raises(ValueError, match="max-order of at least 1"):
        AnalyzeSymmetry(table=tmp_path, max_order=0).run()
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(ValueError, match="NPY file"):
        AnalyzeSymmetry(table=tmp_path / "text.npy").run()
    np.savez(tmp_path / "table.npz", table=np.eye(2))
    with pytest.raises(ValueError, match="one array"):
        AnalyzeSymmetry(table=tmp_path / "table.npz").run()
    with pytest.raises(ValueError, match="got no frames"):
        AnalyzeSymmetry(data=tmp_path / "table.npz").run()
    np.save(tmp_path / "sum.npy", np.add.outer(np.arange(3), np.arange(3)))
    with pytest.raises(GroupTableError, match="not closed"):
        AnalyzeSymmetry(table=tmp_path / "sum.npy").run()


def test_the_command_refuses_too_few_transitions_and_reports_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from equiact.representations.analysis.symmetry import action_encoder

    save_action_data(tmp_path / "few.npz", lamp_data(9))
    with pytest.raises(ValueError, match="each action at least 64 times"):
        AnalyzeSymmetry(data=tmp_path / "few.npz", device="cpu").run()
    save_action_data(tmp_path / "data.npz", lamp_data(64))
    elements = np.array([1, 2])

    def found(data: ActionData, config: ActionEncoderConfig, seed: int, device: str) -> ActionGroup:
        assert config.optim.steps == 600 and device == "cpu" and len(data) == 64
        if seed == 7:
            raise NoGroupFoundError("none")
        group = dihedral_group(4) if seed <= 5 else cyclic_group(4)
        return ActionGroup(DiscoveredGroup(group, identify(group), 0.9), elements)

    monkeypatch.setattr(action_encoder, "discover_action_group", found)
    for seed, names, doubtful in ((4, "D4 D4", False), (5, "D4 C4", True), (6, "C4 no group", True)):
        result = AnalyzeSymmetry(data=tmp_path / "data.npz", seed=seed, device="cpu").run()
        assert f"{result['group']} {result['by another seed']}" == names and result["by counting states"] == "D4"
        assert ("not certain" in capsys.readouterr().err) == doubtful
    monkeypatch.setattr(action_encoder, "discover_action_group", lambda data, config, seed, device: found_c4(elements))
    AnalyzeSymmetry(data=tmp_path / "data.npz", device="cpu").run()  # two seeds agree, and counting does not
    assert "counting states D4" in " ".join(capsys.readouterr().err.split())


def found_c4(elements: np.ndarray) -> ActionGroup:
    """Return a group of four elements."""
    return ActionGroup(DiscoveredGroup(cyclic_group(4), "C4", 0.9), elements)


# ------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("read", [read_npy, read_arrays])
def test_files_that_are_no_arrays_are_refused_by_the_name_of_the_argument(
    tmp_path: Path, read: Callable[[Path, str], object]
) -> None:
    np.save(tmp_path / "good.npy", np.eye(2))
    np.savez(tmp_path / "good.npz", a=np.eye(2))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", a=np.array([{}]))
    good = tmp_path / ("good.npy" if read is read_npy else "good.npz")
    other = tmp_path / ("good.npz" if read is read_npy else "good.npy")
    objects = tmp_path / ("objects.npy" if read is read_npy else "objects.npz")
    cut = tmp_path / "cut"
    cut.write_bytes(good.read_bytes()[:-3])
    empty, text = tmp_path / "empty", tmp_path / "text"
    empty.write_bytes(b"")
    text.write_text("no array")
    for path, message in (
        (empty, "the empty file .*0 bytes"),
        (text, "--this to be an NP. file of numbers"),
        (cut, "--this to be an NP. file of numbers"),
        (objects, "Python objects, which are never loaded"),
        (other, "got the NP. (archive|file)"),
        (tmp_path, "got the folder"),
        (tmp_path / "none", "--this to be a file, got .* does not exist"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            read(path, "--this")
        assert "--this" in str(caught.value) and "pickle" not in str(caught.value) and "unsafe" not in str(caught.value)


def test_sizes_are_checked_before_memory_is_allocated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "loops.npy", np.eye(2))
    stated = (tmp_path / "loops.npy").read_bytes().replace(b"(2, 2), ", b"(9999999999,),")
    (tmp_path / "large.npy").write_bytes(stated)
    with pytest.raises(ValueError, match=r"states 79999999992 bytes of numbers, and has"):
        read_npy(tmp_path / "large.npy", "--loops")
    np.savez_compressed(tmp_path / "data.npz", a=np.zeros(10_000))
    assert read_arrays(tmp_path / "data.npz", "--data")["a"].shape == (10_000,)
    monkeypatch.setattr(array_files, "MAX_BYTES", 5000)
    with pytest.raises(ValueError, match="more than 5000"):
        read_arrays(tmp_path / "data.npz", "--data")
    np.save(tmp_path / "loops.npy", np.zeros(1000))
    with pytest.raises(ValueError, match=r"at most 5000 bytes, got .*; split it"):
        read_npy(tmp_path / "loops.npy", "--loops")
