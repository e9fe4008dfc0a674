"""Writes into arrays of a simulator that can be undone exactly."""

from __future__ import annotations

from typing import Any

import numpy as np


class ArrayWrites:
    """Write into arrays, remember what was there, and put it back bit for bit.

    Example:
        >>> values, writes = np.array([1.0, 2.0]), ArrayWrites()
        >>> writes.set(values, 0, 5.0)
        >>> writes.undo()
        >>> values
        array([1., 2.])
    """

    def __init__(self) -> None:
        self._earlier: list[tuple[Any, Any, Any]] = []

    def set(self, array: Any, index: Any, value: Any) -> None:
        """Write a value at an index of an array."""
        self._earlier.append((array, index, np.array(array[index])))
        array[index] = value

    def set_attribute(self, owner: Any, name: str, value: Any) -> None:
        """Write an attribute that is a number."""
        self._earlier.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def undo(self) -> None:
        """Put back what was there, the last write first, and forget it."""
        while self._earlier:
            target, place, value = self._earlier.pop()
            if isinstance(place, str):
                setattr(target, place, value)
            else:
                target[place] = value

    def copy(self) -> ArrayWrites:
        """Return an object that undoes the same writes."""
        other = ArrayWrites()
        other._earlier = list(self._earlier)
        return other
