"""Finite groups: invariants, names, representations, and groups for encoders."""

import itertools
import re

import numpy as np
import pytest
from equiact.representations.analysis.symmetry.finite_groups import FiniteGroup, GroupTableError, block_dimensions
from equiact.representations.analysis.symmetry.group_catalogue import (
    abelian_name,
    catalogue,
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
    faithful_representation,
)
from equiact.representations.analysis.symmetry.irreducible_representations import (
    irreducible_representations,
    irrep_dims,
    real_representations,
    regular_representation,
    representation_error,
)
from finite_group_cases import ALL, named, relabelled
from hypothesis import given, settings
from hypothesis import strategies as st

NUMBERS_OF_GROUPS = [1, 1, 1, 2, 1, 2, 1, 5, 2, 2, 1, 5, 1, 2, 1, 14, 1, 5, 1, 5, 2, 2, 1, 15]


def commutator_subgroup(group: FiniteGroup) -> tuple[int, ...]:
    """Return the subgroup that the commutators ``g·h·g⁻¹·h⁻¹`` generate."""
    return group.subgroup(np.unique(group.table[group.table, group.inverses[group.table.T]]))


# -------------------------------------------------------------------------------------------------------- finite groups


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
    commutator = commutator_subgroup(group)
    assert n % len(commutator) == 0 and (len(commutator) == 1) == group.is_abelian


def test_known_groups_have_their_known_invariants() -> None:
    assert [len(each) for each in symmetric_group(4).conjugacy_classes] == [1, 6, 6, 3, 8] or sorted(
        len(each) for each in symmetric_group(4).conjugacy_classes
    ) == [1, 3, 6, 6, 8]
    assert alternating_group(5).order == 60 and len(commutator_subgroup(alternating_group(5))) == 60
    assert irrep_dims(alternating_group(5)) == (1, 3, 3, 4, 5)
    assert irrep_dims(symmetric_group(4)) == (1, 1, 2, 3, 3)
    assert dihedral_group(6).center == (0, 3) and quaternion_group().center == (0, 2)
    assert dihedral_group(3).table[3, 1] == dihedral_group(3).table[2, 3]  # f r = r⁻¹ f
    assert dicyclic_group(3).table[6, 6] == 3  # x² = a³
    assert symmetric_group(2).order == 2 and alternating_group(2).order == 1 and alternating_group(3).order == 3


def test_generators_outside_the_group_are_refused() -> None:
    with pytest.raises(ValueError, match="elements between 0 and 3, got 4"):
        cyclic_group(4).subgroup([4])
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


# ------------------------------------------------------------------------------------------------------------ catalogue


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
    other = relabelled(group, labels)
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


# ------------------------------------------------------------------------------------------------------ representations


@named(ALL)
def test_representations_are_unitary_complete_and_orthogonal(name: str, group: FiniteGroup) -> None:
    irreps = irreducible_representations(group, seed=3)
    assert all(representation_error(group, irrep) < 1e-9 for irrep in irreps)
    assert len(irreps) == len(group.conjugacy_classes)
    dims = tuple(irrep.shape[1] for irrep in irreps)
    assert sum(d * d for d in dims) == group.order and dims in block_dimensions(group.order)
    assert dims.count(1) == group.order // len(commutator_subgroup(group))
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
