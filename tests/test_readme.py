"""The README is short, its code runs as it stands, and its figures are those of the results."""

import json
import re
from pathlib import Path

import pytest
from equiact.scripts.commands.tables import MARK, fill

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
WITH_TABLES = [
    *("README.md", "docs/benchmarks.md", "docs/environments.md", "docs/how-to/pixels_without_opengl.md"),
    *("docs/analysis/dimension.md", "docs/analysis/hyperdga.md", "docs/analysis/lattice_reduction.md"),
    *("docs/analysis/relative_representations.md", "docs/analysis/symmetry_discovery.md"),
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
    figures = json.loads((ROOT / "results" / "agent_object_soccer.json").read_text())["figures"]
    for label in ("agent RMSE, % of the side", "object RMSE, % of the side"):
        assert f"{figures[label]['mean']:.3g} %" in README
    success = json.loads((ROOT / "results" / "reinforcement_soccer.json").read_text())["figures"]
    assert set(success["success on the encoder"]["seeds"]) == {1.0}


def result(**figures: float) -> dict[str, object]:
    each = {
        label.replace("__", ": "): {"mean": value, "interval": [value - 0.1, value + 0.1], "seeds": [value, value]}
        for label, value in figures.items()
    }
    return {
        "figures": each,
        "command": "c",
        "commit": "abc",
        "seeds": [0, 1],
        "machine": {"cores": 2, "processor": "p"},
    }


def test_a_table_shows_every_figure(tmp_path: Path) -> None:
    (tmp_path / "errors.json").write_text(json.dumps(result(error=0.5)))
    table = fill("<!-- table: errors -->\n<!-- end -->", tmp_path)
    assert "| error | 0.5 | 0.4 – 0.6 | 0.5, 0.5 |" in table
    assert "2 seeds, " in table and "commit abc" in table


def test_a_table_compares_rows_by_columns(tmp_path: Path) -> None:
    figures = result(plain=0.3, ours__clean=0.9, ours__area=0.7, others__clean=0.5)
    (tmp_path / "both.json").write_text(json.dumps(figures))
    table = fill("<!-- table: both clean area -->\n<!-- end -->", tmp_path)
    assert "| | clean | area |" in table
    assert "| ours | 0.9 (0.8 – 1) | 0.7 (0.6 – 0.8) |" in table
    assert "| others | 0.5 (0.4 – 0.6) |  |" in table
    assert "plain" not in table
    assert fill(table, tmp_path) == table
