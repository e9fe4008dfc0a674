"""Policies from text: files of other libraries, folders, ONNX graphs and functions; no pickle without consent."""

import json
import sys
import types
import warnings
import zipfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from equiact.agents.policies.behavior_cloning import BCConfig, BCPolicy
from equiact.agents.policies.lerobot_policy import LeRobotPolicy
from equiact.agents.policies.onnx_policy import OnnxPolicy
from equiact.agents.policies.policy_loading import PolicyLoadError, resolve_policy
from equiact.agents.policies.policy_spec import PolicySpec
from equiact.agents.policies.sb3_models import SB3Policy, load_sb3_model
from equiact.envs.data.policy import Policy
from equiact.envs.storage.file_access import ArtifactLimits
from numpy.typing import NDArray
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import Tensor, nn

OFF_POLICY = {"buffer_size": 10, "learning_starts": 1, "batch_size": 2}


def pendulum() -> gym.Env[Any, Any]:
    return gym.make("Pendulum-v1")


def observations(count: int = 4) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-1, 1, (count, 3)).astype(np.float32)


def act(observation: NDArray[Any]) -> NDArray[Any]:
    """A policy of this module, which the tests name as ``module:function``."""
    return 2 * observation[:, :1]


class Doubling:
    """A class of policies without arguments."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[NDArray[Any], None]:
        return act(observation), None


DOUBLING, NUMBER = Doubling(), 3


def contrib(name: str) -> Any:
    return getattr(pytest.importorskip("sb3_contrib", reason="sb3-contrib is not installed"), name)


SMALL = {"net_arch": [4]}
MAKERS: dict[str, Callable[[], Any]] = {
    "PPO": lambda: PPO("MlpPolicy", pendulum(), policy_kwargs=dict(SMALL), n_steps=8, batch_size=4),
    "A2C": lambda: A2C("MlpPolicy", pendulum(), policy_kwargs=dict(SMALL)),
    "SAC": lambda: SAC("MlpPolicy", pendulum(), policy_kwargs=dict(SMALL), **OFF_POLICY),
    "TD3": lambda: TD3("MlpPolicy", pendulum(), policy_kwargs=dict(SMALL), **OFF_POLICY),
    "DDPG": lambda: DDPG("MlpPolicy", pendulum(), policy_kwargs=dict(SMALL), **OFF_POLICY),
    "DQN": lambda: DQN("MlpPolicy", gym.make("CartPole-v1"), policy_kwargs=dict(SMALL), **OFF_POLICY),
    "TQC": lambda: contrib("TQC")("MlpPolicy", pendulum(), policy_kwargs=dict(SMALL), **OFF_POLICY),
    "TRPO": lambda: contrib("TRPO")("MlpPolicy", pendulum(), policy_kwargs=dict(SMALL), n_steps=8, batch_size=4),
    "QRDQN": lambda: contrib("QRDQN")("MlpPolicy", gym.make("CartPole-v1"), policy_kwargs=dict(SMALL), **OFF_POLICY),
    "CrossQ": lambda: contrib("CrossQ")("MlpPolicy", pendulum(), policy_kwargs=dict(SMALL), **OFF_POLICY),
    "ARS": lambda: contrib("ARS")("MlpPolicy", pendulum(), policy_kwargs=dict(SMALL)),
}


@pytest.mark.parametrize("name", MAKERS)
def test_the_algorithm_is_read_from_the_file_and_the_policy_acts_alike(name: str, tmp_path: Path) -> None:
    model = MAKERS[name]()
    model.save(tmp_path / "model.zip")
    expected_class = {"DDPG": "TD3"}.get(name, name)  # one policy, which acts alike
    with pytest.raises(PolicyLoadError, match=rf"model of {expected_class} and holds pickles.*--trust-policy.*trust=T"):
        resolve_policy(tmp_path / "model.zip")
    policy = resolve_policy(str(tmp_path / "model.zip"), trust=True)
    assert isinstance(policy, SB3Policy) and type(policy.model).__name__ == expected_class
    size = model.observation_space.shape[0]
    batch = np.random.default_rng(0).uniform(-1, 1, (4, size)).astype(np.float32)
    np.testing.assert_array_equal(policy.predict(batch)[0], model.predict(batch, deterministic=True)[0])
    single = policy.predict(batch[0])[0]
    np.testing.assert_allclose(single, model.predict(batch[0], deterministic=True)[0], atol=1e-6)
    assert isinstance(policy, Policy)


class Touch:
    """An object whose unpickling leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


