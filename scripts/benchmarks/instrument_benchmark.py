"""The benchmark ``instruments``: the analysis tools over seeds, with a file of records for each tool."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..experiments.experiment import Grid, MeasureJob, Values
from ..experiments.jobs import JobProgress, Resources
from .instruments.instrument import INSTRUMENTS, InstrumentRun

THREADS = 2
"""Number of threads of a measurement with timings; on a machine with two cores it runs alone."""
UNTIMED = ("stitching", "stitching-poses")
"""Tools whose figures hold no times. A measurement has one thread, so that several run side by side."""


def instrument_experiments(tools: Sequence[str], seeds: Sequence[int], *, quick: bool, results: Path) -> list[Grid]:
    """Return the experiment of each analysis tool.

    Args:
        tools: names of the tools; all if empty.
        seeds: seeds, one measurement each.
        quick: whether a measurement is to take a few minutes on two cores.
        results: folder of the pictures, which the first seed draws.

    Raises:
        RegistryError: no tool has one of the names.
    """
    names = list(tools) or INSTRUMENTS.names()
    for name in names:
        INSTRUMENTS.get(name)
    return [_experiment(name, seeds, quick, results) for name in names]


def _experiment(tool: str, seeds: Sequence[int], quick: bool, results: Path) -> Grid:
    def jobs(folder: Path) -> list[MeasureJob]:
        runs = [InstrumentRun(tool, seed, quick, folder / str(seed), results, draws=seed == seeds[0]) for seed in seeds]
        return [
            MeasureJob(
                f"{tool}, seed {run.seed}",
                run.work_dir / "figures.json",
                partial(measure_tool, run),
                "",
                "",
                run.seed,
                resources=Resources(1 if tool in UNTIMED else THREADS),
            )
            for run in runs
        ]

    name = f"instrument_{tool.replace('-', '_')}"
    return Grid(name, {"size": "quick" if quick else "full"}, seeds, jobs, store=f"instruments/{tool}")


def measure_tool(run: InstrumentRun, show: JobProgress) -> Values:
    """Return the figures of a tool with one seed."""
    return INSTRUMENTS.get(run.tool)(run)
