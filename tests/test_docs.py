"""The examples and the Python blocks of the documentation run, and every page is in the navigation."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
EXAMPLES = ["own_environment", "agent_object", "class_pose", "recovery", "own_group"]
PAGES = sorted(page for page in DOCS.rglob("*.md") if "```python\n" in page.read_text())


def python_blocks(page: Path) -> list[str]:
    """Return the Python blocks of a page; those that show a whole example file are fenced as ``{ .python }``."""
    blocks = re.findall(r"^( *)```python\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [re.sub(f"^{indent}", "", block, flags=re.MULTILINE) for indent, block in blocks]


def run(code: str, folder: Path) -> None:
    """Run code in a process of its own, so that what it registers stays there."""
    (folder / "page.py").write_text(code)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    outcome = subprocess.run(
        [sys.executable, "page.py"], capture_output=True, text=True, cwd=folder, env=environment, timeout=120
    )
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs(name: str, tmp_path: Path) -> None:
    run((DOCS / "examples" / f"{name}.py").read_text(), tmp_path)


def test_every_example_is_tested_and_shown() -> None:
    assert sorted(path.stem for path in (DOCS / "examples").glob("*.py")) == sorted(EXAMPLES)
    shown = (DOCS / "examples" / "index.md").read_text()
    assert [name for name in EXAMPLES if f"examples/{name}.py" not in shown] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_python_blocks_run_in_order(page: Path, tmp_path: Path) -> None:
    if blocks := python_blocks(page):
        run("\n".join(blocks), tmp_path)


def test_every_page_is_in_the_navigation() -> None:
    configuration = (ROOT / "mkdocs.yml").read_text()
    pages = [str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")]
    assert [page for page in pages if f": {page}" not in configuration] == []


def test_site_asks_no_other_host_for_fonts_or_scripts() -> None:
    configuration = (ROOT / "mkdocs.yml").read_text()
    assert "font: false" in configuration
    assert not re.search(r"https?://", configuration)
