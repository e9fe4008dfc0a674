"""Read and write single files: atomic writes that respect the umask, and reads that neither block nor grow.

A write goes to a temporary file in the same folder, is flushed to the disk, and takes its name by one rename. A reader
therefore sees the old file or the new one, and a process that dies leaves the old one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

TEMPORARY = re.compile(r"\.equiact-[0-9a-f]{12}\.(partial|old)")
"""Names of the files and folders that exist only while something is written."""


class ArtifactError(ValueError):
    """A file or folder cannot be read as expected, or must not be written to."""


@dataclass(frozen=True)
class ArtifactLimits:
    """Limit what is read into memory.

    Attributes:
        max_bytes: largest size of a file, and of the arrays in it.
        max_card_bytes: largest size of a JSON file.

    Example:
        >>> ArtifactLimits(max_bytes=8 * 2**30).max_bytes
        8589934592
    """

    max_bytes: int = 2 * 2**30
    max_card_bytes: int = 2**28


def temporary_path(folder: Path, suffix: str = "partial") -> Path:
    """Return an unused name in a folder for something that exists only while an artefact is written."""
    return folder / f".equiact-{uuid.uuid4().hex[:12]}.{suffix}"


def read_regular(path: str | Path, max_bytes: int = ArtifactLimits().max_bytes) -> bytes:
    """Return the content of a regular file.

    Args:
        path: the file, or a symbolic link to it; ``~`` is the home folder.
        max_bytes: largest size that is accepted.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: it is a folder, a device or a FIFO, is larger than the limit, or cannot be read.
    """
    try:
        with open_regular(path, max_bytes) as file:
            return file.read(os.fstat(file.fileno()).st_size)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ArtifactError(f"expected a readable file, got {path} ({error.strerror or error}); check it") from error


@contextlib.contextmanager
def open_regular(path: str | Path, max_bytes: int) -> Iterator[BinaryIO]:
    """Open a regular file of limited size for reading, without waiting for a writer of a FIFO.

    Raises:
        OSError: it cannot be opened.
        ArtifactError: it is no regular file, is larger than the limit, or the path is none.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(Path(path).expanduser(), flags)
    except (ValueError, RuntimeError) as error:  # a NUL character, or a user without a home folder
        raise ArtifactError(f"expected a path, got {str(path)!r} ({error}); check the path") from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENOTDIR, errno.ENAMETOOLONG):
            raise ArtifactError(f"expected a regular file, got {path} ({error.strerror}); check the path") from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ArtifactError(f"expected a regular file, got {what_is(status.st_mode)} at {path}; check the path")
        if status.st_size > max_bytes:
            raise ArtifactError(
                f"expected a file of at most {max_bytes} bytes, got {status.st_size} bytes in {path}; "
                "raise the limit (ArtifactLimits) if you trust it"
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file: to a temporary file beside it first, then to the disk, then in its place.

    Raises:
        ArtifactError: the file cannot be written, such as on a full disk; the file that was there is intact.
    """
    partial = temporary_path(path.parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync_folder(path.parent)
    except OSError as error:
        raise ArtifactError(
            f"could not write {path} ({error.strerror or error}); what was there is intact. "
            "Free space or choose another place"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def what_is(mode: int) -> str:
    """Return what kind of file a mode of `os.stat` belongs to, in words."""
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFSOCK: "a socket",
        stat.S_IFREG: "a file",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")
