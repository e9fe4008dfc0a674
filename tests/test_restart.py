"""Restarts by odometry: what starts the way back, where it ends, and what the base policy is handed."""

import math

import numpy as np
import pytest
from equiact.agents.evaluation.paired_evaluation import calibrate_restart, run_trial
from equiact.agents.policies.experts import expert
from equiact.agents.recovery.conformal import calibrate_bound
from equiact.agents.recovery.restart import RestartConfig, RestartPolicy
from equiact.envs.worlds.registry import world_class
from equiact.envs.wrappers.task_perturbation import TaskPerturbation
from equiact.representations.learning.config import ConfigError

RIGHT = np.array([0.1, 0.0, -1.0])
"""Action of the base policy: to the right, with a closed gripper."""


class Rightwards:
    """Moves to the right and closes the gripper; remembers where it was told that an episode starts."""

    def __init__(self):
        self.starts = []

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        self.starts.append(episode_start.tolist())
        return np.tile(RIGHT, (len(observation), 1)), state


def play(config, shifts, episode_starts=None):
    """Return the actions ``(T, B, 3)`` in a plane without obstacles, the policy and its base.

    Args:
        config: of the policy.
        shifts: displacements that are added to those of the actions, ``(T, B, 2)``.
        episode_starts: ``(T, B)`` bool; the first step if None.
    """
    base, state, actions = Rightwards(), None, []
    policy = RestartPolicy(base, config)
    steps, count, _ = np.shape(shifts)
    starts = np.arange(steps)[:, None] == np.zeros(count) if episode_starts is None else episode_starts
    for shift, start in zip(np.asarray(shifts), starts, strict=True):
        action, state = policy.predict(np.zeros((count, 4)), state, start)
        actions.append(action)
        policy.add_displacement(action[:, :2] + shift)
    return np.array(actions), policy, base


def shifts_of(steps, count=1, **at):
    """Return zeros ``(steps, count, 2)`` but for the shifts ``s1=(0, 0.3)`` in episode 0 in step 1, and so on."""
    shifts = np.zeros((steps, count, 2))
    for name, shift in at.items():
        shifts[int(name[1:]), 0] = shift
    return shifts


def test_a_shift_starts_the_way_back_to_the_start_of_its_episode_alone():
    """Step 1 shifts the first episode to (0.2, 0.3): the way back takes four steps of at most 0.1."""
    config = RestartConfig(0.1, 2, innovation=0.01)
    actions, _, base = play(config, shifts_of(9, 2, s1=(0, 0.3)))
    expected = np.tile(RIGHT, (9, 2, 1))
    back = np.array([-0.2, -0.3]) / math.hypot(0.2, 0.3)
    expected[2:5, 0] = [*(0.1 * back), 1.0]
    expected[5, 0] = [*((math.hypot(0.2, 0.3) - 0.3) * back), 1.0]
    np.testing.assert_allclose(actions, expected, atol=1e-12)
    assert base.starts == [[True, True], *[[False, False]] * 5, [True, False], *[[False, False]] * 2]


def test_a_shift_below_the_bound_is_ignored():
    actions, policy, _ = play(RestartConfig(0.1, 2, innovation=0.3), shifts_of(4, s1=(0, 0.3)))
    assert (actions == RIGHT).all()
    np.testing.assert_allclose(policy.report.innovation, 0.0, atol=1e-12)


@pytest.mark.parametrize("at", [2, 3])
def test_a_shift_on_the_way_back_is_made_up_for(at):
    """Whatever happens on the way, the positions add up to the start before the base policy begins anew."""
    shifts = shifts_of(14, s1=(0, 0.3), **{f"s{at}": (0.05, -0.2)})
    actions, _, base = play(RestartConfig(0.1, 2, innovation=0.01), shifts)
    handed_over = 1 + [start for (start,) in base.starts[1:]].index(True)
    np.testing.assert_allclose((actions[:, :, :2] + shifts)[:handed_over].sum(0), 0, atol=0.01)
    assert (actions[2:handed_over, 0, 2] == 1).all() and (actions[handed_over:] == RIGHT).all()


def test_the_way_back_ends_within_the_arrival_distance():
    """0.35 from the start: after three steps 0.05 are left, which is within 0.6 steps."""
    shifts = shifts_of(7, s0=(-0.1, 0.35))
    for arrival, steps_back in ((0.6, 3), (0.4, 4)):
        actions, _, _ = play(RestartConfig(0.1, 2, innovation=0.01, arrival_distance=arrival), shifts)
        assert (actions[:, 0, 2] == 1).sum() == steps_back


def test_a_period_restarts_again_and_again():
    """Two steps of the base policy, two steps back; the gripper is open on the way back."""
    actions, _, base = play(RestartConfig(0.1, 2, period=2), shifts_of(10))
    assert actions[:, 0, 2].tolist() == [-1, -1, 1, 1] * 2 + [-1, -1]
    assert np.flatnonzero(base.starts).tolist() == [0, 4, 8]


def test_without_a_trigger_it_never_restarts():
    actions, policy, base = play(RestartConfig(0.1, 2), shifts_of(30, s1=(0, 5.0)))
    assert (actions == RIGHT).all() and sum(start for (start,) in base.starts) == 1
    assert policy.report.blend.tolist() == [1.0]


