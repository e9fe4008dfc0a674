"""A batch of our worlds, played for one episode each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..simulation.state_layout import Float, Worlds
from ..worlds.world import World
from .actions import require_actions
from .batch_step import BatchObservation, BatchStep, Mask

Observe = Callable[[Any, Worlds | None], NDArray[Any]]
"""Return the observations of some worlds of a batch, or of all if None: ``observe(world, worlds)``."""


def observe_pixels(world: World, worlds: Worlds | None = None) -> NDArray[Any]:
    """Return the frames, ``(n, H, W, 3)`` uint8."""
    return world.render(worlds)


class WorldEpisodes:
    """One episode in each world of a batch; worlds whose episode is over neither act nor are drawn.

    Args:
        world: the batch.
        observe: what the policy sees: frames if not given.
        observe_ended: observe worlds whose episode is over, too. An encoder rounds a few images otherwise than many:
            with this its latents do not depend on how many episodes are still running.
        transform_action: changes actions before they are carried out, such as a `PerturbationInjector`.
    """

    def __init__(
        self,
        world: World,
        observe: Observe = observe_pixels,
        *,
        observe_ended: bool = False,
        transform_action: Callable[[Float], Float] | None = None,
    ) -> None:
        self.num_envs = world.num_worlds
        self.running: Mask = np.ones(world.num_worlds, bool)
        self._world = world
        self._observe = observe
        self._observe_ended = observe_ended
        self._transform = transform_action
        self._current = BatchObservation(None, None, {})

    def reset(self, seed: int | None = None) -> BatchObservation:
        """Start an episode in every world; world ``i`` from ``seed + i``, or from the state it is in if None."""
        if seed is not None:
            generators = [np.random.default_rng(seed + index) for index in range(self.num_envs)]
            self._world.reset(np.arange(self.num_envs), generators)
        self.running = np.ones(self.num_envs, bool)
        self._current = self._seen(self._observe(self._world, None), self._world.ground_truth())
        return self._current

    def step(self, action: Any) -> BatchStep:
        """Act in the worlds that still run."""
        require_actions(action, self._world.action_space, self.num_envs)
        start, valid = self._current, self.running
        action = np.asarray(action, float)
        carried = action if self._transform is None else self._transform(action)
        outcome = self._world.step(carried, np.flatnonzero(valid))
        terminated, truncated = outcome.terminated & valid, outcome.truncated & valid
        self.running = valid & ~(terminated | truncated)
        self._current = self._seen(self._look(valid), outcome.info)
        reward, nowhere = np.where(valid, outcome.reward, 0.0), np.zeros_like(valid)
        return BatchStep(
            start, action, reward, terminated, truncated, valid, self._current, self._current, restarted=nowhere
        )

    def _look(self, acted: Mask) -> NDArray[Any]:
        """Return observations of all worlds, new ones of those that acted."""
        if self._observe_ended or acted.all():
            return self._observe(self._world, None)
        observation: NDArray[Any] = self._current.observation.copy()
        observation[acted] = self._observe(self._world, np.flatnonzero(acted))
        return observation

    def _seen(self, observation: NDArray[Any], info: dict[str, NDArray[Any]]) -> BatchObservation:
        frames = observation if observation.dtype == np.uint8 and observation.ndim == 4 else None
        return BatchObservation(observation, frames, info)
