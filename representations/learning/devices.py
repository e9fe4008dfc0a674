"""Devices to train and to encode on."""

from __future__ import annotations

import re

import torch

_DEVICES = re.compile(r"cpu|cuda(:\d+)?")


def resolve_device(device: str) -> str:
    """Return the torch device for ``auto``, ``cpu``, ``cuda`` or ``cuda:<index>``.

    ``auto`` is the GPU if there is one.

    Raises:
        ValueError: another name, or a CUDA device that torch does not find.
    """
    name = str(device)
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not _DEVICES.fullmatch(name):
        raise ValueError(f"expected the device 'auto', 'cpu', 'cuda' or 'cuda:<index>', got {device!r}")
    if name != "cpu" and int(name.partition(":")[2] or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r} was asked for, but torch finds no such CUDA device; use 'cpu' or 'auto'")
    return name