def test_the_report_tells_the_innovation_and_who_acts():
    policy = RestartPolicy(Rightwards(), RestartConfig(0.1, 2, innovation=0.01))
    _, state = policy.predict(np.zeros((2, 4)))
    policy.add_displacement(np.array([[0.1, 0.0], [0.1, 0.4]]))
    policy.predict(np.zeros((2, 4)), state)
    np.testing.assert_allclose(policy.report.innovation, [0.0, 0.4])
    assert policy.report.blend.tolist() == [1.0, 0.0]


def test_a_new_episode_has_a_start_of_its_own():
    """The reset in step 2 moves the arm by metres, which is no displacement; the next shift is relative to it."""
    starts = np.zeros((6, 1), bool)
    starts[[0, 2]] = True
    actions, _, _ = play(RestartConfig(0.1, 2, innovation=0.01), shifts_of(6, s1=(7.0, 7.0), s2=(0, 0.1)), starts)
    assert actions[:, 0, 2].tolist() == [-1, -1, -1, 1, 1, -1]
    np.testing.assert_allclose(actions[3:5, 0, :2].sum(0), [-0.1, -0.1])


def test_a_step_without_odometry_is_an_error():
    policy = RestartPolicy(Rightwards(), RestartConfig(0.1, 2, period=3))
    _, state = policy.predict(np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"displacements \(2, 2\) of the last step were expected, got none; call add_"):
        policy.predict(np.zeros((2, 4)), state)
    policy.add_displacement(np.zeros((2, 2)))
    _, state = policy.predict(np.zeros((2, 4)), state)
    with pytest.raises(ValueError, match="got none"):
        policy.predict(np.zeros((2, 4)), state)
    policy.add_displacement(np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"got \(3, 2\)"):
        policy.predict(np.zeros((2, 4)), state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 0.0}, "step must be above 0"),
        ({"dim": 0}, "dim must be at least 1"),
        ({"innovation": -0.1}, "innovation must be at least 0"),
        ({"innovation": math.nan}, "innovation must"),
        ({"period": 0.5}, "period must be at least 1"),
        ({"arrival_distance": -1.0}, "arrival_distance must be at least 0"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        RestartConfig(**{"step": 0.1, "dim": 2, **options})


def test_the_bound_is_a_conformal_quantile():
    """Of 39 largest values 5 % of 40 may be exceeded: the second largest."""
    largest = np.random.default_rng(0).permutation(39).astype(float)
    series = [np.array([0.0, value, -1.0]) for value in largest]
    assert calibrate_bound(series, 0.05) == 37 and calibrate_bound(series, 0.025) == 38
    with pytest.raises(ValueError, match=r"5\.0% false alarms need at least 19 held-out episodes, got 18"):
        calibrate_bound(series[:18], 0.05)
    with pytest.raises(ValueError, match="false_alarms must lie between 0 and 1"):
        calibrate_bound(series, 0.0)


@pytest.fixture(scope="module")
def started():
    world = world_class("Push")(4, resolution=(16, 16), device="cpu", max_episode_steps=60)
    world.reset(np.arange(4), np.random.default_rng(0).spawn(4))
    return world, world.save()


def test_the_bound_of_a_world_is_that_of_its_successful_clean_episodes(started):
    """The expert is carried out to the millimetre; in the two episodes that fail it demands what the arm cannot do."""
    world, initial = started

    def base(observation):
        action = expert(world)
        action[2:] = [0.0, -5.0, 0.0, 1.0]
        return action

    watching = RestartPolicy(base, RestartConfig(world.max_displacement, 3))
    found = calibrate_restart(world, initial, watching, false_alarms=0.9)
    trial = run_trial(world, initial, watching)
    assert trial.success.tolist() == [True, True, False, False] and not trial.triggered.any()
    largest = [trial.episode("innovation", index).max() for index in range(4)]
    assert found.innovation == sorted(largest[:2])[0] < 0.005 < min(largest[2:])
    assert found.threshold == -math.inf and found.dwell == math.inf


def test_a_dragged_arm_drives_back_and_the_expert_begins_anew(started):
    """Where the way back ends the hand is at its start, which odometry alone has told."""
    world, initial = started
    world.restore(initial)
    home, positions = world.agent_pose(), []

    def base(observation):
        positions.append(world.agent_pose())
        return expert(world)

    push = TaskPerturbation(0.01, onset=1, duration=10, idle=2)
    policy = RestartPolicy(base, RestartConfig(world.max_displacement, 3, innovation=0.005))
    trial = run_trial(world, initial, policy, push)
    assert trial.success.all() and trial.triggered.all()
    away = np.linalg.norm(np.array(positions) - home, axis=2)
    for episode in range(4):
        end = push.end + int(trial.recovery_steps[episode])
        assert away[push.end, episode] > 0.03 and away[end, episode] < 0.1 * world.max_displacement
        assert (np.diff(away[push.end : end + 1, episode]) < 0).all()
    without = run_trial(world, initial, RestartPolicy(base, RestartConfig(world.max_displacement, 3)), push)
    assert not without.triggered.any()
