"""Jobs in other processes: all are done, on one process after another, and what goes wrong there is said here."""

import atexit
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from scripts.jobs import Show, _shares, run_jobs


@dataclass(frozen=True)
class Note:
    """Writes which process it is in, and what it draws."""

    title: str
    folder: Path

    def run(self, show: Show) -> None:
        show(1, 2)
        (self.folder / self.title).write_text(f"{os.getpid()} {torch.rand(1).item()}")


@dataclass(frozen=True)
class Fail(Note):
    def run(self, show: Show) -> None:
        if self.title == "killed":
            time.sleep(1)  # for it to be known that it began
            os.kill(os.getpid(), signal.SIGKILL)
        if self.title == "mistaken":
            raise KeyError(self.title)
        raise ValueError("of no use")


def test_processes_are_kept_and_draws_do_not_depend_on_jobs_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.jobs._shares", lambda count: _shares(2))  # however many cores there are
    names = [f"job {index}" for index in range(5)]
    run_jobs([Note(name, tmp_path) for name in names])
    processes, draws = zip(*((tmp_path / name).read_text().split() for name in names), strict=True)
    assert str(os.getpid()) not in processes and len(set(processes)) < len(names)
    assert len(set(draws)) == 1


@dataclass(frozen=True)
class Late(Note):
    def run(self, show: Show) -> None:
        atexit.register(time.sleep, 2)


def test_a_process_that_is_not_needed_any_more_goes_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_jobs([Late("late", tmp_path)])
    assert "KeyboardInterrupt" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("title", "message"),
    [
        ("bad", "bad failed: ValueError: of no use"),
        ("mistaken", r"mistaken failed: Traceback[\s\S]*KeyError: 'mistaken'"),
        ("killed", "killed died without a word"),
    ],
)
def test_what_goes_wrong_is_said(title: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=message):
        run_jobs([Fail(title, tmp_path)])


@dataclass(frozen=True)
class Chat(Note):
    """Never stops talking."""

    def run(self, show: Show) -> None:
        for count in range(300):
            show(count, 300)
            time.sleep(0.1)
        (self.folder / "over").touch()


def test_a_death_is_noticed_while_others_talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.jobs._shares", lambda count: _shares(2) * 2)
    with pytest.raises(RuntimeError, match=r"^killed died without a word"):
        run_jobs([Chat("chat", tmp_path), Fail("killed", tmp_path)])
    assert not (tmp_path / "over").exists()


@dataclass(frozen=True)
class Save(Note):
    """Saves what it has when it is told to stop."""

    def run(self, show: Show) -> None:
        show(0, 1)
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            (self.folder / "saved").touch()
            raise


def test_what_runs_is_saved_when_another_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.jobs._shares", lambda count: _shares(2) * 2)
    with pytest.raises(RuntimeError, match="killed died"):
        run_jobs([Save("save", tmp_path), Fail("killed", tmp_path)])
    assert (tmp_path / "saved").exists()


def test_nothing_to_do_is_done() -> None:
    run_jobs([])
