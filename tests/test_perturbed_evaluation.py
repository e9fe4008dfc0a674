"""Paired evaluation of any policy in any environment under perturbation."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from equiact.agents.evaluation.paired_episodes import PairedEpisodes, PairingError
from equiact.agents.evaluation.perturbation_report import EPISODES_FILE, REPORT_FILE, PerturbationReport
from equiact.agents.evaluation.perturbed_evaluation import NoEffectError, evaluate_perturbations, make_conditions
from equiact.agents.evaluation.recovery_time import RecoveryTimeConfig
from equiact.agents.evaluation.success import SuccessError, success_criterion
from equiact.agents.evaluation.trial_records import TrialRecord
from equiact.envs.data.policy import RandomPolicy, UniformPolicy
from equiact.envs.perturbations.errors import PerturbationError
from equiact.envs.storage.file_access import ArtifactError

OVERRIDE = "action-shift:magnitude=2,onset=3,duration=4,sign=-"
"""Goes back by the largest step, four times."""


class Line(gym.Env[Any, Any]):
    """Go to the goal on a line, in steps of at most 0.1; optionally with noise that no seed fixes."""

    observation_space = gym.spaces.Box(-10, 10, (2,))
    action_space = gym.spaces.Box(-0.1, 0.1, (1,))

    def __init__(self, noise: float = 0.0) -> None:
        self.noise, self.resets = noise, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.x, self.goal = 0.0, float(self.np_random.uniform(0.6, 0.9))
        self.resets += 1
        return self._observe(), {}

    def _observe(self) -> Any:
        return np.array([self.x, self.goal], np.float32)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.x += float(action[0]) + self.noise * np.random.default_rng().normal()
        close = abs(self.x - self.goal) < 0.05
        return self._observe(), -abs(self.x - self.goal), close, False, {"is_success": close}


def line(steps: int = 18, **options: Any) -> gym.Env[Any, Any]:
    return gym.wrappers.TimeLimit(Line(**options), steps)


def go(observation: Any) -> Any:
    return np.clip(observation[:, 1:] - observation[:, :1], -0.1, 0.1)


def slow(observation: Any) -> Any:
    return np.clip(go(observation), -0.06, 0.06)


def trials(report: PerturbationReport, index: int, role: Any = "policy") -> list[TrialRecord]:
    return report.trials(report.conditions[index].name, role)


def test_five_lines(tmp_path: Path) -> None:
    report = evaluate_perturbations(line(), go, [OVERRIDE], episodes=8, seed=3)
    clean, perturbed = report.summaries()
    assert clean.success == perturbed.success == 1.0 and clean.length_mean + 8 == perturbed.length_mean
    assert (perturbed.lost, perturbed.won, perturbed.p_value, perturbed.reached) == (0, 0, 1.0, 8)
    assert [record.seed for record in report.trials("clean")] == list(range(3, 11))
    for record, other in zip(trials(report, 1), trials(report, 0), strict=True):
        assert (record.onset, record.end) == (3, 7)
        assert record.recovery_steps == record.length - 7 and math.isnan(other.recovery_steps)
        assert record.receipts[0] is not None and record.receipts[0].value > 0.1 and record.receipts[0].has_effect
    report.save(tmp_path / "report", command="mine")
    written = json.loads((tmp_path / "report" / REPORT_FILE).read_text())
    assert written["command"] == "mine" and written["summaries"][1]["success"] == 1.0
    assert len((tmp_path / "report" / EPISODES_FILE).read_text().splitlines()) == 16


def test_a_saved_report_replaces_its_own_kind_only(tmp_path: Path) -> None:
    report = evaluate_perturbations(line(), go, [OVERRIDE], episodes=2)
    for _ in range(2):
        report.save(tmp_path / "report")
    (tmp_path / "report" / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match=r"with other things in it: notes\.txt"):
        report.save(tmp_path / "report")


def test_it_is_reproducible_and_does_not_depend_on_the_order_of_conditions() -> None:
    noise = "action-noise:magnitude=0.5,onset=1,duration=6"
    one = evaluate_perturbations(line(), go, [OVERRIDE, noise], episodes=5)
    other = evaluate_perturbations(line(), go, [noise, OVERRIDE], episodes=5)
    for condition in one.conditions:
        assert list(map(str, one.trials(condition.name))) == list(map(str, other.trials(condition.name)))
    assert len({record.total_reward for record in trials(one, 2)}) == 5


def test_harmed_and_rescued_episodes_are_counted() -> None:
    report = evaluate_perturbations(line(), go, [OVERRIDE], episodes=12, compare=slow)
    ours = [bool(record.success) for record in trials(report, 1)]
    other = [bool(record.success) for record in trials(report, 1, "compare")]
    found = report.comparisons()[1]
    assert found.rescued == sum(a and not b for a, b in zip(ours, other, strict=True)) > 0
    assert found.harmed == 0 and report.comparisons()[0].harmed == 0
    reverse = evaluate_perturbations(line(), slow, [OVERRIDE], episodes=12, compare=go).comparisons()[1]
    assert (reverse.harmed, reverse.rescued) == (found.rescued, 0) and reverse.p_value == found.p_value
    assert reverse.return_difference == pytest.approx(-found.return_difference)


def test_lost_episodes_never_recover() -> None:
    report = evaluate_perturbations(line(), slow, [OVERRIDE], episodes=12)
    perturbed = report.summaries()[1]
    assert perturbed.lost and perturbed.never_recovered == perturbed.lost
    assert perturbed.recovered + perturbed.never_recovered == 12
    assert all(math.isinf(record.recovery_steps) for record in trials(report, 1) if not record.success)


def test_an_environment_that_its_seed_does_not_fix_is_refused() -> None:
    with pytest.raises(
        PairingError, match=r"got others in step 1 \(clean, played again\); the environment or the policy"
    ):
        evaluate_perturbations(line(noise=1e-3), go, [OVERRIDE], episodes=2)


class Unseeded:
    """Draws actions that nothing fixes."""

    def predict(self, observation: Any, *rest: Any) -> tuple[Any, Any]:
        return np.random.default_rng().uniform(-0.1, 0.1, (1, 1)), None


def test_a_random_policy_needs_a_seed() -> None:
    with pytest.raises(PairingError, match="played again"):
        evaluate_perturbations(line(), Unseeded(), [OVERRIDE], episodes=2)
    env = line()
    report = evaluate_perturbations(env, UniformPolicy(env.action_space), [OVERRIDE], episodes=4)
    assert len({record.total_reward for record in report.trials("clean")}) == 4, "each episode has its own numbers"


class Sampling:
    """Draws from torch's generator unless it acts deterministically."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Any, Any]:
        return go(observation) * (1.0 if deterministic else torch.rand(1).numpy()), None


