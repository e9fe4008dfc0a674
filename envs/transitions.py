"""Experience as data: frozen, validated arrays of transitions ``(o, a, o')``."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.groups import GroupError, group_from_name


class TransitionsError(ValueError):
    """The arrays do not describe transitions."""


@dataclass(frozen=True)
class Transitions:
    """``N`` transitions, none of them across a reset. The arrays are read-only.

    Frames are stored once, though most are both the end of a transition and the start of the next.

    Attributes:
        frames: ``(F, H, W, C)`` uint8, every frame that was seen.
        start: ``(N,)`` integers, the frame a transition starts from.
        end: ``(N,)`` integers, the frame it leads to.
        displacement: ``(N, dim)`` float32, the group element that was performed in between.
        group: name of the group that acts, such as ``"R2"``.
        truth: arrays ``(F, ...)`` of what is true of every frame, such as ``"agent_pose"``; for evaluation alone,
            training never reads them. Empty where nothing is known.
        touched: ``(N,)`` whether the agent moved the object, for evaluation alone; None where it is not known.
        action: ``(N, dim + commands)`` float32, what a demonstrator said to do; None where nobody demonstrated.

    Raises:
        TransitionsError: wrong types or shapes, indices out of range, or displacements that are not the group's.
    """

    frames: NDArray[np.uint8]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    displacement: NDArray[np.float32]
    group: str
    truth: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    touched: NDArray[np.bool_] | None = None
    action: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        _require(self.frames.dtype == np.uint8, f"frames must be uint8 (0 to 255), got {self.frames.dtype}")
        _require(self.frames.ndim == 4, f"frames must have shape (F, H, W, C), got {self.frames.shape}")
        _require(len(self.start) > 0, "at least one transition is needed, got none")
        for name in ("start", "end"):
            index = getattr(self, name)
            _require(index.shape == (len(self),), f"{name} must have shape ({len(self)},), got {index.shape}")
            _require(np.issubdtype(index.dtype, np.integer), f"{name} must be integers, got {index.dtype}")
            in_range = 0 <= index.min() and index.max() < len(self.frames)
            _require(bool(in_range), f"{name} must lie in [0, {len(self.frames)}), got {index.min()} to {index.max()}")
        shape = self.displacement.shape
        _require(len(shape) == 2 and shape[0] == len(self), f"displacement must be ({len(self)}, dim), got {shape}")
        try:
            group_from_name(self.group).validate(self.displacement, "displacement")
        except GroupError as error:
            raise TransitionsError(str(error)) from error
        for name, values in self.truth.items():
            count = len(values)
            _require(count == len(self.frames), f"truth[{name!r}] must have {len(self.frames)} rows, got {count}")
        if self.touched is not None:
            _require(self.touched.shape == (len(self),), f"touched must be ({len(self)},), got {self.touched.shape}")
        if self.action is not None:
            shape = self.action.shape
            _require(len(shape) == 2 and shape[0] == len(self), f"action must be ({len(self)}, size), got {shape}")
            _require(bool(np.isfinite(self.action).all()), "action must be finite, got NaN or infinity")
        known = [array for array in (self.touched, self.action) if array is not None]
        for array in (self.frames, self.start, self.end, self.displacement, *known, *self.truth.values()):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.start)

    @property
    def observations(self) -> NDArray[np.uint8]:
        """The frames ``o`` the transitions start from, ``(N, H, W, C)``; a copy."""
        return self.frames[self.start]

    @property
    def next_observations(self) -> NDArray[np.uint8]:
        """The frames ``o'`` they lead to, ``(N, H, W, C)``; a copy."""
        return self.frames[self.end]

    @property
    def fingerprint(self) -> str:
        """A checksum of what is learned from: frames, indices, displacements and actions."""
        checksum = 0
        learned_from = (self.frames, self.start, self.end, self.displacement, self.action)
        for array in (each for each in learned_from if each is not None):
            checksum = zlib.crc32(np.ascontiguousarray(array).data, checksum)
        return f"{checksum:08x}"

    def select(self, chosen: NDArray[Any]) -> Transitions:
        """The transitions with these indices (or this mask), with the frames that they need."""
        start, end = self.start[chosen], self.end[chosen]
        used, index = np.unique(np.concatenate([start, end]), return_inverse=True)
        return replace(
            self,
            frames=self.frames[used],
            start=index[: len(start)],
            end=index[len(start) :],
            displacement=self.displacement[chosen],
            truth={name: values[used] for name, values in self.truth.items()},
            touched=None if self.touched is None else self.touched[chosen],
            action=None if self.action is None else self.action[chosen],
        )


