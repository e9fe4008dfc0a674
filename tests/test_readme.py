"""The README is short, its code runs as it stands, and its figures are those of the results."""

import re
from pathlib import Path

import pytest
from equiact.scripts.commands.tables import MARK, fill
from equiact.scripts.experiments.records import Records
from equiact.scripts.experiments.summaries import summarize_records

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
WITH_TABLES = [
    *("README.md", "docs/benchmarks.md", "docs/environments.md", "docs/how-to/pixels_without_opengl.md"),
    *("docs/analysis/dimension.md", "docs/analysis/hyperdga.md", "docs/analysis/lattice_reduction.md"),
    *("docs/analysis/relative_representations.md", "docs/analysis/symmetry_discovery.md", "docs/statistics.md"),
]


def test_fits_on_two_screens() -> None:
    assert len(README.encode()) <= 8 * 1024
    assert len(README.splitlines()) <= 150


def test_code_blocks_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 3
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), scope)
    assert "encoder" in scope


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("page", WITH_TABLES)
def test_tables_are_made_from_the_results(page: str) -> None:
    text = (ROOT / page).read_text()
    assert MARK.search(text)
    assert fill(text, ROOT / "results") == text


def test_figures_in_the_text_are_those_of_the_results() -> None:
    errors = summarize_records(Records.load(ROOT / "results" / "agent_object_soccer.jsonl"))
    for method in ("% of the side", "supervised", "as published"):
        for what in ("agent", "object"):
            assert f"{errors[f'{what} RMSE, {method}'].mean:.3g} %" in README
    success = summarize_records(Records.load(ROOT / "results" / "reinforcement_soccer.jsonl"))
    assert set(success["on the encoder: success"].seeds) == {1.0}
