"""Store the steps of a rollout as transitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..batched_envs.batch_step import BatchObservation, BatchStep, Mask
from ..lie_groups.group import Group
from .transitions import Transitions

Info = dict[str, Any]
ReadDisplacement = Callable[[Info], NDArray[Any]]
GROUND_TRUTH_KEYS = ("agent_pose", "object_pose", "orbit")


class TransitionRecorder:
    """Stores frames and the transitions between them; its length is the number of transitions.

    Args:
        group: the group that acts.
        displacement: the key of ``info`` that holds the displacement, or a function of ``info``.
        batched: whether ``info`` is that of a vector environment, with Gymnasium's masks ``_key`` of the environments
            that reported a ``key``.
    """

    def __init__(self, group: Group, displacement: str | ReadDisplacement, batched: bool) -> None:
        self._group, self._displacement, self._batched = group, displacement, batched
        self._frames: list[NDArray[np.uint8]] = []
        self._ground_truth: dict[str, list[NDArray[Any]]] = {}
        self._rows: dict[str, list[NDArray[Any]]] = {"start": [], "end": [], "displacement": [], "touched": []}
        self._count = self._frame_count = self._steps = 0
        self._current: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return self._count

    def add(self, step: BatchStep) -> None:
        """Store the frames of a step, and its transitions where it is valid.

        Raises:
            ValueError: a valid row has no displacement.
            GroupError: a displacement is no element of the group.
        """
        self._steps += 1
        start = self._add_frames(step.start) if self._current is None else self._current
        end = self._add_frames(step.end)
        if step.valid.any():
            self._add_transitions(start, end, step.end.info, step.valid)
        self._current = end.copy()
        elsewhere = step.restarted_within
        if elsewhere.any():
            self._current[elsewhere] = self._add_frames(step.next, elsewhere)

    def transitions(self, count: int) -> Transitions:
        """Return the first ``count`` transitions, with the frames that they need.

        Environments of others may report a key of `GROUND_TRUTH_KEYS`, or ``touched``, in some steps only. Such a key
        is left out.
        """
        rows = {name: np.concatenate(parts) for name, parts in self._rows.items() if parts}
        known = {name: np.concatenate(parts) for name, parts in self._ground_truth.items()}
        touched = rows.get("touched")
        everything = Transitions(
            frames=np.concatenate(self._frames),
            start=rows["start"],
            end=rows["end"],
            displacement=rows["displacement"].astype(np.float32),
            group=self._group.name,
            ground_truth={name: values for name, values in known.items() if len(values) == self._frame_count},
            touched=touched if touched is not None and len(touched) == self._count else None,
        )
        return everything.select(np.arange(count))

    def _add_frames(self, seen: BatchObservation, rows: Mask | None = None) -> NDArray[np.int64]:
        """Store frames, with their ground truth, and return their indices."""
        if seen.frames is None:
            raise ValueError("expected steps with frames, got steps without; pass frames=True to `rollout`")
        count = len(seen.frames)
        chosen = np.ones(count, bool) if rows is None else rows
        self._frames.append(seen.frames[chosen])
        for name in GROUND_TRUTH_KEYS:
            reported = chosen & self._reported(name, seen.info, count)
            if reported.any():
                values = np.array(seen.info[name], np.float32).reshape(count, -1)[reported]
                self._ground_truth.setdefault(name, []).append(values)
        self._frame_count += int(chosen.sum())
        return np.arange(self._frame_count - int(chosen.sum()), self._frame_count)

    def _add_transitions(self, start: NDArray[np.int64], end: NDArray[np.int64], info: Info, valid: Mask) -> None:
        self._rows["displacement"].append(self._performed(info, valid))
        self._rows["start"].append(start[valid])
        self._rows["end"].append(end[valid])
        reported = valid & self._reported("touched", info, len(valid))
        if reported.any():
            self._rows["touched"].append(np.asarray(info["touched"], bool).reshape(-1)[reported])
        self._count += int(valid.sum())

    def _performed(self, info: Info, valid: Mask) -> NDArray[Any]:
        """Return the displacements of the valid rows, ``(k, dim)``; other rows may hold anything."""
        performed = np.asarray(self._read(info, valid))
        if not self._batched:
            performed = performed[None]
        if performed.shape[:1] != valid.shape:
            raise ValueError(
                f"displacement must have a row for each of {len(valid)} environments, got shape {performed.shape}"
            )
        rows = performed[valid]
        if rows.dtype == object:  # of the lists that environments report Gymnasium makes an array of objects
            rows = np.asarray(rows.tolist())
        if rows.dtype.kind not in "biuf":
            raise ValueError(f"displacement must be numbers, got {rows.dtype} in step {self._steps}")
        return self._group.validate(rows.reshape(len(rows), -1), "displacement")

    def _read(self, info: Info, valid: Mask) -> Any:
        if callable(self._displacement):
            return self._displacement(info)
        key = self._displacement
        if key not in info:
            raise ValueError(f"info has no {key!r}; pass displacement= one of {sorted(info)} or a function")
        missing = valid & ~self._reported(key, info, len(valid))
        if missing.any():
            raise ValueError(
                f"info of environment {missing.argmax()} has no {key!r} in step {self._steps}; report it in every step"
            )
        return info[key]

    def _reported(self, key: str, info: Info, count: int) -> Mask:
        """Return which environments reported a key of ``info``, ``(count,)``."""
        if key not in info:
            return np.zeros(count, bool)
        return np.asarray(info.get(f"_{key}", True) if self._batched else True, bool) & np.ones(count, bool)
