"""Records of experiments: tidy, of one source, and never lost to fewer seeds."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from equiact.envs.storage.artifacts import ArtifactError, check_output_file
from equiact.scripts.experiments.records import MeasuredRun, Provenance, Records, Value, publish


def source(commit: str = "aaa", **configuration: Any) -> Provenance:
    return Provenance("equiact benchmark", commit, {"cores": 2}, {"updates": 10, **configuration})


OUTCOMES = (True, True, False, False)


def runs(*seeds: int, value: Value = OUTCOMES) -> list[MeasuredRun]:
    return [
        MeasuredRun("Push", method, seed, {"success": value, "package": "ours"}, 1.5)
        for seed in seeds
        for method in ("cloned", "recovery")
    ]


def test_there_is_a_record_for_each_run_and_metric_and_they_come_back(tmp_path: Path) -> None:
    file = tmp_path / "recovery.jsonl"
    publish(file, runs(2000, 2001), source())
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 1 + 2 * 2 * 2
    assert lines[0]["commit"] == "aaa" and lines[0]["configuration"] == {"updates": 10}
    first = {name: value for name, value in lines[1].items() if name != "provenance"}
    assert first == {
        "task": "Push", "method": "cloned", "seed": 2000, "metric": "success", "value": 0.5, "trials": 4,
        "outcomes": "1100", "seconds": 1.5,
    }  # fmt: skip
    found = Records.load(file)
    assert found.seeds == [2000, 2001] and found.only_source() == source()
    assert found.table.groupby("metric").size().to_dict() == {"package": 4, "success": 4}
    successes = found.table[found.table["metric"] == "success"]
    assert successes["trials"].tolist() == [4] * 4 and successes["outcomes"].tolist() == ["1100"] * 4
    assert found.table["seconds"].tolist() == [1.5] * 8
    assert check_output_file(file) == file, "records may be replaced"


def test_seeds_of_the_same_commit_and_configuration_are_joined(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    publish(file, runs(1, value=0.1), source())
    publish(file, runs(2), source())
    publish(file, runs(1, value=0.9), source())
    found = Records.load(file)
    values = found.table[found.table["metric"] == "success"].set_index(["seed", "method"])["value"].to_dict()
    assert values == {(s, m): v for s, v in ((1, 0.9), (2, 0.5)) for m in ("cloned", "recovery")}
    assert found.only_source().evaluated_before == ()


def test_a_source_stays_as_long_as_a_record_comes_from_it(tmp_path: Path) -> None:
    file, other = tmp_path / "r.jsonl", replace(source(), machine={"cores": 8})
    for made, kept in ((source(), {2}), (other, {8})):
        publish(file, runs(1), made)
        assert {each.machine["cores"] for each in Records.load(file).sources.values()} == kept
    publish(file, runs(2), source())
    found = Records.load(file)
    cores = found.table.groupby("seed")["provenance"].first().map(lambda key: found.sources[key].machine["cores"])
    assert cores.to_dict() == {1: 8, 2: 2}


def test_other_records_are_never_overwritten_by_fewer_seeds(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    publish(file, runs(1, 2, 3), source())
    before = file.read_bytes()
    for other in (source("bbb"), source(updates=20)):
        with pytest.raises(ValueError, match=r"holds 3 seeds .* not overwritten by 2"):
            publish(file, runs(1, 2), other)
    assert file.read_bytes() == before
    publish(file, runs(1, 2, 4), source("bbb"))
    assert Records.load(file).seeds == [1, 2, 4]


def test_records_say_at_which_commits_their_seeds_were_evaluated_before(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    publish(file, runs(1, 2), source("aaa"))
    publish(file, runs(2, 3), source("bbb"))
    assert Records.load(file).only_source().evaluated_before == ("aaa",)
    publish(file, runs(3, 4), source("ccc"))
    assert Records.load(file).only_source().evaluated_before == ("aaa", "bbb")
    publish(file, runs(5, 6), source("ddd"))
    assert Records.load(file).only_source().evaluated_before == (), "these seeds are fresh"


def test_commands_that_write_the_same_file_take_turns(tmp_path: Path) -> None:
    """Each adds its own seed, and none loses that of another."""
    file = tmp_path / "r.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: publish(file, runs(seed), source()), range(24)))
    assert Records.load(file).seeds == list(range(24))
    assert [path.name for path in tmp_path.iterdir()] == ["r.jsonl"]


def test_a_run_counts_once() -> None:
    with pytest.raises(ValueError, match=r"got two of \['Push', 'cloned', 1, 'success'\]"):
        Records.of(runs(1, 2) + runs(1, value=0.9), source())


def test_records_of_several_sources_are_refused_with_the_runs_to_repeat() -> None:
    one, two = Records.of(runs(1, 2), source("aaa")), Records.of(runs(3)[:1], source("bbb"))
    import pandas as pd

    both = Records(pd.concat([one.table, two.table]), {**one.sources, **two.sources})
    with pytest.raises(ValueError, match="repeat these runs at aaa: Push, cloned, seed 3"):
        both.only_source()


def test_figures_become_runs_by_their_rows() -> None:
    found = MeasuredRun.from_labels(7, {"Push, BC: success": 1.0, "Push, BC: note": "a: b", "speed": 2.0})
    assert [(run.task, dict(run.values)) for run in found] == [
        ("Push, BC", {"success": 1.0, "note": "a: b"}),
        ("", {"speed": 2.0}),
    ]
    for value in (float("nan"), float("inf"), [1.0], None, (), (1.0,), [True]):
        with pytest.raises(
            ValueError,
            match="a text or a tuple of bools as success of Push, BC, seed 7",
        ):
            MeasuredRun("Push", "BC", 7, {"success": value})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="expected an integer as seed, got '7'"):
        MeasuredRun("Push", "BC", "7", {"success": 1.0})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content",
    ["", "{}", "not JSON", '{"kind": "equiact-values"}', '{"task": "Push", "seed": 1, "metric": "a", "value": 1}'],
)
def test_damaged_records_are_named(content: str, tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text(content)
    with pytest.raises(ArtifactError, match=r"r\.jsonl, got damaged ones"):
        Records.load(file)


@pytest.mark.parametrize(
    ("sound", "damaged"),
    [
        ('"seconds": 1.5, "provenance"', '"seconds": 1.5, "prov'),
        ('"value": 0.5', '"value": NaN'),
        ('"value": 0.5', '"value": [0.5]'),
        ('"value": 0.5, ', ""),
        ('"seed": 1,', '"seed": "1",'),
        ('"seed": 2,', '"seed": 1,'),
        ('"trials": 4', '"trials": "4"'),
        ('"trials": 4', '"trials": 5'),
        ('"outcomes": "1100"', '"outcomes": "1101"'),
        ('"outcomes": "1100"', '"outcomes": "2001"'),
        ('"task": "Push", ', ""),
        ('"commit": "aaa"', '"commit": "bbb"'),
        ('"evaluated_before"', '"evaluated"'),
    ],
)
def test_damaged_lines_are_named(sound: str, damaged: str, tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    publish(file, runs(1, 2), source())
    text = file.read_text()
    assert sound in text
    file.write_text(text.replace(sound, damaged))
    with pytest.raises(ArtifactError, match=r"r\.jsonl, got damaged ones"):
        Records.load(file)
    with pytest.raises(ArtifactError):
        publish(file, runs(1, 2), source())


def test_a_file_of_others_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "theirs.jsonl"
    file.write_text('{"text": "a data set"}\n')
    with pytest.raises(ArtifactError):
        check_output_file(file)
