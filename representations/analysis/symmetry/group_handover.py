"""Hand a recovered group to encoders: as a group of the registry, and transitions with its elements."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....envs.data.transitions import Transitions
from ....envs.lie_groups.array_ops import block_diagonal, cut, join, library_of
from ....envs.lie_groups.group import Array, Group, GroupError
from ....envs.lie_groups.registry import GROUPS, group_from_name
from .action_data import ActionData
from .action_group import ActionGroup
from .finite_groups import FiniteGroup
from .group_catalogue import catalogue, isomorphism
from .group_constructors import cyclic_group, direct_product
from .irreducible_representations import real_representations


@dataclass(frozen=True, eq=False)
class TableGroup(Group):
    """A finite group by its multiplication table, for encoders: elements are orthogonal matrices, row by row.

    The matrices are the smallest faithful direct sum of real irreducible representations. As for ``C<n>``, `project`
    maps a network's output to all orthogonal matrices of this shape: an encoded pose is defined up to an orthogonal
    matrix from the right, and only relative poses are elements of the group.

    Args:
        finite: the group.
        name: name of the group.

    Example:
        >>> from equiact.representations.analysis.symmetry.group_constructors import dihedral_group
        >>> TableGroup(dihedral_group(4), "D4").elements.shape
        (8, 4)
    """

    finite: FiniteGroup
    name: str

    tangent_dim = 0
    condition = "it must be one of the group's finitely many elements"

    @cached_property
    def blocks(self) -> list[NDArray[np.float64]]:
        """Return the matrices ``(n, d, d)`` of all elements, for each representation."""
        return faithful_representation(self.finite)

    @cached_property
    def elements(self) -> NDArray[np.float64]:
        """Return the coordinates of all elements, ``(n, dim)``."""
        return np.concatenate([block.reshape(len(block), -1) for block in self.blocks], 1)

    @property
    def dim(self) -> int:  # type: ignore[override]
        """Return the sum of the squared dimensions of the representations."""
        return int(self.elements.shape[1])

    def identity(self) -> np.ndarray[Any, Any]:
        """Return the identity matrices, row by row."""
        return np.asarray(self.elements[self.finite.identity])

    def compose(self, g: Array, h: Array) -> Array:
        """Return the matrix products."""
        return _joined(g, [a @ b for a, b in zip(self._matrices(g), self._matrices(h), strict=True)])

    def inverse(self, g: Array) -> Array:
        """Return the transposed matrices."""
        return _joined(g, [matrix.swapaxes(-1, -2) for matrix in self._matrices(g)])

    def exp(self, tangent: Array) -> Array:
        """Return the identity: the group is discrete, and its tangent vectors have no coordinates."""
        self.require_tangent(tangent)
        xp, one = library_of(tangent), self.identity()
        return xp.broadcast_to(one if xp is np else xp.as_tensor(one).to(tangent), (*tangent.shape[:-1], self.dim))  # type: ignore[no-any-return]

    def log(self, g: Array) -> Array:
        """Raise `GroupError`: the group is discrete, and only the identity is an exponential."""
        raise self._lacks("log", "all Lie groups")

    def embed(self, g: Array) -> Array:
        """Return the matrices, row by row."""
        return g

    def project(self, raw: Array) -> Array:
        """Return the matrices, their columns orthonormalised by Gram and Schmidt."""
        return _joined(raw, [_orthonormal(matrix) for matrix in self._matrices(raw)])

    def relax(self, raw: Array) -> Array:
        """Return ``raw``: the constraint that the matrices are orthogonal is dropped."""
        return raw

    def constraint_penalty(self, relaxed: Array) -> Array:
        """Return ``Σ ‖VᵀV − 1‖²`` over the matrices."""
        penalty: Any = 0
        for matrix in self._matrices(relaxed):
            gram = matrix.swapaxes(-1, -2) @ matrix
            xp = library_of(gram)
            one = np.eye(gram.shape[-1]) if xp is np else xp.eye(gram.shape[-1]).to(gram)
            penalty = penalty + ((gram - one) ** 2).sum((-1, -2))
        checked: Array = penalty
        return checked

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
        """Return elements drawn uniformly, ``(count, dim)``."""
        return np.asarray(self.elements[generator.integers(self.finite.order, size=count)])

    def representation(self, g: Array) -> Array:
        """Return the orthogonal matrices, the representations as blocks."""
        matrices: Array = block_diagonal(self._matrices(g))
        return matrices

    def violation(self, g: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the largest absolute difference from the nearest element's coordinates."""
        return np.asarray(np.abs(g[..., None, :] - self.elements).max(-1).min(-1))

    def _matrices(self, g: Array) -> list[Any]:
        sizes = [block.shape[1] for block in self.blocks]
        given: Any = cut(g, [size * size for size in sizes])
        return [part.reshape(*part.shape[:-1], size, size) for part, size in zip(given, sizes, strict=True)]


