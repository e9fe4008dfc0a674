"""Write and read every artefact: encoders, densities, policies, triggers, data sets and results.

An artefact is a folder with a JSON card and, if it has tensors, a safetensors file:

| file | content |
|---|---|
| ``card.json`` | the card, with ``kind``, ``format``, ``weights`` (name, size, SHA-256 of the tensors) and ``sha256`` |
| ``weights-<hash>.safetensors`` | the tensors; the name has the first 16 digits of the SHA-256 of the file |

``sha256`` is the hash of the card, which includes the hash of the tensors. Saving writes the tensors under their own
name first, and then replaces ``card.json`` by one rename. A reader therefore sees the old artefact or the new one, and
a process that dies leaves the old one. The next save removes the files that were left over. Nothing that is read is
executed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .atomic_folder import DATA, is_listed
from .file_access import TEMPORARY, ArtifactError, ArtifactLimits, read_regular, write_atomically
from .json_cards import CARD, DEFAULT_LIMITS, KINDS, holds_card, read_card, render_card, require_kind, what_is_in
from .json_npz import check_output_file, read_json, read_npz, write_json, write_npz
from .output_paths import SAVE_LOCK, check_folder, file_lock, folder_lock
from .tensor_files import (
    check_tensor_file,
    load_into,
    parse_tensors,
    read_tensor_file,
    serialize_tensors,
    write_tensor_file,
)

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "CARD",
    "KINDS",
    "README",
    "ArtifactError",
    "ArtifactLimits",
    "check_output_file",
    "check_output_folder",
    "check_tensor_file",
    "folder_lock",
    "load_into",
    "read_artifact",
    "read_card",
    "read_json",
    "read_npz",
    "read_tensor_file",
    "weights_path",
    "write_artifact",
    "write_json",
    "write_npz",
    "write_tensor_file",
]

README = "README.md"
"""A file that may lie beside an artefact, such as the model card of the Hugging Face Hub; it is never touched."""
_WEIGHTS = re.compile(r"weights-([0-9a-f]{16})\.safetensors")
_READ_ATTEMPTS = 200
_SAVE_TIMEOUT = 600.0


def check_output_folder(folder: str | Path, kind: str) -> Path:
    """Check that an artefact may be written to a folder, before the work begins.

    Args:
        folder: the folder, which need not exist.
        kind: kind of the artefact, such as ``"encoder"``.

    Returns:
        The resolved path.

    Raises:
        ArtifactError: it is a file, a symbolic link, a mount point or the current folder, cannot be written to, or
            holds anything else than an artefact of this kind and a README.md, which is kept.

    Example:
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     check_output_folder(f"{parent}/encoder", "encoder").name
        'encoder'
    """
    require_kind(kind)

    def is_ours(path: Path) -> bool:
        if path.is_symlink():
            return False
        if path.name == README:
            return path.is_file()
        if kind == "dataset":
            return path.name == DATA and is_listed(path)
        if not path.is_file():
            return False
        if path.name == CARD:
            return holds_card(path, kind)
        return _WEIGHTS.fullmatch(path.name) is not None

    return check_folder(folder, kind, is_ours)


def write_artifact(
    folder: str | Path, kind: str, card: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None
) -> None:
    """Write an artefact; it appears complete or not at all, also if two processes write to the folder.

    An artefact of the same kind in the folder is replaced. No file is removed but those that this function wrote.

    Args:
        folder: where to write; parents are created.
        kind: kind of the artefact, such as ``"encoder"``.
        card: what describes it; values that JSON can hold. Reserved keys are overwritten.
        tensors: the tensors, finite; none if the card says everything.

    Raises:
        ArtifactError: a tensor is not finite, the card is not JSON, the folder must not be written to, or writing
            fails. What was there is intact.
    """
    path = check_output_folder(folder, kind)
    weights = serialize_tensors(tensors, path) if tensors else None
    content = render_card(kind, {**card, "weights": _describe(weights)}, path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"could not create {path} ({error.strerror or error}); choose another folder") from error
    with file_lock(path / SAVE_LOCK, _SAVE_TIMEOUT, f"another process writes to {path}"):
        check_output_folder(path, kind)
        replaced = _weights_name(path)
        if weights is not None:
            write_atomically(path / _name_of(weights), weights)
        write_atomically(path / CARD, content)
        _remove_left_overs(path, replaced, None if weights is None else _name_of(weights))


def read_artifact(
    folder: str | Path, kind: str, limits: ArtifactLimits = DEFAULT_LIMITS
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the card and the tensors of an artefact.

    The sizes of the files are checked before anything is allocated.

    Raises:
        ArtifactError: there is no artefact of this kind; it is damaged, altered or too large; or a tensor is not
            finite.
    """
    path = Path(os.path.expanduser(folder))
    card = read_card(path, kind, limits)
    for _ in range(_READ_ATTEMPTS):
        if card.get("weights") is None:
            return card, {}
        try:
            return card, _read_tensors(path, card["weights"], limits)
        except FileNotFoundError as error:
            missing = error
        # Another process may have replaced the artefact after its card was read.
        previous, card = card, read_card(path, kind, limits)
        if card["sha256"] == previous["sha256"]:
            break
    raise ArtifactError(
        f"expected the weights of a {kind} in {path}, got {what_is_in(path)}; take another copy, or save it again"
    ) from missing