def test_a_stochastic_policy_draws_the_same_numbers_in_all_trials() -> None:
    state = torch.get_rng_state()
    report = evaluate_perturbations(line(), Sampling(), [OVERRIDE], episodes=3, deterministic=False)
    assert torch.equal(torch.get_rng_state(), state), "the caller's generator is as it was"
    certain = evaluate_perturbations(line(), Sampling(), [OVERRIDE], episodes=3)
    assert report.summaries()[0].length_mean > certain.summaries()[0].length_mean


class Counting:
    """Acts for three steps of each episode only; its state counts them."""

    seed = 7  # models of Stable-Baselines3 have a number of this name

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Any, Any]:
        assert bool(episode_start[0]) == (state is None)
        count = 0 if state is None else state
        return go(observation) * (count < 3), count + 1


def test_a_recurrent_policy_starts_anew_in_every_trial() -> None:
    report = evaluate_perturbations(line(), Counting(), [OVERRIDE], episodes=2)
    assert {record.length for record in report.records} == {18}


def test_a_perturbation_without_effect_is_an_error() -> None:
    with pytest.raises(NoEffectError, match=r"it had no effect; the median mean change of the action is .*; raise its"):
        evaluate_perturbations(line(), go, ["action-noise:magnitude=1e-14,onset=1,duration=2"], episodes=3)
    with pytest.raises(NoEffectError, match="all 3 episodes were over before the perturbation began; lower onset"):
        evaluate_perturbations(line(), go, ["action-noise:magnitude=1,onset=15,duration=1"], episodes=3)


LATE = "action-noise:magnitude=1,onset=15,duration=1"
"""Begins when all episodes of `line` are over."""


