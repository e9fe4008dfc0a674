"""Hashes of policies and functions, by which a run that resumes notices that they were edited."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path


def fingerprint(spec: str) -> str | None:
    """Return a hash of the files of a policy, or of the source of ``"module:function"``; None if it has none.

    Args:
        spec: the text of the policy; see `equiact.agents.policies.policy_loading.resolve_policy`.
    """
    from ...agents.policies.policy_spec import PolicySpec

    parsed = PolicySpec.parse(spec)
    paths = [parsed.path, *(Path(value).expanduser() for value in parsed.options.values())]
    files = [
        file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*"))) if file.is_file()
    ]
    hashed = hashlib.sha256()
    for file in files:
        hashed.update(file.name.encode())
        with file.open("rb") as content:
            hashed.update(hashlib.file_digest(content, "sha256").digest())
    return hashed.hexdigest() if files else source_fingerprint(spec)


def source_fingerprint(spec: str) -> str | None:
    """Return a hash of the file of a module in ``"module:function"``; None if the text names no module with a file."""
    module, _, function = spec.partition(":")
    if not function or not all(part.isidentifier() for part in module.split(".")):
        return None
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    origin = None if found is None or not found.has_location else found.origin
    return None if origin is None else hashlib.sha256(Path(origin).read_bytes()).hexdigest()
