"""Progress bars with a rate and the time left, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

console = Console(stderr=True)


class _Rate(ProgressColumn):
    """Average units per second since the bar began."""

    def render(self, task: Task) -> Text:
        rate = task.completed / task.elapsed if task.elapsed else 0.0
        return Text(f"{rate:,.0f} {task.fields['unit']}/s", style="cyan")


@contextmanager
def bars() -> Iterator[Progress]:
    """Room for several bars at once."""
    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield progress


@contextmanager
def bar(description: str, total: int, unit: str) -> Iterator[Callable[..., None]]:
    """One bar; call what it yields with the units done so far, and optionally ``note=`` and ``description=``."""
    with bars() as progress:
        task = progress.add_task(description, total=total, unit=unit, note="")

        def update(done: int, note: str | None = None, description: str | None = None) -> None:
            fields = {} if note is None else {"note": note}
            progress.update(task, completed=done, description=description, **fields)  # type: ignore[arg-type]

        yield update
