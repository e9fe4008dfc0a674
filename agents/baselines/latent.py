"""Directions in a latent that knows nothing of actions, as actions: what an equivariant latent does not need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.transitions import Transitions
from representations.encoder import Encoder


def latent_to_action(encoder: Encoder, transitions: Transitions) -> Callable[[NDArray[Any], Any], NDArray[Any]]:
    """The linear map from displacements of the latent to those of the agent that fits transitions best.

    Least squares: ``W = argmin Σ ‖Δz W − a‖²``. What it returns has the length that it was given, since a direction is
    all that a gradient of another space can tell.

    Returns:
        A function of displacements of the latent ``(B, n)`` and observations, as `RecoveryPolicy` takes it.
    """
    latent = encoder.encode(transitions.frames)["agent"]
    moves = latent[transitions.end] - latent[transitions.start]
    weight = np.linalg.lstsq(moves, transitions.displacement, rcond=None)[0]

    def convert(displacement: NDArray[Any], observation: Any) -> NDArray[Any]:
        action = displacement @ weight
        length = np.maximum(np.linalg.norm(action, axis=1, keepdims=True), 1e-12)
        return np.asarray(action / length * np.linalg.norm(displacement, axis=1, keepdims=True))

    return convert
