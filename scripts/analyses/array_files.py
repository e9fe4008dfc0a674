"""Read NPY and NPZ files that a user names on the command line, with errors that name the argument."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

from numpy.lib import format as npy
from numpy.typing import NDArray

from ...envs.storage.file_access import ArtifactError, read_regular
from ...envs.storage.json_npz import ARRAY_ERRORS, parse_npy

MAX_BYTES = 2**31
"""Largest size of a file, and of the arrays in it: 2 GiB."""


def read_npy(path: Path, option: str) -> NDArray[Any]:
    """Return the array of an NPY file; sizes are checked before memory is allocated, and nothing in it is executed.

    Args:
        path: the file; ``~`` is the home folder.
        option: argument that names it, such as ``--loops``, for messages.

    Raises:
        ValueError: there is no such file, it is larger than `MAX_BYTES`, damaged, or no NPY file of numbers.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/loops.npy", np.eye(2))
        ...     read_npy(Path(folder) / "loops.npy", "--loops").tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    content = _content(path, option)
    if content.startswith(b"PK"):
        raise ValueError(
            f"expected {option} to be an NPY file with one array, got the NPZ archive {path}; save the array with "
            "numpy.save"
        )
    try:
        return parse_npy(content)
    except ARRAY_ERRORS as error:
        raise ValueError(
            f"expected {option} to be an NPY file of numbers, got {path}: {error}; save it with numpy.save"
        ) from error


def read_arrays(path: Path, option: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of an NPZ file by name, with the checks of `read_npy`.

    Args:
        path: the file; ``~`` is the home folder.
        option: argument that names it, for messages.

    Raises:
        ValueError: there is no such file, it or its arrays are larger than `MAX_BYTES`, it is damaged, or no NPZ file.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/data.npz", actions=np.arange(2))
        ...     list(read_arrays(Path(folder) / "data.npz", "--data"))
        ['actions']
    """
    content = _content(path, option)
    if content.startswith(npy.MAGIC_PREFIX):
        raise ValueError(
            f"expected {option} to be an NPZ file, got the NPY file {path} of one array; save named arrays with "
            "numpy.savez"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if (total := sum(member.file_size for member in members)) > MAX_BYTES:
                raise ValueError(f"its arrays have {total} bytes, more than {MAX_BYTES}")
            return {member.filename.removesuffix(".npy"): parse_npy(archive.read(member)) for member in members}
    except ARRAY_ERRORS as error:
        raise ValueError(
            f"expected {option} to be an NPZ file of numbers, got {path}: {error}; save named arrays with numpy.savez"
        ) from error


def _content(path: Path, option: str) -> bytes:
    """Return the bytes of a file that is there, not empty and not too large."""
    file = path.expanduser()
    if file.is_dir():
        raise ValueError(f"expected {option} to be a file, got the folder {path}")
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ValueError(f"expected {option} to be a file of at most {MAX_BYTES} bytes, got {path}; split it")
        content = read_regular(file, MAX_BYTES)
    except FileNotFoundError as error:
        raise ValueError(f"expected {option} to be a file, got {path}, which does not exist") from error
    except (ArtifactError, OSError) as error:
        raise ValueError(f"expected {option} to be a readable file, got {path}: {error}") from error
    if not content:
        raise ValueError(f"expected {option} to be a file with arrays, got the empty file {path} (0 bytes)")
    return content
