"""The memory of a recovery policy, its estimates, and its report of a step; one row an episode of the batch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Latents = NDArray[np.float32]
"""Latents of the agent, ``(B, n)``."""
Values = NDArray[np.float32]
"""One number an episode, ``(B,)``."""
Mask = NDArray[np.bool_]
"""One truth value an episode, ``(B,)``."""


@dataclass(frozen=True)
class RecoveryStep:
    """Report of one step of `RecoveryPolicy`.

    Attributes:
        latent: latent of the agent, ``(B, n)``.
        log_density: log density of the demonstrations there, ``(B,)``.
        blend: weight of the base policy, ``(B,)``.
        innovation: distance between the latent and the one predicted from the last action, ``(B,)``.
        dwell: number of steps for which the agent has stayed in one place, ``(B,)``.
        direction: direction of the recovery's displacement, of at most unit length; zero if there was none, ``(B, n)``.
        fault: true where the base policy returned a value that is not finite, or the density has no gradient, ``(B,)``.
    """

    latent: Latents
    log_density: Values
    blend: Values
    innovation: Values
    dwell: NDArray[np.int64]
    direction: Latents
    fault: Mask


@dataclass(frozen=True)
class EpisodeState:
    """Memory of each episode: the recurrent state of `RecoveryPolicy`.

    Attributes:
        scene: features of the first observation, on which the density is conditioned, ``(B, k)``.
        home: the first in-distribution latent; NaN until there is one, ``(B, n)``.
        commands: last commands, ``(B, commands)``.
        place: the last in-distribution latent; NaN until there is one, ``(B, n)``.
        predicted: latent predicted from the last action, ``(B, n)``.
        anchor: latent near which the agent has stayed for ``dwell`` steps, ``(B, n)``.
        dwell: number of steps for which the agent has stayed near ``anchor``, ``(B,)``.
        sparse: number of steps in a row in which the density has been low, ``(B,)``.
        returning: true while the agent goes back, ``(B,)``.
        distance: distance to the place it goes back to, in the last step, ``(B,)``.
        base: recurrent state of the base policy.
    """

    scene: Values
    home: Latents
    commands: NDArray[Any]
    place: Latents
    predicted: Latents
    anchor: Latents
    dwell: NDArray[np.int64]
    sparse: NDArray[np.int64]
    returning: Mask
    distance: Values
    base: Any

    @classmethod
    def begin(cls, scene: Values, latent: Latents, commands: int) -> EpisodeState:
        """Return the memory at the start of episodes.

        Args:
            scene: features of the first observation, ``(B, k)``.
            latent: latent of the first observation, ``(B, n)``.
            commands: number of commands; all are 1 at first.
        """
        count, unknown = len(latent), np.full_like(latent, np.nan)
        return cls(
            scene=scene,
            home=unknown,
            commands=np.ones((count, commands)),
            place=unknown,
            predicted=latent,
            anchor=latent,
            dwell=np.zeros(count, int),
            sparse=np.zeros(count, int),
            returning=np.zeros(count, bool),
            distance=np.full(count, np.inf, np.float32),
            base=None,
        )

    def restarted(self, fresh: EpisodeState, episode_start: Mask) -> EpisodeState:
        """Return this memory, with that of ``fresh`` in the rows where an episode starts."""

        def select(old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
            return np.where(episode_start.reshape(-1, *[1] * (old.ndim - 1)), new, old)

        names = [field.name for field in fields(self) if field.name != "base"]
        return EpisodeState(**{n: select(getattr(self, n), getattr(fresh, n)) for n in names}, base=self.base)


@dataclass(frozen=True)
class StepEstimate:
    """Estimates of one step.

    Attributes:
        latent: latent of the agent, ``(B, n)``.
        log_density: log density of the demonstrations there, ``(B,)``.
        blend: weight of the base policy by that density, ``(B,)``.
        context: context of the density, ``(B, k)``; None if it has none.
        innovation: distance between the latent and the predicted one, ``(B,)``.
        dwell: number of steps for which the agent has stayed in one place, ``(B,)``.
        sparse: number of steps in a row in which the density has been low, ``(B,)``.
    """

    latent: Latents
    log_density: Values
    blend: Values
    context: Tensor | None
    innovation: Values
    dwell: NDArray[np.int64]
    sparse: NDArray[np.int64]


@dataclass(frozen=True)
class Decision:
    """Decision of a recovery strategy.

    Attributes:
        weight: weight of the base policy, ``(B,)``.
        direction: direction of the recovery's displacement, of at most unit length, ``(B, n)``.
        fault: true where the density has no gradient, ``(B,)``.
        state: the memory after the decision.
    """

    weight: NDArray[Any]
    direction: NDArray[Any]
    fault: Mask
    state: EpisodeState
