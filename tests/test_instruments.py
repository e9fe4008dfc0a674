"""The benchmark of the analysis tools: every tool takes part, seeds are joined, and nothing is measured twice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from equiact.envs.named_registry import RegistryError
from equiact.envs.storage.artifacts import ArtifactError, read_json
from equiact.scripts.benchmarks.instrument_benchmark import run_instrument_benchmark
from equiact.scripts.benchmarks.instruments.instrument import INSTRUMENTS, InstrumentRun, register_instrument
from equiact.scripts.commands.tables import comparison_table


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


def run(folder: Path, *seeds: int, quick: bool = True) -> dict[str, Any]:
    """Measure the registered tool."""
    return run_instrument_benchmark(
        ["test-tool"], list(seeds), quick=quick, results=folder / "results", work_dir=folder / "work"
    )


def test_every_tool_of_the_command_line_is_measured() -> None:
    assert INSTRUMENTS.names() == ["dimension", "hyperdga", "lattice", "stitching", "symmetry"]


def test_seeds_are_joined_and_texts_kept(measured: list[InstrumentRun], tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    run(tmp_path, 3, 5)
    result = read_json(tmp_path / "results" / "instrument_test_tool.json")
    assert result["seeds"] == [3, 5] and result["figures"]["row: note"] == "text"
    assert result["figures"]["row: seed"]["mean"] == 4 and result["figures"]["row: seed"]["seeds"] == [3, 5]
    assert comparison_table(result["figures"], ["seed", "note"])[-1] == "| row | 4 (3 – 5) | text |"
    assert [each.draws for each in measured] == [True, False], "one seed draws the figures"
    assert measured[0].figure("map") == tmp_path / "results" / "test-tool_map.png"


def test_one_seed_has_no_interval(measured: list[InstrumentRun], tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    run(tmp_path, 3)
    assert read_json(tmp_path / "results" / "instrument_test_tool.json")["figures"]["row: seed"] == 3


def test_what_was_measured_is_not_measured_again(measured: list[InstrumentRun], tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    run(tmp_path, 3)
    run(tmp_path, 3, 4)
    assert [each.seed for each in measured] == [3, 4]


def test_a_folder_of_another_size_is_refused(measured: list[InstrumentRun], tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    run(tmp_path, 3)
    with pytest.raises(ValueError, match="choose another folder, or delete it"):
        run(tmp_path, 3, quick=False)
    assert len(measured) == 1


def test_unknown_tools_are_refused_before_anything_is_measured(measured: list[InstrumentRun], tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="unknown instrument 'hyperdag'; did you mean 'hyperdga'"):
        run_instrument_benchmark(["test-tool", "hyperdag"], [0], quick=True, results=tmp_path, work_dir=tmp_path / "w")
    assert measured == [] and not (tmp_path / "w").exists()


def test_a_result_file_of_others_stays(measured: list[InstrumentRun], tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    file = tmp_path / "results" / "instrument_test_tool.json"
    file.write_text('{"of": "another program"}')
    with pytest.raises(ArtifactError, match=r"instrument_test_tool\.json"):
        run(tmp_path, 3)
    assert file.read_text() == '{"of": "another program"}' and measured == []
