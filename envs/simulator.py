"""A batch of identical MuJoCo scenes: physics, pixels and full-state snapshots, without OpenGL.

Pixels come from MuJoCo Warp's ray tracer everywhere, so that an encoder trained on one machine works on another.
Physics runs on ``mujoco.batch`` on a CPU (bit-identical at any number of threads) and on MuJoCo Warp on a GPU.

The state of a scene is one row of numbers, MuJoCo's ``mjSTATE_INTEGRATION``: everything that the next step depends on
(time, positions, velocities, warm start, controls, mocap bodies, …), not positions and velocities alone.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import mujoco
import mujoco.batch
import mujoco_warp
import numpy as np
import warp
from numpy.typing import NDArray

warp.config.log_level = warp.LOG_ERROR

Float = NDArray[np.float64]
Pixels = NDArray[np.uint8]
Worlds = NDArray[np.intp]

_POSE_FIELDS = ("geom_xpos", "geom_xmat", "cam_xpos", "cam_xmat", "light_xpos", "light_xdir")
_STATE_FIELDS = {
    "time": mujoco.mjtState.mjSTATE_TIME,
    "qpos": mujoco.mjtState.mjSTATE_QPOS,
    "qvel": mujoco.mjtState.mjSTATE_QVEL,
    "act": mujoco.mjtState.mjSTATE_ACT,
    "qacc_warmstart": mujoco.mjtState.mjSTATE_WARMSTART,
    "ctrl": mujoco.mjtState.mjSTATE_CTRL,
    "qfrc_applied": mujoco.mjtState.mjSTATE_QFRC_APPLIED,
    "xfrc_applied": mujoco.mjtState.mjSTATE_XFRC_APPLIED,
    "eq_active": mujoco.mjtState.mjSTATE_EQ_ACTIVE,
    "mocap_pos": mujoco.mjtState.mjSTATE_MOCAP_POS,
    "mocap_quat": mujoco.mjtState.mjSTATE_MOCAP_QUAT,
}


def available_cores() -> int:
    """Number of cores this process may use (its CPU affinity, not the machine's count)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resolve_device(device: str) -> str:
    """``"cpu"`` or ``"cuda"`` for ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises:
        ValueError: another name, or ``"cuda"`` on a machine where CUDA does not work.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be 'auto', 'cpu' or 'cuda', got {device!r}")
    cuda = warp.is_cuda_available()
    if device == "cuda" and not cuda:
        raise ValueError("device 'cuda' was asked for, but no CUDA device works here; use 'cpu' or 'auto'")
    return "cuda" if cuda and device != "cpu" else "cpu"


class Simulator:
    """``num_worlds`` copies of one scene, stepped and drawn together.

    Args:
        model: the compiled scene.
        num_worlds: how many copies.
        camera: name of the camera that draws.
        resolution: height and width of a frame in pixels.
        samples: rays along each side of a pixel, which is their mean; with one, edges are jagged and what moves by less
            than a pixel may look the same.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Attributes:
        state: ``(num_worlds, nstate)`` float64, live: what is written here is what the next step starts from.
        colours: ``(num_worlds, ngeom, 4)`` float32 in [0, 1], live: what geoms are drawn with, RGB and opacity; one of
            opacity zero is not drawn. No part of the state. MuJoCo's default grey shows a geom's material.

    Example:
        >>> model = mujoco.MjModel.from_xml_string('''<mujoco><worldbody><camera name="eye" pos="0 0 2"/>
        ...   <body><joint name="x" type="slide" axis="1 0 0"/><geom size=".1"/></body></worldbody></mujoco>''')
        >>> simulator = Simulator(model, num_worlds=3, camera="eye", resolution=(8, 8), device="cpu")
        >>> simulator.field("qvel")[:] = 1.0
        >>> simulator.step(10)
        >>> simulator.render().shape
        (3, 8, 8, 3)
    """

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
        if num_worlds < 1:
            raise ValueError(f"num_worlds must be at least 1, got {num_worlds}")
        if samples < 1:
            raise ValueError(f"samples must be at least 1, got {samples}")
        if mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, camera) < 0:
            names = [model.camera(i).name for i in range(model.ncam)]
            raise ValueError(f"the scene has no camera {camera!r}; it has {names}")
        self.model = model
        self.num_worlds = num_worlds
        self.resolution = resolution
        self.device = resolve_device(device)
        make = _WarpScenes if self.device == "cuda" else _CpuScenes
        self._scenes: _Scenes = make(model, num_worlds, camera, resolution, samples)
        self.state = self._scenes.state
        self.colours = self._scenes.colours
        self.forward()

    def field(self, name: str) -> Float:
        """A live view of one part of the state, ``(num_worlds, ...)``, such as ``"qpos"`` or ``"ctrl"``."""
        if name not in _STATE_FIELDS:
            raise ValueError(f"{name!r} is not a part of the state; choose from {sorted(_STATE_FIELDS)}")
        return self.state[:, _state_slice(self.model, name)]

    def step(self, steps: int, worlds: Worlds | None = None) -> None:
        """Advance by ``steps`` steps of physics, the controls held; all worlds, or those with the given sorted ids.

        Raises:
            ValueError: less than one step.
        """
        if steps < 1:
            raise ValueError(f"at least one step of physics was expected, got {steps}; to recompute poses use forward")
        self._scenes.step(steps, worlds)

    def forward(self, worlds: Worlds | None = None) -> None:
        """Recompute poses from the state, after it was written to."""
        self._scenes.forward(worlds)

    def save(self) -> Float:
        """A copy of the full state of every world, ``(num_worlds, nstate)``."""
        return self.state.copy()

    def restore(self, state: Float) -> None:
        """Return to a saved state. On the CPU what follows is the same to the last bit.

        Raises:
            ValueError: the state has another shape: it was saved from another scene or another number of worlds.
        """
        if state.shape != self.state.shape:
            raise ValueError(f"a state of shape {self.state.shape} was expected, got {state.shape}")
        self.state[:] = state
        self.forward()

    def render(self, worlds: Worlds | None = None) -> Pixels:
        """Frames of all worlds, or of those with the given ids: ``(n, height, width, 3)`` uint8, RGB."""
        return self._scenes.render(worlds)


@functools.lru_cache(maxsize=256)
def _layout(sizes: tuple[tuple[int, int], ...]) -> dict[int, slice]:
    starts = np.cumsum([0] + [size for _, size in sizes])
    return {component: slice(int(a), int(a) + size) for (component, size), a in zip(sizes, starts[:-1], strict=True)}


def _state_slice(model: mujoco.MjModel, name: str) -> slice:
    """Where a component lies in a row: components are stored in the order of their bits."""
    integration = int(mujoco.mjtState.mjSTATE_INTEGRATION)
    bits = [1 << i for i in range(integration.bit_length()) if integration >> i & 1]
    return _layout(tuple((bit, mujoco.mj_stateSize(model, bit)) for bit in bits))[int(_STATE_FIELDS[name])]


class _Scenes(Protocol):
    """What a device must do; `Simulator` is the same on all of them."""

    state: Float
    colours: NDArray[np.float32]

    def step(self, steps: int, worlds: Worlds | None) -> None: ...
    def forward(self, worlds: Worlds | None) -> None: ...
    def render(self, worlds: Worlds | None) -> Pixels: ...


class _CpuScenes:
    """Physics on ``mujoco.batch``; a ray tracer per core, each drawing its share of the worlds."""

    def __init__(
        self, model: mujoco.MjModel, num_worlds: int, camera: str, resolution: tuple[int, int], samples: int
    ) -> None:
        threads = min(available_cores(), num_worlds)
        self._batch = mujoco.batch.Batch(model, num_worlds, threads)
        self._poses = {name: self._batch.bind(name) for name in _POSE_FIELDS}
        self.state: Float = self._batch.state
        self.colours = np.tile(model.geom_rgba, (num_worlds, 1, 1))
        capacity = -(-num_worlds // threads)
        with _on("cpu"):
            self._tracers = [_RayTracer(model, capacity, camera, resolution, samples) for _ in range(threads)]
            # A tracer builds its kernel when it first draws, and kernels built on several threads at once come out
            # wrong: with geoms missing, or not at all (SystemError, cpython#106905). So each draws once, here, in turn.
            for tracer in self._tracers:
                tracer.draw({name: values[:1] for name, values in self._poses.items()}, self.colours[:1])
        self._pool = ThreadPoolExecutor(threads)

    def step(self, steps: int, worlds: Worlds | None) -> None:
        self._batch.step(worlds, steps, int(mujoco.mjtStage.mjSTAGE_POS))

    def forward(self, worlds: Worlds | None) -> None:
        self._batch.forward(worlds, int(mujoco.mjtStage.mjSTAGE_POS))

    def render(self, worlds: Worlds | None) -> Pixels:
        rows = slice(None) if worlds is None else worlds
        poses, colours = {name: values[rows] for name, values in self._poses.items()}, self.colours[rows]
        count = len(colours)
        bounds = np.linspace(0, count, min(len(self._tracers), count) + 1).astype(int)
        frames = np.empty((count, *self._tracers[0].resolution, 3), np.uint8)

        def draw(share: int) -> None:
            part = slice(bounds[share], bounds[share + 1])
            taken = {name: values[part] for name, values in poses.items()}
            frames[part] = self._tracers[share].draw(taken, colours[part])

        with _on("cpu"):  # here, not in `draw`: Warp's default device is one for all threads
            list(self._pool.map(draw, range(len(bounds) - 1)))
        return frames


class _RayTracer:
    """Draws up to ``capacity`` scenes, given poses of geoms, cameras and lights, and colours, on one CPU thread."""

    def __init__(
        self, model: mujoco.MjModel, capacity: int, camera: str, resolution: tuple[int, int], samples: int
    ) -> None:
        self.resolution = resolution
        self._model = mujoco_warp.put_model(model)
        self._data = mujoco_warp.make_data(model, nworld=capacity)
        self._context = _render_context(model, capacity, camera, resolution, samples)
        self._slots = {name: getattr(self._data, name).numpy() for name in _POSE_FIELDS}
        self._model.geom_rgba = warp.zeros((capacity, model.ngeom), warp.vec4)
        self._colours = self._model.geom_rgba.numpy()

    def draw(self, poses: dict[str, Float], colours: NDArray[np.float32]) -> Pixels:
        count = len(colours)
        self._colours[:count] = colours
        for name, values in poses.items():
            self._slots[name][:count] = values.reshape((count, *self._slots[name].shape[1:]))
        self._data.nworld = count  # the kernels launch over the first `count` scenes alone
        mujoco_warp.refit_bvh(self._model, self._data, self._context)
        mujoco_warp.render(self._model, self._data, self._context)
        return _unpack(self._context.rgb_data.numpy()[:count], self.resolution)


class _WarpScenes:
    """Physics and pixels on MuJoCo Warp: for a GPU (and, to test it, on the CPU through ``device="cpu"``)."""

    def __init__(
        self,
        model: mujoco.MjModel,
        num_worlds: int,
        camera: str,
        resolution: tuple[int, int],
        samples: int,
        device: str = "cuda",
    ) -> None:
        self._device = device
        self._resolution = resolution
        self.state: Float = np.zeros((num_worlds, mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_INTEGRATION)))
        fresh = mujoco.MjData(model)
        mujoco.mj_getState(model, fresh, self.state[0], mujoco.mjtState.mjSTATE_INTEGRATION)
        self.state[1:] = self.state[0]
        with _on(device):
            self._model = mujoco_warp.put_model(model)
            self._data = mujoco_warp.make_data(model, nworld=num_worlds)
            self._context = _render_context(model, num_worlds, camera, resolution, samples)
            self._model.geom_rgba = warp.zeros((num_worlds, model.ngeom), warp.vec4)
        self.colours = np.tile(model.geom_rgba, (num_worlds, 1, 1))
        slices = {name: _state_slice(model, name) for name in _STATE_FIELDS}
        self._slices = {name: part for name, part in slices.items() if part.stop > part.start}
        self._graphs: dict[int, Any] = {}

    def step(self, steps: int, worlds: Worlds | None) -> None:
        with _on(self._device):
            self._upload()
            if self._device == "cuda":
                warp.capture_launch(self._graph(steps))
            else:
                self._advance(steps)
            self._download(worlds)
        if worlds is not None:  # the other worlds were stepped too: put their poses back
            self.forward(None)

    def forward(self, worlds: Worlds | None) -> None:
        with _on(self._device):
            self._upload()
            self._locate()

    def render(self, worlds: Worlds | None) -> Pixels:
        with _on(self._device):
            self._model.geom_rgba.assign(self.colours)
            mujoco_warp.refit_bvh(self._model, self._data, self._context)
            mujoco_warp.render(self._model, self._data, self._context)
            packed = self._context.rgb_data.numpy()
        return _unpack(packed if worlds is None else packed[worlds], self._resolution)

    def _graph(self, steps: int) -> Any:
        if steps not in self._graphs:
            self._advance(steps)  # compiles what the capture may not
            self._upload()
            with warp.ScopedCapture() as capture:
                self._advance(steps)
            self._graphs[steps] = capture.graph
        return self._graphs[steps]

    def _advance(self, steps: int) -> None:
        for _ in range(steps):
            mujoco_warp.step(self._model, self._data)
        self._locate()

    def _locate(self) -> None:
        mujoco_warp.kinematics(self._model, self._data)
        mujoco_warp.com_pos(self._model, self._data)
        mujoco_warp.camlight(self._model, self._data)

    def _upload(self) -> None:
        for name, part in self._slices.items():
            target = getattr(self._data, name)
            shape = target.numpy().shape
            target.assign(self.state[:, part].reshape(shape).astype(target.numpy().dtype))

    def _download(self, worlds: Worlds | None) -> None:
        rows = slice(None) if worlds is None else worlds
        for name, part in self._slices.items():
            values = getattr(self._data, name).numpy().reshape(len(self.state), -1)
            self.state[rows, part] = values[rows]


@contextlib.contextmanager
def _on(device: str) -> Iterator[None]:
    with warp.ScopedDevice(device):
        yield


def _render_context(
    model: mujoco.MjModel, num_worlds: int, camera: str, resolution: tuple[int, int], samples: int
) -> Any:
    height, width = resolution
    return mujoco_warp.create_render_context(
        model,
        nworld=num_worlds,
        cam_res=(width, height),
        cam_active=[camera],
        render_rgb=True,
        render_depth=False,
        samples_per_pixel=samples,
    )


def _unpack(packed: NDArray[np.uint32], resolution: tuple[int, int]) -> Pixels:
    """Split the tracer's 0xAARRGGBB words into RGB bytes (the words lie in memory as B, G, R, A)."""
    return packed.view(np.uint8).reshape(len(packed), *resolution, 4)[..., 2::-1]
