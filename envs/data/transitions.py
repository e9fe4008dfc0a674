"""The data type of the package: frozen, validated arrays of transitions ``(o, g, o')``.

``o`` and ``o'`` are frames and ``g`` is the displacement, the group element that was performed between them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lie_groups.group import GroupError
from ..lie_groups.registry import group_from_name
from .episode_arrays import EpisodesError, stack_episodes

_DTYPES = {
    "frames": np.uint8,
    "start": np.int64,
    "end": np.int64,
    "displacement": np.float32,
    "touched": np.bool_,
    "action": np.float32,
}
"""Names and types of the arrays."""


class TransitionsError(ValueError):
    """The arrays do not describe transitions."""


@dataclass(frozen=True, repr=False)
class Transitions:
    """``N`` transitions, none of which crosses a reset. The arrays are contiguous and read-only.

    Frames are stored once, though most are both the end of a transition and the start of the next. Arrays of another
    type, and those that are not contiguous, such as the view ``frames[..., ::-1]`` that turns BGR into RGB, are copied.
    All others are shared: what is later written to the array that was given changes the transitions.

    Attributes:
        frames: ``(F, H, W, C)`` uint8, all frames.
        start: ``(N,)`` int64, index of the frame that a transition starts from.
        end: ``(N,)`` int64, index of the frame that it leads to.
        displacement: ``(N, dim)`` float32, the group element that was performed.
        group: name of the group that acts, such as ``"R2"``.
        ground_truth: arrays ``(F, ...)`` with simulator values for each frame, such as ``"agent_pose"``. For evaluation
            only; training never reads them. Empty if unknown.
        touched: ``(N,)`` bool, the agent moved the object. For evaluation only; None if unknown.
        action: ``(N, dim + commands)`` float32, the action of the expert; None if there were no demonstrations.

    Raises:
        TransitionsError: wrong types or shapes, indices out of range, values that are not finite, or displacements
            that are no elements of the group.

    Example:
        >>> frames = np.zeros((3, 16, 16, 3), np.uint8)
        >>> move = np.array([[0.1, 0.0], [0.0, 0.2]], np.float32)
        >>> len(Transitions(frames, np.array([0, 1]), np.array([1, 2]), move, group="R2"))
        2
    """

    frames: NDArray[np.uint8]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    displacement: NDArray[np.float32]
    group: str
    ground_truth: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    touched: NDArray[np.bool_] | None = None
    action: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        _require_array("frames", self.frames, "biuf", ("F", "H", "W", "C"))
        _require(self.frames.dtype == np.uint8, f"frames must be uint8 (0 to 255), got {self.frames.dtype}")
        count = self._checked_count()
        _require_array("displacement", self.displacement, "iuf", (count, "dim"))
        if self.touched is not None:
            _require_array("touched", self.touched, "b", (count,))
        if self.action is not None:
            _require_array("action", self.action, "iuf", (count, "size"))
        given = self.ground_truth
        _require(isinstance(given, Mapping), f"ground_truth must map names to arrays, got {type(given).__name__}")
        for name, values in given.items():
            _require_array(f"ground_truth[{name!r}]", values, "biuf", (len(self.frames), ...))
        self._freeze()
        if self.action is not None:
            _require(bool(np.isfinite(self.action).all()), "action must be finite, got NaN or infinity")
        try:
            group_from_name(self.group).validate(self.displacement, "displacement")
        except GroupError as error:
            raise TransitionsError(str(error)) from error

    @classmethod
    def from_episodes(
        cls, episodes: Iterable[Mapping[str, Any]], group: str, *, channel_first: bool = False
    ) -> Transitions:
        """Return the transitions of episodes that are given as NumPy arrays.

        Each episode is a mapping. Its ``T`` displacements lie between ``T + 1`` images. An episode with one image and
        no displacement is left out with a warning.

        | key | shape | meaning |
        |---|---|---|
        | ``images`` | ``(T + 1, H, W, C)`` | frames, uint8 |
        | ``displacement`` | ``(T, dim)`` | entry ``t`` leads from image ``t`` to image ``t + 1`` |
        | ``ground_truth`` | ``{name: (T + 1, ...)}`` | optional: simulator values of each image, for evaluation only |
        | ``touched`` | ``(T,)`` | optional: bool, the agent moved the object |
        | ``action`` | ``(T, size)`` | optional: the action of the expert |

        Args:
            episodes: the episodes, such as a list of dictionaries, or a generator of them.
            group: name of the group that acts, such as ``"R2"``.
            channel_first: the images have the shape ``(C, H, W)``.

        Raises:
            TransitionsError: arrays have other types or lengths, episodes differ, or none has a transition.

        Example:
            >>> images, move = np.zeros((3, 16, 16, 3), np.uint8), np.array([[0.1, 0.0], [0.0, 0.2]])
            >>> Transitions.from_episodes([{"images": images, "displacement": move}] * 2, group="R2")
            Transitions(4, frames=(6, 16, 16, 3), group='R2')
        """
        try:
            arrays = stack_episodes(episodes, channel_first)
        except EpisodesError as error:
            raise TransitionsError(str(error)) from error
        return cls(group=group, **arrays)

    def _freeze(self) -> None:
        """Make all arrays contiguous, read-only, and of the types that the class documents."""
        for name, dtype in _DTYPES.items():
            array = getattr(self, name)
            if array is not None:
                object.__setattr__(self, name, _frozen(name, array, dtype))
        frozen = {
            name: _frozen(f"ground_truth[{name!r}]", values, values.dtype) for name, values in self.ground_truth.items()
        }
        object.__setattr__(self, "ground_truth", frozen)

    def _checked_count(self) -> int:
        """Check ``start`` and ``end``, and return the number of transitions."""
        _require_array("start", self.start, "iu", ("N",))
        _require(len(self.start) > 0, "at least one transition is needed, got none")
        _require_array("end", self.end, "iu", (len(self.start),))
        for name, index in (("start", self.start), ("end", self.end)):
            in_range = 0 <= index.min() and index.max() < len(self.frames)
            _require(bool(in_range), f"{name} must lie in [0, {len(self.frames)}), got {index.min()} to {index.max()}")
        return len(self.start)

    def __repr__(self) -> str:
        return f"Transitions({len(self)}, frames={self.frames.shape}, group={self.group!r})"

    def __len__(self) -> int:
        return len(self.start)

    @property
    def observations(self) -> NDArray[np.uint8]:
        """Return the frames ``o`` that the transitions start from, ``(N, H, W, C)``; a copy."""
        return self.frames[self.start]

    @property
    def next_observations(self) -> NDArray[np.uint8]:
        """Return the frames ``o'`` that the transitions lead to, ``(N, H, W, C)``; a copy."""
        return self.frames[self.end]

    @property
    def fingerprint(self) -> str:
        """Return a checksum (CRC-32) of all that training reads: frames, indices, displacements and actions."""
        checksum = 0
        learned_from = (self.frames, self.start, self.end, self.displacement, self.action)
        for array in (each for each in learned_from if each is not None):
            checksum = zlib.crc32(np.ascontiguousarray(array).data, checksum)
        return f"{checksum:08x}"

    def select(self, chosen: NDArray[Any]) -> Transitions:
        """Return the transitions with these indices, or this mask, with only the frames that they need."""
        start, end = self.start[chosen], self.end[chosen]
        used, index = np.unique(np.concatenate([start, end]), return_inverse=True)
        return replace(
            self,
            frames=self.frames[used],
            start=index[: len(start)],
            end=index[len(start) :],
            displacement=self.displacement[chosen],
            ground_truth={name: values[used] for name, values in self.ground_truth.items()},
            touched=None if self.touched is None else self.touched[chosen],
            action=None if self.action is None else self.action[chosen],
        )


