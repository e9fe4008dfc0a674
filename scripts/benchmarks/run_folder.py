"""Claim the folder of a run: one command with one set of options writes to it, and resumes in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...envs.storage.artifacts import ArtifactError, folder_lock, read_json, write_json
from ...envs.storage.output_paths import check_folder


def claim_folder(folder: str | Path, claim: str, settings: Mapping[str, Any], **also: Any) -> Path:
    """Check the folder of a run before the work begins, and write down its settings.

    Args:
        folder: the folder, which need not exist.
        claim: name of the JSON file in it that holds the settings, such as ``"demo.json"``.
        settings: options that determine the results.
        **also: further entries of the file, which are not compared.

    Returns:
        The resolved folder.

    Raises:
        ArtifactError: it is a file, a link, a mount point or read-only, or holds things of others.
        ValueError: it holds a run with other settings.
    """
    given = Path(folder)
    ours = (given / claim).is_file()
    path = check_folder(given, claim.removesuffix(".json"), lambda _: ours)
    file = path / claim
    if not file.exists():
        write_json(file, {"settings": dict(settings), **also})
        return path
    kept = read_json(file)
    kept = kept.get("settings") if isinstance(kept, dict) else kept
    if kept != dict(settings):
        raise ValueError(
            f"{folder} holds a run with {_difference(kept, settings)}; choose another folder, or delete it"
        )
    return path


def is_complete(path: Path) -> bool:
    """Return whether a file, a saved artefact or a dataset is there; a folder that a dying process left is not."""
    return path.is_file() or (path / "card.json").is_file() or (path / "data").is_dir()


def has_keys(path: Path, *keys: str) -> bool:
    """Return whether a file is a JSON object with these keys, as one that a command wrote."""
    try:
        content = read_json(path)
    except (ArtifactError, FileNotFoundError):
        return False
    return isinstance(content, dict) and content.keys() >= set(keys)


def _difference(kept: Any, settings: Mapping[str, Any]) -> str:
    """Return the settings that differ, as ``name = kept, now asked``."""
    if not isinstance(kept, dict):
        return f"unknown settings {kept!r}"
    names = [name for name in {**kept, **settings} if kept.get(name) != settings.get(name)]
    return ", ".join(f"{name} = {kept.get(name)!r}, now {settings.get(name)!r}" for name in names)


@contextmanager
def claimed(folder: str | Path, claim: str, settings: Mapping[str, Any], **also: Any) -> Iterator[Path]:
    """Hold the lock of the folder of a run, and claim it (`claim_folder`).

    Raises:
        ArtifactError: another process works in it.
    """
    with folder_lock(folder):
        yield claim_folder(folder, claim, settings, **also)
