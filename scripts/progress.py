"""Show progress on standard error: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from ..representations.learning.callbacks import TrainingReport, TrainingStatus

console = Console(stderr=True)
"""Where commands write what is not their result."""


class ProgressDisplay(Protocol):
    """Show how far several tasks are."""

    def add(self, description: str, total: int | None = None, unit: str = "") -> int:
        """Begin a task and return its number."""

    def update(
        self,
        task: int,
        done: int,
        *,
        total: int | None = None,
        unit: str | None = None,
        note: str | None = None,
        description: str | None = None,
    ) -> None:
        """Set how many units of a task are done; what is None stays as it was."""

    def remove(self, task: int) -> None:
        """End a task."""


class BarDisplay:
    """Show a bar for each task, with its rate and the time left.

    Args:
        progress: bars of rich.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def add(self, description: str, total: int | None = None, unit: str = "") -> int:
        return self._progress.add_task(description, total=total, unit=unit, note="")

    def update(
        self,
        task: int,
        done: int,
        *,
        total: int | None = None,
        unit: str | None = None,
        note: str | None = None,
        description: str | None = None,
    ) -> None:
        fields: dict[str, Any] = {name: value for name, value in (("unit", unit), ("note", note)) if value is not None}
        self._progress.update(TaskID(task), completed=done, total=total, description=description, **fields)

    def remove(self, task: int) -> None:
        self._progress.remove_task(TaskID(task))


@dataclass
class _LineTask:
    """State of a task that is shown as lines."""

    description: str
    total: int | None
    unit: str
    began: float
    done: int = 0
    note: str = ""
    shown_at: float | None = None
    shown: str = ""


class LineDisplay:
    """Write a line when a task begins, then one every few seconds, and one when it ends.

    Args:
        write: writes one line.
        interval: seconds between two lines of a task.
        clock: returns the time in seconds.

    Example:
        >>> times = iter([0.0, 0.0, 5.0, 12.0, 20.0])
        >>> display = LineDisplay(print, interval=10.0, clock=lambda: next(times))
        >>> task = display.add("Collecting", 100, "frames")
        Collecting: 0/100 frames
        >>> display.update(task, 30)
        >>> display.update(task, 60)
        Collecting: 60/100 frames, 5 frames/s, 8 s left
        >>> display.remove(task)
        Collecting: 60/100 frames, 3 frames/s, 13 s left
    """

    def __init__(
        self, write: Callable[[str], None], interval: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write, self._interval, self._clock = write, interval, clock
        self._tasks: dict[int, _LineTask] = {}
        self._count = 0

    def add(self, description: str, total: int | None = None, unit: str = "") -> int:
        self._count += 1
        task = self._tasks[self._count] = _LineTask(description, total, unit, self._clock())
        self._show(task, self._clock())
        return self._count

    def update(
        self,
        task: int,
        done: int,
        *,
        total: int | None = None,
        unit: str | None = None,
        note: str | None = None,
        description: str | None = None,
    ) -> None:
        state = self._tasks[task]
        state.done = done
        state.total = state.total if total is None else total
        state.unit = state.unit if unit is None else unit
        state.note = state.note if note is None else note
        state.description = state.description if description is None else description
        now = self._clock()
        if state.shown_at is None or now - state.shown_at >= self._interval:
            self._show(state, now)

    def remove(self, task: int) -> None:
        self._show(self._tasks.pop(task), self._clock())

    def _show(self, task: _LineTask, now: float) -> None:
        line = _line(task, now - task.began)
        if line != task.shown:
            self._write(line)
        task.shown, task.shown_at = line, now


def _line(task: _LineTask, seconds: float) -> str:
    """Return the description, what is done, the rate, the time left and the note of a task."""
    if task.total is None and not task.done:
        return ": ".join([task.description, task.note or "started"])
    counted = f"{task.done:,}" if task.total is None else f"{task.done:,}/{task.total:,}"
    parts = [f"{task.description}: {counted} {task.unit}".rstrip()]
    if task.done and seconds > 0:
        rate = task.done / seconds
        parts.append(f"{_short(rate)} {task.unit}/s")
        if task.total is not None and task.done < task.total:
            parts.append(f"{_duration((task.total - task.done) / rate)} left")
    return ", ".join(parts + [task.note] * bool(task.note))


def _short(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _duration(seconds: float) -> str:
    """Return seconds as ``8 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


class _Rate(ProgressColumn):
    """Show the average units per second since the bar began."""

    def render(self, task: Task) -> Text:
        rate = task.completed / task.elapsed if task.elapsed else 0.0
        return Text(f"{rate:,.0f} {task.fields['unit']}/s", style="cyan")


@contextmanager
def progress_display(target: Console = console) -> Iterator[ProgressDisplay]:
    """Show several tasks: as bars if the console is a terminal, else as a line every ten seconds."""
    if not target.is_terminal:
        yield LineDisplay(lambda line: target.print(line, markup=False, highlight=False, soft_wrap=True))
        return
    columns = (
        TextColumn("{task.description:<34}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=target) as progress:
        yield BarDisplay(progress)


@contextmanager
def progress_bar(description: str, total: int, unit: str, target: Console = console) -> Iterator[Callable[..., None]]:
    """Show one task.

    Call what is yielded with the units done so far, and optionally ``note=``, ``description=`` and another ``total=``.
    """
    with progress_display(target) as display:
        task = display.add(description, total, unit)

        def update(
            done: int, note: str | None = None, description: str | None = None, total: int | None = None
        ) -> None:
            display.update(task, done, note=note, description=description, total=total)

        try:
            yield update
        finally:
            if not isinstance(display, BarDisplay):  # a bar stays on the terminal
                display.remove(task)


class ProgressCallback:
    """Show the progress of training; a `TrainingCallback`.

    Args:
        show: called with the updates done, the updates in total, the name of the stage, and the last loss as text.
    """

    def __init__(self, show: Callable[[int, int, str, str], None]) -> None:
        self._show = show
        self._note = ""

    def on_update(self, status: TrainingStatus) -> None:
        """Show the state after an update."""
        if status.metrics:
            self._note = f"loss {status.metrics['loss']:.4f}"
        self._show(status.done, status.total, status.stage, self._note)

    def on_end(self, report: TrainingReport) -> None:
        """Do nothing: the display ends with its context."""
