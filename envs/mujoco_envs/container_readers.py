"""Read and write lists, dictionaries, sets and arrays; see `object_readers`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .attribute_readers import Put, Restore, SnapshotBuilder, with_attributes, write_dict


def read_list(snapshot: SnapshotBuilder, value: Any) -> Restore:
    """Read a list."""
    saved = list(value)
    for index, one in enumerate(saved):
        snapshot.visit(one, f"[{index}]")
    return with_attributes(
        snapshot, value, lambda put: list.__setitem__(value, slice(None), [put(one) for one in saved])
    )


def read_dict(snapshot: SnapshotBuilder, value: Any) -> Restore:
    """Read a dictionary, in its order."""
    saved = dict(value) if type(value) is dict else {key: dict.__getitem__(value, key) for key in dict.keys(value)}
    for key, one in saved.items():
        snapshot.visit(key, f"[key {key!r}]" if isinstance(key, tuple) else "[a key]")
        snapshot.visit(one, f"[{key!r}]" if isinstance(key, str | int) else "[…]")

    def restore(put: Put) -> None:
        content = {key: put(one) for key, one in saved.items()}
        if type(value) is dict:
            write_dict(value, content)
        else:  # subclasses, such as OrderedDict, keep an order of their own
            value.clear()
            value.update(content)

    return with_attributes(snapshot, value, restore)


def read_set(snapshot: SnapshotBuilder, value: Any) -> Restore:
    """Read a set."""
    saved = set(value)
    for one in saved:
        snapshot.visit(one, "{…}")

    def restore(put: Put) -> None:
        value.clear()
        value.update(saved)

    return with_attributes(snapshot, value, restore)


def read_deque(snapshot: SnapshotBuilder, value: Any) -> Restore:
    """Read a deque."""
    saved = list(value)
    for index, one in enumerate(saved):
        snapshot.visit(one, f"[{index}]")

    def restore(put: Put) -> None:
        value.clear()
        value.extend(put(one) for one in saved)

    return with_attributes(snapshot, value, restore)


def read_bytearray(snapshot: SnapshotBuilder, value: Any) -> Restore:
    """Read a bytearray."""
    saved = bytes(value)
    return lambda put: bytearray.__setitem__(value, slice(None), saved)


def read_elements(snapshot: SnapshotBuilder, value: Any) -> None:
    """Read the elements of a tuple or frozen set, which itself does not change."""
    for index, one in enumerate(value):
        snapshot.visit(one, f"[{index}]")


def read_array(snapshot: SnapshotBuilder, value: Any) -> Restore | None:
    """Read an array, and the array that it is a view into."""
    if isinstance(value.base, np.ndarray):
        snapshot.visit(value.base, ".base")
    if not value.flags.writeable or not value.size:
        return None
    saved = np.array(value, copy=True, subok=False)
    if not value.dtype.hasobject:
        return with_attributes(snapshot, value, lambda put: np.ndarray.__setitem__(value, ..., saved))
    for one in saved.flat:
        snapshot.visit(one, "[…]")

    def restore(put: Put) -> None:
        for index in np.ndindex(saved.shape):
            value[index] = put(saved[index])

    return with_attributes(snapshot, value, restore)
