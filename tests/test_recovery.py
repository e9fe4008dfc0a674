"""Recovery in a plane where everything is known: a point walks a line of demonstrations and is pushed off it."""

import math

import numpy as np
import pytest
import torch
from equiact.agents.recovery.config import RecoveryConfig
from equiact.agents.recovery.conformal import Trigger, calibrate_trigger
from equiact.agents.recovery.recovery_policy import RecoveryPolicy
from equiact.envs.data.policy import Policy
from equiact.envs.storage.artifacts import ArtifactError, write_artifact
from equiact.representations.densities.kernel import KernelDensity
from equiact.representations.learning.config import ConfigError

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
    trigger = options.pop("trigger", TRIGGER)
    return RecoveryPolicy(base, lambda o: o, density(), trigger, RecoveryConfig(step=STEP, **{"patience": 0} | options))


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


def test_a_trigger_that_never_acts_leaves_the_base_policy_alone():
    """Also where the density is zero, whose logarithm is -inf."""
    assert Trigger.never().blend(torch.tensor([-math.inf, 0.0, 7.0])).tolist() == [1, 1, 1]
    halfway = Trigger(threshold=2.0, temperature=0.5).blend(torch.tensor([2.0, 2.5]))
    assert halfway.tolist() == pytest.approx([0.5, 1 / (1 + math.exp(-1))])


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
    policy = RecoveryPolicy(lambda o: ahead(o[:, :2]), lambda o: o[:, :2], fitted, TRIGGER, RecoveryConfig(STEP))
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


def test_the_base_policy_may_come_back_by_itself():
    """A base that finds its way back within the patience is left alone; one that needs longer is not."""

    def returns(observation):
        off = observation[:, 1:] > 0.1
        return np.where(off, [[0.0, -STEP]], [[STEP, 0.0]])

    def pushed(patience):
        policy = recovery(returns, patience=patience, trigger=Trigger(-2.0, 0.3))
        return walk(policy, 32, push_at=9, push=(0.0, 1.0), start=(0.5, 0.0))

    positions, blends = pushed(50)
    low = density().log_prob(torch.from_numpy(positions)).numpy() < -2
    steps = int(low.sum())
    assert steps > 3 and low[10 : 10 + steps].all() and (blends == 1).all()
    assert (pushed(steps)[1] == 1).all()
    positions, blends = pushed(2)
    assert (blends[:12] == 1).all() and (blends[12:18] == 0).all(), "it acts in the third step"
    assert np.linalg.norm(positions - positions[0], axis=1)[18:].min() < STEP, "back at the start"


def test_a_low_density_must_last_longer_than_the_patience():
    """Of ``5, 1, 4, 2, 3, 9`` the lowest of one, two and three steps in a row are 1, 3 and 4, of seven steps 9."""
    values = np.array([5.0, 1.0, 4.0, 2.0, 3.0, 9.0])
    for patience, lowest in {0: 1.0, 1: 3.0, 2: 4.0, 5: 9.0, 6: 9.0}.items():
        series = [values, *[values + 100] * 38]
        found = calibrate_trigger(series, false_alarms=0.025, patience=patience)
        assert found.threshold == lowest
    with pytest.raises(ValueError, match="patience must be an integer of at least 0, got -1"):
        calibrate_trigger([values] * 39, patience=-1)


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
        trigger = calibrate_trigger(episodes[:59], false_alarms=0.1)
        alarms.append(episodes[59].min() < trigger.threshold)
    assert np.mean(alarms) < 0.16
    values = torch.linspace(-10, 10, 100)
    assert (trigger.blend(values).diff() >= 0).all()


def test_calibration_needs_enough_episodes():
    with pytest.raises(ValueError, match=r"5.0% false alarms need at least 19 held-out episodes, got 18"):
        calibrate_trigger([np.zeros(3)] * 18)
    with pytest.raises(ValueError, match="at least 59"):
        calibrate_trigger([np.zeros(3)] * 58, [np.zeros(3)] * 58, [np.zeros(3)] * 58)


def test_an_encoder_of_another_dimension_is_refused():
    with pytest.raises(ValueError, match=r"latents \(B, 2\) were expected.*\(1, 3\)"):
        recovery().predict(np.zeros((1, 3), np.float32))


def test_it_is_a_policy_and_checks_the_shape_of_actions():
    assert isinstance(recovery(), Policy)
    with pytest.raises(ValueError, match=r"actions \(1, dim \+ 1\) were expected of the base policy, got \(1, 1\)"):
        recovery(lambda o: np.zeros((len(o), 1)), commands=1).predict(np.zeros((1, 2), np.float32))


@pytest.mark.parametrize(
    "wrong", [{"step": 0.0}, {"step": float("nan")}, {"commands": -1}, {"in_distribution_weight": 1.1}]
)
def test_a_hyperparameter_out_of_range_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        RecoveryConfig(**{"step": 0.1} | wrong)


