"""An encoder in the policies and environments of others: frozen is frozen, and what a policy sees are its latents."""

import os
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from equiact.agents.policies.encode_observation import EncodeObservation, VectorEncodeObservation
from equiact.agents.policies.sb3_features import EncoderFeatures, VecEncodeObservation
from equiact.agents.policies.sb3_vec_env import WorldVecEnv
from equiact.envs.lie_groups.registry import group_from_name
from equiact.envs.storage.artifacts import ArtifactError
from equiact.envs.worlds.registry import world_class
from equiact.representations.encoders.agent_object import AgentObjectConfig, AgentObjectEncoder
from equiact.representations.encoders.agent_objects import AgentObjectsEncoder
from equiact.representations.encoders.class_pose import ClassPoseConfig, ClassPoseEncoder
from equiact.representations.encoders.encoder import Encoder, ObservationError, to_images
from equiact.representations.encoders.harmonic_encoder import HarmonicConfig, HarmonicEncoder
from equiact.representations.encoders.pose_set_encoder import PoseSetConfig, PoseSetEncoder
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3, HerReplayBuffer
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack

SHAPE = (32, 32, 3)


def box(*shape: int) -> gym.spaces.Box:
    return gym.spaces.Box(0, 255, shape, np.uint8)


def make_env(num_worlds: int = 2, max_episode_steps: int = 7) -> WorldVecEnv:
    world = world_class("Soccer")(num_worlds, resolution=SHAPE[:2], device="cpu", max_episode_steps=max_episode_steps)
    environment = WorldVecEnv(world)
    environment.seed(0)
    return environment


def save_encoder(folder: Path, backbone: str = "spatial_softmax") -> Path:
    torch.manual_seed(0)
    encoder = AgentObjectEncoder(SHAPE, "R2", AgentObjectConfig(backbone=backbone))
    with torch.no_grad():  # batch statistics other than those they start with
        encoder.latents(torch.rand(8, 3, *SHAPE[:2]))
    encoder.save(folder)
    return folder


def policy_options(folder: Path, **more: Any) -> dict[str, Any]:
    features = {"encoder": str(folder), **more}
    return {
        "features_extractor_class": EncoderFeatures,
        "features_extractor_kwargs": features,
        "net_arch": [8],
    }


def make_sac(folder: Path, share: bool = True, **more: Any) -> SAC:
    options = policy_options(folder, **more) | {"share_features_extractor": share}
    return SAC(
        "CnnPolicy",
        make_env(),
        policy_kwargs=options,
        buffer_size=100,
        learning_starts=8,
        batch_size=8,
        device="cpu",
        seed=0,
    )


class Flicker(gym.Env[NDArray[np.uint8], Any]):
    """Random images, and any action space."""

    observation_space: gym.Space[NDArray[np.uint8]] = gym.spaces.Box(0, 255, SHAPE, np.uint8)

    def __init__(self, action_space: gym.Space[Any]) -> None:
        self.action_space = action_space

    def reset(self, **options: Any) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        super().reset(**options)
        return self._image(), {}

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        return self._image(), float(self.np_random.random()), False, bool(self.np_random.random() < 0.2), {}

    def _image(self) -> NDArray[np.uint8]:
        return self.np_random.integers(0, 256, SHAPE, np.uint8)


def extractors(model: BaseAlgorithm) -> list[EncoderFeatures]:
    found = [module for module in model.policy.modules() if isinstance(module, EncoderFeatures)]
    assert found
    return found


def assert_untouched(model: BaseAlgorithm, folder: Path) -> None:
    saved = Encoder.load(folder).state_dict()
    for features in extractors(model):
        features.require_pretrained()
        assert features.encoder.state_dict().keys() == saved.keys()
        for key, value in features.encoder.state_dict().items():
            assert torch.equal(value, saved[key]), key


ON_POLICY: dict[str, Any] = {"n_steps": 4}
OFF_POLICY: dict[str, Any] = {"buffer_size": 50, "learning_starts": 4, "batch_size": 4, "train_freq": 1}
ALGORITHMS: list[tuple[type[BaseAlgorithm], dict[str, Any], bool | None]] = [
    *((PPO, {**ON_POLICY, "batch_size": 4, "n_epochs": 2}, share) for share in (True, False)),
    *((A2C, ON_POLICY, share) for share in (True, False)),
    *((algorithm, OFF_POLICY, share) for algorithm in (SAC, TD3, DDPG) for share in (True, False)),
    (DQN, {**OFF_POLICY, "target_update_interval": 2}, None),
]


