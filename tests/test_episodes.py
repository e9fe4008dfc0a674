"""Episodes of any environment: played with any policy, judged, timed and averaged with intervals that cover."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from equiact.agents.evaluation.episode import (
    Episode,
    EpisodeError,
    EpisodeStep,
    play_episode,
    require_finite_observation,
)
from equiact.agents.evaluation.perturbation_summary import compare_policies, summarize_condition
from equiact.agents.evaluation.recovery_time import RecoveryTimeConfig, steps_until_reward, steps_until_success
from equiact.agents.evaluation.rollouts import evaluate_policy
from equiact.agents.evaluation.statistics import mean_interval, wilson_interval
from equiact.agents.evaluation.success import SuccessError, SuccessOutcome, success_criterion
from equiact.agents.evaluation.trial_records import TrialRecord, complete_seeds, read_records, write_records
from equiact.envs.data.policy import as_policy
from equiact.envs.perturbations.receipt import Receipt
from equiact.envs.storage.file_access import ArtifactError


class Counter(gym.Env[Any, Any]):
    """Counts its steps; a Dict observation, and an end after as many steps as the seed says."""

    observation_space = gym.spaces.Dict({"count": gym.spaces.Box(0, 100, (1,)), "word": gym.spaces.Discrete(5)})
    action_space = gym.spaces.Box(-1, 1, (2,))

    def __init__(self, rewards: tuple[float, ...] = (1.0,) * 5) -> None:
        self.rewards = rewards

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.count, self.length = 0, len(self.rewards) if seed is None else 2 + seed % 3
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward = self.rewards[self.count % len(self.rewards)]
        self.count += 1
        over = self.count >= self.length
        return self._observe(), reward, over, False, {"is_success": over and self.length > 3}

    def _observe(self) -> dict[str, Any]:
        return {"count": np.array([self.count], np.float32), "word": 3}


class Remembering:
    """A policy with a state; it writes down what it gets."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Any, Any]:
        self.calls.append((observation, state, episode_start.tolist(), deterministic))
        return np.zeros((1, 2)), (state or 0) + 1


def still(observation: Any) -> Any:
    return np.zeros((1, 2))


def episode(rewards: Any = (1.0, 2.0), terminated: bool = False, truncated: bool = True, infos: Any = None) -> Episode:
    rewards = np.array(rewards, float)
    return Episode(rewards, terminated, truncated, tuple(infos or [{}] * len(rewards)), None, None)


def test_a_policy_gets_batches_of_one_its_state_and_episode_starts() -> None:
    env, policy, seen = Counter(), Remembering(), []
    observation, _ = env.reset(seed=None)
    played = play_episode(env, policy, observation, deterministic=False, on_step=seen.append)
    assert len(played) == 5 and played.terminated and not played.truncated and played.total_reward == 5
    counts = [call[0]["count"] for call in policy.calls]
    assert [count.shape for count in counts] == [(1, 1)] * 5 and [float(count[0, 0]) for count in counts] == [
        0,
        1,
        2,
        3,
        4,
    ]
    assert [call[1:] for call in policy.calls] == [(None, [True], False)] + [(i, [False], False) for i in range(1, 5)]
    assert [step.index for step in seen] == list(range(5)) and isinstance(seen[0], EpisodeStep)
    assert played.last_observation["count"] == 5 and played.first_observation["count"] == 0


@pytest.mark.parametrize(
    ("rewards", "action", "message"),
    [
        ((1.0, math.nan), np.zeros((1, 2)), "expected a finite reward, got nan in step 1"),
        ((1.0,), np.full((1, 2), np.nan), "the policy must return finite actions"),
        ((1.0,), np.zeros(2), r"must return actions of shape \(1, 2\), one for each environment"),
    ],
)
def test_values_that_are_none_are_refused(rewards: Any, action: Any, message: str) -> None:
    env = Counter(rewards)
    observation, _ = env.reset(seed=2)
    with pytest.raises(ValueError, match=message):
        play_episode(env, as_policy(lambda observation: action), observation)


def test_a_first_observation_that_is_not_finite_is_refused() -> None:
    env = Counter()
    observation, _ = env.reset(seed=2)
    observation["count"][:] = math.nan
    with pytest.raises(EpisodeError, match=r"expected finite observations, got .* after the reset"):
        play_episode(env, as_policy(still), observation)


