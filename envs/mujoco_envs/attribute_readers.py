"""Read and write the attributes of Python objects; see `object_readers`."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

Put = Callable[[Any], Any]
"""Return the object to write for a saved one: itself, or its copy if it cannot be written to."""
Restore = Callable[[Put], None]


class SnapshotBuilder(Protocol):
    """What readers of objects tell the snapshot that they work for; see `ObjectSnapshot`."""

    shared: dict[int, Any]
    previous: dict[int, Any]

    def visit(self, value: Any, step: str) -> None:
        """Read an object later."""

    def keep_copy(self, value: Any) -> None:
        """Copy an object; the copy takes its place in a restore."""


Reader = Callable[[SnapshotBuilder, Any], Restore | None]

_SLOTS_OF: dict[type, dict[str, Any]] = {}


def read_attributes(snapshot: SnapshotBuilder, value: Any) -> Restore:
    """Read ``__dict__`` and ``__slots__``."""
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except AttributeError:
        attributes = {}
    saved = dict(attributes)
    slots = _slots(type(value))
    held = {name: slot.__get__(value) for name, slot in slots.items() if _has(slot, value)}
    for name, one in (*saved.items(), *held.items()):
        snapshot.visit(one, f".{name}")

    def restore(put: Put) -> None:
        write_dict(attributes, {name: put(one) for name, one in saved.items()})
        for name, slot in slots.items():
            if name in held:
                slot.__set__(value, put(held[name]))
            elif _has(slot, value):
                slot.__delete__(value)

    return restore


def _slots(kind: type) -> dict[str, Any]:
    """Return the slots of a class and its bases, by name."""
    if kind not in _SLOTS_OF:
        _SLOTS_OF[kind] = {
            name: member
            for owner in reversed(kind.__mro__)
            if "__slots__" in vars(owner)
            for name, member in vars(owner).items()
            if isinstance(member, types.MemberDescriptorType)
        }
    return _SLOTS_OF[kind]


def _has(slot: Any, value: Any) -> bool:
    try:
        slot.__get__(value)
    except AttributeError:
        return False
    return True


def write_dict(target: dict[Any, Any], content: dict[Any, Any]) -> None:
    """Give a dictionary a content, unless it has it."""
    same = len(target) == len(content) and all(
        key is other and one is another
        for (key, one), (other, another) in zip(target.items(), content.items(), strict=True)
    )
    if not same:
        dict.clear(target)
        dict.update(target, content)


def with_attributes(snapshot: SnapshotBuilder, value: Any, restore: Restore) -> Restore:
    """Add the attributes of a subclass to the restore of a container."""
    if type(value) in (list, dict, set, deque, bytearray, np.ndarray) or not hasattr(value, "__dict__"):
        return restore
    attributes = read_attributes(snapshot, value)

    def both(put: Put) -> None:
        restore(put)
        attributes(put)

    return both
