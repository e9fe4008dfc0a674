"""A ray tracer for any MuJoCo model, on the CPU and without OpenGL, that draws what MuJoCo's own renderer draws.

`RayTracer` draws the project's own worlds; its pictures must not change. This one follows MuJoCo's OpenGL renderer more
closely, and its compiled kernel is the same for all models.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mujoco
import numpy as np
import warp
from numpy.typing import NDArray

from .cpu_scenes import available_cores
from .device_scope import building_kernels, on_device
from .model_assets import ShapeTable, Surfaces, texture_pyramids
from .scene_contents import SceneContents, view_of
from .shape_tree import ShapeTree
from .state_layout import Pixels
from .trace_kernel import draw_pixels
from .traced_scene import CameraRecord, LightRecord, NodeRecord, Picture, Scene, ShapeRecord


class ModelTracer:
    """Draw worlds of models that have the same shapes, meshes and textures.

    Everything else, such as poses, sizes, colours, materials, lights and cameras, is read anew for every frame.

    Args:
        model: a compiled model.
        capacity: largest number of worlds drawn at once.
        resolution: height and width of a frame in pixels.
        samples: rays along each side of a pixel, whose mean is the pixel.
    """

    def __init__(self, model: mujoco.MjModel, capacity: int, resolution: tuple[int, int], samples: int) -> None:
        self.resolution, self.capacity = resolution, capacity
        self._scene = mujoco.MjvScene(model, maxgeom=1)
        self._table = ShapeTable.of(model)
        with building_kernels("cpu"):
            self._surfaces = Surfaces(model)
            self._textures, sky = texture_pyramids(model)
            self._arrays: dict[str, NDArray[Any]] = {}
            self._records = Scene()
            self._allocate(model)
            self._picture = _picture(model, resolution, samples, sky)
            self._frames = warp.zeros((capacity, 3 * resolution[0] * resolution[1]), warp.uint8, device="cpu")
            warp.load_module(draw_pixels.module, device="cpu")
        self._contents = SceneContents(self._table, self._surfaces, self._arrays)
        self._tree: ShapeTree | None = None
        self._pool: tuple[int, ThreadPoolExecutor] | None = None

    def draw(self, worlds: Sequence[tuple[mujoco.MjModel, mujoco.MjData, mujoco.MjvCamera]]) -> Pixels:
        """Return frames ``(n, height, width, 3)``.

        Args:
            worlds: a model, its data with up-to-date poses, and a camera for each frame.
        """
        height, width = self.resolution
        for world, (model, data, camera) in enumerate(worlds):
            view = view_of(model, data, camera, self._scene, width / height)
            self._contents.fill(world, model, data, view)
        with on_device("cpu"):
            self._update_tree(len(worlds))
            self._launch(len(worlds))
        frames: Pixels = self._frames.numpy()[: len(worlds)].reshape(-1, height, width, 3).copy()
        return frames

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None and self._pool[0] == os.getpid():
            self._pool[1].shutdown()
        self._pool = None

    def _allocate(self, model: mujoco.MjModel) -> None:
        count, table, surfaces = self.capacity, self._table, self._surfaces
        shapes = len(table.kinds)
        self._add("shapes", "", ShapeRecord, (count, shapes))
        self._add("lights", "light_", LightRecord, (count, model.nlight + 1))
        self._add("cameras", "view_", CameraRecord, (count,))
        self._records.clear = warp.zeros((count, shapes), dtype=warp.int32, device="cpu")
        self._arrays["clear"] = self._records.clear.numpy()
        self._arrays["lower"], self._arrays["upper"] = np.zeros((2, count, shapes, 3), np.float32)
        surface = np.maximum(table.meshes, 0)
        fixed = {
            "kind": table.kinds,
            "mesh": surfaces.ids[surface],
            "corner": surfaces.first_corners[surface],
            "textured": np.where(table.meshes >= 0, surfaces.textured[surface], 0),
        }
        for name, values in fixed.items():
            self._arrays[name][:] = values
        self._records.corner_normal = warp.array(surfaces.normals, dtype=warp.vec3, device="cpu")
        self._records.corner_uv = warp.array(surfaces.coordinates, dtype=warp.vec2, device="cpu")

    def _add(self, name: str, prefix: str, record: Any, shape: tuple[int, ...]) -> None:
        """Allocate records, and keep views of their fields that NumPy writes to."""
        values = warp.zeros(shape, dtype=record, device="cpu")
        setattr(self._records, name, values)
        fields = values.numpy()
        for field in fields.dtype.names:
            self._arrays[prefix + field] = fields[field]

    def _update_tree(self, count: int) -> None:
        """Fit the tree of boxes to the shapes, after building it for the first frame."""
        lower, upper = self._arrays["lower"][:count], self._arrays["upper"][:count]
        if self._tree is None:
            self._tree = ShapeTree(lower[0], upper[0])
            self._add("nodes", "node_", NodeRecord, (self.capacity, len(self._tree.leaf)))
            self._arrays["node_leaf"][:], self._arrays["node_skip"][:] = self._tree.leaf, self._tree.skip
        self._tree.fit(lower, upper, self._arrays["node_lower"][:count], self._arrays["node_upper"][:count])

    def _launch(self, count: int) -> None:
        """Draw bands of all frames, shared by all cores."""
        pixels = self.resolution[0] * self.resolution[1]
        cores = available_cores()
        bands = np.linspace(0, pixels, 1 if cores == 1 else min(4 * cores, self.resolution[0]) + 1).astype(int)
        bands = np.unique(np.concatenate([[0], bands, [pixels]]))

        def draw(band: int) -> None:
            first, last = int(bands[band]), int(bands[band + 1])
            inputs = [self._records, self._textures, self._picture, first]
            warp.launch(draw_pixels, (count, last - first), inputs, [self._frames], device="cpu")

        if cores == 1:
            draw(0)
        else:
            list(self._threads(cores).map(draw, range(len(bands) - 1)))

    def _threads(self, cores: int) -> ThreadPoolExecutor:
        """Return this process's threads: those of a parent process do not exist in a forked child."""
        if self._pool is None or self._pool[0] != os.getpid():
            self._pool = os.getpid(), ThreadPoolExecutor(cores)
        return self._pool[1]


def _picture(model: mujoco.MjModel, resolution: tuple[int, int], samples: int, sky: int) -> Any:
    picture = Picture()
    picture.height, picture.width = resolution
    picture.samples, picture.sky = samples, sky
    picture.haze = warp.vec4(*map(float, model.vis.rgba.haze[:3]), float(model.vis.map.haze))
    return picture
