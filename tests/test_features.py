"""An encoder as the eyes of a Stable-Baselines3 policy: frozen means frozen, and what a policy sees are its latents."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from equiact.agents.policies.encode_observation import EncodeObservation
from equiact.agents.policies.sb3_features import EncoderFeatures, VecEncodeObservation
from equiact.agents.policies.sb3_vec_env import WorldVecEnv
from equiact.envs.worlds.registry import world_class
from equiact.representations.encoders.agent_object import AgentObjectConfig, AgentObjectEncoder
from equiact.representations.encoders.encoder import Encoder, to_images
from numpy.typing import NDArray
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm

SHAPE = (32, 32, 3)


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


@pytest.mark.parametrize("shape", [(3, 64, 64), (32, 32, 3), (1, 32, 32)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "encoder")
    with pytest.raises(ValueError, match=r"\(3, 32, 32\) \(channels first\).*" + ", ".join(map(str, shape))):
        EncoderFeatures(gym.spaces.Box(0, 255, shape, np.uint8), folder)


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
