"""Jobs in other processes: needs come first, deaths are survived, results do not depend on what runs beside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from equiact.envs.storage.artifacts import ArtifactError
from equiact.envs.storage.output_paths import file_lock
from equiact.scripts.experiments import worker
from equiact.scripts.experiments.executors import LocalExecutor, make_executor
from equiact.scripts.experiments.jobs import Job, JobProgress, Resources, chosen_device, missing_jobs
from equiact.scripts.experiments.scheduler import run_in_process, run_jobs
from equiact.scripts.experiments.worker import execute, lock_file, progress_file
from threadpoolctl import threadpool_info


@dataclass(frozen=True)
class Note:
    """Write the process, a random number, the number of threads of torch and that of NumPy."""

    title: str
    folder: Path
    needs: tuple[Job, ...] = ()
    resources: Resources = field(default_factory=Resources)

    @property
    def output(self) -> Path:
        return self.folder / self.title

    @property
    def done(self) -> bool:
        return self.output.exists()

    def run(self, show: JobProgress) -> None:
        for each in self.needs:
            assert each.done, "a job was started before one that it needs"
        show(1, 2)
        blas = max(each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas")
        self.output.write_text(f"{os.getpid()} {torch.rand(1).item()} {torch.get_num_threads()} {blas}")


@dataclass(frozen=True)
class Fail(Note):
    def run(self, show: JobProgress) -> None:
        if self.title == "killed":
            with (self.folder / "attempts").open("a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        if self.title == "mistaken":
            raise KeyError(self.title)
        if self.title == "odd":
            raise OddError("one", "two")
        raise ValueError("of no use")


class OddError(Exception):
    """Have a pickle that cannot be read."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


def note_at_second_attempt(folder: Path) -> Note:
    """Return a job; the first process that asks for it dies."""
    attempt = folder / "import-began"
    if not attempt.exists():
        attempt.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return Note("imported", folder)


@dataclass(frozen=True)
class DieInImport(Note):
    """Die when a process reads the job for the first time."""

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return note_at_second_attempt, (self.folder,)


@dataclass(frozen=True)
class Say(Note):
    """Write to standard output, from Python and from below it."""

    def run(self, show: JobProgress) -> None:
        sys.stdout.write("noise of Python\n")
        os.write(1, b"noise of C\n")
        super().run(show)


@dataclass(frozen=True)
class DieOnce(Note):
    """Die in the first attempt; end in the second."""

    def run(self, show: JobProgress) -> None:
        attempt = self.folder / f"{self.title}-began"
        if not attempt.exists():
            attempt.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        super().run(show)


def test_needs_come_first_and_every_job_has_a_fresh_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    first = Note("first", tmp_path, resources=Resources(threads=2))
    left, right = (Note(name, tmp_path, needs=(first,)) for name in ("left", "right"))
    last = Note("last", tmp_path, needs=(left, right))
    run_jobs([last], lambda: LocalExecutor(cores=8))  # room for all at once
    notes = [(tmp_path / name).read_text().split() for name in ("first", "left", "right", "last")]
    processes, draws, threads, blas = zip(*notes, strict=True)
    assert len({*processes, str(os.getpid())}) == 5
    assert len(set(draws)) == 1, "random numbers depend on the job or on what ran before"
    assert threads == ("2", "1", "1", "1"), "threads are those that the job declares"
    assert blas[1:] == ("1", "1", "1"), "NumPy, which the job imports first, uses other threads"
    assert not list(tmp_path.glob(".*")), "locks and progress are left"


def test_what_is_done_is_not_done_again_and_its_needs_are_left_out(tmp_path: Path) -> None:
    data = Note("data", tmp_path)
    run = Note("run", tmp_path, needs=(data,))
    run.output.write_text("there")
    assert missing_jobs([run]) == []
    other = Note("other", tmp_path, needs=(data,))
    assert [job.title for job in missing_jobs([run, other, other])] == ["data", "other"]


def test_a_circle_of_needs_is_refused(tmp_path: Path) -> None:
    first = Note("first", tmp_path)
    second = Note("second", tmp_path, needs=(first,))
    object.__setattr__(first, "needs", (second,))
    with pytest.raises(ValueError, match="circle of needs"):
        missing_jobs([first])


def test_a_job_fails_alone_with_its_error_and_what_needs_it(tmp_path: Path) -> None:
    bad = Fail("bad", tmp_path)
    failing = [bad, Note("after", tmp_path, needs=(bad,)), Fail("mistaken", tmp_path), Fail("odd", tmp_path)]
    with pytest.raises(RuntimeError) as error:
        run_jobs([*failing, Note("good", tmp_path)])
    lines = str(error.value)
    assert "bad failed: ValueError: of no use" in lines
    assert "after was not run: it needs 'bad', which failed" in lines
    assert "raise KeyError(self.title)" in lines and "KeyError: 'mistaken'" in lines
    assert "odd failed: " in lines
    assert (tmp_path / "good").exists() and not (tmp_path / "after").exists()


def test_a_job_whose_process_dies_is_started_again_a_stated_number_of_times(tmp_path: Path) -> None:
    jobs = [DieOnce("unlucky", tmp_path), Fail("killed", tmp_path), DieInImport("imported", tmp_path)]
    with pytest.raises(RuntimeError, match=r"killed: its process died 2 times .*exit code -9") as error:
        run_jobs(jobs, retries=1)
    assert (tmp_path / "unlucky").exists() and (tmp_path / "attempts").read_text() == "xx"
    assert (tmp_path / "imported").exists() and "imported" not in str(error.value)


