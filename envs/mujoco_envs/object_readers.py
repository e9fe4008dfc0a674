"""Functions that read the contents of an object and return a function that writes them back, by type.

A reader takes the snapshot and the object. It visits the objects that this one refers to, and returns None if there is
nothing to write.
"""

from __future__ import annotations

import copyreg
import enum
import functools
import gc
import random
import re
import sys
import types
import weakref
from collections import OrderedDict, deque
from typing import Any

import numpy as np

from . import mujoco_readers
from .attribute_readers import Put, Reader, Restore, SnapshotBuilder, read_attributes, with_attributes
from .container_readers import read_array, read_bytearray, read_deque, read_dict, read_elements, read_list, read_set

_CONSTANT: tuple[type, ...] = (
    *(type(None), bool, int, float, complex, str, bytes, type, range, slice, type(Ellipsis), type(NotImplemented)),
    *(np.generic, np.dtype, np.ufunc, enum.Enum, re.Pattern, property, staticmethod, classmethod, types.ModuleType),
    *(types.CodeType, types.MappingProxyType, types.MethodWrapperType, types.WrapperDescriptorType, types.UnionType),
    *(types.MethodDescriptorType, types.GetSetDescriptorType, types.MemberDescriptorType, types.GenericAlias),
)
"""Types without a state that changes."""
_DICTS: tuple[dict[Any, Any], ...] = ({}, OrderedDict())
_DICT_VIEWS = tuple({type(view) for one in _DICTS for view in (one.keys(), one.values(), one.items())})
"""Types of views of dictionaries."""
_STATELESS = (
    *("logging.", "_thread.", "threading.", "glfw.", "OpenGL.", "warp.", "mujoco_warp.", "equiact.envs.simulation."),
    *("mujoco.rendering.", "mujoco.renderer.", "mujoco.gl_context.", "mujoco.egl.", "mujoco.osmesa.", "mujoco.viewer."),
    *("mujoco._render.", "gymnasium.envs.mujoco.mujoco_rendering.", "dm_control._render.", "dm_control.mjcf.schema."),
)
"""Beginnings of names of types that log, lock, draw or never change, and do not affect what an environment does."""


def reader_of(kind: type) -> Reader | None:
    """Return the function that reads objects of a type; None if they have no state."""
    if kind not in _READER_OF:
        _READER_OF[kind] = _find_reader(kind)
    return _READER_OF[kind]


_READER_OF: dict[type, Reader | None] = {}


def _find_reader(kind: type) -> Reader | None:
    name = f"{kind.__module__}.{kind.__qualname__}"
    if name.startswith(_STATELESS):
        return None
    for bases, reader in _readers():
        if issubclass(kind, bases):
            return reader
    if issubclass(kind, _CONSTANT):
        return None
    if name.startswith(("mujoco._structs.", "mujoco._specs.")):
        return mujoco_readers.reader_of(kind)
    return read_attributes if _is_plain(kind) else _copied


def is_late(kind: type) -> bool:
    """Return whether objects of a type are written after all others."""
    return reader_of(kind) in (mujoco_readers.read_model, mujoco_readers.read_data)


def _readers() -> tuple[tuple[Any, Reader], ...]:
    """Return types, and the functions that read objects of them; the first match counts."""
    return (
        *_readers_of_libraries(),
        (list, read_list),
        (dict, read_dict),
        (set, read_set),
        (deque, read_deque),
        (bytearray, read_bytearray),
        ((tuple, frozenset), read_elements),
        (np.ndarray, read_array),
        (np.random.Generator, _generator),
        (np.random.RandomState, _random_state),
        (np.random.BitGenerator, _bit_generator),
        (random.Random, _python_random),
        (types.FunctionType, _function),
        ((types.MethodType, types.BuiltinFunctionType), _method),
        (functools.partial, _partial),
        (types.CellType, _cell),
        (weakref.ref, _reference),
        (weakref.ProxyTypes, _proxy),
        (_DICT_VIEWS, _referents),
    )