def test_nothing_is_unpickled_before_consent(tmp_path: Path) -> None:
    model = MAKERS["SAC"]()
    model.policy_kwargs = {**model.policy_kwargs, "trap": Touch(tmp_path / "trace")}
    model.save(tmp_path / "model.zip")
    for spec in ("model.zip", "sac:model.zip", "model.zip,vec_normalize=stats.pkl"):
        prefix, _, rest = spec.rpartition("model.zip")
        with pytest.raises(PolicyLoadError, match="execute any code"):
            resolve_policy(f"{prefix}{tmp_path}/model.zip{rest}")
    assert not (tmp_path / "trace").exists()
    with pytest.raises(PolicyLoadError, match=r"could not load .*model\.zip as a model of SAC"):
        resolve_policy(tmp_path / "model.zip", trust=True)
    assert (tmp_path / "trace").exists(), "the trap works"


def test_a_recurrent_policy_takes_and_returns_its_state(tmp_path: Path) -> None:
    model = contrib("RecurrentPPO")(
        "MlpLstmPolicy", pendulum(), policy_kwargs={"lstm_hidden_size": 4, **SMALL}, n_steps=8, batch_size=4
    )
    model.save(tmp_path / "model.zip")
    policy = resolve_policy(tmp_path / "model.zip", trust=True)
    batch = observations(3)
    first, state = policy.predict(batch, None, np.ones(3, bool))
    again, state = policy.predict(batch, state, np.array([False, True, False]))
    np.testing.assert_array_equal(again[1], first[1])
    assert np.abs(again[[0, 2]] - first[[0, 2]]).min() > 0
    expected, kept = model.predict(batch, None, np.ones(3, bool), True)
    expected, _ = model.predict(batch, kept, np.array([False, True, False]), True)
    np.testing.assert_array_equal(again, expected)


def test_a_policy_class_of_the_users_own_is_recognised_by_the_entries(tmp_path: Path) -> None:
    """Or is asked for, where they do not tell."""
    model = MAKERS["PPO"]()
    model.save(tmp_path / "model.zip")
    entries = read_entries(tmp_path / "model.zip")
    entries["policy_class"]["__module__"] = "their_package.policies"
    rewrite(tmp_path / "model.zip", entries)
    with pytest.raises(PolicyLoadError, match="model of PPO"):
        resolve_policy(tmp_path / "model.zip")
    rewrite(tmp_path / "model.zip", {key: entries[key] for key in ("policy_class", "observation_space")})
    with pytest.raises(PolicyLoadError, match=r"could not tell which algorithm .* such as 'sac:"):
        resolve_policy(tmp_path / "model.zip", trust=True)


def read_entries(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        return dict(json.loads(archive.read("data")))


def rewrite(path: Path, entries: dict[str, Any]) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | {"data": json.dumps(entries).encode()}).items():
            archive.writestr(name, content)


