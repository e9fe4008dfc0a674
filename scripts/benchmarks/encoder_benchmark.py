"""The benchmarks ``class-pose`` and ``stabilizers``: encoders of class and pose against baselines, in all worlds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..experiments.jobs import Job, chosen_device
from ..experiments.records import MeasuredRun
from .encoder_methods import suits
from .encoder_runs import BenchmarkRun, BenchmarkSize, RemovalJob

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
class EncoderExperiment:
    """Train and measure each method in each world whose group it can learn.

    Attributes:
        benchmark: the worlds and methods.
        size: amount of data and training.
        seeds: the seeds.
        world: name of one world; None for all.
        device: device of the simulator and the encoders.

    Raises:
        ValueError: the benchmark has no such world.
    """

    benchmark: EncoderBenchmark
    size: BenchmarkSize
    seeds: Sequence[int]
    world: str | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        self.benchmark.require_world(self.world)

    @property
    def name(self) -> str:
        """Return the name of its result file, without the ending."""
        suffix = "" if self.world is None else f"_{self.world.lower()}"
        return f"{self.benchmark.name.replace('-', '_')}{suffix}"

    @property
    def store(self) -> str:
        """Return the name of the folder of its runs, which one world alone shares with all."""
        return self.benchmark.name

    @property
    def configuration(self) -> dict[str, Any]:
        """Return all options that determine the values but the seeds."""
        return {**asdict(self.size), "device": chosen_device(self.device)}

    @property
    def worlds(self) -> tuple[str, ...]:
        """Return the names of the worlds."""
        return self.benchmark.worlds if self.world is None else (self.world,)

    def jobs(self, folder: Path) -> list[Job]:
        """Return the runs, checked for places to write, and jobs that remove their data in the end."""
        jobs: list[Job] = []
        for seed in self.seeds:
            for world in self.worlds:
                runs = self._runs(world, seed, folder)
                for each in runs:
                    if not each.done:
                        each.check_outputs()
                data = [runs[0].training_data, runs[0].held_out]
                jobs.append(RemovalJob(data, runs, folder / f"{world}-{seed}-removed.json"))
        return jobs

    def measured(self, folder: Path) -> list[MeasuredRun]:
        """Return what all runs measured."""
        return [
            run.measured() for seed in self.seeds for world in self.worlds for run in self._runs(world, seed, folder)
        ]

    def _runs(self, world: str, seed: int, folder: Path) -> list[BenchmarkRun]:
        """Return the runs in a world with a seed, in the order of the table."""
        from ...envs.worlds.registry import world_class

        group = world_class(world).group.name
        return [
            BenchmarkRun(world, method, seed, self.size, self.device, folder)
            for method in self.benchmark.methods
            if suits(method, group)
        ]
