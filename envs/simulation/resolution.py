"""The check of a resolution, before anything of its size is allocated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import SupportsIndex

from ..arguments import integer_argument


def checked_resolution(
    resolution: Sequence[SupportsIndex], num_worlds: int, max_bytes: int, limit: str
) -> tuple[int, int]:
    """Return a resolution as two integers.

    Args:
        resolution: height and width of a frame in pixels.
        num_worlds: number of frames.
        max_bytes: largest memory for all of them.
        limit: name of this limit, for the error.

    Raises:
        ValueError: it is not two integers of at least 1, or the frames take too much memory.
    """
    try:
        height, width = (integer_argument("resolution", side, at_least=1) for side in resolution)
    except (TypeError, ValueError):
        raise ValueError(
            f"resolution must be two integers of at least 1, height and width in pixels, got {resolution!r}"
        ) from None
    size = math.prod((num_worlds, height, width, 8))  # packed words, and copies of them as bytes
    if size > max_bytes:
        raise ValueError(
            f"frames of {height} × {width} pixels for {num_worlds} worlds take {size:.2g} bytes, more than "
            f"{max_bytes:.2g}; lower the resolution or num_worlds, or raise {limit}"
        )
    return height, width
