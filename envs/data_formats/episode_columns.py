"""The columns of an episode of a data set of another package, by name, and the elements of a group in them.

A name may be nested, such as ``observations/agent_pos`` or ``observation.state``; dots and slashes mean the same. After
it, coordinates may be selected: ``observation.state[0:2]`` or ``observation.state[0,1,5]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.minari_dataset import DatasetError
from ..lie_groups.group import Group, GroupError

_SELECTED = re.compile(r"(?P<name>[^\[\]]+)(\[(?P<selection>[-0-9:, ]+)\])?")


class EpisodeColumns(Mapping[str, NDArray[Any]]):
    """The columns of an episode of ``F`` frames, each with ``F`` or ``F - 1`` entries, by name.

    The entries of a column lie *at* the frames, or *between* them. A column with ``F - 1`` entries lies between the
    frames. One with ``F`` entries tells, at each frame, of the step before it where it is observed (``observation``,
    ``obs`` or ``info`` in its name), and of the step after it otherwise, as actions do.

    Args:
        columns: the arrays; nested dictionaries are allowed.
        num_frames: number of frames ``F`` of the episode.

    Example:
        >>> columns = EpisodeColumns({"infos": {"moved": np.arange(3.0)}, "action": np.arange(2.0)}, num_frames=3)
        >>> columns["infos.moved"].tolist(), columns.between("infos/moved").tolist()
        ([0.0, 1.0, 2.0], [[1.0], [2.0]])
    """

    def __init__(self, columns: Mapping[str, Any], num_frames: int) -> None:
        self._columns = {name: np.asarray(values) for name, values in flatten(columns)}
        self.num_frames = num_frames

    def __getitem__(self, name: str) -> NDArray[Any]:
        try:
            return self._columns[find_name(name, list(self._columns))]
        except DatasetError as error:
            raise KeyError(str(error)) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def at_frames(self, selected: str) -> NDArray[np.float64]:
        """Return the coordinates of a column at each frame, ``(F, k)``, float64.

        Args:
            selected: name of the column, with a selection such as ``[0:2]`` if not all coordinates are meant.

        Raises:
            DatasetError: there is no such column, it is not numeric, or it has no entry for each frame.
        """
        values = self._coordinates(selected)
        if len(values) != self.num_frames:
            raise DatasetError(
                f"expected one entry of {selected!r} for each of the {self.num_frames} frames of an episode, "
                f"got {len(values)}; choose a column of observations"
            )
        return values

    def between(self, selected: str) -> NDArray[np.float64]:
        """Return the coordinates of a column for each step, ``(F - 1, k)``, float64.

        Args:
            selected: see `at_frames`.

        Raises:
            DatasetError: there is no such column, it is not numeric, or it fits neither the frames nor the steps.
        """
        values = self._coordinates(selected)
        if len(values) == self.num_frames - 1:
            return values
        if len(values) == self.num_frames:
            return values[1:] if _is_observed(selected) else values[:-1]
        raise DatasetError(
            f"expected {self.num_frames - 1} or {self.num_frames} entries of {selected!r} in an episode of "
            f"{self.num_frames} frames, got {len(values)}; choose another column"
        )

    def _coordinates(self, selected: str) -> NDArray[np.float64]:
        name, selection = split_selection(selected)
        values = self._columns[find_name(name, list(self._columns))]
        if values.dtype.kind not in "biuf":
            raise DatasetError(f"expected numbers in the column {name!r}, got {values.dtype}; choose another column")
        rows = values.reshape(len(values), -1).astype(np.float64)
        return rows if selection is None else _select(rows, selection, selected)


def flatten(columns: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the names of nested columns, joined by slashes, and the columns."""
    for name, values in columns.items():
        if isinstance(values, Mapping):
            yield from flatten(values, f"{prefix}{name}/")
        elif values is not None:
            yield f"{prefix}{name}", values


def find_name(wanted: str, names: Sequence[str]) -> str:
    """Return the name of the column that is meant; dots and slashes are the same.

    Raises:
        DatasetError: there is none, or more than one.

    Example:
        >>> find_name("obs.agent_pos", ["obs/agent_pos", "actions"])
        'obs/agent_pos'
    """
    alike = [name for name in names if _plain(name) == _plain(wanted)]
    found = [wanted] if wanted in names else alike
    if len(found) != 1:
        shown = ", ".join(found if found else sorted(names)[:40]) or "none"
        raise DatasetError(f"expected one column {wanted!r}, got {len(found)}; columns: {shown}. Choose one of these")
    return found[0]


