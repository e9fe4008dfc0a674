"""Write rollouts as a video, with the encoder's estimates drawn on the frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from ...envs.batched_envs.world_episodes import WorldEpisodes
from ...envs.data.rollout import rollout
from .film_files import save_film

if TYPE_CHECKING:
    from ...envs.data.policy import PolicyLike
    from ...envs.simulation.state_layout import Pixels
    from ...envs.worlds.task_world import TaskWorld
    from ...representations.encoders.agent_object import AgentObjectEncoder


@dataclass(frozen=True)
class VideoConfig:
    """Look of a video.

    Attributes:
        side: height and width in pixels.
        fps: frames per second.
        mark_height: metres above the ground at which estimates are drawn; about the middle of agent and object.
        agent_color: RGB of the circle at the agent's estimated position.
        object_color: RGB of the circle at the object's.
    """

    side: int = 384
    fps: int = 5
    mark_height: float = 0.12
    agent_color: tuple[int, int, int] = (150, 210, 255)
    object_color: tuple[int, int, int] = (255, 235, 120)


def write_video(
    path: Path,
    world_cls: type[TaskWorld],
    encoder: AgentObjectEncoder,
    policy: PolicyLike,
    *,
    seed: int,
    episodes: int = 6,
    config: VideoConfig = VideoConfig(),
) -> None:
    """Write a video of a policy that acts on latents; circles mark the encoder's estimates of agent and object.

    The encoder sees small frames; the video is drawn large by the same camera. An encoder's latents are positions up to
    one translation, which is estimated on the frames of the video by the mean difference to the true positions.

    Args:
        path: the MP4 file to write. A strip of four of its first frames is written beside it as a PNG.
        world_cls: the world.
        encoder: its latents are drawn, and are what the policy sees.
        policy: acts on the latents, one after another in a row.
        seed: of the first episode; the following ones count up.
        episodes: number of episodes.
        config: look of the video.
    """
    camera = _Camera(world_cls, encoder, config)
    for episode in range(episodes):
        for _ in rollout(WorldEpisodes(camera.world, camera.observe), policy, seed=seed + episode):
            pass
    frames = camera.frames()
    save_film(path, frames, np.concatenate(frames[:8:2], 1), config.fps)


class _Camera:
    """Encodes every observation of one world, and draws it large."""

    def __init__(self, world_cls: type[TaskWorld], encoder: AgentObjectEncoder, config: VideoConfig) -> None:
        self.world = world_cls(1, device="cpu")
        self._large = world_cls(1, device="cpu", resolution=(config.side, config.side))
        self._encoder, self._config = encoder, config
        self._shots: list[Pixels] = []
        self._latents: list[NDArray[Any]] = []
        self._positions: list[NDArray[Any]] = []

    def observe(self, world: TaskWorld, worlds: Any = None) -> NDArray[Any]:
        """Return the latents in one row, and store them with a large frame and the true positions."""
        latent = self._encoder.encode(world.render())
        self._large.simulator.restore(world.simulator.save())
        self._shots.append(self._large.render()[0])
        self._latents.append(np.concatenate([latent["agent"], latent["object"]]))
        self._positions.append(np.concatenate([world.agent_pose(), world.object_pose()]))
        return np.concatenate([each.reshape(1, -1) for each in latent.values()], 1)

    def frames(self) -> list[Pixels]:
        """Return the large frames with the estimates drawn on them."""
        estimates = np.stack(self._latents)
        estimates -= (estimates - np.stack(self._positions)).mean((0, 1))
        shots = zip(self._shots, estimates, strict=True)
        return [_mark(shot, self._large, estimate, self._config) for shot, estimate in shots]


def _mark(frame: Pixels, world: TaskWorld, positions: NDArray[Any], config: VideoConfig) -> Pixels:
    marked = np.ascontiguousarray(frame)
    for position, color in zip(positions, (config.agent_color, config.object_color), strict=True):
        point = np.append(position[:2], config.mark_height)
        column, row = project(world.simulator.model, world.camera, point, frame.shape[0])
        cv2.circle(marked, (round(column), round(row)), 9, color, 2, cv2.LINE_AA)
        cv2.circle(marked, (round(column), round(row)), 2, color, -1, cv2.LINE_AA)
    return marked


def project(model: mujoco.MjModel, camera: str, point: NDArray[Any], height: int) -> tuple[float, float]:
    """Return column and row of the pixel at which a fixed camera sees a point.

    Args:
        model: the compiled scene.
        camera: name of the camera.
        point: ``(3,)`` in metres.
        height: height and width of the image in pixels.
    """
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    view = data.camera(camera)
    x, y, z = view.xmat.reshape(3, 3).T @ (point - view.xpos)
    focal = 0.5 * height / np.tan(np.radians(model.camera(camera).fovy[0]) / 2)
    return float(0.5 * height - focal * x / z), float(0.5 * height + focal * y / z)
