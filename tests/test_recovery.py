"""Recovery in a plane where everything is known: a point walks a line of demonstrations and is pushed off it."""

import numpy as np
import pytest
import torch

from agents.recovery import RecoveryPolicy
from agents.trigger import Trigger, calibrate
from representations.density import KernelDensity

STEP = 0.1
TRIGGER = Trigger(threshold=-2.0, temperature=0.3, innovation=0.15)


def line(count=500):
    """Demonstrated states: along the first axis, near zero on the second."""
    generator = torch.Generator().manual_seed(0)
    return torch.stack([4 * torch.rand(count, generator=generator), 0.02 * torch.randn(count, generator=generator)], 1)


def density():
    torch.manual_seed(0)
    fitted = KernelDensity(2)
    fitted.fit(line())
    return fitted


def ahead(observation):
    """A base policy that only knows how to go on."""
    return np.tile([STEP, 0.0], (len(observation), 1))


def recovery(base=ahead, **options):
    return RecoveryPolicy(base, lambda o: o, density(), options.pop("trigger", TRIGGER), step=STEP, **options)


def walk(policy, steps, push_at=None, push=(0.0, 0.0), start=(0.2, 0.0)):
    """Positions of one walker, and the blend in every step."""
    position, state, positions, blends = np.array([start], np.float32), None, [], []
    for step in range(steps):
        action, state = policy.predict(position.copy(), state, np.array([step == 0]))
        positions.append(position[0].copy())
        blends.append(policy.report.blend[0])
        position = (position + action).astype(np.float32)
        if step == push_at:
            position = position + np.array([push], np.float32)
    return np.array(positions), np.array(blends)


def test_on_the_demonstrations_the_base_acts_alone():
    positions, blends = walk(recovery(), 20)
    np.testing.assert_allclose(positions[:, 0], 0.2 + STEP * np.arange(20), rtol=1e-5)
    assert (blends == 1).all()


@pytest.mark.parametrize("restart", [True, False])
def test_after_a_push_it_goes_back_and_on(restart):
    """To where it began, with nothing in its hands; or to where it was."""
    positions, blends = walk(recovery(restart=restart), 60, push_at=9, push=(0.5, 1.0), start=(0.5, 0.0))
    goal = positions[0] if restart else positions[9]
    back = 10 + np.argmin(np.linalg.norm(positions[10:] - goal, axis=1))
    assert np.linalg.norm(positions[back] - goal) < 3 * STEP
    assert back <= 10 + 1.2 * np.linalg.norm(positions[10] - goal) / STEP + 3, "straight back"
    assert (blends[10 : back - 3] == 0).all() and blends[-1] == 1
    assert positions[-1, 0] > positions[9, 0] + 0.5


def test_with_something_in_its_hands_it_goes_back_to_where_it_was():
    def carries(observation):
        return np.tile([STEP, 0.0, -1.0], (len(observation), 1))

    position, state, policy = np.array([[0.5, 0.0]], np.float32), None, recovery(carries, commands=1)
    for _ in range(10):
        action, state = policy.predict(position, state)
        position = (position + action[:, :2]).astype(np.float32)
    action, _ = policy.predict(position + np.array([[0.0, 1.0]], np.float32), state)
    assert action[0, 2] == -1.0
    assert action[0, 0] > -0.4 * STEP and action[0, 1] < -0.9 * STEP, "down, and not to the start one metre behind"


def test_what_it_sees_at_the_start_again_is_the_scene_from_then_on():
    seen = []

    class Scenes(KernelDensity):
        def scene_of(self, first):
            return torch.from_numpy(first[:, 2:])

        def context_of(self, scene, commands):
            seen.append(float(scene[0, 0]))

    fitted = Scenes(2)
    fitted.fit(line())
    policy = RecoveryPolicy(lambda o: ahead(o[:, :2]), lambda o: o[:, :2], fitted, TRIGGER, step=STEP)
    position, state = np.array([[0.5, 0.0]], np.float32), None
    for step in range(30):
        scene = np.full((1, 1), 0.0 if step < 10 else 7.0, np.float32)
        action, state = policy.predict(np.concatenate([position, scene], 1), state)
        position = (position + action).astype(np.float32) + (np.array([[0.0, 1.0]], np.float32) if step == 9 else 0)
    assert seen[9] == seen[11] == 0.0 and seen[-1] == 7.0


