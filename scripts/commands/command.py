"""Base class of the commands, with the options that all share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Command:
    """Options that every command has."""

    resumes: ClassVar[bool] = False
    """Whether the same command resumes where it was stopped."""
    seed: int = 0
    """Seed of all random numbers."""
    device: Device = "auto"
    """Device to compute on; auto takes a GPU if there is one."""
    json: bool = False
    """Print the result as JSON on standard output."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if isinstance(value := getattr(self, field.name), Path):
                object.__setattr__(self, field.name, value.expanduser())

    @classmethod
    def default_config(cls, arguments: Sequence[str]) -> Any:
        """Return the configuration whose fields are options of the command; None for no such options.

        Args:
            arguments: what follows the name of the command.
        """
        return None

    @classmethod
    def for_arguments(cls, arguments: Sequence[str]) -> type[Self]:
        """Return the class whose fields are the options for these arguments.

        The fields of the configuration (`default_config`) become options. The values of the YAML file that ``--config``
        names become defaults.

        Args:
            arguments: what follows the name of the command.

        Raises:
            ConfigError: the file is damaged, has an unknown key, or a value of another type or out of range.
        """
        from .config_options import preview, read_yaml, with_defaults

        config = cls.default_config(arguments)
        if config is None:
            return cls
        path = preview(arguments, "config")["config"]
        values = {} if path is None else read_yaml(path)
        return with_defaults(cls, values, config=config, source=path or "the command line")

    def require_at_least(self, **least: int) -> None:
        """Check numbers among the options.

        Args:
            **least: smallest value of each option, by name; None is allowed.

        Raises:
            ValueError: a value is smaller.
        """
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise ValueError(f"expected --{name.replace('_', '-')} of at least {smallest}, got {value}")

    def run(self) -> dict[str, Any]:
        """Do the work, and return the result to print."""
        raise NotImplementedError
