"""The card of a data set of transitions: what its files hold, as JSON."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .transitions import Transitions

_CARD = {
    "count": int,
    "frames": int,
    "frame_shape": list,
    "displacement_shape": list,
    "group": str,
    "touched": bool,
    "action": (int, type(None)),
    "ground_truth": dict,
}
"""Keys of the card and their types."""


def describe(transitions: Transitions) -> dict[str, Any]:
    """Return the card of transitions."""
    return {
        "count": len(transitions),
        "frames": len(transitions.frames),
        "frame_shape": list(transitions.frames.shape[1:]),
        "displacement_shape": list(transitions.displacement.shape[1:]),
        "group": transitions.group,
        "touched": transitions.touched is not None,
        "action": None if transitions.action is None else transitions.action.shape[1],
        "ground_truth": {name: [list(v.shape[1:]), str(v.dtype)] for name, v in transitions.ground_truth.items()},
    }


def require_sizes(card: dict[str, Any], size: int) -> None:
    """Check that the arrays that a card asks for are no larger than the files, ``size`` bytes.

    Raises:
        ValueError: an entry is missing or of another type, or asks for more than there is.
    """
    for key, kinds in _CARD.items():
        if not isinstance(card.get(key), kinds):  # type: ignore[arg-type]
            raise ValueError(f"its card has {key} = {card.get(key)!r}")
    frames, count = card["frames"], card["count"]
    sizes = {
        "frames": frames * math.prod(card["frame_shape"]),
        "displacement": 4 * count * math.prod(card["displacement_shape"]),
        "action": 4 * count * (card["action"] or 0),
    }
    for name, (shape, dtype) in card["ground_truth"].items():
        sizes[f"ground_truth/{name}"] = frames * math.prod(shape) * np.dtype(dtype).itemsize
    too_large = [name for name, stated in sizes.items() if not 0 <= stated <= size]
    if too_large or min(frames, count) < 0:
        raise ValueError(f"its card states {too_large} of more bytes than its files have")
