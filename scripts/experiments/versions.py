"""Name what determines a result: the version of the code, and a key of a configuration with it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..benchmarks.result_files import CODE, ROOT, commit


def code_version(root: Path = ROOT) -> str:
    """Return the commit of a checkout, with a hash of the edits if code was edited; the installed version otherwise.

    Files that are not code, such as results, do not count.
    """
    described = commit(root)
    if not described.endswith("-dirty"):
        return described
    return f"{described}-{hashlib.sha256(_edits(root)).hexdigest()[:12]}"


def content_key(identity: Mapping[str, Any]) -> str:
    """Return twelve characters that differ for different identities.

    Args:
        identity: all that determines a result, as JSON types.

    Raises:
        TypeError: a value is of no JSON type.

    Example:
        >>> content_key({"seed": 1, "world": "Push"}) == content_key({"world": "Push", "seed": 1})
        True
    """
    return hashlib.sha256(json.dumps(identity, sort_keys=True, allow_nan=False).encode()).hexdigest()[:12]


def _edits(root: Path) -> bytes:
    """Return the edits of code against the commit, new files included."""

    def git(*arguments: str) -> bytes:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True).stdout

    new = git("ls-files", "--others", "--exclude-standard", "-z", "--", *CODE).split(b"\0")
    contents = [name + b"\0" + (root / name.decode()).read_bytes() for name in new if name]
    return git("diff", "HEAD", "--", *CODE) + b"".join(contents)
