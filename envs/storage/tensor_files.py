"""Serialize tensors as safetensors, read them with their sizes checked, and load them into modules."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .file_access import ArtifactError, ArtifactLimits, read_regular, write_atomically
from .output_paths import check_file

if TYPE_CHECKING:
    from torch import Tensor, nn

Module = TypeVar("Module", bound="nn.Module")

DEFAULT_LIMITS = ArtifactLimits()
_UNSIGNED = "0" * 64
_BUILD_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError, MemoryError)
"""Errors that a constructor raises if its arguments make no sense."""


def serialize_tensors(
    tensors: Mapping[str, Tensor], path: str | Path, metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return tensors in the safetensors format.

    Args:
        tensors: the tensors, finite, on any device; they may share memory.
        path: where they are to be written, for messages.
        metadata: text that goes into the header.

    Raises:
        ArtifactError: a tensor is not finite, or has a name that safetensors reserves.
    """
    import torch
    from safetensors.torch import save

    if "__metadata__" in tensors:
        raise ArtifactError(f"expected another name of a tensor than '__metadata__' for {path}; rename it")
    # Copies, since safetensors refuses tensors that share memory.
    layout = torch.contiguous_format
    copies = {name: value.detach().cpu().clone(memory_format=layout) for name, value in tensors.items()}
    _require_finite(copies, path, "; nothing was saved")
    content: bytes = save(copies, None if metadata is None else dict(metadata))
    return content


def parse_tensors(content: bytes, path: str | Path) -> dict[str, Tensor]:
    """Return the tensors in the content of a safetensors file; they take no more memory than the content.

    Raises:
        ArtifactError: the content is damaged, or a tensor is not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors: dict[str, Tensor] = load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise ArtifactError(f"expected intact safetensors in {path}, got: {error}; take another copy") from error
    _require_finite(tensors, path, "; take another copy")
    return tensors


def write_tensor_file(path: str | Path, kind: str, card: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a card and tensors as one safetensors file, such as a checkpoint; it appears complete or not at all.

    The header holds the card and the SHA-256 of the file, in which the digits of the hash count as zeros.

    Args:
        path: where to write; parents are created. A file of the same kind is replaced.
        kind: kind of the file, such as ``"checkpoint"``.
        card: values that JSON can hold.
        tensors: the tensors, finite.

    Raises:
        ArtifactError: a tensor is not finite, the card is not JSON, another file is there, or writing fails. What was
            there is intact.
    """
    checked = check_tensor_file(path, kind)
    try:
        text = json.dumps(dict(card), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"expected a card of finite numbers, text and lists for {path}, got: {error}") from error
    content = serialize_tensors(tensors, path, {"card": text, "kind": kind, "sha256": _UNSIGNED})
    header, body = _split_header(content, path)
    digest = _hash_file(header, body)
    write_atomically(checked, header.replace(_UNSIGNED.encode(), digest.encode(), 1) + body)


def read_tensor_file(
    path: str | Path, kind: str, limits: ArtifactLimits = DEFAULT_LIMITS
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the card and the tensors that `write_tensor_file` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: it is of another kind, damaged, altered or too large.
    """
    content = read_regular(path, limits.max_bytes)
    header, body = _split_header(content, path)
    metadata = _metadata(header, path)
    if metadata.get("kind") != kind:
        raise ArtifactError(f"expected a {kind} at {path}, got {metadata.get('kind', 'another file')!r}")
    stored = str(metadata.get("sha256"))
    unsigned = header.replace(stored.encode(), _UNSIGNED.encode(), 1)
    if len(stored) != len(_UNSIGNED) or _hash_file(unsigned, body) != stored:
        raise ArtifactError(
            f"expected an unaltered {kind} at {path}, got one that does not match its sha256; "
            "delete it to start again, or take another copy"
        )
    card = json.loads(metadata["card"])
    return card, parse_tensors(content, path)


def check_tensor_file(path: str | Path, kind: str) -> Path:
    """Check that `write_tensor_file` may write a file, and return the resolved path.

    Raises:
        ArtifactError: a folder, a link, a device or a file of another kind is there, or its folder is read-only.
    """

    def is_ours(existing: Path) -> bool:
        try:
            with existing.open("rb") as file:
                size = int.from_bytes(file.read(8), "little")
                header = file.read(min(size, 2**27))
            return f'"kind":"{kind}"'.encode() in header
        except OSError:
            return False

    return check_file(path, is_ours)


def load_into(
    module_factory: Callable[[], Module],
    tensors: Mapping[str, Tensor],
    source: str | Path,
    limits: ArtifactLimits = DEFAULT_LIMITS,
) -> Module:
    """Build a module and load tensors into it, in evaluation mode.

    The module is built without memory first (on the device ``meta``), so that a card cannot ask for a network that its
    tensors do not fill.

    Args:
        module_factory: builds the module; its constructor must not read the values of tensors.
        tensors: all parameters and buffers of the module, by their names in its ``state_dict``.
        source: where the tensors come from, for messages.
        limits: largest size of the module.

    Raises:
        ArtifactError: the module cannot be built, or its tensors have other names or shapes.
    """
    import torch

    try:
        with torch.device("meta"):
            outline = module_factory()
    except _BUILD_ERRORS as error:
        raise ArtifactError(f"expected a card that describes a network in {source}, got: {error}") from error
    _require_same_shapes(outline, tensors, source)
    held = sum(value.numel() * value.element_size() for value in (*outline.parameters(), *outline.buffers()))
    if held > limits.max_bytes:
        raise ArtifactError(
            f"expected a network of at most {limits.max_bytes} bytes in {source}, got {held}; "
            "raise the limit (ArtifactLimits) if you trust it"
        )
    module = module_factory()
    module.load_state_dict(dict(tensors))
    return module.eval()


def _require_same_shapes(outline: nn.Module, tensors: Mapping[str, Tensor], source: str | Path) -> None:
    expected = {name: list(value.shape) for name, value in outline.state_dict().items()}
    found = {name: list(value.shape) for name, value in tensors.items()}
    differing = [name for name in sorted(expected.keys() | found.keys()) if expected.get(name) != found.get(name)]
    if differing:
        name = differing[0]
        raise ArtifactError(
            f"expected {name} of shape {expected.get(name, 'none')} in {source}, got {found.get(name, 'none')} "
            f"({len(differing)} of {len(expected)} tensors differ); the card does not describe these weights"
        )


def _require_finite(tensors: Mapping[str, Tensor], path: str | Path, advice: str) -> None:
    import torch

    for name, value in tensors.items():
        if (value.is_floating_point() or value.is_complex()) and not torch.isfinite(value).all():
            raise ArtifactError(f"expected finite tensors in {path}, got NaN or infinity in {name}{advice}")


def _split_header(content: bytes, path: str | Path) -> tuple[bytes, memoryview]:
    """Return the first bytes of a safetensors file up to the end of its header, and the rest."""
    end = 8 + int.from_bytes(content[:8], "little")
    if len(content) < 8 or end > len(content):
        raise ArtifactError(f"expected intact safetensors in {path}, got a damaged file; delete it to start again")
    return content[:end], memoryview(content)[end:]


def _metadata(header: bytes, path: str | Path) -> dict[str, str]:
    try:
        metadata: dict[str, str] = json.loads(header[8:])["__metadata__"]
        return {str(key): str(value) for key, value in metadata.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactError(
            f"expected safetensors with a card in {path}, got a damaged or another file; delete it to start again"
        ) from error


def _hash_file(header: bytes, body: memoryview) -> str:
    digest = hashlib.sha256(header)
    digest.update(body)
    return digest.hexdigest()
