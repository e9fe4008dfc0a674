"""Save and restore environments, most of them written by others: everything afterwards is the same, bit for bit."""

from __future__ import annotations

import copy
import random
import types
import weakref
from collections import OrderedDict, deque
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from equiact.envs.env_factory import make_env
from equiact.envs.mujoco_envs.env_state import NotReproducibleError, first_difference
from equiact.envs.mujoco_envs.mujoco_scene import MujocoScene
from equiact.envs.mujoco_envs.object_snapshot import ObjectSnapshot, UnsavableStateError
from equiact.envs.mujoco_envs.restorable_env import RestorableEnv
from equiact.envs.simulation.dependencies import import_mujoco

mujoco = import_mujoco()
slow = pytest.mark.slow
OURS = {"resolution": (16, 16), "device": "cpu"}
ENVIRONMENTS: dict[str, tuple[str | None, bool, dict[str, Any]]] = {
    "Ant-v5": (None, True, {}),
    "HalfCheetah-v5": (None, True, {}),
    "Hopper-v5": (None, True, {}),
    "Humanoid-v5": (None, True, {}),
    "HumanoidStandup-v5": (None, True, {}),
    "InvertedDoublePendulum-v5": (None, True, {}),
    "InvertedPendulum-v5": (None, True, {}),
    "Pusher-v5": (None, True, {}),
    "Reacher-v5": (None, True, {}),
    "Swimmer-v5": (None, True, {}),
    "Walker2d-v5": (None, True, {}),
    "CartPole-v1": (None, False, {}),
    "AdroitHandDoor-v1": ("gymnasium_robotics", True, {}),
    "AdroitHandHammer-v1": ("gymnasium_robotics", True, {}),
    "AdroitHandPen-v1": ("gymnasium_robotics", True, {}),
    "AdroitHandRelocate-v1": ("gymnasium_robotics", True, {}),
    "AntMaze_UMaze-v5": ("gymnasium_robotics", True, {}),
    "PointMaze_UMaze-v3": ("gymnasium_robotics", True, {}),
    "antmaze-medium-v0": ("ogbench", True, {}),
    "cube-single-v0": ("ogbench", True, {}),
    "humanoidmaze-medium-v0": ("ogbench", True, {}),
    "pointmaze-medium-v0": ("ogbench", True, {}),
    "puzzle-3x3-v0": ("ogbench", True, {}),
    "scene-v0": ("ogbench", True, {}),
    "dm_control/cheetah-run-v0": ("shimmy", True, {}),
    "dm_control/dog-run-v0": ("shimmy", True, {}),
    "dm_control/finger-spin-v0": ("shimmy", True, {}),
    "dm_control/manipulator-bring_ball-v0": ("shimmy", True, {}),
    "dm_control/point_mass-easy-v0": ("shimmy", True, {}),
    "dm_control/place_cradle_features-v0": ("shimmy", True, {}),
    "dm_control/quadruped-fetch-v0": ("shimmy", True, {}),
    "dm_control/reach_site_features-v0": ("shimmy", True, {}),
    "dm_control/reacher-easy-v0": ("shimmy", True, {}),
    "dm_control/stacker-stack_2-v0": ("shimmy", True, {}),
    "equiact/Apartments-v0": (None, True, OURS),
    "equiact/Arrows-v0": (None, True, OURS),
    "equiact/Pick-v0": (None, True, OURS),
    "equiact/Push-v0": (None, True, OURS),
    "equiact/Soccer-v0": (None, True, OURS),
    "gym_pusht:gym_pusht/PushT-v0": ("gym_pusht", False, {}),
    "MiniGrid-DoorKey-5x5-v0": ("minigrid", False, {}),
    "MiniGrid-Empty-5x5-v0": ("minigrid", False, {}),
    "parking-v0": ("highway_env", False, {}),
}
"""Environment, package that must be imported, whether a restore is exact, options."""
SLOW = ("cube", "scene", "puzzle", "dm_control/place", "dm_control/reach_site", "dm_control/quadruped", "parking")
"""Beginnings of those whose test takes seconds, most because they consist of tens of thousands of objects."""


def make(spec: str) -> RestorableEnv:
    package, _, options = ENVIRONMENTS[spec]
    if package is not None:
        pytest.importorskip(package)
    return RestorableEnv(make_env(spec, imports=[package] if package else (), max_episode_steps=25, **options))


