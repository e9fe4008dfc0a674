"""Result files: figures over seeds, with the command, the commit and the machine that made them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FIRST_SEED = 100
"""First seed of the older benchmarks; lower seeds are for tuning."""

REPORTED_SEED = 2000
"""First seed of reported figures of the newer benchmarks; lower seeds are for tuning."""

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


def commit(root: Path = ROOT) -> str:
    """Return the commit of a checkout, with ``-dirty`` if code was edited; the installed version without a checkout."""
    try:
        described = _git(root, "describe", "--always", "--abbrev=12", "--exclude=*")
        edited = _git(root, "status", "--porcelain", "--", *CODE)
    except (OSError, subprocess.CalledProcessError):
        return f"equiact {installed('equiact')}"
    return f"{described}-dirty" if edited else described


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


def over_seeds(rows: list[dict[str, Any]], seeds: list[int]) -> dict[str, Any]:
    """Return the content of a result file.

    Args:
        rows: for every seed its ``figures``, and the ``commit`` that measured them.
        seeds: the seeds.

    Returns:
        Figures that all seeds have, each with mean, interval and values, and the provenance.
    """
    shared = [label for label in rows[0]["figures"] if all(label in row["figures"] for row in rows)]
    figures = {label: summarize([row["figures"][label] for row in rows]) for label in shared}
    commits = ", ".join(sorted({each for row in rows for each in row["commit"].split(", ")}))
    return {**provenance(), "commit": commits, "seeds": seeds, "figures": figures}


def append_seeds(result: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    """Return a result over its own seeds and other seeds of an earlier result; commands and processors are joined."""
    rows = _rows_of(earlier) | _rows_of(result)
    both = over_seeds([rows[seed] for seed in sorted(rows)], sorted(rows))
    processor = _joined(earlier["machine"]["processor"], result["machine"]["processor"])
    command = _joined(earlier["command"], result["command"])
    return {**both, "command": command, "machine": {**result["machine"], "processor": processor}}


def summarize(values: list[float]) -> dict[str, Any]:
    """Return the mean over seeds, its 95 % percentile bootstrap interval, and the values.

    Example:
        >>> summarize([0.5, 0.5])
        {'mean': 0.5, 'interval': [0.5, 0.5], 'seeds': [0.5, 0.5]}
    """
    import numpy as np
    from scipy.stats import bootstrap

    mean = float(np.mean(values))
    if len(set(values)) < 2:
        return {"mean": mean, "interval": [mean, mean], "seeds": values}
    generator = np.random.default_rng(0)
    interval = bootstrap((values,), np.mean, method="percentile", rng=generator).confidence_interval
    return {"mean": mean, "interval": [float(interval.low), float(interval.high)], "seeds": values}


def _joined(*names: str) -> str:
    """Return all names in comma-separated lists, once each."""
    return ", ".join(dict.fromkeys(each for several in names for each in several.split(", ")))


def _rows_of(result: dict[str, Any]) -> dict[int, dict[str, Any]]:
    rows = {}
    for index, seed in enumerate(result["seeds"]):
        figures = {label: each["seeds"][index] for label, each in result["figures"].items()}
        rows[seed] = {"commit": result["commit"], "figures": figures}
    return rows


def _git(root: Path, *arguments: str) -> str:
    run = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    return run.stdout.strip()


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