def test_a_model_trained_with_vec_normalize_needs_its_statistics(tmp_path: Path) -> None:
    env = VecNormalize(DummyVecEnv([pendulum]))
    model = PPO("MlpPolicy", env, policy_kwargs=dict(SMALL), n_steps=32, batch_size=8, n_epochs=1)
    model.learn(64)
    model.save(tmp_path / "model.zip")
    env.save(str(tmp_path / "vec_normalize.pkl"))
    with pytest.warns(UserWarning, match=r"vec_normalize\.pkl lies beside model\.zip.*,vec_normalize="):
        plain = resolve_policy(tmp_path / "model.zip", trust=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy = resolve_policy(f"{tmp_path}/model.zip,vec_normalize={tmp_path}/vec_normalize.pkl", trust=True)
    batch = observations() * 5
    normalised = env.normalize_obs(batch).astype(np.float32)
    np.testing.assert_array_equal(policy.predict(batch)[0], model.predict(normalised, deterministic=True)[0])
    assert np.abs(plain.predict(batch)[0] - policy.predict(batch)[0]).max() > 1e-4
    with pytest.raises(PolicyLoadError, match=r"expected statistics that `VecNormalize\.save` wrote"):
        resolve_policy(f"{tmp_path}/model.zip,vec_normalize={tmp_path}/model.zip", trust=True)


def test_a_model_trained_with_hindsight_loads_without_its_environment(tmp_path: Path) -> None:
    from stable_baselines3 import HerReplayBuffer

    model = SAC(
        "MultiInputPolicy", Reach(), replay_buffer_class=HerReplayBuffer, policy_kwargs=dict(SMALL), **OFF_POLICY
    )
    model.save(tmp_path / "model.zip")
    policy = resolve_policy(tmp_path / "model.zip", trust=True)
    observation = Reach().reset(seed=0)[0]
    batch = {key: np.stack([value] * 2) for key, value in observation.items()}
    assert policy.predict(batch)[0].shape == (2, 2)
    np.testing.assert_allclose(
        policy.predict(observation)[0], model.predict(observation, deterministic=True)[0], atol=1e-6
    )


class Reach(gym.Env[dict[str, NDArray[Any]], NDArray[Any]]):
    """A goal environment of two coordinates."""

    def __init__(self) -> None:
        box = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.observation_space = gym.spaces.Dict({"observation": box, "achieved_goal": box, "desired_goal": box})
        self.action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, **options: Any) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        super().reset(**options)
        return {key: self.np_random.uniform(-1, 1, 2).astype(np.float32) for key in self.observation_space}, {}

    def compute_reward(self, achieved: NDArray[Any], desired: NDArray[Any], info: Any) -> NDArray[Any]:
        return -np.abs(achieved - desired).sum(-1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no zip file", "damaged file"),
        ({"other": b"file"}, "another zip file"),
        ({"data": b"{"}, "damaged file"),
        ({"data": b"[1]"}, "another zip file"),
    ],
)
def test_other_zip_files_are_refused(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
    with pytest.raises(PolicyLoadError, match=message):
        resolve_policy(path, trust=True)


def test_a_bomb_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", b" " * 10_000_000)
    with pytest.raises(PolicyLoadError, match="at most 1000000 bytes, got 10000000"):
        load_sb3_model(tmp_path / "model.zip", trust=True, limits=ArtifactLimits(max_bytes=1_000_000))


def test_our_own_folders_are_read(tmp_path: Path) -> None:
    BCPolicy((16, 16, 3), 2, 0, 0.1, BCConfig(hidden=8)).save(tmp_path / "policy")
    policy = resolve_policy(tmp_path / "policy")
    assert policy.predict(np.zeros((3, 16, 16, 3), np.uint8))[0].shape == (3, 2)


@pytest.mark.parametrize("name", ["act", "Doubling", "DOUBLING", "DOUBLING.predict"])
def test_functions_policies_and_classes_of_policies_are_named_by_module(name: str) -> None:
    if name == "DOUBLING.predict":
        assert resolve_policy(f"{__name__}:{name}") is not None
        return
    np.testing.assert_array_equal(resolve_policy(f"{__name__}:{name}").predict(np.ones((2, 3)))[0], [[2.0], [2.0]])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("no_such_module:act", r"no module 'no_such_module'; run where Python finds it"),
        (f"{__name__}:missing", "has no 'missing'"),
        (f"{__name__}:NUMBER", "to be a function from observations to actions"),
        (f"{__name__}:Reach", "to be a function from observations to actions"),
        (f"{__name__}:", "has no ''"),
        ("nowhere/policy", "a folder that `save_policy` wrote"),
        ("nowhere/model.zip", "got nothing there"),
        ("nowhere/model.onnx", "got nothing there"),
        ("sac:nowhere", "got nothing there"),
        ("", "expected a policy as text"),
        (None, "expected a policy as text"),
        ("model.zip,vec_normalize", "expected 'option=value'"),
        (f"{__name__}:act,speed=3", "no options"),
    ],
)
def test_what_names_no_policy_is_explained(spec: Any, message: str) -> None:
    with pytest.raises(PolicyLoadError, match=message):
        resolve_policy(spec)


def test_files_and_folders_of_other_kinds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"x")
    with pytest.raises(PolicyLoadError, match=r"a file of another kind.*module:function"):
        resolve_policy(tmp_path / "weights.pth")
    with pytest.raises(PolicyLoadError, match=r"got weights\.pth"):
        resolve_policy(tmp_path)


def test_the_name_of_an_existing_file_is_never_split(tmp_path: Path) -> None:
    path = tmp_path / "a:b,c=d.zip"
    path.write_bytes(b"no zip")
    assert PolicySpec.parse(str(path)).path == path
    with pytest.raises(PolicyLoadError, match="damaged file"):
        resolve_policy(str(path), trust=True)


