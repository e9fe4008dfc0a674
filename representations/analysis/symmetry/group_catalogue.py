"""Names of finite groups: isomorphisms, and a catalogue of all groups with at most 24 elements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from math import gcd, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .finite_groups import FiniteGroup
from .group_constructors import (
    alternating_group,
    cyclic_group,
    dicyclic_group,
    dihedral_group,
    direct_product,
    quaternion_group,
    semidirect_product,
    symmetric_group,
)

MAX_CATALOGUED = 24
"""All groups with at most this many elements are in the catalogue."""


def isomorphism(group: FiniteGroup, other: FiniteGroup) -> NDArray[np.int64] | None:
    """Return an isomorphism ``f`` with ``f(g·h) = f(g)·f(h)``, as the array of the images; None if there is none.

    The images of a few generators are tried, among elements with equal invariants, and extended to a homomorphism. The
    search is exact.

    Args:
        group: the first group.
        other: the second group.

    Returns:
        ``(n,)`` integers, or None.

    Raises:
        ValueError: the groups have more than 64 elements, for which the search may take long.

    Example:
        >>> twos = cyclic_group(2)
        >>> isomorphism(direct_product(twos, cyclic_group(3)), cyclic_group(6)) is None
        False
        >>> isomorphism(direct_product(twos, twos), cyclic_group(4)) is None
        True
    """
    if max(group.order, other.order) > 64:
        raise ValueError(f"expected groups of at most 64 elements, got {group.order} and {other.order}")
    ours, theirs = _element_invariants(group), _element_invariants(other)
    if Counter(ours) != Counter(theirs):
        return None
    candidates = [[h for h in range(other.order) if theirs[h] == ours[g]] for g in group.generators]
    for images in _extensions(group, other, candidates, ()):
        return images
    return None


def _extensions(
    group: FiniteGroup, other: FiniteGroup, candidates: list[list[int]], chosen: tuple[int, ...]
) -> Iterator[NDArray[np.int64]]:
    """Iterate over the isomorphisms that map the first generators to the chosen images."""
    partial = extend_isomorphism(group, other, group.generators[: len(chosen)], chosen)
    if partial is None:
        return
    if len(chosen) == len(candidates):
        yield partial
        return
    for image in candidates[len(chosen)]:
        yield from _extensions(group, other, candidates, (*chosen, image))


def extend_isomorphism(
    group: FiniteGroup, other: FiniteGroup, generators: Sequence[int], images: Sequence[int]
) -> NDArray[np.int64] | None:
    """Return the injective homomorphism of the subgroup that some elements generate, given their images.

    Args:
        group: the first group.
        other: the second group.
        generators: elements of the first group.
        images: their images in the second group.

    Returns:
        ``(n,)`` integers, −1 outside of the subgroup; None if no injective homomorphism has these images.

    Example:
        >>> extend_isomorphism(cyclic_group(4), cyclic_group(4), [1], [3])
        array([0, 3, 2, 1])
        >>> extend_isomorphism(cyclic_group(4), cyclic_group(4), [1], [2]) is None
        True
    """
    found = np.full(group.order, -1)
    found[group.identity] = other.identity
    reached = [group.identity]
    for element in reached:  # grows while it is iterated
        for generator, image in zip(generators, images, strict=True):
            product = group.table[element, generator]
            expected = other.table[found[element], image]
            if found[product] == -1:
                found[product] = expected
                reached.append(int(product))
            elif found[product] != expected:
                return None
    injective = len(set(found[reached].tolist())) == len(reached)
    return found if injective else None


def _element_invariants(group: FiniteGroup) -> list[tuple[int, ...]]:
    """Return numbers that an isomorphism preserves: order, size of the class, number of square roots, of cube roots."""
    size = {g: len(members) for members in group.conjugacy_classes for g in members}
    elements = np.arange(group.order)
    squares = group.table[elements, elements]
    roots = (np.bincount(each, minlength=group.order) for each in (squares, group.table[squares, elements]))
    return list(
        zip(group.orders.tolist(), [size[g] for g in range(group.order)], *map(np.ndarray.tolist, roots), strict=True)
    )


def identify(group: FiniteGroup) -> str:
    """Return the name of the isomorphism class of a group.

    All groups of at most 24 elements have a name, and all abelian, dihedral and dicyclic ones of at most 64. Products
    of cyclic groups are named as `equiact.group_from_name` reads them, such as ``"C4xC2"``; ``":"`` is a semidirect
    product.

    Args:
        group: the group.

    Returns:
        The name, or ``"unnamed group of order n"``.

    Example:
        >>> identify(direct_product(cyclic_group(2), cyclic_group(3)))
        'C6'
        >>> identify(symmetric_group(3)), identify(alternating_group(4))
        ('D3', 'A4')
    """
    if group.is_abelian:
        return abelian_name(group)
    if group.order <= 64:
        for name, known in catalogue(group.order):
            if isomorphism(known, group) is not None:
                return name
    return f"unnamed group of order {group.order}"


def abelian_name(group: FiniteGroup) -> str:
    """Return the name of an abelian group by its invariant factors, each of which divides the one before.

    Raises:
        ValueError: the group is not abelian.

    Example:
        >>> abelian_name(direct_product(cyclic_group(2), cyclic_group(6)))
        'C6xC2'
    """
    if not group.is_abelian:
        raise ValueError("expected an abelian group, got one whose elements do not all commute; use identify")
    return next(_product_name(factors) for factors in _factors(group.order) if _fits(group.orders, factors))


def _fits(orders: NDArray[np.int64], factors: tuple[int, ...]) -> bool:
    """Return whether as many elements solve ``gᵈ = 1`` as in the product of cyclic groups, for each divisor ``d``."""
    divisors = [d for d in range(1, len(orders) + 1) if len(orders) % d == 0]
    return all((d % orders == 0).sum() == prod(gcd(d, factor) for factor in factors) for d in divisors)


@lru_cache(maxsize=64)
def catalogue(order: int) -> tuple[tuple[str, FiniteGroup], ...]:
    """Return names and groups of an order, no two of them isomorphic; up to order 24 all that there are.

    Args:
        order: number of elements, between 1 and 64.

    Raises:
        ValueError: the order is out of range.

    Source: the numbers of groups are those of Besche, Eick, O'Brien, *A millennium project: constructing small groups*,
    International Journal of Algebra and Computation 12 (2002).

    Example:
        >>> [name for name, _ in catalogue(8)]
        ['C8', 'C4xC2', 'C2xC2xC2', 'D4', 'Q8']
    """
    if not 1 <= order <= 64:
        raise ValueError(f"expected an order between 1 and 64, got {order}")
    names = [(_product_name(factors), direct_product(*map(cyclic_group, factors))) for factors in _factors(order)]
    if order % 2 == 0 and order >= 6:
        names.append((f"D{order // 2}", dihedral_group(order // 2)))
    if order % 4 == 0 and order >= 8:
        names.append(("Q8" if order == 8 else f"Dic{order // 4}", dicyclic_group(order // 4)))
    return (*names, *((name, make()) for name, make in _other_groups().get(order, {}).items()))


def _product_name(factors: tuple[int, ...]) -> str:
    return "x".join(f"C{factor}" for factor in factors) or "C1"


def _factors(order: int, largest: int = 0) -> Iterator[tuple[int, ...]]:
    """Iterate over the invariant factors of the abelian groups of an order: each divides the one before."""
    if order == 1:
        yield ()
    for first in range(order, 1, -1):
        if order % first == 0 and (largest == 0 or largest % first == 0):
            yield from ((first, *rest) for rest in _factors(order // first, first))


def _other_groups() -> dict[int, dict[str, Callable[[], FiniteGroup]]]:
    """Return the groups up to order 24 that are neither abelian, dihedral nor dicyclic, by order and name."""
    c, d, product = cyclic_group, dihedral_group, direct_product
    return {
        12: {"A4": lambda: alternating_group(4)},
        16: {
            "SD16": lambda: _powers(8, 2, 3),
            "C8:C2": lambda: _powers(8, 2, 5),
            "C4:C4": lambda: _powers(4, 4, 3),
            "C2xC2:C4": lambda: _acting(product(c(2), c(2)), c(4), [0, 2, 1, 3]),
            "C2xD4": lambda: product(c(2), d(4)),
            "C2xQ8": lambda: product(c(2), quaternion_group()),
            "C4xC2:C2": lambda: _acting(product(c(4), c(2)), c(2), [(g + 4 * (g % 2)) % 8 for g in range(8)]),
        },
        18: {
            "C3xD3": lambda: product(c(3), d(3)),
            "C3xC3:C2": lambda: _acting(product(c(3), c(3)), c(2), product(c(3), c(3)).inverses),
        },
        20: {"C5:C4": lambda: _powers(5, 4, 2)},
        21: {"C7:C3": lambda: _powers(7, 3, 2)},
        24: {
            "S4": lambda: symmetric_group(4),
            "SL(2,3)": _special_linear,
            "C3:C8": lambda: _powers(3, 8, 2),
            "C4xD3": lambda: product(c(4), d(3)),
            "C2xD6": lambda: product(c(2), d(6)),
            "C2xA4": lambda: product(c(2), alternating_group(4)),
            "C2xDic3": lambda: product(c(2), dicyclic_group(3)),
            "C3xD4": lambda: product(c(3), d(4)),
            "C3xQ8": lambda: product(c(3), quaternion_group()),
            "C3:D4": lambda: semidirect_product(
                c(3), d(4), [[0, 1, 2] if (h % 4 + h // 4) % 2 == 0 else [0, 2, 1] for h in range(8)]
            ),
        },
    }


def _powers(base: int, acting: int, power: int) -> FiniteGroup:
    """Return ``C_base ⋊ C_acting``, the generator acting by ``a ↦ a^power``."""
    return _acting(cyclic_group(base), cyclic_group(acting), [power * g % base for g in range(base)])


def _acting(normal: FiniteGroup, acting: FiniteGroup, automorphism: Any) -> FiniteGroup:
    """Return ``N ⋊ C_m``, the generator of ``C_m`` acting by an automorphism."""
    maps = [np.arange(normal.order)]
    for _ in range(acting.order - 1):
        maps.append(np.asarray(automorphism)[maps[-1]])
    return semidirect_product(normal, acting, maps)


def _special_linear() -> FiniteGroup:
    """Return ``SL(2, 3) = Q_8 ⋊ C_3``, where ``C_3`` permutes ``i → j → k → i``."""
    quaternions = quaternion_group()  # i = 1, j = 4, k = i·j
    i, j = 1, 4
    k = int(quaternions.table[i, j])
    cycle = {0: 0, 2: 2, i: j, j: k, k: i}
    cycle |= {int(quaternions.table[2, g]): int(quaternions.table[2, h]) for g, h in cycle.items()}
    return _acting(quaternions, cyclic_group(3), [cycle[g] for g in range(8)])
