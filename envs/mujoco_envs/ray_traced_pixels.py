"""Wrappers whose observations are ray-traced pictures: pixels without OpenGL for any MuJoCo environment."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space

from ..env_factory import as_gymnasium
from ..simulation.state_layout import Pixels
from .cameras import Viewpoint, default_viewpoint
from .mujoco_scene import MujocoScene, NoMujocoError
from .scene_painter import ScenePainter


class RayTracedPixels(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Make the observation a picture, drawn by a ray tracer on the CPU.

    It shows what MuJoCo's own renderer shows, without OpenGL, a display or a GPU. `render` returns the current picture,
    so that the wrapper also serves films. Put it outside of `RestorableEnv`.

    Without a camera and without a pose of a free camera, the camera is the one of Gymnasium's renderer where the
    environment has one (its ``default_camera_config`` included), else the first of the model, else a free camera.

    Args:
        env: an environment that simulates with MuJoCo: of Gymnasium, Gymnasium-Robotics, OGBench or dm_control, for
            example.
        camera: name or number of a camera of the model.
        lookat: point at which a free camera looks, in metres; the model's centre if None.
        distance: distance of a free camera from this point, in metres; 1.5 times the model's extent if None.
        azimuth: direction in which a free camera looks, in degrees from the x axis.
        elevation: angle of this direction above the horizon, in degrees; negative for a look from above.
        track: name or number of the body that a free camera follows; none if None.
        resolution: height and width of a picture in pixels.
        samples: rays along each side of a pixel, whose mean is the pixel. With one, edges are jagged; with two, a
            picture takes four times as long.
        keep_observation: make the observation a dictionary of the picture as ``"image"`` and of the environment's own
            observation: its entries if it is a dictionary, else ``"state"``.

    Raises:
        MissingSimulatorError: MuJoCo Warp or Warp is not installed.
        NoMujocoError: the environment does not simulate with MuJoCo.
        ValueError: an argument is out of range, the model has no such camera, or the environment's observation has an
            entry ``"image"`` of its own.

    Example:
        >>> env = RayTracedPixels(gym.make("Pusher-v5"), resolution=(32, 48))
        >>> image, info = env.reset(seed=0)
        >>> image.shape, image.dtype.name
        ((32, 48, 3), 'uint8')
        >>> env.close()
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        camera: str | int | None = None,
        *,
        lookat: Sequence[float] | None = None,
        distance: float | None = None,
        azimuth: float | None = None,
        elevation: float | None = None,
        track: str | int | None = None,
        resolution: tuple[int, int] = (64, 64),
        samples: int = 1,
        keep_observation: bool = False,
    ) -> None:
        pose: dict[str, Any] = {
            "camera": camera,
            "lookat": lookat,
            "distance": distance,
            "azimuth": azimuth,
            "elevation": elevation,
            "track": track,
        }
        gym.utils.RecordConstructorArgs.__init__(
            self, **pose, resolution=resolution, samples=samples, keep_observation=keep_observation
        )
        super().__init__(as_gymnasium(env))
        self.metadata = {**self.env.metadata, "render_modes": ["rgb_array"]}
        self._viewpoint = Viewpoint(**pose) if any(value is not None for value in pose.values()) else None
        self._drawing = (resolution, samples)
        self._keep = keep_observation
        self._painter = ScenePainter(Viewpoint(), *self._drawing)
        self._scene: MujocoScene | None = None
        if not _compiles_later(self.env):
            self._find_scene()
        image = image_space(self._painter.resolution)
        self.observation_space = with_image(image, self.env.observation_space) if keep_observation else image

    @property
    def render_mode(self) -> str:  # type: ignore[override]
        """Return Gymnasium's name for pictures as arrays."""
        return "rgb_array"

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode and return its first picture and info."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._observed(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Perform an action and return the picture after it; see the environment."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._observed(observation), reward, terminated, truncated, info

    def render(self) -> Pixels:
        """Return a picture of the environment as it is now, ``(height, width, 3)`` uint8."""
        picture: Pixels = self._painter.draw([self._find_scene()])[0]
        return picture

    def close(self) -> None:
        """Free the ray tracer and close the environment."""
        self._painter.close()
        super().close()

    def _find_scene(self) -> MujocoScene:
        """Return the scene; the first time, find it and check the camera."""
        if self._scene is None:
            scene = MujocoScene(self.env)
            viewpoint = self._viewpoint or default_viewpoint(self.env, scene.model)
            viewpoint.camera_of(scene.model)
            self._painter = ScenePainter(viewpoint, *self._drawing)
            self._scene = scene
        return self._scene

    def _observed(self, observation: Any) -> Any:
        picture = self.render()
        return joined(picture, observation) if self._keep else picture


