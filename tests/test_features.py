"""An encoder as the eyes of a Stable-Baselines3 policy: frozen means frozen, and what a policy sees are its latents."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO, SAC

from agents.features import EncodeObservation, EncoderFeatures, VecEncodeObservation
from agents.vec_env import WorldVecEnv
from envs import world_class
from representations.agent_object import AgentObjectEncoder
from representations.encoder import Encoder, to_images

SHAPE = (32, 32, 3)


def make_env(num_worlds: int = 2, max_episode_steps: int = 7) -> WorldVecEnv:
    world = world_class("Soccer")(num_worlds, resolution=SHAPE[:2], device="cpu", max_episode_steps=max_episode_steps)
    environment = WorldVecEnv(world)
    environment.seed(0)
    return environment


def save_encoder(folder: Path, backbone: str = "spatial_softmax") -> Path:
    torch.manual_seed(0)
    encoder = AgentObjectEncoder(SHAPE, "R2", backbone=backbone)
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


def make_ppo(folder: Path, ortho_init: bool | None = False, **more: Any) -> PPO:
    options = policy_options(folder, **more) | ({} if ortho_init is None else {"ortho_init": ortho_init})
    return PPO(
        "CnnPolicy", make_env(), policy_kwargs=options, n_steps=8, batch_size=8, n_epochs=2, device="cpu", seed=0
    )


def extractors(model: SAC | PPO) -> list[EncoderFeatures]:
    found = [module for module in model.policy.modules() if isinstance(module, EncoderFeatures)]
    assert found
    return found


def assert_untouched(model: SAC | PPO, folder: Path) -> None:
    saved = Encoder.load(folder).state_dict()
    for features in extractors(model):
        features.require_pretrained()
        assert features.encoder.state_dict().keys() == saved.keys()
        for key, value in features.encoder.state_dict().items():
            assert torch.equal(value, saved[key]), key


@pytest.mark.parametrize(
    ("backbone", "share", "steps"),
    [("spatial_softmax", True, 60), ("spatial_softmax", False, 60), ("resnet18", True, 20)],
)
def test_sac_leaves_a_frozen_encoder_as_it_is(backbone: str, share: bool, steps: int, tmp_path: Path) -> None:
    """In the critic's target too, which is averaged with the critic after every update."""
    folder = save_encoder(tmp_path / "encoder", backbone)
    model = make_sac(folder, share)
    heads = [value.clone() for value in model.critic.qf0.parameters()]
    model.learn(steps)
    assert model._n_updates > 3
    assert any(not torch.equal(a, b) for a, b in zip(heads, model.critic.qf0.parameters(), strict=True))
    assert_untouched(model, folder)


@pytest.mark.parametrize("backbone", ["spatial_softmax", "resnet18"])
def test_ppo_leaves_a_frozen_encoder_as_it_is(backbone: str, tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "encoder", backbone)
    model = make_ppo(folder)
    heads = [value.clone() for value in model.policy.action_net.parameters()]
    model.learn(16)
    assert any(not torch.equal(a, b) for a, b in zip(heads, model.policy.action_net.parameters(), strict=True))
    assert_untouched(model, folder)


def test_initialisation_of_ppo_that_overwrites_the_encoder_is_told(tmp_path: Path) -> None:
    model = make_ppo(save_encoder(tmp_path / "encoder"), ortho_init=None)
    with pytest.raises(RuntimeError, match="ortho_init"):
        extractors(model)[0].require_pretrained()


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
    plain = gym.make("envs:equiact/Soccer-v0", resolution=SHAPE[:2], device="cpu")
    wrapped = EncodeObservation(
        gym.make("envs:equiact/Soccer-v0", resolution=SHAPE[:2], device="cpu"), folder if as_folder else encoder
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
