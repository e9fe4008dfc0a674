"""Check the actions of a policy before environments perform them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray


def require_actions(action: Any, space: gym.Space[Any] | None, num_envs: int, policy: str = "the policy") -> None:
    """Check that a policy returned one action for each environment, also if there is only one environment.

    Without the check NumPy would broadcast an action of another shape, and many environments would take a discrete
    action that they do not have for another one.

    Args:
        action: what the policy returned.
        space: action space of one environment; None if unknown. Spaces of arrays ask for ``(num_envs, *space.shape)``.
        num_envs: number of environments.
        policy: the policy in messages.

    Raises:
        ValueError: the policy returned something else, or a discrete action that is not in the space.
    """
    if space is None or space.shape is None:  # the action of a batch of Dict or Tuple spaces is a dict or a tuple
        if not isinstance(action, dict | tuple) and _count(action) != num_envs:
            raise ValueError(
                f"{policy} must return one action for each of {num_envs} environments, got {_shown(action)}"
            )
        return
    shape = (num_envs, *space.shape)
    try:
        given = np.asarray(action)
    except ValueError:  # rows of several lengths
        given = np.asarray(None)
    if given.dtype.kind not in "biuf":
        raise ValueError(f"{policy} must return numbers of shape {shape}, got {_shown(action)}")
    if given.shape != shape:
        raise ValueError(
            f"{policy} must return actions of shape {shape}, one for each environment, got shape {given.shape}"
        )
    _require_in_range(given, space, policy)


def _require_in_range(given: NDArray[Any], space: gym.Space[Any], policy: str) -> None:
    """Check that discrete actions are in their space."""
    if isinstance(space, gym.spaces.Discrete):
        low, high = space.start, space.start + space.n - 1
    elif isinstance(space, gym.spaces.MultiDiscrete):
        low, high = space.start, space.start + space.nvec - 1
    elif isinstance(space, gym.spaces.MultiBinary):
        low, high = np.int64(0), np.int64(1)
    else:
        return
    if not ((given >= low) & (given <= high) & (given == np.rint(given))).all():
        allowed = f"{np.asarray(low).tolist()} to {np.asarray(high).tolist()}"
        raise ValueError(
            f"{policy} must return actions in {space}, whole numbers from {allowed}, got {given.tolist()}; check that "
            "it was trained in this environment"
        )


def _count(action: Any) -> int | None:
    """Return the number of actions, None if it is no sequence of them."""
    try:
        return None if isinstance(action, str) else len(action)
    except TypeError:
        return None


def _shown(action: Any) -> str:
    return f"{type(action).__name__} {action!r}"[:80]
