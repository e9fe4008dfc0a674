"""What a compiled MuJoCo model fixes for a ray tracer: its shapes, meshes, height fields and textures."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
import warp
from numpy.typing import NDArray

from .texture_lookup import MAX_LEVELS, Textures

Integers = NDArray[np.int32]
Floats = NDArray[np.float32]
PLANE, HFIELD, MESH, SDF = (
    int(getattr(mujoco.mjtGeom, f"mjGEOM_{name}")) for name in ("PLANE", "HFIELD", "MESH", "SDF")
)
VISIBLE_GROUPS = (0, 1, 2)
"""Groups of geoms and sites that MuJoCo's renderers show by default."""
_FIXED_FIELDS = (
    *("geom_type", "geom_dataid", "geom_group", "site_type", "site_group", "mesh_vert", "mesh_face", "mesh_normal"),
    *("mesh_facenormal", "mesh_texcoord", "mesh_facetexcoord", "hfield_size", "hfield_data", "tex_type", "tex_data"),
    *("tex_width", "tex_height", "tex_nchannel", "tex_adr"),
)
"""Fields that are read once; all others are read for every frame."""


def model_fingerprint(model: mujoco.MjModel) -> str:
    """Return a hash of all that a tracer reads once: models with one hash are drawn by one tracer."""
    digest = hashlib.blake2b(digest_size=16)
    for name in _FIXED_FIELDS:
        values = np.ascontiguousarray(getattr(model, name))
        digest.update(f"{name}{values.shape}{values.dtype}".encode())
        digest.update(values.data)
    digest.update(str((model.nlight, model.ntendon)).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class ShapeTable:
    """Visible geoms and sites of a model, in the order in which MuJoCo draws them.

    Attributes:
        geoms: ids of the geoms.
        sites: ids of the sites.
        kinds: types; `MESH` for height fields and signed distance fields too.
        meshes: index of each shape's surface in `Surfaces`, -1 for none.
    """

    geoms: NDArray[np.intp]
    sites: NDArray[np.intp]
    kinds: Integers
    meshes: Integers

    @classmethod
    def of(cls, model: mujoco.MjModel) -> ShapeTable:
        """Return the shapes of a model."""
        usable = ~np.isin(model.geom_type, (MESH, SDF, HFIELD)) | (model.geom_dataid >= 0)
        geoms = np.flatnonzero(np.isin(model.geom_group, VISIBLE_GROUPS) & usable)
        sites = np.flatnonzero(np.isin(model.site_group, VISIBLE_GROUPS))
        types = model.geom_type[geoms]
        meshes = np.full(len(geoms), -1)
        meshes[np.isin(types, (MESH, SDF))] = model.geom_dataid[geoms][np.isin(types, (MESH, SDF))]
        meshes[types == HFIELD] = model.nmesh + model.geom_dataid[geoms][types == HFIELD]
        kinds = np.where(meshes >= 0, MESH, types)
        return cls(
            geoms,
            sites,
            np.concatenate([kinds, model.site_type[sites]]).astype(np.int32),
            np.concatenate([meshes, np.full(len(sites), -1)]).astype(np.int32),
        )


class Surfaces:
    """Meshes and height fields of a model, on the CPU.

    Attributes:
        ids: Warp's number of each surface.
        first_corners: first of its corners in `normals`.
        textured: whether its corners have texture coordinates.
        centres: middle of the box around it, ``(n, 3)``.
        halves: half the sides of this box, ``(n, 3)``.
        normals: at the corners of all faces, ``(corners, 3)``.
        coordinates: of textures, at the same corners, ``(corners, 2)``.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        parts = [_mesh(model, index) for index in range(model.nmesh)]
        parts += [_height_field(model, index) for index in range(model.nhfield)]
        self._kept = [
            warp.Mesh(
                points=warp.array(vertices, dtype=warp.vec3, device="cpu"),
                indices=warp.array(faces.reshape(-1), dtype=warp.int32, device="cpu"),
                bvh_constructor="sah",
            )
            for vertices, faces, _, _ in parts
        ]
        self.ids = np.array([mesh.id for mesh in self._kept] or [0], np.uint64)
        corners = np.cumsum([0] + [len(normals) for _, _, normals, _ in parts])
        self.first_corners = corners[:-1].astype(np.int32) if parts else np.zeros(1, np.int32)
        self.textured = np.array([uv is not None for *_, uv in parts] or [False], np.int32)
        lows = np.array([vertices.min(0) for vertices, *_ in parts] or [[0, 0, 0]])
        highs = np.array([vertices.max(0) for vertices, *_ in parts] or [[0, 0, 0]])
        self.centres, self.halves = (lows + highs) / 2, (highs - lows) / 2
        self.normals = np.concatenate([part[2] for part in parts] or [np.zeros((1, 3))]).astype(np.float32)
        coordinates = [np.zeros((len(normals), 2)) if uv is None else uv for _, _, normals, uv in parts]
        self.coordinates = np.concatenate(coordinates or [np.zeros((1, 2))]).astype(np.float32)


def _mesh(model: mujoco.MjModel, index: int) -> tuple[Any, Any, Any, Any]:
    """Return vertices, faces, corner normals and corner texture coordinates (or None) of a mesh."""
    first, count = model.mesh_faceadr[index], model.mesh_facenum[index]
    start = model.mesh_vertadr[index]
    vertices = model.mesh_vert[start : start + model.mesh_vertnum[index]]
    faces = model.mesh_face[first : first + count]
    normals = model.mesh_normal[model.mesh_normaladr[index] :][model.mesh_facenormal[first : first + count]]
    flat = _face_normals(vertices, faces)
    close = (normals * flat).sum(-1, keepdims=True) >= 0.8  # MuJoCo's own rule: others are taken from the face
    normals = np.where(close, normals, flat).reshape(-1, 3)
    if model.mesh_texcoordadr[index] < 0:
        return vertices, faces, normals, None
    uv = model.mesh_texcoord[model.mesh_texcoordadr[index] :][model.mesh_facetexcoord[first : first + count]]
    return vertices, faces, normals, uv.reshape(-1, 2)


def _height_field(model: mujoco.MjModel, index: int) -> tuple[Any, Any, Any, Any]:
    """Return the upper side and the sides of a height field, with flat faces."""
    rows, columns = model.hfield_nrow[index], model.hfield_ncol[index]
    x_radius, y_radius, height, base = model.hfield_size[index]
    start = model.hfield_adr[index]
    heights = model.hfield_data[start : start + rows * columns].reshape(rows, columns)
    y, x = np.meshgrid(np.linspace(-y_radius, y_radius, rows), np.linspace(-x_radius, x_radius, columns), indexing="ij")
    vertices = np.stack([x, y, heights * height], -1).reshape(-1, 3)
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1)
    lower = np.stack([corner, corner + 1, corner + columns + 1], -1)
    upper = np.stack([corner, corner + columns + 1, corner + columns], -1)
    edge = np.arange(rows * columns).reshape(rows, columns)
    ring = np.concatenate([edge[0, :-1], edge[:-1, -1], edge[-1, :0:-1], edge[:0:-1, 0]])  # counter-clockwise
    below = len(vertices) + np.arange(len(ring))
    after, after_below = np.roll(ring, -1), np.roll(below, -1)
    sides = [np.stack([below, after_below, after], -1), np.stack([below, after, ring], -1)]
    faces = np.concatenate([lower, upper, *sides])
    vertices = np.concatenate([vertices, np.column_stack([vertices[ring, :2], np.full(len(ring), -base)])])
    return vertices, faces, np.broadcast_to(_face_normals(vertices, faces), (len(faces), 3, 3)).reshape(-1, 3), None


def _face_normals(vertices: Any, faces: Any) -> Any:
    """Return unit normals of triangles, ``(faces, 1, 3)``."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    return (normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-20))[:, None]


def texture_pyramids(model: mujoco.MjModel) -> tuple[Textures, int]:
    """Return a model's textures in halved sizes, and the number of its sky (-1 without one)."""
    images, starts = [np.zeros((1, 3), np.uint8)], 1
    levels = np.zeros((max(model.ntex, 1), int(MAX_LEVELS), 3), np.int32)
    cube = np.zeros(max(model.ntex, 1), np.int32)
    for texture in range(model.ntex):
        faces = _texture_faces(model, texture)
        cube[texture] = len(faces) == 6
        for level in range(int(MAX_LEVELS)):
            levels[texture, level] = starts, faces.shape[2], faces.shape[1]
            images.append(faces.reshape(-1, 3))
            starts += len(images[-1])
            if min(faces.shape[1:3]) < 2:
                break
            faces = _halved(faces)
    texels = np.concatenate(images).astype(np.uint32)
    textures = Textures()
    packed = texels[:, 0] << 16 | texels[:, 1] << 8 | texels[:, 2]
    textures.texels = warp.array(packed.astype(np.uint32), dtype=warp.uint32, device="cpu")
    textures.levels = warp.array(levels, dtype=warp.vec3i, device="cpu")
    textures.cube = warp.array(cube, dtype=warp.int32, device="cpu")
    skies = np.flatnonzero(model.tex_type == mujoco.mjtTexture.mjTEXTURE_SKYBOX)
    return textures, int(skies[0]) if len(skies) else -1


def _texture_faces(model: mujoco.MjModel, texture: int) -> Any:
    """Return a texture as one face, or as the six of a cube, ``(faces, height, width, 3)`` uint8."""
    height, width, channels = (int(getattr(model, f"tex_{name}")[texture]) for name in ("height", "width", "nchannel"))
    start = model.tex_adr[texture]
    if start < 0:
        pixels = mujoco.mj_loadTexture(model, texture)[0]
        height, width, channels = pixels.shape
    else:
        pixels = model.tex_data[start : start + height * width * channels].reshape(height, width, channels)
    rgb = pixels[..., :3] if channels >= 3 else np.repeat(pixels[..., :1], 3, -1)
    if model.tex_type[texture] == mujoco.mjtTexture.mjTEXTURE_2D:
        return rgb[None]
    return np.repeat(rgb[None], 6, 0) if height == width else rgb[: 6 * width].reshape(6, width, width, 3)


def _halved(faces: Any) -> Any:
    """Return faces of half the size, rounded down: the mean of what a texel covers."""
    _, height, width, _ = faces.shape
    if height % 2 == 0 and width % 2 == 0:
        sums = sum(faces[:, row::2, column::2].astype(np.uint16) for row in (0, 1) for column in (0, 1))
        return (sums + 2 >> 2).astype(np.uint8)
    rows, columns = _coverage(height), _coverage(width)
    return (np.einsum("rh,fhwc,sw->frsc", rows, faces.astype(np.float32), columns, optimize=True) + 0.5).astype(
        np.uint8
    )


def _coverage(size: int) -> Floats:
    """Return which share of each of half as many texels comes from each texel, ``(size // 2, size)``."""
    edges = np.linspace(0, size, size // 2 + 1)
    left, right = edges[:-1, None], edges[1:, None]
    texels = np.arange(size)
    overlap = np.clip(np.minimum(right, texels + 1) - np.maximum(left, texels), 0, None)
    shares: Floats = (overlap / overlap.sum(1, keepdims=True)).astype(np.float32)
    return shares
