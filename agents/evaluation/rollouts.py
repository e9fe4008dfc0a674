"""Evaluate a policy over episodes whose initial states are fixed by a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...envs.batched_envs.world_episodes import Observe, WorldEpisodes
from ...envs.data.policy import Policy, PolicyLike, UniformPolicy
from ...envs.data.rollout import rollout
from ...envs.worlds.task_world import TaskWorld
from .statistics import wilson_interval


@dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation.

    Attributes:
        success: fraction of episodes in which the task was achieved before time ran out.
        success_interval: Wilson interval of the success rate at 95 %.
        return_mean: mean sum of rewards of an episode.
        length_mean: mean number of steps of an episode.
        episodes: number of episodes.
    """

    success: float
    success_interval: tuple[float, float]
    return_mean: float
    length_mean: float
    episodes: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return {**asdict(self), "success_interval": list(self.success_interval)}


def evaluate_policy(
    world: TaskWorld, observe: Observe, policy: PolicyLike, *, seed: int, on_step: Callable[[], None] = lambda: None
) -> Evaluation:
    """Play one episode in every world of the batch; world ``i`` starts from ``seed + i``.

    Args:
        world: the batch; there are as many episodes as worlds.
        observe: what the policy sees, such as `observe_state`.
        policy: a policy, or a function from observations to actions. It acts deterministically.
        seed: of the initial states. Keep it apart from the seeds used in training.
        on_step: called after every step.

    Raises:
        TypeError: it is not a batch of worlds with a task, such as a Gymnasium environment.
    """
    if not isinstance(world, TaskWorld):
        raise TypeError(
            f"expected a batch of worlds with a task, such as task_world_class('Push')(8), got {type(world).__name__}"
        )
    success = np.zeros(world.num_worlds, bool)
    returns, lengths = np.zeros(world.num_worlds), np.zeros(world.num_worlds, int)
    for step in rollout(WorldEpisodes(world, observe, observe_ended=True), policy, seed=seed):
        returns += step.reward
        lengths += step.valid
        success |= step.valid & step.end.info["success"]
        on_step()
    return Evaluation(
        success=float(success.mean()),
        success_interval=wilson_interval(int(success.sum()), len(success)),
        return_mean=float(returns.mean()),
        length_mean=float(lengths.mean()),
        episodes=len(success),
    )


def random_policy(world: TaskWorld, seed: int) -> Policy:
    """Return a policy with uniformly random actions, the lower bound of every evaluation."""
    return UniformPolicy(world.action_space, seed)
