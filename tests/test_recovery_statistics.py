"""Figures of the recovery experiment, from outcomes that are made by hand and whose figures are known."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from equiact.envs.data.transitions import Transitions
from equiact.envs.storage.artifacts import write_json, write_npz
from equiact.envs.wrappers.task_perturbation import TaskPerturbation
from equiact.scripts.benchmarks.recovery_config import Onset, RecoveryExperimentConfig, condition_name
from equiact.scripts.benchmarks.recovery_methods.registry import (
    ablation_methods,
    compared_methods,
    recovery_method,
)
from equiact.scripts.benchmarks.recovery_run import RecoveryRun
from equiact.scripts.benchmarks.recovery_statistics import aggregate, measured_runs, step_time_file
from equiact.scripts.benchmarks.recovery_trials import measures_file, random_onsets, sweep_conditions, trials_file
from equiact.scripts.collect_and_train import HELD_OUT_SEED

CONFIG = RecoveryExperimentConfig(
    pairs=5, sweep_pairs=4, sweep_magnitudes=(0.01, 0.02), sweep_onsets=(1, 10), onset=1, episode_length=60
)
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
    assert bases.pop("recovery around DART") == "DART"
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


def test_the_sweep_counts_episodes_that_last_until_the_perturbation_begins(run: RecoveryRun) -> None:
    """The last of five clean episodes ends with step 5, and the sweep has four pairs; here one more is over early."""
    base = outcomes("11110", "11000")
    base["clean/length"] = np.array([20, 20, 7, 20, 5])
    write_npz(trials_file(run, "behaviour cloning"), base)
    success: dict[tuple[float, Onset], str] = {
        (0.01, 1): "1110",
        (0.02, 1): "0010",
        (0.01, 10): "1110",
        (0.02, 10): "0011",
    }
    success |= {(0.01, "random"): "1011", (0.02, "random"): "1101"}
    onsets: dict[Onset, list[int]] = {
        1: [1] * 4,
        10: [10] * 4,
        "random": [19, 20, 6, 0],
    }  # the second is over before its onset
    swept = {f"{condition_name(*key)}/success": bools(digits) for key, digits in success.items()}
    swept |= {f"{condition_name(*key)}/onset": np.array(onsets[key[1]]) for key in success}
    names = compared_methods()
    for name in names[:-1]:
        write_npz(trials_file(run, name, sweep=True), swept)
    assert "sweep" not in " ".join(figures(run)), "one method is not played yet"
    others = {key: ~value if key.endswith("success") else value for key, value in swept.items()}
    write_npz(trials_file(run, names[-1], sweep=True), others)
    found = figures(run)
    expected: dict[tuple[float, Onset], float] = {
        (0.01, 1): 3 / 4,
        (0.02, 1): 1 / 4,
        (0.01, 10): 2 / 3,
        (0.02, 10): 1 / 3,
    }
    expected |= {(0.01, "random"): 3 / 3, (0.02, "random"): 2 / 3}
    for name, sign in ((names[0], 1), (names[-1], -1)):
        for key, rate in expected.items():
            shown = rate if sign == 1 else 1 - rate
            assert found[f"{name}: {condition_name(*key)}"] == pytest.approx(shown)
        assert found[f"{name}: sweep_mean"] == pytest.approx(0.5), "the mean of the four"
        assert found[f"{name}: random_onset_mean"] == pytest.approx(5 / 6 if sign == 1 else 1 / 6)


def test_random_onsets_are_spread_over_the_demonstrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two episodes of 2 and 6 steps: steps 0 and 1 are there twice, steps 2 to 5 once."""
    ends = np.array([1, 2, 4, 5, 6, 7, 8, 9])
    data = Transitions(np.zeros((10, 1, 1, 3), np.uint8), ends - 1, ends, np.zeros((8, 3), np.float32), "R3")
    monkeypatch.setattr(RecoveryRun, "load", lambda run, name: {"demonstrations": data}[name])
    runs = [RecoveryRun("push", seed, tmp_path, CONFIG) for seed in (0, 1)]
    assert runs[0].demonstrated_steps().tolist() == [0, 1, 0, 1, 2, 3, 4, 5]
    drawn = np.array(random_onsets(runs[0], 4000))
    np.testing.assert_allclose(np.bincount(drawn) / 4000, [0.25, 0.25, *[0.125] * 4], atol=0.03)
    assert random_onsets(runs[0], 8) == random_onsets(runs[0], 8) != random_onsets(runs[1], 8)
    conditions = sweep_conditions(runs[0])
    pairs = min(CONFIG.pairs, CONFIG.sweep_pairs)
    for each in CONFIG.sweep_magnitudes:
        same = TaskPerturbation(each, onsets=random_onsets(runs[0], pairs))
        assert conditions[condition_name(each, "random")] == (pairs, same)
    assert conditions[condition_name(0.02, 10)] == (pairs, TaskPerturbation(0.02, onsets=(10,) * pairs))
    assert len(conditions) == 2 * 3


def test_trials_and_calibration_of_other_seeds_draw_other_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Perturbations have random numbers of their own, too, which are not those of a training."""
    drawn: list[float] = []

    class Started:
        def reset(self, worlds: Any, generators: Any) -> None:
            drawn.extend(generator.random() for generator in generators)

    monkeypatch.setattr(RecoveryRun, "make_world", lambda run, count: Started())
    runs = [RecoveryRun("push", seed, tmp_path, CONFIG) for seed in range(2000, 2005)]
    for run in runs:
        for part in (1, 2):
            run.started_world(200, part * HELD_OUT_SEED)
        drawn += [float(np.random.default_rng(seed).random()) for seed in (run.seed, run.perturbation_seed)]
    assert len(drawn) == len(set(drawn)) == 5 * 402
