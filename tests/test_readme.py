"""The README's code runs as it stands, and its tables are what the results say."""

import re
from pathlib import Path

import pytest

from scripts.runs import write_json
from scripts.tables import MARK, fill

ROOT = Path(__file__).resolve().parent.parent


def test_code_blocks_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) >= 3
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), scope)
    assert "encoder" in scope


def test_tables_are_made_from_the_results() -> None:
    text = (ROOT / "README.md").read_text()
    assert MARK.search(text)
    assert fill(text, ROOT / "results") == text


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
    write_json(tmp_path / "errors.json", result(error=0.5))
    table = fill("<!-- table: errors -->\n<!-- end -->", tmp_path)
    assert "| error | 0.5 | 0.4 – 0.6 | 0.5, 0.5 |" in table
    assert "2 seeds, " in table and "commit abc" in table


def test_a_table_compares_rows_by_columns(tmp_path: Path) -> None:
    write_json(tmp_path / "both.json", result(plain=0.3, ours__clean=0.9, ours__area=0.7, others__clean=0.5))
    table = fill("<!-- table: both clean area -->\n<!-- end -->", tmp_path)
    assert "| | clean | area |" in table
    assert "| ours | 0.9 (0.8 – 1) | 0.7 (0.6 – 0.8) |" in table
    assert "| others | 0.5 (0.4 – 0.6) |  |" in table
    assert "plain" not in table
    assert fill(table, tmp_path) == table
