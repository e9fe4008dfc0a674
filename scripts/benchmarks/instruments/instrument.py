"""The registry of the benchmarks of analysis tools: a benchmark is one function that measures one seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ....envs.named_registry import Registry
from ...experiments.records import Value


@dataclass(frozen=True)
class InstrumentRun:
    """Name the tool, the seed and the folders of one measurement.

    Attributes:
        tool: name of the tool.
        seed: seed of all random numbers.
        quick: whether to take at most three minutes on two cores.
        work_dir: folder for data sets, encoders and policies of this seed.
        results_dir: folder of the figures.
        draws: whether to write figures, as the first seed does.
    """

    tool: str
    seed: int
    quick: bool
    work_dir: Path
    results_dir: Path
    draws: bool = True

    def figure(self, name: str) -> Path:
        """Return the file of a figure, such as ``results/hyperdga_graph.png``."""
        return self.results_dir / f"{self.tool}_{name}.png"


MeasureInstrument = Callable[[InstrumentRun], Mapping[str, Value]]
"""Returns values by ``"row: column"`` of the table."""

INSTRUMENTS: Registry[MeasureInstrument] = Registry("instrument", "equiact.scripts.benchmarks.instruments")
"""Benchmarks of the analysis tools, by name of the tool."""

register_instrument = INSTRUMENTS.register
"""Return a decorator that registers the benchmark of an analysis tool under the name of the tool."""
