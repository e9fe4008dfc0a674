"""Evaluation rollouts: success with its interval, returns and lengths, over episodes whose starts a seed fixes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from agents.vec_env import Observe
from envs.task import TaskWorld

Act = Callable[[NDArray[Any]], NDArray[Any]]
"""A policy: observations ``(n, ...)`` to actions ``(n, dim)``."""


@dataclass(frozen=True)
class Evaluation:
    """What a policy achieved.

    Attributes:
        success: fraction of episodes in which the task was achieved before time ran out.
        success_interval: its Wilson interval at 95 %.
        return_mean: mean sum of rewards of an episode.
        length_mean: mean number of steps of an episode.
        episodes: how many there were.
    """

    success: float
    success_interval: tuple[float, float]
    return_mean: float
    length_mean: float
    episodes: int

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return {**asdict(self), "success_interval": list(self.success_interval)}


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a rate.

    >>> [round(bound, 3) for bound in wilson_interval(95, 100)]
    [0.888, 0.978]
    """
    interval = binomtest(successes, trials).proportion_ci(0.95, "wilson")
    return float(interval.low), float(interval.high)


def evaluate(
    world: TaskWorld, observe: Observe, act: Act, *, seed: int, on_step: Callable[[], None] = lambda: None
) -> Evaluation:
    """Play one episode in every world of the batch; world ``i`` starts from ``seed + i``.

    Args:
        world: the batch; as many episodes as it has worlds.
        observe: what the policy sees.
        act: the policy.
        seed: of the initial states. Keep it apart from the seeds used in training.
        on_step: called after every step.
    """
    generators = [np.random.default_rng(seed + index) for index in range(world.num_worlds)]
    world.reset(np.arange(world.num_worlds), generators)
    running = np.ones(world.num_worlds, bool)
    success, returns, lengths = np.zeros_like(running), np.zeros(len(running)), np.zeros(len(running), int)
    while running.any():
        outcome = world.step(act(observe(world, None)))
        returns += outcome.reward * running
        lengths += running
        success |= running & outcome.info["success"]
        running &= ~(outcome.terminated | outcome.truncated)
        on_step()
    return Evaluation(
        success=float(success.mean()),
        success_interval=wilson_interval(int(success.sum()), len(success)),
        return_mean=float(returns.mean()),
        length_mean=float(lengths.mean()),
        episodes=len(success),
    )


def random_policy(world: TaskWorld, seed: int) -> Act:
    """Uniformly random actions."""
    generator = np.random.default_rng(seed)
    low, high = world.action_space.low, world.action_space.high
    return lambda observation: generator.uniform(low, high, (len(observation), len(low)))
