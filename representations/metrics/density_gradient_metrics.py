"""Does the gradient of a density point back to the demonstrations? A metric for recovery."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ..densities.density import Density

Points = NDArray[np.float32]


def displaced(latent: Points, distance: float, reach: NDArray[Any], generator: np.random.Generator) -> Points:
    """Return latents moved by a distance in random directions.

    Args:
        latent: ``(N, n)`` latents of the agent's positions.
        distance: length of the movement, in units of the latent.
        reach: lowest and highest latents that the agent can reach, ``(2, n)``.
        generator: random generator of the directions.

    Returns:
        The moved latents ``(N, n)``; NaN where they are out of reach.
    """
    direction = generator.normal(size=latent.shape)
    points = latent + distance * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    inside = ((points > reach[0]) & (points < reach[1])).all(1)
    return np.where(inside[:, None], points, np.nan).astype(np.float32)


def score_alignment(
    density: Density,
    latent: Points,
    away: Points,
    first: NDArray[np.uint8],
    episode: NDArray[np.int64],
    commands: NDArray[np.float64],
) -> float:
    """Compute the median cosine between the gradient and the direction to the nearest state of the same episode.

    Args:
        density: density of latents, conditioned on scene and commands.
        latent: ``(N, n)`` states of held-out demonstrations.
        away: ``(N, n)`` points at which the gradient is taken, such as those of `displaced`; rows of NaN are left out.
        first: ``(E, H, W, C)`` uint8, the first frame of every episode.
        episode: ``(N,)`` episode of each state.
        commands: ``(N, commands)`` commands before each state was reached.

    Returns:
        The cosine, from -1 to 1; 1 if the gradient points straight to the demonstration.
    """
    kept = np.flatnonzero(np.isfinite(away).all(1))
    nearest = []
    for index in kept:
        same = latent[episode == episode[index]]
        nearest.append(same[np.argmin(np.linalg.norm(same - away[index], axis=1))])
    context = density.context_of(density.scene_of(first)[episode[kept]], commands[kept])
    points = torch.from_numpy(away[kept])
    _, gradient = density.score(points, context)
    return float(functional.cosine_similarity(gradient, torch.from_numpy(np.stack(nearest)) - points, dim=1).median())
