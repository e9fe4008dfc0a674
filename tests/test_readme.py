"""The README's code runs as it stands, and its tables are what the results say."""

import re
from pathlib import Path

import pytest

from scripts.tables import MARK, fill, markdown

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


def test_a_table_shows_every_figure() -> None:
    figure = {"mean": 0.5, "interval": [0.4, 0.6], "seeds": [0.4, 0.6]}
    machine = {"cores": 2, "processor": "p"}
    table = markdown({"figures": {"error": figure}, "command": "c", "commit": "abc", "machine": machine})
    assert "| error | 0.5 | 0.4 – 0.6 | 0.4, 0.6 |" in table
    assert "commit abc" in table
