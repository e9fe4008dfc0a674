"""Tables of Markdown files are made from the records of experiments, with honest intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from equiact.agents.evaluation.seed_statistics import (
    compare_paired_seeds,
    mean_interval_of_seeds,
    success_interval_of_seeds,
)
from equiact.agents.evaluation.statistics import wilson_interval
from equiact.scripts.cli import main
from equiact.scripts.commands.tables import comparison_table, fill, origin
from equiact.scripts.experiments.records import MeasuredRun, Provenance, Records, Value, publish
from equiact.scripts.experiments.summaries import Summary, compare_with, summarize, summarize_records


def save(file: Path, *rows: dict[str, Value], **source: Any) -> None:
    """Write records of figures by label, one dictionary for each seed from 2000 on."""
    made = Provenance("a command", "abc", {"cores": 2, "processor": "p"}, {}, **source)
    runs = [run for seed, row in enumerate(rows, 2000) for run in MeasuredRun.from_labels(seed, row)]
    Records.of(runs, made).save(file)


def played(successes: int, episodes: int) -> tuple[bool, ...]:
    """Return outcomes of which the first ones are successes."""
    return tuple(index < successes for index in range(episodes))


def test_tables_are_filled_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "errors.jsonl", {"error": 0.4}, {"error": 0.6}, evaluated_before=("aaa", "bbb"))
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: errors -->\n<!-- end -->\nafter\n")
    arguments = ["tables", "--files", str(page), "--results-dir", str(tmp_path)]
    assert main([*arguments, "--check"]) == 1
    assert "run `equiact tables`" in " ".join(capsys.readouterr().err.split())
    assert main(arguments) == 0
    filled = page.read_text()
    low, high = mean_interval_of_seeds([0.4, 0.6])  # type: ignore[misc]
    assert f"| error | 0.5 | {low:.3g} – {high:.3g} | 0.4, 0.6 |" in filled and filled.endswith("after\n")
    assert "`a command`, 2 seeds, 2000 to 2001, evaluated before at aaa, bbb, 2 cores, p, commit abc." in filled
    assert main([*arguments, "--check"]) == main(arguments) == 0
    assert page.read_text() == filled


def test_columns_of_several_words_are_quoted_and_rows_compared(tmp_path: Path) -> None:
    save(tmp_path / "groups.jsonl", {"C6: mean margin": 0.5, "C6: name": "six", "D3: mean margin": 1.0, "plain": 3.0})
    page = '<!-- table: groups "mean margin" name -->\n<!-- end -->\n'
    table = fill(page, tmp_path)
    assert table.startswith('<!-- table: groups "mean margin" name -->\n| | mean margin | name |\n')
    assert "| C6 | 0.5 | six |\n| D3 | 1 |  |\n" in table and "plain" not in table
    assert "seed 2000, 2 cores" in table
    assert fill(table, tmp_path) == table


def test_a_table_names_all_commands_and_machines_that_measured_it() -> None:
    """Seeds of one commit may be added by another command, on another machine."""
    sources = [
        Provenance(command, "abc", {"cores": 2, "processor": processor}, {}, before)
        for command, processor, before in (("a", "p", ("x",)), ("b", "q", ("x", "y")), ("b", "q", ()))
    ]
    expected = "`a` and `b`, 3 seeds, 2000 to 2002, evaluated before at x, y, 2 cores, p and 2 cores, q, commit abc."
    assert origin(sources, [2000, 2001, 2002]) == expected


def test_a_table_of_several_commits_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mixed.jsonl"
    save(file, {"Push: error": 1.0})
    other = Provenance("a command", "def", {"cores": 2, "processor": "p"}, {})
    mixed = Records.of([MeasuredRun("Pick", "", 2000, {"error": 2.0})], other)
    import pandas as pd

    one = Records.load(file)
    Records(pd.concat([one.table, mixed.table]), {**one.sources, **mixed.sources}).save(file)
    with pytest.raises(ValueError, match="expected records of one commit and one configuration, got 2; repeat these"):
        fill("<!-- table: mixed error -->\n<!-- end -->", tmp_path)


@pytest.mark.parametrize(
    ("interval", "shown"),
    [(None, "1"), ((1.0, 1.0), "1"), ((0.99999999, 1.0), "1"), ((0.9, 1.0), "1 (0.9 – 1)")],
)
def test_seeds_that_agree_make_no_interval(interval: tuple[float, float] | None, shown: str) -> None:
    figure = Summary(1.0, interval, (1.0, 1.0))
    assert comparison_table({"row: column": figure}, ["column"])[-1] == f"| row | {shown} |"


def test_success_rates_have_an_interval_over_seeds_and_episodes(tmp_path: Path) -> None:
    rates = [0.9, 1.0, 0.8]
    file = tmp_path / "r.jsonl"
    runs = [
        MeasuredRun("Push", "ours", seed, {"success": played(round(50 * rate), 50), "speed": rate})
        for seed, rate in enumerate(rates)
    ]
    publish(file, runs[::-1], Provenance("c", "abc", {}, {}))
    found = summarize_records(Records.load(file))
    assert found["Push, ours: success"].interval == success_interval_of_seeds([45, 50, 40], [50] * 3)
    assert found["Push, ours: speed"].interval == mean_interval_of_seeds(rates)
    assert found["Push, ours: success"].number == pytest.approx(0.9)
    assert found["Push, ours: success"].seeds == (0.9, 1.0, 0.8)


def test_differences_to_a_rival_are_paired_by_episode_and_seed(tmp_path: Path) -> None:
    """The rival wins the last two of ten episodes in every seed, and ours the first seven: 5 of 10 more."""
    ours, theirs = played(7, 10), tuple(index >= 8 for index in range(10))
    rows: list[dict[str, Value]] = [
        {"ours: success": ours, "a rival: success": theirs, "fewer: success": ours[:5], "number: success": 0.5}
        for _ in range(3)
    ]
    save(tmp_path / "r.jsonl", *rows)
    table = fill('<!-- table: r success against "a rival" -->\n<!-- end -->', tmp_path)
    expected = compare_paired_seeds([np.array(ours)] * 3, [np.array(theirs)] * 3)
    bounds = f"{expected.low:.3g} – {expected.high:.3g}"
    assert f"| ours | 0.5 | {bounds} | {expected.p_value:.2g} | 0.7 | 1 |" in table
    assert "| | difference to a rival | 95 % interval | p |" in table
    assert "fewer" not in table and "number" not in table and "| a rival |" not in table
    assert fill(table, tmp_path) == table
    with pytest.raises(ValueError, match=r"a row with outcomes of success, one of \['ours', 'a rival', 'fewer'"):
        fill("<!-- table: r success against number -->\n<!-- end -->", tmp_path)


def test_seeds_are_paired_in_whatever_order_they_were_measured() -> None:
    """With each seed both methods agree in every episode; paired crosswise they would differ in all of them."""
    outcomes = {2000: played(8, 8), 2001: played(0, 8)}
    order = [("ours", 2000), ("ours", 2001), ("rival", 2001), ("rival", 2000)]
    runs = [MeasuredRun("", method, seed, {"success": outcomes[seed]}) for method, seed in order]
    found = compare_with(Records.of(runs, Provenance("c", "abc", {}, {})), "success", "rival")["ours"].paired
    same = np.zeros((2, 8), bool)
    assert found == compare_paired_seeds(same, same)


def test_one_seed_has_a_wilson_interval_of_its_episodes_and_no_other() -> None:
    assert summarize([0.9], [50]).interval == wilson_interval(45, 50)
    assert summarize([0.9]).interval is None
    assert summarize([0.58], [50]).interval == wilson_interval(29, 50), "0.58 * 50 is below 29 in floating point"
    assert summarize([1.0] * 5, [200] * 5).interval[0] < 1, "all successes do not make certainty"  # type: ignore[index]
    assert summarize([0.2], [0]).interval is None, "a rate of no episodes"
    assert summarize(["text", "text"]) == Summary("text", None, ("text", "text"))
    with pytest.raises(TypeError, match="expected a number, got the text 'text'"):
        _ = summarize(["text"]).number
