"""Checks of the options of `equiact perturb`, before the work begins."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gymnasium as gym

_MAGIC, _START = b"RRF", 4096
"""First bytes of a recording of Rerun, and number of those that hold the name of the program."""


def check_recording(path: Path | None) -> None:
    """Check that a recording of Rerun can be made and its file may be written.

    Args:
        path: the file, which need not exist; None for no recording.

    Raises:
        ValueError: it has another ending than ``.rrd``, or another file is there.
        ModuleNotFoundError: rerun is not installed.
    """
    from ...envs.storage.output_paths import check_file

    if path is None:
        return
    if path.suffix.lower() != ".rrd":
        raise ValueError(f"expected --rerun to end in .rrd, got {path}")
    check_file(path, _is_our_recording)
    if find_spec("rerun") is None:
        raise ModuleNotFoundError("--rerun needs rerun-sdk; run: pip install 'equiact[rerun]'", name="rerun")


def _is_our_recording(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(_START)
    return start.startswith(_MAGIC) and b"equiact" in start


def require_camera(env: gym.Env[Any, Any], camera: str | None) -> None:
    """Check that an environment has a camera, also where nothing is drawn.

    Nothing is checked without MuJoCo Warp, which reading a model needs: then nothing can be drawn either.

    Args:
        env: the environment, which has been reset.
        camera: name of a camera of its MuJoCo model; None for the default.

    Raises:
        ValueError: the model has no such camera.
        CannotDrawError: the environment has no model of MuJoCo.
    """
    if camera is None:
        return
    if "mujoco" in sys.modules:  # an environment of MuJoCo cannot exist before MuJoCo is imported
        from ...envs.mujoco_envs.cameras import Viewpoint
        from ...envs.mujoco_envs.mujoco_scene import MujocoScene, has_mujoco
        from ...envs.simulation.dependencies import MissingSimulatorError

        try:
            if has_mujoco(env):
                Viewpoint(camera=camera).camera_of(MujocoScene(env).model)
                return
        except MissingSimulatorError:
            return
    from ..reports.perturbation_film import CannotDrawError

    raise CannotDrawError(f"the environment has no MuJoCo model with a camera {camera!r}; leave out --camera")
