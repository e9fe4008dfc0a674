"""Tidy records of experiments: one line for each run and metric, and one for where they come from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...envs.storage.file_access import ArtifactError, read_regular, write_atomically
from ...envs.storage.json_npz import MARK
from ...envs.storage.output_paths import file_lock
from .provenance import content_key

if TYPE_CHECKING:
    import pandas as pd

KEYS = ("task", "method", "seed", "metric")
"""Columns that tell records apart."""
COLUMNS = (*KEYS, "value", "trials", "outcomes", "seconds", "provenance")
"""Columns of the records."""

PATIENCE = 60.0
"""Seconds to wait for another command that writes the same file."""

Outcomes = tuple[bool, ...]
"""Whether each episode was a success. The record holds their mean, their number, and a digit 0 or 1 for each."""
Value = float | str | Outcomes
"""A number, a text such as the name of a package, or the outcomes behind a success rate."""


@dataclass(frozen=True)
class MeasuredRun:
    """Name a run, and hold what was measured.

    Attributes:
        task: what was to be done, such as the name of an environment.
        method: what did it; empty if there is one method only.
        seed: seed of the run.
        values: numbers, texts, or outcomes of episodes, by metric. Methods of the same task and seed play the same
            episodes in the same order, so that their outcomes are paired.
        seconds: seconds that the run took.

    Raises:
        ValueError: a value is neither a finite number nor a text nor outcomes, or the seed is no integer.
    """

    task: str
    method: str
    seed: int
    values: Mapping[str, Value]
    seconds: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int):
            raise ValueError(f"expected an integer as seed, got {self.seed!r}")
        for metric, value in self.values.items():
            if not _is_value(value):
                name = ", ".join(filter(None, (self.task, self.method, f"seed {self.seed}")))
                raise ValueError(
                    f"expected a finite int or float, a text or a tuple of bools as {metric} of {name}, got {value!r}"
                )

    @classmethod
    def from_labels(cls, seed: int, figures: Mapping[str, Value], **options: Any) -> list[MeasuredRun]:
        """Return a run for each row of figures ``"row: metric"``; a figure without a row is of the empty task."""
        rows: dict[str, dict[str, Value]] = {}
        for label, value in figures.items():
            row, _, metric = label.rpartition(": ")
            rows.setdefault(row, {})[metric] = value
        return [cls(row, "", seed, values, **options) for row, values in rows.items()]


@dataclass(frozen=True)
class Provenance:
    """State where records come from.

    Attributes:
        command: the command that measured them.
        commit: commit of the code.
        machine: processor, cores and versions.
        configuration: all options that determine the values.
        evaluated_before: commits at which runs with these seeds were evaluated before.
    """

    command: str
    commit: str
    machine: Mapping[str, Any]
    configuration: Mapping[str, Any]
    evaluated_before: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Return the key that its records refer to."""
        return content_key(vars(self) | {"machine": dict(self.machine), "configuration": dict(self.configuration)})


@dataclass(frozen=True)
class Records:
    """Hold the records of an experiment.

    Attributes:
        table: a row for each run and metric, with the columns `COLUMNS`.
        sources: where they come from, by the key in the column ``provenance``.
    """

    table: pd.DataFrame
    sources: Mapping[str, Provenance]

    @classmethod
    def of(cls, runs: Sequence[MeasuredRun], source: Provenance) -> Records:
        """Return the records of runs that come from one source.

        Raises:
            ValueError: two runs have the same task, method, seed and metric.
        """
        rows = [
            (run.task, run.method, run.seed, metric, *_columns_of(value), run.seconds, source.key)
            for run in runs
            for metric, value in run.values.items()
        ]
        table = _table(rows)
        if twice := table[table.duplicated(list(KEYS))][list(KEYS)].values.tolist():
            raise ValueError(f"expected one run for each task, method, seed and metric, got two of {twice[0]}")
        return cls(table, {source.key: source})

    @property
    def seeds(self) -> list[int]:
        """Return the seeds, in their order."""
        return sorted(self.table["seed"].unique().tolist())

    def only_source(self) -> Provenance:
        """Return where the records come from, and check that it is one commit and one configuration.

        Raises:
            ValueError: they come from several; the message says which runs to repeat.
        """
        made = {key: (each.commit, content_key(each.configuration)) for key, each in self.sources.items()}
        if len(set(made.values())) <= 1:
            return next(iter(self.sources.values()))
        counts = self.table["provenance"].map(made).value_counts()
        others = self.table[self.table["provenance"].map(made) != counts.index[0]]
        repeat = others[["task", "method", "seed"]].drop_duplicates().itertuples(index=False)
        names = "; ".join(f"{', '.join(filter(None, each[:2]))}, seed {each[2]}" for each in repeat)
        raise ValueError(
            f"expected records of one commit and one configuration, got {len(counts)}; repeat these runs at "
            f"{counts.index[0][0]}: {names}"
        )

    def save(self, file: Path) -> None:
        """Write the records as JSON Lines, completely or not at all."""
        lines: list[dict[str, Any]] = [{"kind": MARK, **vars(each)} for each in self.sources.values()]
        lines += [_present(row) for row in self.table.to_dict("records")]
        text = "\n".join(json.dumps(line, ensure_ascii=False, allow_nan=False) for line in lines)
        write_atomically(file, f"{text}\n".encode())

    @classmethod
    def load(cls, file: Path) -> Records:
        """Read records.

        Raises:
            FileNotFoundError: there is no file.
            ArtifactError: it holds other things, or is damaged.
        """
        try:
            lines = [json.loads(line) for line in read_regular(file).decode().splitlines()]
            sources = [_provenance(line) for line in lines if line.get("kind") == MARK]
            rows = [_checked_row(line) for line in lines if line.get("kind") != MARK]
            table = _table(rows).astype({"value": object})
            found = {each.key: each for each in sources}
            if not found or not set(table["provenance"]) <= found.keys() or table[list(KEYS)].isna().any(axis=None):
                raise ValueError("a record does not say where it comes from")
            if table.duplicated(list(KEYS)).any():
                raise ValueError("two records of the same run and metric")
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ArtifactError(f"expected records of an experiment in {file}, got damaged ones ({error})") from error
        return cls(table, found)