def test_an_episode_without_an_end_is_an_error() -> None:
    env = Counter()
    observation, _ = env.reset()
    env.length = 10**9
    with pytest.raises(
        EpisodeError, match="expected an episode of at most 50 steps; give the environment a time limit"
    ):
        play_episode(env, as_policy(still), observation, max_steps=50)


@pytest.mark.parametrize(
    ("spec", "given", "expected"),
    [
        (None, episode(), (None, None)),
        (None, episode(infos=[{"success": 0.0}, {"success": 1.0}]), (True, 2)),
        (None, episode(infos=[{"is_success": np.True_}, {"is_success": False}]), (True, 1)),
        (None, episode(infos=[{}, {"is_success": False}]), (False, None)),
        ("is_success", episode(infos=[{}, {"is_success": True}]), (True, 2)),
        ("terminated", episode(terminated=True, truncated=False), (True, 2)),
        ("terminated", episode(), (False, None)),
        ("truncated", episode(), (True, 2)),
        ("truncated", episode(terminated=True), (False, None)),
        ("return>=3", episode(), (True, 2)),
        ("return >= 3.5", episode(), (False, None)),
        (lambda played: len(played) == 2, episode(), (True, 2)),
        ("operator:not_", episode([]), (True, 0)),
    ],
)
def test_success(spec: Any, given: Episode, expected: Any) -> None:
    assert success_criterion(spec).judge(given) == SuccessOutcome(*expected)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("solved", "unknown success 'solved'; expected 'is_success'"),
        ("return>=many", "expected a finite number after 'return>='"),
        ("return>=inf", "expected a finite number after 'return>='"),
        ("nowhere:function", "there is no function 'nowhere:function'"),
        ("math:pi", "expected a function of an episode at 'math:pi', got 3.14"),
        (3, "expected a text or a function of an episode as success, got 3"),
    ],
)
def test_an_unknown_success_is_refused(spec: Any, message: str) -> None:
    with pytest.raises(SuccessError, match=message):
        success_criterion(spec)


def test_a_success_that_is_never_reported_is_an_error() -> None:
    with pytest.raises(SuccessError, match=r"expected info\['is_success'\] in a step .* got entries \['speed'\]"):
        success_criterion("is_success").judge(episode(infos=[{"speed": 1}, {}]))
    with pytest.raises(SuccessError, match=r"must return True or False, got 0\.5"):
        success_criterion(lambda played: 0.5).judge(episode())
    with pytest.raises(SuccessError, match=r"expected a truth value in info\['success'\], got nan"):
        success_criterion("success").judge(episode(infos=[{"success": math.nan}, {}]))


def test_steps_until_success() -> None:
    assert steps_until_success(12, end=10, length=12, terminated=True) == 2
    assert math.isnan(steps_until_success(10, end=10, length=20, terminated=False)), "it succeeded before"
    assert steps_until_success(None, end=10, length=20, terminated=False) == math.inf
    assert steps_until_success(None, end=10, length=8, terminated=True) == math.inf, "it failed before"
    assert math.isnan(steps_until_success(None, end=10, length=10, terminated=False)), "no time was left"


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_steps_until_the_rewards_are_back(sign: float) -> None:
    config = RecoveryTimeConfig(window=4, share=0.5)
    clean = np.full(40, 2.0 * sign)
    perturbed = clean - 4.0 * (np.arange(40) >= 10) * (np.arange(40) < 20)
    assert steps_until_reward(perturbed, clean, 15, config) == 4, "one of four rewards of the window may be lost"
    assert steps_until_reward(perturbed - 1.5, clean, 15, config) == math.inf
    assert steps_until_reward(perturbed[:18], clean, 15, config) == math.inf, "it ended before the clean one"
    assert math.isnan(steps_until_reward(perturbed, clean, 37, config))
    assert steps_until_reward(perturbed, clean, 36, config) == 0


@pytest.mark.parametrize("values", [{"window": 0}, {"share": 0.0}, {"share": 1.1}, {"share": math.nan}])
def test_a_definition_of_recovery_that_is_none_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match="must"):
        RecoveryTimeConfig(**values)


