"""The names of encoders, in a module of its own, so that `Encoder.load` finds classes that are derived from it."""

from __future__ import annotations

from typing import Any

from ...envs.named_registry import Registry

ENCODERS: Registry[type[Any]] = Registry(
    "encoder", "equiact.representations.encoders", "equiact.representations.baselines"
)
"""Classes of encoders, by name; `equiact.representations.encoders.registry.register_encoder` adds one."""