def concatenate(parts: list[Transitions]) -> Transitions:
    """Return all transitions of several sets, in order.

    Raises:
        TransitionsError: no sets, or sets that differ in group, frame shape, ground truth or actions.
    """
    _require(len(parts) > 0, "at least one set of transitions is needed, got none")
    kinds = {
        (part.group, part.frames.shape[1:], tuple(sorted(part.ground_truth)), part.touched is None, part.action is None)
        for part in parts
    }
    _require(
        len(kinds) == 1,
        f"all sets must have the same group, frame shape, ground truth and actions, got {sorted(kinds)}",
    )
    offsets = np.cumsum([0] + [len(part.frames) for part in parts])
    return Transitions(
        frames=np.concatenate([part.frames for part in parts]),
        start=np.concatenate([part.start + offset for part, offset in zip(parts, offsets, strict=False)]),
        end=np.concatenate([part.end + offset for part, offset in zip(parts, offsets, strict=False)]),
        displacement=np.concatenate([part.displacement for part in parts]),
        group=parts[0].group,
        ground_truth={
            name: np.concatenate([part.ground_truth[name] for part in parts]) for name in parts[0].ground_truth
        },
        touched=_joined([part.touched for part in parts]),
        action=_joined([part.action for part in parts]),
    )


def _joined(arrays: list[Any]) -> NDArray[Any] | None:
    return None if arrays[0] is None else np.concatenate(arrays)


def equal(a: Transitions, b: Transitions) -> bool:
    """Return whether two sets hold the same transitions, bit for bit."""
    plain = [item.name for item in fields(Transitions) if item.name not in ("ground_truth", "group")]
    return (
        a.group == b.group
        and a.ground_truth.keys() == b.ground_truth.keys()
        and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in plain)
        and all(np.array_equal(a.ground_truth[name], b.ground_truth[name]) for name in a.ground_truth)
    )


def _require_array(name: str, array: Any, kinds: str, shape: tuple[Any, ...]) -> None:
    """Check the type and the shape of an array.

    Args:
        name: name of the array in the error message.
        array: what the caller gave.
        kinds: NumPy's codes of the kinds that are allowed: ``b`` bool, ``i`` and ``u`` integers, ``f`` floats.
        shape: the length of each axis: a number, the name of one that is free, or ``...`` for any further axes.
    """
    _require(isinstance(array, np.ndarray), f"{name} must be a NumPy array, got {type(array).__name__}")
    ndim, known = len(shape), [axis for axis, length in enumerate(shape) if isinstance(length, int)]
    fits = array.ndim >= ndim - 1 if ... in shape else array.ndim == ndim
    expected = f"({', '.join('...' if length is ... else str(length) for length in shape)}{',' * (ndim == 1)})"
    fits = fits and all(array.shape[axis] == shape[axis] for axis in known)
    _require(fits, f"{name} must have shape {expected}, got {array.shape}")
    words = {"b": "bool", "iu": "integers", "iuf": "real numbers", "biuf": "real numbers or bool"}
    _require(array.dtype.kind in kinds, f"{name} must be {words[kinds]}, got {array.dtype}")


def _frozen(name: str, array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Return an array as a contiguous, read-only array of this type: a view where that needs no copy."""
    _require(array.size > 0, f"{name} must have no axis of length zero, got shape {array.shape}")
    with np.errstate(over="ignore"):
        frozen = np.ascontiguousarray(array, dtype).view()
    frozen.flags.writeable = False
    return frozen


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise TransitionsError(message)
