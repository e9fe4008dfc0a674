"""Configurations: frozen dataclasses that Python, a YAML file and the command line can all set.

A configuration nests other configurations, such as ``config.optim.lr``. It is checked when it is made, so that a value
out of range is refused before any work is done.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import numbers
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

Config = TypeVar("Config")


class ConfigError(ValueError):
    """A configuration has an unknown key, a value of another type, or one out of range."""


@dataclass(frozen=True)
class OptimConfig:
    """Set how a loss is minimised.

    Attributes:
        steps: number of updates.
        lr: learning rate of Adam, constant for the first half of the updates, then decaying linearly to 2 %.
        batch_size: transitions, or images, in one update.

    Raises:
        ConfigError: a value is not positive.

    Example:
        >>> OptimConfig(steps=100, lr=1e-3)
        OptimConfig(steps=100, lr=0.001, batch_size=64)
    """

    steps: int = 4000
    lr: float = 3e-3
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_range(self, "steps", at_least=1)
        check_range(self, "lr", above=0)
        check_range(self, "batch_size", at_least=1)


@dataclass(frozen=True)
class AdamConfig:
    """Set the optimiser of all training, and the schedule of its learning rate.

    The learning rate is ``lr · min(1, decay_slope · remaining + final_share)``, where ``remaining`` is the share of the
    updates of a stage that are left.

    Source: Kingma and Ba, *Adam: a method for stochastic optimization*, ICLR 2015.

    Attributes:
        betas: decay rates of the mean of the gradient and of its square.
        decay_slope: inverse of the share of the updates in which the learning rate falls; 2 for the second half.
        final_share: share of the learning rate that is left at the end.

    Raises:
        ConfigError: a value is out of range.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    decay_slope: float = 2.0
    final_share: float = 0.02

    def __post_init__(self) -> None:
        check_range(self, "betas", at_least=0, below=1)
        check_range(self, "decay_slope", at_least=0)
        check_range(self, "final_share", above=0)


def check_range(
    config: object,
    name: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> None:
    """Check that a field of a configuration has the type of its annotation, is finite and within its range.

    Args:
        config: the configuration.
        name: of its field, annotated as ``int``, ``float``, or a tuple of one of them.
        at_least: smallest allowed value.
        above: value that must be exceeded.
        at_most: largest allowed value.
        below: value that must not be reached.

    Raises:
        ConfigError: the value has another type, is out of range, or not finite.
    """
    value = getattr(config, name)
    annotation = get_type_hints(type(config))[name]
    if is_tuple := get_origin(annotation) is tuple:
        annotation = get_args(annotation)[0]
    if is_tuple != isinstance(value, tuple):
        raise ConfigError(f"{name} must be {'a tuple of numbers' if is_tuple else 'one number'}, got {value!r}")
    bounds = [f"at least {at_least}"] * (at_least is not None) + [f"above {above}"] * (above is not None)
    bounds += [f"at most {at_most}"] * (at_most is not None) + [f"below {below}"] * (below is not None)
    expected: Any = numbers.Integral if annotation is int else numbers.Real
    for number in value if is_tuple else (value,):
        if isinstance(number, bool) or not isinstance(number, expected):
            what = "a whole number" if annotation is int else "a number"
            raise ConfigError(f"{name} must be {what}, got {number!r}")
        finite = number == number and abs(number) != float("inf")
        low = (at_least is None or number >= at_least) and (above is None or number > above)
        high = (at_most is None or number <= at_most) and (below is None or number < below)
        if not (finite and low and high):
            raise ConfigError(f"{name} must be {' and '.join(bounds) or 'finite'}, got {number}")


ADAM = AdamConfig()


def from_dict(config_class: type[Config], values: Mapping[str, Any]) -> Config:
    """Make a configuration from nested mappings, such as a YAML file holds; missing keys keep their defaults.

    Raises:
        ConfigError: a key is unknown, or a value has another type or is out of range; the message has its path.

    Example:
        >>> from_dict(OptimConfig, {"lr": 1e-3}).lr
        0.001
        >>> from_dict(OptimConfig, {"step": 100})
        Traceback (most recent call last):
        equiact.representations.learning.config.ConfigError: unknown key 'step'; did you mean 'steps'?
    """
    from pydantic import TypeAdapter, ValidationError

    _require_known(config_class, values, "")
    try:
        return TypeAdapter(config_class).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        if isinstance(cause := first.get("ctx", {}).get("error"), ConfigError):
            raise ConfigError(f"{path + '.' if path else ''}{cause}") from None
        raise ConfigError(f"{path}: {first['msg']}, got {first['input']!r}") from None


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration as nested dictionaries of JSON types; `from_dict` reads them back.

    Example:
        >>> to_dict(OptimConfig(steps=10))
        {'steps': 10, 'lr': 0.003, 'batch_size': 64}
    """
    return {name: _plain(value) for name, value in asdict(config).items()}


def scale_steps(config: Config, factor: float) -> Config:
    """Return a configuration whose numbers of updates are multiplied by a factor, and are at least 1.

    Fields called ``steps`` or ``…_steps`` are scaled, in nested configurations too.

    Raises:
        ConfigError: the factor is not a positive finite number.

    Example:
        >>> scale_steps(OptimConfig(steps=4000), 0.01).steps
        40
    """
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor < math.inf:
        raise ConfigError(f"expected a positive factor to scale the numbers of updates, got {factor!r}")
    changes: dict[str, Any] = {}
    for field in fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if is_dataclass(value):
            changes[field.name] = scale_steps(value, factor)
        elif field.name == "steps" or field.name.endswith("_steps"):
            changes[field.name] = max(1, round(factor * value))
    return dataclasses.replace(config, **changes)  # type: ignore[type-var]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value.item() if isinstance(value, np.generic) else value


def _require_known(config_class: type[Any], values: Mapping[str, Any], prefix: str) -> None:
    """Raise if a key is not a field of the configuration, or of one nested in it."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{prefix.rstrip('.') or 'the configuration'} must be a mapping of keys, got {values!r}")
    hints = get_type_hints(config_class)
    known = {field.name: hints[field.name] for field in fields(config_class)}
    for key, value in values.items():
        if key not in known:
            close = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean {prefix + close[0]!r}?" if close else f"choose from {', '.join(sorted(known))}"
            raise ConfigError(f"unknown key {prefix + str(key)!r}; {hint}")
        if is_dataclass(known[key]):
            _require_known(known[key], value, f"{prefix}{key}.")
