"""Checks of arguments, which every part of the package words alike."""

from __future__ import annotations

import operator
from typing import Any


def integer_argument(name: str, value: Any, at_least: int, error: type[ValueError] = ValueError) -> int:
    """Return an argument as an integer, of whatever integer type it is.

    Args:
        name: name of the argument in the error message.
        value: what the caller gave.
        at_least: least value.
        error: type of the error.

    Raises:
        ValueError: it is no integer (a bool or a float is none), or less than ``at_least``.

    Example:
        >>> integer_argument("transitions", 2.5, at_least=1)
        Traceback (most recent call last):
        ValueError: transitions must be an integer of at least 1, got 2.5
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < at_least:
        raise error(f"{name} must be an integer of at least {at_least}, got {value!r}")
    return number
