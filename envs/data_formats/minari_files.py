"""Read the files of Minari data sets: HDF5, Arrow and Parquet, with images as arrays or as JPEG.

They are read by their published layout and not by Minari 0.5, whose Arrow reader fails on infos that are single
numbers, does not unpack nested infos, and mixes up episodes of more than 32768 steps.

Source: ``minari/dataset/_storages/{hdf5,arrow}_storage.py`` of Minari 0.5.4.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .arrow_arrays import flat_values
from .episode_source import require_memory
from .hdf5_files import flat_arrays, open_hdf5

_PADDED = ("actions", "rewards", "terminations", "truncations")
"""Columns to which Arrow files add an entry, so that they are as long as the observations."""


class MinariFiles(Protocol):
    """The files of a data set, from which columns of episodes are read."""

    def steps(self, episode: int) -> int:
        """Return the number of steps of an episode."""

    def names(self, episode: int) -> list[str]:
        """Return the names of the columns of an episode, such as ``observations/pixels``."""

    def read(self, episode: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Return columns of an episode."""


class Hdf5Files:
    """The file ``main_data.hdf5``.

    Args:
        data: the folder.
        spaces: spaces of observations and actions, by the names of their columns.
        jpeg: images are JPEG files.
        max_bytes: largest size of an array.

    Raises:
        DatasetError: an array is larger, the file leads to another one, or h5py is not installed.
    """

    def __init__(self, data: Path, spaces: Mapping[str, Any], jpeg: bool, max_bytes: int) -> None:
        self._path, self._spaces, self._jpeg = data / "main_data.hdf5", spaces, jpeg
        with open_hdf5(self._path, "a Minari data set", max_bytes):
            pass
        import h5py

        self._file = h5py.File(self._path, "r")

    def steps(self, episode: int) -> int:
        """Return the number of steps of an episode."""
        return len(self._file[f"episode_{episode}"]["rewards"])

    def names(self, episode: int) -> list[str]:
        """Return the names of the columns of an episode, such as ``observations/pixels``."""
        return list(self._arrays(episode))

    def read(self, episode: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Return columns of an episode."""
        arrays = self._arrays(episode)
        return {name: self._decoded(name, arrays[name][()]) for name in names}

    def _arrays(self, episode: int) -> dict[str, Any]:
        arrays = flat_arrays(self._file[f"episode_{episode}"])
        return {name.replace("/_index_", "/"): array for name, array in arrays.items() if array.ndim}

    def _decoded(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        space: Any = self._spaces.get(name)
        return decode_jpeg(values, space.shape, name) if self._jpeg and is_jpeg_space(space) else values


class ArrowFiles:
    """One folder of Arrow or Parquet files for each episode.

    Args:
        data: the folder.
        spaces: spaces of observations and actions, by the names of their columns.
        jpeg: images are JPEG files.
        data_format: ``"arrow"`` or ``"parquet"``.
        max_bytes: largest size of all files.

    Raises:
        DatasetError: the files are larger.
    """

    def __init__(self, data: Path, spaces: Mapping[str, Any], jpeg: bool, data_format: str, max_bytes: int) -> None:
        self._data, self._spaces, self._jpeg, self._format = data, spaces, jpeg, data_format
        sizes = [file.stat().st_size for file in data.rglob("*") if file.is_file()]
        require_memory(f"a Minari data set at {data}", {"files": sum(sizes)}, max_bytes)

    def steps(self, episode: int) -> int:
        """Return the number of steps of an episode."""
        return int(self._dataset(episode).count_rows()) - 1

    def names(self, episode: int) -> list[str]:
        """Return the names of the columns of an episode, such as ``observations/pixels``."""
        return [name for field in self._dataset(episode).schema for name in _leaves(field.name, field.type)]

    def read(self, episode: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Return columns of an episode."""
        table = self._dataset(episode).to_table(columns=list(dict.fromkeys(name.split("/")[0] for name in names)))
        return {name: self._column(table, name) for name in names}

    def _dataset(self, episode: int) -> Any:
        import pyarrow.dataset

        ignored = ["_", ".", "metadata.json"]
        return pyarrow.dataset.dataset(self._data / str(episode), format=self._format, ignore_prefixes=ignored)

    def _column(self, table: Any, name: str) -> NDArray[Any]:
        """Return a column; its entries get the shape of their space, or the one that the file states."""
        top, *below = name.split("/")
        array, shape = table[top].combine_chunks(), None
        for part in below:
            field = array.type.field(part)
            shape = (field.metadata or {}).get(b"shape")
            array = array.field(part)
        count = len(array)
        space: Any = self._spaces.get(name)
        if self._jpeg and is_jpeg_space(space):
            values: NDArray[Any] = decode_jpeg(array.to_pylist(), space.shape, name)
        else:
            stated = None if shape is None else tuple(int(each) for each in shape.decode().split(",") if each)
            values = _shaped(flat_values(array), count, getattr(space, "shape", None) if space is not None else stated)
        return values[:-1] if top in _PADDED else values


def is_jpeg_space(space: Any) -> bool:
    """Return whether Minari stores elements of a space as JPEG, if it does so at all."""
    from minari.dataset.minari_storage import is_image_space

    return space is not None and bool(is_image_space(space))


def decode_jpeg(cells: Sequence[Any] | NDArray[Any], shape: tuple[int, ...], name: str) -> NDArray[np.uint8]:
    """Return the images in JPEG files, ``(N, *shape)``.

    Raises:
        ValueError: an image has another shape.
    """
    from PIL import Image

    images = np.empty((len(cells), *shape), np.uint8)
    for number, cell in enumerate(cells):
        with Image.open(io.BytesIO(bytes(cell)), formats=("JPEG",)) as image:
            if (image.height, image.width) != tuple(shape[:2]):
                raise ValueError(f"image {number} of {name} has {image.height}x{image.width} pixels, not {shape[:2]}")
            images[number] = np.asarray(image).reshape(shape)
    return images


def _shaped(values: NDArray[Any], count: int, shape: tuple[int, ...] | None) -> NDArray[Any]:
    if shape is None:
        shape = () if len(values) == count else (-1,)
    return values.reshape(count, *shape)


def _leaves(name: str, kind: Any) -> list[str]:
    """Return the names of the columns in a type of Arrow that may be nested."""
    import pyarrow as pa

    if not pa.types.is_struct(kind):
        return [name]
    fields = [kind.field(index) for index in range(kind.num_fields)]
    return [leaf for field in fields for leaf in _leaves(f"{name}/{field.name}", field.type)]
