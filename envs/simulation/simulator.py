"""The simulator: a batch of copies of one MuJoCo scene, with physics, pixels and snapshots of the full state.

Physics runs on ``mujoco.batch`` on a CPU and on MuJoCo Warp on a GPU. Pixels come from MuJoCo Warp's ray tracer on
both.
"""

from __future__ import annotations

import os
from typing import ClassVar

import mujoco
import numpy as np
import warp
from numpy.typing import NDArray

from ..arguments import integer_argument
from .cpu_scenes import CpuScenes
from .resolution import checked_resolution
from .scenes import Scenes
from .state_layout import STATE_FIELDS, Float, Pixels, Worlds, state_slice
from .warp_scenes import WarpScenes


class SimulatorError(RuntimeError):
    """A simulator was used after it was closed, or in a forked process."""


def resolve_device(device: str) -> str:
    """Return ``"cpu"`` or ``"cuda"`` for ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises:
        ValueError: another name, or ``"cuda"`` on a machine without a working CUDA device.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be 'auto', 'cpu' or 'cuda', got {device!r}")
    cuda = warp.is_cuda_available()
    if device == "cuda" and not cuda:
        raise ValueError("device 'cuda' was asked for, but no CUDA device works here; use 'cpu' or 'auto'")
    return "cuda" if cuda and device != "cpu" else "cpu"


class Simulator:
    """A batch of ``num_worlds`` copies of one scene, stepped and drawn together.

    Args:
        model: the compiled scene.
        num_worlds: number of copies.
        camera: name of the camera.
        resolution: height and width of a frame in pixels.
        samples: rays along each side of a pixel, whose mean is the pixel. With one, edges are jagged and motions of
            less than a pixel may not change the frame.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Attributes:
        model: the compiled scene.
        num_worlds: number of copies.
        resolution: height and width of a frame in pixels.
        device: ``"cpu"`` or ``"cuda"``.
        max_frame_bytes: largest memory for the frames of all worlds; a larger resolution is refused. Set it on the
            class to raise it.

    Raises:
        ValueError: an argument is out of range, or the scene has no such camera.

    Example:
        >>> import mujoco
        >>> model = mujoco.MjModel.from_xml_string('''<mujoco><worldbody><camera name="eye" pos="0 0 2"/>
        ...   <body><joint name="x" type="slide" axis="1 0 0"/><geom size=".1"/></body></worldbody></mujoco>''')
        >>> simulator = Simulator(model, num_worlds=3, camera="eye", resolution=(8, 8), device="cpu")
        >>> simulator.field("qvel")[:] = 1.0
        >>> simulator.step(10)
        >>> simulator.render().shape
        (3, 8, 8, 3)
        >>> simulator.close()
    """

    max_frame_bytes: ClassVar[int] = 8 * 2**30

    def __init__(
        self,
        model: mujoco.MjModel,
        num_worlds: int,
        *,
        camera: str,
        resolution: tuple[int, int] = (64, 64),
        samples: int = 1,
        device: str = "auto",
    ) -> None:
        num_worlds = integer_argument("num_worlds", num_worlds, at_least=1)
        samples = integer_argument("samples", samples, at_least=1)
        if mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, camera) < 0:
            names = [model.camera(i).name for i in range(model.ncam)]
            raise ValueError(f"the scene has no camera {camera!r}; it has {names}")
        self.model = model
        self.num_worlds = num_worlds
        self.resolution = checked_resolution(resolution, num_worlds, self.max_frame_bytes, "Simulator.max_frame_bytes")
        self.device = resolve_device(device)
        make = WarpScenes if self.device == "cuda" else CpuScenes
        self._process = os.getpid()
        self._scenes: Scenes | None = make(model, num_worlds, camera, self.resolution, samples)
        self.forward()

    @property
    def state(self) -> Float:
        """States of all worlds, ``(num_worlds, nstate)`` float64; the next step starts from what is written here."""
        return self._usable().state

    @property
    def colours(self) -> NDArray[np.float32]:
        """Colours of all geoms, ``(num_worlds, ngeom, 4)`` float32: RGB and opacity in [0, 1], writable.

        A geom of opacity zero is not drawn. MuJoCo's default grey shows the geom's material. Colours are not part of
        the state.
        """
        return self._usable().colours

    def field(self, name: str) -> Float:
        """Return a writable view of one component of the state, ``(num_worlds, ...)``, such as ``"qpos"``.

        Raises:
            ValueError: the state has no such component.
        """
        if name not in STATE_FIELDS:
            raise ValueError(f"{name!r} is not a part of the state; choose from {sorted(STATE_FIELDS)}")
        return self.state[:, state_slice(self.model, name)]

    def step(self, steps: int, worlds: Worlds | None = None) -> None:
        """Advance the physics with constant controls.

        Args:
            steps: number of time steps of the scene.
            worlds: sorted ids of the worlds to advance; all if None.

        Raises:
            ValueError: ``steps`` is less than one.
        """
        self._usable().step(integer_argument("steps", steps, at_least=1), worlds)

    def forward(self, worlds: Worlds | None = None) -> None:
        """Recompute poses from the state, after it was written to."""
        self._usable().forward(worlds)

    def save(self) -> Float:
        """Return a copy of the full state of every world, ``(num_worlds, nstate)``."""
        return self.state.copy()

    def restore(self, state: Float) -> None:
        """Return to a saved state; on a CPU all later steps are bit-identical.

        Raises:
            ValueError: the state is of another scene or of another number of worlds.
        """
        if state.shape != self.state.shape:
            raise ValueError(f"a state of shape {self.state.shape} was expected, got {state.shape}")
        self.state[:] = state
        self.forward()

    def render(self, worlds: Worlds | None = None) -> Pixels:
        """Return RGB frames of all worlds, or of those with the given ids, ``(n, height, width, 3)`` uint8."""
        return self._usable().render(worlds)

    def close(self) -> None:
        """Free threads and memory; later uses raise `SimulatorError`. Views of the state keep its memory alive."""
        if self._scenes is not None and self._process == os.getpid():
            self._scenes.close()
        self._scenes = None

    def _usable(self) -> Scenes:
        if self._process != os.getpid():
            raise SimulatorError(
                f"this simulator was made in process {self._process} and does not work in the forked process "
                f"{os.getpid()}, where its threads do not exist; make the environment in the child process, or start "
                "processes with multiprocessing.get_context('spawn')"
            )
        if self._scenes is None:
            raise SimulatorError("this simulator is closed; make a new environment")
        return self._scenes
