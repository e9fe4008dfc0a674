"""Experiments: content-addressed folders, resumption after every kind of death, and equal records."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from equiact.envs.storage.artifacts import ArtifactError, folder_lock
from equiact.scripts.benchmarks.run_folder import claimed
from equiact.scripts.commands.benchmark import Benchmark
from equiact.scripts.experiments.experiment import Grid, MeasureJob, Places, Values, run_experiments
from equiact.scripts.experiments.jobs import JobProgress
from equiact.scripts.experiments.provenance import code_version, content_key
from equiact.scripts.experiments.records import MeasuredRun, Records
from equiact.scripts.experiments.scheduler import run_in_process


def draw(seed: int, log: Path, show: JobProgress) -> dict[str, float | str]:
    """Return a number that the seed determines, after a while, and note that it was computed."""
    import torch

    torch.manual_seed(seed)
    time.sleep(0.3)
    value = float(torch.randn(32, 32).matmul(torch.randn(32, 32)).sum())
    with log.open("a") as file:
        file.write(f"{seed}\n")
    return {"draw": value, "row: text": "note"}


def grid(log: Path, seeds: tuple[int, ...] = (0, 1, 2, 3), **configuration: Any) -> Grid:
    """Return a grid with a run for each seed."""

    def jobs(folder: Path) -> list[MeasureJob]:
        return [
            MeasureJob(f"run {seed}", folder / f"{seed}.json", partial(draw, seed, log), "Push", "ours", seed)
            for seed in seeds
        ]

    return Grid("grid", configuration, seeds, jobs)


def run(folder: Path, experiment: Grid) -> Records:
    (records,) = run_experiments([experiment], Places(folder, folder / "work"), run=run_in_process)
    return records


def test_identical_runs_are_computed_once_and_others_anew(tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = run(tmp_path, grid(log, (0, 1)))
    assert run(tmp_path, grid(log, (0, 1))).table.equals(first.table)
    run(tmp_path, grid(log, (0, 1, 2)))
    assert log.read_text().split() == ["0", "1", "2"]
    run(tmp_path, grid(log, (0, 1, 2), updates=3))
    assert log.read_text().split() == ["0", "1", "2"] * 2, "another configuration has a folder of its own"
    assert first.table[["task", "metric"]].drop_duplicates().values.tolist() == [
        ["Push", "draw"],
        ["Push, row", "text"],
    ]


def test_a_folder_belongs_to_a_configuration_and_a_version_of_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places, experiment = Places(work_dir=tmp_path), grid(tmp_path / "log")
    folder = places.folder(experiment)
    assert places.folder(grid(tmp_path / "log", (7,))) == folder, "seeds share it"
    assert places.folder(grid(tmp_path / "log", lr=0.1)) != folder
    assert folder.parent == tmp_path / "grid"
    assert places.folder(replace(experiment, store="common")) == tmp_path / "common" / folder.name
    monkeypatch.setattr("equiact.scripts.experiments.experiment.code_version", lambda: "edited")
    assert places.folder(experiment) != folder


def test_the_version_of_the_code_tells_edits_apart(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *arguments], check=True
        )

    (tmp_path / "envs").mkdir()
    for name in ("__init__.py", "pyproject.toml", "requirements.lock", "agents", "representations", "scripts"):
        (tmp_path / name).write_text("1")
    (tmp_path / "envs" / "file").write_text("1")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "first")
    seen = [code_version(tmp_path)]
    (tmp_path / "README.md").write_text("no code")
    assert code_version(tmp_path) == seen[0]
    for path, content in (("envs/file", "2"), ("envs/file", "3"), ("envs/new", "4"), ("envs/new", "5")):
        (tmp_path / path).write_text(content)
        seen.append(code_version(tmp_path))
    assert len(set(seen)) == 5
    (tmp_path / "envs" / "new").unlink()
    (tmp_path / "envs" / "file").write_text("1")
    assert code_version(tmp_path) == seen[0]


def test_keys_do_not_depend_on_the_order_and_refuse_what_is_no_json() -> None:
    assert content_key({"a": 1, "b": [2]}) == content_key({"b": [2], "a": 1}) != content_key({"a": 1, "b": [3]})
    with pytest.raises(ValueError, match="not JSON compliant"):
        content_key({"a": float("nan")})


def test_a_result_file_of_others_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "grid.jsonl").write_text("theirs\n")
    with pytest.raises(ArtifactError):
        run(tmp_path, grid(tmp_path / "log"))
    assert not (tmp_path / "log").exists() and (tmp_path / "grid.jsonl").read_text() == "theirs\n"


def test_a_folder_with_things_of_others_is_refused(tmp_path: Path) -> None:
    folder = Places(tmp_path, tmp_path / "work").folder(grid(tmp_path / "log"))
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("chapter 1")
    with pytest.raises(ArtifactError, match=r"with other things in it: thesis\.tex"):
        run(tmp_path, grid(tmp_path / "log"))
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("values", [{}, {"a": float("nan")}, {"a": [1.0]}, {"a": None}, {"a": ()}, {"a": (1.0,)}])
def test_values_that_are_no_numbers_are_refused_before_they_are_kept(values: dict[str, Any], tmp_path: Path) -> None:
    job = MeasureJob("run", tmp_path / "0.json", lambda show: values, "Push", "ours", 3)
    with pytest.raises(ValueError, match=r"as a of Push, ours, seed 3, got|from the job 'run', got none"):
        run_in_process([job])
    assert not job.done, "the same command fails forever"


def test_a_job_keeps_the_row_the_episodes_and_the_time_of_its_values(tmp_path: Path) -> None:
    def measure(show: JobProgress) -> Values:
        time.sleep(0.05)
        return {"success": (True, False), "row: speed": 2.0}

    job = MeasureJob("run", tmp_path / "0.json", measure, "Push", "ours", 3)
    run_in_process([job])
    plain, row = job.measured()
    assert plain.seconds == row.seconds and 0.05 <= (plain.seconds or 0) < 1
    assert plain == MeasuredRun("Push", "ours", 3, {"success": (True, False)}, plain.seconds)
    assert row == MeasuredRun("Push, row", "ours", 3, {"speed": 2.0}, row.seconds)


def test_seeds_and_sizes_of_a_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Benchmark, "measured_means", lambda self, experiments, work_dir: experiments)
    full: Any = Benchmark(what="recovery", seed=3, num_seeds=2).run()
    quick: Any = Benchmark(what="recovery", quick=True).run()
    default: Any = Benchmark(what="rl").run()
    assert [list(each.seeds) for each in full] == [[2003, 2004]] * 2
    assert [list(each.seeds) for each in quick] == [[2000]] * 2
    assert [list(each.seeds) for each in default] == [[2000, 2001, 2002, 2003, 2004]]
    assert full[0].configuration["pairs"] > quick[0].configuration["pairs"] == 50


def test_records_name_the_code_that_was_there_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"

    def version() -> str:
        return "abc-dirty-2" if log.exists() else "abc-dirty-1"

    monkeypatch.setattr("equiact.scripts.experiments.experiment.code_version", version)
    assert run(tmp_path, grid(log, (0,))).only_source().commit == "abc-dirty-1"
    again = run(tmp_path, grid(log, (0,))).only_source()
    assert (again.commit, again.evaluated_before) == ("abc-dirty-2", ("abc-dirty-1",)), "edits are another commit"


def test_one_command_at_a_time_works_in_a_folder(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "work"), pytest.raises(ArtifactError, match="another process works here"):
        run(tmp_path, grid(tmp_path / "log", (0,)))
    assert not (tmp_path / "log").exists()


def test_a_folder_of_a_run_is_claimed_under_its_lock(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with (
        folder_lock(folder),
        pytest.raises(ArtifactError, match="another process works"),
        claimed(folder, "a.json", {}),
    ):
        pass
    assert not (folder / "a.json").exists(), "a command that is refused leaves its settings"
    with claimed(folder, "a.json", {"seed": 1}):
        assert (folder / "a.json").exists()


def test_every_benchmark_has_a_result_file_of_its_own() -> None:
    experiments = Benchmark(what="all", quick=True).experiments([2000])
    names = [each.name for each in experiments]
    assert len(names) == len(set(names))
    assert {"agent_object_soccer", "recovery_push", "class_pose", "environments", "instrument_symmetry"} <= set(names)
    with pytest.raises(ValueError, match="leave it out"):
        Benchmark(what="recovery", world="Soccer").experiments([2000])
    with pytest.raises(ValueError, match="expected --num-seeds of at least 1, got 0"):
        Benchmark(num_seeds=0).run()


PROGRAM = """
    import sys
    sys.path.insert(0, {tests!r})
    from pathlib import Path
    from test_experiments import grid
    from equiact.scripts.experiments.experiment import Places, run_experiments

    if __name__ == "__main__":
        folder = Path({folder!r})
        run_experiments([grid(folder / "log")], Places(folder, folder / "work"))
