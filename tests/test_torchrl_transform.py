"""The transform for TorchRL: environments and replay buffers get the latents of the encoder."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from equiact.agents.policies import torchrl_transform
from equiact.agents.policies.torchrl_transform import EncodeTransform
from equiact.representations.encoders.agent_object import AgentObjectEncoder
from equiact.representations.encoders.encoder import ObservationError
from numpy.typing import NDArray

SHAPE = (16, 16, 3)


class Flicker(gym.Env[dict[str, NDArray[np.uint8]], NDArray[Any]]):
    """Random images; an episode has three steps."""

    def __init__(self, shape: tuple[int, ...] = SHAPE) -> None:
        self.observation_space = gym.spaces.Dict({"camera": gym.spaces.Box(0, 255, shape, np.uint8)})
        self.action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, **options: Any) -> tuple[dict[str, NDArray[np.uint8]], dict[str, Any]]:
        super().reset(**options)
        self._time = 0
        return self._image(), {}

    def step(self, action: Any) -> tuple[dict[str, NDArray[np.uint8]], float, bool, bool, dict[str, Any]]:
        self._time += 1
        return self._image(), 0.0, self._time == 3, False, {}

    def _image(self) -> dict[str, NDArray[np.uint8]]:
        return {"camera": self.np_random.integers(0, 256, self.observation_space["camera"].shape, np.uint8)}


@pytest.fixture
def torchrl_envs() -> Any:
    return pytest.importorskip("torchrl.envs", reason="TorchRL is an extra")


@pytest.fixture
def encoder() -> AgentObjectEncoder:
    torch.manual_seed(0)
    return AgentObjectEncoder(SHAPE, "R2").eval()


@pytest.mark.parametrize("shape", [SHAPE, (3, 16, 16)])
def test_an_environment_of_torchrl_observes_latents(
    shape: tuple[int, ...], torchrl_envs: Any, encoder: AgentObjectEncoder
) -> None:
    inner = torchrl_envs.GymWrapper(Flicker(shape))
    env = torchrl_envs.TransformedEnv(inner, EncodeTransform(encoder, in_key="camera"))
    torchrl_envs.check_env_specs(env)
    rollout = env.rollout(5, break_when_any_done=False)
    images = rollout["next", "camera"]
    last = images.movedim(1, -1) if shape != SHAPE else images
    torch.testing.assert_close(rollout["next", "latents"], encoder.encode_flat(last.contiguous()), atol=1e-6, rtol=1e-5)
    assert rollout["latents"].shape == (5, 4) and not rollout["latents"].requires_grad
    assert env.observation_spec["latents"].shape == (4,)


def test_a_batch_of_environments_and_the_images_removed(torchrl_envs: Any, encoder: AgentObjectEncoder) -> None:
    envs = torchrl_envs.SerialEnv(2, lambda: torchrl_envs.GymWrapper(Flicker()))
    chain = torchrl_envs.Compose(EncodeTransform(encoder, "camera"), torchrl_envs.ExcludeTransform("camera"))
    rollout = torchrl_envs.TransformedEnv(envs, chain).rollout(2)
    assert rollout["next", "latents"].shape == (2, 2, 4)
    assert "camera" not in set(rollout["next"].keys())


def test_a_replay_buffer_is_encoded_when_it_is_sampled(torchrl_envs: Any, encoder: AgentObjectEncoder) -> None:
    from tensordict import TensorDict
    from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer

    buffer = TensorDictReplayBuffer(
        storage=LazyTensorStorage(8), batch_size=4, transform=EncodeTransform(encoder, "camera")
    )
    images = torch.randint(0, 256, (8, *SHAPE), dtype=torch.uint8)
    buffer.extend(TensorDict({"camera": images}, [8]))
    sample = buffer.sample()
    torch.testing.assert_close(sample["latents"], encoder.encode_flat(sample["camera"]))


@pytest.mark.parametrize("shape", [(32, 32, 3), (16, 16, 1), (16, 16)])
def test_other_images_are_refused_when_the_environment_is_made(
    shape: tuple[int, ...], torchrl_envs: Any, encoder: AgentObjectEncoder
) -> None:
    env = torchrl_envs.TransformedEnv(
        torchrl_envs.GymWrapper(Flicker(shape)), EncodeTransform(encoder, in_key="camera")
    )
    with pytest.raises(ObservationError, match=r"expected uint8 images \(\.\.\., 16, 16, 3\), .*torch.uint8 \("):
        _ = env.observation_spec


def test_a_missing_entry_is_named(torchrl_envs: Any, encoder: AgentObjectEncoder) -> None:
    env = torchrl_envs.TransformedEnv(torchrl_envs.GymWrapper(Flicker()), EncodeTransform(encoder))
    with pytest.raises(ObservationError, match="expected the entry 'pixels' with images, got camera; set in_key"):
        _ = env.observation_spec


def test_float_images_are_refused(torchrl_envs: Any, encoder: AgentObjectEncoder) -> None:
    from tensordict import TensorDict

    with pytest.raises(ObservationError, match="expected uint8 images"):
        EncodeTransform(encoder)(TensorDict({"pixels": torch.rand(2, *SHAPE)}, [2]))


def test_without_torchrl_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, encoder: AgentObjectEncoder) -> None:
    monkeypatch.setattr(torchrl_transform, "Transform", None)
    with pytest.raises(ImportError, match=r"pip install 'equiact\[offline\]'"):
        EncodeTransform(encoder)
