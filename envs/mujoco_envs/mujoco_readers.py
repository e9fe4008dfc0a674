"""Functions that read MuJoCo's objects and return functions that write them back; see `object_readers`."""

from __future__ import annotations

import copy
import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .attribute_readers import SnapshotBuilder

Restore = Callable[[Any], None]


def reader_of(kind: type) -> Callable[[SnapshotBuilder, Any], Restore | None] | None:
    """Return the function that reads objects of one of MuJoCo's types, except models and data.

    Views, such as ``data.body("ball")``, scenes to draw and elements of specifications have no state of their own.
    """
    if kind.__name__ == "MjSpec":
        return read_spec
    if kind.__module__ == "mujoco._specs" or kind.__name__.startswith(("_Mj", "MjvScene", "MjvFigure")):
        return None
    return read_struct


def read_data(snapshot: SnapshotBuilder, data: Any) -> Restore:
    """Read all of an ``MjData``: environments use derived quantities, such as contact forces, as they are."""
    mujoco: Any = sys.modules["mujoco"]
    snapshot.visit(data.model, ".model")
    saved = copy.copy(data)

    def restore(put: Any) -> None:
        mujoco.mj_copyData(data, data.model, saved)

    return restore


def read_model(snapshot: SnapshotBuilder, model: Any) -> Restore:
    """Read all arrays and options of an ``MjModel``; unchanged arrays are shared with an earlier snapshot."""
    earlier = snapshot.previous.get(id(model), {})
    saved = {name: _shared(getattr(model, name), earlier.get(name)) for name in _array_names()}
    snapshot.shared[id(model)] = saved
    structs = [_read_values(getattr(model, name)) for name in ("opt", "stat", "vis")]

    def restore(put: Any) -> None:
        for name, array in saved.items():
            if array.size:
                getattr(model, name)[...] = array
        for struct in structs:
            struct()

    return restore


def read_struct(snapshot: SnapshotBuilder, struct: Any) -> Restore:
    """Read the fields of a structure, such as ``MjOption``."""
    restore = _read_values(struct)
    return lambda put: restore()


def read_spec(snapshot: SnapshotBuilder, spec: Any) -> Restore:
    """Read the XML of an ``MjSpec``, which cannot be written back: a restore only checks that it is unchanged."""
    saved = spec.to_xml()

    def restore(put: Any) -> None:
        if spec.to_xml() != saved:
            raise RuntimeError(
                "expected the MjSpec that the environment holds to be as it was when the state was saved, but it was "
                "edited since, and an MjSpec cannot be restored; edit a copy, or save again after the edit"
            )

    return restore


@functools.cache
def _array_names() -> tuple[str, ...]:
    """Return the names of the arrays of a model."""
    mujoco: Any = sys.modules["mujoco"]
    empty = mujoco.MjModel.from_xml_string("<mujoco/>")
    arrays = {name: getattr(empty, name) for name in dir(empty) if not name.startswith("_")}
    return tuple(name for name, one in arrays.items() if isinstance(one, np.ndarray) and one.flags.writeable)


def _shared(array: Any, earlier: Any) -> Any:
    """Return an earlier copy of an array if it holds the same bytes, else a new copy."""
    if earlier is not None and earlier.shape == array.shape and np.array_equal(_bits(array), _bits(earlier)):
        return earlier
    return array.copy()


def _bits(array: Any) -> Any:
    """Return an array as unsigned integers: -0.0 is not 0.0, and NaN is itself."""
    return array.view(f"u{array.itemsize}")


def _read_values(struct: Any) -> Callable[[], None]:
    """Read numbers, arrays and structures in a structure; return the function that writes them back."""
    fields = {name: getattr(struct, name) for name in dir(struct) if not name.startswith("_")}
    numbers = {name: value for name, value in fields.items() if isinstance(value, bool | int | float)}
    arrays = {name: value.copy() for name, value in fields.items() if isinstance(value, np.ndarray)}
    inner = [_read_values(value) for value in fields.values() if _is_struct(value)]

    def restore() -> None:
        for name, value in numbers.items():
            setattr(struct, name, value)
        for name, array in arrays.items():
            getattr(struct, name)[...] = array
        for one in inner:
            one()

    return restore


def _is_struct(value: Any) -> bool:
    return type(value).__module__ == "mujoco._structs"
