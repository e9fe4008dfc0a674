"""The policy interface of the whole package, and policies that need no training.

A policy is an object with the method ``predict`` of Stable-Baselines3. Models of Stable-Baselines3 are policies as they
are; `as_policy` turns a function from observations to actions into one.

Most policies act on the observation alone. A `GroundTruthPolicy` is *privileged*: it reads the state of the simulator,
which no learned policy may. It must be constructed with the world that it reads; nothing is handed to it by accident.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array
from numpy.typing import NDArray

from ..batched_envs.batch_rows import count_rows

if TYPE_CHECKING:
    from ..worlds.world import World

WorldT = TypeVar("WorldT", bound="World")


@runtime_checkable
class Policy(Protocol):
    """The interface of a policy, which is that of Stable-Baselines3."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[Any], Any]:
        """Return actions for a batch of observations, and the recurrent state to pass to the next call.

        The actions are a batch, too: ``(n, *action_space.shape)``, also for a single environment, where ``n = 1``.

        Args:
            observation: batch of ``n`` observations; a dict of batches for environments with Dict observations.
            state: what the last call returned; None at first. Policies without memory ignore it.
            episode_start: ``(n,)`` bool, true where the observation is the first one of an episode.
            deterministic: return the most likely action instead of a sample.
        """


@runtime_checkable
class SeededPolicy(Protocol):
    """A policy that draws random numbers from a generator that the caller may replace."""

    def seed(self, generator: np.random.Generator) -> None:
        """Draw all random numbers from this generator from now on."""


def seed_policy(policy: Policy, generator: np.random.Generator) -> None:
    """Let a policy draw its random numbers from a generator, if it is a `SeededPolicy`.

    Models of Stable-Baselines3 have an attribute ``seed``, too, which is a number: they are left as they are.
    """
    seed = getattr(policy, "seed", None)
    if callable(seed):
        seed(generator)


PolicyLike: TypeAlias = Policy | Callable[[Any], NDArray[Any]]
"""A policy, or a function from a batch of observations to a batch of actions; see `as_policy`."""


def as_policy(policy: PolicyLike) -> Policy:
    """Return the argument if it is a policy; make a policy of a function from observations to actions.

    Raises:
        TypeError: the argument has no ``predict`` and is not callable.

    Example:
        >>> policy = as_policy(lambda observation: np.zeros((len(observation), 2)))
        >>> policy.predict(np.ones((3, 5)))[0].shape
        (3, 2)
    """
    if hasattr(policy, "predict"):
        return policy
    if callable(policy):
        return FunctionPolicy(policy)
    raise TypeError(
        "expected a policy (an object with `predict(observation, state, episode_start, deterministic)`) "
        f"or a function from observations to actions, got {type(policy).__name__}"
    )


class FunctionPolicy:
    """A function from observations to actions, as a policy without memory.

    Args:
        function: maps a batch of observations to a batch of actions.
    """

    def __init__(self, function: Callable[[Any], NDArray[Any]]) -> None:
        self._function = function

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[NDArray[Any], None]:
        """Return the function of the observation."""
        return np.asarray(self._function(observation)), None


class RandomPolicy:
    """Sample the action space of an environment, whatever it is; ignore the observation.

    Args:
        env: a single or a vector environment.
        seed: of the actions; `collect` replaces it by its own.
    """

    def __init__(self, env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any], seed: int = 0) -> None:
        self._space = env.action_space
        self._batched = isinstance(env, VectorEnv)
        self._generator = np.random.default_rng(seed)

    def seed(self, generator: np.random.Generator) -> None:
        """Draw all random numbers from this generator from now on."""
        self._generator = generator

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Any, None]:
        """Return a sample of the action space."""
        self._space.seed(int(self._generator.integers(2**31)))
        action = self._space.sample()
        return (action if self._batched else [action]), None


