"""The command ``equiact doctor``."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from ..experiments.provenance import ROOT, installed, machine
from ..progress import console
from .command import Command, Device
from .registry import register_command

EXTRAS = {
    "sim": ("mujoco", "mujoco-warp", "opencv-python-headless"),
    "rl": ("stable-baselines3",),
    "data": ("minari",),
    "cli": ("tyro", "rich", "pyyaml", "matplotlib", "imageio", "pandas", "pebble", "threadpoolctl"),
    "offline": ("torchrl", "tensordict"),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
}
"""Packages that each extra of the installation brings."""
NEEDED = ("sim", "rl", "data", "cli")
"""Extras that the commands need; the others are optional."""


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes:
        name: what was checked.
        well: whether all is well.
        found: what was found.
        hint: what to do if not.
        is_missing: whether packages are missing.
    """

    name: str
    well: bool
    found: str
    hint: str = ""
    is_missing: bool = False

    @property
    def sign(self) -> str:
        """Return the sign in front of the finding: a tick, a cross, or a dash for an optional extra that is missing."""
        if self.is_missing and self.well:
            return "–"
        return "[green]✓[/green]" if self.well else "[red]✗[/red]"


@register_command("doctor")
@dataclass(frozen=True)
class Doctor(Command):
    """Check the installation: the import of equiact, the extras, the versions, the renderer and the GPU.

    Prints every finding, with what to do if something is wrong. The exit status is 1 if something is wrong.
    """

    seed: tyro.conf.Suppress[int] = 0
    device: tyro.conf.Suppress[Device] = "auto"

    def run(self) -> dict[str, Any]:
        checks: list[Callable[[], Finding]] = [_cores, _import, *map(_extra, EXTRAS), _versions, _renderer, _gpu]
        findings = [examine(check) for check in checks]
        for finding in findings:
            console.print(f"{finding.sign} {finding.name}: {finding.found}", highlight=False)
            if not finding.well:
                console.print(f"    what to do: {finding.hint}", highlight=False, markup=False)
        return {
            "healthy": all(finding.well for finding in findings),
            "machine": machine(),
            "findings": {finding.name: finding.found for finding in findings},
        }


def examine(check: Callable[[], Finding]) -> Finding:
    """Return the finding of a check; a check that fails to run is a finding, too."""
    try:
        return check()
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        name = getattr(check, "__name__", "check").strip("_")
        return Finding(name, False, f"{type(error).__name__}: {error}", "install again: pip install 'equiact[all]'")


def check_import(expected: Path = ROOT) -> Finding:
    """Check that ``import equiact`` finds the package that this command belongs to."""
    spec = importlib.util.find_spec("equiact")
    origin = Path(spec.origin).resolve().parent if spec is not None and spec.origin else None
    hint = f"another package or folder named equiact comes first on sys.path; remove it, or run this from {expected}"
    return Finding("import equiact", origin == expected, str(origin), hint)


def check_extra(name: str) -> Finding:
    """Check that the packages of an extra are installed; a missing optional one is well."""
    missing = [package for package in EXTRAS[name] if installed(package) == "not installed"]
    found = f"missing: {', '.join(missing)}" if missing else "installed"
    well = not missing or name not in NEEDED
    found += " (optional)" * (name not in NEEDED)
    return Finding(f"extra {name}", well, found, f"pip install 'equiact[{name}]'", is_missing=bool(missing))


def _import() -> Finding:
    return check_import()


def _extra(name: str) -> Callable[[], Finding]:
    return lambda: check_extra(name)


def _cores() -> Finding:
    from ...envs.simulation.cpu_scenes import available_cores

    return Finding("cores", True, f"{available_cores()}")


def _versions() -> Finding:
    import mujoco
    import torch

    well = (3, 17) <= tuple(int(part) for part in mujoco.__version__.split(".")[:2]) < (4, 0)
    found = f"mujoco {mujoco.__version__}, torch {torch.__version__}"
    return Finding("versions", well, found, "install mujoco and mujoco-warp of a version from 3.17 to below 4")


def _renderer() -> Finding:
    from ...envs.worlds.registry import task_world_class

    batch = task_world_class("Soccer")(64, device="cpu")
    began = time.monotonic()
    frames = batch.render()
    rate = len(frames) / (time.monotonic() - began)
    well = int(frames.max()) > int(frames.min())
    hint = "the ray tracer renders an empty image; delete the kernel cache (~/.cache/warp) and try again"
    return Finding("renderer", well, f"{rate:,.0f} frames/s at 64×64 on the CPU", hint)


def _gpu() -> Finding:
    import torch
    import warp

    torch_cuda, warp_cuda = torch.cuda.is_available(), warp.is_cuda_available()
    if not torch_cuda and not warp_cuda:
        return Finding("GPU", True, "none; everything runs on the CPU")
    hint = "only one of torch and warp finds the GPU; install a CUDA build of torch, or use --device cpu"
    return Finding("GPU", torch_cuda and warp_cuda, f"torch: {torch_cuda}, warp: {warp_cuda}", hint)
