"""The interface of readers: where the images and the columns of the episodes of a data set are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..data.minari_dataset import DatasetError
from .episode_columns import EpisodeColumns, find_name


@dataclass(frozen=True)
class RecordedEpisode:
    """An episode as a data set holds it.

    Attributes:
        images: ``(F, H, W, C)`` uint8, or ``(F, C, H, W)``.
        columns: the columns, with ``F`` or ``F - 1`` entries each.
    """

    images: NDArray[np.uint8]
    columns: EpisodeColumns


class EpisodeSource(Protocol):
    """A data set of another package, opened but not yet read.

    Attributes:
        path: where it is.
        name: what it is, such as ``"a LeRobot v3.0 data set"``.
    """

    path: Path
    name: str

    def image_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of an image of each image column, by name."""

    def column_names(self) -> list[str]:
        """Return the names of the columns that are no images."""

    def num_frames(self) -> int:
        """Return the number of frames of all episodes."""

    def episodes(self, image_key: str, columns: Sequence[str]) -> Iterator[RecordedEpisode]:
        """Yield the episodes, with one image column and some of the other columns."""


def choose_image_key(source: EpisodeSource, image_key: str | None) -> str:
    """Return the image column that is meant; the only one if none is named.

    Raises:
        DatasetError: there is no such column, none at all, or several and none is named.
    """
    shapes = source.image_shapes()
    listed = ", ".join(f"{name} {shape}" for name, shape in sorted(shapes.items())) or "none"
    if image_key is not None:
        try:
            return find_name(image_key, list(shapes))
        except DatasetError as error:
            raise DatasetError(
                f"expected the image column {image_key!r} in {source.name} at {source.path}; image columns: {listed}"
            ) from error
    if len(shapes) != 1:
        what = "no images" if not shapes else f"{len(shapes)} image columns: {listed}. Choose one by image_key"
        others = f"; other columns: {', '.join(source.column_names()[:40])}" if not shapes else ""
        raise DatasetError(f"expected one image column in {source.name} at {source.path}, got {what}{others}")
    return next(iter(shapes))


def require_memory(what: str, sizes: dict[str, int], max_bytes: int) -> None:
    """Check the number of bytes that a data set states, before anything is allocated.

    Args:
        what: name of the data set in the error message.
        sizes: stated bytes, by name of the part.
        max_bytes: limit of each.

    Raises:
        DatasetError: a part is larger than the limit, or negative.
    """
    for name, size in sizes.items():
        if not 0 <= size <= max_bytes:
            raise DatasetError(
                f"expected at most {max_bytes} bytes of {name} in {what}, got {size}; "
                "pass a larger max_bytes if you trust it and have the memory"
            )


def is_image_shape(shape: Sequence[Any], dtype: Any) -> bool:
    """Return whether entries of a column are images: uint8 with three axes, and 1, 3 or 4 channels first or last."""
    channels = {shape[0], shape[-1]} if len(shape) == 3 else set()
    return np.dtype(dtype) == np.uint8 and bool(channels & {1, 3, 4})
