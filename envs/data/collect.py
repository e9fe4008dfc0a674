"""Collect transitions: act in an environment and store what happened as `Transitions`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from ..arguments import integer_argument
from ..batched_envs.batch_step import BatchStep
from ..lie_groups.group import Group
from ..lie_groups.registry import group_from_name
from .policy import Policy, PolicyLike, RandomPolicy, as_policy, seed_policy
from .rollout import rollout
from .transition_recorder import ReadDisplacement, TransitionRecorder
from .transitions import Transitions
from .transitions_checks import warn_about_content


def collect(
    env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any],
    transitions: int,
    seed: int,
    *,
    displacement: str | ReadDisplacement = "displacement",
    group: Group | str | None = None,
    policy: PolicyLike | None = None,
    image_key: str | None = None,
    autoreset: AutoresetMode | str | None = None,
    max_idle_steps: int = 1000,
    progress: Callable[[int], None] = lambda done: None,
    on_step: Callable[[BatchStep], None] = lambda step: None,
) -> Transitions:
    """Let a policy act until there are enough transitions.

    Works with every Gymnasium environment, single or vector, that observes RGB frames or draws them with
    ``render_mode="rgb_array"``. No transition crosses a reset.

    Args:
        env: the environment. Episodes that end are started anew.
        transitions: number of transitions to collect.
        seed: of the environment, and of policies with a method ``seed(generator)``.
        displacement: the group element that was performed in a step: a key of ``info``, or a function of ``info`` that
            returns ``(dim,)`` for a single environment and ``(num_envs, dim)`` for a vector environment.
        group: the group that acts; if None, the one that the environment or a wrapper declares as ``group``.
        policy: a policy, or a function from observations to actions; it always gets a batch. Random actions if None;
            they seldom touch an object, which `equiact.explore` learns to approach.
        image_key: entry of Dict observations that holds the image; the only image among them if None.
        autoreset: how a vector environment resets, if it does not declare it: "NextStep", "SameStep" or "Disabled".
        max_idle_steps: consecutive steps without a valid transition after which collection fails.
        progress: called with the number of transitions so far.
        on_step: called with every step, for example to keep the actions.

    Raises:
        TypeError: ``env`` is no Gymnasium environment, or ``policy`` is no policy.
        ValueError: an argument is out of range; no frames, no group or no displacement can be found; an action has
            another shape than the action space; or no step is a valid transition.
        GroupError: a displacement is not finite or is no element of the group.

    Example:
        >>> import gymnasium as gym
        >>> worlds = gym.make_vec("equiact/Soccer-v0", num_envs=2, resolution=(16, 16))
        >>> len(collect(worlds, transitions=50, seed=0))
        50
    """
    transitions = integer_argument("transitions", transitions, at_least=1)
    max_idle_steps = integer_argument("max_idle_steps", max_idle_steps, at_least=1)
    acting = _policy(env, policy)
    recorder = TransitionRecorder(resolve_group(env, group), displacement, batched=isinstance(env, VectorEnv))
    env_seed = _seed(acting, integer_argument("seed", seed, at_least=0))
    steps = rollout(env, acting, seed=env_seed, autoreset=autoreset, image_key=image_key, frames=True)
    for step in _valid_before_long(steps, max_idle_steps):
        recorder.add(step)
        on_step(step)
        progress(min(len(recorder), transitions))
        if len(recorder) >= transitions:
            break
    collected = recorder.transitions(transitions)
    warn_about_content(collected)
    return collected


def _seed(policy: Policy, seed: int) -> int:
    """Seed a policy that draws random numbers, and return the seed of the environment.

    Environment ``i`` of a batch is seeded with ``seed + i``: neighbouring seeds would share most of their episodes.
    """
    generator = np.random.default_rng(seed)
    env_seed = int(generator.integers(2**31))
    seed_policy(policy, generator)
    return env_seed


def _valid_before_long(steps: Iterator[BatchStep], longest: int) -> Iterator[BatchStep]:
    """Yield steps; raise after ``longest`` consecutive ones of which no row is a valid transition."""
    idle = 0
    for step in steps:
        yield step
        idle = 0 if step.valid.any() else idle + 1
        if idle >= longest:
            raise ValueError(
                f"none of the last {idle} steps is a valid transition: every episode ends with its first step; "
                "check the environment, or pass autoreset= if it does not declare how it resets"
            )


def _policy(env: Any, policy: PolicyLike | None) -> Policy:
    """Return the policy that collects: the given one, or random actions."""
    if not isinstance(env, gym.Env | VectorEnv):
        raise TypeError(f"env must be a Gymnasium environment, single or vector, got {type(env).__name__}")
    return RandomPolicy(env) if policy is None else as_policy(policy)


def resolve_group(env: Any, group: Group | str | None) -> Group:
    """Return the group that acts: the given one, or the one that the environment or a wrapper declares.

    Raises:
        ValueError: none is given or declared, or there is none of this name.
    """
    found = _declared_group(env) if group is None else group
    if found is None:
        raise ValueError("the environment declares no group; say which one acts, for example group='R2'")
    return found if isinstance(found, Group) else group_from_name(found)


def _declared_group(env: Any) -> Any:
    """Return the group that an environment or one of its wrappers declares; None if there is none."""
    if isinstance(env, gym.Env):
        return env.get_wrapper_attr("group") if env.has_wrapper_attr("group") else None
    declared = getattr(env.unwrapped, "group", None)
    if declared is not None or not hasattr(env.unwrapped, "envs"):
        return declared
    first = env.unwrapped.envs[0]
    return first.get_wrapper_attr("group") if first.has_wrapper_attr("group") else None
