"""Jobs in other processes: all are run, with the same number of threads, and their errors are reported."""

import atexit
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from equiact.scripts.benchmarks.job_runner import CoreShares, JobProgress, run_jobs


@dataclass(frozen=True)
class Note:
    """Write the process, a random number and the number of threads."""

    title: str
    folder: Path

    def run(self, show: JobProgress) -> None:
        show(1, 2)
        (self.folder / self.title).write_text(f"{os.getpid()} {torch.rand(1).item()} {torch.get_num_threads()}")


@dataclass(frozen=True)
class Fail(Note):
    def run(self, show: JobProgress) -> None:
        if self.title == "killed":
            time.sleep(1)  # until the parent knows that the job began
            os.kill(os.getpid(), signal.SIGKILL)
        if self.title == "mistaken":
            raise KeyError(self.title)
        raise ValueError("of no use")


def test_processes_are_kept_and_random_numbers_do_not_depend_on_jobs_before(tmp_path: Path) -> None:
    names = [f"job {index}" for index in range(5)]
    run_jobs([Note(name, tmp_path) for name in names], shares=CoreShares.of_machine(2))
    processes, draws, threads = zip(*((tmp_path / name).read_text().split() for name in names), strict=True)
    assert str(os.getpid()) not in processes and len(set(processes)) < len(names)
    assert len(set(draws)) == len(set(threads)) == 1


def test_threads_do_not_depend_on_how_many_jobs_are_left(tmp_path: Path) -> None:
    run_jobs([Note("all", tmp_path), Note("of them", tmp_path)])
    run_jobs([Note("the last", tmp_path)], of=2)
    threads = [(tmp_path / name).read_text().split()[2] for name in ("all", "of them", "the last")]
    assert len(set(threads)) == 1


def test_cores_are_split_into_equal_shares() -> None:
    shares = CoreShares(tuple(range(16)), 3)
    assert shares.threads == 5
    parts = [shares.of_worker(index) for index in range(3)]
    assert [len(part) for part in parts] == [5, 5, 5] and len(set.union(*parts)) == 15
    assert CoreShares((3,), 2).of_worker(1) == {3}


@dataclass(frozen=True)
class Late(Note):
    def run(self, show: JobProgress) -> None:
        atexit.register(time.sleep, 2)


def test_a_process_that_is_not_needed_any_more_ends_without_a_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_jobs([Late("late", tmp_path)])
    assert "KeyboardInterrupt" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("title", "message"),
    [
        ("bad", "bad failed: ValueError: of no use"),
        ("mistaken", r"mistaken failed: Traceback[\s\S]*KeyError: 'mistaken'"),
        ("killed", "killed: its process died with exit code -9; the memory may have run out"),
    ],
)
def test_the_error_of_a_job_is_reported(title: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=message):
        run_jobs([Fail(title, tmp_path)])


@dataclass(frozen=True)
class Chat(Note):
    """Send messages for half a minute."""

    def run(self, show: JobProgress) -> None:
        for count in range(300):
            show(count, 300)
            time.sleep(0.1)
        (self.folder / "over").touch()


def two_at_a_time() -> CoreShares:
    """Return shares for two jobs, however many cores there are."""
    return CoreShares(CoreShares.of_machine(2).cores, 2)


def test_a_death_is_noticed_while_other_jobs_send_messages(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"^killed: its process died with exit code -9"):
        run_jobs([Chat("chat", tmp_path), Fail("killed", tmp_path)], shares=two_at_a_time())
    assert not (tmp_path / "over").exists()


@dataclass(frozen=True)
class Save(Note):
    """Save its work when it is interrupted."""

    def run(self, show: JobProgress) -> None:
        show(0, 1)
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            (self.folder / "saved").touch()
            raise


def test_a_running_job_saves_its_work_when_another_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="killed: its process died"):
        run_jobs([Save("save", tmp_path), Fail("killed", tmp_path)], shares=two_at_a_time())
    assert (tmp_path / "saved").exists()


def test_no_jobs_are_no_error() -> None:
    run_jobs([])
