"""Check the actions of a policy before environments perform them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np


def require_actions(action: Any, space: gym.Space[Any] | None, num_envs: int) -> None:
    """Check that a policy returned one action for each environment, also if there is only one environment.

    Without the check NumPy would broadcast an action of another shape.

    Args:
        action: what the policy returned.
        space: action space of one environment; None if unknown. Spaces of arrays ask for ``(num_envs, *space.shape)``.
        num_envs: number of environments.

    Raises:
        ValueError: the policy returned something else.
    """
    if space is None or space.shape is None:  # the action of a batch of Dict or Tuple spaces is a dict or a tuple
        if not isinstance(action, dict | tuple) and _count(action) != num_envs:
            raise ValueError(
                f"the policy must return one action for each of {num_envs} environments, got {_shown(action)}"
            )
        return
    shape = (num_envs, *space.shape)
    try:
        given = np.asarray(action)
    except ValueError:  # rows of several lengths
        given = np.asarray(None)
    if given.dtype.kind not in "biuf":
        raise ValueError(f"the policy must return numbers of shape {shape}, got {_shown(action)}")
    if given.shape != shape:
        raise ValueError(
            f"the policy must return actions of shape {shape}, one for each environment, got shape {given.shape}"
        )


def _count(action: Any) -> int | None:
    """Return the number of actions, None if it is no sequence of them."""
    try:
        return None if isinstance(action, str) else len(action)
    except TypeError:
        return None


def _shown(action: Any) -> str:
    return f"{type(action).__name__} {action!r}"[:80]
