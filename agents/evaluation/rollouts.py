"""Evaluate a policy over episodes whose initial states are fixed by a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, overload

import gymnasium as gym
import numpy as np

from ...envs.arguments import integer_argument
from ...envs.batched_envs.world_episodes import Observe, WorldEpisodes
from ...envs.data.policy import Policy, PolicyLike, UniformPolicy, as_policy
from ...envs.data.rollout import rollout
from ...envs.data.seeds import stream_seed
from ...envs.worlds.task_world import TaskWorld
from .episode import play_episode
from .statistics import mean_interval, wilson_interval
from .success import SuccessError, SuccessLike, SuccessOutcome, success_criterion

EVALUATION = "evaluation"
"""Name of the stream of seeds of evaluation episodes; see `stream_seed`."""


@dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation in a batch of our worlds.

    Attributes:
        success: fraction of episodes in which the task was achieved before time ran out.
        success_interval: Wilson interval of the success rate at 95 %.
        return_mean: mean sum of rewards of an episode.
        length_mean: mean number of steps of an episode.
        episodes: number of episodes.
        outcomes: whether each episode was a success.
    """

    success: float
    success_interval: tuple[float, float]
    return_mean: float
    length_mean: float
    episodes: int
    outcomes: tuple[bool, ...] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types, without the outcomes of single episodes."""
        return _summary(self)


@dataclass(frozen=True)
class EnvEvaluation:
    """Result of an evaluation in a Gymnasium environment.

    Attributes:
        success: fraction of episodes that were a success; None if the environment does not report it.
        success_interval: Wilson interval of the success rate at 95 %; None if it is unknown.
        success_criterion: name of the criterion.
        return_mean: mean sum of rewards of an episode.
        return_interval: BCa bootstrap interval of it at 95 %; None for one episode.
        length_mean: mean number of steps of an episode.
        episodes: number of episodes.
        outcomes: whether each episode was a success; None if it is unknown.
    """

    success: float | None
    success_interval: tuple[float, float] | None
    success_criterion: str
    return_mean: float
    return_interval: tuple[float, float] | None
    length_mean: float
    episodes: int
    outcomes: tuple[bool, ...] | None = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types, without the outcomes of single episodes."""
        return _summary(self)


def _summary(evaluation: Evaluation | EnvEvaluation) -> dict[str, Any]:
    """Return all fields but the outcomes, as JSON types."""
    values = {each.name: getattr(evaluation, each.name) for each in fields(evaluation) if each.name != "outcomes"}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


@overload
def evaluate_policy(
    env: TaskWorld, observe: Observe, policy: PolicyLike, *, seed: int, on_step: Callable[[], None] = ...
) -> Evaluation: ...


@overload
def evaluate_policy(
    env: gym.Env[Any, Any],
    policy: PolicyLike,
    /,
    *,
    episodes: int = ...,
    seed: int,
    success: SuccessLike = ...,
    deterministic: bool = ...,
    on_step: Callable[[], None] = ...,
) -> EnvEvaluation: ...


