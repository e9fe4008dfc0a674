"""Directions: fixed, or drawn from an axis, a plane or the sphere."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import PerturbationError

Direction: TypeAlias = str | tuple[float, float, float]
"""``"+x"``, ``"-x"``: fixed; ``"x"``: one of the two, drawn; ``"xy"``: drawn from the circle; ``"xyz"``: drawn from the
sphere; three numbers: fixed, of any length. Axes are those of the world."""

_AXES = "xyz"


def draw_direction(direction: Direction, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return a unit vector, ``(3,)``; those that are drawn are uniform.

    Raises:
        PerturbationError: it is no direction.

    Example:
        >>> draw_direction("-y", np.random.default_rng(0))
        array([ 0., -1.,  0.])
    """
    require_direction(direction)
    vector = np.zeros(3)
    if isinstance(direction, tuple):
        vector[:] = direction
    elif direction[0] in "+-":
        vector[_AXES.index(direction[1])] = 1.0 if direction[0] == "+" else -1.0
    else:
        axes = [_AXES.index(axis) for axis in direction]
        vector[axes] = generator.normal(size=len(axes))
    return np.asarray(vector / np.linalg.norm(vector))


def require_direction(direction: Direction, name: str = "direction") -> None:
    """Check a direction.

    Raises:
        PerturbationError: it is none.
    """
    if isinstance(direction, tuple):
        values = np.asarray(direction, float) if all(isinstance(each, int | float) for each in direction) else None
        valid = values is not None and values.shape == (3,) and bool(np.isfinite(values).all() and values.any())
    else:
        text = str(direction)
        signed = len(text) == 2 and text[0] in "+-" and text[1] in _AXES
        valid = signed or (0 < len(text) == len(set(text)) and set(text) <= set(_AXES))
    if not valid:
        raise PerturbationError(
            f"{name} must be an axis with a sign such as '+x', an axis, plane or 'xyz' to draw from, or three numbers "
            f"that are not all 0, got {direction!r}"
        )
