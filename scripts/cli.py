"""The command ``equiact``: results on standard output, progress on standard error.

Packages are imported when they are needed, so that a missing one, or Ctrl-C at the start, ends with one line.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import math
import os
import re
import signal
import sys
from typing import TYPE_CHECKING, Any

from .. import __version__

if TYPE_CHECKING:
    from .commands.command import Command

ERRORS = (ValueError, OSError, RuntimeError, FloatingPointError)
"""Errors that a user can correct; others are defects and keep their traceback."""
CLI_MODULES = ("tyro", "rich", "yaml", "matplotlib", "imageio")
"""Modules that the extra ``cli`` of the installation brings."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command and print its result.

    SIGTERM interrupts a command as Ctrl-C does: it saves a checkpoint, and ends the processes that it started. Threads
    of torch sleep while they wait for each other, unless ``OMP_WAIT_POLICY`` says otherwise, so that they leave their
    cores to other programs.

    Args:
        arguments: the command and its options; those of the process if None.

    Returns:
        The exit status: 0, 1 for an error that the user can correct, 130 if interrupted.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read with torch; threads that wait leave the cores to others
    given = sys.argv[1:] if arguments is None else arguments
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # `module:function` of the user, after everything that is installed
    try:
        try:
            _print_what_the_terminal_can()
            return _answer(given)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        _print_error("Stopped.")
        return 130
    except BrokenPipeError:  # such as `equiact train --help | head -1`
        _discard_output()
        return 1
    except ImportError as error:
        if (error.name or "").startswith("equiact"):
            raise
        _print_error(f"{type(error).__name__}: {_with_hint(error)}")
        return 1
    except ERRORS as error:
        _discard_output()
        _print_error(f"{type(error).__name__}: {error}")
        return 1


def parse(name: str, arguments: list[str]) -> Command:
    """Return a command with its options.

    Raises:
        RegistryError: there is no such command.
        ConfigError: the file that ``--config`` names cannot be used.
        SystemExit: the options are wrong, or ``--help`` is among them; the message is printed.
    """
    import tyro

    from .commands.registry import command_class

    command_cls: Any = command_class(name).for_arguments(arguments)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            command: Command = tyro.cli(
                command_cls, prog=f"equiact {name}", args=arguments, config=(tyro.conf.AvoidSubcommands,)
            )
    finally:
        sys.stderr.write(name_options(said.getvalue()))
    return command


def name_options(message: str) -> str:
    """Return a message of tyro with options in place of fields of the configuration.

    Example:
        >>> name_options("Error parsing hyperparameters.optim: batch_size must be at least 1, got 0")
        'Error parsing --optim.batch-size: must be at least 1, got 0                '
    """

    def option(match: re.Match[str]) -> str:
        named = ".".join(filter(None, match.groups()[:2])).replace("_", "-")
        return f"Error parsing --{named}: must{match.group(3)}".ljust(len(match.group(0)))

    return re.sub(r"Error parsing hyperparameters(?:\.([\w.]+))?: (\w+) must([^│\n]*)", option, message)


def _answer(given: list[str]) -> int:
    from .commands.registry import family_names, split_command

    if not given or given[0] in ("-h", "--help"):
        print_overview()
        return 0
    if given[0] in family_names() and (not given[1:] or given[1] in ("-h", "--help")):
        print_overview(given[0])
        return 0
    if given[0] == "--version":
        print(f"equiact {__version__}")
        return 0
    command = parse(*split_command(given))
    try:
        result = command.run()
    except KeyboardInterrupt:
        _print_error("Stopped." + " Run the same command again to resume." * command.resumes)
        return 130
    print_result(result, as_json=command.json)
    return 1 if result.get("healthy") is False else 0


def print_overview(family: str = "") -> None:
    """Print the names of all commands, with the first sentence of their help.

    Args:
        family: first word of the commands to print, such as ``"analyze"``.
    """
    from rich.console import Console
    from rich.table import Table

    from .commands.registry import COMMAND_REGISTRY

    table = Table(show_header=False, box=None, padding=(0, 2))
    for name, command_cls in COMMAND_REGISTRY.items():
        if family and name.split()[0] != family:
            continue
        table.add_row(f"[bold]{name}[/bold]", (inspect.getdoc(command_cls) or "").split("\n\n")[0].replace("\n", " "))
    output = Console()
    output.print("usage: equiact COMMAND [OPTIONS]\n", markup=False, highlight=False)
    output.print("Learn equivariant representations from images and actions, and use them in policies.\n")
    output.print(table)
    output.print("\n`equiact COMMAND --help` shows the options; `equiact --version` the version.", highlight=False)


def print_result(result: dict[str, Any], *, as_json: bool) -> None:
    """Print a result as JSON, with null for NaN and infinity, or as a table of values and of those one level down."""
    if as_json:
        print(json.dumps(_finite(result), indent=2, allow_nan=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_column(overflow="fold")  # the ends of long names differ
    table.add_column(overflow="fold")
    for key, value in result.items():
        if isinstance(value, dict):
            for inner, leaf in value.items():
                table.add_row(f"{key}.{inner}", _plain(leaf))
        else:
            table.add_row(key, _plain(value))
    Console(width=None if sys.stdout.isatty() else 200).print(table)  # pipes have no width


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print_error(message: str) -> None:
    """Print to standard error, in red up to the first colon if rich is installed."""
    try:
        from rich.markup import escape

        from .progress import console
    except ImportError:
        print(message, file=sys.stderr)
        return
    name, colon, rest = message.partition(": ")
    styled = f"[bold red]{name}:[/bold red] {escape(rest)}" if colon else escape(message)
    console.print(styled, highlight=False)


def _with_hint(error: ImportError) -> str:
    if "pip install" in str(error):
        return str(error)
    extra = "cli" if (error.name or "").split(".")[0] in CLI_MODULES else "all"
    return f"{error}; run pip install 'equiact[{extra}]'"


def _print_what_the_terminal_can() -> None:
    """Print a question mark for a character that the encoding of the terminal lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _discard_output() -> None:
    """Discard what standard output cannot write, so that the end of the process does not try again."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
