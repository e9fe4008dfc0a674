"""`equiact`: one command, typed sub-commands; figures on standard output, progress on standard error."""

from __future__ import annotations

import json
import signal
import sys
from typing import Annotated, Any, Union

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scripts.benchmark import Benchmark
from scripts.collect import Collect
from scripts.commands import Command
from scripts.demo import Demo
from scripts.doctor import Doctor
from scripts.evaluate import Evaluate
from scripts.progress import console
from scripts.recover import Recover
from scripts.rl import Rl
from scripts.tables import Tables
from scripts.train import Train

COMMANDS: dict[str, type[Command]] = {
    "demo": Demo,
    "collect": Collect,
    "train": Train,
    "evaluate": Evaluate,
    "rl": Rl,
    "recover": Recover,
    "benchmark": Benchmark,
    "tables": Tables,
    "doctor": Doctor,
}


def main(arguments: list[str] | None = None) -> int:
    """Parse, run, print. Returns the exit status: 0, 1 for an error that is the user's to mend, 130 if interrupted.

    A cluster's SIGTERM interrupts as the keyboard does: what runs is saved, and processes that were started are ended.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    kinds = tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in COMMANDS.items())
    any_command: Any = Union[kinds]  # noqa: UP007  (made at run time)
    command: Command = tyro.cli(
        any_command,
        prog="equiact",
        description="Learn from pixels and actions where an agent is and where the things it touches are.",
        args=arguments,
    )
    try:
        result = command.run()
    except KeyboardInterrupt:
        console.print("Stopped." + " The same command goes on where it was." * command.resumes)
        return 130
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        console.print(f"[bold red]{type(error).__name__}:[/bold red] {escape(str(error))}", highlight=False)
        return 1
    print_result(result, as_json=command.json)
    return 1 if result.get("healthy") is False else 0


def print_result(result: dict[str, Any], *, as_json: bool) -> None:
    """As JSON, or as a table of what is not nested too deep for one."""
    if as_json:
        print(json.dumps(result, indent=2))
        return
    table = Table(show_header=False, box=None, padding=(0, 2))
    for key, value in result.items():
        if isinstance(value, dict):
            for inner, leaf in value.items():
                table.add_row(f"{key}.{inner}", _plain(leaf))
        else:
            table.add_row(key, _plain(value))
    Console().print(table)


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
