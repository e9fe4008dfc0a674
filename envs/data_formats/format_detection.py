"""Find out which package wrote a data set."""

from __future__ import annotations

from pathlib import Path

from ..data.minari_dataset import DatasetError
from ..storage.artifacts import CARD, ArtifactError
from ..storage.atomic_folder import DATA
from ..storage.file_access import TEMPORARY, open_regular

FORMATS = ("equiact", "minari", "lerobot", "robomimic", "npz")
"""Names of the formats that are read."""

_EXPECTED = (
    "a folder of equiact (data/card.json), Minari (data/metadata.json) or LeRobot (meta/info.json), "
    "an HDF5 file of robomimic, or an NPZ file"
)
_HDF5, _ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"


def detect_format(path: Path) -> str:
    """Return the format of a data set, one of `FORMATS`.

    Raises:
        DatasetError: there is nothing, or nothing that is known; the message says what was found.

    Example:
        >>> import tempfile, numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/data.npz", images=np.zeros(3))
        ...     detect_format(Path(folder) / "data.npz")
        'npz'
    """
    if path.is_dir():
        found = _readable(path)
    elif path.exists():
        found = _of_file(path)
    else:
        raise DatasetError(f"expected {_EXPECTED} at {path}, got no such file or folder; check the path")
    if found is None:
        raise DatasetError(
            f"expected {_EXPECTED} at {path}, got {_described(path)}; check the path, or name the format"
        )
    return found


def minari_data_folder(path: Path) -> Path:
    """Return the folder with Minari's ``metadata.json``: the given one or ``data`` in it."""
    return path if (path / "metadata.json").is_file() else path / DATA


def _readable(path: Path) -> str | None:
    try:
        return _of_folder(path)
    except OSError as error:
        raise DatasetError(f"expected a readable folder, got {path} ({error.strerror or error}); check it") from error


def _of_folder(path: Path) -> str | None:
    if (path / DATA / CARD).is_file() or any(TEMPORARY.fullmatch(child.name) for child in path.iterdir()):
        return "equiact"
    if (path / "meta" / "info.json").is_file():
        return "lerobot"
    if (minari_data_folder(path) / "metadata.json").is_file():
        return "minari"
    return None


def _of_file(path: Path) -> str | None:
    start = _start(path)
    if start.startswith(_HDF5):
        return "robomimic"
    return "npz" if start.startswith(_ZIP) else None


def _start(path: Path) -> bytes:
    try:
        with open_regular(path, 2**62) as file:
            return file.read(8)
    except ArtifactError as error:
        raise DatasetError(str(error)) from error
    except OSError as error:
        raise DatasetError(f"expected a readable file, got {path} ({error.strerror or error}); check it") from error


def described_folder(path: Path) -> str:
    """Return what a folder is, in words: a data set of a package, or one with other things."""
    known = {"equiact": "a data set of equiact", "minari": "a Minari data set", "lerobot": "a LeRobot data set"}
    found = known.get(_of_folder(path) or "")
    names = sorted(child.name for child in path.iterdir())
    listed = f"a folder with {', '.join(names[:5])}{', …' if len(names) > 5 else ''}" if names else "an empty folder"
    return found or listed


def _described(path: Path) -> str:
    return described_folder(path) if path.is_dir() else f"a file that begins with {_start(path)!r}"