@pytest.mark.parametrize(("algorithm", "options", "share"), ALGORITHMS)
def test_no_algorithm_changes_a_frozen_encoder(
    algorithm: type[BaseAlgorithm], options: dict[str, Any], share: bool | None, tmp_path: Path
) -> None:
    """In no copy of it: neither in the critics, nor in their targets, which are averaged after every update."""
    folder = save_encoder(tmp_path / "encoder")
    kwargs = policy_options(folder) | ({} if share is None else {"share_features_extractor": share})
    actions = gym.spaces.Discrete(2) if algorithm is DQN else gym.spaces.Box(-1, 1, (2,))
    model = algorithm("CnnPolicy", Flicker(actions), policy_kwargs=kwargs, device="cpu", seed=0, **options)
    frozen = {id(value) for features in extractors(model) for value in features.state_dict(keep_vars=True).values()}
    heads = {name: value.clone() for name, value in model.policy.named_parameters() if id(value) not in frozen}
    model.learn(10)
    parameters = dict(model.policy.named_parameters())
    assert any(not torch.equal(value, parameters[name]) for name, value in heads.items())
    assert_untouched(model, folder)


def test_batch_statistics_of_a_frozen_encoder_stay(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "encoder", "resnet18")
    features = EncoderFeatures(gym.spaces.Box(0, 255, (3, 32, 32), np.uint8), folder)
    features.train()
    features(torch.rand(2, 3, 32, 32))
    features.require_pretrained()


def test_fine_tuning_starts_from_the_saved_weights(tmp_path: Path) -> None:
    options = policy_options(save_encoder(tmp_path / "encoder"), frozen=False)
    model = A2C("CnnPolicy", Flicker(gym.spaces.Box(-1, 1, (2,))), policy_kwargs=options, device="cpu")
    for features in extractors(model):
        features.require_pretrained()


def test_an_encoder_that_is_not_frozen_learns(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "encoder")
    model = make_sac(folder, frozen=False)
    model.learn(40)
    saved = Encoder.load(folder).state_dict()
    state = model.actor.features_extractor.state_dict()
    critic = model.critic.features_extractor.state_dict()
    changed = {key for key in saved if not torch.equal(state[f"encoder.{key}"], saved[key])}
    changed |= {key for key in saved if not torch.equal(critic[f"encoder.{key}"], saved[key])}
    assert "agent_head.weight" in changed
    assert "object_trunk.convolutions.0.weight" in changed
    with pytest.raises(RuntimeError, match=r"re-initialised or trained"):
        model.critic_target.features_extractor.require_pretrained()


@pytest.mark.parametrize("backbone", ["spatial_softmax", "resnet18"])
def test_features_are_the_latents(backbone: str, tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "encoder", backbone)
    encoder = Encoder.load(folder)
    features = EncoderFeatures(gym.spaces.Box(0, 255, (3, 32, 32), np.uint8), folder)
    assert features.features_dim == encoder.latent_dim
    features.train()
    images = torch.randint(0, 256, (4, *SHAPE), dtype=torch.uint8)
    expected = torch.cat(list(encoder.encode(images).values()), 1)
    given = to_images(images)
    result = features(given)
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=1e-5)
    assert not result.requires_grad
    assert EncoderFeatures(gym.spaces.Box(0, 255, (3, 32, 32), np.uint8), folder, frozen=False)(given).requires_grad


@pytest.mark.parametrize(
    "space",
    [
        *(box(*shape) for shape in ((3, 64, 64), (64, 64, 3), (1, 32, 32), (32, 32), (3, 32, 3, 32), (32, 32, 4))),
        gym.spaces.Box(0, 1, (3, 32, 32), np.float32),
        gym.spaces.Dict({"camera": box(64, 64, 3), "speed": gym.spaces.Box(-1, 1, (2,))}),
    ],
    ids=str,
)
def test_other_observations_are_refused_at_construction(space: gym.Space[Any], tmp_path: Path) -> None:
    encoder = Encoder.load(save_encoder(tmp_path / "encoder"))
    message = r"expected uint8 images \(32, 32, 3\) .*channels first, \(3, 32, 32\).*, got .*(uint8|float32) \("
    with pytest.raises(ValueError, match=message):
        EncoderFeatures(space, encoder)
    environment = Flicker(gym.spaces.Box(-1, 1, (2,)))
    environment.observation_space = space
    with pytest.raises(ValueError, match=message):
        EncodeObservation(environment, encoder)
    with pytest.raises(ValueError, match=message):
        VecEncodeObservation(DummyVecEnv([lambda: environment]), encoder)


