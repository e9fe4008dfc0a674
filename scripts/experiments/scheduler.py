"""Run the jobs of an experiment that are not done, as many at a time as there is room for, and show their progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from pickle import PicklingError

from ...envs.storage.artifacts import ArtifactError, read_json
from ..progress import ProgressDisplay, console, progress_display
from .executors import JobExecutor, LocalExecutor
from .jobs import Job, missing_jobs, silent
from .worker import progress_file

RunJobs = Callable[..., None]
"""Has the signature of `run_jobs`."""

EXPECTED = (ValueError, OSError, RuntimeError, FloatingPointError, ImportError)
"""Errors whose message says enough; of others, the place where they happened is shown, too."""


def run_jobs(
    jobs: Iterable[Job], make_executor: Callable[[], JobExecutor] = LocalExecutor, *, retries: int = 2
) -> None:
    """Run all jobs that are not done, after the jobs that they need.

    A job that fails does not stop those that do not need it. A job whose process dies is started again, and resumes
    from its checkpoint.

    Args:
        jobs: the jobs.
        make_executor: returns what runs jobs; it is called if a job is to be run.
        retries: number of times that a job is started again after its process died.

    Raises:
        RuntimeError: jobs failed; the message names each with its error.
    """
    missing = missing_jobs(jobs)
    if not missing:
        return
    executor = make_executor()
    schedule = _Schedule(missing, executor, retries)
    completed = False
    try:
        with progress_display() as display:
            schedule.run(display)
        completed = True
    finally:
        executor.close(stop=not completed)
    schedule.raise_failures()


def run_in_process(jobs: Iterable[Job], make_executor: Callable[[], JobExecutor] | None = None) -> None:
    """Run jobs one after another in this process, without a display; has the signature of `run_jobs`."""
    for job in missing_jobs(jobs):
        job.run(silent)


@dataclass
class _Running:
    """A job that runs, and its number in the display, if it is shown."""

    job: Job
    task: int | None = None


@dataclass
class _Schedule:
    """What waits, what runs, what failed, and how often a process died.

    Attributes:
        missing: jobs to run, in their order.
        executor: runs jobs.
        retries: number of times that a job is started again.
        running: jobs that were submitted, by their futures.
        failed: message of each job that failed, by output.
        deaths: number of deaths of the process of a job, by output.
    """

    missing: list[Job]
    executor: JobExecutor
    retries: int
    running: dict[Future[float], _Running] = field(default_factory=dict)
    failed: dict[Path, str] = field(default_factory=dict)
    deaths: dict[Path, int] = field(default_factory=dict)

    def run(self, display: ProgressDisplay) -> None:
        """Run everything that can run."""
        waiting = {job.output: job for job in self.missing}
        total, over = len(waiting), 0
        bar = display.add("Jobs", total, "jobs") if total > 1 else None
        while waiting or self.running:
            self._submit(waiting)
            for future in wait(self.running, timeout=1.0, return_when=FIRST_COMPLETED).done:
                if again := self._end(self.running.pop(future), future, display):
                    waiting[again.output] = again
                else:
                    over += 1
            for each in self.running.values():
                _show(each, display)
            over += self._give_up(waiting)
            if bar is not None:
                display.update(bar, over)
        if bar is not None:
            display.remove(bar)

    def raise_failures(self) -> None:
        """Raise an error if jobs failed."""
        if self.failed:
            raise RuntimeError("\n".join(self.failed.values()))

    def _submit(self, waiting: dict[Path, Job]) -> None:
        """Start waiting jobs whose needs are done, in their order, while there is room."""
        unfinished = waiting.keys() | {each.job.output for each in self.running.values()}
        for output, job in list(waiting.items()):
            if any(each.output in unfinished for each in job.needs):
                continue
            if not self.executor.has_room(job.resources, [each.job.resources for each in self.running.values()]):
                if self.running:
                    return
                self._fail(job, f"{job.title} wants {job.resources}, which is not there; choose another --device")
                continue
            progress_file(job).unlink(missing_ok=True)  # of a process that was killed
            try:
                future = self.executor.submit(job)
            except (PicklingError, AttributeError, TypeError) as error:
                self._fail(job, f"{job.title} cannot be pickled ({error}); use functions of a module, without lambda")
                continue
            del waiting[output]
            self.running[future] = _Running(job)

    def _end(self, ended: _Running, future: Future[float], display: ProgressDisplay) -> Job | None:
        """Note how a job ended, and return it if it is to be started again."""
        job = ended.job
        if ended.task is not None:
            display.remove(ended.task)
        error = CancelledError() if future.cancelled() else future.exception()
        if error is None:
            _say(f"{job.title}: done in {future.result():.0f} s")
            return None
        if self.executor.died(error) and self.deaths.get(job.output, 0) < self.retries:
            self.deaths[job.output] = self.deaths.get(job.output, 0) + 1
            _say(f"{job.title}: its process died; it is started again")
            return job
        self._fail(job, self._describe(job, error))
        return None

    def _fail(self, job: Job, message: str) -> None:
        """Note that a job failed, and say so."""
        self.failed[job.output] = message
        _say(message)

    def _describe(self, job: Job, error: BaseException) -> str:
        if self.executor.died(error):
            code = getattr(error, "exitcode", None)
            return (
                f"{job.title}: its process died {self.retries + 1} times ({error}, exit code {code}). With code -9 the "
                "memory may have run out; with code 1 it could not start, see above. "
                "Run the same command again to resume"
            )
        if isinstance(error, EXPECTED):
            return f"{job.title} failed: {type(error).__name__}: {error}"
        return f"{job.title} failed: {getattr(error, 'traceback', '')}\n{type(error).__name__}: {error}"

    def _give_up(self, waiting: dict[Path, Job]) -> int:
        """Drop waiting jobs that cannot be started or need a failed one, and return their number."""
        before = len(waiting)
        for output, job in list(waiting.items()):
            if cause := next((each for each in job.needs if each.output in self.failed), None):
                self.failed[output] = f"{job.title} was not run: it needs {cause.title!r}, which failed"
            if output in self.failed:
                del waiting[output]
        return before - len(waiting)


def _say(message: str) -> None:
    console.print(message, highlight=False, soft_wrap=True, markup=False)


def _show(running: _Running, display: ProgressDisplay) -> None:
    """Show how far a job says that it is; a job that only waits for room is not shown."""
    try:
        said = read_json(progress_file(running.job))
    except (ArtifactError, FileNotFoundError):
        return
    if running.task is None:
        running.task = display.add(running.job.title)
    total = said["total"] or None
    display.update(running.task, said["done"], total=total, unit=said["unit"], note=said["note"])