"""


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start a program that runs the grid, in a process group of its own."""
    program = folder / "program.py"
    program.write_text(textwrap.dedent(PROGRAM).format(tests=str(Path(__file__).parent), folder=str(folder)))
    return subprocess.Popen([sys.executable, str(program)], stderr=subprocess.DEVNULL, start_new_session=True)


def values(file: Path) -> dict[tuple[int, str], Any]:
    return Records.load(file).table.set_index(["seed", "metric"])["value"].to_dict()


@pytest.mark.slow
def test_killed_at_thirty_random_moments_a_grid_completes_with_equal_records(tmp_path: Path) -> None:
    """The parent alone, or the whole group, is killed; the same command completes, and computes again what was lost."""
    generator = random.Random(0)
    calm = tmp_path / "calm"
    calm.mkdir()
    began = time.monotonic()
    assert start(calm).wait() == 0
    duration = time.monotonic() - began
    expected = values(calm / "grid.jsonl")
    unfinished = 0
    for attempt in range(30):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        process = start(folder)
        time.sleep(generator.uniform(0.2, duration))
        is_group = attempt % 2 == 0
        if is_group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        kept, computed = {file.stem for file in (folder / "work").rglob("[0-3].json")}, computations(folder)
        unfinished += len(kept) < 4
        assert start(folder).wait() == 0
        assert values(folder / "grid.jsonl") == expected
        again = computations(folder)
        for seed in "0123":
            if seed in kept:
                assert again[seed] == 1, "a run whose values were kept is never computed again"
            elif is_group:
                assert again[seed] == computed[seed] + 1, "a run that was lost is computed again, once"
            else:  # a worker that outlives its parent for a moment may end its run, and keep its values or lose them
                assert again[seed] in (1, 2)
    assert unfinished >= 10, "the kills came too late"


def computations(folder: Path) -> Counter[str]:
    """Return how often each seed was computed."""
    log = folder / "log"
    return Counter(log.read_text().split() if log.exists() else [])


def test_experiments_on_other_devices_have_other_folders() -> None:
    for what in ("encoder", "class-pose", "recovery"):
        on_cpu = Benchmark(what=what, device="cpu").experiments([2000])[0]
        on_gpu = Benchmark(what=what, device="cuda").experiments([2000])[0]
        assert (on_cpu.configuration["device"], on_gpu.configuration["device"]) == ("cpu", "cuda")