def evaluate_policy(env: Any, *arguments: Any, **options: Any) -> Evaluation | EnvEvaluation:
    """Play episodes with a policy, and return its success rate and its mean return.

    In a Gymnasium environment, ``evaluate_policy(env, policy, episodes=, seed=)`` plays one episode after another. In a
    batch of our worlds, ``evaluate_policy(world, observe, policy, seed=)`` plays one episode in every world.

    Evaluations with different seeds have no episode in common, and none with a training of the same seed. Episode ``i``
    starts from ``stream_seed(seed, "evaluation") + i`` (`equiact.envs.data.seeds.stream_seed`); in a Gymnasium
    environment, the first of these seeds is taken modulo 2³¹.

    Args:
        env: a single Gymnasium environment, or a batch of our worlds with a task.
        *arguments: the policy, or a function from observations to actions; it gets batches of observations. In our
            worlds before it: what the policy observes, such as `observe_state`.
        **options: ``seed`` of the initial states; ``on_step``, called after every step. In Gymnasium environments also
            ``episodes`` (100), ``success`` (see `equiact.agents.evaluation.success.success_criterion`) and
            ``deterministic`` (True).

    Raises:
        TypeError: it is neither a single Gymnasium environment nor a batch of our worlds with a task.
        SuccessError: there is no such success criterion, or the environment does not report this success.

    Example:
        >>> env = gym.make("CartPole-v1")
        >>> result = evaluate_policy(env, lambda observation: (observation[:, 2] > 0).astype(int), episodes=5, seed=0)
        >>> result.return_mean == result.length_mean, result.success
        (True, None)
    """
    if isinstance(env, gym.Env):
        return _evaluate_in_env(env, *arguments, **options)
    if not isinstance(env, TaskWorld):
        raise TypeError(
            "expected a single Gymnasium environment, or a batch of worlds with a task, such as "
            f"task_world_class('Push')(8), got {type(env).__name__}"
        )
    return _evaluate_in_worlds(env, *arguments, **options)


def _evaluate_in_worlds(
    world: TaskWorld, observe: Observe, policy: PolicyLike, *, seed: int, on_step: Callable[[], None] = lambda: None
) -> Evaluation:
    success = np.zeros(world.num_worlds, bool)
    returns, lengths = np.zeros(world.num_worlds), np.zeros(world.num_worlds, int)
    first_seed = stream_seed(seed, EVALUATION)
    for step in rollout(WorldEpisodes(world, observe, observe_ended=True), policy, seed=first_seed):
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
        outcomes=tuple(success.tolist()),
    )


def _evaluate_in_env(
    env: gym.Env[Any, Any],
    policy: PolicyLike,
    *,
    episodes: int = 100,
    seed: int,
    success: SuccessLike = None,
    deterministic: bool = True,
    on_step: Callable[[], None] = lambda: None,
) -> EnvEvaluation:
    integer_argument("episodes", episodes, 1, ValueError)
    acting, criterion = as_policy(policy), success_criterion(success)
    outcomes, returns, lengths = [], np.zeros(episodes), np.zeros(episodes)
    first_seed = stream_seed(seed, EVALUATION) % 2**31  # many environments take no larger seed
    for index in range(episodes):
        observation, _ = env.reset(seed=first_seed + index)
        episode = play_episode(env, acting, observation, deterministic=deterministic, on_step=lambda _: on_step())
        outcomes.append(criterion.judge(episode))
        returns[index], lengths[index] = episode.total_reward, len(episode)
    successes = count_successes(outcomes)
    return EnvEvaluation(
        success=None if successes is None else successes / episodes,
        success_interval=None if successes is None else wilson_interval(successes, episodes),
        success_criterion=criterion.name,
        return_mean=float(returns.mean()),
        return_interval=mean_interval(returns) if episodes > 1 else None,
        length_mean=float(lengths.mean()),
        episodes=episodes,
        outcomes=None if successes is None else tuple(bool(outcome.success) for outcome in outcomes),
    )


def count_successes(outcomes: list[SuccessOutcome]) -> int | None:
    """Return the number of successes; None if no episode reported success or failure.

    Raises:
        SuccessError: some episodes reported it, others did not.
    """
    unknown = sum(outcome.success is None for outcome in outcomes)
    if unknown == len(outcomes):
        return None
    if unknown:
        raise SuccessError(
            f"expected success to be reported in all episodes or in none, got it in {len(outcomes) - unknown} of "
            f"{len(outcomes)}; choose another success, such as 'return>=X' or 'module:function'"
        )
    return sum(bool(outcome.success) for outcome in outcomes)


def random_policy(world: TaskWorld, seed: int) -> Policy:
    """Return a policy with uniformly random actions, the lower bound of every evaluation."""
    return UniformPolicy(world.action_space, seed)