def act(env: gym.Env[Any, Any], actions: list[Any]) -> list[Any]:
    """Return what actions lead to, and then the first observation of an episode without a seed, and an action."""
    seen = [copy.deepcopy(env.step(action)) for action in actions]
    return [*seen, copy.deepcopy(env.reset()[0]), copy.deepcopy(env.step(actions[0]))]


def assert_same(env: RestorableEnv, expected: list[Any], found: list[Any]) -> None:
    """Compare bits; after a replay rewards to nine digits and no infos: PushT sums areas in the order of a set."""
    if not env.is_exact:
        rewards = [[float(one[1]) for one in steps if isinstance(one, tuple)] for steps in (expected, found)]
        assert rewards[0] == pytest.approx(rewards[1], abs=1e-9)
        expected, found = (
            [(one[0], *one[2:4]) if isinstance(one, tuple) else one for one in steps] for steps in (expected, found)
        )
    assert first_difference(expected, found, "steps") is None


def wander(env: gym.Env[Any, Any], steps: int, seed: int) -> None:
    """Act at random, through the ends of episodes."""
    env.reset(seed=seed)
    for _ in range(steps):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()


@pytest.mark.parametrize("spec", [pytest.param(s, marks=[slow] if s.startswith(SLOW) else []) for s in ENVIRONMENTS])
def test_a_restored_environment_goes_on_as_it_did(spec: str) -> None:
    env = make(spec)
    env.action_space.seed(7)
    actions = [env.action_space.sample() for _ in range(10)]
    wander(env, 30, seed=3)
    env.reset(seed=4)
    for action in actions[:5]:
        env.step(action)
    assert env.is_exact == ENVIRONMENTS[spec][1]
    state = env.save()
    expected = act(env, actions)
    wander(env, 45, seed=5)
    other = env.save()
    later = act(env, actions[::-1])
    for saved, order, seen in ((state, 1, expected), (other, -1, later), (state, 1, expected)):
        env.restore(saved)
        assert first_difference(saved.observation, env.save().observation) is None
        assert_same(env, seen, act(env, actions[::order]))
    assert first_difference(expected, later, "steps") is not None
    env.close()


@pytest.mark.parametrize(
    "spec", ["Pusher-v5", "dm_control/reacher-easy-v0", "MiniGrid-Empty-5x5-v0", "equiact/Soccer-v0"]
)
def test_nothing_is_changed_by_the_wrapper_and_by_saving(spec: str) -> None:
    env, plain = make(spec), make(spec).env
    actions = [plain.action_space.sample() for _ in range(6)]
    assert first_difference(plain.reset(seed=2), env.reset(seed=2), "reset") is None
    for action in actions:
        env.save()
        assert first_difference(plain.step(action), env.step(action), "step") is None
    assert type(gym.make(env.spec)) is RestorableEnv
    assert env.spec.additional_wrappers[:-1] == plain.spec.additional_wrappers


def stacked(spec: str) -> RestorableEnv:
    """Return an environment with many wrappers that have a state."""
    env: Any = gym.make(spec, max_episode_steps=20)
    env = gym.wrappers.NormalizeObservation(gym.wrappers.RescaleAction(env, -1.0, 1.0))
    env = gym.wrappers.FrameStackObservation(gym.wrappers.NormalizeReward(env), 3)
    env = gym.wrappers.StickyAction(gym.wrappers.TimeAwareObservation(env, flatten=False), 0.5)
    history: list[float] = []
    return RestorableEnv(
        gym.wrappers.TransformReward(env, lambda reward: (history.append(reward), sum(history))[1])  # type: ignore[func-returns-value]
    )


@pytest.mark.parametrize("spec", ["Reacher-v5", "HalfCheetah-v5"])
def test_wrappers_inside_are_restored(spec: str) -> None:
    env = stacked(spec)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(25)]
    wander(env, 33, seed=0)
    state = env.save()
    expected = act(env, actions[:4])
    wander(env, 30, seed=8)
    env.restore(state)
    assert first_difference(expected, act(env, actions[:4]), "steps") is None


