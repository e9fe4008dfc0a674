"""Mutation testing: which changes count, what their outcomes mean, and the score."""

from pathlib import Path

import pytest
from equiact.agents.evaluation.statistics import wilson_interval
from equiact.scripts.mutation.targets import read_targets

pytest.importorskip("mutmut", reason="install the extra `mutation`")
from equiact.scripts.mutation.__main__ import Mutate, draw
from equiact.scripts.mutation.mutants import Mutant
from equiact.scripts.mutation.score import Verdict, read_equivalent, report, summarize
from equiact.scripts.mutation.workspace import list_mutants, prepare, run_mutants, status

ROOT = Path(__file__).resolve().parent.parent

SOURCE = '''
import warnings
from typing import cast


class Counter:
    def step(self, count: int) -> int:
        """Return the next count."""
        if count < 0:
            raise ValueError("count " + str(count + 7))
        warnings.warn("counted", stacklevel=2)
        return cast("int", count) + 1


def key(values: dict, device=None):
    pairs = zip(values, values, strict=True)
    return values["Key"], sorted(pairs, key=None), values.get(1, device=device)
'''

TEST = """
from equiact.module import Counter

def test_step():
    assert Counter().step(0) > 0
"""


@pytest.fixture
def package(tmp_path):
    """A package in place of this one, and its target."""
    root = tmp_path / "root"
    for name in ("agents", "envs", "representations", "scripts", "tests", "docs", "results"):
        (root / name).mkdir(parents=True)
    (root / "__init__.py").touch()
    (root / "module.py").write_text(SOURCE)
    (root / "tests" / "test_module.py").write_text(TEST)
    (root / "targets.toml").write_text('[one]\nmodules = ["mod*.py"]\ntests = ["test_module.py"]')
    (target,) = read_targets(root, root / "targets.toml")
    prepare(tmp_path / "workspace", root, target)
    return tmp_path / "workspace", target


def verdict(outcome, equivalent=None, target="one", operator="number"):
    return Verdict(target, Mutant("name", "file.py", 3, "f", operator, "- 1\n+ 2"), outcome, equivalent)


def test_targets_name_existing_files():
    targets = read_targets(ROOT)
    files = [module for target in targets for module in target.modules]
    assert len(files) == len(set(files)) > 80
    assert all((ROOT / name).is_file() for target in targets for name in (*target.modules, *target.tests))


def test_an_unmatched_pattern_is_named(tmp_path):
    (tmp_path / "targets.toml").write_text('[one]\nmodules = ["nothing*.py"]\ntests = []')
    with pytest.raises(ValueError, match=r"nothing\*\.py"):
        read_targets(tmp_path, tmp_path / "targets.toml")


def test_messages_casts_guards_and_places_are_left_out(package):
    mutants = list_mutants(*package)
    assert {each.function for each in mutants} == {"Counter.step", "key"}
    changes = {(each.line, each.operator, each.diff.splitlines()[-1]) for each in mutants}
    assert {change for change in changes if change[0] <= 12} == {
        (9, "operator", "+ if count <= 0:"),
        (9, "number", "+ if count < 1:"),
        (12, "operator", '+ return cast("int", count) - 1'),
        (12, "number", '+ return cast("int", count) + 2'),
    }
    assert [line for _, kind, line in changes if kind == "string"] == [
        '+ return values["XXKeyXX"], sorted(pairs, key=None), values.get(1, device=device)'
    ]
    assert all("strict=True" in line for _, _, line in changes if "zip(" in line)
    assert all("device=device" in line for _, _, line in changes if "values.get(" in line)


@pytest.mark.slow
def test_mutants_run_and_the_right_ones_survive(package):
    workspace, target = package
    mutants = {each.diff.splitlines()[-1]: each for each in list_mutants(workspace, target)}
    less, first = mutants["+ if count < 1:"], mutants['+ return cast("int", count) - 1']
    second, unseen = mutants['+ return cast("int", count) + 2'], mutants["+ pairs = None"]
    outcomes = run_mutants(workspace, [each.name for each in (less, first, second, unseen)], processes=1)
    assert [outcomes[each.name] for each in (less, first, second, unseen)] == [
        "killed",
        "killed",
        "survived",
        "no tests",
    ]


@pytest.mark.slow
def test_a_failing_test_is_an_error(package):
    workspace, target = package
    (workspace / "equiact" / "tests" / "test_module.py").write_text(TEST.replace("> 0", "> 1"))
    with pytest.raises(RuntimeError, match="mutmut failed"):
        run_mutants(workspace, [list_mutants(workspace, target)[0].name], processes=1)


@pytest.mark.parametrize(
    ("code", "expected"), [(0, "survived"), (1, "killed"), (2, "killed"), (255, "killed"), (33, "no tests")]
)
def test_exit_codes(code, expected):
    assert status(code) == expected


@pytest.mark.parametrize("code", [None, 4])
def test_untested_mutants_are_an_error(code):
    with pytest.raises(RuntimeError, match="exit code"):
        status(code)


def test_the_score_leaves_equivalent_survivors_out():
    found = [verdict("killed")] * 5 + [verdict("timeout"), verdict("survived"), verdict("no tests")]
    summary = summarize([*found, verdict("survived", "same value"), verdict("killed", "same value")])
    assert summary["score"] == 7 / 9
    assert summary["interval"] == list(wilson_interval(7, 9))
    assert (summary["tested"], summary["equivalent"], summary["timeout"], summary["survived"]) == (10, 1, 1, 2)


def test_a_report_groups_and_lists():
    found = [verdict("killed"), verdict("survived", target="two", operator="string"), verdict("survived", "why")]
    content = report(found)
    assert {name: row["score"] for name, row in content["packages"].items()} == {"one": 1, "two": 0}
    assert {name: row["tested"] for name, row in content["operators"].items()} == {"number": 2, "string": 1}
    assert [(each["file"], each["line"], each["diff"], each["why"]) for each in content["survivors"]] == [
        ("file.py", 3, ["- 1", "+ 2"], None),
        ("file.py", 3, ["- 1", "+ 2"], "why"),
    ]


def test_equivalent_mutants_have_reasons_and_files():
    for (file, _, diff), reason in read_equivalent().items():
        assert (ROOT / file).is_file()
        assert reason
        assert {line[:2] for line in diff.splitlines()} == {"- ", "+ "}


def test_a_sample_is_drawn_by_its_seed():
    everything = list(range(100))
    assert draw(everything, 0, 1) == draw(everything, 200, 1) == everything
    assert draw(everything, 10, 1) == draw(everything, 10, 1) != draw(everything, 10, 2)
    assert len(set(draw(everything, 99, 1))) == 99


def test_unknown_targets_are_named():
    with pytest.raises(ValueError, match="nowhere"):
        Mutate(targets=("nowhere",)).chosen()
    assert [target.name for target in Mutate(targets=("density",)).chosen()] == ["density"]


def test_a_result_says_how_much_was_tested_and_what_made_it():
    content = Mutate(seed=3).result([verdict("killed"), verdict("survived")], sample=10, mutants=100)
    assert [content[name] for name in ("seed", "mutants", "sample", "tested")] == [3, 100, 10, 2]
    assert content["all"]["score"] == 0.5
    assert {"command", "commit", "machine"} <= content.keys()
