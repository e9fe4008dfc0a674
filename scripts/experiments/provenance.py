"""Where results come from: the command, the commit and the machine that made them."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

REPORTED_SEED = 2000
"""First seed of reported figures; seeds below 1000 are for tuning."""

ROOT = Path(__file__).resolve().parents[2]
"""Root of the package, and of its checkout if there is one."""
CODE = ("__init__.py", "agents", "envs", "representations", "scripts", "pyproject.toml", "requirements.lock")
"""Files that determine figures; edits elsewhere, such as new results, do not make a commit dirty."""

PACKAGES = ("torch", "mujoco", "mujoco-warp", "warp-lang", "gymnasium", "stable-baselines3", "numpy")


def provenance() -> dict[str, Any]:
    """Return the command, the commit, and the machine with the number of threads."""
    return {"command": command_line(), "commit": commit(), "machine": machine()}


def command_line() -> str:
    """Return the command as it was typed, without the folder of the program."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def without_places(command: str) -> str:
    """Return a command without the options that change no values: folders, the cluster, and the form of the output.

    Example:
        >>> without_places("equiact benchmark rl --work-dir /scratch/runs --seed 3 --json")
        'equiact benchmark rl --seed 3'
    """
    words = re.sub(r" --(work-dir|results-dir|output-dir|runner|address)[ =]\S+", "", command)
    return re.sub(r" --json\b", "", words)


def commit(root: Path = ROOT) -> str:
    """Return the commit of a checkout, with ``-dirty`` if code was edited; the installed version without a checkout."""
    try:
        described = _git(root, "describe", "--always", "--abbrev=12", "--exclude=*")
        edited = _git(root, "status", "--porcelain", "--", *CODE)
    except (OSError, subprocess.CalledProcessError):
        return f"equiact {installed('equiact')}"
    return f"{described}-dirty" if edited else described


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


def machine() -> dict[str, Any]:
    """Return the processor, the number of cores and threads, and versions; nothing that identifies the machine."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": _threads(),
        "python": platform.python_version(),
        **{name: installed(name) for name in PACKAGES},
    }


def installed(package: str) -> str:
    """Return the version of an installed package, or ``"not installed"``."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _git(root: Path, *arguments: str) -> str:
    run = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=True)
    return os.fsdecode(run.stdout).strip()


def _edits(root: Path) -> bytes:
    """Return the edits of code against the commit, new files included."""
    new = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *CODE).split("\0")
    contents = [os.fsencode(name) + b"\0" + (root / name).read_bytes() for name in new if name]
    return os.fsencode(_git(root, "diff", "HEAD", "--", *CODE)) + b"".join(contents)


def _threads() -> int | None:
    """Return the number of threads of torch, if it is loaded: it changes the last digits of what is trained."""
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