@pytest.mark.parametrize("fall", [0.0, 0.2])
def test_intervals_of_the_mean_cover(fall: float) -> None:
    """Differences of returns: noise, and a share of episodes with a fall, which costs up to 1000."""
    generator, covered, runs = np.random.default_rng(1), 0, 200
    for _ in range(runs):
        falls = generator.random(60) < fall
        values = np.where(falls, -1000 * generator.random(60), generator.normal(0, 5, 60))
        low, high = mean_interval(values, resamples=400)
        covered += low <= -500 * fall <= high
    assert wilson_interval(covered, runs)[1] > 0.95 and covered / runs > 0.89


def test_intervals_of_the_mean_refuse_what_has_none() -> None:
    assert mean_interval(np.full(3, 2.0)) == (2.0, 2.0)
    for values in ([1.0], [1.0, math.nan], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match=r"expected at least 2 finite values, \(N,\)"):
            mean_interval(np.array(values))


def test_any_environment_is_evaluated() -> None:
    found = evaluate_policy(Counter(), still, episodes=6, seed=0)
    assert (found.success, found.return_mean, found.length_mean, found.episodes) == (2 / 6, 3, 3, 6)
    assert found.success_interval == wilson_interval(2, 6) and found.success_criterion == "reported by the environment"
    assert evaluate_policy(Counter(), still, episodes=6, seed=0, success="return>=3").success == 4 / 6
    pendulum = evaluate_policy(gym.make("Pendulum-v1"), lambda o: np.zeros((1, 1)), episodes=2, seed=3)
    assert found.outcomes is not None and (len(found.outcomes), sum(found.outcomes)) == (6, 2)
    assert pendulum.outcomes is None and pendulum.success is None and pendulum.success_interval is None
    assert pendulum.length_mean == 200
    assert pendulum.as_dict()["return_interval"][0] < pendulum.return_mean
    with pytest.raises(ValueError, match="episodes must be an integer of at least 1, got 0"):
        evaluate_policy(Counter(), still, episodes=0, seed=0)


def test_success_that_is_reported_now_and_then_is_an_error() -> None:
    class Sometimes(Counter):
        def step(self, action: Any) -> Any:
            *rest, info = super().step(action)
            return *rest, info if self.length == 2 else {}

    with pytest.raises(
        SuccessError, match="expected success to be reported in all episodes or in none, got it in 2 of 6"
    ):
        evaluate_policy(Sometimes(), still, episodes=6, seed=0)


RECEIPT = Receipt("distance of torso", 0.1, "m", least=1e-6, steps=5)


def record(seed: int, success: bool | None, condition: str = "clean", **values: Any) -> TrialRecord:
    fields: dict[str, Any] = {
        "total_reward": float(success or 0),
        "length": 9,
        "recovery_steps": math.nan,
        "receipts": (),
    }
    fields |= dict.fromkeys(("success_step", "onset", "end"))
    return TrialRecord(seed=seed, condition=condition, success=success, **{"policy": "policy", **fields, **values})


def test_records_survive_a_file(tmp_path: Path) -> None:
    records = [record(0, True), record(1, None, recovery_steps=math.inf), record(2, False, receipts=(RECEIPT, None))]
    write_records(tmp_path / "episodes.jsonl", records)
    assert [str(each) for each in read_records(tmp_path / "episodes.jsonl")] == [str(each) for each in records]
    with (tmp_path / "episodes.jsonl").open("a") as file:
        file.write('{"seed": 3, "cond')
    assert len(read_records(tmp_path / "episodes.jsonl")) == 3, "a dying process left the last line incomplete"
    (tmp_path / "episodes.jsonl").write_text('{"seed": 3}\n')
    with pytest.raises(ArtifactError, match="line 1: expected the record of a trial"):
        read_records(tmp_path / "episodes.jsonl")


def test_seeds_are_complete_with_all_of_their_trials() -> None:
    records = [record(0, True), record(0, True, "push"), record(1, True)]
    assert complete_seeds(records, 2) == records[:2]


