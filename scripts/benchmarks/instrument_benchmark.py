"""Run the benchmarks of the analysis tools over seeds, and write a result file for each tool."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...envs.storage.artifacts import check_output_file, folder_lock, read_json, write_json
from ..progress import progress_bar
from .instruments.instrument import INSTRUMENTS, InstrumentRun
from .result_files import commit, provenance, summarize
from .run_folder import claim_folder

Figures = dict[str, float | str]


def run_instrument_benchmark(
    tools: Sequence[str], seeds: Sequence[int], *, quick: bool, results: Path, work_dir: Path
) -> dict[str, Any]:
    """Measure analysis tools with every seed, and write ``instrument_<tool>.json`` for each.

    What an earlier run of the same commit measured is not measured again.

    Args:
        tools: names of the tools; all if empty.
        seeds: seeds, one measurement each.
        quick: whether each measurement is to take at most three minutes on two cores.
        results: folder of the result files and figures.
        work_dir: folder of everything else.

    Returns:
        The result file and the seconds of each tool.

    Raises:
        RegistryError: no tool has one of the names.
        ValueError: the work folder holds a run of another commit or size.
        ArtifactError: a file cannot be written, or another process works in the folder.
    """
    names = list(tools) or INSTRUMENTS.names()
    measures = {name: INSTRUMENTS.get(name) for name in names}
    files = {name: check_output_file(results / f"instrument_{name.replace('-', '_')}.json") for name in names}
    claim_folder(work_dir, "instruments.json", {"commit": commit(), "quick": quick})
    written: dict[str, Any] = {}
    with folder_lock(work_dir), progress_bar("Instruments", len(names) * len(seeds), "measurements") as update:
        for name in names:
            began = time.perf_counter()
            rows = []
            for index, seed in enumerate(seeds):
                run = InstrumentRun(name, seed, quick, work_dir / name / str(seed), results, draws=index == 0)
                rows.append(_measured(run, measures[name]))
                update(len(written) * len(seeds) + index + 1, note=f"{name}, seed {seed}")
            write_json(files[name], {**provenance(), "seeds": list(seeds), "figures": _joined(rows)})
            written[name] = {"result_file": str(files[name]), "seconds": time.perf_counter() - began}
    return written


def _measured(run: InstrumentRun, measure: Any) -> Figures:
    """Return the figures of one seed; those of an earlier run if there are."""
    file = run.work_dir / "figures.json"
    if file.exists():
        known: Figures = read_json(file)["figures"]
        return known
    run.work_dir.mkdir(parents=True, exist_ok=True)
    figures: Figures = measure(run)
    write_json(file, {"figures": figures})
    return figures


def _joined(rows: list[Figures]) -> dict[str, Any]:
    """Return the values of a single seed as they are; the mean and the interval of several; the text of the first."""
    if len(rows) == 1:
        return dict(rows[0])
    joined: dict[str, Any] = {}
    for label, first in rows[0].items():
        values = [row[label] for row in rows]
        joined[label] = first if isinstance(first, str) else summarize([float(value) for value in values])
    return joined
