"""Scenes on a CPU: physics by ``mujoco.batch``, bit-identical for any number of threads; a ray tracer per core."""

from __future__ import annotations

import ctypes
import os
import weakref
from concurrent.futures import ThreadPoolExecutor

import mujoco
import mujoco.batch
import numpy as np

from .device_scope import building_kernels, on_device
from .ray_tracer import POSE_FIELDS, RayTracer
from .state_layout import Float, Pixels, Worlds


def available_cores() -> int:
    """Return the number of cores that this process may use: its CPU affinity, not the machine's count."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class CpuScenes:
    """A batch of scenes on a CPU; see `Simulator` for the arguments and the methods.

    Args:
        model: the compiled scene.
        num_worlds: number of scenes.
        camera: name of the camera.
        resolution: height and width of a frame in pixels.
        samples: rays along each side of a pixel.
        threads: largest number of threads; one per available core if None.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        num_worlds: int,
        camera: str,
        resolution: tuple[int, int],
        samples: int,
        threads: int | None = None,
    ) -> None:
        threads = min(threads or available_cores(), num_worlds)
        self._batch = mujoco.batch.Batch(model, num_worlds, threads)
        _LIVE_BATCHES.add(self._batch)
        self._poses = {name: self._batch.bind(name) for name in POSE_FIELDS}
        self.state: Float = self._batch.state
        self.colours = np.tile(model.geom_rgba, (num_worlds, 1, 1))
        capacity = -(-num_worlds // threads)
        with building_kernels("cpu"):
            self._tracers = [RayTracer(model, capacity, camera, resolution, samples) for _ in range(threads)]
            for tracer in self._tracers:  # a tracer builds its kernel when it draws for the first time
                tracer.draw({name: values[:1] for name, values in self._poses.items()}, self.colours[:1])
        self._pool = ThreadPoolExecutor(threads)

    def step(self, steps: int, worlds: Worlds | None) -> None:
        """Advance the physics."""
        self._batch.step(worlds, steps, int(mujoco.mjtStage.mjSTAGE_POS))

    def forward(self, worlds: Worlds | None) -> None:
        """Recompute poses from the state."""
        self._batch.forward(worlds, int(mujoco.mjtStage.mjSTAGE_POS))

    def render(self, worlds: Worlds | None) -> Pixels:
        """Return new frames ``(n, height, width, 3)``."""
        rows = slice(None) if worlds is None else worlds
        poses, colours = {name: values[rows] for name, values in self._poses.items()}, self.colours[rows]
        count = len(colours)
        bounds = np.linspace(0, count, min(len(self._tracers), count) + 1).astype(int)
        frames = np.empty((count, *self._tracers[0].resolution, 3), np.uint8)

        def draw(share: int) -> None:
            part = slice(bounds[share], bounds[share + 1])
            taken = {name: values[part] for name, values in poses.items()}
            frames[part] = self._tracers[share].draw(taken, colours[part])

        with on_device("cpu"):  # not inside `draw`: Warp's default device is shared by all threads
            list(self._pool.map(draw, range(len(bounds) - 1)))
        return frames

    def close(self) -> None:
        """End the threads for drawing; those for physics end with the last reference to the state."""
        self._pool.shutdown()


_LIVE_BATCHES: weakref.WeakSet[mujoco.batch.Batch] = weakref.WeakSet()


def _keep_batches_forever() -> None:
    """Leak the batches of a forked child: their threads exist in the parent only, and deletion would wait for them."""
    for batch in _LIVE_BATCHES:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(batch))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_batches_forever)
