"""Paired trials: the same episodes and pushes whatever the policy, and pushes that did nothing."""

import numpy as np
import pytest

from agents.experts import expert
from agents.trials import run
from envs import world_class
from envs.perturbation import Perturbation, PerturbationError

PUSH = Perturbation(0.02, onset=1, duration=5, idle=2)


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
    clean, still = run(world, initial, Expert(world)), run(world, initial, Still(world))
    assert clean.success.all() and not still.success.any()
    assert (clean.length < 40).all() and (still.length == 40).all()
    again = run(world, initial, Expert(world))
    np.testing.assert_array_equal(again.length, clean.length)


def test_a_push_is_the_same_whatever_the_policy(started, monkeypatch):
    world, initial = started
    step, dragged = world.step, []

    def watched(action, worlds=None):
        dragged[-1].append(np.array(action))
        return step(action, worlds)

    monkeypatch.setattr(world, "step", watched)

    def drag(kind, seed):
        dragged.append([])
        receipt = run(world, initial, kind(world), PUSH, seed=seed).receipt
        return np.stack(dragged[-1][1:6])[..., : world.group.dim], receipt

    (still, receipt), (expert, _), (other, _) = drag(Still, 3), drag(Expert, 3), drag(Still, 4)
    np.testing.assert_array_equal(still, expert)
    np.testing.assert_allclose(np.linalg.norm(still, axis=2), 0.02)
    assert receipt.min() > 0.03 and np.abs(other - still).max() > 1e-3


def test_a_push_that_did_nothing_fails_the_run(started):
    world, initial = started
    with pytest.raises(PerturbationError, match="it did nothing; raise its magnitude"):
        run(world, initial, Still(world), Perturbation(0.0005, onset=1, duration=3, idle=0))


def test_a_push_that_comes_too_late_fails_the_run(started):
    """The clean episodes of the expert are over by then: the median of no receipts is not a pass."""
    world, initial = started
    with pytest.raises(PerturbationError, match="all 4 episodes were over before the push began"):
        run(world, initial, Expert(world), Perturbation(0.02, onset=30, duration=5, idle=2))
