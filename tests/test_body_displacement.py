"""Displacements of bodies in environments that others wrote, and errors of odometry."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from equiact.envs.data.collect import collect
from equiact.envs.env_factory import make_env
from equiact.envs.lie_groups.group import GroupError
from equiact.envs.lie_groups.registry import group_from_name
from equiact.envs.mujoco_envs.body_displacement import BodyDisplacement
from equiact.envs.mujoco_envs.mujoco_scene import MujocoScene, NoMujocoError
from equiact.envs.mujoco_envs.odometry_noise import OdometryNoise
from equiact.envs.simulation.dependencies import import_mujoco
from numpy.testing import assert_allclose, assert_array_equal

mujoco = import_mujoco()
PUSHER = {"body": "tips_arm", "group": "R2"}
CASES = {
    "pusher R2": ("Pusher-v5", None, PUSHER),
    "pusher R1": ("Pusher-v5", None, {"body": "tips_arm", "group": "R1", "plane": "z"}),
    "pusher R3": ("Pusher-v5", None, {"body": "tips_arm", "group": "R3"}),
    "pusher joints": (
        "Pusher-v5",
        None,
        {"joints": ["r_shoulder_pan_joint", "r_elbow_flex_joint"], "group": "SO2xSO2"},
    ),
    "reacher": ("Reacher-v5", None, {"body": "fingertip", "group": "R2"}),
    "reacher joints": ("Reacher-v5", None, {"joints": ["joint0", "joint1"], "group": "SO2xR1"}),
    "ant SE2": ("Ant-v5", None, {"body": "torso", "group": "SE2"}),
    "ant SE2 of its own": ("Ant-v5", None, {"body": "torso", "group": "SE2", "frame": "body"}),
    "ant SO3": ("Ant-v5", None, {"body": "torso", "group": "SO3"}),
    "ant SO3 of its own": ("Ant-v5", None, {"body": "torso", "group": "SO3", "frame": "body"}),
    "ant R3xSO3": ("Ant-v5", None, {"body": "torso", "group": "R3xSO3"}),
    "ant root": ("Ant-v5", None, {"joints": "root", "group": "R3xSO3"}),
    "cheetah": ("HalfCheetah-v5", None, {"body": "torso", "group": "SE2", "plane": "xz"}),
    "finger": ("dm_control/finger-spin-v0", "shimmy", {"joints": "hinge", "group": "SO2"}),
    "finger tip": ("dm_control/finger-spin-v0", "shimmy", {"site": "touchtop", "group": "R2", "plane": "xz"}),
    "cube": ("cube-single-v0", "ogbench", {"site": "ur5e/robotiq/pinch", "group": "R3"}),
    "cube with turn": ("cube-single-v0", "ogbench", {"site": "ur5e/robotiq/pinch", "group": "R3xSO2"}),
}
"""Environment, package that must be imported, arguments."""


def make(case: str, **options: Any) -> BodyDisplacement:
    spec, package, arguments = CASES[case]
    if package is not None:
        pytest.importorskip(package)
    return BodyDisplacement(make_env(spec, imports=[package] if package else ()), **arguments, **options)


def current(env: gym.Env[Any, Any]) -> Any:
    """Return a copy of the data with all poses computed."""
    scene = MujocoScene(env)
    data = mujoco.MjData(scene.model)
    data.qpos[:] = scene.data.qpos
    mujoco.mj_forward(scene.model, data)
    return data


def play(env: gym.Env[Any, Any], steps: int, seed: int = 0) -> list[Any]:
    """Return the displacements of some random steps."""
    env.reset(seed=seed)
    env.action_space.seed(seed)
    return [env.step(env.action_space.sample())[4]["displacement"] for _ in range(steps)]


@pytest.mark.parametrize("case", CASES)
def test_displacements_compose_to_the_total(case: str) -> None:
    env = make(case)
    group = env.group
    _, info = env.reset(seed=1)
    assert_array_equal(info["displacement"], group.identity())
    env.action_space.seed(1)
    start, total, moved = env._reader.pose(), group.identity(), 0.0
    for _ in range(15):
        performed = env.step(env.action_space.sample())[4]["displacement"]
        group.validate(performed, "displacement")
        moved = max(moved, float(np.abs(performed - group.identity()).max()))
        total = group.compose(performed, total)
    end = env._reader.pose()
    turned = (group.inverse(start), group.inverse(end)) if env._frame == "body" else (start, end)
    assert_allclose(group.compose(total, turned[0]), turned[1], atol=1e-9)
    if case != "finger":  # the finger does not reach the spinner in so few random steps
        assert moved > 1e-4
    env.close()


def test_the_spinner_turns_when_its_joint_does() -> None:
    env = make("finger")
    env.reset(seed=0)
    MujocoScene(env).data.qvel[2] = 3.0
    before = MujocoScene(env).data.qpos[2]
    performed = env.step(np.zeros(2))[4]["displacement"]
    turned = MujocoScene(env).data.qpos[2] - before
    assert abs(turned) > 0.01
    assert_allclose(performed, [np.cos(turned), np.sin(turned)], atol=1e-12)


@pytest.mark.parametrize(
    ("spec", "body", "plane"),
    [("Pusher-v5", "tips_arm", "xy"), ("Pusher-v5", "tips_arm", "zx"), ("Ant-v5", "torso", "yz")],
)
def test_translations_are_differences_of_positions(spec: str, body: str, plane: str) -> None:
    env = BodyDisplacement(gym.make(spec), body=body, group="R2", plane=plane)
    env.reset(seed=3)
    env.action_space.seed(3)
    axes = ["xyz".index(axis) for axis in plane]
    for _ in range(5):
        before = current(env).body(body).xpos.copy()
        performed = env.step(env.action_space.sample())[4]["displacement"]
        assert_allclose(performed, (current(env).body(body).xpos - before)[axes], atol=1e-12)


def test_rotations_of_space_act_from_the_left() -> None:
    worlds = BodyDisplacement(gym.make("Ant-v5"), body="torso", group="SO3")
    own = BodyDisplacement(gym.make("Ant-v5"), body="torso", group="SO3", frame="body")
    for env in (worlds, own):
        env.reset(seed=3)
    action = np.full(8, 0.7, np.float32)
    for _ in range(5):
        before = current(worlds).body("torso").xmat.reshape(3, 3).copy()
        performed = worlds.step(action)[4]["displacement"].reshape(3, 3)
        backward = own.step(action)[4]["displacement"].reshape(3, 3)
        after = current(worlds).body("torso").xmat.reshape(3, 3)
        assert_allclose(performed @ before, after, atol=1e-9)
        assert_allclose(before @ backward.T, after, atol=1e-9)  # the inverse of the motion in the body's own frame


def test_a_turn_in_the_plane_has_the_sign_of_its_axes() -> None:
    env = BodyDisplacement(gym.make("Ant-v5"), body="torso", group="SE2")
    env.reset(seed=0)
    data = MujocoScene(env).data
    angle = 0.3
    data.qpos[:7] = [1.0, 2.0, 0.75, np.cos(angle / 2), 0, 0, np.sin(angle / 2)]
    assert_allclose(env._reader.pose(), [1.0, 2.0, np.cos(angle), np.sin(angle)], atol=1e-12)
    swapped = BodyDisplacement(env.unwrapped, body="torso", group="SE2", plane="yx")
    assert_allclose(swapped._reader.pose(), [2.0, 1.0, np.cos(angle), -np.sin(angle)], atol=1e-12)


def test_nothing_moves_nothing() -> None:
    env = BodyDisplacement(gym.make("Pusher-v5"), body="world", group="R3xSO3")
    for performed in play(env, 3):
        assert_array_equal(performed, env.group.identity())


@pytest.mark.parametrize("spec", ["Reacher-v5", "Ant-v5"])
def test_the_environment_is_unchanged(spec: str) -> None:
    """The data must not be touched: rewards compare positions that are older than the joints."""
    plain, wrapped = gym.make(spec), BodyDisplacement(gym.make(spec), body="world", group="R3")
    assert_array_equal(plain.reset(seed=2)[0], wrapped.reset(seed=2)[0])
    plain.action_space.seed(2)
    for _ in range(10):
        action = plain.action_space.sample()
        expected, found = plain.step(action), wrapped.step(action)
        assert_array_equal(expected[0], found[0])
        assert expected[1:4] == found[1:4]
        assert {**expected[4], "displacement": None}.keys() == found[4].keys()


def test_spec_makes_the_same_environment() -> None:
    env = BodyDisplacement(gym.make("Pusher-v5"), **PUSHER, noise=[0.1, 0.2], bias=0.01, drift=0.02)
    text = env.spec.to_json()
    for spec in (env.spec, gym.envs.registration.EnvSpec.from_json(text)):
        assert_array_equal(play(gym.make(spec), 4), play(env, 4))
    joints = BodyDisplacement(gym.make("Reacher-v5"), joints=("joint0",), group=group_from_name("SO2"))
    assert gym.make(joints.spec).get_wrapper_attr("group") == group_from_name("SO2")


def test_noise_is_determined_by_the_seed_and_differs_from_episode_to_episode() -> None:
    exact, noisy = make("pusher R2"), make("pusher R2", noise=0.1)
    errors = np.subtract(play(noisy, 50), play(exact, 50))
    assert_array_equal(errors, np.subtract(play(noisy, 50), play(exact, 50)))
    assert 0.07 < errors.std() < 0.13
    noisy.reset()
    noisy.action_space.seed(0)
    assert np.abs(noisy.step(np.zeros(7, np.float32))[4]["displacement"] - errors[0]).max() > 0


def test_bias_noise_and_drift_have_their_definitions() -> None:
    group, zero = group_from_name("R2"), np.zeros(2)

    def errors(episodes: int, steps: int, **sizes: Any) -> Any:
        odometry, generator = OdometryNoise(group, **sizes), np.random.default_rng(0)
        found = []
        for _ in range(episodes):
            odometry.start(generator)
            found.append([odometry.measure(zero) for _ in range(steps)])
        return np.array(found)

    assert_array_equal(errors(2, 3, bias=[0.5, -1.0]), np.tile([0.5, -1.0], (2, 3, 1)))
    assert_allclose(errors(2000, 2, noise=[0.1, 0.3]).std((0, 1)), [0.1, 0.3], rtol=0.05)
    assert_allclose(errors(4000, 9, drift=0.1, bias=1.0).std(0)[[0, 3, 8], 0], [0.1, 0.2, 0.3], rtol=0.05)
    assert_array_equal(errors(3, 4), np.zeros((3, 4, 2)))


@pytest.mark.parametrize("name", ["SE2", "SO3", "R3xSO3"])
def test_errors_multiply_from_the_left(name: str) -> None:
    group = group_from_name(name)
    bias = np.linspace(0.1, 0.3, group.tangent_dim)
    odometry, displacement = OdometryNoise(group, bias=bias), group.random(np.random.default_rng(0), 1)[0]
    odometry.start(np.random.default_rng(0))
    assert_allclose(odometry.measure(displacement), group.compose(group.exp(bias), displacement), atol=1e-12)


@pytest.mark.parametrize("make_vector", ["make_vec", "SyncVectorEnv"])
def test_collects_from_a_vector_environment(make_vector: str) -> None:
    wrap = partial(BodyDisplacement, **PUSHER)
    if make_vector == "make_vec":
        envs = gym.make_vec("Pusher-v5", 2, vectorization_mode="sync", wrappers=[wrap, Photographed])
    else:
        envs = gym.vector.SyncVectorEnv([lambda: Photographed(wrap(gym.make("Pusher-v5")))] * 2)
    transitions = collect(envs, 30, seed=0, group="R2")
    assert transitions.displacement.shape == (30, 2)
    assert (np.abs(transitions.displacement).max(1) > 1e-5).all()


class Photographed(gym.ObservationWrapper[Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Observe a picture of the position: a stand-in for pixels."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)
        self.observation_space = gym.spaces.Box(0, 255, (8, 8, 3), np.uint8)

    def observation(self, observation: Any) -> Any:
        return np.resize(np.abs(np.asarray(observation) * 40).astype(np.uint8), (8, 8, 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one of body, site and joints must be given, got none"),
        ({"joints": []}, "exactly one of body, site and joints"),
        ({"body": "tips_arm", "site": "tip"}, "exactly one of body, site and joints must be given, got {'body'"),
        ({"body": "tipsarm"}, "the model has no body 'tipsarm'; did you mean 'tips_arm'.* It has world, r_shoulder"),
        ({"body": ""}, "the model has no body ''"),
        ({"site": "tip"}, "the model has no site 'tip'. It has none with a name"),
        ({"joints": "elbow"}, "the model has no joint 'elbow'. It has r_shoulder_pan_joint"),
        (
            {"body": "tips_arm", "plane": "xx"},
            "plane must be two different letters of x, y and z, such as 'xy', got 'xx'",
        ),
        ({"body": "tips_arm", "plane": "x"}, "plane must name two different axes for the group R2"),
        ({"body": "tips_arm", "frame": "robot"}, "frame must be 'world' or 'body', got 'robot'"),
        ({"body": "tips_arm", "noise": -0.1}, "noise must be one finite number of at least 0, or 2 of them"),
        (
            {"body": "tips_arm", "bias": [0.1, 0.2, 0.3]},
            "bias must be one finite number, or 2 of them for the group R2",
        ),
        ({"body": "tips_arm", "drift": float("nan")}, "drift must be one finite number of at least 0"),
    ],
)
def test_refuses_what_is_not_there(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BodyDisplacement(gym.make("Pusher-v5"), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"body": "tips_arm", "group": "SE3"}, "unknown group 'SE3'"),
        ({"body": "tips_arm", "group": "C4"}, "the group C4 cannot be read from a body or site; choose R1, R2, R3"),
        ({"body": "tips_arm", "group": "R4"}, "the group R4 cannot be read from a body or site"),
        ({"joints": "r_elbow_flex_joint", "group": "SO3"}, "SO3 does not fit joints of the kinds hinge.*group='R1'"),
        ({"joints": "r_elbow_flex_joint", "group": "SE2"}, "SE2 does not fit joints of the kinds hinge"),
        (
            {"joints": ["r_elbow_flex_joint", "obj_slidex"], "group": "R1"},
            "R1 does not fit .* hinge, slide.*group='R2'",
        ),
        ({"joints": ["obj_slidex"], "group": "SO2"}, "SO2 does not fit joints of the kinds slide"),
    ],
)
def test_refuses_groups_that_do_not_fit(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(GroupError, match=message):
        BodyDisplacement(gym.make("Pusher-v5"), **arguments)


def test_refuses_environments_without_mujoco() -> None:
    with pytest.raises(NoMujocoError, match=r"expected an environment with a mujoco\.MjModel"):
        BodyDisplacement(gym.make("CartPole-v1"), body="cart")
