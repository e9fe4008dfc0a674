"""Replace a folder of many files as a whole; a signed card in it lists each file with its size and SHA-256.

The folder is called ``data`` and lies in the folder that the user names. A new one is written beside it and takes its
place by two renames. If a process dies between them, the next load or save completes the exchange.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .file_access import TEMPORARY, ArtifactError, open_regular, sync_folder, temporary_path, write_atomically
from .json_cards import CARD, read_card, render_card
from .json_npz import read_json
from .output_paths import SAVE_LOCK, file_lock

DATA = "data"
_SAVE_TIMEOUT = 3600.0
_CHUNK = 2**20


def is_listed(data: Path) -> bool:
    """Return whether a folder holds nothing but the files that its card lists."""
    listed = _listed(data)
    return listed is not None and all(path.relative_to(data).as_posix() in listed for path in _files(data))


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield a new folder, which becomes ``data`` in ``folder`` at the end, or is removed if anything fails.

    Args:
        folder: an existing folder; it is locked against other processes that write to it.
    """
    with _locked(folder):
        _complete_exchange(folder)
        partial, old = temporary_path(folder), temporary_path(folder, "old")
        try:
            partial.mkdir()
            yield partial
            _exchange(partial, folder / DATA, old)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        _remove_listed(old)


def sign(data: Path, kind: str, card: Mapping[str, Any], path: Path) -> None:
    """Write the card of a folder, with the sizes and the hashes of all files in it.

    Args:
        data: the folder.
        kind: kind of the artefact.
        card: what describes it.
        path: where it will be, for messages.
    """
    files = {file.relative_to(data).as_posix(): _measure(file, flush=True) for file in _files(data)}
    write_atomically(data / CARD, render_card(kind, {**card, "files": files}, path))


def verify(data: Path, kind: str) -> tuple[dict[str, Any], int]:
    """Return the card of a folder and the size of its files, after comparing each with its size and hash.

    Raises:
        ArtifactError: a file is missing, altered, or not listed.
    """
    card = read_card(data, kind)
    listed = card.get("files")
    if not isinstance(listed, dict):
        raise ArtifactError(f"expected a list of files in {data / CARD}, got none; write it again")
    found = {path.relative_to(data).as_posix() for path in _files(data)} - {CARD}
    if found != listed.keys():
        names = ", ".join(sorted(found ^ listed.keys())[:3])
        raise ArtifactError(f"expected the files that {data / CARD} lists, got others: {names} is missing or too much")
    for name, expected in listed.items():
        if _measure(data / name) != expected:
            raise ArtifactError(f"expected an unaltered file {data / name}, got one that does not match its sha256")
    return card, sum(int(size) for size, _ in listed.values())


def repair(folder: Path) -> None:
    """Complete the exchange that a process did not live to complete, if there is one.

    Raises:
        ArtifactError: another process keeps writing, or the folder is read-only.
    """
    if not (folder / DATA).exists() and folder.is_dir() and any(map(_is_temporary, folder.iterdir())):
        with _locked(folder):
            _complete_exchange(folder)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with file_lock(folder / SAVE_LOCK, _SAVE_TIMEOUT, f"another process writes to {folder}"):
        yield


def _exchange(partial: Path, data: Path, old: Path) -> None:
    sync_folder(partial)
    if data.exists():
        data.rename(old)
    try:
        partial.rename(data)
    except BaseException:
        if old.exists():
            old.rename(data)
        raise
    sync_folder(data.parent)


def _complete_exchange(folder: Path) -> None:
    """Put a complete new folder, or else the old one, in place, and remove the others; the lock must be held."""
    left_over = [path for path in sorted(folder.iterdir()) if _is_temporary(path)]
    if not (folder / DATA).exists():
        # A new folder is complete if it has its card, which is written last.
        complete = sorted((path for path in left_over if _listed(path) is not None), key=lambda path: path.suffix)
        if complete:
            complete[-1].rename(folder / DATA)
            left_over.remove(complete[-1])
    for path in left_over:
        if path.suffix == ".old":
            _remove_listed(path)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _remove_listed(data: Path) -> None:
    """Remove the files that the card of a folder lists, and the folders that are empty then."""
    listed = _listed(data)
    if listed is None:
        return
    for path in _files(data):
        if path.relative_to(data).as_posix() in listed:
            path.unlink()
    for parent, _, _ in os.walk(data, topdown=False):
        with contextlib.suppress(OSError):  # not empty
            os.rmdir(parent)


def _listed(data: Path) -> set[str] | None:
    """Return the names of the files that belong to a folder, or None if it has no card of ours."""
    try:
        card = read_json(data / CARD)
    except (ArtifactError, FileNotFoundError):
        return None
    files = card.get("files") if isinstance(card, dict) and {"kind", "format", "sha256"} <= card.keys() else None
    return {CARD, *files} if isinstance(files, dict) else None


def _files(data: Path) -> list[Path]:
    """Return all that is in a folder but folders; links are not followed."""
    return sorted(Path(parent) / name for parent, _, names in os.walk(data) for name in names)


def _measure(path: Path, flush: bool = False) -> list[int | str]:
    """Return the size and the SHA-256 of a regular file, and flush it to the disk if asked to."""
    digest = hashlib.sha256()
    with open_regular(path, 2**62) as file:
        while part := file.read(_CHUNK):
            digest.update(part)
        if flush:
            os.fsync(file.fileno())
        return [os.fstat(file.fileno()).st_size, digest.hexdigest()]


def _is_temporary(path: Path) -> bool:
    return TEMPORARY.fullmatch(path.name) is not None and path.is_dir()