def test_a_replay_that_leads_elsewhere_is_reported() -> None:
    class Counting(gym.Env[Any, Any]):
        """Count all steps of the process."""

        action_space = observation_space = gym.spaces.Box(-1, 1, (2,), np.float64)
        count = 0

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            return np.zeros(2), {}

        def step(self, action: Any) -> Any:
            type(self).count += 1
            return np.array([0.0, type(self).count]), 0.0, False, False, {}

    env = RestorableEnv(Counting())
    env.reset(seed=5)
    env.step(np.zeros(2))
    state = env.save()
    with pytest.raises(
        NotReproducibleError, match=r"seed 5 and 1 replayed actions, but observation\[1\]: 1.0 expected, 2.0"
    ):
        env.restore(state)


@pytest.mark.parametrize("simulated", [True, False])
@pytest.mark.parametrize("draw", [np.random.random, random.random])
def test_global_generators_are_restored_only_if_the_environment_draws_from_them(draw: Any, simulated: bool) -> None:
    class Global(gym.Env[Any, Any]):
        """Draw from a global generator."""

        action_space = observation_space = gym.spaces.Box(0, 1, (1,), np.float64)

        def __init__(self) -> None:
            if simulated:
                self.model = mujoco.MjModel.from_xml_string(XML)
                self.data = mujoco.MjData(self.model)

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            return np.array([draw()]), {}

        def step(self, action: Any) -> Any:
            return np.array([draw()]), 0.0, False, False, {}

    env = RestorableEnv(Global())
    env.reset(seed=0)
    env.step(np.zeros(1))
    state = env.save()
    expected = act(env, [np.zeros(1)] * 3)
    wander(env, 4, seed=0)
    env.restore(state)
    assert env.is_exact == simulated
    assert first_difference(expected, act(env, [np.zeros(1)] * 3), "steps") is None

    other = RestorableEnv(gym.make("Reacher-v5"))
    other.reset(seed=0)
    state, first = other.save(), draw()
    other.restore(state)
    assert draw() != first  # the caller's random numbers go on


def test_a_replay_uses_the_options_and_the_seeds_of_the_episode() -> None:
    env = RestorableEnv(gym.make("CartPole-v1"))
    env.reset(seed=1)
    options = {"low": -0.01, "high": 0.01}
    first = env.reset(options=options)[0]
    options["high"] = 0.02
    state = env.save()
    following = env.reset()[0]
    assert np.abs(first).max() <= 0.01 < np.abs(following).max()
    env.reset(seed=9)
    env.restore(state)
    assert first_difference(following, env.reset()[0]) is None
    again = RestorableEnv(gym.make("CartPole-v1"))
    again.reset(seed=1)
    assert first_difference(first, again.reset(options={"low": -0.01, "high": 0.01})[0]) is None


def test_changes_of_the_model_are_undone() -> None:
    env = RestorableEnv(gym.make("Pusher-v5"))
    env.reset(seed=0)
    model = MujocoScene(env).model
    model.body_ipos[0] = [-0.0, np.nan, 0.0]
    state = env.save()
    before = {name: np.array(getattr(model, name)) for name in ("body_mass", "geom_friction", "geom_rgba", "body_ipos")}
    gravity, steps, light = model.opt.gravity.copy(), model.opt.timestep, model.vis.headlight.ambient.copy()
    model.body_ipos[0] = [0.0, 1.0, -0.0]
    again = env.save()
    model.body_mass[:] *= 2
    model.geom_friction[:] = 0.1
    model.geom_rgba[:, 3] = 0.5
    model.opt.gravity[2], model.opt.timestep, model.vis.headlight.ambient[:] = -1, 0.001, 0.9
    env.restore(state)
    for name, values in before.items():
        assert getattr(model, name).tobytes() == values.tobytes(), name
    assert (model.opt.gravity == gravity).all() and model.opt.timestep == steps
    assert (model.vis.headlight.ambient == light).all()
    env.restore(again)
    assert model.body_ipos[0].tobytes() == np.array([0.0, 1.0, -0.0]).tobytes()


XML = """<mujoco><worldbody><body name="b"><joint name="j" type="hinge" axis="0 1 0"/><geom size=".1"/></body>
</worldbody></mujoco>"""


