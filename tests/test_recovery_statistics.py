"""Figures of the recovery experiment, from outcomes that are made by hand and whose figures are known."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from equiact.envs.data.transitions import Transitions
from equiact.envs.storage.artifacts import write_json, write_npz
from equiact.envs.wrappers.task_perturbation import TaskPerturbation
from equiact.representations.learning.config import ConfigError
from equiact.scripts.benchmarks.recovery_config import RecoveryExperimentConfig
from equiact.scripts.benchmarks.recovery_grid import KINDS, RecoveryGridConfig, condition_name
from equiact.scripts.benchmarks.recovery_methods.registry import (
    ablation_methods,
    compared_methods,
    recovery_method,
)
from equiact.scripts.benchmarks.recovery_run import RecoveryRun
from equiact.scripts.benchmarks.recovery_statistics import aggregate, measured_runs, step_time_file
from equiact.scripts.benchmarks.recovery_trials import (
    grid_conditions,
    grid_steps,
    measures_file,
    random_onsets,
    trials_file,
)
from equiact.scripts.collect_and_train import HELD_OUT_SEED
from equiact.scripts.reports.recovery_report import success_map

GRID = RecoveryGridConfig(
    pairs=4,
    drags=(0.01, 0.02),
    pushes=(20.0, 40.0),
    arm_moves=(0.05, 0.1),
    object_moves=(0.05, 0.1),
    both_moves=(0.05, 0.1),
    time_limits=(10.0, 1.5),
)
CONFIG = RecoveryExperimentConfig(pairs=5, ablation_pairs=4, grid=GRID, onset=1, episode_length=60)
LEFT = 60 - (1 + 35 + 10)
"""Steps that are left when the perturbation is over."""


def bools(digits: str) -> Any:
    """Return truth values of digits: ``"110"`` is true, true, false."""
    return np.array([digit == "1" for digit in digits])


def outcomes(
    clean: str, pushed: str, alarms: str = "", acts: str = "", steps: Sequence[float] = (), receipt: float = 0.3
) -> dict[str, Any]:
    """Return the outcomes of a method in clean and in perturbed episodes, with the episodes in which it acts."""
    count = len(clean)
    return {
        "clean/success": bools(clean),
        "clean/length": np.array([20, 20, 20, 20, 5])[:count],
        "clean/receipt": np.zeros(count),
        "clean/triggered": bools(alarms or "0" * count),
        "clean/recovery_steps": np.full(count, np.nan),
        "pushed/success": bools(pushed),
        "pushed/length": np.full(count, 60),
        "pushed/receipt": receipt * np.arange(1, count + 1),
        "pushed/triggered": bools(acts or "0" * count),
        "pushed/recovery_steps": np.array(steps or [np.nan] * count, float),
    }


PLAYED = {
    "behaviour cloning": outcomes("11110", "11000"),
    "DART": outcomes("10011", "10001"),
    "recovery": outcomes("10011", "10111", alarms="01011", acts="01111", steps=[np.nan, 2, 4, np.inf, np.inf]),
    "recovery around DART": outcomes("10010", "10011", alarms="01110", acts="00011", steps=[np.nan] * 3 + [1, 3]),
    "no restart": outcomes("0111", "0110", alarms="0001"),
}


@pytest.fixture
def run(tmp_path: Path) -> RecoveryRun:
    """Return a run with hand-made outcomes of some methods."""
    made = RecoveryRun("push", 0, tmp_path, CONFIG)
    for name, each in PLAYED.items():
        write_npz(trials_file(made, name), each)
    write_json(measures_file(made), {"encoder_rmse_m": 0.02})
    return made


def figures(run: RecoveryRun) -> dict[str, Any]:
    """Return the figures of a seed; of outcomes their mean."""
    return {label: np.mean(each) if isinstance(each, tuple) else each for label, each in aggregate(run).items()}


def test_the_headline_is_of_the_proposed_method_against_behaviour_cloning(run: RecoveryRun) -> None:
    found = figures(run)
    expected = {
        "clean_success": 4 / 5,
        "pushed_success": 2 / 5,
        "recovered_success": 4 / 5,
        "recovered_share_of_clean": 1.0,
        "harmed": 2 / 5,  # the second and the third episode
        "harmed_when_pushed": 1 / 5,  # the second
        "false_interventions": 2 / 4,  # of the first four, the second and the fourth
        "pairs": 5,
        "push_receipt_mean": 0.9,
        "recovery_steps_median": (4 + LEFT) / 2,
        "encoder_rmse_m": 0.02,
    }
    headline = {label: value for label, value in found.items() if ": " not in label}
    assert headline == pytest.approx(expected), "a paired test of a single seed is not among them"


@pytest.mark.parametrize(
    ("name", "clean", "pushed", "harmed", "false_interventions"),
    [
        ("behaviour cloning", 4 / 5, 2 / 5, 0, 0),
        ("DART", 3 / 5, 2 / 5, 2 / 5, 0),  # against behaviour cloning, which it does not stand on
        ("recovery", 3 / 5, 4 / 5, 2 / 5, 2 / 4),
        ("recovery around DART", 2 / 5, 3 / 5, 1 / 5, 1 / 3),  # against DART: 1, 4 and 5 succeed
        ("no restart", 3 / 4, 2 / 4, 1 / 4, 1 / 4),  # an ablation has fewer pairs
    ],
)
def test_the_rates_of_a_method_are_against_its_own_base_policy(
    run: RecoveryRun, name: str, clean: float, pushed: float, harmed: float, false_interventions: float
) -> None:
    found = figures(run)
    rates = {
        "clean_success": clean,
        "pushed_success": pushed,
        "harmed": harmed,
        "false_interventions": false_interventions,
    }
    assert {label: found[f"{name}: {label}"] for label in rates} == pytest.approx(rates)


def test_every_method_names_its_base_policy() -> None:
    bases = {name: recovery_method(name).base_policy for name in [*compared_methods(), *ablation_methods()]}
    assert {bases.pop(name) for name in ("recovery around DART", "odometry restart around DART")} == {"DART"}
    assert set(bases.values()) == {"behaviour cloning"}


def test_rates_know_how_many_episodes_are_behind_them(run: RecoveryRun) -> None:
    """False interventions are counted in the clean successes of the base policy, all other rates in all pairs."""
    write_json(step_time_file(run), {"recovery_ms_per_step": 1.5})
    outcomes = {
        each.method: {metric: value for metric, value in each.values.items() if isinstance(value, tuple)}
        for each in measured_runs(run)
    }
    counted = {"": 4, "recovery": 4, "recovery around DART": 3, "DART": 4, "behaviour cloning": 4, "no restart": 4}
    assert {name: len(each["false_interventions"]) for name, each in outcomes.items()} == counted
    pairs = {**dict.fromkeys(counted, 5), "no restart": 4}
    assert {name: len(each["harmed"]) for name, each in outcomes.items()} == pairs
    rates = {"clean_success", "pushed_success", "recovered_success", "harmed", "harmed_when_pushed"}
    assert set(outcomes[""]) == rates | {"false_interventions"}
    assert outcomes["recovery"]["pushed_success"] == (True, False, True, True, True), "in the order of the pairs"


def test_without_a_clean_success_there_are_no_false_interventions(run: RecoveryRun) -> None:
    write_npz(trials_file(run, "behaviour cloning"), outcomes("00000", "00000"))
    found = figures(run)
    assert (found["false_interventions"], found["recovery: false_interventions"], found["harmed"]) == (0, 0, 0)
    assert found["recovery around DART: false_interventions"] == pytest.approx(1 / 3)


def demonstrations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs have two demonstrations, of 2 and of 6 steps."""
    ends = np.array([1, 2, 4, 5, 6, 7, 8, 9])
    data = Transitions(np.zeros((10, 1, 1, 3), np.uint8), ends - 1, ends, np.zeros((8, 3), np.float32), "R3")
    monkeypatch.setattr(RecoveryRun, "load", lambda run, name: {"demonstrations": data}[name])


