"""Open HDF5 files of strangers: sizes are checked first, and links to other files are refused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.minari_dataset import DatasetError
from .episode_source import require_memory
from .read_errors import reading, require_libraries

if TYPE_CHECKING:
    import h5py


@contextlib.contextmanager
def open_hdf5(path: Path, what: str, max_bytes: int) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, after checking the size that each array states.

    Args:
        path: the file.
        what: name of the data set, for messages.
        max_bytes: largest size of an array.

    Raises:
        DatasetError: the file is damaged, leads to another file, states a larger array, or h5py is not installed.
    """
    require_libraries(what, "h5py")
    import h5py

    with reading(what, path), h5py.File(path, "r") as file:
        sizes = {array.name: array.size * array.dtype.itemsize for array in _arrays(file, path)}
        require_memory(f"{what} at {path}", sizes, max_bytes)
        yield file


def flat_arrays(group: Any) -> dict[str, Any]:
    """Return all arrays below a group, not yet read, by their names in it, such as ``obs/eef_pos``."""
    prefix = len(group.name.rstrip("/")) + 1
    return {array.name[prefix:]: array for array in _arrays(group, Path())}


def _arrays(group: Any, path: Path) -> Iterator[Any]:
    """Yield all arrays below a group; hard links that form a ring are not followed twice."""
    import h5py

    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise DatasetError(
                f"expected an HDF5 file that needs no other at {path}, got a link at {group.name}/{name}; "
                "copy what it leads to into the file"
            )
        child = group[name]
        if isinstance(child, h5py.Group):
            if child.id in _ancestors(group):
                raise DatasetError(f"expected a tree of groups in {path}, got a ring at {child.name}")
            yield from _arrays(child, path)
        elif isinstance(child, h5py.Dataset):
            if child.is_virtual or child.external:
                raise DatasetError(
                    f"expected an HDF5 file that needs no other at {path}, got the array {child.name} of another file"
                )
            yield child


def _ancestors(group: Any) -> list[Any]:
    """Return the identifiers of a group and of those that it lies in."""
    identifiers = [group.id]
    while group.name not in ("/", None):
        group = group.parent
        identifiers.append(group.id)
    return identifiers
