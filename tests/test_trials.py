"""Paired trials: the same episodes and pushes whatever the policy, and pushes that did nothing."""

import numpy as np
import pytest
from equiact.agents.evaluation.paired_evaluation import calibrate_on_episodes, run_trial
from equiact.agents.evaluation.statistics import mcnemar, wilson_interval
from equiact.agents.policies.demonstrations import demonstrate
from equiact.agents.policies.experts import expert
from equiact.envs.data.policy import GroundTruthPolicy
from equiact.envs.perturbations.errors import PerturbationError
from equiact.envs.worlds.registry import world_class
from equiact.envs.wrappers.task_perturbation import TaskPerturbation

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
