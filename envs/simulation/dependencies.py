"""Import of the simulator's libraries, with an error that names the extra to install."""

from __future__ import annotations

import importlib
from typing import Any


class MissingSimulatorError(ImportError):
    """MuJoCo or MuJoCo Warp is not installed."""


def import_mujoco() -> Any:
    """Return the module ``mujoco``, after checking that MuJoCo Warp and Warp are installed too.

    Raises:
        MissingSimulatorError: one of them is missing.
    """
    try:
        for name in ("mujoco.batch", "warp", "mujoco_warp"):
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingSimulatorError(
            f"worlds are simulated by MuJoCo and MuJoCo Warp, but the module {error.name!r} is not installed; "
            "run: pip install 'equiact[sim]'"
        ) from error
    return importlib.import_module("mujoco")
