"""Scenes on a GPU: physics and pixels by MuJoCo Warp."""

from __future__ import annotations

from typing import Any

import mujoco
import mujoco_warp
import numpy as np
import warp

from .device_scope import building_kernels, on_device
from .ray_tracer import render_context, unpack_rgb
from .state_layout import STATE_FIELDS, Float, Pixels, Worlds, state_slice


class WarpScenes:
    """A batch of scenes on a GPU; see `Simulator` for the arguments and the methods.

    Args:
        model: the compiled scene.
        num_worlds: number of scenes.
        camera: name of the camera.
        resolution: height and width of a frame in pixels.
        samples: rays along each side of a pixel.
        device: ``"cuda"``, or ``"cpu"`` to test this class without a GPU.
    """

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
        self.colours = np.tile(model.geom_rgba, (num_worlds, 1, 1))
        slices = {name: state_slice(model, name) for name in STATE_FIELDS}
        self._slices = {name: part for name, part in slices.items() if part.stop > part.start}
        self._graphs: dict[int, Any] = {}
        with building_kernels(device):
            self._model = mujoco_warp.put_model(model)
            self._data = mujoco_warp.make_data(model, nworld=num_worlds)
            self._context = render_context(model, num_worlds, camera, resolution, samples)
            self._model.geom_rgba = warp.zeros((num_worlds, model.ngeom), warp.vec4)
            self._upload()
            self._locate()
            self._draw()

    def step(self, steps: int, worlds: Worlds | None) -> None:
        """Advance the physics."""
        if steps not in self._graphs:
            with building_kernels(self._device):
                self._graphs[steps] = self._captured(steps)
        with on_device(self._device):
            self._upload()
            if self._graphs[steps] is None:
                self._advance(steps)
            else:
                warp.capture_launch(self._graphs[steps])
            self._download(worlds)
        if worlds is not None:  # the other worlds were stepped too: restore their poses
            self.forward(None)

    def forward(self, worlds: Worlds | None) -> None:
        """Recompute poses from the state, of all worlds."""
        with on_device(self._device):
            self._upload()
            self._locate()

    def render(self, worlds: Worlds | None) -> Pixels:
        """Return new frames ``(n, height, width, 3)``."""
        with on_device(self._device):
            packed = self._draw()
        chosen = packed if worlds is None else packed[worlds]
        return np.ascontiguousarray(unpack_rgb(chosen, self._resolution))

    def close(self) -> None:
        """Free the arrays on the device."""
        self._graphs.clear()
        self._model = self._data = self._context = None

    def _captured(self, steps: int) -> Any:
        """Return a CUDA graph of several steps; None on a CPU, after building the kernels."""
        self._upload()
        self._advance(steps)  # builds the kernels, which a capture cannot
        if self._device != "cuda":
            return None
        self._upload()
        with warp.ScopedCapture() as capture:
            self._advance(steps)
        return capture.graph

    def _draw(self) -> Any:
        """Return the tracer's packed pixels, in host memory that the next frame may overwrite."""
        self._model.geom_rgba.assign(self.colours)
        mujoco_warp.refit_bvh(self._model, self._data, self._context)
        mujoco_warp.render(self._model, self._data, self._context)
        return self._context.rgb_data.numpy()

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
