"""Run folders and result files: what a command was, where it ran, and JSON that is never half-written."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FIRST_SEED = 100
"""Seeds below it are for tuning; figures are reported on seeds from it on."""

ROOT = Path(__file__).resolve().parent.parent
"""Of the checkout that this package lies in."""
CODE = ("agents", "envs", "representations", "scripts", "pyproject.toml", "requirements.lock")
"""What figures come from: that results were written does not make a checkout another."""

PACKAGES = ("torch", "mujoco", "mujoco-warp", "warp-lang", "gymnasium", "stable-baselines3", "numpy")


def write_json(path: Path, content: Any) -> None:
    """Write beside, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(beside, path)


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_text())


def provenance() -> dict[str, Any]:
    """The command, the commit and the machine: what a figure needs beside it."""
    return {"command": command_line(), "commit": commit(), "machine": machine()}


def command_line() -> str:
    """What was typed, the folder of the program left out."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def commit(root: Path = ROOT) -> str:
    """The commit of the checkout this package lies in, ``-dirty`` if code was edited, or the installed version."""
    try:
        described = _git(root, "describe", "--always", "--abbrev=12", "--exclude=*")
        edited = _git(root, "status", "--porcelain", "--", *CODE)
    except (OSError, subprocess.CalledProcessError):
        return f"equiact {installed('equiact')}"
    return f"{described}-dirty" if edited else described


def _git(root: Path, *arguments: str) -> str:
    run = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    return run.stdout.strip()


def machine() -> dict[str, Any]:
    """Processor, cores and versions; nothing that names the machine."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        **{name: installed(name) for name in PACKAGES},
    }


def over_seeds(rows: list[dict[str, Any]], seeds: list[int]) -> dict[str, Any]:
    """A result file's content: what all seeds' rows measured, at which commit, as figures over them."""
    shared = [label for label in rows[0]["figures"] if all(label in row["figures"] for row in rows)]
    figures = {label: figure([row["figures"][label] for row in rows]) for label in shared}
    commits = ", ".join(sorted({each for row in rows for each in row["commit"].split(", ")}))
    return {**provenance(), "commit": commits, "seeds": seeds, "figures": figures}


def with_earlier(result: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    """A result over its seeds and those that an earlier one has besides; its commands and processors stay named."""
    rows = _rows_of(earlier) | _rows_of(result)
    both = over_seeds([rows[seed] for seed in sorted(rows)], sorted(rows))
    processor = _joined(earlier["machine"]["processor"], result["machine"]["processor"])
    command = _joined(earlier["command"], result["command"])
    return {**both, "command": command, "machine": {**result["machine"], "processor": processor}}


def _joined(*names: str) -> str:
    """All that are named, once each."""
    return ", ".join(dict.fromkeys(each for several in names for each in several.split(", ")))


def _rows_of(result: dict[str, Any]) -> dict[int, dict[str, Any]]:
    rows = {}
    for index, seed in enumerate(result["seeds"]):
        figures = {label: each["seeds"][index] for label, each in result["figures"].items()}
        rows[seed] = {"commit": result["commit"], "figures": figures}
    return rows


def figure(values: list[float]) -> dict[str, Any]:
    """Mean over seeds, its bootstrap interval (95 %), and each seed's value."""
    import numpy as np
    from scipy.stats import bootstrap

    mean = float(np.mean(values))
    if len(set(values)) < 2:
        return {"mean": mean, "interval": [mean, mean], "seeds": values}
    generator = np.random.default_rng(0)
    interval = bootstrap((values,), np.mean, method="percentile", rng=generator).confidence_interval
    return {"mean": mean, "interval": [float(interval.low), float(interval.high)], "seeds": values}


def installed(package: str) -> str:
    """Version of an installed package, or ``"not installed"``."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
