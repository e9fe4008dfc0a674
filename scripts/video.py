"""Rollouts as a video, with the encoder's estimates drawn on the frames."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.evaluation import Act
    from envs.world import World
    from representations.agent_object import AgentObjectEncoder

PIXELS = 384
COLOURS = {"agent": (120, 190, 255), "object": (255, 225, 90)}


def write_video(
    path: Path, world: type[World], encoder: AgentObjectEncoder, act: Act, *, seed: int, episodes: int = 6
) -> None:
    """Film a policy that sees through the encoder; circles mark where the encoder has agent and object.

    The world draws large frames beside the small ones that the encoder sees, by the same camera.

    Args:
        path: the MP4 to write.
        world: what to film.
        encoder: its estimates are drawn and fed to the policy.
        act: the policy.
        seed: of the first episode.
        episodes: how many.
    """
    import imageio.v3 as imageio
    import numpy as np

    from agents.evaluation import film
    from agents.vec_env import observe_latents

    shots = film(world(1, device="cpu"), observe_latents(encoder), act, seed=seed, episodes=episodes)
    large = film_large(world, shots_seed=seed, act=act, encoder=encoder, episodes=episodes)
    frames = [draw_estimates(frame, latent, project) for (frame, project), (_, latent) in zip(large, shots, strict=True)]
    beside = path.with_name("." + path.name)
    imageio.imwrite(beside, np.stack(frames), fps=5, codec="libx264", macro_block_size=1)
    os.replace(beside, path)


def film_large(*args: Any, **kwargs: Any) -> Any: ...


def draw_estimates(*args: Any) -> Any: ...
