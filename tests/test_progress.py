"""Progress on a terminal and elsewhere, with a clock that the tests set."""

import io

from equiact.representations.learning.callbacks import TrainingStatus
from equiact.scripts.progress import LineDisplay, ProgressCallback, progress_bar
from rich.console import Console


class Clock:
    """A clock that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_without_a_terminal_a_line_is_written_at_once_then_every_ten_seconds_and_at_the_end() -> None:
    lines: list[str] = []
    clock = Clock()
    display = LineDisplay(lines.append, clock=clock)
    task = display.add("Collecting", 1000, "transitions")
    assert lines == ["Collecting: 0/1,000 transitions"]
    for second in range(1, 26):
        clock.now = float(second)
        display.update(task, 40 * second, note="loss 0.5" if second > 15 else None)
    assert lines[1:] == [
        "Collecting: 400/1,000 transitions, 40 transitions/s, 15 s left",
        "Collecting: 800/1,000 transitions, 40 transitions/s, 5 s left, loss 0.5",
    ]
    display.remove(task)
    assert lines[-1] == "Collecting: 1,000/1,000 transitions, 40 transitions/s, loss 0.5" and len(lines) == 4


def test_lines_of_several_tasks_do_not_delay_each_other() -> None:
    lines: list[str] = []
    clock = Clock()
    display = LineDisplay(lines.append, clock=clock)
    slow, fast = display.add("slow"), display.add("fast", 10, "steps")
    clock.now = 11.0
    display.update(fast, 5)
    display.update(slow, 1, total=400, unit="steps")
    assert lines[2:] == [
        "fast: 5/10 steps, 0.45 steps/s, 11 s left",
        "slow: 1/400 steps, 0.091 steps/s, 1 h 13 min left",
    ]


def test_a_bar_is_shown_on_a_terminal_and_lines_elsewhere() -> None:
    for terminal in (True, False):
        output = io.StringIO()
        console = Console(file=output, force_terminal=terminal, width=120)
        with progress_bar("Drawing", 20, "rounds", target=console) as update:
            update(20, note="all [of] them")
        assert "Drawing" in output.getvalue() and "20/20" in output.getvalue()
        assert ("━" in output.getvalue()) == terminal
        assert ("all [of] them" in output.getvalue()) or terminal


def test_training_reports_its_updates_and_its_last_loss() -> None:
    seen = []
    callback = ProgressCallback(lambda *shown: seen.append(shown))
    for step, metrics in ((50, {"loss": 0.25}), (51, {})):
        callback.on_update(TrainingStatus("pairs", step, step, 100, metrics, 1.0))
    assert seen == [(50, 100, "pairs", "loss 0.2500"), (51, 100, "pairs", "loss 0.2500")]
