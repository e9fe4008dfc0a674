"""Paired trials: the same episodes and pushes whatever the policy, and pushes that did nothing."""

import numpy as np
import pytest
import torch
from equiact.agents.evaluation.paired_evaluation import calibrate_on_episodes, run_trial
from equiact.agents.evaluation.statistics import mcnemar, wilson_interval
from equiact.agents.policies.demonstrations import demonstrate
from equiact.agents.policies.experts import expert
from equiact.agents.recovery.config import RecoveryConfig
from equiact.agents.recovery.conformal import Trigger
from equiact.agents.recovery.episode_state import RecoveryStep
from equiact.agents.recovery.recovery_policy import RecoveryPolicy
from equiact.envs.data.policy import GroundTruthPolicy
from equiact.envs.perturbations.errors import PerturbationError
from equiact.envs.worlds.registry import world_class
from equiact.envs.wrappers.task_perturbation import TaskPerturbation
from equiact.representations.densities.kernel import KernelDensity

PUSH = TaskPerturbation(0.02, onset=1, duration=5, idle=2)


class Expert:
    """The scripted expert as a policy, which looks at the world instead of frames."""

    def __init__(self, world):
        self.world = world

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return expert(self.world), None


class Still(Expert):
    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return np.zeros((len(observation), 4)), None


@pytest.fixture(scope="module")
def started():
    world = world_class("Push")(4, resolution=(16, 16), device="cpu", max_episode_steps=40)
    world.reset(np.arange(4), np.random.default_rng(0).spawn(4))
    return world, world.save()


def test_trials_are_paired(started):
    world, initial = started
    clean, still = run_trial(world, initial, Expert(world)), run_trial(world, initial, Still(world))
    assert clean.success.all() and not still.success.any()
    assert (clean.length < 40).all() and (still.length == 40).all()
    again = run_trial(world, initial, Expert(world))
    np.testing.assert_array_equal(again.length, clean.length)


def test_a_push_is_the_same_whatever_the_policy(started, monkeypatch):
    world, initial = started
    step, dragged = world.step, []

    def watched(action, worlds=None):
        dragged[-1].append(np.array(action))
        return step(action, worlds)

    monkeypatch.setattr(world, "step", watched)

    def drag(world_cls, seed):
        dragged.append([])
        receipt = run_trial(world, initial, world_cls(world), PUSH, seed=seed).receipt
        return np.stack(dragged[-1][1:6])[..., : world.group.dim], receipt

    (still, receipt), (expert, _), (other, _) = drag(Still, 3), drag(Expert, 3), drag(Still, 4)
    np.testing.assert_array_equal(still, expert)
    np.testing.assert_allclose(np.linalg.norm(still, axis=2), 0.02)
    assert receipt.min() > 0.03 and np.abs(other - still).max() > 1e-3


def test_a_push_that_did_nothing_fails_the_run(started):
    world, initial = started
    with pytest.raises(PerturbationError, match="it had no effect; raise its magnitude"):
        run_trial(world, initial, Still(world), TaskPerturbation(0.0005, onset=1, duration=3, idle=0))


def test_a_push_that_comes_too_late_fails_the_run(started):
    """The clean episodes of the expert are over by then: the median of no receipts is not a pass."""
    world, initial = started
    with pytest.raises(PerturbationError, match="all 4 episodes were over before the perturbation began"):
        run_trial(world, initial, Expert(world), TaskPerturbation(0.02, onset=30, duration=5, idle=2))


def test_the_smallest_receipt_is_an_argument(started):
    world, initial = started
    weak = TaskPerturbation(0.0005, onset=1, duration=3, idle=0)
    trial = run_trial(world, initial, Still(world), weak, min_receipt=1e-4)
    assert 1e-4 < np.median(trial.receipt) < 0.01


def test_a_privileged_policy_is_one_like_any_other(started):
    world, initial = started
    trial = run_trial(world, initial, GroundTruthPolicy(world, expert))
    np.testing.assert_array_equal(trial.length, run_trial(world, initial, Expert(world)).length)


@pytest.mark.parametrize("share", [0, 1, 2, -0.1, float("nan")])
def test_a_share_of_false_alarms_that_is_none_is_refused(started, share):
    world, initial = started
    with pytest.raises(ValueError, match="false_alarms must lie between 0 and 1, both excluded, got"):
        calibrate_on_episodes(world, initial, Still(world), false_alarms=share)


@pytest.mark.parametrize("alarms", [(), ("density", "smoke")])
def test_unknown_alarms_are_refused(started, alarms):
    world, initial = started
    with pytest.raises(ValueError, match=r"alarms must be at least one of \('density', 'innovation', 'dwell'\), got"):
        calibrate_on_episodes(world, initial, Still(world), alarms)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 2)])
def test_rates_that_are_none_are_refused(successes, trials):
    with pytest.raises(ValueError, match=f"with at least 1 trial, got {successes} of {trials}"):
        wilson_interval(successes, trials)


def test_outcomes_of_other_episodes_are_not_compared():
    with pytest.raises(ValueError, match=r"got shapes \(3,\) and \(2,\)"):
        mcnemar(np.zeros(3, bool), np.zeros(2, bool))


class Counts:
    """A learner that counts the steps of each episode in its state."""

    def __init__(self):
        self.rows = []

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        self.rows.append(len(observation))
        return np.tile([0.0, 0.0, 0.0, 1.0], (len(observation), 1)), np.zeros(
            len(observation)
        ) if state is None else state


