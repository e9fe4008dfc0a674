"""Irreducible representations of a finite group, computed from its regular representation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .finite_groups import FiniteGroup

Matrices = NDArray[np.complex128]


def irreducible_representations(group: FiniteGroup, seed: int = 0) -> list[Matrices]:
    """Return all irreducible unitary representations, one of each class, sorted by dimension; the trivial one is first.

    A random Hermitian matrix ``H`` that commutes with the left translations has one eigenspace for each copy of each
    irreducible representation in the regular representation. The translations, restricted to the eigenspaces, are the
    representations. They are checked: unitary, ``ρ(g)ρ(h) = ρ(gh)``, and ``Σ dᵢ² = n``.

    Args:
        group: the group; at most 128 elements.
        seed: seed of the random matrix.

    Returns:
        Arrays ``(n, d, d)``: the matrices of all elements, for each representation.

    Raises:
        ValueError: the group has more than 128 elements.
        ArithmeticError: the checks failed for each of ten random matrices.

    Source: Dixon, *Computing irreducible representations of groups*, Mathematics of Computation 24 (1970).

    Example:
        >>> from equiact.representations.analysis.symmetry.group_constructors import dihedral_group
        >>> [irrep.shape for irrep in irreducible_representations(dihedral_group(3))]
        [(6, 1, 1), (6, 1, 1), (6, 2, 2)]
    """
    return _decompose(group, seed, real=False)


def real_representations(group: FiniteGroup, seed: int = 0) -> list[NDArray[np.float64]]:
    """Return all irreducible real orthogonal representations, one of each class, sorted by dimension.

    As `irreducible_representations`, with a real symmetric matrix.

    Args:
        group: the group; at most 128 elements.
        seed: seed of the random matrix.

    Returns:
        Arrays ``(n, d, d)``: the matrices of all elements, for each representation.

    Raises:
        ValueError: the group has more than 128 elements.
        ArithmeticError: the check failed for each of ten random matrices.

    Example:
        >>> from equiact.representations.analysis.symmetry.group_constructors import cyclic_group
        >>> [irrep.shape[1] for irrep in real_representations(cyclic_group(4))]
        [1, 1, 2]
    """
    return [np.ascontiguousarray(irrep.real) for irrep in _decompose(group, seed, real=True)]


def irrep_dims(group: FiniteGroup) -> tuple[int, ...]:
    """Return the dimensions of the irreducible representations, sorted: ``Σ dᵢ² = n``.

    There are as many as conjugacy classes.

    Example:
        >>> from equiact.representations.analysis.symmetry.group_constructors import quaternion_group
        >>> irrep_dims(quaternion_group())
        (1, 1, 1, 1, 2)
    """
    return tuple(int(irrep.shape[1]) for irrep in irreducible_representations(group))


def representation_error(group: FiniteGroup, matrices: NDArray[Any]) -> float:
    """Return the largest absolute entry of ``ρ(g)ρ(h) − ρ(gh)`` and of ``ρ(g)ρ(g)† − 1``.

    Args:
        group: the group.
        matrices: ``(n, d, d)``, one matrix for each element.

    Raises:
        ValueError: the matrices have another shape.

    Example:
        >>> from equiact.representations.analysis.symmetry.group_constructors import cyclic_group
        >>> representation_error(cyclic_group(2), np.array([[[1.0]], [[-1.0]]]))
        0.0
    """
    if matrices.ndim != 3 or matrices.shape[0] != group.order or matrices.shape[1] != matrices.shape[2]:
        raise ValueError(f"expected matrices of shape ({group.order}, d, d), got {matrices.shape}")
    products = np.einsum("gab,hbc->ghac", matrices, matrices)
    unitarity = matrices @ matrices.conj().transpose(0, 2, 1) - np.eye(matrices.shape[1])
    return float(max(abs(products - matrices[group.table]).max(), abs(unitarity).max()))


def regular_representation(group: FiniteGroup) -> NDArray[np.float64]:
    """Return the permutation matrices ``(n, n, n)`` of the left translations ``e_h ↦ e_{gh}``.

    Example:
        >>> from equiact.representations.analysis.symmetry.group_constructors import cyclic_group
        >>> regular_representation(cyclic_group(2))[1].tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    return np.asarray((group.table[:, None, :] == np.arange(group.order)[:, None]).astype(float))


def _decompose(group: FiniteGroup, seed: int, real: bool) -> list[Matrices]:
    """Return one irreducible part of the regular representation of each class, over the real or complex numbers."""
    if group.order > 128:
        raise ValueError(f"expected a group of at most 128 elements, got {group.order}")
    generator = np.random.default_rng(seed)
    for _ in range(10):
        irreps = _distinct(_restricted_translations(group, generator, real))
        filled = sum(irrep.shape[1] ** 2 / (_norm(irrep) if real else 1) for irrep in irreps)
        if abs(filled - group.order) < 1e-6 and all(representation_error(group, irrep) < 1e-8 for irrep in irreps):
            return sorted(irreps, key=_rank)
    raise ArithmeticError(f"expected to decompose the regular representation of {group}, but the checks failed")


def _norm(matrices: Matrices) -> float:
    """Return ``c = ⟨χ, χ⟩``: a real class of dimension ``d`` fills ``d² / c``, with ``c`` = 1, 2 or 4, of ``n``."""
    return float((abs(_traces(matrices)) ** 2).mean())


def _restricted_translations(group: FiniteGroup, generator: np.random.Generator, real: bool) -> list[Matrices]:
    """Return the left translations, restricted to the eigenspaces of a random Hermitian matrix that commutes."""
    n = group.order
    weights = generator.normal(size=n) + (0 if real else 1j) * generator.normal(size=n)
    weights = weights + weights[group.inverses].conj()
    # Right translations e_h ↦ e_{h k} commute with left ones; the sum of w_k times them has entries w(h⁻¹ h').
    commuting = weights[group.table[group.inverses]].T
    values, vectors = np.linalg.eigh(commuting)
    # Eigenvalues are equal to rounding within an eigenspace, and differ by about 1 / n of their range between two.
    cuts = np.flatnonzero(np.diff(values) > 1e-7 * max(1.0, np.ptp(values))) + 1
    translations = regular_representation(group)
    spaces = np.split(vectors, cuts, axis=1)
    return [np.einsum("xa,gxy,yb->gab", space.conj(), translations, space, optimize=True) for space in spaces]


def _distinct(representations: list[Matrices]) -> list[Matrices]:
    """Return one representation of each character."""
    found: dict[tuple[complex, ...], Matrices] = {}
    for matrices in representations:
        found.setdefault(_character(matrices), matrices)
    return list(found.values())


def _character(matrices: Matrices) -> tuple[complex, ...]:
    """Return the traces, rounded to 1e-5: distinct characters of groups up to order 128 differ by more."""
    return tuple((np.round(_traces(matrices), 5) + 0.0).tolist())


def _traces(matrices: Matrices) -> NDArray[np.complex128]:
    return np.asarray(np.trace(matrices, axis1=1, axis2=2), complex)


def _rank(matrices: Matrices) -> tuple[Any, ...]:
    """Return the sort key: dimension, then the trivial representation first, then real parts of the character."""
    character = _character(matrices)
    return (matrices.shape[1], [-each.real for each in character], [-each.imag for each in character])