class Custom(gym.Env[Any, Any]):
    """Compile a new model in every episode, and keep state in all kinds of places."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (4,), np.float64)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float64)

    def __init__(self, **attributes: Any) -> None:
        self.spec_of_model = mujoco.MjSpec.from_string(XML)
        self.others = random.Random(0)
        self.legacy = np.random.RandomState(0)
        self.recent: deque[float] = deque(maxlen=3)
        vars(self).update(attributes)
        self._compile()

    def _compile(self) -> None:
        self.model = mujoco.MjModel.from_xml_string(XML.replace(".1", f"{0.1 + 0.1 * self.others.random()}"))
        self.data = mujoco.MjData(self.model)
        self.angle = self.data.qpos[:1]  # a view into the data
        self.body = self.data.body("b")

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._compile()
        self.data.qvel[:] = self.legacy.normal()
        return self._observation(), {}

    def step(self, action: Any) -> Any:
        self.data.qfrc_applied[:] = action
        mujoco.mj_step(self.model, self.data)
        self.recent.append(float(self.angle[0]))
        return self._observation(), sum(self.recent), False, False, {"quat": self.body.xquat.copy()}

    def _observation(self) -> Any:
        return np.array([self.angle[0], self.data.qvel[0], self.model.body_mass[1], self.others.random()])


def test_a_model_that_was_compiled_anew_is_put_back() -> None:
    env = RestorableEnv(Custom())
    env.reset(seed=0)
    model, data, angle = env.unwrapped.model, env.unwrapped.data, env.unwrapped.angle
    state = env.save()
    expected = act(env, [np.ones(1)] * 5)
    wander(env, 5, seed=1)
    assert env.unwrapped.model is not model
    env.restore(state)
    assert env.unwrapped.model is model and env.unwrapped.data is data and env.unwrapped.angle is angle
    assert first_difference(expected, act(env, [np.ones(1)] * 5), "steps") is None


def test_an_environment_without_a_model_before_its_first_reset() -> None:
    cube_env = pytest.importorskip("ogbench.manipspace.envs.cube_env")
    env = RestorableEnv(cube_env.CubeEnv(env_type="single"))
    assert not env.is_exact
    env.reset(seed=0)
    assert env.is_exact
    state = env.save()
    expected = env.step(np.ones(5))
    env.restore(state)
    assert first_difference(expected, env.step(np.ones(5))) is None


def test_a_specification_that_was_edited_is_reported() -> None:
    env = RestorableEnv(Custom())
    env.reset(seed=0)
    state = env.save()
    env.restore(state)
    env.unwrapped.spec_of_model.worldbody.add_geom(size=[0.1, 0.1, 0.1])
    with pytest.raises(RuntimeError, match=r"expected the MjSpec .* but it was edited since"):
        env.restore(state)


def test_what_cannot_be_saved_is_named() -> None:
    env = RestorableEnv(gym.wrappers.TimeLimit(Custom(parts={"camera": [iter([1, 2]), (n for n in range(3))]}), 10))
    env.reset(seed=0)
    with pytest.raises(
        UnsavableStateError, match=r"state of env\.env\.parts\['camera'\]\[1\] cannot be saved: a builtins.gen"
    ):
        env.save()


def test_only_own_states_are_restored() -> None:
    env, other = (RestorableEnv(gym.make("Reacher-v5")) for _ in range(2))
    with pytest.raises(gym.error.ResetNeeded, match="call reset before save"):
        env.save()
    env.reset(seed=0)
    other.reset(seed=0)
    with pytest.raises(ValueError, match="got one of another object; save and restore with the same object"):
        other.restore(env.save())
    with pytest.raises(ValueError, match="expected a state that this RestorableEnv saved, got ndarray"):
        env.restore(np.zeros(3))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="env must be a single Gymnasium environment, got SyncVectorEnv"):
        RestorableEnv(gym.make_vec("Reacher-v5", 2, vectorization_mode="sync"))  # type: ignore[arg-type]


def test_the_observation_of_a_state_does_not_change() -> None:
    class Buffered(gym.ObservationWrapper[Any, Any, Any]):
        """Return the same array again and again."""

        buffer = np.zeros(10)

        def observation(self, observation: Any) -> Any:
            self.buffer[:] = observation
            return self.buffer

    env = RestorableEnv(Buffered(gym.make("Reacher-v5")))
    first = env.reset(seed=0)[0].copy()
    state = env.save()
    env.step(np.ones(2))
    assert first_difference(first, state.observation) is None


class Slotted:
    """Have slots, one of which is empty."""

    __slots__ = ("__weakref__", "full", "later")

    def __init__(self) -> None:
        self.full = [1]


@dataclass(frozen=True)
class Frozen:
    """Be frozen, but hold something that is not."""

    values: list[int]


class Ordered(OrderedDict[str, Any]):
    """Be a dictionary with an attribute."""

    note = ""


def counter() -> Any:
    """Return a function with a variable of its own."""
    count = 0

    def more() -> int:
        nonlocal count
        count += 1
        return count

    return more


def test_all_kinds_of_objects_are_written_in_place() -> None:
    shared, slotted = [1, 2], Slotted()
    array = np.arange(6.0)
    root: dict[str, Any] = {
        "list": shared,
        "tuple": (shared, {3}),
        "frozen": Frozen([5]),
        "slotted": slotted,
        "weak": weakref.ref(slotted),
        "proxy": weakref.proxy(slotted),
        "ordered": Ordered(a=1, b=2),
        "array": array,
        "view": array[::2],
        "objects": np.array([[1], None], object),
        "bytes": bytearray(b"ab"),
        "function": counter(),
        "partial": partial(shared.append, 7),
        "space": gym.spaces.Dict(a=gym.spaces.Discrete(9, seed=0)),
        "generator": np.random.default_rng(0),
        "legacy": np.random.RandomState(0),
        "python": random.Random(0),
        "tensor": torch.zeros(2),
        "torch": torch.Generator().manual_seed(0),
        "names": types.SimpleNamespace(a=1),
        "deque": deque([1, 2], maxlen=2),
    }
    root["cycle"] = root
    root["legacy"].normal()  # keeps a second number for the next call
    snapshot = ObjectSnapshot(root, "root")

    def draw() -> list[Any]:
        return [
            root["space"].sample(),
            root["generator"].random(),
            root["legacy"].normal(),
            root["python"].gauss(0, 1),
            root["function"](),
            torch.rand(1, generator=root["torch"]).item(),
        ]

    expected = draw()
    for _ in range(2):
        shared += [9]
        root["tuple"][1].add(4)
        root["frozen"].values.clear()
        slotted.full, slotted.later = [], 3
        root["ordered"].move_to_end("a")
        root["ordered"].note = "changed"
        array[:] = -1
        root["objects"][0].append(2)
        root["objects"][1] = 5
        root["bytes"][:] = b"longer"
        root["tensor"] += 1
        root["names"].b = 2
        root["deque"].append(3)
        del root["partial"]
        snapshot.restore()
        assert root["list"] is shared and shared == [1, 2] and root["tuple"] == (shared, {3})
        assert root["frozen"].values == [5] and slotted.full == [1] and not hasattr(slotted, "later")
        assert list(root["ordered"].items()) == [("a", 1), ("b", 2)] and root["ordered"].note == ""
        assert array.tolist() == list(range(6)) and root["view"].base is array
        assert root["objects"].tolist() == [[1], None] and root["bytes"] == b"ab" and root["tensor"].tolist() == [0, 0]
        assert vars(root["names"]) == {"a": 1} and list(root["deque"]) == [1, 2] and root["cycle"] is root
        assert list(root)[-1] == "cycle" and draw() == expected


def test_objects_that_can_only_be_copied_are_replaced_by_a_copy() -> None:
    cursor = iter([1, 2, 3])
    root = {"one": cursor, "same": cursor}
    snapshot = ObjectSnapshot(root, "root")
    for _ in range(2):
        next(root["one"])
        snapshot.restore()
        assert root["one"] is root["same"]
        assert next(root["one"]) == 1


@pytest.mark.parametrize(
    ("expected", "found", "message"),
    [
        (np.zeros(3), np.array([0.0, 0.0, -0.0]), "observation[2]: 0.0 expected, -0.0 found"),
        (np.zeros(3), np.zeros(4), "observation: float64 (3,) expected, float64 (4,) found"),
        (np.zeros(2), np.zeros(2, np.float32), "observation: float64 (2,) expected, float32 (2,) found"),
        ({"a": 1}, {"b": 1}, "observation: the keys ['a'] expected, ['b'] found"),
        ({"a": (1, [2, "x"])}, {"a": (1, [2, "y"])}, "observation['a'][1][1]: x expected, y found"),
        ((1, 2), (1,), "observation: 2 elements expected, 1 found"),
        (1, 1.0, "observation: a int expected, a float found"),
        (float("nan"), float("nan"), None),
        ({"a": np.ones((2, 2))}, {"a": np.ones((2, 2))}, None),
    ],
)
def test_the_first_difference_is_named(expected: Any, found: Any, message: str | None) -> None:
    assert first_difference(expected, found) == message
