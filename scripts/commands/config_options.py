"""Make configurations settable on the command line and in a YAML file.

A command shows the fields of its field ``hyperparameters``, a configuration, as options without a prefix, such as
``--optim.lr``. A YAML file, named by ``--config``, holds the same keys as nested mappings, and options of the command.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import tyro

from ...representations.learning.config import ConfigError, from_dict, to_dict

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CommandType = TypeVar("CommandType", bound="DataclassInstance")
"""A class derived from `command.Command`, which imports this module."""

HYPERPARAMETERS = "hyperparameters"
"""Field of a command that holds its configuration."""


def preview(arguments: Sequence[str], *names: str) -> dict[str, str | None]:
    """Return the values of a few options before all options are known; None where an option is not given.

    Example:
        >>> preview(["--lr", "1", "--world=Chairs"], "world", "encoder")
        {'world': 'Chairs', 'encoder': None}
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in names:
        parser.add_argument(f"--{name}", nargs="?")
    return vars(parser.parse_known_args(list(arguments))[0])


def preview_flag(arguments: Sequence[str], name: str, default: bool) -> bool:
    """Return the value of a flag before all options are known.

    Example:
        >>> preview_flag(["--quick", "--no-quick"], "quick", default=True)
        False
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=default)
    return bool(getattr(parser.parse_known_args(list(arguments))[0], name))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Return the content of a YAML file with a mapping.

    Raises:
        ConfigError: there is no such file, or it holds something else.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"expected a YAML file at {path}, got: {error}; check --config") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"expected a mapping of keys to values in {path}, got {content!r}; check --config")
    return {str(key): value for key, value in content.items()}


def with_defaults(
    command_cls: type[CommandType], values: Mapping[str, Any], *, config: Any, source: str | Path = "--config"
) -> type[CommandType]:
    """Return a command class with other defaults.

    Args:
        command_cls: the command.
        values: defaults by key: options of the command, and fields of its configuration.
        config: the configuration whose fields are options.
        source: where the values come from, for messages.

    Raises:
        ConfigError: a key is unknown, or a value has another type or is out of range.
    """
    own = {field.name for field in dataclasses.fields(command_cls)} - {HYPERPARAMETERS, "config", "json"}
    try:
        _require_known(values, own, config)
        merged = _merged(to_dict(config), {key: value for key, value in values.items() if key not in own})
        config = from_dict(type(config), merged)
        options = {key: _checked(command_cls, key, value) for key, value in values.items() if key in own}
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error
    hints = get_type_hints(command_cls, include_extras=True)
    fields: list[Any] = [(key, hints[key], dataclasses.field(default=value)) for key, value in options.items()]
    _without_markup(config)
    fields.append((HYPERPARAMETERS, Annotated[type(config), tyro.conf.arg(name="")], dataclasses.field(default=config)))
    made: type[CommandType] = dataclasses.make_dataclass(
        command_cls.__name__, fields, bases=(command_cls,), frozen=True, namespace={"__doc__": command_cls.__doc__}
    )
    return made


def _without_markup(config: Any) -> None:
    """Remove double backticks from the docstrings of a configuration, which are the help of its options."""
    type(config).__doc__ = (type(config).__doc__ or "").replace("``", "")
    for field in dataclasses.fields(config):
        if dataclasses.is_dataclass(value := getattr(config, field.name)):
            _without_markup(value)


def _require_known(values: Mapping[str, Any], own: set[str], config: Any) -> None:
    known = own | {field.name for field in dataclasses.fields(config)}
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(sorted(known))}"
            raise ConfigError(f"unknown key {key!r}; {hint}")


def _merged(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested mappings with the values of the second in place of those of the first."""
    result = dict(base)
    for key, value in values.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = _merged(result[key], value) if both else value
    return result


def _checked(command_cls: type[Any], key: str, value: Any) -> Any:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(get_type_hints(command_cls)[key]).validate_python(value)
    except ValidationError as error:
        raise ConfigError(f"{key}: {error.errors()[0]['msg']}, got {value!r}") from None