def test_one_condition_without_effect_does_not_stop_the_others(tmp_path: Path) -> None:
    faint = "action-noise:magnitude=1e-14,onset=1,duration=2"
    report = evaluate_perturbations(line(), go, [OVERRIDE, faint, LATE], episodes=22)
    assert len(report.records) == 22 * 4, "the early look does not stop it either"
    assert len(report.notes) == 2
    assert report.notes[0].startswith("No effect: action-noise:magnitude=1e-14,onset=1,duration=2: it had no effect;")
    assert "all 22 episodes were over before the perturbation began; lower onset." in report.notes[1]
    report.save(tmp_path / "report")
    written = json.loads((tmp_path / "report" / REPORT_FILE).read_text())
    assert written["notes"] == list(report.notes)
    assert [summary["has_effect"] for summary in written["summaries"]] == [True, True, False, False]
    with pytest.raises(NoEffectError, match="it had no effect"):
        evaluate_perturbations(line(), go, [faint, LATE], episodes=3)


def test_a_policy_that_is_not_reached_is_named() -> None:
    late = "action-shift:magnitude=2,onset=12,duration=4,sign=-"
    report = evaluate_perturbations(line(steps=30), slow, [OVERRIDE, late], episodes=3, compare=go)
    assert len(report.notes) == 1 and f"No effect: {late}, other policy: all 3 episodes were over" in report.notes[0]
    with pytest.raises(NoEffectError, match="all 3 episodes were over"):
        evaluate_perturbations(line(steps=30), slow, [late], episodes=3, compare=go)


