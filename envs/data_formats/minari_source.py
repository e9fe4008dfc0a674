"""Read episodes from a data set of Minari, with Dict observations, JPEG images, HDF5, Arrow or Parquet files.

Columns have the names of Minari: ``observations/…``, ``actions``, ``rewards``, ``terminations``, ``truncations`` and
``infos/…``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.minari_dataset import DatasetError
from ..storage.artifacts import ArtifactError, read_json
from .episode_columns import EpisodeColumns
from .episode_source import RecordedEpisode, is_image_shape, require_memory
from .format_detection import minari_data_folder
from .minari_files import ArrowFiles, Hdf5Files, MinariFiles
from .read_errors import damaged, reading, require_libraries


class MinariSource:
    """Episodes in a data set of Minari.

    Args:
        path: the folder with ``metadata.json``, or the one with ``data/metadata.json``.
        max_bytes: largest size of the files, and of the images.

    Raises:
        DatasetError: it is damaged, too large, states no spaces, or a library is missing.
    """

    name = "a Minari data set"

    def __init__(self, path: Path, max_bytes: int) -> None:
        require_libraries(self.name, "minari", "PIL")
        self.path = path
        data = minari_data_folder(path)
        metadata = _metadata(data)
        with reading(self.name, path):
            spaces = _spaces(metadata)
            self._files = _open(data, metadata, spaces, max_bytes)
            self._count = int(metadata["total_episodes"])
            if self._count < 1:
                raise DatasetError(f"expected {self.name} with episodes at {path}, got none")
            self._names = self._files.names(0)
            self._num_frames = int(metadata["total_steps"]) + self._count
            declared = {name: space.shape for name, space in spaces.items() if _is_image(space)}
            sizes = {name: self._num_frames * int(np.prod(shape)) for name, shape in declared.items()}
            require_memory(f"{self.name} at {path}", sizes, max_bytes)
            others = self._files.read(0, [name for name in self._names if name.startswith("infos")])
        infos = {name: v.shape[1:] for name, v in others.items() if is_image_shape(v.shape[1:], v.dtype)}
        self._images = {**declared, **infos}

    def image_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of an image of each image column, by name."""
        return self._images

    def column_names(self) -> list[str]:
        """Return the names of the columns that are no images."""
        return [name for name in self._names if name not in self._images]

    def num_frames(self) -> int:
        """Return the number of frames of all episodes."""
        return self._num_frames

    def episodes(self, image_key: str, columns: Sequence[str]) -> Iterator[RecordedEpisode]:
        """Yield the episodes, with one image column and some of the other columns."""
        with reading(self.name, self.path):
            for episode in range(self._count):
                names = self._files.names(episode)
                missing = [name for name in (image_key, *columns) if name not in names]
                if missing:
                    raise DatasetError(
                        f"expected the column {missing[0]} in all episodes of {self.name} at {self.path}, "
                        f"got none in episode {episode}; choose another column, or leave the episode out"
                    )
                arrays = self._files.read(episode, [image_key, *columns])
                images = arrays[image_key]
                if len(images) != self._files.steps(episode) + 1:
                    found = f"episode {episode} has {len(images)} images and {self._files.steps(episode)} steps"
                    raise damaged(self.name, self.path, found)
                chosen = {name: arrays[name] for name in columns}
                yield RecordedEpisode(images, EpisodeColumns(chosen, len(images)))


def _open(data: Path, metadata: Mapping[str, Any], spaces: Mapping[str, Any], max_bytes: int) -> MinariFiles:
    """Open the files of a data set; those of versions without a ``data_format`` are HDF5."""
    data_format, jpeg = metadata.get("data_format", "hdf5"), bool(metadata.get("jpeg_encoding", True))
    if data_format == "hdf5":
        return Hdf5Files(data, spaces, jpeg, max_bytes)
    if data_format not in ("arrow", "parquet"):
        raise DatasetError(f"expected the data_format hdf5, arrow or parquet in {data}, got {data_format!r}")
    require_libraries("a Minari data set", "pyarrow")
    return ArrowFiles(data, spaces, jpeg, data_format, max_bytes)


def _metadata(data: Path) -> Mapping[str, Any]:
    """Return the metadata; without its spaces, its environment would have to be made, and so run, to find them out."""
    try:
        metadata = read_json(data / "metadata.json")
    except (ArtifactError, FileNotFoundError) as error:
        raise DatasetError(f"expected the metadata.json of a Minari data set in {data}, got: {error}") from error
    if not isinstance(metadata, Mapping) or not {"observation_space", "action_space"} <= metadata.keys():
        raise DatasetError(
            f"expected the spaces observation_space and action_space in {data / 'metadata.json'}, got none; "
            "write the data set again with both, since its environment is not made to find them out"
        )
    return metadata


def _spaces(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spaces of observations and actions, by the names of their columns."""
    from minari.serialization import deserialize_space

    spaces = {}
    for name, key in (("observations", "observation_space"), ("actions", "action_space")):
        spaces.update(_leaf_spaces(deserialize_space(metadata[key]), name))
    return spaces


def _leaf_spaces(space: Any, prefix: str) -> dict[str, Any]:
    import gymnasium as gym

    if isinstance(space, gym.spaces.Dict):
        children = dict(space.spaces)
    elif isinstance(space, gym.spaces.Tuple):
        children = {str(index): child for index, child in enumerate(space.spaces)}
    else:
        return {prefix: space}
    parts = [_leaf_spaces(child, f"{prefix}/{name}") for name, child in children.items()]
    return {name: leaf for part in parts for name, leaf in part.items()}


def _is_image(space: Any) -> bool:
    return space.shape is not None and space.dtype is not None and is_image_shape(space.shape, space.dtype)