def _readers_of_libraries() -> list[tuple[Any, Reader]]:
    """Return those of libraries that are imported: objects of others do not exist."""
    from ..worlds.world import World

    mujoco, torch = sys.modules.get("mujoco"), sys.modules.get("torch")
    found: list[tuple[Any, Reader]] = [(World, _world)]
    if mujoco is not None:
        found += [(mujoco.MjModel, mujoco_readers.read_model), (mujoco.MjData, mujoco_readers.read_data)]
    if torch is not None:
        found += [(torch.Tensor, _tensor), (torch.Generator, _torch_generator)]
    return found


def _is_plain(kind: type) -> bool:
    """Return whether all state is in ``__dict__`` and ``__slots__``: the size leaves no room for more."""
    pointer = object.__basicsize__ // 2
    slots = len(copyreg._slotnames(kind))  # type: ignore[attr-defined]
    size = slots + (kind.__dictoffset__ > 0) + (kind.__weakrefoffset__ > 0)
    return kind.__basicsize__ <= object.__basicsize__ + pointer * size and kind.__itemsize__ == 0


def _copied(snapshot: SnapshotBuilder, value: Any) -> None:
    snapshot.keep_copy(value)


def _generator(snapshot: SnapshotBuilder, value: Any) -> None:
    snapshot.visit(value.bit_generator, ".bit_generator")


def _bit_generator(snapshot: SnapshotBuilder, value: Any) -> Restore:
    saved = value.state
    return lambda put: setattr(value, "state", saved)


def _random_state(snapshot: SnapshotBuilder, value: Any) -> Restore:
    saved = value.get_state(legacy=False)
    return lambda put: value.set_state(saved)


def _python_random(snapshot: SnapshotBuilder, value: Any) -> Restore:
    saved = value.getstate()
    return with_attributes(snapshot, value, lambda put: value.setstate(saved))


def _tensor(snapshot: SnapshotBuilder, value: Any) -> Restore:
    saved = value.detach().clone()
    return lambda put: value.detach().copy_(saved)


def _torch_generator(snapshot: SnapshotBuilder, value: Any) -> Restore:
    saved = value.get_state()
    return lambda put: value.set_state(saved)


def _world(snapshot: SnapshotBuilder, value: Any) -> Restore:
    """Read one of our worlds, whose state is in the simulator."""
    saved, colours = value.save(), value.simulator.colours.copy()
    snapshot.visit(value.simulator.model, ".simulator.model")

    def restore(put: Put) -> None:
        value.simulator.colours[:] = colours
        value.restore(saved)

    return restore


def _function(snapshot: SnapshotBuilder, value: Any) -> None:
    for cell in value.__closure__ or ():
        snapshot.visit(cell, ".__closure__")
    for one in (value.__defaults__, value.__kwdefaults__, value.__dict__):
        snapshot.visit(one, ".__defaults__")


def _method(snapshot: SnapshotBuilder, value: Any) -> None:
    snapshot.visit(value.__self__, ".__self__")
    if isinstance(value, types.MethodType):
        snapshot.visit(value.__func__, ".__func__")


def _partial(snapshot: SnapshotBuilder, value: Any) -> None:
    for name in ("func", "args", "keywords"):
        snapshot.visit(getattr(value, name), f".{name}")


def _cell(snapshot: SnapshotBuilder, value: Any) -> Restore:
    try:
        saved = value.cell_contents
    except ValueError:  # a variable that is not assigned yet
        return lambda put: delattr(value, "cell_contents")
    snapshot.visit(saved, "")
    return lambda put: setattr(value, "cell_contents", put(saved))


def _reference(snapshot: SnapshotBuilder, value: Any) -> None:
    snapshot.visit(value(), "()")


def _proxy(snapshot: SnapshotBuilder, value: Any) -> None:
    try:
        snapshot.visit(value.__init__.__self__, "")
    except ReferenceError:  # its object is gone
        return


def _referents(snapshot: SnapshotBuilder, value: Any) -> None:
    """Read the dictionary behind a view."""
    for one in gc.get_referents(value):
        snapshot.visit(one, "")