class Actor(nn.Module):
    """A policy of someone else, for export: the action and a value."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2), nn.Tanh())

    def forward(self, observation: Tensor) -> Tensor:
        return self.net(observation)  # type: ignore[no-any-return]


class TwoInputs(nn.Module):
    """Images and a state, an action and a value."""

    def forward(self, image: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        action = image.float().mean((1, 2, 3))[:, None] / 255 + state
        return action, action.sum(1)


def export(module: nn.Module, inputs: dict[str, Tensor], path: Path, outputs: list[str], dynamic: bool = True) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    shapes = {name: {0: torch.export.Dim("batch")} for name in inputs} if dynamic else None
    torch.onnx.export(
        module.eval(),
        tuple(inputs.values()),
        str(path),
        input_names=list(inputs),
        output_names=outputs,
        dynamo=True,
        dynamic_shapes=shapes,
        external_data=False,
        verbose=False,
    )


@pytest.mark.parametrize("dynamic", [True, False])
def test_an_onnx_policy_acts_like_the_torch_module(dynamic: bool, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    torch.manual_seed(0)
    actor, batch = Actor(), observations(5)
    export(actor, {"observation": torch.zeros(2 if dynamic else 1, 3)}, tmp_path / "actor.onnx", ["action"], dynamic)
    policy = resolve_policy(tmp_path / "actor.onnx")
    expected = actor(torch.from_numpy(batch)).detach().numpy()
    np.testing.assert_allclose(policy.predict(batch)[0], expected, atol=1e-6)
    np.testing.assert_allclose(policy.predict(batch[0])[0], expected[0], atol=1e-6)
    np.testing.assert_allclose(policy.predict({"observation": batch.astype(float), "more": 1})[0], expected, atol=1e-6)
    with pytest.raises(
        PolicyLoadError, match=r"expected observations of shape .*'observation'.*got \{'observation': \[5, 4\]\}"
    ):
        policy.predict(np.zeros((5, 4), np.float32))
    with pytest.raises(PolicyLoadError, match="expected observation in the observation"):
        policy.predict({"state": batch})
    with pytest.raises(ValueError, match="expected finite actions"):
        policy.predict(np.full((5, 3), np.nan, np.float32))


def test_an_onnx_policy_of_dict_observations_and_several_outputs(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    inputs = {"image": torch.zeros(2, 8, 8, 3, dtype=torch.uint8), "state": torch.zeros(2, 2)}
    export(TwoInputs(), inputs, tmp_path / "named.onnx", ["action", "value"])
    export(TwoInputs(), inputs, tmp_path / "unnamed.onnx", ["a", "b"])
    observation = {"image": np.full((3, 8, 8, 3), 255, np.uint8), "state": np.zeros((3, 2), np.float32)}
    np.testing.assert_allclose(resolve_policy(tmp_path / "named.onnx").predict(observation)[0], np.ones((3, 2)))
    chosen = resolve_policy(f"{tmp_path}/unnamed.onnx,action=a")
    np.testing.assert_allclose(chosen.predict({k: v[0] for k, v in observation.items()})[0], np.ones(2))
    with pytest.raises(PolicyLoadError, match="got a, b; name it"):
        resolve_policy(tmp_path / "unnamed.onnx")
    with pytest.raises(PolicyLoadError, match="expected a Dict observation with image, state"):
        chosen.predict(observation["state"])


def test_a_damaged_onnx_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    (tmp_path / "actor.onnx").write_bytes(b"no graph")
    with pytest.raises(PolicyLoadError, match="a file that onnxruntime refuses"):
        resolve_policy(tmp_path / "actor.onnx")
    with pytest.raises(PolicyLoadError, match="at most 3 bytes, got 8"):
        OnnxPolicy(tmp_path / "actor.onnx", limits=ArtifactLimits(max_bytes=3))


class Chunks(nn.Module):
    """What LeRobot's policies do: predict three actions, and hand them out one at a time."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        super().__init__()
        features = {name: types.SimpleNamespace(shape=shape) for name, shape in shapes.items()}
        self.config = types.SimpleNamespace(input_features=features, device="cpu", type="chunks")
        self.weight = nn.Parameter(torch.ones(()))
        self.seen: dict[str, Any] = {}
        self.reset()

    def reset(self) -> None:
        self._queue: deque[Tensor] = deque(maxlen=3)

    def select_action(self, batch: dict[str, Any]) -> Tensor:
        self.seen = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
        if not self._queue:
            first = batch["observation.state"][:, :2] * self.weight
            self._queue.extend([first, first + 1, first + 2])
        return self._queue.popleft()


SHAPES = {"observation.image": (3, 8, 6), "observation.state": (2,)}


def chunked(**more: Any) -> LeRobotPolicy:
    return LeRobotPolicy(Chunks(SHAPES), lambda batch: batch, lambda action: 10 * action, **more)


def robot_observation(count: int) -> dict[str, NDArray[Any]]:
    return {"pixels": np.full((count, 8, 6, 3), 255, np.uint8), "agent_pos": np.arange(2.0 * count).reshape(count, 2)}


