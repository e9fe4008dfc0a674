"""Check and lock places that results go to, before the work begins."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from .file_access import TEMPORARY, ArtifactError, open_regular, what_is

SAVE_LOCK = ".equiact.lock"
"""Name of the lock in a folder of an artefact while it is written."""
_LONGEST_NAME = 200
"""Bytes of the longest name; file systems take 255, of which locks and temporary files need some."""


def check_folder(folder: str | Path, kind: str, is_ours: Callable[[Path], bool]) -> Path:
    """Check that an artefact may be written to a folder, and return the resolved path.

    Args:
        folder: the folder, which need not exist.
        kind: what is to be written, for messages.
        is_ours: returns whether a file in the folder belongs to an artefact of this kind.

    Raises:
        ArtifactError: it is a file, a symbolic link, a mount point or the current folder, cannot be written to, or
            holds anything else than an artefact of this kind.
    """
    expected = f"expected a new folder or one that holds a saved {kind}"
    path = _resolve(folder, expected)
    if Path.cwd().is_relative_to(path):
        raise ArtifactError(f"{expected}, got the current folder {path} or one above it; give it a folder of its own")
    if not os.path.lexists(path):
        return path
    mode = path.lstat().st_mode
    if not stat.S_ISDIR(mode):
        raise ArtifactError(f"{expected}, got {what_is(mode)} at {path}; choose another path")
    if os.path.ismount(path):
        raise ArtifactError(f"{expected}, got the mount point {path}; choose a folder in it, such as {path / kind}")
    if not os.access(path, os.W_OK | os.X_OK):
        raise ArtifactError(f"{expected}, got {path}, which is read-only; choose another folder")
    # A file that is gone by now was removed by another process that saves here.
    foreign = sorted(p.name for p in path.iterdir() if not (_is_temporary(p) or is_ours(p)) and os.path.lexists(p))
    if foreign:
        shown = ", ".join(foreign[:5]) + (", …" if len(foreign) > 5 else "")
        raise ArtifactError(
            f"{expected}, got {path} with other things in it: {shown}. Choose another folder, or delete it yourself"
        )
    return path


def check_file(path: str | Path, is_replaceable: Callable[[Path], bool]) -> Path:
    """Check that a file may be written, and return the resolved path.

    Args:
        path: the file, which need not exist.
        is_replaceable: returns whether an existing regular file that is not empty may be replaced.

    Raises:
        ArtifactError: it is a folder, a symbolic link, a device or a FIFO, its folder is read-only, or it is a file of
            another kind.
    """
    expected = "expected a new file or one that may be replaced"
    resolved = _resolve(path, expected)
    if not os.path.lexists(resolved):
        return resolved
    status = resolved.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise ArtifactError(f"{expected}, got {what_is(status.st_mode)} at {resolved}; choose another path")
    if status.st_size and not is_replaceable(resolved):
        raise ArtifactError(f"{expected}, got another kind of file at {resolved}; choose another path or delete it")
    return resolved


@contextlib.contextmanager
def folder_lock(folder: str | Path) -> Iterator[None]:
    """Hold a folder, or a file, for this process, so that no other process trains, collects or evaluates into it.

    The lock is a file beside it, ``.<name>.equiact-lock``, that is removed at the end. The operating system
    releases it when the process dies. Only one lock of a folder can be held at a time, also within a process.

    Raises:
        ArtifactError: another process holds it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as parent, folder_lock(f"{parent}/encoder"):
        ...     pass
    """
    path = _resolve(folder, "expected a folder to lock")
    lock_path = path.with_name(f".{path.name}.equiact-lock")
    with file_lock(lock_path, timeout=0, busy=f"another process works here: {path} is locked"):
        yield


@contextlib.contextmanager
def file_lock(path: Path, timeout: float, busy: str) -> Iterator[None]:
    """Hold a lock file, which is removed at the end.

    Args:
        path: the lock file; its folder is created.
        timeout: seconds to wait for another holder.
        busy: start of the message if another holder keeps it longer.

    Raises:
        ArtifactError: another holder keeps it, or the file is not a lock.
    """
    from filelock import FileLock, Timeout

    if path.exists() and not _is_lock(path):
        raise ArtifactError(f"expected no file, or a lock of equiact, at {path}, got something else; move it away")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=timeout, is_singleton=False)
        lock.acquire()
    except Timeout as error:
        holder = _holder(path)
        raise ArtifactError(f"{busy}{holder}. Wait until it ends, or choose another folder") from error
    except OSError as error:
        raise ArtifactError(f"could not lock {path} ({error.strerror or error}); choose another folder") from error
    try:
        with contextlib.suppress(OSError):
            path.write_text(str(os.getpid()))
        yield
    finally:
        # Removed while it is held: whoever waits for the removed file notices that it has no name, and tries again.
        with contextlib.suppress(OSError):
            path.unlink()
        lock.release()


def _is_lock(path: Path) -> bool:
    """Return whether a file holds the number of a process, or nothing, as a lock does."""
    try:
        with open_regular(path, 2**62) as file:
            content = file.read(32)
    except FileNotFoundError:  # another process has released it
        return True
    except (OSError, ArtifactError):
        return False
    return not content or (content.isdigit() and len(content) < 32)


def _holder(path: Path) -> str:
    try:
        return f" by process {int(path.read_text())}"
    except (OSError, ValueError):
        return ""


def _resolve(path: str | Path, expected: str) -> Path:
    """Return an absolute path without links in its folders; its nearest existing folder must be writable."""
    try:
        given = Path(path).expanduser()
        if given.is_symlink():
            raise ArtifactError(f"{expected}, got the symbolic link {given}; give the path that it leads to")
        resolved = given.resolve()
    except ArtifactError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        # The current folder was deleted, links form a ring, there is no such user, or a NUL character is in the name.
        raise ArtifactError(f"{expected}, got {str(path)!r} ({error}); give an absolute path") from error
    if len(os.fsencode(resolved.name)) > _LONGEST_NAME:
        raise ArtifactError(
            f"{expected}, got a name of {len(os.fsencode(resolved.name))} bytes; choose one of at most {_LONGEST_NAME}"
        )
    above = resolved.parent
    while not os.path.lexists(above):
        above = above.parent
    if not above.is_dir():
        raise ArtifactError(f"{expected}, got {resolved} inside {above}, which is not a folder; choose another path")
    if not os.access(above, os.W_OK | os.X_OK):
        raise ArtifactError(f"{expected}, got {resolved} inside {above}, which is read-only; choose another path")
    return resolved


def _is_temporary(path: Path) -> bool:
    return path.name == SAVE_LOCK or TEMPORARY.fullmatch(path.name) is not None