def publish(file: Path, runs: Sequence[MeasuredRun], source: Provenance) -> Records:
    """Write the records of runs into the file of an experiment, beside those of the same commit and configuration.

    Records of another commit or configuration are replaced, unless by fewer seeds. Commands that write the same file
    take turns. The new records name the commits at which their seeds were evaluated before.

    Args:
        file: the file, which need not exist.
        runs: the runs.
        source: where they come from.

    Raises:
        ValueError: the file has records of another commit or configuration with more seeds, or two of the runs are the
            same.
        ArtifactError: the file holds other things, or another command holds it for a minute.
    """
    lock = file.with_name(f".{file.name}.equiact-lock")
    with file_lock(lock, timeout=PATIENCE, busy=f"another command writes {file}"):
        records = _joined(file, runs, source)
        records.save(file)
    return records


def _joined(file: Path, runs: Sequence[MeasuredRun], source: Provenance) -> Records:
    """Return the records of runs with those that the file has and keeps; see `publish`."""
    if not file.exists():
        return Records.of(runs, source)
    earlier = Records.load(file)
    seeds = {run.seed for run in runs}
    is_same = all(
        (each.commit, dict(each.configuration)) == (source.commit, dict(source.configuration))
        for each in earlier.sources.values()
    )
    if not is_same and len(seeds) < len(earlier.seeds):
        raise ValueError(
            f"{file} holds {len(earlier.seeds)} seeds of another commit or configuration, and is not overwritten by "
            f"{len(seeds)}; run at least as many with --num-seeds, or choose another --results-dir"
        )
    before = _evaluated_before(earlier, seeds, source.commit)
    fresh = Records.of(runs, Provenance(**{**vars(source), "evaluated_before": before}))
    return _merge(earlier, fresh) if is_same else fresh


def _is_value(value: Any) -> bool:
    """Return whether this is a finite number, a text, or outcomes of at least one episode."""
    if isinstance(value, tuple):
        return bool(value) and all(isinstance(each, bool) for each in value)
    return isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value))


def _columns_of(value: Value) -> tuple[float | str, int | None, str | None]:
    """Return the columns ``value``, ``trials`` and ``outcomes``."""
    if isinstance(value, tuple):
        return sum(value) / len(value), len(value), "".join(str(int(each)) for each in value)
    return value, None, None


def _table(rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """Return a table with the columns `COLUMNS`."""
    import pandas as pd  # here, since the command line starts faster without it

    return pd.DataFrame(rows, columns=list(COLUMNS))


def _merge(earlier: Records, fresh: Records) -> Records:
    """Return all records; the fresh ones where both have one."""
    import pandas as pd

    joined = pd.concat([earlier.table, fresh.table], ignore_index=True)
    table = joined.drop_duplicates(list(KEYS), keep="last").reset_index(drop=True)
    used = set(table["provenance"])
    return Records(table, {key: each for key, each in {**earlier.sources, **fresh.sources}.items() if key in used})


def _evaluated_before(earlier: Records, seeds: set[int], commit: str) -> tuple[str, ...]:
    """Return the other commits at which some of these seeds were evaluated, oldest first."""
    used = earlier.table[earlier.table["seed"].isin(seeds)]["provenance"].unique()
    commits = [each for key in used for each in (*earlier.sources[key].evaluated_before, earlier.sources[key].commit)]
    return tuple(dict.fromkeys(each for each in commits if each != commit))


def _present(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row as JSON types, without what is missing."""
    return {
        name: int(value) if name in ("seed", "trials") else value for name, value in row.items() if not _missing(value)
    }


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _checked_row(line: Mapping[str, Any]) -> list[Any]:
    """Return the columns of a record.

    Raises:
        KeyError: a column is missing.
        ValueError: its seed, its value or its number of episodes is of another type, or its outcomes do not fit these.
    """
    MeasuredRun(line["task"], line["method"], line["seed"], {line["metric"]: line["value"]})
    if not isinstance(line.get("trials", 0), int):
        raise ValueError(f"expected an integer as trials, got {line['trials']!r}")
    if (digits := line.get("outcomes")) is not None:
        outcomes = tuple({"0": False, "1": True}[digit] for digit in digits)
        if _columns_of(outcomes)[:2] != (line["value"], line["trials"]):
            raise ValueError(f"expected outcomes with the mean {line['value']!r} of {line['trials']}, got {digits!r}")
    return [line.get(name) for name in COLUMNS]


def _provenance(line: Mapping[str, Any]) -> Provenance:
    entries = {name: value for name, value in line.items() if name != "kind"}
    return Provenance(**{**entries, "evaluated_before": tuple(entries["evaluated_before"])})
