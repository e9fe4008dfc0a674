"""The command ``equiact benchmark``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import tyro

from .registry import register_command
from .runner_options import RunnerCommand

if TYPE_CHECKING:
    from ..experiments.experiment import Experiment

Name = Literal[
    "all",
    "encoder",
    "data",
    "rl",
    "render",
    "class-pose",
    "stabilizers",
    "recovery",
    "environments",
    "instruments",
    "intervals",
]
"""Names of benchmarks."""


@register_command("benchmark")
@dataclass(frozen=True)
class Benchmark(RunnerCommand):
    """Reproduce the benchmark tables over several seeds.

    Writes a file of records for each benchmark to the results folder, and everything else to the work folder.

    `encoder` measures the errors and the speed of the agent-object encoder, `data` its errors with few transitions,
    rare contacts, wrong odometry, in gym-pusht, and where other things move too, `rl` reinforcement learning on it, and
    `render` frames per second.
    `class-pose` and `stabilizers` compare encoders of class and pose with baselines in several worlds. `recovery`
    compares methods that recover from perturbations, in both tasks.
    `environments` goes the whole way, from collecting to perturbed policies, in twelve environments of other packages.
    `instruments` measures the tools of `equiact analyze`, and `intervals` the coverage of confidence intervals. `all`
    runs all of these. Run the same command again to resume; what is there is not measured again.
    """

    resumes = True
    what: Annotated[Name, tyro.conf.Positional] = "encoder"
    """Name of the benchmark."""
    world: str | None = None
    """Name of the world of encoder, rl, render, class-pose or stabilizers; Soccer or all worlds if None."""
    quick: bool = False
    """Run one seed of a size for two cores."""
    num_seeds: int | None = None
    """Number of seeds, from 2000 (and --seed more) on; 5 if None, 1 if quick."""
    tools: tuple[str, ...] = ()
    """For instruments: names of the tools to measure; all by default."""
    work_dir: Path = Path("runs/benchmark")
    """Folder of data sets, encoders, policies and values of single runs."""

    def run(self) -> dict[str, Any]:
        from ..experiments.provenance import REPORTED_SEED

        self.require_at_least(num_seeds=1)
        number = self.num_seeds or (1 if self.quick else 5)
        seeds = [REPORTED_SEED + self.seed + index for index in range(number)]
        return self.measured_means(self.experiments(seeds), self.work_dir)

    def experiments(self, seeds: Sequence[int]) -> list[Experiment]:
        """Return the experiments of the benchmark.

        Raises:
            ValueError: the benchmark has no such world.
        """
        names = [name for name in get_args(Name) if name != "all"] if self.what == "all" else [self.what]
        return [each for name in names for each in self._experiments(name, seeds)]

    def _experiments(self, name: str, seeds: Sequence[int]) -> Sequence[Experiment]:
        if name in ("encoder", "rl", "render"):
            from ..benchmarks.agent_object_benchmark import AgentObjectBenchmark

            return [AgentObjectBenchmark(self.world or "Soccer").experiment(name, seeds, self.device)]
        if name in ("class-pose", "stabilizers"):
            from ..benchmarks.encoder_benchmark import ENCODER_BENCHMARKS, EncoderExperiment

            benchmark = ENCODER_BENCHMARKS[name]
            size = benchmark.quick if self.quick else benchmark.full
            return [EncoderExperiment(benchmark, size, seeds, self.world, self.device)]
        if self.world is not None:
            raise ValueError(f"expected --world with a benchmark of one world, got it with {self.what}; leave it out")
        if name == "data":
            from ..benchmarks.data_benchmark import DataBenchmark

            return DataBenchmark().experiments(seeds, self.device)
        if name == "recovery":
            from ..benchmarks.recovery_experiment import RecoveryExperiment, recovery_config

            config = recovery_config(quick=self.quick)
            return [
                RecoveryExperiment(task, config, seeds, self.device, ablations=not self.quick)
                for task in ("push", "pick")
            ]
        if name == "environments":
            from ..benchmarks.environment_benchmark import environment_experiment
            from ..benchmarks.environment_run import EnvironmentRunConfig

            return [environment_experiment(seeds, EnvironmentRunConfig())]
        if name == "intervals":
            from ..benchmarks.interval_coverage import IntervalCoverageConfig, interval_experiment

            return [interval_experiment(IntervalCoverageConfig(seed=seeds[0]))]
        from ..benchmarks.instrument_benchmark import instrument_experiments

        return instrument_experiments(self.tools, seeds, quick=self.quick, results=self.results_dir)
