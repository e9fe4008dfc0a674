"""Recover a finite group from a spectral network: its multiplication table, name and representations, with a margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .finite_groups import FiniteGroup, GroupTableError, block_dimensions
from .group_catalogue import identify
from .irreducible_representations import Matrices, irreducible_representations
from .orbit_pairs import invariance_moments
from .spectral_network import DEFAULT_SPECTRAL, Blocks, SpectralConfig, SpectralNetwork, fit_spectral_network


class NoGroupFoundError(ValueError):
    """The data are not explained by a finite group, or too noisy to tell which."""


@dataclass(frozen=True, eq=False)
class DiscoveredGroup:
    """A group that was recovered from data.

    Attributes:
        group: the group; its elements are numbered like the coordinates of the data, or the order of discovery.
        name: name of its isomorphism class, such as ``"C6"`` or ``"D4"``.
        margin: confidence: 1 in the exact case, 0 if a product could as well be another element.
        loss: loss of the network, 0 for exact data; None if there was no spectral network.
    """

    group: FiniteGroup
    name: str
    margin: float
    loss: float | None = None

    @property
    def table(self) -> NDArray[np.int64]:
        """Return the multiplication table, ``(n, n)``."""
        return self.group.table

    @property
    def irreps(self) -> list[Matrices]:
        """Return the irreducible representations, see `irreducible_representations`."""
        return irreducible_representations(self.group)


def table_distances(blocks: Blocks) -> NDArray[np.float64]:
    """Return ``‖U(g)⊙U(h) − U(l)‖`` for all elements, ``(n, n, n)``, with ``U(g) = W(g)†`` and ``⊙`` blockwise.

    The norm is ``‖A‖² = Σ d_i ‖A_i‖²``. For the Fourier transform of a group the distance is 0 if ``l = g·h`` and
    ``√(2n)`` otherwise.

    Args:
        blocks: weights ``(n, d_i, d_i)`` of a spectral network.

    Example:
        >>> signs = np.array([[1.0, 1.0], [1.0, -1.0]])
        >>> table_distances(tuple(signs[:, :, None, None])).argmin(2).tolist()
        [[0, 1], [1, 0]]
    """
    n = len(blocks[0])
    squared = np.zeros((n, n, n))
    for block in blocks:
        unitary = block.conj().transpose(0, 2, 1)
        products = np.einsum("gab,hbc->ghac", unitary, unitary).reshape(n * n, -1)
        flat = unitary.reshape(n, -1)
        overlap = (products @ flat.conj().T).real
        norms = (abs(products) ** 2).sum(1)[:, None] + (abs(flat) ** 2).sum(1)
        squared += block.shape[1] * (norms - 2 * overlap).reshape(n, n, n)
    return np.sqrt(np.maximum(squared, 0))


def recover_table(blocks: Blocks) -> tuple[NDArray[np.int64], float]:
    """Return the table ``g·h = argmin_l ‖U(g)⊙U(h) − U(l)‖``, and its margin.

    The margin is the smallest gap between the nearest and the second nearest element, over all products, divided by
    ``√(2n)``: 1 in the exact case.

    Args:
        blocks: weights ``(n, d_i, d_i)`` of a spectral network.

    Returns:
        ``(n, n)`` integers, and the margin.

    Source: arXiv:2312.08550.

    Example:
        >>> signs = np.array([[1.0, 1.0], [1.0, -1.0]])
        >>> table, margin = recover_table(tuple(signs[:, :, None, None]))
        >>> table.tolist(), round(margin, 6)
        ([[0, 1], [1, 0]], 1.0)
    """
    distances = table_distances(blocks)
    table = distances.argmin(2)
    if len(table) == 1:
        return table, 1.0
    nearest, second = np.moveaxis(np.partition(distances, 1, axis=2)[..., :2], 2, 0)
    return table, float((second - nearest).min() / np.sqrt(2 * len(table)))


def discover_group(
    x: Any, y: Any, dims: tuple[int, ...] | None = None, config: SpectralConfig = DEFAULT_SPECTRAL, seed: int = 0
) -> DiscoveredGroup:
    """Recover the group behind pairs of vectors ``y = g·x``, where the group permutes the coordinates freely.

    Neither the group, nor which ``g`` was applied to which vector, is given. Every element of the group must occur. All
    block dimensions that a group of order ``n`` may have are tried, and the network with the lowest loss is kept.

    Args:
        x: ``(pairs, n)`` complex or real vectors, ``n`` at most 64; in practice at most 24.
        y: vectors of the same orbits, in the same order.
        dims: dimensions of the irreducible representations, if they are known.
        config: hyper-parameters.
        seed: seed of the training.

    Returns:
        The group; element ``g`` is the one that moves coordinate 0 to coordinate ``g``.

    Raises:
        NoGroupFoundError: the recovered table is not that of a group, or its margin is below ``config.min_margin``.
        ValueError: the arrays do not fit.

    Example:
        >>> from equiact.representations.analysis.symmetry.group_constructors import dihedral_group
        >>> from equiact.representations.analysis.symmetry.orbit_pairs import sample_orbit_pairs
        >>> found = discover_group(*sample_orbit_pairs(dihedral_group(3), 500))
        >>> found.name, round(found.margin, 2)
        ('D3', 1.0)
    """
    moments = invariance_moments(x, y)
    options = block_dimensions(round(len(moments) ** 0.5)) if dims is None else [tuple(sorted(dims))]
    return group_of_network(fit_spectral_network(moments, options, config, seed), config)


def group_of_network(network: SpectralNetwork, config: SpectralConfig = DEFAULT_SPECTRAL) -> DiscoveredGroup:
    """Return the group whose Fourier transform the weights of a network are.

    Raises:
        NoGroupFoundError: the recovered table is not that of a group, or its margin is below ``config.min_margin``.

    Example:
        >>> signs = np.array([[1.0, 1.0], [1.0, -1.0]])
        >>> group_of_network(SpectralNetwork(tuple(signs[:, :, None, None]), 0.0)).name
        'C2'
    """
    table, margin = recover_table(network.blocks)
    summary = f"blocks {network.dims}, loss {network.loss:.2g}, margin {margin:.2g}"
    try:
        group = FiniteGroup(table)
    except GroupTableError as error:
        raise NoGroupFoundError(
            f"no group was found ({summary}): {error}. Check that a group permutes the coordinates, that all of its "
            "elements occur, and give more pairs if they are noisy"
        ) from error
    if margin < config.min_margin:
        raise NoGroupFoundError(
            f"no group was found with confidence ({summary}): expected a margin of at least {config.min_margin}; give "
            "more pairs, or lower min_margin"
        )
    return DiscoveredGroup(group, identify(group), margin, network.loss)
