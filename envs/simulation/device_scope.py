"""The device on which Warp works, and the lock under which its kernels are built.

Warp's default device and its kernel builder are shared by all threads of a process. Threads that use one device run at
the same time, threads that use different devices wait for each other, and only one thread builds kernels.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import warp


class DeviceGate:
    """Set Warp's default device while at least one thread uses it; a thread that needs another device waits."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all users, as in a forked child, where only one thread is left."""
        self._free = threading.Condition()
        self._users = 0
        self._device = ""
        self._before: Any = None
        self.building = threading.RLock()

    @contextlib.contextmanager
    def use(self, device: str) -> Iterator[None]:
        """Work on a device, ``"cpu"`` or ``"cuda"``."""
        with self._free:
            self._free.wait_for(lambda: self._users == 0 or self._device == device)
            if self._users == 0:
                self._device, self._before = device, warp.get_device()
                warp.set_device(device)
            self._users += 1
        try:
            with warp.ScopedDevice(device):
                yield
        finally:
            with self._free:
                self._users -= 1
                if self._users == 0:
                    warp.set_device(self._before)
                    self._free.notify_all()


_GATE = DeviceGate()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_GATE.reset)


def on_device(device: str) -> contextlib.AbstractContextManager[None]:
    """Return a context in which Warp works on a device."""
    return _GATE.use(device)


@contextlib.contextmanager
def building_kernels(device: str) -> Iterator[None]:
    """Build kernels on a device, in one thread of the process at a time.

    Kernels that are built in several threads at once come out wrong: with geoms missing, or not at all (SystemError,
    cpython#106905).
    """
    with _GATE.building, _GATE.use(device):
        yield
