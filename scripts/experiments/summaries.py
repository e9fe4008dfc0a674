"""Summaries of records: the mean of a metric over seeds, with an interval that a referee accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .records import Records

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ...agents.evaluation.seed_statistics import PairedComparison


@dataclass(frozen=True)
class Summary:
    """Summarise a metric of a row of a table over seeds.

    Attributes:
        mean: mean over seeds; the text itself, if the metric is one.
        interval: 95 % interval of the mean. For success rates with a number of episodes it counts the variation of
            seeds and of episodes; for other numbers it is Student's t interval over seeds. None for one seed without
            episodes, and for texts.
        seeds: value of each seed.
    """

    mean: float | str
    interval: tuple[float, float] | None
    seeds: tuple[float | str, ...]

    @property
    def number(self) -> float:
        """Return the mean of a metric that is a number.

        Raises:
            TypeError: it is a text.
        """
        if isinstance(self.mean, str):
            raise TypeError(f"expected a number, got the text {self.mean!r}")
        return self.mean


def summarize(values: Sequence[float | str], trials: Sequence[int] | None = None) -> Summary:
    """Summarise the values of a metric, one for each seed.

    Args:
        values: the values; texts are not averaged, and the first one stands for all.
        trials: number of episodes behind each value, if it is a success rate.

    Example:
        >>> summary = summarize([0.88, 0.92, 0.9, 0.94, 0.86], trials=[50] * 5)
        >>> round(summary.number, 2), [round(bound, 2) for bound in summary.interval]
        (0.9, [0.77, 0.96])
    """
    from ...agents.evaluation.seed_statistics import mean_interval_of_seeds, success_interval_of_seeds
    from ...agents.evaluation.statistics import wilson_interval

    numbers = [float(value) for value in values if not isinstance(value, str)]
    if len(numbers) < len(values):
        return Summary(values[0], None, tuple(values))
    mean = sum(numbers) / len(numbers)
    if trials is None or min(trials) < 1:
        return Summary(mean, mean_interval_of_seeds(numbers), tuple(numbers))
    successes = [round(value * count) for value, count in zip(numbers, trials, strict=True)]
    if len(numbers) == 1:
        return Summary(mean, wilson_interval(successes[0], trials[0]), tuple(numbers))
    return Summary(mean, success_interval_of_seeds(successes, trials), tuple(numbers))


def summarize_records(records: Records) -> dict[str, Summary]:
    """Return the summary of every metric of every row, by ``"task, method: metric"``, in the order of the records."""
    summaries: dict[str, Summary] = {}
    for (task, method, metric), rows in records.table.groupby(["task", "method", "metric"], sort=False):
        ordered = rows.sort_values("seed")
        trials = None if ordered["trials"].isna().any() else ordered["trials"].astype(int).tolist()
        summaries[row_label(task, method, metric)] = summarize(ordered["value"].tolist(), trials)
    return summaries


@dataclass(frozen=True)
class Rivalry:
    """Compare a row of a table with a rival, over the same seeds and episodes.

    Attributes:
        paired: difference of their success rates, with its interval and p-value.
        interquartile_mean: of the success rates of the row over seeds.
        improvement: probability that a run of the row scores more than a run of the rival.
    """

    paired: PairedComparison
    interquartile_mean: float
    improvement: float


def compare_with(records: Records, metric: str, rival: str) -> dict[str, Rivalry]:
    """Return the comparison of every other row with a rival, by ``"task, method"``, in the order of the records.

    Rows that other episodes were played for, such as ablations with fewer of them, are left out.

    Args:
        records: at least two seeds; the records have the outcomes of the metric.
        metric: name of a success rate.
        rival: ``"task, method"`` of the rival.

    Raises:
        ValueError: no row has this name and outcomes of the metric.
    """
    from ...agents.evaluation.seed_statistics import (
        compare_paired_seeds,
        interquartile_mean,
        probability_of_improvement,
    )

    rows = _outcomes_by_row(records, metric)
    if rival not in rows:
        raise ValueError(f"expected a row with outcomes of {metric}, one of {list(rows)}, got {rival!r}")
    theirs = rows[rival]
    paired = {name: each for name, each in rows.items() if name != rival and _episodes(each) == _episodes(theirs)}
    rates = {name: [each.mean() for each in rows[name].values()] for name in [rival, *paired]}
    return {
        name: Rivalry(
            compare_paired_seeds([*each.values()], [*theirs.values()]),
            interquartile_mean(rates[name]),
            probability_of_improvement(rates[name], rates[rival]),
        )
        for name, each in paired.items()
    }


def _outcomes_by_row(records: Records, metric: str) -> dict[str, dict[int, NDArray[np.bool_]]]:
    """Return the outcomes of a metric by row and seed, in the order of seeds."""
    import numpy as np

    table = records.table[(records.table["metric"] == metric) & records.table["outcomes"].notna()].sort_values("seed")
    return {
        row_name(task, method): {
            seed: np.frombuffer(digits.encode(), np.uint8) == ord("1")
            for seed, digits in zip(rows["seed"], rows["outcomes"], strict=True)
        }
        for (task, method), rows in table.groupby(["task", "method"], sort=False)
    }


def _episodes(outcomes: Mapping[int, NDArray[np.bool_]]) -> dict[int, int]:
    """Return the number of episodes of each seed."""
    return {seed: len(each) for seed, each in outcomes.items()}


def row_label(task: str, method: str, metric: str) -> str:
    """Return the label of a figure: ``"task, method: metric"``, without what is empty.

    Example:
        >>> row_label("Push", "recovery", "success"), row_label("", "", "speed")
        ('Push, recovery: success', 'speed')
    """
    row = row_name(task, method)
    return f"{row}: {metric}" if row else metric


def row_name(task: str, method: str) -> str:
    """Return the name of a row: ``"task, method"``, without what is empty."""
    return ", ".join(filter(None, (task, method)))


def means(records: Records) -> dict[str, Any]:
    """Return the mean of every figure by its label, as JSON types."""
    return {label: summary.mean for label, summary in summarize_records(records).items()}
