"""Whether the gradient of a density leads home, from where demonstrations never were."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from representations.density import Density

Points = NDArray[np.float32]


def displaced(latent: Points, distance: float, reach: NDArray[Any], generator: np.random.Generator) -> Points:
    """Every latent ``(N, n)`` moved by so much in a random direction; NaN where that leaves what the agent can reach.

    Args:
        latent: where the agent was.
        distance: by which it is moved.
        reach: lowest and highest latents ``(2, n)``.
        generator: of the directions.
    """
    direction = generator.normal(size=latent.shape)
    points = latent + distance * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    inside = ((points > reach[0]) & (points < reach[1])).all(1)
    return np.where(inside[:, None], points, np.nan).astype(np.float32)


def homing_cosine(
    density: Density,
    latent: Points,
    away: Points,
    first: NDArray[np.uint8],
    episode: NDArray[np.int64],
    commands: NDArray[np.float64],
) -> float:
    """Median cosine between the gradient and the direction to the nearest state of the same episode.

    Args:
        density: conditioned on scene and commands.
        latent: ``(N, n)`` states of held-out demonstrations.
        away: ``(N, n)`` where the gradient is looked at, such as `displaced` makes them; NaN where it is not.
        first: ``(E, H, W, C)`` uint8, the first frame of every episode.
        episode: ``(N,)`` which episode a state is from.
        commands: ``(N, commands)`` given before it was reached.
    """
    kept = np.flatnonzero(np.isfinite(away).all(1))
    home = []
    for index in kept:
        same = latent[episode == episode[index]]
        home.append(same[np.argmin(np.linalg.norm(same - away[index], axis=1))])
    context = density.context_of(density.scene_of(first)[episode[kept]], commands[kept])
    points = torch.from_numpy(away[kept])
    _, gradient = density.score(points, context)
    return float(functional.cosine_similarity(gradient, torch.from_numpy(np.stack(home)) - points, dim=1).median())