def test_a_condition_is_summarized() -> None:
    clean = [record(seed, success) for seed, success in enumerate([True, True, True, False])]
    perturbed = [
        record(seed, seed == 0, "push", recovery_steps=steps, receipts=(replace(RECEIPT, value=value),), onset=3)
        for seed, steps, value in zip(range(3), [4.0, math.inf, 6.0], [0.1, 0.3, 0.2], strict=True)
    ]
    perturbed.append(record(3, True, "push", receipts=(None,)))
    found = summarize_condition(perturbed, clean)
    assert (found.success, found.lost, found.won, found.p_value) == (0.5, 2, 1, 1.0)
    assert (found.reached, found.episodes) == (3, 4)
    assert [str(each) for each in found.receipts] == ["0.2 m"] and found.receipts[0].has_effect
    assert (found.recovered, found.never_recovered, found.recovery_median) == (2, 1, 5.0)
    assert found.return_change == -0.25 and found.return_change_interval is not None
    first = summarize_condition(clean, clean)
    assert first.success == 0.75 and first.lost is first.p_value is first.return_change is first.reached is None


def test_policies_are_compared() -> None:
    ours = [record(seed, seed != 0, "push") for seed in range(9)]
    other = [record(seed, seed == 0, "push", policy="compare") for seed in range(9)]
    found = compare_policies(ours, other)
    assert (found.harmed, found.rescued) == (1, 8) and found.p_value == pytest.approx(0.0390625)
    assert found.return_difference == pytest.approx(7 / 9)
    with pytest.raises(ValueError, match="expected trials of the same episodes"):
        compare_policies(ours, other[1:])


def test_without_success_the_summary_is_on_returns_alone() -> None:
    clean = [record(seed, None, total_reward=float(seed)) for seed in range(4)]
    found = summarize_condition([record(s, None, "push", total_reward=s - 1.0) for s in range(4)], clean)
    assert found.success is found.success_interval is found.lost is found.p_value is None
    assert found.return_change == -1 and found.return_change_interval == (-1, -1)


@pytest.mark.parametrize("entries", [False, True])
def test_an_observation_that_is_not_finite_is_refused(entries: bool) -> None:
    values = np.array([0.0, np.nan])
    with pytest.raises(EpisodeError, match=r"expected finite observations, got .* in step 3; check the environment"):
        require_finite_observation({"inner": (values,)} if entries else values, "in step 3")
    require_finite_observation({"image": np.zeros((2, 2, 3), np.uint8), "text": "a", "x": 1.0}, "in step 3")


class Noted(gym.Env[Any, Any]):
    """Ends after three steps with rewards 1, 2 and the first digit of its seed; succeeds if that digit is even."""

    observation_space = gym.spaces.Box(0, np.inf, (1,))
    action_space = gym.spaces.Box(-1, 1, (1,))

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        assert seed is not None
        self.seeds.append(seed)
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count += 1
        last, digit = self.count == 3, int(str(self.seeds[-1])[0])
        reward = float(digit) if last else float(self.count)
        return np.full(1, self.count, np.float32), reward, last, False, {"is_success": last and digit % 2 == 0}


def test_an_evaluation_averages_its_episodes() -> None:
    """The figures are computed again from the seeds that the environment noted."""
    env = Noted()
    found = evaluate_policy(env, lambda observation: np.zeros((1, 1)), episodes=40, seed=4)
    digits = np.array([int(str(seed)[0]) for seed in env.seeds])
    even = int((digits % 2 == 0).sum())
    assert (found.episodes, found.length_mean, found.success) == (40, 3.0, even / 40)
    assert found.success_interval == wilson_interval(even, 40)
    assert found.return_mean == pytest.approx(3 + digits.mean())
    assert found.return_interval == mean_interval(3.0 + digits)


def test_evaluations_of_other_seeds_play_other_episodes() -> None:
    """In environments that take seeds of 32 bits, too."""
    env = Noted()
    for seed in [*range(10), *range(2000, 2010)]:
        evaluate_policy(env, lambda observation: np.zeros((1, 1)), episodes=20, seed=seed)
    assert len(set(env.seeds)) == len(env.seeds) == 400
    assert 0 <= min(env.seeds) and max(env.seeds) < 2**32
    again = Noted()
    evaluate_policy(again, lambda observation: np.zeros((1, 1)), episodes=20, seed=0)
    assert again.seeds == env.seeds[:20]
