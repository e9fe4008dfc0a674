"""Viewpoints on an environment: one of its model's cameras, or a free camera around a point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..simulation.dependencies import import_mujoco

if TYPE_CHECKING:
    import mujoco


@dataclass(frozen=True)
class Viewpoint:
    """A camera of a MuJoCo model, or a free camera.

    Args:
        camera: name or number of a camera of the model; a free camera if None.
        lookat: point at which a free camera looks, in metres; the model's centre if None.
        distance: distance of a free camera from there, in metres; 1.5 times the model's extent if None.
        azimuth: direction in which a free camera looks, in degrees from the x axis; the model's default if None.
        elevation: angle of this direction above the horizon, in degrees, negative for a look from above; the model's
            default if None.
        track: name or number of the body whose centre of mass a free camera follows; none if None.

    Raises:
        ValueError: a camera and a property of a free camera are both given, or numbers are out of range.
    """

    camera: str | int | None = None
    lookat: Sequence[float] | None = None
    distance: float | None = None
    azimuth: float | None = None
    elevation: float | None = None
    track: str | int | None = None

    def __post_init__(self) -> None:
        free = [
            name for name in ("lookat", "distance", "azimuth", "elevation", "track") if getattr(self, name) is not None
        ]
        if self.camera is not None and free:
            raise ValueError(f"a camera of the model has its own pose: give camera={self.camera!r} or {free}, not both")
        if self.lookat is not None and len(tuple(self.lookat)) != 3:
            raise ValueError(f"lookat must be a point of three coordinates, got {self.lookat!r}")
        if self.distance is not None and not self.distance > 0:
            raise ValueError(f"distance must be more than 0 metres, got {self.distance!r}")

    def camera_of(self, model: mujoco.MjModel) -> mujoco.MjvCamera:
        """Return MuJoCo's camera for a model.

        Raises:
            ValueError: the model has no such camera or body.
        """
        mujoco = import_mujoco()
        camera = mujoco.MjvCamera()
        if self.camera is not None:
            camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
            camera.fixedcamid = _number(model, "camera", self.camera)
            return camera
        mujoco.mjv_defaultFreeCamera(model, camera)
        for name in ("lookat", "distance", "azimuth", "elevation"):
            if getattr(self, name) is not None:
                setattr(camera, name, getattr(self, name))
        if self.track is not None:
            camera.type = mujoco.mjtCamera.mjCAMERA_TRACKING
            camera.trackbodyid = _number(model, "body", self.track)
        return camera


def default_viewpoint(env: Any, model: mujoco.MjModel) -> Viewpoint:
    """Return the viewpoint of an environment whose user chose none.

    That is, if there is one: the camera that was chosen for Gymnasium's renderer; the model's camera ``"track"``; a
    free camera with the environment's ``default_camera_config``; the first camera of the model; a free camera.
    """
    mujoco = import_mujoco()
    renderer = getattr(getattr(env, "unwrapped", env), "mujoco_renderer", None)
    chosen = getattr(renderer, "camera_id", None)
    number = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, "track") if chosen in (None, -1) else chosen
    if number >= 0:
        return Viewpoint(camera=int(number))
    given = getattr(renderer, "default_cam_config", None)
    if not given:
        return Viewpoint(camera=0) if model.ncam else Viewpoint()
    pose: dict[str, Any] = {name: float(given[name]) for name in ("distance", "azimuth", "elevation") if name in given}
    if "lookat" in given:
        return Viewpoint(**pose, lookat=tuple(map(float, given["lookat"])))
    body = int(given.get("trackbodyid", -1))
    return Viewpoint(**pose, track=body if body > 0 else None)


def _number(model: mujoco.MjModel, kind: str, name: str | int) -> int:
    """Return the number of a named camera or body, after checking that it exists."""
    mujoco = import_mujoco()
    count = {"camera": model.ncam, "body": model.nbody}[kind]
    number = name
    if isinstance(name, str):
        number = mujoco.mj_name2id(model, getattr(mujoco.mjtObj, f"mjOBJ_{kind.upper()}"), name)
    if not 0 <= int(number) < count:
        names = [getattr(model, kind)(index).name for index in range(count)]
        if not names:
            raise ValueError(f"the model has no {kind}, so not {name!r}; give lookat, distance, azimuth and elevation")
        raise ValueError(f"the model has no {kind} {name!r}; it has {names} (numbers 0 to {count - 1})")
    return int(number)
