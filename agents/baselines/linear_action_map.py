"""Map displacements in a latent without equivariance to actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.data.transitions import Transitions
from ...representations.encoders.encoder import Encoder


def latent_to_action(encoder: Encoder, transitions: Transitions) -> Callable[[NDArray[Any], Any], NDArray[Any]]:
    """Fit the linear map from displacements of the latent to actions, by least squares.

    ``W = argmin Σ ‖Δz W − a‖²`` over transitions. The result keeps the length of its argument and changes its direction
    only: ``f(Δz) = ‖Δz‖ · Δz W / ‖Δz W‖``. A gradient in another space tells no more than a direction. An equivariant
    encoder does not need this map, and `equiact.agents.recovery.action_maps.LinearActionMap` keeps the length, too.

    Args:
        encoder: an encoder with the latent ``"agent"``.
        transitions: transitions to fit the map to.

    Returns:
        A function from displacements of the latent ``(B, n)`` and observations to displacements ``(B, dim)``: the
        ``to_action`` of a `FunctionActionMap`.
    """
    latent = encoder.encode(transitions.frames)["agent"]
    moves = latent[transitions.end] - latent[transitions.start]
    weight = np.linalg.lstsq(moves, transitions.displacement, rcond=None)[0]

    def convert(displacement: NDArray[Any], observation: Any) -> NDArray[Any]:
        action = displacement @ weight
        length = np.maximum(np.linalg.norm(action, axis=1, keepdims=True), 1e-12)
        return np.asarray(action / length * np.linalg.norm(displacement, axis=1, keepdims=True))

    return convert
