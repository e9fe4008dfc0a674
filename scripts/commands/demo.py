"""The command ``equiact demo``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from ..benchmarks.run_folder import claimed
from ..experiments.provenance import provenance
from ..experiments.scheduler import RunJobs, run_jobs
from ..progress import console
from .command import Command
from .registry import register_command

if TYPE_CHECKING:
    from ..benchmarks.demo_run import DemoConfig, DemoRun

CLAIM = "demo.json"


@register_command("demo")
@dataclass(frozen=True)
class Demo(Command):
    """Collect transitions, train an encoder, train policies on it with reinforcement learning, and evaluate both.

    Writes the encoder, the policies, all results as JSON, a video and report.html to the output folder. Run the same
    command again to resume.

    The options after --output-dir are the configuration of the demo.
    """

    resumes = True
    config: Path | None = None
    """YAML file with values of options, such as `world: Push` or `sac: {gamma: 0.9}`. Options on the command line take
    precedence."""
    world: str = "Soccer"
    """Name of the world."""
    rl_steps: int | None = None
    """Number of steps of reinforcement learning; the value of --sac.steps if None."""
    output_dir: Path = Path("runs/demo")
    """Folder of everything that is made."""
    hyperparameters: tyro.conf.Suppress[Any] = None
    """Configuration of the demo; the default if None."""

    @classmethod
    def default_config(cls, arguments: Sequence[str]) -> DemoConfig:
        from ..benchmarks.demo_run import DemoConfig

        return DemoConfig()

    @property
    def demo_config(self) -> DemoConfig:
        """Return the configuration of the demo, with ``rl_steps``."""
        config: DemoConfig = self.hyperparameters or self.default_config(())
        return config if self.rl_steps is None else replace(config, sac=replace(config.sac, steps=self.rl_steps))

    def run(self, run_jobs: RunJobs = run_jobs) -> dict[str, Any]:
        from ...envs.worlds.registry import task_world_class
        from ...representations.learning.config import to_dict
        from ..benchmarks.demo_run import DemoRun

        task_world_class(self.world)
        config = self.demo_config
        if config.sac.steps < config.sac.evaluate_every:
            raise ValueError(
                f"a learning curve needs at least {config.sac.evaluate_every} steps, got --rl-steps {config.sac.steps}"
            )
        settings = {"world": self.world, "seed": self.seed, **to_dict(config)}
        with claimed(self.output_dir, CLAIM, settings):
            run = DemoRun(self.world, config, self.seed, self.device, self.output_dir, run_jobs)
            summary = self._run_steps(run)
        page = self.output_dir / "report.html"
        console.print(f"\nEverything is in [bold]{self.output_dir}[/bold]; open [bold]{page}[/bold]")
        return summary

    def _run_steps(self, run: DemoRun) -> dict[str, Any]:
        """Do all steps that are not done, and write the summary and the report."""
        from ...envs.storage.artifacts import write_json
        from ..reports.demo_report import write_report

        began = time.monotonic()
        run.train_encoder()
        run.train_policies()
        summary = {**run.evaluate(), "seed": self.seed, "world": self.world, "transitions": run.config.transitions}
        seconds = round(time.monotonic() - began, 1)
        summary |= {"rl_steps": run.config.sac.steps, **provenance(), "demo_seconds": seconds}
        write_json(self.output_dir / "summary.json", summary)
        write_report(self.output_dir)
        return summary
