"""Read episodes from a data set of LeRobot, v2.0, v2.1 or v3.0, with images in Parquet or MP4 files.

Columns have the names of LeRobot, such as ``observation.state`` and ``action``. An episode has as many frames as rows,
so that its last action leads to no frame, and is not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrow_arrays import flat_values
from .episode_columns import EpisodeColumns
from .episode_source import RecordedEpisode
from .lerobot_images import VideoReader, decode_images, image_size
from .lerobot_layout import EpisodePlace, LeRobotLayout, read_table
from .read_errors import damaged, reading, require_libraries

_OFF = 0.25
"""Largest distance of a time stamp to the frame that it means, in frame intervals."""


class LeRobotSource:
    """Episodes in a data set of LeRobot.

    Args:
        path: the folder with ``meta/info.json``.
        max_bytes: largest size of a file, and of a column in it.

    Raises:
        DatasetError: it is damaged, too large, of another version, or a library is missing.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        require_libraries("a LeRobot data set", "pyarrow")
        self.path = path
        self._max_bytes = max_bytes
        self._layout = LeRobotLayout.read(path, max_bytes)
        self._table: tuple[Path, tuple[str, ...], Any] | None = None
        self.name = f"a LeRobot {self._layout.version} data set"
        with reading(self.name, path):
            self._sizes = {name: image_size(each) for name, each in self._layout.features.items() if _is_image(each)}

    def image_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of an image of each image column, by name."""
        return {name: (*size, 3) for name, size in self._sizes.items()}

    def column_names(self) -> list[str]:
        """Return the names of the columns of numbers."""
        numbers = ("float", "int", "uint", "bool")
        return [name for name, each in self._layout.features.items() if str(each.get("dtype", "")).startswith(numbers)]

    def num_frames(self) -> int:
        """Return the number of frames of all episodes."""
        return sum(episode.length for episode in self._layout.episodes)

    def episodes(self, image_key: str, columns: Sequence[str]) -> Iterator[RecordedEpisode]:
        """Yield the episodes, with one image column and some of the other columns."""
        is_video = self._layout.features[image_key].get("dtype") == "video"
        needed = list(dict.fromkeys([*columns, "episode_index", "timestamp" if is_video else image_key]))
        with reading(self.name, self.path), ExitStack() as stack:
            reader: VideoReader | None = None
            for place in self._layout.episodes:
                rows = self._rows(place, needed)
                arrays = {name: self._array(rows, name, place) for name in columns}
                if is_video:
                    reader = self._reader(place, image_key, reader, stack)
                    times = self._array(rows, "timestamp", place).astype(float).reshape(-1)
                    images = reader.frames(times + place.videos[image_key].begin, _OFF / self._layout.fps)
                else:
                    images = decode_images(rows[image_key].to_pylist(), self._sizes[image_key], place.data)
                yield RecordedEpisode(images, EpisodeColumns(arrays, place.length))

    def _reader(self, place: EpisodePlace, image_key: str, reader: VideoReader | None, stack: ExitStack) -> VideoReader:
        """Return the reader of the video of an episode: the one before if it is in the same file."""
        file = place.videos[image_key].file
        if reader is not None and reader.path == file:
            return reader
        stack.close()
        opened = VideoReader(file, self._sizes[image_key])
        return stack.enter_context(opened)

    def _rows(self, place: EpisodePlace, columns: list[str]) -> Any:
        """Return the rows of an episode as a table of Arrow; the last file is kept, which may hold the next one too."""
        key = (place.data, tuple(columns))
        if self._table is None or self._table[:2] != key:
            if not place.data.is_file():
                raise damaged(self.name, self.path, f"there is no file {place.data}")
            self._table = None
            self._table = (*key, read_table(place.data, columns, self._max_bytes))
        table = self._table[2]
        index = np.flatnonzero(table["episode_index"].to_numpy() == place.index)
        if len(index) != place.length or (len(index) and index[-1] - index[0] + 1 != len(index)):
            raise damaged(
                self.name, self.path, f"episode {place.index} has {len(index)} rows in {place.data}, not {place.length}"
            )
        return table.slice(int(index[0]) if len(index) else 0, len(index))

    def _array(self, rows: Any, name: str, place: EpisodePlace) -> NDArray[Any]:
        """Return a column of an episode, ``(F, k)`` or ``(F,)``."""
        values = flat_values(rows[name])
        count = place.length
        if values.dtype.kind == "O" or (count and len(values) % count):
            found = f"the column {name} of episode {place.index} has {len(values)} values for {count} frames"
            raise damaged(self.name, place.data, found)
        return values.reshape(count, -1) if count else values


def _is_image(feature: Any) -> bool:
    """Return whether a feature is a colour image; depth maps are none."""
    details = [feature.get(name) for name in ("info", "video_info")]
    depth = any(
        isinstance(each, dict) and (each.get("is_depth_map") or each.get("video.is_depth_map")) for each in details
    )
    return feature.get("dtype") in ("image", "video") and not depth