class VectorRayTracedPixels(gym.vector.VectorWrapper):
    """Make the observations of a vector environment pictures, all drawn by one ray tracer.

    Final observations of episodes are pictures too, with each of Gymnasium's modes of autoreset.

    Args:
        env: a ``gymnasium.vector.SyncVectorEnv``. Its environments must not be drawn in other processes: wrap each
            environment of an ``AsyncVectorEnv`` in `RayTracedPixels` instead.
        camera: see `RayTracedPixels`, also for the other arguments. Without any pose, it is the first environment's.
        lookat: point at which a free camera looks.
        distance: distance of a free camera from it.
        azimuth: direction in which a free camera looks, in degrees.
        elevation: angle of this direction above the horizon, in degrees.
        track: name or number of the body that a free camera follows.
        resolution: height and width of a picture in pixels.
        samples: rays along each side of a pixel.
        keep_observation: make the observation a dictionary of pictures and of the environment's own observation.

    Raises:
        TypeError: ``env`` is no ``SyncVectorEnv``.
        NoMujocoError: an environment does not simulate with MuJoCo.
        ValueError: see `RayTracedPixels`.

    Example:
        >>> env = VectorRayTracedPixels(gym.make_vec("Pusher-v5", num_envs=2), resolution=(16, 16))
        >>> images, infos = env.reset(seed=0)
        >>> images.shape
        (2, 16, 16, 3)
        >>> env.close()
    """

    def __init__(
        self,
        env: gym.vector.VectorEnv[Any, Any, Any],
        camera: str | int | None = None,
        *,
        lookat: Sequence[float] | None = None,
        distance: float | None = None,
        azimuth: float | None = None,
        elevation: float | None = None,
        track: str | int | None = None,
        resolution: tuple[int, int] = (64, 64),
        samples: int = 1,
        keep_observation: bool = False,
    ) -> None:
        base = getattr(env, "unwrapped", env)
        if not isinstance(base, gym.vector.SyncVectorEnv):
            raise TypeError(
                f"env must be a gymnasium.vector.SyncVectorEnv, got {type(base).__name__}; wrap each single "
                "environment in RayTracedPixels instead, before it is vectorised"
            )
        super().__init__(env)
        pose = (camera, lookat, distance, azimuth, elevation, track)
        self._viewpoint = Viewpoint(*pose) if any(value is not None for value in pose) else None
        self._drawing = (resolution, samples)
        self._keep = keep_observation
        self._painter = ScenePainter(Viewpoint(), resolution, samples, env.num_envs)
        self._last_pictures = [_PictureBeforeReset(one, self._draw_one) for one in base.envs]
        base.envs = list(self._last_pictures)
        self._scenes: list[MujocoScene] = []
        if not any(map(_compiles_later, base.envs)):
            self._find_scenes()
        image = image_space(self._painter.resolution)
        own = env.single_observation_space
        self.single_observation_space = with_image(image, own) if keep_observation else image
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start episodes and return their first pictures and infos."""
        observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        return self._observed(observations), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Perform actions and return the pictures after them; ``infos["final_obs"]`` holds pictures too."""
        for one in self._last_pictures:
            one.picture = None
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        if "final_obs" in infos:
            infos = {**infos, "final_obs": self._final(infos["final_obs"])}
        return self._observed(observations), rewards, terminated, truncated, infos

    def render(self) -> tuple[Pixels, ...]:
        """Return a picture of each environment as it is now, ``(height, width, 3)`` uint8."""
        return tuple(self._painter.draw(self._find_scenes()))

    def close(self, **kwargs: Any) -> None:
        """Free the ray tracer and close the environments."""
        self._painter.close()
        super().close(**kwargs)

    def _find_scenes(self) -> list[MujocoScene]:
        if not self._scenes:
            scenes = [MujocoScene(one) for one in self._last_pictures]
            viewpoint = self._viewpoint or default_viewpoint(self._last_pictures[0], scenes[0].model)
            for scene in scenes:
                viewpoint.camera_of(scene.model)
            self._painter = ScenePainter(viewpoint, *self._drawing, len(scenes))
            self._scenes = scenes
        return self._scenes

    def _draw_one(self, env: gym.Env[Any, Any]) -> Pixels:
        self._find_scenes()
        picture: Pixels = self._painter.draw([MujocoScene(env)])[0]
        return picture

    def _observed(self, observations: Any) -> Any:
        pictures = self._painter.draw(self._find_scenes())
        return joined(pictures, observations) if self._keep else pictures

    def _final(self, observations: Any) -> Any:
        """Return final observations with the pictures that were drawn before the resets."""
        final = observations.copy()
        for index, one in enumerate(self._last_pictures):
            if one.picture is not None and observations[index] is not None:
                final[index] = joined(one.picture, observations[index]) if self._keep else one.picture
        return final


class _PictureBeforeReset(gym.Wrapper[Any, Any, Any, Any]):
    """Draw the last picture of an episode just before the environment is reset."""

    def __init__(self, env: gym.Env[Any, Any], draw: Any) -> None:
        super().__init__(env)
        self._draw = draw
        self._ended = False
        self.picture: Pixels | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if self._ended:
            self.picture = self._draw(self.env)
        self._ended = False
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._ended = bool(terminated or truncated)
        return observation, reward, terminated, truncated, info


def image_space(resolution: tuple[int, int]) -> gym.spaces.Box:
    """Return the space of pictures of a height and a width."""
    return gym.spaces.Box(0, 255, (*resolution, 3), np.uint8)


def with_image(image: gym.spaces.Box, own: gym.Space[Any]) -> gym.spaces.Dict:
    """Return the space of dictionaries of a picture and of an environment's own observation.

    Raises:
        ValueError: the environment's observation has an entry ``"image"``.
    """
    entries: dict[str, gym.Space[Any]] = dict(own.spaces) if isinstance(own, gym.spaces.Dict) else {"state": own}
    if "image" in entries:
        raise ValueError(
            f"the environment's observation has an entry 'image' of its own, beside {sorted(entries)}: use "
            "keep_observation=False, or rename it by gymnasium.wrappers.TransformObservation"
        )
    return gym.spaces.Dict({"image": image, **entries})


def joined(picture: Pixels, observation: Any) -> dict[str, Any]:
    """Return a dictionary of a picture and of an environment's own observation."""
    return {"image": picture, **(observation if isinstance(observation, dict) else {"state": observation})}


def _compiles_later(env: Any) -> bool:
    """Return whether an environment has a place for a model that is empty until its first reset.

    Raises:
        NoMujocoError: it has no such place.
    """
    try:
        MujocoScene(env)
    except NoMujocoError:
        owner = getattr(env, "unwrapped", env)
        if all(inspect.getattr_static(owner, name, None) is None for name in ("_model", "model", "physics", "sim")):
            raise
        return True
    return False
