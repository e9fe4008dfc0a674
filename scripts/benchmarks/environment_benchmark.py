"""The benchmark of environments of other packages: what each needs, and what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from ..experiments.experiment import Grid, MeasureJob, Values
from ..experiments.jobs import JobProgress, Resources
from .environment_run import EnvironmentRun, EnvironmentRunConfig
from .environment_suite import FOREIGN_ENVIRONMENTS, ForeignEnvironment

THREADS = 2
"""Number of threads of a run."""


def environment_experiment(seeds: Sequence[int], config: EnvironmentRunConfig) -> Grid:
    """Return the experiment that goes the whole way in every environment.

    Args:
        seeds: seeds of everything.
        config: the amount of work.
    """

    def jobs(folder: Path) -> list[MeasureJob]:
        return [
            MeasureJob(
                f"{environment.name}, seed {seed}",
                folder / f"{environment.name.replace('/', '-')}-{seed}.json",
                partial(measure_environment, environment, seed, folder / environment.name / str(seed), config),
                environment.name,
                "",
                seed,
                resources=Resources(THREADS),
            )
            for seed in seeds
            for environment in FOREIGN_ENVIRONMENTS
        ]

    return Grid("environments", asdict(config), seeds, jobs)


def measure_environment(
    environment: ForeignEnvironment, seed: int, folder: Path, config: EnvironmentRunConfig, show: JobProgress
) -> Values:
    """Return what an environment needs, and the figures of all steps.

    Args:
        environment: the environment.
        seed: seed of everything.
        folder: folder of data, encoder and policy.
        config: the amount of work.
        show: is not called: the commands of the steps show their own progress.
    """
    figures = EnvironmentRun(environment, seed, folder, config).run()
    return {**_needs(environment), **{name: each for name, each in figures.items() if each is not None}}


def _needs(environment: ForeignEnvironment) -> dict[str, str]:
    """Return what equiact must be told about an environment, as text."""
    return {
        "package": environment.package,
        "pixels": "ray-traced" if environment.draws else "its own",
        "displacement": environment.displacement,
        "action_repeat": str(environment.action_repeat),
        "encoder": ", ".join([environment.encoder, *(f"{k} {v}" for k, v in environment.encoder_options.items())]),
        "perturbation": environment.perturbation,
    }
