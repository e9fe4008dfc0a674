"""The command ``equiact benchmark``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ..benchmarks.agent_object_benchmark import AgentObjectBenchmark, AgentObjectBenchmarkConfig
from ..benchmarks.encoder_benchmark import ENCODER_BENCHMARKS, BenchmarkPlaces, run_encoder_benchmark
from ..benchmarks.environment_benchmark import run_environment_benchmark
from ..benchmarks.environment_run import EnvironmentRunConfig
from ..benchmarks.instrument_benchmark import run_instrument_benchmark
from ..benchmarks.result_files import FIRST_SEED, REPORTED_SEED
from .command import Command
from .registry import register_command


@register_command("benchmark")
@dataclass(frozen=True)
class Benchmark(Command):
    """Reproduce the benchmark tables over several seeds.

    Writes result files to the results folder, and everything else to the work folder.

    `encoder` measures the errors and the speed of the agent-object encoder, `rl` reinforcement learning on that
    encoder, and `render` frames per second. `class-pose` and `stabilizers` compare encoders of class and pose with
    baselines in several worlds. `environments` goes the whole way, from collecting to perturbed policies, in twelve
    environments of other packages. `instruments` measures the tools of `equiact analyze`. Run the same command again to
    resume.
    """

    resumes = True
    what: Annotated[
        Literal["encoder", "rl", "render", "class-pose", "stabilizers", "environments", "instruments"],
        tyro.conf.Positional,
    ] = "encoder"
    """Name of the benchmark."""
    world: str | None = None
    """Name of the world; Soccer if None, and all worlds of class-pose and stabilizers."""
    quick: bool = False
    """Run one seed of a size for two cores. For class-pose, stabilizers and instruments."""
    num_seeds: int | None = None
    """Number of seeds, from 100 (2000 for environments and instruments) and --seed more on; 5 if None, 1 if quick."""
    append: bool = False
    """For class-pose and stabilizers: keep the other seeds of the result file."""
    tools: tuple[str, ...] = ()
    """For instruments: names of the tools to measure; all by default."""
    transitions: int = 20_000
    """Number of transitions to train the agent-object encoder on."""
    rl_steps: int = 24_000
    """Number of steps of reinforcement learning."""
    results_dir: Path = Path("results")
    """Folder of the result files."""
    work_dir: Path = Path("runs/benchmark")
    """Folder of datasets, encoders, policies and figures of single seeds."""

    def run(self) -> dict[str, Any]:
        self.require_at_least(num_seeds=1, transitions=1, rl_steps=1)
        number = self.num_seeds or (1 if self.quick else 5)
        seeds = [FIRST_SEED + self.seed + index for index in range(number)]
        places = BenchmarkPlaces(self.results_dir, self.work_dir)
        if self.what == "environments":
            return run_environment_benchmark(
                self.seed, self.results_dir, self.work_dir / "environments", EnvironmentRunConfig()
            )
        if self.what == "instruments":
            return run_instrument_benchmark(
                self.tools,
                [REPORTED_SEED + self.seed + index for index in range(number)],
                quick=self.quick,
                results=self.results_dir,
                work_dir=self.work_dir / "instruments",
            )
        if self.what in ENCODER_BENCHMARKS:
            benchmark = ENCODER_BENCHMARKS[self.what]
            return run_encoder_benchmark(
                benchmark,
                benchmark.quick if self.quick else benchmark.full,
                seeds,
                append=self.append,
                world=self.world,
                device=self.device,
                places=places,
            )
        if self.append:
            raise ValueError(f"--append is for class-pose and stabilizers only, got it for {self.what}")
        config = AgentObjectBenchmarkConfig(transitions=self.transitions, rl_steps=self.rl_steps)
        return dict(AgentObjectBenchmark(self.what, self.world or "Soccer", config, self.device, places).run(seeds))
