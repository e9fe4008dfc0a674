"""Recovery around policies and in environments of others: actions and observations of every kind, calibration."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from equiact.agents.recovery.action_maps import (
    AbsoluteActionMap,
    FunctionActionMap,
    IdentityActionMap,
    LinearActionMap,
)
from equiact.agents.recovery.calibration import calibrate_recovery, trigger_of
from equiact.agents.recovery.config import RecoveryConfig
from equiact.agents.recovery.conformal import Trigger, calibrate_trigger
from equiact.agents.recovery.policy_spaces import is_single
from equiact.agents.recovery.recovery_policy import RecoveryPolicy
from equiact.envs.data.transitions import Transitions
from equiact.representations.densities.conditional_density import SceneDensity
from equiact.representations.densities.kernel import KernelConfig
from equiact.representations.densities.registry import make_density
from equiact.representations.encoders.agent_object import AgentObjectEncoder
from equiact.representations.encoders.class_pose import ClassPoseEncoder
from gymnasium.vector import AutoresetMode, SyncVectorEnv

STEP = 0.1
TRIGGER = Trigger(threshold=-2.0, temperature=0.3, innovation=0.15)
PLANE = gym.spaces.Box(-10.0, 10.0, (2,), np.float32)


def line_density(kernels=500):
    """Return a density of states along the first axis."""
    generator = torch.Generator().manual_seed(0)
    points = torch.stack([4 * torch.rand(500, generator=generator), 0.02 * torch.randn(500, generator=generator)], 1)
    density = make_density(KernelConfig(kernels=kernels), 2)
    density.fit(points)
    return density


DENSITY = line_density()


def position(observation):
    return observation["state"] if isinstance(observation, dict) else observation


def ahead(observation):
    return np.tile([STEP, 0.0], (len(position(observation)), 1))


def recovery(base=ahead, trigger=TRIGGER, density=DENSITY, encoder=position, **options):
    chosen = {key: options.pop(key) for key in ("climb", "commands", "restart", "patience") if key in options}
    config = RecoveryConfig(STEP, **{"patience": 0} | chosen)
    return RecoveryPolicy(base, encoder, density, trigger, config, **options)


def path(policy, move, steps=40, shove=9):
    """Return the positions of a walker that is shoved aside once; ``move(position, action)`` is its environment."""
    at, state, places = np.array([[0.5, 0.0]], np.float32), None, []
    for step in range(steps):
        action, state = policy.predict(at.copy(), state, np.array([step == 0]))
        places.append(at[0].copy())
        at = move(at, action).astype(np.float32) + (np.array([[0.4, 0.8]], np.float32) if step == shove else 0)
    return np.array(places)


# Actions --------------------------------------------------------------------------------------------------------------

MIX = np.array([[2.0, 1.0], [0.0, -0.5]])
"""Displacements are ``action @ MIX`` in the environment of mixed actions."""

KINDS = {
    "velocities": (
        lambda o: ahead(o) / 0.05,
        lambda at, action: at + 0.05 * action,
        FunctionActionMap(lambda moved, o: moved / 0.05, lambda action, o: action * 0.05),
    ),
    "targets": (lambda o: o + ahead(o), lambda at, action: action, AbsoluteActionMap(lambda o: o)),
    "lagging targets in millimetres": (
        lambda o: 1000 * o + 1000 * ahead(o) / 0.5,
        lambda at, action: at + 0.5 * (action / 1000 - at),
        AbsoluteActionMap(
            lambda o: 1000 * o, FunctionActionMap(lambda moved, o: moved * 2000, lambda lead, o: lead / 2000)
        ),
    ),
    "mixed, learned": (
        lambda o: ahead(o) @ np.linalg.inv(MIX),
        lambda at, action: at + action @ MIX,
        LinearActionMap(MIX, np.zeros((0, 2)), np.zeros(2)),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_way_back_does_not_depend_on_what_actions_are(kind):
    base, move, action_map = KINDS[kind]
    expected = path(recovery(), lambda at, action: at + action)
    assert expected[11:, 1].min() < 0.4 < expected[10, 1], "shoved, and on the way back"
    np.testing.assert_allclose(path(recovery(base, action_map=action_map), move), expected, atol=1e-4)


@pytest.mark.parametrize("action_map", [IdentityActionMap(), *(each[2] for each in KINDS.values())])
def test_maps_are_inverse_to_each_other(action_map):
    generator = np.random.default_rng(0)
    moved, observation = generator.normal(size=(2, 20, 2))
    action = action_map.to_action(moved, observation)
    np.testing.assert_allclose(action_map.to_displacement(action, observation), moved, atol=1e-12)


def test_commands_are_no_displacement_in_any_map():
    policy = recovery(
        lambda o: np.hstack([o + ahead(o), np.full((len(o), 1), -1.0)]), action_map=KINDS["targets"][2], commands=1
    )
    at = np.array([[0.5, 0.0]], np.float32)
    action, state = policy.predict(at)
    np.testing.assert_allclose(action, [[0.6, 0.0, -1.0]], rtol=1e-6)
    action, _ = policy.predict(np.array([[0.6, 1.0]], np.float32), state)
    np.testing.assert_allclose(action[0, 2], -1.0)
    assert abs(np.linalg.norm(action[0, :2] - [0.6, 1.0]) - STEP) < 1e-6, "a step from where it is, not from zero"


def test_a_base_that_returns_nan_stays_where_it_is_and_does_not_go_to_zero():
    policy = recovery(lambda o: np.full((len(o), 2), np.nan), action_map=AbsoluteActionMap(lambda o: o))
    action, _ = policy.predict(np.array([[3.0, 0.0]], np.float32))
    np.testing.assert_array_equal(action, [[3.0, 0.0]])


def test_actions_are_clipped_to_the_space_and_predictions_know_it():
    """A saturated way back is slower, and no alarm of its own."""
    space = gym.spaces.Box(-0.04, 0.04, (2,), np.float32)
    policy = recovery(lambda o: ahead(o) * 0.3, trigger=Trigger(-np.inf, 1.0, innovation=0.05), action_space=space)
    at, state, innovations = np.array([[0.5, 0.0]], np.float32), None, []
    for step in range(60):
        action, state = policy.predict(at, state)
        assert space.contains(action[0]), "of its type, too"
        innovations.append(policy.report.innovation[0])
        at = at + action + (np.array([[0.0, 0.8]], np.float32) if step == 5 else 0)
    assert innovations[6] > 0.7 and max(innovations[7:]) < 1e-5
    assert at[0, 1] < 0.1, "back"


def test_blending_weighs_actions_that_can_be_carried_out():
    """As published, ``(1 - p)`` weighs a recovery within the bounds, not a force of a million."""
    space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    forces = FunctionActionMap(lambda moved, o: 1e6 * moved, lambda action, o: 1e-6 * action)
    policy = recovery(lambda o: np.zeros((len(o), 2)), climb=True, action_map=forces, action_space=space)
    action, _ = policy.predict(np.array([[1.0, 0.02]], np.float32))
    blend = policy.report.blend[0]
    assert 0.5 < blend < 1 and np.abs(action).max() <= 1 - blend + 1e-6


@pytest.mark.parametrize(
    "space", [gym.spaces.Discrete(4), gym.spaces.Box(0, 5, (2,), np.int64), gym.spaces.Box(0, 1, (2, 2), np.float32)]
)
def test_actions_that_cannot_be_displaced_are_refused(space):
    with pytest.raises(ValueError, match=r"recovery needs continuous actions, a Box of real vectors, got"):
        recovery(action_space=space)


@pytest.mark.parametrize(
    ("action_map", "message"),
    [
        (FunctionActionMap(lambda d, o: d[:, :1], lambda a, o: a), r"to_action .* shape \(1, 2\), got shape \(1, 1\)"),
        (FunctionActionMap(lambda d, o: d, lambda a, o: a[0]), r"to_displacement .* shape \(1, 2\), got shape \(2,\)"),
        (FunctionActionMap(lambda d, o: d, lambda a, o: a * np.nan), "to_displacement .* values that are not finite"),
    ],
)
def test_what_a_map_returns_is_checked(action_map, message):
    with pytest.raises(ValueError, match=message):
        recovery(action_map=action_map).predict(np.zeros((1, 2), np.float32))


def test_an_action_space_of_another_size_is_refused():
    space = gym.spaces.Box(-1, 1, (3,), np.float32)
    with pytest.raises(ValueError, match=r"actions \(B, 3\) of the action space were expected, got \(1, 2\)"):
        recovery(action_space=space).predict(np.zeros((1, 2), np.float32))


# Learned maps ---------------------------------------------------------------------------------------------------------


def moves(count=500, noise=0.0, dim=2):
    """Return forces, velocities, and the displacements that they performed."""
    generator = np.random.default_rng(0)
    action, velocity = generator.normal(size=(count, dim)), generator.normal(size=(count, 2))
    moved = action[:, :2] @ MIX + 0.1 * velocity + [0.0, 0.3] + noise * generator.normal(size=(count, 2))
    return action, velocity, moved


def test_the_learned_map_finds_the_coefficients():
    action, velocity, moved = moves()
    fitted = LinearActionMap.fit(action, moved, features=lambda o: o["v"], observations={"v": velocity}, ridge=0.0)
    np.testing.assert_allclose(fitted.action_weight, MIX, atol=1e-9)
    np.testing.assert_allclose(fitted.feature_weight, 0.1 * np.eye(2), atol=1e-9)
    np.testing.assert_allclose(fitted.offset, [0.0, 0.3], atol=1e-9)
    assert fitted.explained == pytest.approx(1)
    np.testing.assert_allclose(fitted.to_action(moved, {"v": velocity}), action, atol=1e-9)


def test_of_all_actions_the_shortest_is_taken():
    action, velocity, moved = moves(dim=5)
    fitted = LinearActionMap.fit(action, moved, features=lambda o: o, observations=velocity)
    wanted = np.array([[0.1, 0.2]])
    chosen = fitted.to_action(wanted, np.zeros((1, 2)))
    np.testing.assert_allclose(fitted.to_displacement(chosen, np.zeros((1, 2))), wanted, atol=1e-9)
    assert np.abs(chosen[0, 2:]).max() < 1e-3, "the three that move nothing stay at zero"


def test_noise_and_unknown_velocities_are_averaged_out():
    action, _, moved = moves(20_000, noise=0.5)
    fitted = LinearActionMap.fit(action, moved)
    np.testing.assert_allclose(fitted.action_weight, MIX, atol=0.02)
    assert 0.9 < fitted.explained < 0.98


def test_ridge_shrinks_and_does_not_depend_on_units():
    action, _, moved = moves()
    weights = [LinearActionMap.fit(action, moved, ridge=ridge).action_weight for ridge in (0.0, 0.1, 1.0)]
    norms = [np.linalg.norm(weight) for weight in weights]
    assert norms[0] > norms[1] > norms[2] > 0
    scaled = LinearActionMap.fit(1000 * action, moved, ridge=1.0).action_weight
    np.testing.assert_allclose(1000 * scaled, weights[2], rtol=1e-6)


def test_a_direction_that_no_action_moves_is_refused():
    action, velocity, _ = moves(noise=0.1)
    for dim in (1, 2):
        with pytest.raises(ValueError, match=f"actions of dimension {dim} move the latent in 1 of 2 directions only"):
            LinearActionMap.fit(action[:, :dim] * np.arange(1, dim + 1), np.stack([action[:, 0], velocity[:, 1]], 1))
    with pytest.raises(ValueError, match="in 1 of 2 directions only"):
        LinearActionMap(np.array([[1.0, 0.0], [2.0, 0.0]]), np.zeros((0, 2)), np.zeros(2))


def test_a_map_that_explains_little_is_warned_of():
    action, velocity, moved = moves(20_000)
    with pytest.warns(UserWarning, match=r"explains 2\d% of the displacements' variance"):
        LinearActionMap.fit(action, moved + 3 * velocity)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": np.full((500, 2), np.nan)}, "actions must be finite"),
        ({"actions": np.zeros(500)}, r"actions must be finite numbers of shape \(N, size\)"),
        ({"actions": np.zeros((499, 2))}, "as many displacements as actions were expected, 499, got 500"),
        ({"displacements": np.zeros((500, 2), bool)}, "displacements must be finite numbers"),
        ({"features": lambda o: o}, "features and observations go together"),
        ({"features": lambda o: o, "observations": np.zeros((3, 2))}, "as many features as actions"),
        ({"ridge": -1.0}, "ridge must be at least 0"),
        ({"actions": np.eye(3, 2), "displacements": np.eye(3, 2)}, "more transitions than the 3 coefficients"),
    ],
)
def test_data_that_no_map_can_be_learned_from_are_refused(changes, message):
    action, _, moved = moves()
    with pytest.raises(ValueError, match=message):
        LinearActionMap.fit(**{"actions": action, "displacements": moved} | changes)


def test_a_map_is_learned_from_a_data_set():
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 255, (101, 8, 8, 3), dtype=np.uint8)
    action = generator.normal(size=(100, 3)).astype(np.float32)
    data = Transitions(frames, np.arange(100), np.arange(1, 101), action[:, :2] @ MIX, "R2", action=action)
    fitted = LinearActionMap.fit_transitions(data, commands=1)
    np.testing.assert_allclose(fitted.action_weight, MIX, atol=1e-4)
    with pytest.raises(ValueError, match="transitions with actions were expected, got none"):
        LinearActionMap.fit_transitions(replace(data, action=None))


# Observations ---------------------------------------------------------------------------------------------------------


class Plane(gym.Env):
    """A point that walks; observations of every kind."""

    def __init__(self, kind="vector", length=6, seed_of_length=None):
        self.kind, self.length, self.seed_of_length = kind, length, seed_of_length
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        image = gym.spaces.Box(0, 255, (40, 40, 3), np.uint8)
        entries = {"image": image, "state": PLANE}
        self.observation_space = PLANE if kind == "vector" else gym.spaces.Dict(entries)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.elapsed = self.np_random.normal(0, 0.1, 2), 0
        return self.observe(), {}

    def step(self, action):
        self.place = self.place + 0.1 * np.asarray(action) + self.np_random.normal(0, 0.05, 2)
        self.elapsed += 1
        ended = self.elapsed >= self.length
        return self.observe(), float(self.place[0] > 0), ended and self.kind == "vector", ended, {}

    def observe(self):
        state = self.place.astype(np.float32)
        return state if self.kind == "vector" else {"image": np.zeros((40, 40, 3), np.uint8), "state": state}


@pytest.fixture(scope="module")
def bases():
    sb3 = pytest.importorskip("stable_baselines3", reason="policies of Stable-Baselines3")
    options = {"n_steps": 8, "batch_size": 8, "seed": 0, "device": "cpu"}
    return {
        "vector": sb3.PPO("MlpPolicy", Plane(), **options),
        "dict": sb3.PPO("MultiInputPolicy", Plane("dict"), **options),
    }


@pytest.mark.parametrize("kind", ["vector", "dict"])
def test_one_observation_and_batches_give_the_same_actions(bases, kind):
    base, env = bases[kind], Plane(kind)
    single, batched = recovery(base), recovery(base)
    observation, _ = env.reset(seed=0)
    states = [None, None]
    for step in range(4):
        batch = {key: value[None] for key, value in observation.items()} if kind == "dict" else observation[None]
        alone, states[0] = single.predict(observation, states[0], step == 0)
        together, states[1] = batched.predict(batch, states[1], np.array([step == 0]))
        assert alone.shape == base.predict(observation)[0].shape == (2,)
        assert together.shape == base.predict(batch)[0].shape == (1, 2)
        np.testing.assert_array_equal(alone, together[0])
        assert env.action_space.contains(alone)
        observation = env.step(alone)[0]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_dict_observations_are_counted_by_rows_not_by_entries(bases, count):
    observation, _ = Plane("dict").reset(seed=0)
    batch = {key: np.stack([value] * count) for key, value in observation.items()}
    policy = recovery(bases["dict"])
    action, state = policy.predict(batch, None, np.ones(count, bool))
    assert action.shape == (count, 2) and policy.report.blend.shape == (count,)
    policy.predict(batch, state, np.arange(count) == 0)


def test_evaluation_of_stable_baselines_plays_the_policy(bases):
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import DummyVecEnv

    for kind, base in bases.items():
        env = DummyVecEnv([lambda kind=kind: Plane(kind)] * 3)
        _, lengths = evaluate_policy(
            recovery(base), env, n_eval_episodes=6, return_episode_rewards=True, warn=False, deterministic=False
        )
        assert lengths == [6] * 6


def test_functions_say_what_one_observation_is():
    policy = recovery(observation_space=PLANE)
    assert policy.predict(np.zeros(2, np.float32))[0].shape == (2,)
    assert policy.predict(np.zeros((3, 2), np.float32))[0].shape == (3, 2)
    for wrong in (np.zeros((1, 1, 2)), np.float32(0)):
        with pytest.raises(ValueError, match=r"expected one observation \(2,\) or a batch of them, got an array"):
            policy.predict(wrong)
    for wrong in (np.zeros(2, np.float32), {"state": np.zeros(2), "speed": 1.0}, (np.zeros(2),), np.float32(0), {}):
        with pytest.raises(ValueError, match=r"expected a batch of observations, got .* pass observation_space= to"):
            recovery().predict(wrong)


def test_entries_of_a_batch_may_be_numbers():
    """Without a space, also where the encoder declares images, and the observation is a Dict."""
    batch = {"inner": {"state": np.zeros((3, 2))}, "gripper": np.zeros(3)}
    assert not is_single(batch, None) and not is_single(batch, gym.spaces.Box(0, 255, (8, 8, 3), np.uint8))


def test_other_spaces_name_what_is_wrong():
    mixed = recovery(observation_space=Plane("dict").observation_space)
    with pytest.raises(ValueError, match="got entries of both kinds"):
        mixed.predict({"image": np.zeros((40, 40, 3), np.uint8), "state": np.zeros((1, 2), np.float32)})
    with pytest.raises(ValueError, match=r"got one with the entries \['state', 'speed'\]"):
        mixed.predict({"state": np.zeros(2, np.float32), "speed": np.zeros(2, np.float32)})


def test_a_state_of_another_batch_is_refused():
    policy = recovery()
    _, state = policy.predict(np.zeros((3, 2), np.float32))
    with pytest.raises(ValueError, match="a state of 2 episodes was expected, one for each observation, got one of 3"):
        policy.predict(np.zeros((2, 2), np.float32), state, np.array([True, False]))


def test_encoders_find_their_image_among_dict_observations():
    torch.manual_seed(0)
    encoder = AgentObjectEncoder((16, 16, 3), "R2").eval()
    image = np.random.default_rng(0).integers(0, 255, (2, 16, 16, 3), dtype=np.uint8)
    scenes = SceneDensity((16, 16, 3), dim=2, commands=0)
    scenes.standardise(torch.randn(20, 2))
    scenes.density.standardise(torch.randn(20, 2))

    def base(observation):
        return np.zeros((2, 2))

    for density in (DENSITY, scenes):
        policy = recovery(base, density=density, encoder=encoder)
        policy.predict(image)
        expected = policy.report.latent
        policy.predict({"camera": image, "state": np.zeros((2, 3), np.float32)})
        np.testing.assert_array_equal(policy.report.latent, expected)
        two = {"left": image, "right": image[::-1].copy()}
        with pytest.raises(ValueError, match=r"several images; pass image_key= one of \['left', 'right'\]"):
            policy.predict(two)
        chosen = recovery(base, density=density, encoder=encoder, image_key="left")
        chosen.predict(two)
        np.testing.assert_array_equal(chosen.report.latent, expected)
    with pytest.raises(ValueError, match=r"expected Dict observations with an image .* got the entries \['state'\]"):
        policy.predict({"state": np.zeros((2, 3), np.float32)})
    one = recovery(lambda o: np.zeros((len(o), 2)), encoder=encoder).predict(image[0])[0]
    assert one.shape == (2,), "an encoder knows the shape of an image"


def test_groups_that_are_no_translations_are_refused():
    for group in ("SO2", "SO3"):
        with pytest.raises(
            ValueError, match=f"by translations R\\^n of the latent; got an encoder of the group {group}"
        ):
            recovery(encoder=ClassPoseEncoder((16, 16, 3), group))


# Calibration ----------------------------------------------------------------------------------------------------------


def watching(**options):
    return recovery(
        trigger=Trigger.never(), **{"action_map": FunctionActionMap(lambda d, o: 10 * d, lambda a, o: a / 10)} | options
    )


def standing(observation):
    return np.zeros((len(position(observation)), 2))


@pytest.mark.parametrize("kind", ["vector", "dict"])
def test_all_alarms_are_calibrated_in_any_environment(kind):
    alarms = ("density", "innovation", "dwell")
    trigger = calibrate_recovery(Plane(kind, length=8), watching(base=standing), episodes=100, seed=0, alarms=alarms)
    assert -20 < trigger.threshold < 0
    assert 0.05 < trigger.innovation < 0.3, "the noise of the environment, of which actions know nothing"
    assert 1 <= trigger.dwell <= 8


def test_the_thresholds_are_those_of_the_episodes():
    """Play the same episodes by hand, and calibrate on what the policy reports."""
    env, policy = Plane(length=5), watching(base=standing)
    played = {"log_density": [], "innovation": [], "dwell": []}
    observation, _ = env.reset(seed=int(np.random.default_rng(3).integers(2**31)))
    for _ in range(60):
        state, done, rows = None, False, []
        while not done:
            _, state = policy.predict(observation[None], state)
            rows.append(policy.report)
            observation, _, done, _, _ = env.step(np.zeros(2))
        for name, series in played.items():
            series.append(np.array([getattr(row, name)[0] for row in rows]))
        observation, _ = env.reset()
    alarms = ("density", "innovation", "dwell")
    assert calibrate_recovery(env, policy, episodes=60, seed=3, alarms=alarms) == calibrate_trigger(*played.values())
    two = calibrate_trigger(played["log_density"], (), played["dwell"])
    assert calibrate_recovery(env, policy, episodes=60, seed=3) == two, "by default"


@pytest.fixture(scope="module")
def clean_episodes():
    """Return many clean episodes, as `calibrate_recovery` sees them."""
    episodes = []
    env = SyncVectorEnv([lambda: Plane(length=5)] * 50)
    policy = watching(base=standing, density=line_density(20))
    calibrate_recovery(env, policy, episodes=6000, seed=0, keep=lambda each: not episodes.append(each))
    return episodes


@pytest.mark.parametrize("patience", [0, 2])
@pytest.mark.parametrize(
    "alarms", [("density",), ("innovation",), ("density", "dwell"), ("density", "innovation", "dwell")]
)
def test_false_alarms_are_as_rare_as_promised_on_average(alarms, patience, clean_episodes):
    """Test one new episode after each of many calibrations; a density alone keeps the whole share."""
    raised = []
    for start in range(0, len(clean_episodes), 30):
        *calibration, new = clean_episodes[start : start + 30]
        trigger = trigger_of(calibration, alarms, 0.2, patience)
        low = "".join("x" if each else " " for each in new.log_density < trigger.threshold)
        alarm = (new.innovation > trigger.innovation) | (new.dwell > trigger.dwell)
        raised.append(alarm.any() or max(map(len, low.split()), default=0) > patience)
    margin = 3 * np.sqrt(0.2 * 0.8 / len(raised))
    assert np.mean(raised) < 0.2 + margin
    if alarms == ("density",):
        assert np.mean(raised) > 0.2 - margin, "of a single alarm the bound is tight: 6 of 30 ranks"


def test_an_alarm_is_what_makes_the_policy_act():
    env, never = Plane(length=8), watching(base=standing)
    policy = never.with_trigger(calibrate_recovery(env, never, episodes=30, seed=0, false_alarms=0.5))
    for seed in range(20):
        observation, _ = env.reset(seed=seed)
        state, done, trigger = None, False, policy.trigger
        while not done:
            action, state = policy.predict(observation[None], state)
            report = policy.report
            alarm = report.innovation > trigger.innovation or report.log_density < trigger.threshold
            assert not (report.blend[0] < 0.5) or alarm or report.dwell > trigger.dwell or state.returning[0]
            observation, _, done, _, _ = env.step(action[0])


class Unequal(Plane):
    """Long episodes lie higher."""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = np.array([0.0, self.length / 50])
        return self.observe(), {}


def test_short_episodes_are_not_preferred():
    """The first 40 episodes to end would be short ones nearly all; each environment plays its share instead."""
    env = SyncVectorEnv([lambda: Unequal(length=2), lambda: Unequal(length=40)])
    lengths = []
    calibrate_recovery(
        env,
        watching(base=standing),
        episodes=41,
        seed=0,
        false_alarms=0.2,
        keep=lambda episode: lengths.append(len(episode.reward)) or True,
    )
    assert sorted(lengths) == [2] * 21 + [40] * 20


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_resets_of_every_kind_calibrate_alike(mode):
    env = SyncVectorEnv([lambda: Plane(length=4)] * 3, autoreset_mode=mode)
    reference = SyncVectorEnv([lambda: Plane(length=4)] * 3, autoreset_mode=AutoresetMode.NEXT_STEP)
    triggers = [calibrate_recovery(each, watching(base=standing), episodes=60, seed=1) for each in (env, reference)]
    assert triggers[0] == triggers[1]


def test_the_user_may_say_which_episodes_are_clean():
    env, kept = Plane(length=6), []

    def keep(episode):
        kept.append(episode.episode_return >= 3)
        return kept[-1]

    some = calibrate_recovery(env, watching(base=standing), episodes=200, seed=0, keep=keep)
    assert 20 < sum(kept) < 180
    assert some != calibrate_recovery(env, watching(base=standing), episodes=200, seed=0)
    with pytest.raises(ValueError, match="keep accepted none of 20 episodes"):
        calibrate_recovery(env, watching(base=standing), episodes=20, seed=0, keep=lambda episode: False)


def test_policies_that_climb_are_calibrated_too():
    """They act at once: there is no patience, whatever the configuration says."""
    env = Plane(length=5)
    policy = watching(base=standing, climb=True, patience=3)
    climbing = calibrate_recovery(env, policy, episodes=40, seed=0, alarms=("density",))
    assert climbing == calibrate_recovery(env, watching(base=standing), episodes=40, seed=0, alarms=("density",))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"watching": recovery()},
            ValueError,
            r"got one whose trigger can act; pass policy.with_trigger\(Trigger.never",
        ),
        ({"watching": standing}, TypeError, r"expected a RecoveryPolicy with Trigger.never\(\), got function"),
        ({"env": "Plane-v0"}, TypeError, "expected a Gymnasium environment"),
        ({"episodes": 0}, ValueError, "episodes must be an integer of at least 1, got 0"),
        ({"seed": -1}, ValueError, "seed must be an integer of at least 0, got -1"),
        ({"false_alarms": 1.0}, ValueError, "false_alarms must lie between 0 and 1"),
        ({"alarms": ("smoke",)}, ValueError, "alarms must be at least one of"),
        ({"episodes": 38}, ValueError, "5.0% false alarms need at least 39 held-out episodes, got 38"),
        ({"env": Plane(length=10**9)}, ValueError, "an episode did not end within 30 steps"),
        ({"watching": watching(base=lambda o: np.full((1, 2), np.nan))}, ValueError, "finite actions of the base"),
        ({"watching": watching(base=standing, encoder=lambda o: o * np.nan)}, ValueError, "finite log densities"),
    ],
)
def test_what_cannot_be_calibrated_on_is_refused(changes, error, message):
    options = {"env": Plane(), "watching": watching(base=standing), "episodes": 60, "seed": 0, "max_episode_steps": 30}
    options |= changes
    with pytest.raises(error, match=message):
        calibrate_recovery(options.pop("env"), options.pop("watching"), **options)


def test_calibration_accepts_tensors_and_lists():
    episodes = [[1.0 + i, 2.0] for i in range(40)]
    expected = calibrate_trigger([np.array(each) for each in episodes])
    assert calibrate_trigger(episodes) == expected
    assert (
        calibrate_trigger([torch.tensor(each, requires_grad=True, dtype=torch.float64) for each in episodes])
        == expected
    )
    with pytest.raises(ValueError, match="got values of type bool in episode 0"):
        calibrate_trigger([np.zeros(3, bool)] * 40)


def test_another_trigger_leaves_the_first_policy_alone():
    policy = watching()
    acting = policy.with_trigger(TRIGGER)
    acting.predict(np.full((1, 2), 9.0, np.float32))
    assert not policy.trigger.can_act and acting.trigger.can_act and policy.report is None