def test_a_policy_survives_the_libraries_own_saving(tmp_path: Path) -> None:
    model = make_sac(save_encoder(tmp_path / "encoder"))
    model.learn(20)
    model.save(tmp_path / "model.zip")
    loaded = SAC.load(tmp_path / "model.zip", device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    np.testing.assert_array_equal(
        loaded.predict(images, deterministic=True)[0], model.predict(images, deterministic=True)[0]
    )


def latents(encoder: Encoder, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.concatenate(list(encoder.encode(frames).values()), 1)


@pytest.mark.parametrize("as_folder", [True, False])
def test_one_world_is_observed_as_latents(as_folder: bool, tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "encoder")
    encoder = Encoder.load(folder)
    plain = gym.make("equiact/Soccer-v0", resolution=SHAPE[:2], device="cpu")
    wrapped = EncodeObservation(
        gym.make("equiact/Soccer-v0", resolution=SHAPE[:2], device="cpu"), folder if as_folder else encoder
    )
    assert wrapped.observation_space.shape == (encoder.latent_dim,)
    frame, seen = plain.reset(seed=0)[0], wrapped.reset(seed=0)[0]
    for _ in range(4):
        assert wrapped.observation_space.contains(seen)
        np.testing.assert_allclose(seen, latents(encoder, frame[None])[0], atol=1e-6)
        action = plain.action_space.sample()
        frame, seen = plain.step(action)[0], wrapped.step(action)[0]


def test_many_worlds_are_observed_as_latents_at_their_end_too(tmp_path: Path) -> None:
    encoder = Encoder.load(save_encoder(tmp_path / "encoder"))
    plain, wrapped = make_env(3, 4), VecEncodeObservation(make_env(3, 4), encoder)
    assert wrapped.observation_space.shape == (encoder.latent_dim,)
    assert wrapped.action_space == plain.action_space
    frames, seen = plain.reset(), wrapped.reset()
    generator, ended = np.random.default_rng(0), 0
    for _ in range(9):
        np.testing.assert_allclose(seen, latents(encoder, frames), atol=1e-6)
        assert seen.dtype == np.float32
        action = generator.uniform(-0.3, 0.3, (3, 2))
        frames, reward, done, infos = plain.step(action)
        seen, got_reward, got_done, got_infos = wrapped.step(action)
        np.testing.assert_array_equal(got_reward, reward)
        np.testing.assert_array_equal(got_done, done)
        for i in np.flatnonzero(done):
            ended += 1
            last = latents(encoder, infos[i]["terminal_observation"][None])[0]
            np.testing.assert_allclose(got_infos[i]["terminal_observation"], last, atol=1e-6)
            assert np.abs(last - seen[i]).max() > 1e-6, "the last observation is not the next episode's first"
    assert ended >= 6


class Camera(gym.Env[Any, NDArray[Any]]):
    """An environment of someone else: random images in a layout, plainly, in a Dict, or as goals."""

    def __init__(self, layout: str = "hwc", length: int = 3) -> None:
        self.layout, self.length = layout, length
        image = box(3, 32, 32) if layout == "chw" else box(*SHAPE)
        state = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.observation_space = {
            "dict": gym.spaces.Dict({"image": image, "state": state}),
            "goal": gym.spaces.Dict({"observation": image, "achieved_goal": state, "desired_goal": state}),
            "image goal": gym.spaces.Dict({"observation": state, "achieved_goal": image, "desired_goal": image}),
        }.get(layout, image)
        self.action_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        if "goal" in layout:
            self.compute_reward = lambda achieved, desired, info: (
                -np.abs(achieved - desired).reshape(len(achieved), -1).sum(1)
            )

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        super().reset(**options)
        self._time = 0
        return self._observe(self.observation_space), {}

    def step(self, action: NDArray[Any]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._time += 1
        return self._observe(self.observation_space), 0.0, self._time >= self.length, False, {}

    def _observe(self, space: gym.Space[Any]) -> Any:
        if isinstance(space, gym.spaces.Dict):
            return {key: self._observe(entry) for key, entry in space.items()}
        if space.dtype == np.uint8:
            return self.np_random.integers(0, 256, space.shape, np.uint8)
        return self.np_random.uniform(-1, 1, space.shape).astype(np.float32)


def one_by_one(encoder: Encoder, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the latents of frames ``(k, H, W, C)`` side by side, ``(k * latent_dim,)``."""
    return np.concatenate([latents(encoder, frame[None])[0] for frame in images])


def test_images_in_a_dict_are_encoded_and_the_rest_is_kept(tmp_path: Path) -> None:
    encoder = Encoder.load(save_encoder(tmp_path / "encoder"))
    wrapped, plain = EncodeObservation(Camera("dict"), encoder), Camera("dict")
    seen, expected = wrapped.reset(seed=0)[0], plain.reset(seed=0)[0]
    assert wrapped.observation_space.contains(seen)
    np.testing.assert_allclose(seen["image"], latents(encoder, expected["image"][None])[0], atol=1e-6)
    np.testing.assert_array_equal(seen["state"], expected["state"])
    with pytest.raises(ValueError, match=r"as the Dict entries \['state'\]"):
        EncodeObservation(Camera("dict"), encoder, keys=["image", "state"])
    with pytest.raises(ValueError, match="leave keys out"):
        EncodeObservation(Camera("hwc"), encoder, keys=["image"])


def test_channels_first_and_stacks_of_frames_are_encoded(tmp_path: Path) -> None:
    encoder = Encoder.load(save_encoder(tmp_path / "encoder"))
    first = EncodeObservation(Camera("chw"), encoder)
    frame = Camera("chw").reset(seed=0)[0]
    np.testing.assert_allclose(first.reset(seed=0)[0], latents(encoder, frame.transpose(1, 2, 0)[None])[0], atol=1e-6)
    for layout in ("hwc", "chw"):
        stacked = EncodeObservation(gym.wrappers.FrameStackObservation(Camera(layout), 3), encoder)
        plain = gym.wrappers.FrameStackObservation(Camera(layout), 3)
        stacked.reset(seed=0), plain.reset(seed=0)
        seen, frames = stacked.step(np.zeros(2))[0], plain.step(np.zeros(2))[0]
        assert stacked.observation_space.contains(seen) and seen.shape == (12,)
        last = frames if layout == "hwc" else frames.transpose(0, 2, 3, 1)
        np.testing.assert_allclose(seen, one_by_one(encoder, last), atol=1e-6)


def test_an_observation_of_another_type_or_shape_than_the_space_says_is_refused(tmp_path: Path) -> None:
    wrapped = EncodeObservation(Camera(), Encoder.load(save_encoder(tmp_path / "encoder")))
    with pytest.raises(ObservationError, match="uint8 images with values from 0 to 255 were expected, got float32"):
        wrapped.observation(np.zeros(SHAPE, np.float32))
    with pytest.raises(ValueError, match=r"batch of observations \(32, 32, 3\), got \(1, 64, 16, 3\)"):
        wrapped.observation(np.zeros((64, 16, 3), np.uint8))


def test_a_wrapper_with_a_folder_is_made_again_from_its_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_encoder(tmp_path / "encoder")
    monkeypatch.chdir(tmp_path)
    options = {"resolution": SHAPE[:2], "device": "cpu"}
    wrapped = EncodeObservation(gym.make("equiact/Soccer-v0", **options), "encoder")
    monkeypatch.chdir("/")
    again = gym.make(wrapped.spec)
    np.testing.assert_array_equal(again.reset(seed=3)[0], wrapped.reset(seed=3)[0])
    assert str(folder) in wrapped.spec.to_json()
    from_object = EncodeObservation(gym.make("equiact/Soccer-v0", **options), Encoder.load(folder))
    with pytest.raises(ValueError, match="made with an Encoder object, which a spec cannot hold; save the encoder"):
        gym.make(from_object.spec)


@pytest.mark.parametrize("layout", ["hwc", "dict"])
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_vector_environments_of_gymnasium_are_encoded_at_their_end_too(
    layout: str, mode: AutoresetMode, tmp_path: Path
) -> None:
    encoder = Encoder.load(save_encoder(tmp_path / "encoder"))
    plain, inner = (SyncVectorEnv([lambda: Camera(layout)] * 2, autoreset_mode=mode) for _ in range(2))
    wrapped = VectorEncodeObservation(inner, encoder)
    (frames, _), (seen, _) = plain.reset(seed=0), wrapped.reset(seed=0)

    def image(observation: Any) -> Any:
        return observation["image"] if layout == "dict" else observation

    ended = 0
    for _ in range(5):
        assert wrapped.observation_space.contains(seen)
        np.testing.assert_allclose(image(seen), latents(encoder, image(frames)), atol=1e-6)
        frames, _, _, _, infos = plain.step(np.zeros((2, 2)))
        seen, _, _, _, got = wrapped.step(np.zeros((2, 2)))
        for index in np.flatnonzero(infos.get("_final_obs", [])):
            ended += 1
            last = latents(encoder, image(infos["final_obs"][index])[None])[0]
            np.testing.assert_allclose(image(got["final_obs"][index]), last, atol=1e-6)
    assert ended == (2 if mode == AutoresetMode.SAME_STEP else 0)


def test_vector_environments_of_stable_baselines3_may_have_dicts_and_stacks(tmp_path: Path) -> None:
    encoder = Encoder.load(save_encoder(tmp_path / "encoder"))
    seen = VecEncodeObservation(DummyVecEnv([lambda: Camera("dict")] * 2), encoder).reset()
    assert isinstance(seen, dict) and seen["image"].shape == (2, 4) and seen["state"].shape == (2, 2)
    for layout in ("hwc", "chw"):
        stacked = VecFrameStack(DummyVecEnv([lambda layout=layout: Camera(layout)]), 2)
        wrapped = VecEncodeObservation(VecFrameStack(DummyVecEnv([lambda layout=layout: Camera(layout)]), 2), encoder)
        stacked.seed(0), wrapped.seed(0)
        stacked.reset(), wrapped.reset()
        for _ in range(3):
            frames, _, done, infos = stacked.step(np.zeros((1, 2)))
            seen, _, _, got = wrapped.step(np.zeros((1, 2)))
        assert done.all()
        for stack, result in ((frames[0], seen[0]), (infos[0]["terminal_observation"], got[0]["terminal_observation"])):
            last = stack if layout == "hwc" else stack.transpose(1, 2, 0)
            np.testing.assert_allclose(result, one_by_one(encoder, np.stack(np.split(last, 2, 2))), atol=1e-6)


def test_goal_environments_keep_their_reward(tmp_path: Path) -> None:
    """Goals that are images are encoded in the policy, where the reward is computed from the images before."""
    encoder = Encoder.load(save_encoder(tmp_path / "encoder"))
    seen = EncodeObservation(Camera("goal"), encoder).reset(seed=0)[0]
    assert seen["observation"].shape == (4,) and seen["achieved_goal"].shape == (2,)
    with pytest.raises(ValueError, match="compute_reward of the environment reads them; pass goal_threshold="):
        EncodeObservation(Camera("image goal"), encoder)


class Corridor(gym.Env[Any, NDArray[Any]]):
    """A light in a corridor: images of where it is, and of where it should be."""

    image = box(*SHAPE)
    observation_space = gym.spaces.Dict({"observation": image, "achieved_goal": image, "desired_goal": image})
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def compute_reward(self, achieved: NDArray[Any], desired: NDArray[Any], info: Any) -> NDArray[Any]:
        assert achieved.dtype == np.uint8, "images only"
        return -np.abs(achieved.astype(float) - desired).mean((-1, -2, -3))

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        super().reset(**options)
        self._time, self._place, self._goal = 0, 0, int(self.np_random.integers(1, 30))
        return self._observe(), {}

    def step(self, action: NDArray[Any]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._time, self._place = self._time + 1, int(np.clip(self._place + 4 * action[0], 0, 31))
        return self._observe(), 7.0, False, self._time >= 5, {"time": self._time}

    def _observe(self) -> dict[str, NDArray[np.uint8]]:
        images = np.zeros((2, *SHAPE), np.uint8)
        for image, place in zip(images, (self._place, self._goal), strict=True):
            image[:, place] = 255
        return {"observation": images[0], "achieved_goal": images[0], "desired_goal": images[1]}


def nearest(encoder: Encoder) -> float:
    """Return half of the distance of the latents of two neighbouring places."""
    images = np.zeros((31, *SHAPE), np.uint8)
    images[np.arange(31), :, np.arange(31)] = 255
    codes = latents(encoder, images)
    return float(np.linalg.norm(np.diff(codes, axis=0), axis=1).min() / 2)


def test_images_as_goals_are_encoded_with_a_sparse_reward(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "encoder")
    encoder = Encoder.load(folder)
    wrapped, plain = EncodeObservation(Corridor(), folder, goal_threshold=nearest(encoder)), Corridor()
    wrapped.reset(seed=0), plain.reset(seed=0)
    rewards = []
    for _ in range(5):
        seen, reward, *_, info = wrapped.step(np.ones(1))
        frames = plain.step(np.ones(1))[0]
        assert wrapped.observation_space.contains(seen)
        for key in frames:
            np.testing.assert_allclose(seen[key], latents(encoder, frames[key][None])[0], atol=1e-6)
        assert reward == -float((frames["achieved_goal"] != frames["desired_goal"]).any())
        assert info == {"time": plain._time, "is_success": reward == 0}
        assert wrapped.compute_reward(seen["achieved_goal"], seen["achieved_goal"], info) == 0
        rewards.append(reward)
    assert -1 in rewards
    wrapped.unwrapped._place, wrapped.unwrapped._goal = 8, 8
    assert wrapped.step(np.zeros(1))[1] == 0, "the reward of the environment, 7, is replaced"
    assert wrapped._saved_kwargs["goal_threshold"] == nearest(encoder)


@pytest.mark.parametrize("vectorized", [False, True])
def test_hindsight_experience_replay_trains_on_latents_of_images_as_goals(vectorized: bool, tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "encoder")
    threshold = nearest(Encoder.load(folder))

    def make() -> gym.Env[Any, Any]:
        return EncodeObservation(Corridor(), folder, goal_threshold=threshold)

    model = SAC(
        "MultiInputPolicy",
        DummyVecEnv([make, make]) if vectorized else make(),
        replay_buffer_class=HerReplayBuffer,
        replay_buffer_kwargs={"n_sampled_goal": 4, "goal_selection_strategy": "final"},
        policy_kwargs={"net_arch": [8]},
        buffer_size=200,
        learning_starts=20,
        batch_size=8,
        device="cpu",
        seed=0,
    )
    model.learn(60)
    assert isinstance(model.replay_buffer, HerReplayBuffer)
    batch = model.replay_buffer.sample(128)
    achieved, desired = batch.next_observations["achieved_goal"], batch.observations["desired_goal"]
    reached = (achieved - desired).norm(dim=1) < threshold
    assert torch.equal(batch.rewards[:, 0] == 0, reached) and set(batch.rewards.unique().tolist()) == {-1.0, 0.0}
    assert reached.float().mean() > 0.1, "relabelled goals are reached"


@pytest.mark.parametrize(
    ("layout", "options", "message"),
    [
        ("image goal", {}, "pass goal_threshold= for a sparse reward of the latents, encode in the policy instead"),
        ("image goal", {"goal_threshold": 0.0}, "expected goal_threshold above 0 and finite, got 0.0"),
        ("image goal", {"goal_threshold": float("nan")}, "expected goal_threshold above 0 and finite, got nan"),
        ("image goal", {"goal_threshold": 1.0, "keys": ["achieved_goal"]}, "got latents of achieved_goal; leave"),
        ("goal", {"goal_threshold": 1.0}, "entries achieved_goal, desired_goal are encoded .* got latents of observ"),
        ("hwc", {"goal_threshold": 1.0}, "got latents of the whole observation; leave goal_threshold out"),
    ],
)
def test_bad_thresholds_of_goals_are_refused(
    layout: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    encoder = Encoder.load(save_encoder(tmp_path / "encoder"))
    with pytest.raises(ValueError, match=message):
        EncodeObservation(Camera(layout), encoder, **options)


def test_goals_in_vector_environments_are_not_rewarded_by_their_latents(tmp_path: Path) -> None:
    encoder = Encoder.load(save_encoder(tmp_path / "encoder"))
    with pytest.raises(ValueError, match=r"wrap each environment in EncodeObservation\(env, encoder, goal_threshold"):
        VecEncodeObservation(DummyVecEnv([Corridor]), encoder)
    VecEncodeObservation(DummyVecEnv([Corridor]), encoder, keys=["observation"])


@pytest.mark.parametrize("layout", ["goal", "image goal"])
def test_hindsight_experience_replay_trains_on_encoded_goals(layout: str, tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "encoder")
    model = SAC(
        "MultiInputPolicy",
        Camera(layout),
        replay_buffer_class=HerReplayBuffer,
        policy_kwargs=policy_options(folder),
        buffer_size=50,
        learning_starts=6,
        batch_size=4,
        device="cpu",
        seed=0,
    )
    model.learn(12)
    assert model.actor.features_extractor.features_dim == (8 if layout == "goal" else 10)
    assert_untouched(model, folder)


def test_features_of_a_dict_are_latents_and_the_rest(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "encoder")
    encoder = Encoder.load(folder)
    model = PPO("MultiInputPolicy", Camera("dict"), policy_kwargs=policy_options(folder), n_steps=8, batch_size=4)
    model.learn(8)
    observation = Camera("dict").reset(seed=0)[0]
    given, _ = model.policy.obs_to_tensor({**observation, "image": observation["image"].transpose(2, 0, 1)})
    features = model.policy.extract_features(given)[0].detach().numpy()
    expected = [latents(encoder, observation["image"][None])[0], observation["state"]]
    np.testing.assert_allclose(features, np.concatenate(expected), atol=1e-6)
    assert_untouched(model, folder)
    other = gym.spaces.Dict({"image": box(*SHAPE), "wrist": box(64, 64, 3)})
    with pytest.raises(ValueError, match=r"every image entry.*got wrist \(64, 64, 3\), which would become features"):
        EncoderFeatures(other, folder)


@pytest.mark.parametrize("stack", ["SB3", "Gymnasium"])
def test_a_policy_trains_on_stacks_of_frames(stack: str, tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "encoder")
    environment: Any = gym.wrappers.FrameStackObservation(Camera(), 2)
    if stack == "SB3":
        environment = VecFrameStack(DummyVecEnv([Camera]), 2)
    model = PPO("CnnPolicy", environment, policy_kwargs=policy_options(folder), n_steps=8, batch_size=4, device="cpu")
    model.learn(8)
    assert_untouched(model, folder)
    frames = np.random.default_rng(0).integers(0, 256, (2, *SHAPE), np.uint8)
    given = np.concatenate(list(frames), 2).transpose(2, 0, 1) if stack == "SB3" else frames
    features = model.policy.extract_features(model.policy.obs_to_tensor(given)[0])[0].detach().numpy()
    np.testing.assert_allclose(features, one_by_one(Encoder.load(folder), frames), atol=1e-6)


def test_images_that_are_not_scaled_are_refused(tmp_path: Path) -> None:
    options = policy_options(save_encoder(tmp_path / "encoder")) | {"normalize_images": False}
    model = A2C("CnnPolicy", Camera(), policy_kwargs=options, device="cpu")
    with pytest.raises(ValueError, match=r"expected images in \[0, 1\], got values up to .*normalize_images=True"):
        model.predict(np.full(SHAPE, 255, np.uint8))


SMALL_BUFFERS: dict[type[BaseAlgorithm], dict[str, Any]] = {
    PPO: {"n_steps": 8, "batch_size": 4},
    SAC: {"buffer_size": 20, "learning_starts": 4},
}


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("algorithm", [PPO, SAC])
def test_a_model_loads_where_the_folder_of_its_encoder_is_not(
    algorithm: type[BaseAlgorithm], frozen: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another working directory, and after the folder is gone; to train on, too."""
    monkeypatch.chdir(tmp_path)
    save_encoder(tmp_path / "runs" / "encoder")
    options = policy_options(Path("runs/encoder"), frozen=frozen)
    model = algorithm("CnnPolicy", Camera(), policy_kwargs=options, device="cpu", seed=0, **SMALL_BUFFERS[algorithm])
    model.learn(8)
    model.save(tmp_path / "model.zip")
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), np.uint8)
    expected = model.predict(images, deterministic=True)[0]
    shutil.rmtree(tmp_path / "runs")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert not os.listdir()
    loaded = algorithm.load(tmp_path / "model.zip", env=Camera(), device="cpu")
    np.testing.assert_array_equal(loaded.predict(images, deterministic=True)[0], expected)
    loaded.learn(8)
    for features in extractors(loaded):
        assert isinstance(features.encoder, AgentObjectEncoder)
        if frozen:
            features.require_pretrained()
    loaded.save(tmp_path / "again.zip")
    algorithm.load(tmp_path / "again.zip", device="cpu")


def test_a_new_model_does_not_start_without_its_encoder(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="expected a folder with a saved encoder, got nothing"):
        PPO("CnnPolicy", Camera(), policy_kwargs=policy_options(tmp_path / "nowhere"))


@pytest.mark.parametrize("algorithm", [PPO, SAC])
def test_a_new_model_on_a_space_that_knows_the_encoder_does_not_start_without_it(
    algorithm: type[BaseAlgorithm], tmp_path: Path
) -> None:
    """A channels-first environment keeps its space: the card is there, but there is no file with the weights."""
    folder, environment = save_encoder(tmp_path / "encoder"), Camera("chw")
    algorithm("CnnPolicy", environment, policy_kwargs=policy_options(folder), device="cpu", **SMALL_BUFFERS[algorithm])
    shutil.rmtree(folder)
    model = algorithm(
        "CnnPolicy", environment, policy_kwargs=policy_options(folder), device="cpu", **SMALL_BUFFERS[algorithm]
    )
    with pytest.raises(RuntimeError, match="a new model needs the folder of the encoder"):
        model.predict(np.zeros((3, 32, 32), np.uint8))


def test_an_encoder_object_is_copied_and_travels_too(tmp_path: Path) -> None:
    encoder = Encoder.load(save_encoder(tmp_path / "encoder"))
    options = policy_options(tmp_path)
    options["features_extractor_kwargs"]["encoder"] = encoder
    model = SAC("CnnPolicy", Camera(), policy_kwargs=options, buffer_size=20, device="cpu")
    assert all(features.encoder is not encoder for features in extractors(model))
    assert all(isinstance(value, torch.nn.Parameter) for value in encoder.parameters()) and list(encoder.parameters())
    model.save(tmp_path / "model.zip")
    shutil.rmtree(tmp_path / "encoder")
    for features in extractors(SAC.load(tmp_path / "model.zip", device="cpu")):
        features.require_pretrained()


PRECISIONS = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def make_encoder(kind: str) -> Encoder:
    torch.manual_seed(0)
    encoder: Encoder = {
        "agent-object": lambda: AgentObjectEncoder(SHAPE, "R2"),
        "agent-objects": lambda: AgentObjectsEncoder(SHAPE, "R2"),
        "class-pose SO2": lambda: ClassPoseEncoder(SHAPE, "SO2", ClassPoseConfig(backbone="strided")),
        "class-pose SO3": lambda: ClassPoseEncoder(SHAPE, "SO3", ClassPoseConfig(backbone="strided")),
        "pose-set SO3": lambda: PoseSetEncoder(SHAPE, "SO3", PoseSetConfig(backbone="strided", num_poses=3)),
        "harmonics SO2": lambda: HarmonicEncoder(SHAPE, "SO2", HarmonicConfig(backbone="strided")),
    }[kind]()
    encoder.train()
    with torch.no_grad():
        encoder.latents(torch.rand(16, 3, 32, 32))
    return encoder.eval()


KINDS = ["agent-object", "agent-objects", "class-pose SO2", "class-pose SO3", "pose-set SO3", "harmonics SO2"]


def patches(count: int) -> NDArray[np.uint8]:
    """Return images of one colour with a patch of another."""
    generator = np.random.default_rng(0)
    images = np.empty((count, *SHAPE), np.uint8)
    images[:] = generator.integers(0, 256, (count, 1, 1, 3))
    for image in images:
        row, column = generator.integers(0, 24, 2)
        image[row : row + 8, column : column + 8] = generator.integers(0, 256, 3)
    return images


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", [*PRECISIONS, "autocast"])
def test_half_precision_gives_nearby_latents_on_the_group(kind: str, precision: str) -> None:
    """By the root-mean-square error over the spread, here of untrained encoders, whose latents hardly differ."""
    encoder, images = make_encoder(kind), patches(64)
    exact = encoder.encode(images)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
        result = (encoder if precision == "autocast" else encoder.to(PRECISIONS[precision])).encode(images)
    for name, latent in result.items():
        assert latent.dtype == np.float32
        error, spread = ((each**2).mean() ** 0.5 for each in (latent - exact[name], exact[name] - exact[name].mean(0)))
        assert 0 < error < (0.03 if precision == "float16" else 0.35) * spread, name
        if name in encoder.group_valued:
            assert group_from_name(encoder.group).violation(latent).max() < 1e-5


def test_features_in_half_precision_are_near_those_in_float32(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "encoder")
    features, images = EncoderFeatures(box(3, 32, 32), folder), torch.rand(4, 3, 32, 32)
    exact = features(images)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(features(images), exact, atol=0.05, rtol=0.05)
    torch.testing.assert_close(features.half()(images), exact, atol=0.01, rtol=0.01)
