"""Rollouts as a video, with the encoder's estimates drawn on the frames."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import imageio.v3 as imageio
import mujoco
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from agents.evaluation import Act
    from envs.simulator import Pixels
    from envs.task import TaskWorld
    from representations.agent_object import AgentObjectEncoder

PIXELS = 384
HEIGHT = 0.12
"""Height in metres above the ground at which estimates are drawn: about the middle of agent and object."""
COLOURS = {"agent": (150, 210, 255), "object": (255, 235, 120)}


def write_video(
    path: Path, world: type[TaskWorld], encoder: AgentObjectEncoder, act: Act, *, seed: int, episodes: int = 6
) -> None:
    """Film a policy that sees through the encoder; circles mark where the encoder has agent and object.

    What is filmed is drawn large by the same camera that draws the small frames that the encoder sees. The latents are
    moved by the one translation that they leave free, which is measured on the frames of the film.

    Args:
        path: the MP4 to write; a strip of four of its first frames goes beside it as a PNG.
        world: what to film.
        encoder: its estimates are drawn and fed to the policy.
        act: the policy.
        seed: of the first episode.
        episodes: how many.
    """
    small, large = world(1, device="cpu"), world(1, device="cpu", resolution=(PIXELS, PIXELS))
    shots: list[Pixels] = []
    latents: list[dict[str, NDArray[Any]]] = []
    poses: list[NDArray[Any]] = []
    for episode in range(episodes):
        small.reset(np.arange(1), [np.random.default_rng(seed + episode)])
        over = False
        while True:
            latent = encoder.encode(small.render())
            large.simulator.restore(small.simulator.save())
            shots.append(large.render()[0])
            latents.append(latent)
            poses.append(np.concatenate([small.agent_pose(), small.object_pose()]))
            if over:
                break
            outcome = small.step(act(np.concatenate([each.reshape(1, -1) for each in latent.values()], 1)))
            over = bool(outcome.terminated[0] | outcome.truncated[0])
    estimates = np.stack([np.concatenate([latent["agent"], latent["object"]]) for latent in latents])
    estimates -= (estimates - np.stack(poses)).mean((0, 1))
    frames = [_mark(shot, large, estimate) for shot, estimate in zip(shots, estimates, strict=True)]
    beside = path.with_name(f".{path.name}")
    imageio.imwrite(beside, np.stack(frames), extension=".mp4", fps=5, codec="libx264", macro_block_size=1)
    os.replace(beside, path)
    imageio.imwrite(path.with_suffix(".png"), np.concatenate(frames[:8:2], 1))


def _mark(frame: Pixels, world: TaskWorld, positions: NDArray[Any]) -> Pixels:
    marked = np.ascontiguousarray(frame)
    for position, colour in zip(positions, COLOURS.values(), strict=True):
        point = np.append(position[:2], HEIGHT)
        column, row = project(world.simulator.model, world.camera, point, frame.shape[0])
        cv2.circle(marked, (round(column), round(row)), 9, colour, 2, cv2.LINE_AA)
        cv2.circle(marked, (round(column), round(row)), 2, colour, -1, cv2.LINE_AA)
    return marked


def project(model: mujoco.MjModel, camera: str, point: NDArray[Any], height: int) -> tuple[float, float]:
    """Column and row, in pixels of a square image, at which a fixed camera sees a point in metres."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    view = data.camera(camera)
    x, y, z = view.xmat.reshape(3, 3).T @ (point - view.xpos)
    focal = 0.5 * height / np.tan(np.radians(model.camera(camera).fovy[0]) / 2)
    return float(0.5 * height - focal * x / z), float(0.5 * height + focal * y / z)
