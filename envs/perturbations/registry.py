"""Names of perturbations, such as ``force`` and ``action-noise``."""

from __future__ import annotations

from typing import Any

from ..named_registry import Registry

PERTURBATION_REGISTRY: Registry[type[Any]] = Registry(
    "perturbation", "equiact.envs.perturbations", base="equiact.envs.perturbations.perturbation:Perturbation"
)
"""Classes of perturbations, by name."""

register_perturbation = PERTURBATION_REGISTRY.register
"""Return a decorator that registers a class of perturbations under a name."""
