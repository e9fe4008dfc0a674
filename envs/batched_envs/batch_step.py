"""The steps of a rollout: what every kind of environment is reduced to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class BatchObservation:
    """Hold what ``n`` environments show at one time.

    Attributes:
        observation: what the policy acts on, ``(n, ...)``; a dict of such arrays for Dict observations. A copy.
        frames: the images, ``(n, H, W, C)`` uint8; None if they were not asked for.
        info: as the environment returned it; a single environment's is not batched.
    """

    observation: Any
    frames: NDArray[np.uint8] | None
    info: dict[str, Any]


@dataclass(frozen=True)
class BatchStep:
    """One step of ``n`` environments, whatever the way in which they are reset.

    Attributes:
        start: what the policy acted on.
        action: what it did.
        reward: ``(n,)``; zero where the step is not valid.
        terminated: ``(n,)`` bool, the episode reached an end of its own.
        truncated: ``(n,)`` bool, the episode ran out of time.
        valid: ``(n,)`` bool, the step is a transition from ``start`` to ``end``. False where the environment only
            reset itself, or had ended before.
        end: what the step led to. Where the episode ended this is its last observation, never the next episode's first.
        next: what the policy acts on next. It differs from ``end`` in environments that reset within the step.
        restarted: ``(n,)`` bool, ``next`` is the first observation of an episode.
    """

    start: BatchObservation
    action: Any
    reward: NDArray[np.floating[Any]]
    terminated: Mask
    truncated: Mask
    valid: Mask
    end: BatchObservation
    next: BatchObservation
    restarted: Mask

    @property
    def ended(self) -> Mask:
        """Return where an episode ended in this step, ``(n,)`` bool."""
        return self.valid & (self.terminated | self.truncated)

    @property
    def restarted_within(self) -> Mask:
        """Return where ``next`` shows another episode than ``end``, ``(n,)`` bool."""
        return self.restarted & (self.next is not self.end)


class BatchedEnv(Protocol):
    """A batch of environments that knows its own resets; implement it to roll out something new."""

    num_envs: int

    @property
    def running(self) -> Mask:
        """Return which environments still act, ``(n,)`` bool; all of them if they start over by themselves."""

    def reset(self, seed: int | None = None) -> BatchObservation:
        """Start an episode in every environment."""

    def step(self, action: Any) -> BatchStep:
        """Act once, and reset where that is due."""
