"""`equiact doctor`: what this machine can do, and how to mend what it cannot."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.commands import Command
from scripts.progress import console
from scripts.runs import machine

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Finding:
    """One check: what was found, and the mend where it is not well."""

    name: str
    well: bool
    found: str
    mend: str = ""


@dataclass(frozen=True)
class Doctor(Command):
    """Check versions, packages that shadow ours, the renderer and the GPU; each is well or comes with its mend."""

    def run(self) -> dict[str, Any]:
        checks: list[Callable[[], Finding]] = [_cores, _versions, *map(_own, _packages()), _renderer, _gpu]
        findings = [_examine(check) for check in checks]
        for finding in findings:
            sign = "[green]✓[/green]" if finding.well else "[red]✗[/red]"
            console.print(f"{sign} {finding.name}: {finding.found}", highlight=False)
            if not finding.well:
                console.print(f"    mend: {finding.mend}", highlight=False)
        healthy = all(finding.well for finding in findings)
        return {
            "healthy": healthy,
            "machine": machine(),
            "findings": {finding.name: finding.found for finding in findings},
        }


def _examine(check: Callable[[], Finding]) -> Finding:
    """A check that cannot even run is a finding too."""
    try:
        return check()
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        name = getattr(check, "__name__", "check").strip("_")
        return Finding(name, False, f"{type(error).__name__}: {error}", "run `bash scripts/setup.sh` again")


def _packages() -> list[str]:
    return ["envs", "representations", "agents", "scripts"]


def _cores() -> Finding:
    from envs.simulator import available_cores

    return Finding("cores", True, f"{available_cores()}")


def _versions() -> Finding:
    import mujoco
    import torch

    well = (3, 17) <= tuple(int(part) for part in mujoco.__version__.split(".")[:2]) < (4, 0)
    found = f"mujoco {mujoco.__version__}, torch {torch.__version__}"
    return Finding("versions", well, found, "install mujoco and mujoco-warp >= 3.17 and < 4, as in requirements.lock")


def _own(package: str) -> Callable[[], Finding]:
    """Whether the package of this name that Python finds is ours: such short names are easily shadowed."""

    def check() -> Finding:
        spec = importlib.util.find_spec(package)
        origin = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        well = origin is not None and origin.parent.parent == ROOT
        mend = f"another package named {package!r} comes first on sys.path; remove it or use this project's .venv"
        return Finding(f"package {package}", well, "ours" if well else str(origin), mend)

    return check


def _renderer() -> Finding:
    from envs import task_class

    batch = task_class("Soccer")(64, device="cpu")
    began = time.monotonic()
    frames = batch.render()
    rate = len(frames) / (time.monotonic() - began)
    well = int(frames.max()) > int(frames.min())
    mend = "the ray tracer draws an empty picture; remove the kernel cache (~/.cache/warp) and try again"
    return Finding("renderer", well, f"{rate:,.0f} frames/s at 64×64 on the CPU", mend)


def _gpu() -> Finding:
    import torch
    import warp

    torch_cuda, warp_cuda = torch.cuda.is_available(), warp.is_cuda_available()
    if not torch_cuda and not warp_cuda:
        return Finding("GPU", True, "none; everything runs on the CPU")
    mend = "a GPU works for one of torch and warp only; install a CUDA build of torch, or use --device cpu"
    return Finding("GPU", torch_cuda and warp_cuda, f"torch: {torch_cuda}, warp: {warp_cuda}", mend)
