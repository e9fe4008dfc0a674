"""The benchmarks ``class-pose`` and ``stabilizers``: encoders of class and pose against baselines, in all worlds."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...envs.storage.artifacts import check_output_file, folder_lock, read_json, write_json
from ...envs.storage.atomic_folder import DATA
from .encoder_methods import suits
from .encoder_runs import BenchmarkRun, BenchmarkSize
from .job_runner import RunJobs, run_jobs
from .result_files import append_seeds, over_seeds

QUICK = BenchmarkSize(20_000, 8_000, "strided", 2_000)
"""Size for two CPU cores."""
FULL = BenchmarkSize(100_000, 10_000, "resnet18", 120_000)
"""Size for a GPU: the backbone of the papers, and about their number of images."""


@dataclass(frozen=True)
class EncoderBenchmark:
    """Describe a benchmark of encoders.

    Attributes:
        name: name on the command line.
        worlds: names of the worlds.
        methods: labels of the methods (`encoder_methods.TABLE_LABELS`).
        quick: size with ``--quick``.
        full: size without.
    """

    name: str
    worlds: tuple[str, ...]
    methods: tuple[str, ...]
    quick: BenchmarkSize = QUICK
    full: BenchmarkSize = FULL

    def require_world(self, world: str | None) -> None:
        """Check that a world belongs to the benchmark; None stands for all.

        Raises:
            ValueError: it does not.
        """
        if world is not None and world not in self.worlds:
            raise ValueError(f"the benchmark {self.name} has no world {world!r}; choose from {list(self.worlds)}")

    def runs(self, size: BenchmarkSize, seed: int, world: str | None, device: str, folder: Path) -> list[BenchmarkRun]:
        """Return the runs of a seed: each method in each world whose group it can learn."""
        from ...envs.worlds.registry import world_class

        return [
            BenchmarkRun(name, method, seed, size, device, folder)
            for name in (self.worlds if world is None else (world,))
            for method in self.methods
            if suits(method, world_class(name).group.name)
        ]


ENCODER_BENCHMARKS = {
    "class-pose": EncoderBenchmark(
        "class-pose",
        worlds=("Sprites", "Shapes", "MultiSprites", "Chairs", "Apartments"),
        methods=("class and pose", "harmonics", "MDP homomorphism", "linear", "neural renderer", "autoencoder"),
    ),
    "stabilizers": EncoderBenchmark(
        "stabilizers",
        worlds=("Arrows", "ColouredArrows", "DoubleArrows", "Solids", "Models"),
        methods=("harmonics", "set of poses", "one pose", "neural renderer"),
    ),
}
"""The benchmarks by name."""


@dataclass(frozen=True)
class BenchmarkPlaces:
    """Set where a benchmark reads and writes.

    Attributes:
        results: folder of the result files.
        work_dir: folder of datasets, encoders and figures of single runs.
    """

    results: Path = Path("results")
    work_dir: Path = Path("runs/benchmark")


def run_encoder_benchmark(
    benchmark: EncoderBenchmark,
    size: BenchmarkSize,
    seeds: list[int],
    *,
    append: bool = False,
    world: str | None = None,
    device: str = "auto",
    places: BenchmarkPlaces = BenchmarkPlaces(),
    run: RunJobs = run_jobs,
) -> dict[str, Any]:
    """Do all runs of a benchmark that are not done, and write its result file.

    Args:
        benchmark: the benchmark.
        size: amount of data and training.
        seeds: the seeds.
        append: whether to keep the other seeds of the result file.
        world: name of one world; None for all.
        device: device of the simulator and the encoders.
        places: where to read and write.
        run: runs jobs.

    Returns:
        The mean of every figure.

    Raises:
        ValueError: the benchmark has no such world, or the seeds to append to have another size.
        ArtifactError: the result file cannot be written, or another process works in the folder.
    """
    benchmark.require_world(world)
    suffix = "" if world is None else f"_{world.lower()}"
    path = check_output_file(places.results / f"{benchmark.name.replace('-', '_')}{suffix}.json")
    if append:
        _earlier_result(path, size)
    folder = places.work_dir / benchmark.name / size.name
    rows = [benchmark.runs(size, seed, world, device, folder) for seed in seeds]
    with folder_lock(folder):
        for runs in rows:
            _run_missing(runs, run)
    result = over_seeds([_row(runs) for runs in rows], seeds)
    if append and (earlier := _earlier_result(path, size)):
        result = append_seeds(result, earlier)
    write_json(path, {**result, "size": size.name})
    return {label: each["mean"] for label, each in result["figures"].items()}


def _earlier_result(path: Path, size: BenchmarkSize) -> dict[str, Any]:
    """Return the result that seeds are appended to; empty if there is none.

    Raises:
        ValueError: it has another size.
    """
    result: dict[str, Any] = read_json(path) if path.exists() else {}
    if result and result.get("size") != size.name:
        raise ValueError(
            f"{path} has seeds of the size {result.get('size', 'unknown')}, to which none of {size.name} can be "
            "appended; leave out --append, or choose another --results-dir"
        )
    return result


def _run_missing(runs: list[BenchmarkRun], run: RunJobs) -> None:
    """Do the runs of a seed that are not done; collect their data first, and remove them at the end."""
    from ...envs.data.minari_dataset import check_dataset_folder

    missing = [each for each in runs if not each.done]
    for each in missing:
        each.check_outputs()
    needed = dict.fromkeys(job for each in missing for job in each.needs)
    every = {job for each in runs for job in (each.training_data, each.held_out)}
    run([job for job in needed if not job.done], of=len(every))
    slowest_first = sorted(missing, key=lambda each: each.method != "neural renderer")
    run(slowest_first, of=len(runs))  # so that no core waits for it at the end
    for job in every:
        if job.done:
            shutil.rmtree(check_dataset_folder(job.output) / DATA)
            with contextlib.suppress(OSError):  # a README.md is kept
                job.output.rmdir()


def _row(runs: list[BenchmarkRun]) -> dict[str, Any]:
    """Return the figures of all runs of a seed as ``"world, method: figure"``, and their commits."""
    measured = {f"{each.world}, {each.method}": read_json(each.output) for each in runs}
    commits = ", ".join(dict.fromkeys(each["commit"] for each in measured.values()))
    figures = {f"{row}: {name}": value for row, each in measured.items() for name, value in each["figures"].items()}
    return {"commit": commits, "figures": figures}
