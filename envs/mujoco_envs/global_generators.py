"""The global random generators, from which some environments draw instead of from their own."""

from __future__ import annotations

import contextlib
import ctypes
import random
from collections.abc import Iterator
from typing import Any

import numpy as np


class GlobalGenerators:
    """Notices whether code draws from ``numpy.random`` or ``random``, and restores their states only then.

    Attributes:
        used: whether something was drawn while they were watched.

    Example:
        >>> generators = GlobalGenerators()
        >>> state = generators.state()
        >>> with generators.watched():
        ...     first = np.random.random()
        >>> generators.restore(state)
        >>> generators.used, np.random.random() == first
        (True, True)
    """

    def __init__(self) -> None:
        self.used = False

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Notice draws inside of the context."""
        before = None if self.used else _fingerprint()
        try:
            yield
        finally:
            self.used = self.used or before != _fingerprint()

    def state(self) -> tuple[Any, Any]:
        """Return the states of both generators."""
        return np.random.get_state(legacy=False), random.getstate()

    def restore(self, state: tuple[Any, Any]) -> None:
        """Return to a state, if something was drawn while the generators were watched."""
        if self.used:
            np.random.set_state(state[0])
            random.setstate(state[1])


def _fingerprint() -> tuple[Any, ...]:
    """Return values that change with every draw, faster than by reading the whole states: this runs in every step."""
    words = random.getstate()[1]
    module: Any = np.random
    numbers = module.get_bit_generator()
    if isinstance(numbers, np.random.MT19937):  # the default: 624 words and a position
        return words[0], words[-1], ctypes.string_at(numbers.ctypes.state_address, 4 * 625)
    return words[0], words[-1], repr(numbers.state)
