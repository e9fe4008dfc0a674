"""Read episodes from an NPZ file of NumPy.

All arrays have one entry for each frame, episode after episode.

| key | shape | meaning |
|---|---|---|
| ``images``, or any uint8 array of images | ``(F, H, W, C)`` | the frames |
| ``episode`` | ``(F,)`` | integer, the episode of each frame |
| any other | ``(F, ...)`` | a column; ``displacement`` is what `load_dataset` reads if no rule is given |

Entry ``t`` of ``displacement`` leads from frame ``t`` to frame ``t + 1``; the last one of each episode is not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.minari_dataset import DatasetError
from ..storage.artifacts import ArtifactError, ArtifactLimits, read_npz
from .episode_columns import EpisodeColumns
from .episode_source import RecordedEpisode, is_image_shape

_EPISODE = "episode"


class NpzSource:
    """Episodes in an NPZ file.

    Args:
        path: the file.
        max_bytes: largest size of the file, and of the arrays in it.

    Raises:
        DatasetError: the file is missing, damaged or too large, or its arrays do not have one entry for each frame.
    """

    name = "an NPZ file"

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self._arrays = _read(path, max_bytes)
        if _EPISODE not in self._arrays:
            raise DatasetError(
                f"expected an array 'episode' with the episode of each frame in {path}, "
                f"got {', '.join(sorted(self._arrays)) or 'nothing'}; add it, such as np.zeros(len(images), int)"
            )
        self._bounds = _bounds(self._arrays[_EPISODE], path)
        for name, values in self._arrays.items():
            if values.ndim == 0 or len(values) != self.num_frames():
                raise DatasetError(
                    f"expected arrays with one entry for each of the {self.num_frames()} frames in {path}, "
                    f"got {name} of the shape {values.shape}; repeat its last entry, or leave it out"
                )

    def image_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of an image of each image column, by name."""
        return {name: v.shape[1:] for name, v in self._arrays.items() if is_image_shape(v.shape[1:], v.dtype)}

    def column_names(self) -> list[str]:
        """Return the names of the columns that are no images."""
        return [name for name in self._arrays if name not in self.image_shapes() and name != _EPISODE]

    def num_frames(self) -> int:
        """Return the number of frames of all episodes."""
        return len(self._arrays[_EPISODE])

    def episodes(self, image_key: str, columns: Sequence[str]) -> Iterator[RecordedEpisode]:
        """Yield the episodes, with one image column and some of the other columns."""
        for begin, end in zip(self._bounds[:-1], self._bounds[1:], strict=True):
            chosen = {name: self._arrays[name][begin:end] for name in columns}
            yield RecordedEpisode(self._arrays[image_key][begin:end], EpisodeColumns(chosen, end - begin))


def _read(path: Path, max_bytes: int) -> dict[str, NDArray[Any]]:
    try:
        return read_npz(path, ArtifactLimits(max_bytes=max_bytes))
    except ArtifactError as error:
        raise DatasetError(f"{error}. Arrays of Python objects are not read") from error


def _bounds(episode: NDArray[Any], path: Path) -> list[int]:
    """Return where episodes begin, and the number of frames."""
    if episode.ndim != 1 or episode.dtype.kind not in "iu" or not len(episode):
        raise DatasetError(
            f"expected integers (F,) in the array 'episode' of {path}, got {episode.shape} of {episode.dtype}"
        )
    begins = np.flatnonzero(np.append(True, episode[1:] != episode[:-1]))
    if len(np.unique(episode[begins])) != len(begins):
        raise DatasetError(f"expected the frames of an episode one after another in {path}, got them apart; sort them")
    return [*begins.tolist(), len(episode)]
