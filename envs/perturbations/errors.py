"""The error of perturbations, and its hints."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PerturbationError(ValueError):
    """A perturbation that cannot be applied, or that had no effect."""


def closest(name: str, known: Iterable[str], shown: int = 20) -> str:
    """Return what to choose instead of an unknown name.

    Args:
        name: the unknown name.
        known: the names that exist.
        shown: largest number of names that are listed.

    Example:
        >>> closest("torsso", ["torso", "leg"])
        "; did you mean 'torso'? Choose from torso, leg"
    """
    names = [each for each in known if each]
    close = difflib.get_close_matches(name, names, 1)
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    listed = ", ".join(names[:shown]) or "none: nothing there has a name"
    return f"{f'; did you mean {close[0]!r}? C' if close else '; c'}hoose from {listed}{rest}"
