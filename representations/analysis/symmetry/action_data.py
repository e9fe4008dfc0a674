"""Transitions with discrete actions of unknown effect: their checks, and their file format."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....envs.storage.json_npz import read_npz, write_npz

_ARRAYS = ("frames", "actions", "next_frames")


@dataclass(frozen=True, eq=False)
class ActionData:
    """Images before and after discrete actions; each action always performs the same, unknown, group element.

    Attributes:
        frames: ``(N, H, W, C)`` uint8, images before the action.
        actions: ``(N,)`` integers from 0 to ``k − 1``, each of which occurs.
        next_frames: ``(N, H, W, C)`` uint8, images after the action.

    Raises:
        ValueError: other types or shapes.

    Example:
        >>> images = np.zeros((4, 16, 16, 1), np.uint8)
        >>> ActionData(images, np.array([0, 1, 0, 1]), images).num_actions
        2
    """

    frames: NDArray[np.uint8]
    actions: NDArray[np.int64]
    next_frames: NDArray[np.uint8]

    def __post_init__(self) -> None:
        frames, following, actions = (np.asarray(each) for each in (self.frames, self.next_frames, self.actions))
        if frames.ndim != 4 or frames.shape != following.shape or {frames.dtype, following.dtype} != {np.dtype("u1")}:
            raise ValueError(
                f"expected frames and next_frames (N, H, W, C) uint8 of one shape, got {frames.shape} {frames.dtype} "
                f"and {following.shape} {following.dtype}"
            )
        if actions.shape != frames.shape[:1] or actions.dtype.kind not in "iu":
            raise ValueError(f"expected actions ({len(frames)},) of integers, got {actions.shape} {actions.dtype}")
        _check_actions(actions)

    def __len__(self) -> int:
        """Return the number of transitions."""
        return len(self.actions)

    @property
    def num_actions(self) -> int:
        """Return the number of actions, ``k``."""
        return int(self.actions.max()) + 1


def _check_actions(actions: NDArray[Any]) -> None:
    if len(actions) == 0:
        raise ValueError("expected at least one transition, got none")
    if actions.min() < 0 or actions.max() >= 1024:
        raise ValueError(
            f"expected actions numbered from 0 to at most 1023, got numbers from {actions.min()} to {actions.max()}"
        )
    if missing := sorted(set(range(int(actions.max()) + 1)) - set(actions.tolist())):
        raise ValueError(
            f"expected each action 0, …, {actions.max()} in the transitions, got no action {missing[0]}; number the "
            "actions without gaps"
        )


def split_actions(data: ActionData, share: float, seed: int, least: int = 1) -> tuple[ActionData, ActionData]:
    """Split transitions at random into those for training and those that are held out, the same share of each action.

    Args:
        data: the transitions.
        share: share of the transitions of each action to hold out, rounded down.
        seed: seed of the split.
        least: least number of transitions of each action to hold out.

    Raises:
        ValueError: an action occurs fewer than ``least / share`` times.

    Example:
        >>> images = np.zeros((8, 16, 16, 1), np.uint8)
        >>> [len(part) for part in split_actions(ActionData(images, np.zeros(8, int), images), 0.25, 0)]
        [6, 2]
    """
    order = np.random.default_rng(seed).permutation(len(data))
    held_out = np.zeros(len(data), bool)
    needed = max(2, math.ceil(least / share - 1e-9))
    for action in range(data.num_actions):
        rows = order[data.actions[order] == action]
        if len(rows) < needed:
            raise ValueError(
                f"expected each action at least {needed} times, so that {least} of its transitions are held out, got "
                f"action {action} {len(rows)} times; give more transitions"
            )
        held_out[rows[: math.floor(share * len(rows) + 1e-9)]] = True  # 0.1 · 30 is not rounded down to 2
    parts = [(data.frames[rows], data.actions[rows], data.next_frames[rows]) for rows in (~held_out, held_out)]
    return ActionData(*parts[0]), ActionData(*parts[1])


def load_action_data(path: str | Path) -> ActionData:
    """Read transitions from an NPZ file, or from a folder with a file ``transitions.npz``.

    The file has the arrays ``frames`` and ``next_frames`` ``(N, H, W, C)`` uint8, and ``actions`` ``(N,)`` integers.

    Args:
        path: the file or the folder.

    Raises:
        ValueError: there is no such file, it lacks an array, or the arrays do not fit.
    """
    file = action_data_file(Path(path))
    if not file.is_file():
        raise ValueError(f"expected an NPZ file with frames, actions and next_frames, got {file}, which does not exist")
    return action_data_of_arrays(read_npz(file), str(file))


def action_data_file(path: Path) -> Path:
    """Return the NPZ file that a path names: a file as it is, and ``transitions.npz`` in a folder."""
    return path / "transitions.npz" if path.is_dir() else path


def action_data_of_arrays(arrays: Mapping[str, NDArray[Any]], source: str) -> ActionData:
    """Return the transitions in arrays of a file.

    Args:
        arrays: ``frames``, ``actions`` and ``next_frames`` by name; others are ignored.
        source: what they were read from, for messages.

    Raises:
        ValueError: an array is missing, or the arrays do not fit.

    Example:
        >>> images = np.zeros((2, 16, 16, 1), np.uint8)
        >>> arrays = {"frames": images, "actions": np.array([0, 1]), "next_frames": images}
        >>> len(action_data_of_arrays(arrays, "data.npz"))
        2
    """
    if missing := [name for name in _ARRAYS if name not in arrays]:
        raise ValueError(f"expected the arrays {', '.join(_ARRAYS)} in {source}, got no {missing[0]}")
    try:
        return ActionData(*(arrays[name] for name in _ARRAYS))
    except ValueError as error:
        raise ValueError(f"{error} (in {source})") from error


def save_action_data(path: str | Path, data: ActionData) -> None:
    """Write transitions as an NPZ file that `load_action_data` reads, complete or not at all.

    Raises:
        ArtifactError: the file cannot be written, or another program wrote the one that is there.

    Example:
        >>> import tempfile
        >>> images = np.zeros((2, 16, 16, 1), np.uint8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_action_data(f"{folder}/transitions.npz", ActionData(images, np.array([0, 0]), images))
        ...     len(load_action_data(folder))
        2
    """
    write_npz(path, {name: getattr(data, name) for name in _ARRAYS})
