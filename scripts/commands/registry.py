"""Names of the commands of ``equiact``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ...envs.named_registry import Registry

if TYPE_CHECKING:
    from .command import Command

CommandType = TypeVar("CommandType", bound="type[Command]")

COMMAND_REGISTRY: Registry[type[Command]] = Registry("command", "equiact.scripts.commands", "equiact.scripts.analyses")
"""Classes of commands, by name, which may be two words, such as ``"analyze dimension"``."""


def register_command(name: str) -> Callable[[CommandType], CommandType]:
    """Return a decorator that makes a class a command of ``equiact``.

    The class is a frozen dataclass derived from `Command`. Its fields are the options, its docstring is the help.

    Args:
        name: name on the command line, such as ``"train"``, of one or two words.

    Raises:
        RegistryError: another command has this name.

    Example:
        >>> from dataclasses import dataclass
        >>> from equiact.scripts.commands.command import Command
        >>> @register_command("hello")
        ... @dataclass(frozen=True)
        ... class Hello(Command):
        ...     'Print a greeting.'
        ...     to: str = "world"
        ...     def run(self):
        ...         return {"greeting": f"hello, {self.to}"}
        >>> command_class("hello")(to="you").run()
        {'greeting': 'hello, you'}
    """
    return COMMAND_REGISTRY.register(name)


def command_class(name: str) -> type[Command]:
    """Return the class of a command.

    Raises:
        RegistryError: no command has this name.
    """
    return COMMAND_REGISTRY.get(name)


def split_command(given: list[str]) -> tuple[str, list[str]]:
    """Return the name of the command, of two words if it is registered, and the options.

    Args:
        given: what is typed after ``equiact``, one word at least.

    Example:
        >>> split_command(["train", "--seed", "1"])
        ('train', ['--seed', '1'])
    """
    if given[0] in family_names() and given[1:] and not given[1].startswith("-"):
        return " ".join(given[:2]), given[2:]
    return given[0], given[1:]


def family_names() -> set[str]:
    """Return the first words of the commands of two words."""
    return {name.split()[0] for name in command_names() if " " in name}


def command_names() -> list[str]:
    """Return the names of all commands, sorted."""
    return COMMAND_REGISTRY.names()