def play_grid(run: RecoveryRun) -> None:
    """Write outcomes of the grid: of four episodes the second is over before its onset, in all methods."""
    base = outcomes("11110", "11000")
    base["clean/length"] = np.array([20, 20, 7, 20, 5])
    write_npz(trials_file(run, "behaviour cloning"), base)
    played = {}
    for part, names in GRID.names.items():
        for strength, condition in enumerate(names):
            played[f"{condition}/success"] = bools({"drag": "1110", "arm moved": "0000"}.get(part, "1111"))
            played[f"{condition}/length"] = np.array([6, 7, 6 + 20 * strength, 40])
            played[f"{condition}/onset"] = np.array([19, 20, 6, 0])
    names = compared_methods()
    for name in names[:-1]:
        write_npz(trials_file(run, name, grid=True), played)
    assert "grid" not in " ".join(figures(run)), "one method is not played yet"
    others = {key: ~value if key.endswith("success") else value for key, value in played.items()}
    write_npz(trials_file(run, names[-1], grid=True), others)


def test_the_grid_counts_episodes_that_last_until_the_perturbation_begins(
    run: RecoveryRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the demonstrations of 2 and 6 steps the median is 4: time limits of 6 and 40 steps, in whatever order.

    Three episodes count. Of drags two of them succeed, both at once in the weak one and one of them in the strong one;
    of pushes, moves of the object and of both all three, the last one late.
    """
    demonstrations(monkeypatch)
    play_grid(run)
    found = figures(run)
    first = compared_methods()[0]
    weak, strong = (condition_name("drag", each) for each in GRID.drags)
    assert (found[f"{first}: {weak}"], found[f"{first}: {strong}"]) == (2 / 3, 2 / 3)
    assert found[f"{first}: {condition_name('push', 20)}"] == 1
    soon = {"drag": (2 / 3, 1 / 3), "arm moved": (0, 0)}
    late = {"drag": (2 / 3, 2 / 3), "arm moved": (0, 0)}
    within = {1.5: [soon.get(part, (2 / 3, 1 / 3)) for part in KINDS], 10: [late.get(part, (1, 1)) for part in KINDS]}
    for part, (early, all_) in zip(KINDS, zip(*within.values(), strict=True), strict=True):
        assert found[f"{first}: {part}"] == pytest.approx(np.mean([early, all_]))
    for limit, rates in within.items():
        assert found[f"{first}: within {limit:g} lengths"] == pytest.approx(np.mean(rates))
    assert found[f"{first}: grid_mean"] == pytest.approx(np.mean([*within.values()]))
    assert found[f"{compared_methods()[-1]}: {weak}"] == 1 / 3
    weak_steps, strong_steps = [6, 6] + 3 * [6, 6, 40], [6, 26] + 3 * [6, 26, 40]
    assert found[f"{first}: grid_steps"] == pytest.approx(np.mean(weak_steps + strong_steps))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"drags": ()}, "drags must not be empty"),
        ({"time_limits": (0.0,)}, "time_limits must"),
        ({"length": 0}, "length"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RecoveryGridConfig(**wrong)


def test_the_map_shows_success_by_onset_and_magnitude(run: RecoveryRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """The episodes with onsets 0, 6 and 19 are early, middle and late; the middle one is slow if the push is strong."""
    demonstrations(monkeypatch)
    play_grid(run)
    expected = np.array([[3 / 10, 3 / 10], [8 / 10, 4 / 10], [8 / 10, 8 / 10]])
    np.testing.assert_allclose(success_map([run, run], "behaviour cloning"), expected)


def test_random_onsets_are_spread_over_the_demonstrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two episodes of 2 and 6 steps: steps 0 and 1 are there twice, steps 2 to 5 once."""
    demonstrations(monkeypatch)
    runs = [RecoveryRun("push", seed, tmp_path, CONFIG) for seed in (0, 1)]
    assert runs[0].demonstrated_steps().tolist() == [0, 1, 0, 1, 2, 3, 4, 5]
    drawn = np.array(random_onsets(runs[0], 4000))
    np.testing.assert_allclose(np.bincount(drawn) / 4000, [0.25, 0.25, *[0.125] * 4], atol=0.03)
    assert random_onsets(runs[0], 8) == random_onsets(runs[0], 8) != random_onsets(runs[1], 8)


def test_every_condition_begins_at_the_same_random_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demonstrations(monkeypatch)
    run = RecoveryRun("push", 0, tmp_path, CONFIG)
    conditions, onsets = grid_conditions(run), random_onsets(run, 4)
    assert [*conditions] == [name for names in GRID.names.values() for name in names]
    assert grid_steps(run) == 40, "ten times the median of 2 and 6 steps"
    assert conditions[condition_name("drag", 0.02)] == (4, TaskPerturbation(0.02, duration=3, idle=0, onsets=onsets))
    push = TaskPerturbation(40.0, "push", duration=3, idle=0, onsets=onsets)
    assert conditions[condition_name("push", 40)] == (4, push)
    for part, target in {"arm moved": "arm", "object moved": "object", "both moved": "both"}.items():
        move = TaskPerturbation(0.1, "move", target, duration=1, idle=0, onsets=onsets)  # type: ignore[arg-type]
        assert conditions[condition_name(part, 0.1)] == (4, move)


def test_an_episode_lasts_until_the_latest_perturbation_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short time limit must not end the experiment after its trainings."""
    demonstrations(monkeypatch)
    run = RecoveryRun("push", 0, tmp_path, replace(CONFIG, grid=replace(GRID, pairs=50, time_limits=(1.0,))))
    assert grid_steps(run) == max(random_onsets(run, 50)) + GRID.length + 1 > 4
    for _, perturbation in grid_conditions(run).values():
        assert perturbation is not None
        perturbation.require_within(grid_steps(run))


def test_trials_and_calibration_of_other_seeds_draw_other_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Perturbations have random numbers of their own, too, which are not those of a training."""
    drawn: list[float] = []

    class Started:
        def reset(self, worlds: Any, generators: Any) -> None:
            drawn.extend(generator.random() for generator in generators)

    monkeypatch.setattr(RecoveryRun, "make_world", lambda run, count, steps: Started())
    runs = [RecoveryRun("push", seed, tmp_path, CONFIG) for seed in range(2000, 2005)]
    for run in runs:
        for part in (1, 2):
            run.started_world(200, part * HELD_OUT_SEED)
        drawn += [float(np.random.default_rng(seed).random()) for seed in (run.seed, run.perturbation_seed)]
    assert len(drawn) == len(set(drawn)) == 5 * 402
