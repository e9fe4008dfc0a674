"""States of an environment, as `RestorableEnv` saves them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


class NotReproducibleError(RuntimeError):
    """An environment did not return to a saved observation when its actions were replayed."""


@dataclass(frozen=True)
class EnvState:
    """A saved state of one environment; only the environment that saved it can restore it.

    Attributes:
        observation: the last observation before the state was saved, a copy.
        info: the last info, a copy.
        is_exact: whether a restore writes back a snapshot; if not, it resets and replays actions.
    """

    observation: Any
    info: dict[str, Any]
    is_exact: bool
    owner: object = field(repr=False)
    write_back: Callable[[], None] = field(repr=False)


def first_difference(expected: Any, found: Any, name: str = "observation") -> str | None:
    """Return where two observations differ first, bit for bit; None if they are equal.

    Args:
        expected: arrays, numbers or text, in dictionaries, tuples or lists.
        found: the same structure.
        name: name of the observation in the answer.

    Example:
        >>> first_difference({"a": np.zeros(2)}, {"a": np.array([0.0, 1.0])})
        "observation['a'][1]: 0.0 expected, 1.0 found"
    """
    if isinstance(expected, dict) and isinstance(found, dict):
        if list(expected) != list(found):
            return f"{name}: the keys {list(expected)} expected, {list(found)} found"
        pairs = [(expected[key], found[key], f"{name}[{key!r}]") for key in expected]
    elif isinstance(expected, list | tuple) and isinstance(found, list | tuple):
        if len(expected) != len(found):
            return f"{name}: {len(expected)} elements expected, {len(found)} found"
        pairs = [(one, other, f"{name}[{i}]") for i, (one, other) in enumerate(zip(expected, found, strict=True))]
    else:
        return _array_difference(expected, found, name)
    differences = (first_difference(one, other, where) for one, other, where in pairs)
    return next((difference for difference in differences if difference is not None), None)


def _array_difference(expected: Any, found: Any, name: str) -> str | None:
    if type(expected) is not type(found):
        return f"{name}: a {type(expected).__name__} expected, a {type(found).__name__} found"
    one, other = np.asarray(expected), np.asarray(found)
    if one.dtype != other.dtype or one.shape != other.shape:
        return f"{name}: {one.dtype} {one.shape} expected, {other.dtype} {other.shape} found"
    if one.dtype.hasobject:
        return None if expected == found else f"{name}: {expected!r} expected, {found!r} found"
    if one.tobytes() == other.tobytes():
        return None
    differs = np.frombuffer(one.tobytes(), np.uint8).reshape(*one.shape, one.itemsize) != np.frombuffer(
        other.tobytes(), np.uint8
    ).reshape(*one.shape, one.itemsize)
    index = tuple(int(i) for i in np.argwhere(differs.any(-1))[0])
    where = f"{name}{list(index)}" if index else name
    return f"{where}: {one[index]} expected, {other[index]} found"
