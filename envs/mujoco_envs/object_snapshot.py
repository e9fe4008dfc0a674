"""Snapshots of Python objects: contents of every mutable object that can be reached, written back in place.

Nothing is replaced if it can be written to. References between objects, and views of arrays into others, stay as they
are. An object that an environment has replaced since, such as a model that was compiled anew, is put back.
"""

from __future__ import annotations

import contextlib
import copy
import gc
from collections.abc import Iterator
from typing import Any

from .attribute_readers import Restore
from .object_readers import is_late, reader_of


class UnsavableStateError(TypeError):
    """An environment holds an object whose state can neither be read nor copied."""


class ObjectSnapshot:
    """The contents of all mutable objects that can be reached from one.

    Attributes, lists, dictionaries, sets, arrays, tensors, random generators, closures and MuJoCo's models and data are
    read, and written back in place. Other objects are copied with ``copy.deepcopy``, and replaced by the copy. Global
    variables, attributes of classes, windows and renderers are not part of it.

    Args:
        root: the object.
        name: name of the object in errors.
        previous: an earlier snapshot, with which unchanged arrays of models are shared to save memory.

    Raises:
        UnsavableStateError: an object can neither be read nor copied; the message says where it is.

    Example:
        >>> values = {"a": [1, 2]}
        >>> snapshot = ObjectSnapshot(values, "values")
        >>> values["a"].append(3)
        >>> values["b"] = 0
        >>> snapshot.restore()
        >>> values
        {'a': [1, 2]}
    """

    def __init__(self, root: Any, name: str, previous: ObjectSnapshot | None = None) -> None:
        self.shared: dict[int, Any] = {}
        self.previous: dict[int, Any] = {} if previous is None else previous.shared
        self._seen: dict[int, Any] = {}  # keeps the objects alive, so that no other object gets their id
        self._copies: dict[int, Any] = {}
        self._restores: list[Restore] = []
        self._late_restores: list[Restore] = []
        self._todo: list[tuple[Any, Any]] = []
        self._path: Any = None
        self.visit(root, name)
        with _no_garbage_collection():  # which would visit all these objects again and again
            while self._todo:
                self._read(*self._todo.pop())
        self.previous = {}

    def __len__(self) -> int:
        """Return the number of objects that were read."""
        return len(self._seen)

    def restore(self) -> None:
        """Write the contents back; can be called any number of times."""
        fresh: dict[int, Any] = {}

        def put(value: Any) -> Any:
            key = id(value)
            if key not in self._copies:
                return value
            if key not in fresh:
                fresh[key] = copy.deepcopy(self._copies[key])
            return fresh[key]

        for restore in (*self._restores, *self._late_restores):
            restore(put)

    def visit(self, value: Any, step: str) -> None:
        """Read an object later.

        Args:
            value: the object.
            step: how it is reached from the object that is being read, such as ``".data"``; for errors.
        """
        if id(value) not in self._seen and reader_of(type(value)) is not None:
            self._todo.append((value, (self._path, step)))

    def keep_copy(self, value: Any) -> None:
        """Copy an object; the copy takes its place in a restore.

        Raises:
            UnsavableStateError: it cannot be copied.
        """
        try:
            self._copies[id(value)] = copy.deepcopy(value)
        except Exception as error:  # the copy of a stranger's object may fail in any way
            kind = f"{type(value).__module__}.{type(value).__qualname__}"
            raise UnsavableStateError(
                f"the state of {_path_text(self._path)} cannot be saved: a {kind} can neither be read nor copied "
                f"({error}); give its class a __deepcopy__, or do not keep it in the environment"
            ) from error

    def _read(self, value: Any, path: Any) -> None:
        if id(value) in self._seen:
            return
        self._seen[id(value)], self._path = value, path
        reader = reader_of(type(value))
        restore = None if reader is None else reader(self, value)
        if restore is not None:  # arrays may be views into MuJoCo's data, which are written last
            (self._late_restores if is_late(type(value)) else self._restores).append(restore)


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _path_text(path: Any) -> str:
    steps: list[str] = []
    while path is not None:
        path, step = path
        steps.append(step)
    return "".join(reversed(steps))
