"""Functions that build the scenes of worlds: cameras, bodies, shapes, quaternions and colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..simulation.dependencies import import_mujoco
from ..simulation.state_layout import Float

if TYPE_CHECKING:
    import mujoco


def make_scene(distance: float, fovy: float, *, shaded: bool, tilt: float = 0.0, aim: float = 0.0) -> mujoco.MjSpec:
    """Return an empty scene with a camera ``eye`` that looks at the origin, with the x axis to its right.

    Args:
        distance: distance of the camera in metres.
        fovy: vertical field of view in degrees.
        shaded: whether light comes from a side, so that brightness depends on the slope of a surface.
        tilt: angle of the camera in radians; 0 looks straight down, a quarter turn looks along y.
        aim: height in metres of the point that the camera looks at.
    """
    mj = import_mujoco()
    spec = mj.MjSpec()
    spec.visual.headlight.ambient = np.full(3, 0.35 if shaded else 1.0)
    spec.visual.headlight.diffuse = np.full(3, 0.25 if shaded else 0.0)
    spec.visual.headlight.specular = np.zeros(3)
    at = [0, -distance * np.sin(tilt), aim + distance * np.cos(tilt)]
    spec.worldbody.add_camera(name="eye", pos=at, quat=[np.cos(tilt / 2), np.sin(tilt / 2), 0, 0], fovy=fovy)
    if shaded:
        light = spec.worldbody.add_light(pos=[-2, 3, 4], dir=[0.4, -0.6, -1], diffuse=[0.6, 0.6, 0.6])
        light.type, light.castshadow = mj.mjtLightType.mjLIGHT_DIRECTIONAL, False
    return spec


def add_mocap_body(spec: mujoco.MjSpec, name: str) -> Any:
    """Add a body without geoms, which `OrbitWorld.set_body_pose` moves, and return it."""
    return spec.worldbody.add_body(name=name, mocap=True)


def box(body: Any, size: Any, pos: Any = (0, 0, 0), colour: Any = (1, 1, 1), turn: float = 0.0) -> None:
    """Add a box with half sizes in metres, rotated about the vertical by ``turn`` radians."""
    quat = [np.cos(turn / 2), 0, 0, np.sin(turn / 2)]
    body.add_geom(type=import_mujoco().mjtGeom.mjGEOM_BOX, size=size, pos=pos, quat=quat, rgba=[*colour, 1])


def cylinder(body: Any, radius: float, half: float, pos: Any = (0, 0, 0), colour: Any = (1, 1, 1)) -> None:
    """Add an upright cylinder with a radius and half its height in metres."""
    geom_type = import_mujoco().mjtGeom.mjGEOM_CYLINDER
    body.add_geom(type=geom_type, size=[radius, half, 0], pos=pos, rgba=[*colour, 1])


def hull(spec: mujoco.MjSpec, body: Any, points: Any, colour: Any = (1, 1, 1)) -> None:
    """Add the convex hull of points ``(n, 3)``, in metres, with flat faces."""
    from scipy.spatial import ConvexHull

    points = np.asarray(points, float)
    surface = ConvexHull(points)
    corners, normals = points[surface.simplices], surface.equations[:, :3]
    inwards = np.linalg.det(corners - points.mean(0)) < 0
    corners[inwards] = corners[inwards, ::-1]
    mesh = spec.add_mesh(
        name=f"hull{len(spec.meshes)}",
        uservert=corners.ravel(),
        userface=np.arange(corners.size // 3),
        usernormal=np.repeat(normals, 3, 0).ravel(),  # without normals, shading is smooth across shallow edges
    )
    body.add_geom(type=import_mujoco().mjtGeom.mjGEOM_MESH, meshname=mesh.name, rgba=[*colour, 1])


def quaternion_of(matrices: Float) -> Float:
    """Return quaternions ``(n, 4)``, real part first, of rotation matrices ``(n, 9)``."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_quat(scalar_first=True))


def about_vertical(rotations: Float) -> Float:
    """Return quaternions ``(n, 4)`` of rotations about the vertical, given as cosine and sine ``(n, 2)``."""
    half = np.arctan2(rotations[:, 1], rotations[:, 0]) / 2
    return np.stack([np.cos(half), 0 * half, 0 * half, np.sin(half)], 1)


def hue(rotations: Float) -> Float:
    """Return colours ``(n, 3)`` whose hue is an angle, given as cosine and sine ``(n, 2)``."""
    angle = np.arctan2(rotations[:, 1], rotations[:, 0])[:, None] - 2 * np.pi / 3 * np.arange(3)
    return np.asarray(0.5 + 0.45 * np.cos(angle))