def faithful_representation(group: FiniteGroup) -> list[NDArray[np.float64]]:
    """Return real orthogonal irreducible representations whose sum is faithful, with the fewest coordinates.

    Returns:
        Matrices ``(n, d, d)`` of all elements, for each representation.

    Example:
        >>> from equiact.representations.analysis.symmetry.group_constructors import dihedral_group
        >>> [block.shape for block in faithful_representation(dihedral_group(4))]
        [(8, 2, 2)]
    """
    irreps = real_representations(group)
    kernels = [frozenset(np.flatnonzero(abs(irrep - np.eye(irrep.shape[1])).max((1, 2)) < 1e-6)) for irrep in irreps]
    for size in range(1, len(irreps) + 1):
        chosen = [
            each
            for each in combinations(range(len(irreps)), size)
            if frozenset.intersection(*(kernels[index] for index in each)) == {group.identity}
        ]
        if chosen:
            best = min(chosen, key=lambda each: sum(irreps[index].shape[1] ** 2 for index in each))
            return [irreps[index] for index in best]
    raise ArithmeticError(f"expected all representations of {group} together to be faithful")


def register_table_group(name: str, group: FiniteGroup) -> str:
    """Register a finite group, so that encoders and transitions take it by name in this process.

    ``":"`` in a name is replaced by ``"_"``. A program that loads an encoder of this group registers it first.

    Args:
        name: name of the group, such as ``"D4"``.
        group: the group.

    Returns:
        The name under which it is registered.

    Raises:
        GroupError: another group has this name.
    """
    known = name.replace(":", "_")
    if known in GROUPS:
        registered = group_from_name(known)
        if not isinstance(registered, TableGroup) or not np.array_equal(registered.finite.table, group.table):
            raise GroupError(f"expected a name that no other group has, got {name!r}; choose another name")
        return known
    table_group = TableGroup(group, known)
    GROUPS.add(known, lambda: table_group)
    return known


def group_for_encoders(group: FiniteGroup, name: str) -> tuple[str, NDArray[np.float64]]:
    """Return the name by which encoders take a finite group, and the coordinates of its elements.

    Products of cyclic groups become products of ``C<n>``; all others are registered as a `TableGroup`.

    Args:
        group: the group.
        name: name of its isomorphism class, from `identify`.

    Returns:
        Name of a registered group, and coordinates ``(n, dim)`` of the elements of ``group``.

    Raises:
        GroupError: the group is neither abelian nor in the catalogue.

    Example:
        >>> group_for_encoders(direct_product(cyclic_group(2), cyclic_group(2)), "C2xC2")[1].shape
        (4, 4)
    """
    if group.is_abelian:
        factors = [int(each[1:]) for each in name.split("x")]
        images = isomorphism(group, direct_product(*map(cyclic_group, factors)))
        if images is None:
            raise GroupError(f"expected the name of the group, got {name!r}, which is another group; use identify")
        steps = np.stack(np.unravel_index(images, factors), 1)
        turns = 2 * np.pi * steps / np.array(factors)
        acting = group_from_name(name)
        return name, np.asarray(acting.exp(turns))
    known = dict(catalogue(group.order)) if group.order <= 64 else {}
    images = isomorphism(group, known[name]) if name in known else None
    if images is None:
        raise GroupError(f"expected a group of the catalogue and its name, got {name!r}; register a TableGroup for it")
    registered = register_table_group(name, known[name])
    return registered, np.asarray(TableGroup(known[name], registered).elements[images])


def transitions_of_actions(data: ActionData, recovered: ActionGroup) -> Transitions:
    """Return transitions whose displacements are the recovered elements, from which every encoder learns.

    Args:
        data: images before and after discrete actions.
        recovered: the group, from `discover_action_group`, `group_of_matched_states`, or known.

    Example:
        >>> from equiact.representations.analysis.symmetry.group_recovery import DiscoveredGroup
        >>> images = np.zeros((4, 16, 16, 1), np.uint8)
        >>> known = ActionGroup(DiscoveredGroup(cyclic_group(6), "C6", 1.0), np.array([1, 2]))
        >>> transitions_of_actions(ActionData(images, np.array([0, 1, 0, 1]), images), known).group
        'C6'
    """
    name, elements = group_for_encoders(recovered.found.group, recovered.found.name)
    count = len(data)
    return Transitions(
        np.concatenate([data.frames, data.next_frames]),
        np.arange(count),
        count + np.arange(count),
        elements[recovered.elements][data.actions].astype(np.float32),
        group=name,
    )


def _joined(like: Array, matrices: list[Any]) -> Array:
    """Return matrices row by row, one after another, as an array of the kind of ``like``."""
    flat: Array = join(*[each.reshape(*each.shape[:-2], -1) for each in matrices])
    return flat


def _orthonormal(matrix: Any) -> Any:
    """Return ``Q`` of the decomposition ``QR`` with a positive diagonal of ``R``, for which ``(gM) ↦ gQ``."""
    xp = library_of(matrix)
    q, r = xp.linalg.qr(matrix)
    diagonal = r.diagonal(0, -2, -1) if xp is not np else np.diagonal(r, axis1=-2, axis2=-1)
    return q * xp.where(diagonal < 0, -1.0, 1.0)[..., None, :]
