"""Pixels by MuJoCo Warp's ray tracer, without OpenGL.

The same tracer draws on CPU and GPU, so that an encoder trained on one machine works on another.
"""

from __future__ import annotations

from typing import Any

import mujoco
import mujoco_warp
import numpy as np
import warp
from numpy.typing import NDArray

from .state_layout import Float, Pixels

warp.config.log_level = warp.LOG_ERROR

POSE_FIELDS = ("geom_xpos", "geom_xmat", "cam_xpos", "cam_xmat", "light_xpos", "light_xdir")
"""Quantities of MuJoCo's ``mjData`` that a frame depends on."""


class RayTracer:
    """Draw scenes on one CPU thread, from the poses of geoms, cameras and lights, and from colours.

    Args:
        model: the compiled scene.
        capacity: largest number of scenes drawn at once.
        camera: name of the camera.
        resolution: height and width of a frame in pixels.
        samples: rays along each side of a pixel.
    """

    def __init__(
        self, model: mujoco.MjModel, capacity: int, camera: str, resolution: tuple[int, int], samples: int
    ) -> None:
        self.resolution = resolution
        self._model = mujoco_warp.put_model(model)
        self._data = mujoco_warp.make_data(model, nworld=capacity)
        self._context = render_context(model, capacity, camera, resolution, samples)
        self._slots = {name: getattr(self._data, name).numpy() for name in POSE_FIELDS}
        self._model.geom_rgba = warp.zeros((capacity, model.ngeom), warp.vec4)
        self._colours = self._model.geom_rgba.numpy()

    def draw(self, poses: dict[str, Float], colours: NDArray[np.float32]) -> Pixels:
        """Return frames ``(n, height, width, 3)``, a view that the next call overwrites.

        Args:
            poses: arrays ``(n, ...)`` of the `POSE_FIELDS`.
            colours: ``(n, ngeom, 4)``, RGB and opacity in [0, 1].
        """
        count = len(colours)
        self._colours[:count] = colours
        for name, values in poses.items():
            self._slots[name][:count] = values.reshape((count, *self._slots[name].shape[1:]))
        self._data.nworld = count  # the kernels launch over the first `count` scenes only
        mujoco_warp.refit_bvh(self._model, self._data, self._context)
        mujoco_warp.render(self._model, self._data, self._context)
        return unpack_rgb(self._context.rgb_data.numpy()[:count], self.resolution)


def render_context(
    model: mujoco.MjModel, num_worlds: int, camera: str, resolution: tuple[int, int], samples: int
) -> Any:
    """Return MuJoCo Warp's render context for colour frames of one camera."""
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


def unpack_rgb(packed: NDArray[np.uint32], resolution: tuple[int, int]) -> Pixels:
    """Return the RGB bytes of the tracer's 0xAARRGGBB words, as a view (in memory a word is B, G, R, A)."""
    return packed.view(np.uint8).reshape(len(packed), *resolution, 4)[..., 2::-1]