def test_a_learner_with_memory_keeps_its_rows():
    """The expert labels what the learner does; a learner with a state acts for all worlds in every step."""
    world, learner = world_class("Push")(3, resolution=(16, 16), device="cpu", max_episode_steps=5), Counts()
    data = demonstrate(world, 3, seed=0, learner=learner, only_successes=False)
    assert learner.rows == [3] * 5 and len(data) == 15
    assert np.abs(data.action[:, :3]).max() > 0.01 and np.abs(data.displacement).max() < 0.01


def test_any_policy_may_be_the_expert():
    world = world_class("Push")(3, resolution=(16, 16), device="cpu", max_episode_steps=4)
    data = demonstrate(world, 3, seed=0, expert=Still(world), only_successes=False)
    assert not data.action.any()
    with pytest.raises(RuntimeError, match="none of 3 episodes succeeded"):
        demonstrate(world, 3, seed=0, expert=Still(world))


class Reports(RecoveryPolicy):
    """Stands still, and reports a given weight of the base policy in every step, ``(T, N)``."""

    def __init__(self, blends):
        self.blends, self.step, self.report = blends, 0, None

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        count = len(observation)
        zeros, never = np.zeros(count, np.float32), np.zeros(count, bool)
        point = np.zeros((count, 3), np.float32)
        weight = self.blends[self.step].astype(np.float32)
        self.report = RecoveryStep(point, zeros, weight, zeros, np.zeros(count, int), point, never)
        self.step += 1
        return np.zeros((count, 4)), None


def weights_that_recover_in(*steps):
    """Return weights that are 0 in these steps of each episode, and 1 in all others, ``(40, N)``."""
    weights = np.ones((40, len(steps)))
    for index, each in enumerate(steps):
        weights[list(each), index] = 0.0
    return weights


def test_interventions_are_counted_once_the_perturbation_is_over(started):
    """It begins in step 1 and ends with step 7; the policy acts again in step 8."""
    world, initial = started
    during, beyond, always = range(2, 8), range(5, 9), range(8, 40)
    policy = Reports(weights_that_recover_in(during, beyond, always, ()))
    trial = run_trial(world, initial, policy, PUSH)
    assert PUSH.end == 8
    assert trial.triggered.tolist() == [False, True, True, False]
    np.testing.assert_array_equal(trial.recovery_steps, [np.nan, 1.0, np.inf, np.nan])


def test_interventions_are_counted_from_the_end_of_each_perturbation(started):
    """With onsets 1, 11 and 21 the policy acts again in steps 8, 18 and 28; it recovers in steps 16 to 19."""
    world, initial = started
    push = TaskPerturbation(0.02, duration=5, idle=2, onsets=(1, 11, 21, 11))
    trial = run_trial(world, initial, Reports(weights_that_recover_in(*[range(16, 20)] * 3, ())), push)
    assert trial.onset.tolist() == [1, 11, 21, 11] and trial.receipt.min() > 0.03
    assert trial.triggered.tolist() == [True, True, False, False]
    np.testing.assert_array_equal(trial.recovery_steps, [12.0, 2.0, np.nan, np.nan])


def test_only_perturbations_that_begin_before_the_end_must_have_an_effect(started):
    """Two episodes of the expert are over by step 30: their receipts of zero do not count, those of the others do."""
    world, initial = started
    trial = run_trial(world, initial, Expert(world), TaskPerturbation(0.02, duration=5, idle=2, onsets=(1, 30, 30, 30)))
    assert trial.receipt[0] > 0.03 and not trial.receipt[1:].any()
    weak = TaskPerturbation(0.0005, duration=3, idle=0, onsets=(1, 30, 30, 30))
    with pytest.raises(PerturbationError, match="it had no effect; raise its magnitude"):
        run_trial(world, initial, Expert(world), weak)


def test_without_a_perturbation_every_intervention_counts(started):
    world, initial = started
    weights = weights_that_recover_in(range(2, 8), [0], range(40), ())
    weights[20, 3] = 0.5
    trial = run_trial(world, initial, Reports(weights))
    assert trial.triggered.tolist() == [True, True, True, False], "half of the weight is no intervention"
    np.testing.assert_array_equal(trial.recovery_steps, [8.0, 1.0, np.inf, np.nan])


def test_only_successful_episodes_calibrate(started):
    """Of four episodes two fail: there the base policy stands still, far longer than where it succeeds."""
    world, initial = started

    def base(observation):
        action = expert(world)
        action[2:, :3] = 0.0
        return action

    density = KernelDensity(3)
    density.fit(torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) - 0.5)
    watching = RecoveryPolicy(
        base, lambda observation: world.agent_pose(), density, Trigger.never(), RecoveryConfig(0.02, 1, patience=0)
    )
    played = run_trial(world, initial, watching)
    assert played.success.tolist() == [True, True, False, False]
    series = {name: [played.episode(name, index) for index in range(4)] for name in ("log_density", "dwell")}
    found = calibrate_on_episodes(world, initial, watching, ("density", "dwell"), false_alarms=0.9)
    lowest = sorted(float(each.min()) for each in series["log_density"][:2])
    longest = sorted((int(each.max()) for each in series["dwell"][:2]), reverse=True)
    assert (found.threshold, found.dwell) == (pytest.approx(lowest[0]), longest[0]), "⌊0.9 / 2 · 3⌋ = 1: the extreme"
    assert found.dwell < min(each.max() for each in series["dwell"][2:])
