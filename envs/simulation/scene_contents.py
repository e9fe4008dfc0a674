"""What is visible in a MuJoCo model and data now: poses, colours, materials, lights and the camera, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from .model_assets import PLANE, ShapeTable, Surfaces

OPAQUE = 0.995
"""Opacity from which MuJoCo draws a shape as opaque."""
_BOX = int(mujoco.mjtGeom.mjGEOM_BOX)
_GREY = np.array([0.5, 0.5, 0.5, 1.0], np.float32)
_PLAIN = np.array([0.0, 0.5, 0.5, 0.0])
"""Emission, specular, shininess and reflectance without a material."""


@dataclass(frozen=True)
class View:
    """A camera's pose and the image plane in front of it.

    Attributes:
        eye: its position.
        forward: where it looks.
        corner: from the eye to the lower left corner of the image plane.
        across: from there to the lower right corner.
        upward: from there to the upper left corner.
        clip: distances of the near and the far plane.
        parallel: whether it is orthographic.
    """

    eye: NDArray[np.float64]
    forward: NDArray[np.float64]
    corner: NDArray[np.float64]
    across: NDArray[np.float64]
    upward: NDArray[np.float64]
    clip: tuple[float, float]
    parallel: bool


def view_of(
    model: mujoco.MjModel, data: mujoco.MjData, camera: mujoco.MjvCamera, scene: mujoco.MjvScene, aspect: float
) -> View:
    """Return the view of a camera, computed by MuJoCo itself.

    Args:
        model: the model.
        data: its data, with up-to-date poses.
        camera: MuJoCo's description of the camera.
        scene: a scene that MuJoCo may overwrite.
        aspect: width of the image through its height.
    """
    mujoco.mjv_updateCamera(model, data, camera, scene)
    left, right = scene.camera[0], scene.camera[1]
    eye = (left.pos + right.pos) / 2.0
    forward, up = np.array(left.forward, float), np.array(left.up, float)
    side = np.cross(forward, up)
    bottom, top, near = left.frustum_bottom, left.frustum_top, left.frustum_near
    centre = (left.frustum_center + right.frustum_center) / 2
    half = left.frustum_width or 0.5 * aspect * (top - bottom)
    corner = near * forward + (centre - half) * side + bottom * up
    return View(
        np.array(eye, float),
        forward,
        corner,
        2 * half * side,
        (top - bottom) * up,
        (near, left.frustum_far),
        bool(left.orthographic),
    )


class SceneContents:
    """Fill arrays with what is visible in one world.

    Args:
        table: the shapes of the model.
        surfaces: its meshes.
        arrays: for every field its array ``(worlds, ...)``.
    """

    def __init__(self, table: ShapeTable, surfaces: Surfaces, arrays: dict[str, NDArray[Any]]) -> None:
        self._table, self._surfaces, self._arrays = table, surfaces, arrays
        self._of_mesh = table.meshes >= 0

    def fill(self, world: int, model: mujoco.MjModel, data: mujoco.MjData, view: View) -> None:
        """Write one world's shapes, lights and camera."""
        arrays = {name: values[world] for name, values in self._arrays.items()}
        geoms, sites = self._table.geoms, self._table.sites
        arrays["position"][:] = np.concatenate([data.geom_xpos[geoms], data.site_xpos[sites]])
        arrays["rotation"][:] = np.concatenate([data.geom_xmat[geoms], data.site_xmat[sites]]).reshape(-1, 3, 3)
        arrays["size"][:] = np.concatenate([model.geom_size[geoms], model.site_size[sites]])
        self._fill_materials(arrays, model)
        behind = self._fade_planes(arrays, view)
        self._fill_bounds(arrays, view)
        self._fill_lights(arrays, model, data, view)
        for name in ("eye", "forward", "corner", "across", "upward"):
            arrays[f"view_{name}"][:] = getattr(view, name)
        arrays["view_clip"][:] = view.clip
        self._arrays["view_parallel"][world] = view.parallel
        for name, value in self._surroundings(arrays, behind).items():
            self._arrays[f"view_{name}"][world] = value

    def _fill_materials(self, arrays: dict[str, NDArray[Any]], model: mujoco.MjModel) -> None:
        geoms, sites = self._table.geoms, self._table.sites
        rgba = np.concatenate([model.geom_rgba[geoms], model.site_rgba[sites]])
        ids = np.concatenate([model.geom_matid[geoms], model.site_matid[sites]])
        arrays["rgba"][:] = rgba
        arrays["material"][:] = _PLAIN
        arrays["texture"][:, 0] = -1
        has = np.flatnonzero(ids >= 0)
        if not len(has):
            return
        ids = ids[has]
        default = (rgba[has] == _GREY).all(-1)
        arrays["rgba"][has[default]] = model.mat_rgba[ids[default]]
        for column, name in enumerate(("emission", "specular", "shininess", "reflectance")):
            arrays["material"][has, column] = getattr(model, f"mat_{name}")[ids]
        arrays["texture"][has, 0] = model.mat_texid[ids, mujoco.mjtTextureRole.mjTEXROLE_RGB]
        arrays["texture"][has, 1:3] = model.mat_texrepeat[ids]
        arrays["texture"][has, 3] = model.mat_texuniform[ids]

    def _fade_planes(self, arrays: dict[str, NDArray[Any]], view: View) -> NDArray[np.bool_]:
        """Make planes that are seen from behind transparent, and return which shapes have the camera behind them."""
        position, rotation = arrays["position"].copy(), arrays["rotation"]
        position[:] += np.where(self._table.kinds == _BOX, arrays["size"][:, 2], 0.0)[:, None] * rotation[:, :, 2]
        behind: NDArray[np.bool_] = ((view.eye - position) * rotation[:, :, 2]).sum(-1) < 0
        arrays["rgba"][behind & (self._table.kinds == PLANE), 3] *= 0.3
        return behind

    def _fill_bounds(self, arrays: dict[str, NDArray[Any]], view: View) -> None:
        """Write the boxes around all shapes, parallel to the axes."""
        size, rotation = arrays["size"], arrays["rotation"]
        halves = _local_halves(self._table.kinds, size, 2.2 * view.clip[1])
        centres = arrays["position"]
        if self._of_mesh.any():
            mesh = self._table.meshes[self._of_mesh]
            halves[self._of_mesh] = self._surfaces.halves[mesh]
            centres = centres.copy()
            offsets = np.einsum("nij,nj->ni", rotation[self._of_mesh], self._surfaces.centres[mesh])
            centres[self._of_mesh] += offsets
        reach = np.einsum("nij,nj->ni", np.abs(rotation), halves) + 1e-4
        arrays["lower"][:], arrays["upper"][:] = centres - reach, centres + reach

    def _fill_lights(
        self, arrays: dict[str, NDArray[Any]], model: mujoco.MjModel, data: mujoco.MjData, view: View
    ) -> None:
        """Write the headlight and the lights of the model; unused and unsupported ones are off."""
        head = model.vis.headlight
        kinds = np.where(model.light_active.astype(bool) & (model.light_type <= 1), model.light_type, -1)
        arrays["light_kind"][:] = [1 if head.active else -1, *kinds]
        arrays["light_position"][:] = [view.eye, *data.light_xpos]
        arrays["light_direction"][:] = [view.forward, *data.light_xdir]
        for name in ("ambient", "diffuse", "specular"):
            arrays[f"light_{name}"][:] = [getattr(head, name), *getattr(model, f"light_{name}")]
        arrays["light_attenuation"][1:] = model.light_attenuation
        cutoff = np.radians(model.light_cutoff)
        spread = np.minimum(np.radians(2 * model.light_cutoff * model.vis.map.shadowscale), np.radians(160)) / 2
        cone = arrays["light_cone"][1:]
        wide = model.light_cutoff > 90  # OpenGL knows no such cone and shines in all directions
        cone[:, 0] = np.where(wide, -2.0, np.cos(cutoff))
        cone[:, 1] = np.where(wide, 0.0, model.light_exponent)
        cone[:, 2] = model.light_castshadow
        extent = model.vis.map.shadowclip * model.stat.extent
        cone[:, 3] = np.where(model.light_type == 1, extent, np.tan(spread))

    def _surroundings(self, arrays: dict[str, NDArray[Any]], behind: NDArray[np.bool_]) -> dict[str, int]:
        """List the transparent shapes, and return their number, the mirror and the infinite floor (-1 without)."""
        kinds, opacity = self._table.kinds, arrays["rgba"][:, 3]
        flat = (kinds == PLANE) | (kinds == _BOX)
        mirrors = np.flatnonzero(flat & (opacity >= OPAQUE) & (arrays["material"][:, 3] > 0))
        mirror = int(mirrors[0]) if len(mirrors) and not behind[mirrors[0]] else -1
        floors = np.flatnonzero((kinds == PLANE) & (arrays["size"][:, :2] == 0).all(-1) & (opacity > 0))
        clear = np.flatnonzero((opacity > 0) & (opacity < OPAQUE))
        arrays["clear"][: len(clear)] = clear
        return {"mirror": mirror, "floor": int(floors[0]) if len(floors) else -1, "num_clear": len(clear)}


def _local_halves(kinds: NDArray[np.int32], size: NDArray[np.float32], far: float) -> NDArray[np.float32]:
    """Return half the sides of the boxes around shapes in their own frames, ``(n, 3)``."""
    geom = mujoco.mjtGeom
    halves = size.copy()
    round_ = np.isin(kinds, (int(geom.mjGEOM_SPHERE), int(geom.mjGEOM_CAPSULE), int(geom.mjGEOM_CYLINDER)))
    length = np.where(kinds == int(geom.mjGEOM_SPHERE), 0.0, size[:, 1])
    length = np.where(kinds == int(geom.mjGEOM_CYLINDER), length, length + size[:, 0])
    halves[round_, 1] = size[round_, 0]
    halves[round_, 2] = length[round_]
    plane = kinds == PLANE
    halves[plane] = np.where(size[plane] > 0, size[plane], far)
    halves[plane, 2] = 1e-3
    return halves
