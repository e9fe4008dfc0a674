"""`equiact tables`: the tables of results in the README, made from ``results/*.json``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.commands import Command
from scripts.runs import read_json

MARK = re.compile(r"<!-- table: (\S+) -->\n.*?<!-- end -->", re.DOTALL)


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
        beside = self.readme.with_name(self.readme.name + ".part")
        beside.write_text(new)
        os.replace(beside, self.readme)
        return {"tables": len(MARK.findall(new))}


def fill(text: str, results: Path) -> str:
    """The text with every marked table made anew from its result file."""

    def table(match: re.Match[str]) -> str:
        name = match.group(1)
        return f"<!-- table: {name} -->\n{markdown(read_json(results / f'{name}.json'))}\n<!-- end -->"

    return MARK.sub(table, text)


def markdown(result: dict[str, Any]) -> str:
    """A result file as a table: a row per figure, with mean, interval and every seed, and what made it below."""
    lines = ["| | mean | 95 % interval | seeds |", "|---|---|---|---|"]
    for label, figure in result["figures"].items():
        low, high = figure["interval"]
        each = ", ".join(_short(value) for value in figure["seeds"])
        lines.append(f"| {label} | {_short(figure['mean'])} | {_short(low)} – {_short(high)} | {each} |")
    machine = result["machine"]
    lines += [
        "",
        f"`{result['command']}`, {machine['cores']} cores, {machine['processor']}, commit {result['commit']}.",
    ]
    return "\n".join(lines)


def _short(value: float) -> str:
    """Three digits; of what is nearly one, those that tell it from one."""
    if 0.999 < value < 1:
        return f"{value:.5f}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
