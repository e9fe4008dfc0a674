"""Names of groups: ``R1``, ``R2``, …, ``SO2``, ``SO3``, ``SE2``, ``C2``, ``C3``, …, products such as ``R2xSO2``."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..named_registry import Registry
from .group import Group, GroupError
from .products import Product

GROUPS: Registry[Callable[..., Group]] = Registry("group", "equiact.envs.lie_groups")
"""Classes (or functions) that make groups, by name; families such as ``R<n>`` take the number ``n``."""

register_group = GROUPS.register
"""Return a decorator that registers a group, or a family such as ``"Clock<n>"``, under a name."""


def group_from_name(name: str, max_dim: int = 1024) -> Group:
    """Return the group with a name.

    A name is that of a registered group (``SO2``), of a registered family with a number (``R2`` of ``R<n>``), or
    several of these joined by ``x``, which is their product.

    Args:
        name: name of the group.
        max_dim: largest number of coordinates of an element; a larger group is refused.

    Raises:
        GroupError: no group has that name, or its elements have too many coordinates.

    >>> group_from_name("R2")
    Translations(dim=2)
    >>> group_from_name("R2xSO2").name
    'R2xSO2'
    """
    if not isinstance(name, str):
        raise GroupError(f"the name of a group must be text, such as 'R2', got {name!r}")
    factors = _parse(name) if name.count("x") < max_dim else []
    if factors is None:
        raise GroupError(
            f"unknown group {name!r}; choose from {', '.join(GROUPS.names())}, where <n> is a positive number, "
            "or a product such as R2xSO2"
        )
    if not factors or sum(factor.dim for factor in factors) > max_dim:
        raise GroupError(f"a group of at most {max_dim} coordinates was expected, got {name[:40]!r}; pass max_dim")
    return factors[0] if len(factors) == 1 else Product(tuple(factors))


def _parse(name: str) -> list[Group] | None:
    """Return the factors that a name lists, or None if it is no name of a group."""
    whole = _single(name)
    if whole is not None:
        return [whole]
    pieces = name.split("x")  # of which several may belong to one factor
    factors: list[list[Group] | None] = [None] * len(pieces) + [[]]
    for begin in reversed(range(len(pieces))):
        for end in range(begin + 1, len(pieces) + 1):
            rest = factors[end]
            first = None if rest is None else _single("x".join(pieces[begin:end]))
            if first is not None and rest is not None:
                factors[begin] = [first, *rest]
                break
    return factors[0]


def _single(name: str) -> Group | None:
    """Return the registered group, or member of a registered family, with a name."""
    if name in GROUPS:
        return GROUPS.get(name)()
    match = re.fullmatch(r"(.*[A-Za-z])([1-9][0-9]{0,17})", name)
    family = f"{match[1]}<n>" if match else ""
    return GROUPS.get(family)(int(match[2])) if match and family in GROUPS else None
