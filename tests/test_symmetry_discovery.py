"""Groups recovered from pairs of vectors: spectral networks, invariant forms, noise."""

import numpy as np
import pytest
from equiact.representations.analysis.symmetry.finite_groups import FiniteGroup
from equiact.representations.analysis.symmetry.group_constructors import (
    cyclic_group,
    dihedral_group,
    quaternion_group,
    symmetric_group,
)
from equiact.representations.analysis.symmetry.group_recovery import (
    NoGroupFoundError,
    discover_group,
    group_of_network,
    recover_table,
    table_distances,
)
from equiact.representations.analysis.symmetry.irreducible_representations import (
    irreducible_representations,
    irrep_dims,
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
)
from equiact.representations.learning.config import ConfigError
from finite_group_cases import ALL, named, relabelled

SMALL = [(name, group) for name, group in ALL if group.order <= 8]
UP_TO_12 = [(name, group) for name, group in ALL if 8 < group.order <= 12]


def fourier_transform(group: FiniteGroup) -> tuple[np.ndarray, ...]:
    """Return the weights of an exactly invariant network: the adjoint matrices of all irreducible representations."""
    return tuple(irrep.conj().transpose(0, 2, 1) for irrep in irreducible_representations(group))


def unitarity_error(blocks: tuple[np.ndarray, ...], weighted: bool = True) -> float:
    """Return ``‖Ŵ Ŵ† − n·1‖² / n²``, where row ``g`` of ``Ŵ`` holds the entries of all ``√d_i W_i(g)``."""
    n = len(blocks[0])
    rows = np.concatenate([(block.shape[1] ** 0.5 if weighted else 1) * block.reshape(n, -1) for block in blocks], 1)
    return float((abs(rows @ rows.conj().T - n * np.eye(n)) ** 2).sum() / n**2)


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
    group = relabelled(cyclic_group(5), [3, 1, 4, 0, 2])
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
