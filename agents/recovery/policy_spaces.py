"""The spaces that a recovery policy acts in: one observation or a batch of them, and actions within their bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from ...representations.encoders.encoder import Encoder


def is_single(observation: Any, space: gym.Space[Any] | None) -> bool:
    """Return whether this is one observation of a space, and not a batch of them.

    The number of axes decides, and not their lengths: images may come channel-first or channel-last.

    Args:
        observation: arrays, dicts or tuples of them.
        space: space of one observation; None if it is unknown, where a batch is expected.

    Raises:
        ValueError: it is neither one observation of the space nor a batch of them.

    Example:
        >>> space = gym.spaces.Box(-1.0, 1.0, (2,))
        >>> is_single(np.zeros(2), space), is_single(np.zeros((5, 2)), space)
        (True, False)
    """
    entries = isinstance(observation, Mapping | tuple)
    if space is None or (entries and not isinstance(space, gym.spaces.Dict | gym.spaces.Tuple)):
        _require_batch(observation)
        return False
    if entries:
        return _same_for_all(observation, space)
    axes, shape = np.ndim(observation), space.shape
    if shape is None or axes not in (len(shape), len(shape) + 1):
        raise ValueError(
            f"expected one observation {shape} or a batch of them, got an array of shape {np.shape(observation)}; "
            "check the observation space of the policy, or pass another one as observation_space="
        )
    return axes == len(shape)


def _require_batch(observation: Any) -> None:
    """Raise unless some array has at least two axes: those of one observation of numbers have one.

    Raises:
        ValueError: it may be one observation.
    """
    shapes = [np.shape(array) for array in _arrays(observation)]
    if all(len(shape) < 2 for shape in shapes):
        raise ValueError(
            f"expected a batch of observations, got the shape {', '.join(map(str, shapes)) or 'of nothing'}; pass "
            "observation_space= to act on single observations"
        )


def _arrays(observation: Any) -> list[Any]:
    """Return the arrays in dicts and tuples."""
    if isinstance(observation, Mapping):
        return [array for entry in observation.values() for array in _arrays(entry)]
    if isinstance(observation, tuple):
        return [array for entry in observation for array in _arrays(entry)]
    return [observation]


def _same_for_all(observation: Any, space: Any) -> bool:
    """Return whether all entries of a dict or tuple are single; they must agree."""
    keys = list(observation) if isinstance(observation, Mapping) else list(range(len(observation)))
    spaces = space.spaces
    if not keys or any(_lacks(spaces, key) for key in keys):
        raise ValueError(f"expected an observation of {space}, got one with the entries {keys}")
    single = {is_single(observation[key], spaces[key]) for key in keys}
    if len(single) != 1:
        raise ValueError("expected one observation or a batch of them, got entries of both kinds")
    return single.pop()


def _lacks(spaces: Any, key: Any) -> bool:
    return key not in spaces if isinstance(spaces, Mapping) else key >= len(spaces)


def observation_space_of(base: Any, encoder: Any) -> gym.Space[Any] | None:
    """Return the space of one observation that a policy or an encoder declares; None if neither does."""
    declared = getattr(base, "observation_space", None)
    if isinstance(declared, gym.Space):
        return declared
    return gym.spaces.Box(0, 255, encoder.shape, np.uint8) if isinstance(encoder, Encoder) else None


def require_box(space: gym.Space[Any]) -> gym.spaces.Box:
    """Return the action space, which recovery adds displacements in.

    Raises:
        ValueError: it is not a box of real vectors.
    """
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1 or space.dtype is None or space.dtype.kind != "f":
        raise ValueError(
            f"recovery needs continuous actions, a Box of real vectors, got {space}; it cannot go back with others"
        )
    return space


def clip_to(space: gym.spaces.Box | None, action: NDArray[np.float64]) -> NDArray[Any]:
    """Return actions ``(B, size)`` within the bounds of a space and of its type; as they are if it is None.

    Raises:
        ValueError: the space has another number of coordinates.
    """
    if space is None:
        return action
    if action.shape[1:] != space.shape:
        raise ValueError(f"actions (B, {space.shape[0]}) of the action space were expected, got {action.shape}")
    return np.clip(action, space.low, space.high).astype(space.dtype)
