"""Say where the displacement of a data set is: in a column, in the differences of one, or in a function of all."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..data.minari_dataset import DatasetError
from ..lie_groups.group import Group
from .episode_columns import EpisodeColumns, split_selection, to_elements

DisplacementFunction: TypeAlias = Callable[[EpisodeColumns], NDArray[Any]]
"""A function from the columns of an episode to its displacements ``(T, dim)``."""

_FORMS = "'column:NAME', 'difference:NAME' or 'module:function'"


@dataclass(frozen=True)
class DisplacementRule:
    """Compute the displacements of an episode of ``T`` steps and ``T + 1`` frames from its columns.

    | text | displacement |
    |---|---|
    | ``column:NAME`` | entry of a column; see `EpisodeColumns` for which step an entry belongs to |
    | ``difference:NAME`` | ``p' · p⁻¹``, where ``p`` and ``p'`` are consecutive poses; ``p' − p`` in ``R^n`` |
    | ``module:function`` | what a function of the columns returns |

    Coordinates are selected by an index: ``difference:observation.state[0:2]``. Angles, ``(x, y, angle)`` and rotation
    vectors are turned into elements; see `to_elements`.

    Attributes:
        kind: ``"column"``, ``"difference"`` or ``"function"``.
        name: name of the column with its selection, or of the function.
        function: the function; None for a column.

    Example:
        >>> from equiact.envs.lie_groups.registry import group_from_name
        >>> columns = EpisodeColumns({"state": np.array([[0.0, 9.0], [1.0, 9.0], [3.0, 9.0]])}, num_frames=3)
        >>> rule = DisplacementRule.parse("difference:state[0]")
        >>> rule.displacement(columns, group_from_name("R1")).tolist()
        [[1.0], [2.0]]
    """

    kind: str
    name: str
    function: DisplacementFunction | None = None

    @classmethod
    def parse(cls, rule: str | DisplacementRule | DisplacementFunction) -> DisplacementRule:
        """Return the rule that a text or a function describes.

        Raises:
            DatasetError: the text has none of the forms, or there is no such function.
        """
        if isinstance(rule, DisplacementRule):
            return rule
        if callable(rule):
            return cls("function", getattr(rule, "__qualname__", type(rule).__name__), rule)
        kind, separator, name = rule.partition(":") if isinstance(rule, str) else ("", "", "")
        if not (kind and separator and name):
            raise DatasetError(f"expected a rule {_FORMS} for the displacement, got {rule!r}")
        if kind in ("column", "difference"):
            split_selection(name)
            return cls(kind, name)
        return cls("function", rule, import_function(rule))

    @property
    def columns(self) -> list[str] | None:
        """Return the names of the columns that are needed; None if all may be."""
        return None if self.function is not None else [split_selection(self.name)[0]]

    def displacement(self, columns: EpisodeColumns, group: Group) -> NDArray[np.float32]:
        """Return the displacements of an episode, ``(T, dim)``, elements of the group.

        Raises:
            DatasetError: a column is missing or does not fit, or the function fails or returns something else.
        """
        if self.function is not None:
            moves = self._called(self.function, columns)
        elif self.kind == "column":
            moves = to_elements(group, columns.between(self.name), self.name)
        else:
            moves = differences(group, to_elements(group, columns.at_frames(self.name), self.name))
        return moves.astype(np.float32)

    def _called(self, function: DisplacementFunction, columns: EpisodeColumns) -> NDArray[Any]:
        try:
            moves = np.asarray(function(columns))
        except DatasetError:
            raise
        except Exception as error:
            raise DatasetError(
                f"the function {self.name} failed on an episode of {columns.num_frames} frames with "
                f"{type(error).__name__}: {error}; columns: {', '.join(columns)}"
            ) from error
        expected = columns.num_frames - 1
        if moves.ndim != 2 or len(moves) != expected or moves.dtype.kind not in "iuf":
            raise DatasetError(
                f"expected ({expected}, dim) numbers from {self.name} for an episode of {columns.num_frames} frames, "
                f"got {moves.shape} of {moves.dtype}"
            )
        return moves


def differences(group: Group, poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the relative poses ``p' · p⁻¹`` of consecutive poses, ``(T, dim)`` from ``(T + 1, dim)``.

    They are the displacements ``g`` with ``p' = g · p``, as everywhere in the package.

    Example:
        >>> from equiact.envs.lie_groups.registry import group_from_name
        >>> differences(group_from_name("R1"), np.array([[1.0], [4.0]])).tolist()
        [[3.0]]
    """
    return np.asarray(group.compose(poses[1:], group.inverse(poses[:-1])))


def import_function(name: str) -> DisplacementFunction:
    """Return the function ``module:function``.

    Raises:
        DatasetError: there is no such module or function.
    """
    module_name, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise DatasetError(
            f"expected a rule {_FORMS} for the displacement, got {name!r}, which cannot be imported: {error}"
        ) from error
    if not callable(found):
        raise DatasetError(f"expected a function for the displacement, got {name!r}, a {type(found).__name__}")
    function: DisplacementFunction = found
    return function