def test_a_lerobot_policy_keeps_a_queue_for_each_episode() -> None:
    """Episodes of a batch start at different times; what is left of a chunk belongs to one of them."""
    policy, given = chunked(), robot_observation(2)
    first, state = policy.predict(given, None, np.array([True, True]))
    np.testing.assert_array_equal(first, 10 * given["agent_pos"])
    second, state = policy.predict(given, state, np.array([False, True]))
    np.testing.assert_array_equal(second, 10 * (given["agent_pos"] + [[1], [0]]))
    third, _ = policy.predict(given, state, np.array([False, False]))
    np.testing.assert_array_equal(third, 10 * (given["agent_pos"] + [[2], [1]]))
    repeated, _ = policy.predict(given, state, np.array([False, False]))
    np.testing.assert_array_equal(repeated, third), "the state that was passed is not changed"


def test_a_lerobot_policy_gets_its_inputs_by_name_layout_and_scale() -> None:
    inner = Chunks(SHAPES)
    policy = LeRobotPolicy(inner, lambda batch: batch, lambda action: action, task="push")
    image = np.zeros((8, 6, 3), np.uint8)
    image[1, 2] = [255, 0, 51]
    names = [
        {"pixels": image, "agent_pos": np.zeros(2)},
        {"pixels": {"image": image}, "agent_pos": np.zeros(2)},
        {"image": image, "state": np.zeros(2)},
        {"observation.image": image.transpose(2, 0, 1), "observation.state": np.zeros(2)},
    ]
    for observation in names:
        assert policy.predict(observation)[0].shape == (2,)
        seen = inner.seen["observation.image"]
        assert seen.shape == (1, 3, 8, 6) and seen.dtype == torch.float32
        np.testing.assert_allclose(seen[0, :, 1, 2].numpy(), [1.0, 0.0, 0.2], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": np.zeros((4, 8, 8, 3), np.uint8)}, r"observation.image of shape \(8, 6, 3\) or \(3, 8, 6\), got"),
        ({"pixels": np.zeros((4, 8, 6, 3), np.float32)}, "expected uint8 images"),
        ({"agent_pos": np.zeros((4, 3))}, r"observation.state of shape \(2,\), got \(3,\)"),
        ({"agent_pos": np.zeros(2)}, "one observation or a batch"),
    ],
)
def test_a_lerobot_policy_refuses_other_observations(change: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyLoadError, match=message):
        chunked().predict(robot_observation(4) | change)


def test_a_lerobot_policy_says_which_input_is_missing() -> None:
    with pytest.raises(PolicyLoadError, match=r"expected 'observation.state' .* got pixels; rename"):
        chunked().predict({"pixels": np.zeros((8, 6, 3), np.uint8)})


def write_lerobot_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text('{"type": "chunks"}')
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def test_lerobot_is_asked_for_its_policy_and_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through its public interface, here imitated: it pins other versions of torch and cannot be installed beside."""
    folder, calls = write_lerobot_folder(tmp_path / "policy"), {}
    config = types.SimpleNamespace(type="chunks")

    class Loaded(Chunks):
        @classmethod
        def from_pretrained(cls, path: str, *, config: Any) -> "Loaded":
            calls["policy"] = (path, config)
            return cls(SHAPES)

    def make_pre_post_processors(**arguments: Any) -> tuple[Any, Any]:
        calls["processors"] = arguments
        return (lambda batch: batch), (lambda action: 10 * action)

    policies = types.ModuleType("lerobot.configs.policies")
    policies.PreTrainedConfig = types.SimpleNamespace(from_pretrained=lambda path: config)  # type: ignore[attr-defined]
    factory = types.ModuleType("lerobot.policies.factory")
    factory.get_policy_class = {"chunks": Loaded}.__getitem__  # type: ignore[attr-defined]
    factory.make_pre_post_processors = make_pre_post_processors  # type: ignore[attr-defined]
    for name in ("lerobot", "lerobot.configs", "lerobot.policies"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "lerobot.configs.policies", policies)
    monkeypatch.setitem(sys.modules, "lerobot.policies.factory", factory)
    for spec in (str(folder), f"lerobot:{folder}"):
        policy = resolve_policy(spec)
        np.testing.assert_array_equal(policy.predict(robot_observation(1))[0], [[0.0, 10.0]])
    assert calls["policy"] == (str(folder), config)
    assert calls["processors"]["pretrained_path"] == str(folder)
    assert calls["processors"]["preprocessor_overrides"] == {"device_processor": {"device": "cpu"}}


@pytest.mark.skipif("lerobot" in sys.modules, reason="LeRobot is installed")
def test_a_missing_lerobot_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyLoadError, match=r"a policy of LeRobot.*pip install 'lerobot>=0.4'"):
        resolve_policy(write_lerobot_folder(tmp_path / "policy"))