def test_a_job_that_cannot_start_fails_alone(tmp_path: Path) -> None:
    greedy = Note("greedy", tmp_path, resources=Resources(gpus=2))
    local = Note("local", tmp_path)
    object.__setattr__(local, "function", lambda: 0)
    with pytest.raises(RuntimeError) as error:
        run_jobs([greedy, Note("after", tmp_path, (greedy,)), local, Note("good", tmp_path)], one_core)
    lines = str(error.value).splitlines()
    assert lines[0].startswith("greedy wants Resources(threads=1, gpus=2), which is not there")
    assert "local cannot be pickled" in str(error.value) and "functions of a module" in str(error.value)
    assert "after was not run: it needs 'greedy', which failed" in lines
    assert (tmp_path / "good").exists() and not (tmp_path / "local").exists()


def test_standard_output_is_kept_for_results_and_left_progress_is_ignored(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    job = Say("say [red]", tmp_path)
    progress_file(job).write_text('{"left": "by another version"}')
    run_jobs([job], one_core)
    said = capfd.readouterr()
    assert said.out == "" and "noise of Python\n" in said.err and "noise of C\n" in said.err
    assert "say [red]: done in" in said.err and "Traceback" not in said.err


def test_a_job_is_not_done_again_if_its_output_came_while_it_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Note("note", tmp_path)
    job.output.write_text("of another process")
    execute(job)
    assert job.output.read_text() == "of another process"
    monkeypatch.setattr(worker, "LOCK_SECONDS", 0.1)
    with (
        file_lock(lock_file(job), 0, "busy"),
        pytest.raises(ArtifactError, match=r"another process works here: .*note"),
    ):
        execute(job)


def one_core() -> LocalExecutor:
    return LocalExecutor(cores=1, gpus=1)


def test_room_is_shared_by_threads_and_gpus() -> None:
    executor = LocalExecutor(cores=4, gpus=1)
    try:
        assert executor.has_room(Resources(threads=3), [Resources()])
        assert not executor.has_room(Resources(threads=4), [Resources()])
        assert executor.has_room(Resources(threads=8), []), "a job alone always has room"
        assert not executor.has_room(Resources(gpus=1), [Resources(gpus=1)])
    finally:
        executor.close(stop=True)


@dataclass(frozen=True)
class Slow(Note):
    """Save the work when it is interrupted."""

    def run(self, show: JobProgress) -> None:
        (self.folder / "began").write_text(str(os.getpid()))
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            (self.folder / "saved").touch()
            raise


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent_and_save_their_work(how: signal.Signals, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    code = """
        import sys
        sys.path.insert(0, {tests!r})
        from pathlib import Path
        from test_jobs import Slow
        from equiact.scripts.experiments.scheduler import run_jobs

        if __name__ == "__main__":
            run_jobs([Slow("slow", Path({folder!r}))])
    """
    program.write_text(textwrap.dedent(code).format(tests=str(Path(__file__).parent), folder=str(tmp_path)))
    parent = subprocess.Popen([sys.executable, str(program)], stderr=subprocess.DEVNULL)
    try:
        worker = int(_wait_for(tmp_path / "began"))
        parent.send_signal(how)
        parent.wait(30)
        _wait_for(tmp_path / "saved", empty=True)
        _wait_until(lambda: not Path(f"/proc/{worker}").exists())
    finally:
        parent.kill()


def test_progress_and_lock_lie_beside_the_output(tmp_path: Path) -> None:
    job = Note("note", tmp_path)
    assert lock_file(job).parent == progress_file(job).parent == tmp_path


def test_no_jobs_are_no_error(tmp_path: Path) -> None:
    run_jobs([])
    run_in_process([Note("here", tmp_path)])
    assert (tmp_path / "here").read_text().split()[0] == str(os.getpid())


def test_ray_is_an_extra_and_its_address_must_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed; install the extra `cluster`")
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1"):
        with pytest.raises(ConnectionError, match=f"expected a Ray cluster at --address {address}, got no answer"):
            make_executor("ray", address)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"run pip install 'equiact\[cluster\]'"):
        make_executor("ray")


def test_an_address_needs_a_cluster() -> None:
    with pytest.raises(ValueError, match="add --runner ray"):
        make_executor("local", "auto")
    with pytest.raises(ValueError, match="at least one thread"):
        Resources(threads=0)


def _wait_for(file: Path, *, empty: bool = False) -> str:
    _wait_until(lambda: file.exists() and (empty or file.read_text() != ""))
    return file.read_text()


def _wait_until(condition: object, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "nothing happened for half a minute"
        time.sleep(0.05)


@pytest.mark.parametrize(("has_gpu", "chosen"), [(True, "cuda"), (False, "cpu")])
def test_a_job_on_any_device_takes_a_gpu_if_there_is_one(
    has_gpu: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert chosen_device("auto") == chosen and Resources.on("auto", 2) == Resources(2, gpus=int(has_gpu))
    assert [chosen_device(name) for name in ("cpu", "cuda:1")] == ["cpu", "cuda:1"], "as it was asked for"
