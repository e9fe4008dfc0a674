"""Read and write JSON and NPZ files atomically, with errors that name the path."""

from __future__ import annotations

import io
import json
import math
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .file_access import ArtifactError, ArtifactLimits, open_regular, read_regular, write_atomically
from .output_paths import check_file

DEFAULT_LIMITS = ArtifactLimits()

MARK = "equiact-values"
"""Entry ``kind`` of a JSON file, and comment of an NPZ file, that we wrote."""
_PROVENANCE = {"command", "commit", "machine", "figures"}
"""Keys of the results that were written before there was a mark."""

ARRAY_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    KeyError,
    EOFError,
    OSError,
    RuntimeError,
    SyntaxError,
    NotImplementedError,
    tokenize.TokenError,
)
"""Errors that a damaged NPZ archive, or a damaged header of an array, raises."""


def check_output_file(path: str | Path) -> Path:
    """Check that a JSON, JSON Lines, NPZ or other file may be written, before the work begins.

    An existing JSON, JSON Lines or NPZ file may be replaced if it has our mark, a PNG file if such a JSON file with the
    same name lies beside it, and a file with another ending only if it is empty.

    Returns:
        The resolved path.

    Raises:
        ArtifactError: something else is there, or its folder is read-only.
    """
    return check_file(path, _is_ours)


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, indented by two spaces, with a mark as its entry ``kind``, which `read_json` leaves out.

    Raises:
        ArtifactError: the content is not JSON, such as NaN; the file cannot be written; or another program wrote the
            one that is there.
    """
    if not isinstance(content, Mapping) or "kind" in content:
        found = "one with the reserved key 'kind'" if isinstance(content, Mapping) else type(content).__name__
        raise ArtifactError(f"expected a dictionary for {path}, got {found}")
    try:
        text = json.dumps({"kind": MARK, **content}, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(
            f"expected values that JSON can hold for {path}, got: {error}; write None instead of NaN or infinity"
        ) from error
    write_atomically(check_file(path, _is_ours), text.encode())


def read_json(path: str | Path, limits: ArtifactLimits = DEFAULT_LIMITS) -> Any:
    """Return the content of a JSON file, without the mark of `write_json`.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: it is empty, damaged or too large.
    """
    content = parse_json(read_regular(path, limits.max_card_bytes), path)
    if isinstance(content, dict) and content.get("kind") == MARK:
        del content["kind"]
    return content


def parse_json(content: bytes, path: str | Path) -> Any:
    """Return JSON that was read from a path.

    Raises:
        ArtifactError: it is empty or damaged.
    """
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        found = f"a damaged one ({error})" if content.strip() else "an empty one"
        raise ArtifactError(
            f"expected a JSON file at {path}, got {found}; delete it and run the command that wrote it again"
        ) from error


def write_npz(path: str | Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a compressed NPZ file of arrays.

    Raises:
        ArtifactError: an array holds Python objects, a name is not that of an array, the file cannot be written, or
            another program wrote the one that is there.
    """
    for name, values in arrays.items():
        if not isinstance(name, str) or not name or name != name.strip("/") or "\0" in name or name.endswith(".npy"):
            raise ArtifactError(f"expected names of arrays without '/' at the ends or '.npy' for {path}, got {name!r}")
        if np.asarray(values).dtype.hasobject:
            raise ArtifactError(f"expected arrays of numbers or text for {path}, got Python objects in {name!r}")
    buffer = io.BytesIO()
    # Not by numpy.savez_compressed, whose own arguments are names that arrays cannot have.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = MARK.encode()
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                npy.write_array(file, np.asanyarray(values), allow_pickle=False)
    write_atomically(check_file(path, _is_ours), buffer.getvalue())


def read_npz(path: str | Path, limits: ArtifactLimits = DEFAULT_LIMITS) -> dict[str, NDArray[Any]]:
    """Return the arrays of an NPZ file; the sizes that it states are checked before they are allocated.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: it is damaged, holds Python objects, or is larger than the limit.
    """
    content = read_regular(path, limits.max_bytes)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            total = sum(member.file_size for member in archive.infolist())
            if total > limits.max_bytes:
                raise ArtifactError(f"expected at most {limits.max_bytes} bytes of arrays in {path}, got {total}")
            return {
                member.filename.removesuffix(".npy"): parse_npy(archive.read(member)) for member in archive.infolist()
            }
    except ArtifactError:
        raise
    except ARRAY_ERRORS as error:
        raise _damaged_npz(path, error) from error


def _damaged_npz(path: str | Path, error: Exception) -> ArtifactError:
    return ArtifactError(
        f"expected an NPZ file at {path}, got a damaged one ({type(error).__name__}: {error}); "
        "delete it and run the command that wrote it again"
    )


def parse_npy(content: bytes) -> NDArray[Any]:
    """Return the array in the content of an NPY file; the size that it states is checked before it is allocated.

    Raises:
        ValueError: the content is no NPY file, states more bytes than it has, or holds Python objects. A damaged header
            may raise any of `ARRAY_ERRORS`.
    """
    if not content.startswith(npy.MAGIC_PREFIX):
        raise ValueError("it does not begin like an array of NumPy")
    file = io.BytesIO(content)
    read_header = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never loaded; convert them to numbers")
    if (stated := math.prod(shape) * dtype.itemsize) > len(content) - file.tell():
        raise ValueError(f"it states {stated} bytes of numbers, and has {len(content) - file.tell()}")
    file.seek(0)
    array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    return array


def _has_mark(content: bytes, path: Path) -> bool:
    """Return whether content is a JSON object that we wrote."""
    try:
        found = parse_json(content, path)
    except ArtifactError:
        return False
    return isinstance(found, dict) and (found.get("kind") == MARK or _PROVENANCE <= found.keys())


def _is_ours(path: Path) -> bool:
    """Return whether an existing file is one that we wrote, so that a new one may replace it."""
    if path.suffix == ".json":
        try:
            content = read_regular(path, DEFAULT_LIMITS.max_card_bytes)
        except ArtifactError:
            return False
        return _has_mark(content, path)
    if path.suffix == ".jsonl":
        with open_regular(path, 2**62) as file:
            return _has_mark(file.readline(DEFAULT_LIMITS.max_card_bytes), path)
    if path.suffix == ".png":
        beside = (path.with_suffix(".json"), path.with_suffix(".jsonl"))
        return any(each.is_file() and _is_ours(each) for each in beside)
    if path.suffix == ".npz":
        try:
            with open_regular(path, 2**62) as file, zipfile.ZipFile(file) as archive:
                return archive.comment == MARK.encode()
        except ARRAY_ERRORS:
            return False
    return False