def test_going_back_ends_at_the_arrival_distance():
    def recovering(distance):
        _, blends = walk(recovery(arrival_distance=distance), 40, push_at=9, push=(0.0, 0.5))
        return int((blends == 0).sum())

    assert recovering(0.5) > recovering(3.0) > 0


@pytest.mark.parametrize("false_alarms", [0, 1, 2, -0.1, float("nan")])
def test_a_false_alarm_rate_out_of_range_is_refused(false_alarms):
    with pytest.raises(ValueError, match="false_alarms must lie between 0 and 1"):
        calibrate_trigger([np.zeros(3)] * 100, false_alarms=false_alarms)


def test_calibration_refuses_what_is_not_finite():
    clean = [np.zeros(3)] * 100
    for bad in (np.array([0.0, np.nan]), np.array([np.inf]), np.array([])):
        with pytest.raises(ValueError, match="finite log_densities of at least one step"):
            calibrate_trigger([*clean[1:], bad])
        with pytest.raises(ValueError, match="finite dwells of at least one step"):
            calibrate_trigger(clean, (), [*clean[1:], bad])
    with pytest.raises(ValueError, match="innovations of 100 episodes were expected"):
        calibrate_trigger(clean, clean[:50])
    with pytest.raises(ValueError, match="median_odds"):
        calibrate_trigger(clean, median_odds=1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": float("nan")},
        {"threshold": float("inf")},
        {"temperature": float("nan")},
        {"temperature": -1.0},
        {"temperature": 0.0},
        {"temperature": float("inf")},
        {"innovation": float("nan")},
        {"dwell": -1.0},
    ],
)
def test_a_trigger_refuses_values_that_make_no_sense(wrong, tmp_path):
    """Made, or loaded from a card whose hash is right."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Trigger(**{"threshold": -2.0, "temperature": 0.3} | wrong)
    card = {"threshold": -2.0, "temperature": 0.3, "innovation": None, "dwell": None} | wrong
    if all(value is None or np.isfinite(value) for value in card.values()):
        write_artifact(tmp_path / "trigger", "trigger", card)
        with pytest.raises(ArtifactError, match=next(iter(wrong))):
            Trigger.load(tmp_path / "trigger")


@pytest.mark.parametrize("trigger", [TRIGGER, Trigger(-np.inf, 1.0), Trigger(-1.5, 0.2, 0.1, 12)])
def test_a_trigger_comes_back_as_it_was_saved(trigger, tmp_path):
    trigger.save(tmp_path / "trigger")
    assert Trigger.load(tmp_path / "trigger") == trigger


def test_an_altered_trigger_is_refused(tmp_path):
    TRIGGER.save(tmp_path / "trigger")
    card = tmp_path / "trigger" / "card.json"
    for old, new in (("0.3", "-0.3"), ("0.3", "NaN"), ('"dwell": null', '"dwell": 1'), ('"temperature"', '"temper"')):
        TRIGGER.save(tmp_path / "trigger")
        assert old in card.read_text()
        card.write_text(card.read_text().replace(old, new))
        with pytest.raises(ArtifactError):
            Trigger.load(tmp_path / "trigger")
    write_artifact(tmp_path / "other", "trigger", {"threshold": 0.0})
    with pytest.raises(ArtifactError, match="wrong entry"):
        Trigger.load(tmp_path / "other")


def test_thresholds_are_the_documented_order_statistics():
    rising = [np.array([float(i)]) for i in range(128)]  # ⌊0.05 / 3 · 129⌋ = 2
    trigger = calibrate_trigger(rising, rising, rising, false_alarms=0.05)
    assert (trigger.threshold, trigger.innovation, trigger.dwell) == (1.0, 126.0, 126.0)


def test_a_stuck_policy_opens_its_gripper_before_it_starts_once_more():
    """It holds something and no longer moves: recovery lets go, and goes to where the episode began."""

    def holds(observation):
        ahead = np.where(observation[:, :1] > 1.0, 0.0, STEP)
        return np.concatenate([ahead, 0 * ahead, -np.ones_like(ahead)], 1)

    policy = recovery(holds, commands=1, trigger=Trigger(-2.0, 0.3, 0.15, dwell=5))
    position, state, places, grippers, blends = np.array([[0.5, 0.0]], np.float32), None, [], [], []
    for _ in range(24):
        action, state = policy.predict(position, state)
        places.append(position[0, 0])
        grippers.append(action[0, 2])
        blends.append(policy.report.blend[0])
        position = (position + action[:, :2]).astype(np.float32)
    stuck = blends.index(0)
    recovering = slice(stuck, stuck + 3)
    assert grippers[:stuck] == [-1.0] * stuck, "the base policy holds"
    assert blends[recovering] == [0, 0, 0] and grippers[recovering] == [1.0] * 3
    assert min(places[stuck:]) < 0.5 + STEP, "back where the episode began, and not where it got stuck"