def test_a_push_along_the_demonstrations_is_noticed_too():
    """Density is as high there, but it is not where the agent was."""
    positions, _ = walk(recovery(), 14, push_at=9, push=(1.0, 0.0))
    assert positions[13, 0] < positions[10, 0]
    by_density = recovery(trigger=Trigger(-2.0, 0.3))
    positions, _ = walk(by_density, 14, push_at=9, push=(1.0, 0.0))
    assert positions[13, 0] > positions[10, 0]


def test_as_published_it_climbs_the_gradient():
    policy = recovery(climb=True)
    positions, blends = walk(policy, 30, start=(2.0, 1.0))
    assert blends[0] < 0.05 and abs(positions[-1, 1]) < 0.1
    action, _ = policy.predict(np.array([[2.0, 1.0]], np.float32))
    assert action[0, 1] < -0.9 * STEP


def test_without_a_memory_it_climbs_the_gradient():
    positions, blends = walk(recovery(), 30, start=(2.0, 1.0))
    assert blends[0] == 0 and 1 in blends
    assert np.abs(positions[15:, 1]).max() < 0.4


def test_a_stuck_policy_starts_once_more():
    def stuck(observation):
        return np.where(observation[:, :1] > 1.0, 0.0, STEP) * np.array([[1.0, 0.0]])

    positions, _ = walk(recovery(stuck, trigger=Trigger(-2.0, 0.3, 0.15, dwell=5)), 40)
    assert positions[:, 0].max() > 1.0
    assert positions[15:, 0].min() < 0.5, "back where the episode began"


def test_commands_stay_as_they_are_while_it_recovers():
    def base(observation):
        off = np.abs(observation[:, 1]) > 0.5
        return np.stack([np.full(len(off), STEP), np.zeros(len(off)), np.where(off, 1.0, -1.0)], 1)

    for published, expected in ((False, -1.0), (True, 1.0)):
        policy = recovery(base, commands=1, climb=published)
        _, state = policy.predict(np.array([[1.0, 0.0]], np.float32))
        action, _ = policy.predict(np.array([[1.0, 1.0]], np.float32), state)
        assert action[0, 2] == expected


def test_a_base_that_returns_nan_is_not_obeyed():
    policy = recovery(lambda observation: np.full((len(observation), 3), np.nan), commands=1)
    action, _ = policy.predict(np.array([[1.0, 0.0], [2.0, 1.0]], np.float32))
    assert np.isfinite(action).all()
    assert (action[:, 2] == 1).all(), "the gripper stays open"
    assert policy.faults == 2 and policy.report.fault.all()


def test_where_density_says_nothing_the_base_acts():
    policy = recovery(climb=True)
    action, _ = policy.predict(np.array([[1e30, 0.0]], np.float32))
    np.testing.assert_allclose(action, [[STEP, 0.0]])
    assert policy.report.fault.all() and policy.faults == 1


def test_episodes_of_a_batch_begin_on_their_own():
    policy = recovery()
    position = np.array([[1.0, 0.0], [3.0, 0.0]], np.float32)
    _, state = policy.predict(position, None, np.array([True, True]))
    moved = np.array([[1.0, 1.0], [2.0, 0.0]], np.float32)
    action, state = policy.predict(moved, state, np.array([False, True]))
    assert policy.report.blend.tolist() == [0, 1], "the second begins anew, the first was pushed"
    assert action[0, 1] < 0
    policy.predict(position, state)


def test_calibration_bounds_false_alarms():
    """Over many draws, the share of exchangeable episodes that set it off is at most what was asked for."""
    generator = np.random.default_rng(0)
    alarms = []
    for _ in range(200):
        episodes = [generator.normal(size=10) for _ in range(60)]
        trigger = calibrate(episodes[:59], false_alarms=0.1)
        alarms.append(episodes[59].min() < trigger.threshold)
    assert np.mean(alarms) < 0.16
    values = torch.linspace(-10, 10, 100)
    assert (trigger.blend(values).diff() >= 0).all()


def test_calibration_needs_enough_episodes():
    with pytest.raises(ValueError, match=r"5.0% false alarms need at least 19 held-out episodes, got 18"):
        calibrate([np.zeros(3)] * 18)
    with pytest.raises(ValueError, match="at least 59"):
        calibrate([np.zeros(3)] * 58, [np.zeros(3)] * 58, [np.zeros(3)] * 58)


def test_an_encoder_of_another_dimension_is_refused():
    with pytest.raises(ValueError, match=r"latents \(B, 2\) were expected.*\(1, 3\)"):
        recovery().predict(np.zeros((1, 3), np.float32))
