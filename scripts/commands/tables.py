"""The command ``equiact tables``."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from .command import Command, Device
from .registry import register_command

MARK = re.compile(r"<!-- table: (\S+)((?: \S+)*) -->\n.*?<!-- end -->", re.DOTALL)
"""Place of a table: the name of its result file, and the columns if it compares rows."""

RENAMED = {
    "back to the last place, no restart": "no restart",
    "climbing a flow": "gradient ascent, flow",
    "climbing kernels": "gradient ascent, kernel",
    "climbing the paper's mixture": "gradient ascent, diagonal mixture",
    "climbing the round mixture": "gradient ascent, isotropic mixture",
    "never stuck": "no dwell alarm",
    "set off by density alone": "density alarm only",
    "set off by innovation alone": "innovation alarm only",
    "set_size_sure": "set_size_confidence",
    "true state": "ground-truth state",
}
"""New names of what the result files of earlier versions call otherwise."""


@register_command("tables")
@dataclass(frozen=True)
class Tables(Command):
    """Fill the tables of results in Markdown files from the result files.

    A table goes between the marks `<!-- table: NAME COLUMN... -->` and `<!-- end -->`. NAME is a file of the results
    folder without its ending. A column of several words is quoted. Without columns, the table has a row for every
    figure.
    """

    seed: tyro.conf.Suppress[int] = 0
    device: tyro.conf.Suppress[Device] = "auto"
    files: tuple[Path, ...] = ()
    """Markdown files to rewrite; README.md and docs/**/*.md by default."""
    results_dir: Path = Path("results")
    """Folder of the result files."""
    check: bool = False
    """Change nothing; fail if a table differs from the results."""

    def run(self) -> dict[str, Any]:
        from ...envs.storage.file_access import write_atomically

        tables = 0
        for path in self.files or default_files():
            old = path.read_text(encoding="utf-8")
            new = fill(old, self.results_dir)
            tables += len(MARK.findall(new))
            if self.check and new != old:
                raise ValueError(f"a table in {path} differs from {self.results_dir}; run `equiact tables`")
            if new != old:
                write_atomically(path, new.encode())
        return {"tables": tables}


def default_files(root: Path = Path()) -> list[Path]:
    """Return the README and the pages of the documentation that exist below a folder."""
    readme = root / "README.md"
    return [readme] * readme.exists() + sorted((root / "docs").rglob("*.md"))


def fill(text: str, results: Path) -> str:
    """Return a text with every marked table made from its result file.

    Args:
        text: Markdown with marks.
        results: folder of the result files.

    Raises:
        FileNotFoundError: a result file is missing.
    """
    from ...envs.storage.artifacts import read_json

    def table(match: re.Match[str]) -> str:
        name, columns = match.group(1), shlex.split(match.group(2))
        result = read_json(results / f"{name}.json")
        figures = {_current_name(label): figure for label, figure in result["figures"].items()}
        lines = comparison_table(figures, columns) if columns else figure_table(figures)
        return "\n".join([f"<!-- table: {name}{match.group(2)} -->", *lines, "", origin(result), "<!-- end -->"])

    return MARK.sub(table, text)


def figure_table(figures: dict[str, Any]) -> list[str]:
    """Return the lines of a table with a row for every figure: mean, interval and the value of every seed."""
    lines = ["| | mean | 95 % interval | seeds |", "|---|---|---|---|"]
    for label, figure in figures.items():
        low, high = figure["interval"]
        each = ", ".join(_short(value) for value in figure["seeds"])
        lines.append(f"| {label} | {_short(figure['mean'])} | {_short(low)} – {_short(high)} | {each} |")
    return lines


def comparison_table(figures: dict[str, Any], columns: list[str]) -> list[str]:
    """Return the lines of a table of the figures ``"row: column"``, with a row for each that has the first column."""
    lines = [f"| | {' | '.join(column.replace('_', ' ') for column in columns)} |", "|---" * (len(columns) + 1) + "|"]
    rows = [label.removesuffix(f": {columns[0]}") for label in figures if label.endswith(f": {columns[0]}")]
    for row in rows:
        cells = (figures.get(f"{row}: {column}") for column in columns)
        lines.append(f"| {row} | {' | '.join('' if cell is None else _with_interval(cell) for cell in cells)} |")
    return lines


def origin(result: dict[str, Any]) -> str:
    """Return the command, the number of seeds, the machine and the commit of a result."""
    machine = result["machine"]
    seeds = f"{len(result['seeds'])} seed{'s' if len(result['seeds']) > 1 else ''}"
    return (
        f"`{result['command']}`, {seeds}, {machine['cores']} cores, {machine['processor']}, commit {result['commit']}."
    )


def _current_name(label: str) -> str:
    """Return the label of a figure in the words of this version."""
    for old, new in RENAMED.items():
        if label.startswith(f"{old}: ") or label.endswith((f": {old}", f" on {old}")):
            label = label.replace(old, new)
    return label


def _with_interval(figure: dict[str, Any] | str | float) -> str:
    """Return a mean and its interval; the mean alone if all seeds agree, and a text or a single number as it is."""
    if isinstance(figure, str):
        return figure
    if not isinstance(figure, dict):
        return _short(figure)
    mean, low, high = (_short(value) for value in (figure["mean"], *figure["interval"]))
    if low == mean == high:  # one seed, or seeds that agree in all digits shown: they do not make an interval
        return mean
    return f"{mean} ({low} – {high})"


def _short(value: float) -> str:
    """Return three digits; for a value just below one, up to five digits that tell it from one."""
    if 0.999 < value < 0.999995:
        return f"{value:.5f}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
