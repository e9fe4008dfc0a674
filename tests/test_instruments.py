"""The benchmark of the analysis tools: every tool takes part, seeds are joined, and nothing is measured twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from equiact.envs.named_registry import RegistryError
from equiact.envs.storage.artifacts import ArtifactError
from equiact.scripts.benchmarks.instrument_benchmark import instrument_experiments
from equiact.scripts.benchmarks.instruments.instrument import INSTRUMENTS, InstrumentRun, register_instrument
from equiact.scripts.commands.tables import comparison_table
from equiact.scripts.experiments.experiment import Places, run_experiments
from equiact.scripts.experiments.records import Records
from equiact.scripts.experiments.scheduler import run_in_process
from equiact.scripts.experiments.summaries import summarize_records


@pytest.fixture
def measured() -> Iterator[list[InstrumentRun]]:
    """Register a tool that returns its seed, and return the list of its measurements."""
    runs: list[InstrumentRun] = []

    @register_instrument("test-tool")
    def measure(run: InstrumentRun) -> dict[str, float | str]:
        runs.append(run)
        return {"row: seed": float(run.seed), "row: note": "text"}

    yield runs
    INSTRUMENTS._entries.pop("test-tool")


def run(folder: Path, *seeds: int, quick: bool = True) -> Records:
    """Measure the registered tool."""
    places = Places(folder / "results", folder / "work")
    experiments = instrument_experiments(["test-tool"], seeds, quick=quick, results=places.results)
    return run_experiments(experiments, places, run=run_in_process)[0]


def test_every_tool_of_the_command_line_is_measured() -> None:
    assert INSTRUMENTS.names() == ["dimension", "hyperdga", "lattice", "stitching", "stitching-poses", "symmetry"]


def test_tools_without_times_run_side_by_side(tmp_path: Path) -> None:
    def threads(tool: str) -> set[int]:
        (grid,) = instrument_experiments([tool], [3, 4], quick=True, results=tmp_path)
        return {job.resources.threads for job in grid.jobs(tmp_path)}

    assert threads("stitching") == threads("stitching-poses") == {1}
    assert threads("hyperdga") == threads("symmetry") == {2}


def test_seeds_are_joined_and_texts_kept(measured: list[InstrumentRun], tmp_path: Path) -> None:
    run(tmp_path, 3, 5)
    records = Records.load(tmp_path / "results" / "instrument_test_tool.jsonl")
    figures = summarize_records(records)
    assert records.seeds == [3, 5] and records.only_source().configuration == {"size": "quick"}
    assert figures["row: note"].mean == "text" and figures["row: seed"].seeds == (3.0, 5.0)
    assert comparison_table(figures, ["seed", "note"])[-1] == "| row | 4 (-8.71 – 16.7) | text |"
    assert [each.draws for each in measured] == [True, False], "one seed draws the figures"
    assert measured[0].figure("map") == tmp_path / "results" / "test-tool_map.png"


def test_what_was_measured_is_not_measured_again(measured: list[InstrumentRun], tmp_path: Path) -> None:
    run(tmp_path, 3)
    run(tmp_path, 3, 4)
    assert [each.seed for each in measured] == [3, 4]
    run(tmp_path, 3, 4, quick=False)
    assert [each.seed for each in measured] == [3, 4, 3, 4], "another size is measured in a folder of its own"


def test_unknown_tools_are_refused_before_anything_is_measured(measured: list[InstrumentRun], tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="unknown instrument 'hyperdag'; did you mean 'hyperdga'"):
        instrument_experiments(["test-tool", "hyperdag"], [0], quick=True, results=tmp_path)
    assert measured == []


def test_a_result_file_of_others_stays(measured: list[InstrumentRun], tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    file = tmp_path / "results" / "instrument_test_tool.jsonl"
    file.write_text('{"of": "another program"}')
    with pytest.raises(ArtifactError, match=r"instrument_test_tool\.jsonl"):
        run(tmp_path, 3)
    assert file.read_text() == '{"of": "another program"}' and measured == []
