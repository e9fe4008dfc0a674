"""Environments from text: ids, packages, functions; and what goes wrong."""

from __future__ import annotations

import sys
import types
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from equiact.envs.env_factory import MakeEnvError, as_gymnasium, make_env


class Plain(gym.Env[Any, Any]):
    """Take options, and count steps."""

    observation_space = action_space = gym.spaces.Box(-1, 1, (1,), np.float64)

    def __init__(self, size: int = 1, *, required: str = "given") -> None:
        self.size, self.required = size, required

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(1), {}

    def step(self, action: Any) -> Any:
        return np.zeros(1), 0.0, False, False, {}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Return an importable module ``someones_envs``."""
    made = types.ModuleType("someones_envs")
    monkeypatch.setitem(sys.modules, "someones_envs", made)
    made.Plain = Plain  # type: ignore[attr-defined]
    made.wrapped = lambda **options: gym.wrappers.TimeLimit(Plain(**options), 7)  # type: ignore[attr-defined]
    made.number = 3  # type: ignore[attr-defined]
    made.nothing = lambda: None  # type: ignore[attr-defined]
    made.vector = lambda: gym.make_vec("CartPole-v1", 2, vectorization_mode="sync")  # type: ignore[attr-defined]
    return made


def test_ids_packages_and_functions(module: types.ModuleType) -> None:
    assert make_env("CartPole-v1").spec.id == "CartPole-v1"
    assert make_env("equiact/Soccer-v0", resolution=(16, 16), device="cpu").observation_space.shape == (16, 16, 3)
    assert make_env("equiact:equiact/Push-v0", resolution=(16, 16), device="cpu").spec.id == "equiact/Push-v0"
    assert isinstance(make_env("someones_envs:Plain"), Plain)
    assert make_env("someones_envs:wrapped", size=4).unwrapped.size == 4


@pytest.mark.parametrize("steps", [3, 100])
def test_the_time_limit_is_gymnasiums(steps: int) -> None:
    env = make_env("equiact/Soccer-v0", max_episode_steps=steps, resolution=(16, 16), device="cpu")
    env.reset(seed=0)
    still = np.zeros(2, np.float32)
    assert [env.step(still)[3] for _ in range(steps)] == [False] * (steps - 1) + [True]


def test_a_repeated_action_is_one_step() -> None:
    single, repeated = make_env("CartPole-v1"), make_env("CartPole-v1", action_repeat=3)
    single.reset(seed=0)
    repeated.reset(seed=0)
    steps = [single.step(1) for _ in range(3)]
    observation, reward, *_ = repeated.step(1)
    np.testing.assert_array_equal(observation, steps[-1][0])
    assert reward == 3


@pytest.mark.parametrize("times", [0, 1.5, True])
def test_an_action_is_repeated_a_whole_number_of_times(times: Any) -> None:
    with pytest.raises(MakeEnvError, match="action_repeat must be an integer of at least 1, got"):
        make_env("CartPole-v1", action_repeat=times)


def test_packages_that_register_when_they_are_imported() -> None:
    pytest.importorskip("gym_pusht")
    assert make_env("gym_pusht/PushT-v0", imports=["gym_pusht"]).spec.id == "gym_pusht/PushT-v0"
    assert make_env("gym_pusht:gym_pusht/PushT-v0").spec.id == "gym_pusht/PushT-v0"


def test_environments_of_dm_control_are_converted(module: types.ModuleType) -> None:
    suite = pytest.importorskip("dm_control.suite")
    pytest.importorskip("shimmy")
    module.reacher = lambda task="easy": suite.load("reacher", task)  # type: ignore[attr-defined]
    for env in (make_env("someones_envs:reacher", task="hard"), as_gymnasium(suite.load("reacher", "easy"))):
        observation, _ = env.reset(seed=0)
        assert observation in env.observation_space
        assert sorted(observation) == ["position", "to_target", "velocity"]
    assert as_gymnasium(env) is env


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("CartPol-v1", {}, "no environment is registered as 'CartPol-v1'; did you mean 'CartPole-v1'"),
        ("nobody/Thing-v0", {}, r"--import nobody on the command line"),
        ("cube-quintuple-v0", {}, r"imports=\['ogbench'\] in Python, --import ogbench on the command line"),
        ("AdroitHandDor-v1", {}, "--import gymnasium_robotics"),
        ("", {}, "must be text, such as 'Pusher-v5', got ''"),
        (None, {}, "must be text, such as 'Pusher-v5', got None"),
        ("no_such_module:make", {}, "there is no module 'no_such_module'; install its package"),
        ("no_such_module:Thing-v0", {}, "there is no module 'no_such_module'; install its package"),
        ("equiact.no_such:make", {}, "there is no module 'equiact.no_such'"),
        ("someones_envs:number", {}, "'someones_envs:number' must be a function that returns an environment, got int"),
        ("someones_envs:nothing", {}, "'someones_envs:nothing' must return an environment: .* got builtins.NoneType"),
        (
            "someones_envs:vector",
            {},
            "must return an environment: .*got gymnasium.vector.sync_vector_env.SyncVectorEnv",
        ),
        ("someones_envs:missing", {}, "the module 'someones_envs' has no function 'missing', and no environment"),
        ("CartPole-v1", {"colour": 3}, r"'CartPole-v1' refuses its options \(colour=3\): .*'colour'"),
        ("someones_envs:Plain", {"sise": 3}, r"refuses its options \(sise=3\): .*'sise'"),
    ],
)
def test_errors_say_what_to_do(module: types.ModuleType, spec: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MakeEnvError, match=message):
        make_env(spec, **options)


def test_packages_that_fail_to_import(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_another.py").write_text("import another_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MakeEnvError, match="'needs_another' needs 'another_that_is_missing', which is not installed"):
        make_env("needs_another:make")
    with pytest.raises(MakeEnvError, match="imports of 'CartPole-v1': there is no module 'nobody'"):
        make_env("CartPole-v1", imports=["nobody"])


def test_errors_of_the_environment_itself_are_not_hidden(module: types.ModuleType) -> None:
    def broken(size: int = 1) -> Any:
        return size + "text"  # type: ignore[operator]

    module.broken = broken  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="unsupported operand"):
        make_env("someones_envs:broken", size=2)


def test_objects_that_are_no_environments_are_refused() -> None:
    with pytest.raises(MakeEnvError, match=r"expected an environment of Gymnasium .* got builtins.int; convert others"):
        as_gymnasium(3)