class PersistentPolicy:
    """Repeat a random action for a while, then draw another one; ignore the observation.

    An action is repeated ``1 / change`` times on average. So the agent crosses its workspace also where one step covers
    a small part of it; with independent random actions it stays nearer to the start.

    Args:
        env: a single or a vector environment.
        change: probability of another action in each step, in (0, 1].
        seed: of the actions; `collect` replaces it by its own.

    Raises:
        ValueError: ``change`` is out of range.

    Example:
        >>> policy = PersistentPolicy(gym.make("equiact/Push-v0"), change=0.01)
        >>> first, state = policy.predict(np.zeros((1, 64, 64, 3)))
        >>> second, state = policy.predict(np.zeros((1, 64, 64, 3)), state)
        >>> np.array_equal(first, second)
        True
    """

    def __init__(
        self, env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any], *, change: float = 0.2, seed: int = 0
    ) -> None:
        if not 0 < change <= 1:
            raise ValueError(f"expected a probability `change` in (0, 1], got {change}")
        self._batched = isinstance(env, VectorEnv)
        self._space: gym.Space[Any] = env.single_action_space if isinstance(env, VectorEnv) else env.action_space
        self._change = change
        self._generator = np.random.default_rng(seed)

    def seed(self, generator: np.random.Generator) -> None:
        """Draw all random numbers from this generator from now on."""
        self._generator = generator

    def predict(
        self, observation: Any, state: list[Any] | None = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Any, list[Any]]:
        """Return actions, and the same as the state."""
        self._space.seed(int(self._generator.integers(2**31)))
        if state is None:
            actions = [self._space.sample() for _ in range(count_rows(observation))]
        else:
            changed = self._generator.random(len(state)) < self._change
            actions = [self._space.sample() if new else old for new, old in zip(changed, state, strict=True)]
        return (batch_actions(self._space, actions) if self._batched else actions), actions


def batch_actions(space: gym.Space[Any], actions: Sequence[Any]) -> Any:
    """Return actions of single environments as a batch, as a vector environment expects it.

    Example:
        >>> batch_actions(gym.spaces.Box(-1.0, 1.0, (2,)), [np.zeros(2), np.ones(2)]).tolist()
        [[0.0, 0.0], [1.0, 1.0]]
    """
    empty: Any = create_empty_array(space, len(actions))
    return concatenate(space, actions, empty)


class UniformPolicy:
    """Draw actions uniformly from a bounded box; ignore the observation.

    Args:
        space: the action space of one environment.
        seed: of the actions.

    Example:
        >>> policy = UniformPolicy(gym.spaces.Box(-1.0, 1.0, (2,)), seed=0)
        >>> policy.predict(np.zeros((5, 3)))[0].shape
        (5, 2)
    """

    def __init__(self, space: gym.spaces.Box, seed: int = 0) -> None:
        if not space.is_bounded():
            raise ValueError(f"expected an action space with finite bounds to sample uniformly, got {space}")
        self._low, self._high = space.low, space.high
        self._generator = np.random.default_rng(seed)

    def seed(self, generator: np.random.Generator) -> None:
        """Draw all random numbers from this generator from now on."""
        self._generator = generator

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[NDArray[Any], None]:
        """Return uniform actions, one for each observation."""
        return self._generator.uniform(self._low, self._high, (count_rows(observation), *self._low.shape)), None


class GroundTruthPolicy(Generic[WorldT]):
    """A privileged policy: acts on the ground truth of a world and ignores the observation.

    Use it for scripted experts and scripted exploration. The learner sees the resulting frames and displacements only.

    Args:
        world: the batch of worlds that is acted in.
        act: returns the actions ``(num_worlds, dim + commands)`` for the current state of the batch.
    """

    def __init__(self, world: WorldT, act: Callable[[WorldT], NDArray[Any]]) -> None:
        self.world = world
        self._act = act

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[NDArray[Any], Any]:
        """Return actions for the current state of the world."""
        return self._act(self.world), None