def concatenate(parts: list[Transitions]) -> Transitions:
    """All transitions of several sets of the same world.

    Raises:
        TransitionsError: no sets, or sets of different groups, frame shapes or truths.
    """
    _require(len(parts) > 0, "at least one set of transitions is needed, got none")
    kinds = {
        (part.group, part.frames.shape[1:], tuple(sorted(part.truth)), part.touched is None, part.action is None)
        for part in parts
    }
    _require(len(kinds) == 1, f"all sets must have the same group, frame shape, truth and actions, got {sorted(kinds)}")
    offsets = np.cumsum([0] + [len(part.frames) for part in parts])
    return Transitions(
        frames=np.concatenate([part.frames for part in parts]),
        start=np.concatenate([part.start + offset for part, offset in zip(parts, offsets, strict=False)]),
        end=np.concatenate([part.end + offset for part, offset in zip(parts, offsets, strict=False)]),
        displacement=np.concatenate([part.displacement for part in parts]),
        group=parts[0].group,
        truth={name: np.concatenate([part.truth[name] for part in parts]) for name in parts[0].truth},
        touched=_joined([part.touched for part in parts]),
        action=_joined([part.action for part in parts]),
    )


def _joined(arrays: list[Any]) -> NDArray[Any] | None:
    return None if arrays[0] is None else np.concatenate(arrays)


def chains(transitions: Transitions) -> NDArray[np.int64]:
    """Which episode each transition belongs to, ``(N,)``: a new one begins where a transition does not follow the last.

    >>> frames, move = np.zeros((5, 1, 1, 3), np.uint8), np.zeros((3, 2), np.float32)
    >>> chains(Transitions(frames, np.array([0, 1, 3]), np.array([1, 2, 4]), move, "R2")).tolist()
    [0, 0, 1]
    """
    begins = np.append(True, transitions.start[1:] != transitions.end[:-1])
    return np.asarray(np.cumsum(begins) - 1)


def onward(transitions: Transitions) -> NDArray[np.int64]:
    """The transition that goes on where each one ended, ``(N,)``, or -1: no transition goes on from two.

    >>> frames, move = np.zeros((4, 1, 1, 3), np.uint8), np.zeros((3, 2), np.float32)
    >>> onward(Transitions(frames, np.array([0, 1, 1]), np.array([1, 2, 3]), move, "R2")).tolist()
    [1, -1, -1]
    """
    waiting: dict[int, list[int]] = {}
    for i in reversed(range(len(transitions))):
        waiting.setdefault(int(transitions.start[i]), []).append(i)
    return np.array([waiting[frame].pop() if waiting.get(frame) else -1 for frame in transitions.end.tolist()])


def spans(transitions: Transitions, horizon: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """All spans of one to ``horizon`` consecutive transitions, themselves transitions of several steps.

    Returns:
        The frames they start from and lead to, ``(M,)`` each, and the product of their displacements, ``(M, dim)``.
    """
    follower, group = onward(transitions), group_from_name(transitions.group)
    start, last, total = transitions.start, np.arange(len(transitions)), transitions.displacement
    parts = [(start, transitions.end, total)]
    for _ in range(horizon - 1):
        following = follower[last]
        on = following >= 0
        start, last = start[on], following[on]
        total = group.compose(transitions.displacement[last], total[on])
        parts.append((start, transitions.end[last], total))
    starts, ends, totals = zip(*parts, strict=True)
    return np.concatenate(starts), np.concatenate(ends), np.concatenate(totals)


def runs(transitions: Transitions, longest: int) -> Iterator[NDArray[np.int64]]:
    """Runs of up to ``longest`` transitions, each starting where the one before it ended.

    Every transition is in exactly one, whatever the links between frames: branches, rings, a frame that stays.
    """
    follower = onward(transitions)
    heads = np.setdiff1d(np.arange(len(transitions)), follower)
    done = np.zeros(len(transitions), bool)
    for head in (*heads, *range(len(transitions))):  # after the heads, what is left are rings, which start anywhere
        chain: list[int] = []
        at = head
        while at >= 0 and not done[at]:
            done[at] = True
            chain.append(at)
            at = follower[at]
        for cut in range(0, len(chain), longest):
            yield np.array(chain[cut : cut + longest])


def views(transitions: Transitions, longest: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The frames of all `runs`, which within a run are acted into one another.

    Returns:
        The frames, run after run, each in the order of its walk, ``(F,)``; how many there are of each run; and the
        product of the displacements since the run's first frame, ``(F, dim)``.
    """
    chains, group = list(runs(transitions, longest)), group_from_name(transitions.group)
    length = np.array([len(chain) + 1 for chain in chains])
    begin = np.cumsum(length) - length
    frame = np.concatenate([[transitions.start[chain[0]], *transitions.end[chain]] for chain in chains])
    moved = np.tile(group.identity(), (len(frame), 1))
    for step in range(1, length.max()):
        rows = begin[length > step] + step
        last = np.array([chain[step - 1] for chain in chains if len(chain) >= step])
        moved[rows] = group.compose(transitions.displacement[last].astype(float), moved[rows - 1])
    return frame, length, moved.astype(np.float32)


def equal(a: Transitions, b: Transitions) -> bool:
    """Whether two sets hold the same transitions, to the last bit."""
    plain = [item.name for item in fields(Transitions) if item.name not in ("truth", "group")]
    return (
        a.group == b.group
        and a.truth.keys() == b.truth.keys()
        and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in plain)
        and all(np.array_equal(a.truth[name], b.truth[name]) for name in a.truth)
    )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise TransitionsError(message)
