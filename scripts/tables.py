"""`equiact tables`: the tables of results in the README, made from ``results/*.json``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.commands import Command
from scripts.runs import read_json

MARK = re.compile(r"<!-- table: (\S+)((?: \S+)*) -->\n.*?<!-- end -->", re.DOTALL)
"""A table's place: the name of its result file, and the columns if it compares rows."""


@dataclass(frozen=True)
class Tables(Command):
    """Write the tables of results into the README, between their marks."""

    readme: Path = Path("README.md")
    """File to rewrite."""
    results: Path = Path("results")
    """Folder of the result files."""
    check: bool = False
    """Change nothing; fail if the README is not what the results say."""

    def run(self) -> dict[str, Any]:
        old = self.readme.read_text()
        new = fill(old, self.results)
        if self.check and new != old:
            raise ValueError(f"{self.readme} is not what {self.results} says; run `equiact tables`")
        if new != old:
            beside = self.readme.with_name(self.readme.name + ".part")
            beside.write_text(new)
            os.replace(beside, self.readme)
        return {"tables": len(MARK.findall(new))}


def fill(text: str, results: Path) -> str:
    """The text with every marked table made anew from its result file."""

    def table(match: re.Match[str]) -> str:
        name, columns = match.group(1), match.group(2).split()
        result = read_json(results / f"{name}.json")
        lines = compared(result["figures"], columns) if columns else listed(result["figures"])
        mark = " ".join([name, *columns])
        return "\n".join([f"<!-- table: {mark} -->", *lines, "", origin(result), "<!-- end -->"])

    return MARK.sub(table, text)


def listed(figures: dict[str, Any]) -> list[str]:
    """A row per figure, with mean, interval and every seed."""
    lines = ["| | mean | 95 % interval | seeds |", "|---|---|---|---|"]
    for label, figure in figures.items():
        low, high = figure["interval"]
        each = ", ".join(_short(value) for value in figure["seeds"])
        lines.append(f"| {label} | {_short(figure['mean'])} | {_short(low)} – {_short(high)} | {each} |")
    return lines


def compared(figures: dict[str, Any], columns: list[str]) -> list[str]:
    """Figures called ``row: column``, a row for each that has the first column, with mean and interval."""
    lines = [f"| | {' | '.join(column.replace('_', ' ') for column in columns)} |", "|---" * (len(columns) + 1) + "|"]
    rows = [label.removesuffix(f": {columns[0]}") for label in figures if label.endswith(f": {columns[0]}")]
    for row in rows:
        cells = (figures.get(f"{row}: {column}") for column in columns)
        lines.append(f"| {row} | {' | '.join('' if cell is None else _with_interval(cell) for cell in cells)} |")
    return lines


def origin(result: dict[str, Any]) -> str:
    """What made a result."""
    machine = result["machine"]
    seeds = f"{len(result['seeds'])} seed{'s' if len(result['seeds']) > 1 else ''}"
    return (
        f"`{result['command']}`, {seeds}, {machine['cores']} cores, {machine['processor']}, commit {result['commit']}."
    )


def _with_interval(figure: dict[str, Any]) -> str:
    """A mean and its interval; of a single seed, over which there is none, the figure alone."""
    low, high = figure["interval"]
    if low == figure["mean"] == high and len(figure["seeds"]) == 1:
        return _short(low)
    return f"{_short(figure['mean'])} ({_short(low)} – {_short(high)})"


def _short(value: float) -> str:
    """Three digits; of what is nearly one, those that tell it from one."""
    if 0.999 < value < 1:
        return f"{value:.5f}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