def weights_path(folder: str | Path) -> Path:
    """Return the file that holds the tensors of an artefact.

    Raises:
        ArtifactError: there is no readable card, or the artefact has no tensors.
    """
    path = Path(os.path.expanduser(folder))
    name = _weights_name(path)
    if name is None:
        raise ArtifactError(f"expected an artefact with tensors in {path}, got {what_is_in(path)}")
    return path / name


def _read_tensors(folder: Path, weights: Any, limits: ArtifactLimits) -> dict[str, Tensor]:
    name = weights.get("file") if isinstance(weights, dict) else None
    if not isinstance(name, str) or not _WEIGHTS.fullmatch(name):
        raise ArtifactError(f"expected the name of the weights in {folder / CARD}, got {name!r}; take another copy")
    content = read_regular(folder / name, limits.max_bytes)
    if len(content) != weights.get("bytes") or hashlib.sha256(content).hexdigest() != weights.get("sha256"):
        raise ArtifactError(
            f"expected unaltered weights in {folder / name}, got others than the card states by its sha256; "
            "take another copy, or save it again"
        )
    return parse_tensors(content, folder / name)


def _describe(weights: bytes | None) -> dict[str, Any] | None:
    if weights is None:
        return None
    return {"file": _name_of(weights), "bytes": len(weights), "sha256": hashlib.sha256(weights).hexdigest()}


def _name_of(weights: bytes) -> str:
    return f"weights-{hashlib.sha256(weights).hexdigest()[:16]}.safetensors"


def _weights_name(folder: Path) -> str | None:
    """Return the name that a card gives its weights, or None."""
    with contextlib.suppress(ArtifactError, FileNotFoundError):
        card = read_json(folder / CARD)
        weights = card.get("weights") if isinstance(card, dict) else None
        name = weights.get("file") if isinstance(weights, dict) else None
        if isinstance(name, str) and _WEIGHTS.fullmatch(name):
            return name
    return None


def _remove_left_overs(folder: Path, replaced: str | None, kept: str | None) -> None:
    """Remove the weights of the card that was replaced, and what an earlier save that was killed left."""
    for path in folder.iterdir():
        if path.name == kept:
            continue
        ours = path.name == replaced or TEMPORARY.fullmatch(path.name) is not None
        if not ours and _WEIGHTS.fullmatch(path.name):
            with contextlib.suppress(OSError, ArtifactError):
                ours = _name_of(read_regular(path)) == path.name
        if ours and path.is_file():
            with contextlib.suppress(OSError):
                path.unlink()
