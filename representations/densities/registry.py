"""Names of the families of densities."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ...envs.named_registry import Registry
from ..learning.config import ConfigError

if TYPE_CHECKING:
    from .density import Density

DensityType = TypeVar("DensityType", bound="type[Density]")

DENSITIES: Registry[type[Density]] = Registry("density", "equiact.representations.densities")
"""Classes of densities, by name."""


def register_density(name: str) -> Callable[[DensityType], DensityType]:
    """Return a decorator that registers a class of densities under a name.

    Args:
        name: name of the family, such as ``"mixture"``. It is used by `SceneDensity` and in the cards of saved
            densities.

    Raises:
        RegistryError: another class has this name.
    """

    def add(density_cls: DensityType) -> DensityType:
        DENSITIES.add(name, density_cls)
        density_cls.registered_name = name
        return density_cls

    return add


def make_density(name_or_config: Any, dim: int, context: int = 0) -> Density:
    """Return a new density.

    Args:
        name_or_config: name of a family with its default configuration, or the configuration of a family.
        dim: number of coordinates of ``z``.
        context: number of coordinates of ``c``; 0 for an unconditional density.

    Raises:
        RegistryError: no family has this name.
        ConfigError: the configuration belongs to no registered family.

    Example:
        >>> make_density("kernel", 2).config.kernels
        5000
    """
    if isinstance(name_or_config, str):
        return DENSITIES.get(name_or_config)(dim, context)
    for _, density_cls in DENSITIES.items():
        if density_cls.config_class is type(name_or_config):
            return density_cls(dim, context, name_or_config)
    raise ConfigError(
        f"expected the name or the configuration of a density, got {name_or_config!r}; names are "
        f"{', '.join(DENSITIES.names())}"
    )
