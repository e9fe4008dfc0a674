"""Read episodes from an HDF5 file of robomimic.

The file holds ``data/demo_0``, ``data/demo_1``, …, each with ``obs/<name>``, ``actions`` and others. The last frame of
an episode is in ``next_obs``. Where that is missing, the last action leads to no frame, and is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.minari_dataset import DatasetError
from .episode_columns import EpisodeColumns
from .episode_source import RecordedEpisode, is_image_shape
from .hdf5_files import flat_arrays, open_hdf5
from .read_errors import damaged


class RobomimicSource:
    """Episodes in an HDF5 file of robomimic.

    Args:
        path: the file.
        max_bytes: largest size of an array.

    Raises:
        DatasetError: it is damaged, too large, of another program, or h5py is missing.
    """

    name = "a robomimic file"

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        with open_hdf5(path, self.name, max_bytes) as file:
            self._demos = _demos(file, path)
            arrays = flat_arrays(file["data"][self._demos[0]])
            self._shapes = {name: (array.shape[1:], array.dtype) for name, array in arrays.items() if array.ndim}
            self._num_frames = sum(_length(file["data"][demo], path) + 1 for demo in self._demos)

    def image_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of an image of each image column, by name."""
        return {
            name: shape
            for name, (shape, dtype) in self._shapes.items()
            if is_image_shape(shape, dtype) and not name.startswith("next_obs/")
        }

    def column_names(self) -> list[str]:
        """Return the names of the columns that are no images."""
        return [name for name, (shape, dtype) in self._shapes.items() if not is_image_shape(shape, dtype)]

    def num_frames(self) -> int:
        """Return the number of frames of all episodes; one too many for each without ``next_obs``."""
        return self._num_frames

    def episodes(self, image_key: str, columns: Sequence[str]) -> Iterator[RecordedEpisode]:
        """Yield the episodes, with one image column and some of the other columns."""
        with open_hdf5(self.path, self.name, self._max_bytes) as file:
            for demo in self._demos:
                arrays = flat_arrays(file["data"][demo])
                images = self._read(arrays, demo, image_key)
                chosen = {name: self._read(arrays, demo, name) for name in columns}
                yield RecordedEpisode(images, EpisodeColumns(chosen, len(images)))

    def _read(self, arrays: dict[str, Any], demo: str, name: str) -> NDArray[Any]:
        """Return a column, with the last entry of ``next_obs`` after those of ``obs``."""
        if name not in arrays:
            raise damaged(self.name, self.path, f"{demo} has no {name}, which the first episode has")
        values: NDArray[Any] = arrays[name][()]
        following = arrays.get(f"next_{name}") if name.startswith("obs/") else None
        if following is None or len(following) == 0:
            return values
        if following.shape[1:] != values.shape[1:]:
            raise damaged(self.name, self.path, f"{demo} has {name} and next_{name} of different shapes")
        return np.concatenate([values, following[-1:]])


def _demos(file: Any, path: Path) -> list[str]:
    """Return the names of the episodes in the order of their numbers."""
    names = list(file["data"]) if "data" in file else []
    demos = sorted((n for n in names if re.fullmatch(r"demo_\d+", n)), key=lambda name: int(name[5:]))
    if not demos:
        raise DatasetError(
            f"expected data/demo_0 and so on in the HDF5 file {path}, got {', '.join(list(file)[:5]) or 'nothing'}; "
            "open the folder if it belongs to Minari, or make arrays of it for Transitions.from_episodes"
        )
    return demos


def _length(demo: Any, path: Path) -> int:
    if "actions" not in demo or demo["actions"].ndim == 0:
        raise damaged("a robomimic file", path, f"{demo.name} has no actions")
    return len(demo["actions"])