@pytest.mark.parametrize(
    ("perturbations", "message"),
    [
        ([], "expected at least one perturbation"),
        (["smoke:magnitude=1"], "smoke"),
        ([OVERRIDE, OVERRIDE], "expected different perturbations"),
        ([3], "expected a perturbation, a tuple of them, or their text, got 3"),
        (["force:body=torso,magnitude=1"], "(?i)mujoco"),
    ],
)
def test_perturbations_that_are_none_are_refused(perturbations: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate_perturbations(line(), go, perturbations, episodes=1)


def test_the_success_must_be_reported() -> None:
    with pytest.raises(SuccessError, match=r"got entries \['is_success'\]"):
        evaluate_perturbations(line(), go, [OVERRIDE], episodes=1, success="success")
    with pytest.raises(ValueError, match="episodes must be an integer of at least 1"):
        evaluate_perturbations(line(), go, [OVERRIDE], episodes=0)


def test_conditions_form_curves() -> None:
    text = "action-noise:magnitude=0.1,0.2,onset=2,duration=3"
    clean, *others = make_conditions(text)
    assert clean.name == "clean" and not clean.perturbations
    assert [each.magnitude for each in others] == [0.1, 0.2] and len({each.curve for each in others}) == 1
    assert "magnitude" not in others[0].curve and "duration=3" in others[0].curve
    with pytest.raises(PerturbationError):
        make_conditions([])


def test_finished_trials_are_not_played_again() -> None:
    env, kept = line(), []
    whole = evaluate_perturbations(env, go, [OVERRIDE], episodes=4, on_episode=kept.extend)
    assert list(map(str, kept)) == list(map(str, whole.records))
    played: list[Any] = []
    rest = evaluate_perturbations(
        line(), go, [OVERRIDE], episodes=4, finished=whole.records[:3], on_episode=played.append
    )
    assert len(played) == 3 and sorted(map(str, rest.records)) == sorted(map(str, whole.records))


def test_a_trial_is_played_again_for_a_film() -> None:
    report = evaluate_perturbations(line(), go, [OVERRIDE], episodes=2, seed=5)
    episodes = PairedEpisodes(
        line(), {"policy": _policy()}, report.conditions, success_criterion(), RecoveryTimeConfig()
    )
    record, seen, started = trials(report, 1)[1], [], []
    played = episodes.replay(6, report.conditions[1], "policy", lambda: started.append(True), seen.append)
    episodes.require_same(record, played)
    assert len(seen) == record.length and started == [True]
    with pytest.raises(PairingError, match="is played again, got"):
        episodes.require_same(trials(report, 1)[0], played)


def _policy() -> Any:
    from equiact.envs.data.policy import as_policy

    return as_policy(go)


def test_without_success_the_report_says_so() -> None:
    noise = "observation-noise:magnitude=0.5,onset=20,duration=20"
    report = evaluate_perturbations(
        gym.make("Pendulum-v1", max_episode_steps=80), lambda o: -2 * o[:, 2:], [noise], episodes=3
    )
    assert report.success == "unknown" and "returns alone" in report.notes[0]
    assert "mean reward over 10 steps" in report.recovery
    assert report.summaries()[1].success is None and report.summaries()[1].return_change != 0


def balance(observation: Any) -> Any:
    return np.clip(observation @ [[0.5], [8.0], [0.7], [1.5]], -3, 3)


def test_a_pendulum_falls_under_a_strong_force() -> None:
    """A MuJoCo environment that others wrote: states are restored bit by bit, receipts are in metres."""
    env = gym.make("InvertedPendulum-v5", max_episode_steps=100)
    force = "force:body=pole,magnitude=5,80,direction=x,onset=20,duration=5"
    report = evaluate_perturbations(env, balance, [force], episodes=5, success="truncated")
    clean, weak, strong = report.summaries()
    assert clean.success == 1 and weak.success == 1 and strong.success == 0
    assert (strong.lost, strong.p_value) == (5, 0.0625) and strong.receipts[0].unit == "m"
    assert (weak.recovered, strong.recovered, strong.never_recovered) == (5, 0, 5)
    assert strong.receipts[0].median > 5 * weak.receipts[0].median > 1e-4


@pytest.mark.parametrize("name", ["PPO", "RecurrentPPO", "Dict"])
def test_models_of_stable_baselines3_are_policies(name: str) -> None:
    """A model with a seed, one with a recurrent state, and one with Dict observations."""
    models = pytest.importorskip("sb3_contrib" if name == "RecurrentPPO" else "stable_baselines3", reason="no SB3")
    env = line()
    if name == "Dict":
        env = gym.wrappers.FlattenObservation(env)
        space = gym.spaces.Dict({"line": env.observation_space})
        env = gym.wrappers.TransformObservation(env, lambda values: {"line": values}, space)
    cls, kind = (models.RecurrentPPO, "MlpLstmPolicy") if name == "RecurrentPPO" else (models.PPO, "MlpPolicy")
    model = cls("MultiInputPolicy" if name == "Dict" else kind, env, seed=1, n_steps=16, batch_size=16, device="cpu")
    noise = "observation-noise:magnitude=0.5,onset=1,duration=5"
    for deterministic in (True, False):
        report = evaluate_perturbations(env, model, [noise], episodes=2, deterministic=deterministic)
        assert report.summaries()[1].return_change != 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "spec", "perturbation"),
    [
        ("gym_pusht", "gym_pusht/PushT-v0", "action-noise:magnitude=0.5,onset=5,duration=10"),
        ("highway_env", "parking-v0", "observation-noise:magnitude=0.5,onset=5,duration=10"),
        ("minigrid", "MiniGrid-Empty-5x5-v0", "action-delay:magnitude=2,onset=1,duration=10"),
        ("shimmy", "dm_control/reacher-easy-v0", "action-shift:magnitude=0.5,onset=5,duration=10"),
        ("ogbench", "cube-single-singletask-task1-v0", "move-object:body=object_0,magnitude=0.05,onset=5"),
        ("gymnasium_robotics", "PointMaze_UMaze-v3", "impulse:body=particle,magnitude=0.5,onset=5"),
    ],
)
def test_environments_of_other_packages(package: str, spec: str, perturbation: str) -> None:
    from equiact.envs.env_factory import make_env

    pytest.importorskip(package, reason=f"{package} is not installed")
    env = make_env(spec, imports=[package], max_episode_steps=30)

    report = evaluate_perturbations(env, RandomPolicy(env), [perturbation], episodes=2)
    assert report.summaries()[1].receipts[0].has_effect and len(report.records) == 4


class Buttons(gym.Env[Any, Any]):
    """Two buttons; any other number does nothing, as in many environments."""

    observation_space, action_space = gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros(1, np.float32), float(action == 1), False, False, {}


def press(button: int) -> Any:
    return lambda observation: np.full(len(observation), button)


def test_discrete_actions_out_of_range_are_refused_with_the_policy() -> None:
    delay = ["action-override:magnitude=1,value=0"]
    for one, other, name in ((2, 1, "the policy"), (1, 2, "the other policy")):
        env = gym.wrappers.TimeLimit(Buttons(), 5)
        message = rf"^{name} must return actions in Discrete\(2\), whole numbers from 0 to 1, got \[2\]"
        with pytest.raises(ValueError, match=message):
            evaluate_perturbations(env, press(one), delay, episodes=2, compare=press(other))
    assert evaluate_perturbations(env, press(1), delay, episodes=2).summaries()[1].return_change == -1


def test_a_negative_seed_is_refused_before_anything_is_played() -> None:
    env = gym.make("Pendulum-v1")
    with pytest.raises(ValueError, match="seed must be an integer of at least 0, got -1"):
        evaluate_perturbations(env, lambda observation: np.zeros((1, 1)), ["action-noise:magnitude=1"], seed=-1)
