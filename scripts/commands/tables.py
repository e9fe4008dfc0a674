"""The command ``equiact tables``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from .command import Command, Device
from .registry import register_command

if TYPE_CHECKING:
    from ..experiments.records import Provenance, Records
    from ..experiments.summaries import Summary

Summaries = Mapping[str, "Summary"]
"""Summaries by ``"row: column"``."""

MARK = re.compile(r"<!-- table: (\S+)((?: \S+)*) -->\n.*?<!-- end -->", re.DOTALL)
"""Place of a table: the name of its result file, and the columns if it compares rows."""

RIVAL = "against"
"""Word between the metric and the rival of a table of differences."""

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
    """Fill the tables of results in Markdown files from the records of experiments.

    A table comes from one commit and one configuration, or the command fails and says which runs to repeat. It goes
    between the marks `<!-- table: NAME COLUMN... -->` and `<!-- end -->`. NAME is a file of the results folder without
    its ending. A column of several words is quoted. Without columns, the table has a row for every figure. With
    `METRIC against ROW`, it has the differences of a success rate to that of a row, over the same seeds and episodes.
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
    from ..experiments.records import Records
    from ..experiments.summaries import summarize_records

    def table(match: re.Match[str]) -> str:
        name, columns = match.group(1), shlex.split(match.group(2))
        records = Records.load(results / f"{name}.jsonl")
        records.only_source()  # or refuse
        figures = {_current_name(label): summary for label, summary in summarize_records(records).items()}
        if columns[1:2] == [RIVAL]:
            lines = difference_table(records, columns[0], " ".join(columns[2:]))
        else:
            lines = comparison_table(figures, columns) if columns else figure_table(figures)
        note = origin(list(records.sources.values()), records.seeds)
        return "\n".join([f"<!-- table: {name}{match.group(2)} -->", *lines, "", note, "<!-- end -->"])

    return MARK.sub(table, text)


def figure_table(figures: Summaries) -> list[str]:
    """Return the lines of a table with a row for every figure: mean, interval and the value of every seed."""
    lines = ["| | mean | 95 % interval | seeds |", "|---|---|---|---|"]
    for label, figure in figures.items():
        interval = "" if figure.interval is None else " – ".join(map(_short, figure.interval))
        lines.append(f"| {label} | {_text(figure.mean)} | {interval} | {', '.join(map(_text, figure.seeds))} |")
    return lines


def comparison_table(figures: Summaries, columns: list[str]) -> list[str]:
    """Return the lines of a table of the figures ``"row: column"``, with a row for each that has the first column."""
    lines = [f"| | {' | '.join(column.replace('_', ' ') for column in columns)} |", "|---" * (len(columns) + 1) + "|"]
    rows = [label.removesuffix(f": {columns[0]}") for label in figures if label.endswith(f": {columns[0]}")]
    for row in rows:
        cells = (figures.get(f"{row}: {column}") for column in columns)
        lines.append(f"| {row} | {' | '.join('' if cell is None else _with_interval(cell) for cell in cells)} |")
    return lines


def difference_table(records: Records, metric: str, rival: str) -> list[str]:
    """Return the lines of a table of the differences of a success rate to that of a rival, paired by episode."""
    from ..experiments.summaries import compare_with

    lines = [
        f"| | difference to {rival} | 95 % interval | p | interquartile mean | probability of improvement |",
        "|---|---|---|---|---|---|",
    ]
    for row, found in compare_with(records, metric, rival).items():
        paired = found.paired
        interval = " – ".join(map(_short, (paired.low, paired.high)))
        others = " | ".join(map(_short, (found.interquartile_mean, found.improvement)))
        lines.append(f"| {row} | {_short(paired.difference)} | {interval} | {_p_value(paired.p_value)} | {others} |")
    return lines


def _p_value(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def origin(sources: Sequence[Provenance], seeds: list[int]) -> str:
    """Return the commands, the seeds and how often they were evaluated before, the machines and the commit.

    Args:
        sources: where the records come from, all of one commit.
        seeds: their seeds, in order.
    """
    named = f"{len(seeds)} seeds, {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"
    earlier = dict.fromkeys(commit for source in sources for commit in source.evaluated_before)
    before = f", evaluated before at {', '.join(earlier)}" if earlier else ""
    commands = " and ".join(dict.fromkeys(f"`{source.command}`" for source in sources))
    machines = dict.fromkeys(f"{source.machine['cores']} cores, {source.machine['processor']}" for source in sources)
    return f"{commands}, {named}{before}, {' and '.join(machines)}, commit {sources[0].commit}."


def _current_name(label: str) -> str:
    """Return the label of a figure in the words of this version."""
    for old, new in RENAMED.items():
        if label.startswith(f"{old}: ") or label.endswith((f": {old}", f" on {old}")):
            label = label.replace(old, new)
    return label


def _with_interval(figure: Summary) -> str:
    """Return a mean and its interval; the mean alone without an interval, or if the seeds agree without episodes."""
    if figure.interval is None:
        return _text(figure.mean)
    mean, low, high = (_short(value) for value in (figure.number, *figure.interval))
    return mean if low == mean == high else f"{mean} ({low} – {high})"


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else _short(value)


def _short(value: float) -> str:
    """Return three digits; for a value just below one, up to five digits that tell it from one."""
    if 0.999 < value < 0.999995:
        return f"{value:.5f}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
