"""Write and read the JSON cards of artefacts, each signed with its own SHA-256."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .file_access import ArtifactError, ArtifactLimits, read_regular
from .json_npz import parse_json

CARD = "card.json"
FORMAT = 2
"""Version of the layout of artefacts; other versions are refused."""
KINDS = ("encoder", "density", "policy", "trigger", "dataset", "results", "lattice-reducer", "hyperbolic-vae")
RESERVED = ("kind", "format", "sha256")
"""Keys of a card that `render_card` sets."""
DEFAULT_LIMITS = ArtifactLimits()


def read_card(folder: str | Path, kind: str, limits: ArtifactLimits = DEFAULT_LIMITS) -> dict[str, Any]:
    """Return the card of an artefact, without reading its tensors.

    Raises:
        ArtifactError: there is no artefact of this kind, or its card was altered.
    """
    require_kind(kind)
    path = Path(os.path.expanduser(folder))
    try:
        content = read_regular(path / CARD, limits.max_card_bytes)
    except FileNotFoundError as error:
        raise ArtifactError(f"expected a folder with a saved {kind}, got {what_is_in(path)}; check the path") from error
    card = parse_json(content, path / CARD)
    if not isinstance(card, dict) or not {"kind", "format", "sha256"} <= card.keys():
        raise ArtifactError(f"expected the card of a {kind} in {path / CARD}, got other JSON; check the path")
    if card["kind"] != kind:
        raise ArtifactError(f"expected a saved {kind} in {path}, got one of the kind {card['kind']!r}; check the path")
    if card["format"] != FORMAT:
        raise ArtifactError(
            f"expected format {FORMAT} in {path / CARD}, got {card['format']!r}; "
            "save it again, or install the version of equiact that wrote it"
        )
    if not _is_unaltered(card, content):
        raise ArtifactError(
            f"expected an unaltered card in {path / CARD}, got one that does not match its sha256; "
            "take another copy, or save it again"
        )
    return card


def render_card(kind: str, card: Mapping[str, Any], path: str | Path) -> bytes:
    """Return the content of the card of an artefact: its kind, its format, what describes it, and the SHA-256 of it.

    Args:
        kind: kind of the artefact.
        card: values that JSON can hold. Reserved keys are overwritten.
        path: where the artefact is to be written, for messages.

    Raises:
        ArtifactError: the card is not JSON, such as NaN.
    """
    require_kind(kind)
    own = {key: value for key, value in card.items() if key not in RESERVED}
    try:
        # To JSON and back: the hash is of what a reader gets.
        content = json.loads(_render({"kind": kind, "format": FORMAT, **own}))
    except (TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"expected a card of finite numbers, text and lists for {path}, got: {error}") from error
    return _render({**content, "sha256": _hash(content)}).encode()


def holds_card(path: Path, kind: str) -> bool:
    """Return whether a file is a card of this kind, written by any version."""
    try:
        card = parse_json(read_regular(path, DEFAULT_LIMITS.max_card_bytes), path)
    except (ArtifactError, FileNotFoundError):
        return False
    return isinstance(card, dict) and card.get("kind") == kind and {"format", "sha256"} <= card.keys()


def require_kind(kind: str) -> None:
    """Check that a kind of artefact exists.

    Raises:
        ArtifactError: it does not.
    """
    if kind not in KINDS:
        raise ArtifactError(f"expected a kind of {', '.join(KINDS)}, got {kind!r}")


def _render(card: Mapping[str, Any]) -> str:
    return json.dumps(card, indent=2, allow_nan=False) + "\n"


def _hash(card: Mapping[str, Any]) -> str:
    return hashlib.sha256(_render(card).encode()).hexdigest()


def _is_unaltered(card: dict[str, Any], content: bytes) -> bool:
    """Return whether a card matches its hash, and its file is what `write_artifact` writes for it."""
    unsigned = {key: value for key, value in card.items() if key != "sha256"}
    try:
        return card["sha256"] == _hash(unsigned) and content == _render(card).encode()
    except ValueError:  # NaN is not JSON
        return False


def what_is_in(folder: Path) -> str:
    """Return what is in a folder, in words."""
    if not folder.exists():
        return f"nothing at {folder}"
    if not folder.is_dir():
        return f"a file at {folder}"
    names = sorted(path.name for path in folder.iterdir())
    return f"{folder} with {', '.join(names[:5]) or 'nothing in it'}"