def split_selection(selected: str) -> tuple[str, str | None]:
    """Return the name of a column, and the selection after it or None.

    Raises:
        DatasetError: the text is no name with a selection.

    Example:
        >>> split_selection("observation.state[0:2]")
        ('observation.state', '0:2')
    """
    match = _SELECTED.fullmatch(selected.strip())
    if match is None:
        raise DatasetError(
            f"expected a column such as 'observation.state' or 'observation.state[0:2]', got {selected!r}"
        )
    return match["name"], match["selection"]


def _select(rows: NDArray[np.float64], selection: str, selected: str) -> NDArray[np.float64]:
    """Return the columns ``0:2`` or ``0,1,5`` of an array."""
    width, chosen = rows.shape[1], []
    for part in selection.split(","):
        bounds = [int(bound) if bound.strip() else None for bound in part.split(":")] if _is_part(part) else []
        if not bounds or (len(bounds) == 1 and bounds[0] is None) or len(bounds) > 3 or bounds[2:] == [0]:
            raise DatasetError(f"expected a selection such as [0:2] or [0,1,5], got {selected!r}")
        given = [bound for bound in bounds[:2] if bound is not None]
        if any(not -width <= bound < width + (len(bounds) > 1) for bound in given):
            raise DatasetError(f"expected coordinates below {width} in {selected!r}, got {part.strip()}")
        chosen += list(range(width))[slice(*bounds)] if len(bounds) > 1 else [int(given[0])]
    if not chosen:
        raise DatasetError(f"expected at least one coordinate, got none by {selected!r}")
    return rows[:, chosen]


def _is_part(part: str) -> bool:
    return re.fullmatch(r"\s*-?\d*\s*(:\s*-?\d*\s*){0,2}", part) is not None and not re.search(r"-(?!\d)", part)


def _is_observed(name: str) -> bool:
    """Return whether a column tells, at a frame, of the step that led to it."""
    return re.match(r"obs(ervations?)?([./\[_]|$)|infos?([./\[]|$)", name) is not None


def _plain(name: str) -> str:
    return name.strip("/").replace("/", ".")


def to_elements(group: Group, values: NDArray[np.float64], what: str) -> NDArray[np.float64]:
    """Return the group elements that coordinates stand for, ``(N, dim)``.

    Each factor may be given by its own ``dim`` coordinates. Shorter forms are an angle in radians for ``SO2`` and
    ``C<n>``, ``(x, y, angle)`` for ``SE2``, and a rotation vector for ``SO3``.

    Args:
        group: the group.
        values: coordinates ``(N, k)``.
        what: name of the coordinates in the error message.

    Raises:
        DatasetError: the number of coordinates fits neither form, or a coordinate is NaN or infinite.

    Example:
        >>> from equiact.envs.lie_groups.registry import group_from_name
        >>> to_elements(group_from_name("SE2"), np.array([[1.0, 2.0, 0.0]]), "pose").tolist()
        [[1.0, 2.0, 1.0, 0.0]]
    """
    width, short = values.shape[-1], [_short_dim(factor) for factor in group.factors]
    if not np.isfinite(values).all():
        raise DatasetError(f"expected finite numbers in {what}, got {values[~np.isfinite(values)][0]}")
    if width == group.dim:
        return values
    if width != sum(short):
        forms = " or ".join(str(each) for each in sorted({sum(short), group.dim}))
        raise DatasetError(
            f"expected {forms} coordinates of {group.name} in {what}, got {width}; select them, "
            f"such as by {what}[0:{sum(short)}], or choose another group"
        )
    bounds = np.cumsum([0, *short])
    parts = [
        _long_form(factor, values[..., begin:end], what)
        for factor, begin, end in zip(group.factors, bounds[:-1], bounds[1:], strict=True)
    ]
    return np.concatenate(parts, -1)


def _short_dim(group: Group) -> int:
    return group.dim if group.is_translation_group else group.tangent_dim


def _long_form(group: Group, short: NDArray[np.float64], what: str) -> NDArray[np.float64]:
    if group.is_translation_group:
        return short
    if group.name == "SE2":
        angle = short[..., 2:]
        return np.concatenate([short[..., :2], np.cos(angle), np.sin(angle)], -1)
    if not (group.is_rotation_group or group.is_torus):
        raise DatasetError(
            f"expected {group.dim} coordinates of {group.name} in {what}, got {short.shape[-1]}; "
            "give a function module:function that returns elements"
        )
    try:
        return np.asarray(group.exp(short))
    except GroupError as error:
        raise DatasetError(f"{what}: {error}") from error
