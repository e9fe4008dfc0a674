"""Changes of how a model looks: lights, colours and poses of cameras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import gymnasium as gym
import numpy as np

from ..mujoco_envs.mujoco_scene import MujocoScene
from ..simulation.dependencies import import_mujoco
from .array_writes import ArrayWrites
from .directions import Direction, draw_direction, require_direction
from .errors import PerturbationError
from .mujoco_elements import geoms_of, named
from .mujoco_perturbation import MujocoPerturbation
from .observation_perturbation import is_image
from .receipt import Receipt
from .registry import register_perturbation


@dataclass(frozen=True, kw_only=True)
class AppearanceChange(MujocoPerturbation):
    """A perturbation of the pictures of a model, which is put back exactly when the step after it begins.

    The environment must observe images of the model, for example by `RayTracedPixels` inside of `PerturbedEnv`. The
    receipt is the mean absolute difference of the last image from that of the twin, in grey levels.

    Attributes:
        magnitude: strength.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        idle: see `MujocoPerturbation`.
        policy_acts: see `MujocoPerturbation`.
    """

    writes_last: ClassVar[Literal["step", "window"]] = "window"

    def check(self, env: gym.Env[Any, Any]) -> None:
        """Check that the environment observes images."""
        super().check(env)
        spaces = env.observation_space
        entries = spaces.spaces.values() if isinstance(spaces, gym.spaces.Dict) else [spaces]
        if not any(is_image(space) for space in entries):
            raise PerturbationError(
                f"{self.name}: expected an environment that observes images (uint8, height × width × 3), got {spaces}; "
                "wrap it in RayTracedPixels before PerturbedEnv"
            )

    def measure(self, scene: MujocoScene, observation: Any) -> Any:
        """Return the images of the observation."""
        entries = observation.values() if isinstance(observation, dict) else [observation]
        images = [np.asarray(each) for each in entries]
        return [image.astype(float) for image in images if image.dtype == np.uint8 and image.ndim >= 2]

    def receipt(self, perturbed: Any, twin: Any, scene: MujocoScene, steps: int) -> Receipt:
        """Return the mean absolute difference.

        Raises:
            PerturbationError: the images of the twin have other shapes.
        """
        shapes, others = ([image.shape for image in images] for images in (perturbed, twin))
        if shapes != others:
            raise PerturbationError(
                f"{self.name}: expected images of the same shapes with and without it, got {shapes} and {others}; let "
                "the environment observe images of one shape"
            )
        differences = [np.abs(one - other).ravel() for one, other in zip(perturbed, twin, strict=True)]
        return Receipt("images", float(np.concatenate(differences).mean()), "grey levels", 1e-3, steps)


@register_perturbation("light")
@dataclass(frozen=True, kw_only=True)
class Light(AppearanceChange):
    """Multiply the brightness of a light, or of all lights and the headlight.

    Attributes:
        magnitude: the factor, not 1.
        light: name of the light; None for all.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        idle: see `MujocoPerturbation`.
        policy_acts: see `MujocoPerturbation`.
    """

    unit: ClassVar[str] = "times"
    light: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.magnitude != 1, "magnitude", "a factor other than 1", self.magnitude)

    def check_scene(self, scene: MujocoScene) -> None:
        """Check that there is such a light."""
        super().check_scene(scene)
        self._lights(scene)

    def apply(self, scene: MujocoScene, drawn: Any, writes: ArrayWrites) -> None:
        """Multiply the brightness."""
        model, lights = scene.model, self._lights(scene)
        for array in (model.light_ambient, model.light_diffuse, model.light_specular):
            writes.set(array, lights, array[lights] * self.magnitude)
        if self.light is None:
            head = model.vis.headlight
            for array in (head.ambient, head.diffuse, head.specular):
                writes.set(array, slice(None), array * self.magnitude)

    def _lights(self, scene: MujocoScene) -> Any:
        return slice(None) if self.light is None else [named(scene.model, "light", self.light, self.name)]


@register_perturbation("colour")
@dataclass(frozen=True, kw_only=True)
class Colour(AppearanceChange):
    """Mix the colour of a body's geoms with another one: ``(1 − magnitude) · old + magnitude · colour``.

    A texture remains, and is multiplied by the new colour.

    Attributes:
        body: name of the body.
        magnitude: share of the other colour, at most 1.
        colour: red, green and blue from 0 to 1, or ``"random"`` for one that is drawn in each episode.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        idle: see `MujocoPerturbation`.
        policy_acts: see `MujocoPerturbation`.
    """

    body: str
    colour: str | tuple[float, float, float] = "random"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.magnitude <= 1, "magnitude", "a share of at most 1", self.magnitude)
        valid = self.colour == "random" if isinstance(self.colour, str) else _is_colour(self.colour)
        self.require(valid, "colour", "'random' or three numbers from 0 to 1", self.colour)

    def check_scene(self, scene: MujocoScene) -> None:
        """Check that the body has geoms."""
        super().check_scene(scene)
        if not len(self._geoms(scene)):
            raise PerturbationError(f"{self.name}: body {self.body!r} has no geoms")

    def draw(self, scene: MujocoScene, generator: np.random.Generator) -> Any:
        """Return the other colour."""
        return generator.uniform(size=3) if self.colour == "random" else np.asarray(self.colour)

    def apply(self, scene: MujocoScene, drawn: Any, writes: ArrayWrites) -> None:
        """Mix the colours."""
        model = scene.model
        for geom in self._geoms(scene):
            old = shown_colour(model, int(geom))
            mixed = (1 - self.magnitude) * old[:3] + self.magnitude * drawn
            writes.set(model.geom_rgba, int(geom), [*mixed, old[3]])

    def _geoms(self, scene: MujocoScene) -> Any:
        return geoms_of(scene.model, named(scene.model, "body", self.body, self.name))


@dataclass(frozen=True, kw_only=True)
class _CameraChange(AppearanceChange):
    """A perturbation of a camera, or of all, along or about a direction."""

    camera: str | None = None
    direction: Direction = "xyz"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_direction(self.direction, f"{self.name}: direction")

    def check_scene(self, scene: MujocoScene) -> None:
        super().check_scene(scene)
        if not len(self._cameras(scene)):
            raise PerturbationError(f"{self.name}: the model has no camera; add one, or use light or colour")

    def draw(self, scene: MujocoScene, generator: np.random.Generator) -> Any:
        return draw_direction(self.direction, generator)

    def _cameras(self, scene: MujocoScene) -> Any:
        every = range(scene.model.ncam)
        return list(every) if self.camera is None else [named(scene.model, "camera", self.camera, self.name)]


@register_perturbation("camera-shift")
@dataclass(frozen=True, kw_only=True)
class CameraShift(_CameraChange):
    """Move a camera of the model, or all of them, without turning it.

    Attributes:
        magnitude: metres.
        camera: name of the camera; None for all.
        direction: direction in the frame of the body that the camera is fixed to; see `Direction`.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        idle: see `MujocoPerturbation`.
        policy_acts: see `MujocoPerturbation`.
    """

    unit: ClassVar[str] = "m"

    def apply(self, scene: MujocoScene, drawn: Any, writes: ArrayWrites) -> None:
        """Move the cameras."""
        model, cameras = scene.model, self._cameras(scene)
        for array in (model.cam_pos, model.cam_pos0, model.cam_poscom0):  # the last two: cameras that follow a body
            writes.set(array, cameras, array[cameras] + self.magnitude * drawn)


@register_perturbation("camera-turn")
@dataclass(frozen=True, kw_only=True)
class CameraTurn(_CameraChange):
    """Turn a camera of the model, or all of them, where it is.

    Attributes:
        magnitude: angle in radians.
        camera: name of the camera; None for all.
        direction: axis in the frame of the camera: ``"z"`` rolls, ``"x"`` tilts and ``"y"`` pans it; see `Direction`.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        idle: see `MujocoPerturbation`.
        policy_acts: see `MujocoPerturbation`.
    """

    unit: ClassVar[str] = "rad"

    def apply(self, scene: MujocoScene, drawn: Any, writes: ArrayWrites) -> None:
        """Turn the cameras."""
        mujoco, model = import_mujoco(), scene.model
        turn, matrix, turned = np.zeros(4), np.zeros(9), np.zeros(4)
        mujoco.mju_axisAngle2Quat(turn, drawn, self.magnitude)
        mujoco.mju_quat2Mat(matrix, turn)
        for camera in self._cameras(scene):
            mujoco.mju_mulQuat(turned, model.cam_quat[camera], turn)
            writes.set(model.cam_quat, camera, turned)
            following = model.cam_mat0[camera].reshape(3, 3) @ matrix.reshape(3, 3)
            writes.set(model.cam_mat0, camera, following.ravel())


def shown_colour(model: Any, geom: int) -> Any:
    """Return the colour in which a geom is drawn, ``(4,)``: its own, or its material's if it is MuJoCo's default."""
    own = np.asarray(model.geom_rgba[geom])
    material = int(model.geom_matid[geom])
    is_default = bool((own == np.array([0.5, 0.5, 0.5, 1.0], np.float32)).all())
    return (np.asarray(model.mat_rgba[material]) if material >= 0 and is_default else own).copy()


def _is_colour(colour: Any) -> bool:
    values = np.asarray(colour, float)
    return bool(values.shape == (3,) and ((values >= 0) & (values <= 1)).all())
