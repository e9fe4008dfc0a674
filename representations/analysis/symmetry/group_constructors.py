"""Constructors of finite groups: cyclic, dihedral, dicyclic, permutations, direct and semidirect products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .finite_groups import MAX_ORDER, FiniteGroup


def cyclic_group(order: int) -> FiniteGroup:
    """Return ``C_n``, the integers modulo ``n`` under addition.

    Example:
        >>> cyclic_group(3).table.tolist()
        [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
    """
    _require_order(order, 1)
    return FiniteGroup((np.arange(order)[:, None] + np.arange(order)) % order)


def dihedral_group(sides: int) -> FiniteGroup:
    """Return ``D_n``, the ``2n`` symmetries of a polygon with ``n`` sides.

    Element ``i + n·s`` is ``rⁱ fˢ``, with the rotation ``r``, the reflection ``f`` and ``f r f = r⁻¹``.

    Example:
        >>> dihedral_group(3).orders.tolist()
        [1, 3, 3, 2, 2, 2]
    """
    _require_order(sides, 2)
    rotations, flips = cyclic_group(sides), cyclic_group(2)
    return semidirect_product(rotations, flips, [np.arange(sides), rotations.inverses])


def dicyclic_group(index: int) -> FiniteGroup:
    """Return ``Dic_n``, of order ``4n``: ``a²ⁿ = 1``, ``x² = aⁿ``, ``x a x⁻¹ = a⁻¹``.

    Element ``i + 2n·s`` is ``aⁱ xˢ``. ``Dic_2`` is the quaternion group.

    Example:
        >>> dicyclic_group(3).orders.tolist()
        [1, 6, 3, 2, 3, 6, 4, 4, 4, 4, 4, 4]
    """
    _require_order(index, 2)
    flip, turn = np.divmod(np.arange(4 * index), 2 * index)
    sign = np.where(flip == 1, -1, 1)
    turns = (turn[:, None] + sign[:, None] * turn + index * flip[:, None] * flip) % (2 * index)
    return FiniteGroup(turns + 2 * index * ((flip[:, None] + flip) % 2))


def quaternion_group() -> FiniteGroup:
    """Return ``Q_8 = {±1, ±i, ±j, ±k}``.

    Example:
        >>> quaternion_group().orders.tolist()
        [1, 4, 2, 4, 4, 4, 4, 4]
    """
    return dicyclic_group(2)


def symmetric_group(points: int) -> FiniteGroup:
    """Return ``S_n``, all permutations of ``n`` points; ``n`` is at most 5.

    Example:
        >>> symmetric_group(4).order
        24
    """
    _require_order(points, 1)
    if points <= 2:
        return cyclic_group(points)
    return group_from_permutations([[*range(1, points), 0], [1, 0, *range(2, points)]])


def alternating_group(points: int) -> FiniteGroup:
    """Return ``A_n``, the even permutations of ``n`` points; ``n`` is at most 5.

    Example:
        >>> alternating_group(4).order
        12
    """
    _require_order(points, 1)
    if points <= 2:
        return cyclic_group(1)
    moves = [list(range(points)) for _ in range(points - 2)]
    for first, move in enumerate(moves):
        move[first], move[first + 1], move[first + 2] = first + 1, first + 2, first
    return group_from_permutations(moves)


def group_from_permutations(generators: Sequence[Sequence[int]]) -> FiniteGroup:
    """Return the group that permutations generate; element 0 is the identity.

    The product ``p·q`` is ``i ↦ p(q(i))``.

    Args:
        generators: permutations of ``0, …, m − 1``, each the list of the images.

    Raises:
        ValueError: a generator is no permutation, or the group has more than 512 elements.

    Example:
        >>> group_from_permutations([[1, 2, 0], [1, 0, 2]]).is_abelian
        False
    """
    array = generated_permutations(generators)
    number = {element: index for index, element in enumerate(map(tuple, array.tolist()))}
    return FiniteGroup(np.array([[number[tuple(row)] for row in element[array].tolist()] for element in array]))


def generated_permutations(generators: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Return all products of permutations, the identity first, in the order of `group_from_permutations`.

    Args:
        generators: permutations of ``0, …, m − 1``, each the list of the images.

    Returns:
        ``(n, m)`` integers, the images under each element.

    Raises:
        ValueError: a generator is no permutation, or there are more than 512 products.

    Example:
        >>> generated_permutations([[1, 2, 0]]).tolist()
        [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
    """
    moves = [tuple(int(image) for image in generator) for generator in generators]
    if not moves or any(sorted(move) != list(range(len(moves[0]))) for move in moves):
        raise ValueError(f"expected permutations of the same points 0, …, m − 1, got {list(map(list, generators))}")
    elements = [tuple(range(len(moves[0])))]
    known = set(elements)
    for element in elements:  # grows while it is iterated
        for move in moves:
            product = tuple(element[image] for image in move)
            if product not in known:
                known.add(product)
                elements.append(product)
        if len(elements) > MAX_ORDER:
            raise ValueError(f"expected a group of at most {MAX_ORDER} elements, got more; give other generators")
    return np.array(elements)


def direct_product(*factors: FiniteGroup) -> FiniteGroup:
    """Return ``G₁ × G₂ × …``; the element ``(g₁, g₂)`` has the number ``g₁·|G₂| + g₂``.

    Raises:
        ValueError: the product has more than 512 elements.

    Example:
        >>> direct_product(cyclic_group(2), cyclic_group(3)).orders.max()
        np.int64(6)
    """
    product = cyclic_group(1)
    for factor in factors:
        size = factor.order
        _require_order(product.order * size, 1)
        first, second = np.divmod(np.arange(product.order * size), size)
        table = product.table[first[:, None], first] * size + factor.table[second[:, None], second]
        product = FiniteGroup(table)
    return product


def semidirect_product(normal: FiniteGroup, acting: FiniteGroup, action: Any) -> FiniteGroup:
    """Return ``N ⋊ H``, with ``(n, h)·(m, k) = (n·φ_h(m), h·k)``; the element ``(n, h)`` has the number ``n + |N|·h``.

    Args:
        normal: ``N``.
        acting: ``H``.
        action: ``(|H|, |N|)`` integers, ``action[h, n] = φ_h(n)``: each ``φ_h`` an automorphism, ``φ_h φ_k = φ_{hk}``.

    Raises:
        GroupTableError: the action is not by automorphisms, or no homomorphism.
        ValueError: it has another shape.

    Example:
        >>> turned = semidirect_product(cyclic_group(4), cyclic_group(2), [[0, 1, 2, 3], [0, 3, 2, 1]])
        >>> turned.is_abelian, len(turned.center)
        (False, 2)
    """
    maps, size = np.asarray(action), normal.order
    if maps.shape != (acting.order, size) or maps.dtype.kind not in "iu" or maps.min() < 0 or maps.max() >= size:
        raise ValueError(f"expected an action of shape {(acting.order, size)} with elements of N, got {maps.tolist()}")
    _require_order(size * acting.order, 1)
    h, n = np.divmod(np.arange(size * acting.order), size)
    moved = normal.table[n[:, None], maps[h[:, None], n]]
    return FiniteGroup(moved + size * acting.table[h[:, None], h])


def _require_order(order: int, least: int) -> None:
    if not isinstance(order, int | np.integer) or not least <= order <= MAX_ORDER:
        raise ValueError(f"expected a whole number between {least} and {MAX_ORDER}, got {order!r}")
