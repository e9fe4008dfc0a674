"""Finite groups, given by their multiplication tables, and their elementary invariants."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.int64]

MAX_ORDER = 512
"""Largest order of a group: the check of associativity takes ``n³`` operations."""


class GroupTableError(ValueError):
    """A table is not the multiplication table of a group."""


@dataclass(frozen=True, eq=False)
class FiniteGroup:
    """A finite group whose elements are the numbers ``0, …, n − 1``.

    The table is checked: it must be a Latin square with an identity, and associative. The identity may have any number.

    Args:
        table: ``(n, n)`` integers with ``table[g, h] = g·h``, ``n`` at most 512.

    Raises:
        GroupTableError: the table is not that of a group. The message gives the first counter-example.

    Example:
        >>> klein = FiniteGroup([[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]])
        >>> klein.is_abelian, klein.orders.tolist()
        (True, [1, 2, 2, 2])
        >>> FiniteGroup([[0, 1], [1, 1]])
        Traceback (most recent call last):
        equiact.representations.analysis.symmetry.finite_groups.GroupTableError: expected each element once in each \
row and column, got 1 twice in row 1; the table is not that of a group
    """

    table: Table

    def __post_init__(self) -> None:
        table = _checked_array(self.table)
        table.flags.writeable = False
        object.__setattr__(self, "table", table)
        _require_latin(table)
        _require_identity(table)
        _require_associative(table)

    def __repr__(self) -> str:
        return f"FiniteGroup(order={self.order})"

    @property
    def order(self) -> int:
        """Return the number of elements, ``n``."""
        return len(self.table)

    @cached_property
    def identity(self) -> int:
        """Return the identity element."""
        return int((self.table == np.arange(self.order)).all(1).argmax())

    @cached_property
    def inverses(self) -> NDArray[np.int64]:
        """Return the inverse of each element, ``(n,)``."""
        return np.asarray((self.table == self.identity).argmax(1))

    @cached_property
    def orders(self) -> NDArray[np.int64]:
        """Return the order of each element, ``(n,)``: the smallest ``k ≥ 1`` with ``gᵏ = 1``."""
        orders = np.zeros(self.order, np.int64)
        power = np.arange(self.order)
        for exponent in range(1, self.order + 1):
            orders[(power == self.identity) & (orders == 0)] = exponent
            power = self.table[power, np.arange(self.order)]
        return orders

    @property
    def is_abelian(self) -> bool:
        """Return whether ``g·h = h·g`` for all elements."""
        return bool((self.table == self.table.T).all())

    @cached_property
    def conjugacy_classes(self) -> tuple[tuple[int, ...], ...]:
        """Return the sets ``{k·g·k⁻¹ : k ∈ G}``, each sorted, in the order of their smallest elements."""
        conjugates = self.table[self.table, self.inverses[:, None]]  # [k, g] = k g k⁻¹
        return tuple(sorted({tuple(sorted({int(g) for g in column})) for column in conjugates.T}))

    @cached_property
    def center(self) -> tuple[int, ...]:
        """Return the elements that commute with all others, sorted."""
        return tuple(int(g) for g in np.flatnonzero((self.table == self.table.T).all(1)))

    def subgroup(self, generators: Any) -> tuple[int, ...]:
        """Return the elements of the subgroup that some elements generate, sorted.

        Args:
            generators: elements, between 0 and ``n − 1``.

        Raises:
            ValueError: a generator is no element.

        Example:
            >>> FiniteGroup((np.arange(6)[:, None] + np.arange(6)) % 6).subgroup([2])
            (0, 2, 4)
        """
        chosen = [int(each) for each in generators]
        if wrong := [each for each in chosen if not 0 <= each < self.order]:
            raise ValueError(f"expected elements between 0 and {self.order - 1}, got {wrong[0]}")
        found, frontier = {self.identity}, [self.identity]
        while frontier:
            frontier = [g for g in {int(self.table[a, b]) for a in frontier for b in chosen} if g not in found]
            found.update(frontier)
        return tuple(sorted(found))

    @cached_property
    def generators(self) -> tuple[int, ...]:
        """Return a small generating set, found greedily: each element enlarges the subgroup most."""
        chosen: tuple[int, ...] = ()
        while len(self.subgroup(chosen)) < self.order:
            reached = set(self.subgroup(chosen))
            rest = [g for g in range(self.order) if g not in reached]
            chosen = (*chosen, max(rest, key=lambda g: len(self.subgroup((*chosen, g)))))
        return chosen


def block_dimensions(order: int) -> list[tuple[int, ...]]:
    """Return all dimensions ``d₁ ≤ d₂ ≤ …`` that the irreducible representations of a group of some order may have.

    ``Σ dᵢ² = n``, each ``dᵢ`` divides ``n``, and so does the number of ones, which is the order of ``G / [G, G]``.

    Args:
        order: ``n``, between 1 and 64.

    Raises:
        ValueError: the order is out of range.

    Example:
        >>> block_dimensions(8)
        [(1, 1, 1, 1, 1, 1, 1, 1), (1, 1, 1, 1, 2)]
    """
    if not 1 <= order <= 64:
        raise ValueError(f"expected an order between 1 and 64, got {order}")
    allowed = [d for d in range(1, order) if order % d == 0 and d * d < order] or [1]

    def squares(rest: int, least: int) -> list[tuple[int, ...]]:
        if rest == 0:
            return [()]
        return [(d, *more) for d in allowed if least <= d and d * d <= rest for more in squares(rest - d * d, d)]

    return [dims for dims in squares(order, 1) if dims.count(1) and order % dims.count(1) == 0]


def _checked_array(given: Any) -> Table:
    table = np.asarray(given)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not 1 <= len(table) <= MAX_ORDER:
        raise GroupTableError(f"expected a square table of 1 to {MAX_ORDER} rows, got the shape {table.shape}")
    if table.dtype.kind not in "iu":
        raise GroupTableError(f"expected a table of integers, got {table.dtype}")
    if (outside := np.argwhere((table < 0) | (table >= len(table)))).size:
        g, h = (int(each) for each in outside[0])
        raise GroupTableError(
            f"expected products between 0 and {len(table) - 1}, got {g}·{h} = {table[g, h]}; the table is not closed"
        )
    return table.astype(np.int64)


def _require_latin(table: Table) -> None:
    for name, lines in (("row", table), ("column", table.T)):
        for index, line in enumerate(lines):
            counts = np.bincount(line, minlength=len(table))
            if (counts != 1).any():
                twice = int((counts > 1).argmax())
                times = "twice" if counts[twice] == 2 else f"{counts[twice]} times"
                raise GroupTableError(
                    f"expected each element once in each row and column, got {twice} {times} in {name} {index}; "
                    "the table is not that of a group"
                )


def _require_identity(table: Table) -> None:
    elements = np.arange(len(table))
    left, right = (np.flatnonzero((each == elements).all(1)) for each in (table, table.T))
    if not len(left):
        g, h = (int(each) for each in np.argwhere(table != elements)[0])
        raise GroupTableError(f"expected an identity, got {g}·{h} = {table[g, h]} and no row 0, 1, …, n − 1")
    if not len(right):
        e = int(left[0])
        g = int((table[:, e] != elements).argmax())
        raise GroupTableError(f"expected an identity from both sides, got {e}·{g} = {g} and {g}·{e} = {table[g, e]}")


def _require_associative(table: Table) -> None:
    for a in range(len(table)):
        left, right = table[table[a]], table[a][table]  # (a·b)·c and a·(b·c)
        if (left != right).any():
            b, c = (int(each) for each in np.argwhere(left != right)[0])
            raise GroupTableError(
                f"expected an associative table, got ({a}·{b})·{c} = {left[b, c]} and {a}·({b}·{c}) = {right[b, c]}"
            )
