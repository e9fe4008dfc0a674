"""Soft actor-critic on frames: random shifts of the batches, and a policy that acts on the frames as they are."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from equiact.agents.evaluation.rollouts import evaluate_policy
from equiact.agents.policies.image_sac import ImageSACConfig, ShiftedReplayBuffer, random_shift, train_image_sac
from equiact.agents.policies.sac import LearningCurve, SACConfig, save_policy
from equiact.agents.policies.sb3_vec_env import observe_pixels, observe_state
from equiact.envs.data.seeds import stream_seed
from equiact.envs.storage.artifacts import read_json
from equiact.envs.worlds import registry
from equiact.envs.worlds.soccer import Soccer
from equiact.envs.worlds.world import Info
from equiact.representations.learning.config import ConfigError, from_dict, to_dict
from equiact.scripts.benchmarks.policy_training import ImagePolicyTrainingJob
from numpy.typing import NDArray
from stable_baselines3 import SAC

PAD = 2
CROPS = 2 * PAD + 1
SIDE = 40
"""Pixels of a side; the convolutions need at least 36."""


def crops(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return all crops of an image that was padded with its border, ``(CROPS², C, H, W)``."""
    _, height, width = image.shape
    padded = np.pad(image, ((0, 0), (PAD, PAD), (PAD, PAD)), mode="edge")
    return np.stack([padded[:, y : y + height, x : x + width] for y in range(CROPS) for x in range(CROPS)])


def which_crop(shifted: NDArray[np.uint8], image: NDArray[np.uint8]) -> int:
    """Return the number of the one crop of an image that a shifted image is."""
    found = np.flatnonzero((crops(image) == shifted).all((1, 2, 3)))
    assert len(found) == 1, "a shifted image is one crop of the padded image"
    return int(found[0])


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_a_random_shift_is_a_crop_of_the_padded_image() -> None:
    """Every crop occurs, and about equally often; rectangular images, whose sides must not be confused."""
    torch.manual_seed(0)
    images = noise(1000, 3, 9, 13)
    shifted = random_shift(torch.from_numpy(images), PAD)
    assert shifted.shape == images.shape and shifted.dtype == torch.uint8
    found = [which_crop(one.numpy(), image) for one, image in zip(shifted, images, strict=True)]
    counts = np.bincount(found, minlength=CROPS**2)
    expected = 1000 / CROPS**2
    assert (abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_the_shift_of_an_image_is_the_same_for_all_channels() -> None:
    torch.manual_seed(1)
    one = np.repeat(noise(20, 1, 9, 9), 3, axis=1)
    shifted = random_shift(torch.from_numpy(one), PAD)
    assert (shifted == shifted[:, :1]).all() and not np.array_equal(shifted, one)


def test_no_pad_is_no_shift() -> None:
    images = torch.from_numpy(noise(5, 3, 8, 8))
    assert torch.equal(random_shift(images, 0), images)


def filled_buffer(pad: int) -> tuple[ShiftedReplayBuffer, NDArray[np.uint8]]:
    """Return a buffer with one transition, and its two images."""
    images = noise(2, 3, 8, 8)
    space, actions = gym.spaces.Box(0, 255, (3, 8, 8), np.uint8), gym.spaces.Box(-1, 1, (2,))
    buffer = ShiftedReplayBuffer(1, space, actions, device="cpu", pad=pad)
    action = np.array([[0.25, -0.5]])
    buffer.add(images[:1], images[1:], action, np.array([3.0]), np.array([True]), [{"TimeLimit.truncated": False}])
    return buffer, images


def test_sampled_images_are_shifted_each_by_its_own_shift() -> None:
    torch.manual_seed(0)
    buffer, images = filled_buffer(PAD)
    batch = buffer.sample(64)
    before = [which_crop(one.numpy(), images[0]) for one in batch.observations]
    after = [which_crop(one.numpy(), images[1]) for one in batch.next_observations]
    assert len(set(before)) > 15 and len(set(after)) > 15, "samples differ"
    assert before != after, "both images of a transition have shifts of their own"
    np.testing.assert_array_equal(batch.actions, [[0.25, -0.5]] * 64)
    np.testing.assert_array_equal(batch.rewards, [[3.0]] * 64)
    np.testing.assert_array_equal(batch.dones, [[1.0]] * 64)
    np.testing.assert_array_equal(buffer.observations[0], images[:1])  # what is stored is not shifted


def test_without_pad_images_are_sampled_as_they_are() -> None:
    buffer, images = filled_buffer(0)
    batch = buffer.sample(4)
    np.testing.assert_array_equal(batch.observations, np.repeat(images[:1], 4, 0))
    np.testing.assert_array_equal(batch.next_observations, np.repeat(images[1:], 4, 0))


class Recorded(Soccer):
    """A small pitch that records the initial states and the frames of the training."""

    def __init__(self, num_worlds: int, **options: Any) -> None:
        self.starts: list[NDArray[Any]] = []
        self.frames: list[NDArray[Any]] = []
        super().__init__(num_worlds, resolution=(SIDE, SIDE), max_episode_steps=4, **options)

    def reset(self, worlds: NDArray[np.intp], generators: Any) -> Info:
        info = super().reset(worlds, generators)
        self.starts.append(observe_state(self, worlds).copy())
        return info

    def render(self, worlds: Any = None) -> NDArray[np.uint8]:
        frames = super().render(worlds)
        self.frames.append(frames.copy())
        return frames


SMALL = ImageSACConfig(
    PAD,
    SACConfig(
        steps=24,
        batch_size=4,
        learning_starts=8,
        gradient_steps=1,
        buffer_size=24,
        net_arch=(8,),
        num_worlds=2,
        evaluate_every=12,
        evaluation_episodes=3,
    ),
)
Trained = tuple[SAC, LearningCurve, Recorded]


@pytest.fixture(scope="module")
def trained() -> Trained:
    """A short training with its curve and its worlds."""
    made: list[Recorded] = []

    def make_world(count: int) -> Recorded:
        made.append(Recorded(count, device="cpu"))
        return made[-1]

    model, curve = train_image_sac(make_world, SMALL, seed=3)
    return model, curve, made[0]


def test_the_policy_learns_from_the_frames_of_the_world(trained: Trained) -> None:
    model, curve, world = trained
    buffer: Any = model.replay_buffer
    assert isinstance(buffer, ShiftedReplayBuffer) and buffer.pad == PAD
    stored = buffer.observations.transpose(0, 1, 3, 4, 2)
    whole = [frames for frames in world.frames if len(frames) == 2]
    first = next(at for at, frames in enumerate(whole) if np.array_equal(frames, stored[0]))
    np.testing.assert_array_equal(stored[:4], whole[first : first + 4])
    np.testing.assert_array_equal(buffer.next_observations[3].transpose(0, 2, 3, 1), whole[first + 4])
    assert curve.steps == [12, 24] and model._n_updates == 8  # one of 12 steps of two worlds, from the fifth on


def test_its_training_episodes_are_those_of_their_seed(trained: Trained) -> None:
    expected = Recorded(2, device="cpu")
    first = stream_seed(3, "training episodes")
    expected.reset(np.arange(2), [np.random.default_rng(first + index) for index in range(2)])
    assert any(np.array_equal(start, expected.starts[0]) for start in trained[2].starts)


def test_the_policy_acts_on_frames_that_are_not_shifted(trained: Trained) -> None:
    model = trained[0]
    frames = noise(6, SIDE, SIDE, 3)
    with torch.no_grad():
        expected = model.actor(torch.from_numpy(frames.transpose(0, 3, 1, 2).copy()), deterministic=True).numpy()
    low, high = model.action_space.low, model.action_space.high  # type: ignore[attr-defined]
    for _ in range(2):
        found = model.predict(frames, deterministic=True)[0]
        np.testing.assert_allclose(found, low + 0.5 * (expected + 1) * (high - low), atol=1e-6)
    assert np.ptp(found, axis=0).min() > 0


def test_the_policy_is_not_saved_as_an_mlp(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="model with vectors of observations"):
        save_policy(trained[0], tmp_path / "policy")


def test_the_job_keeps_the_curve_and_the_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "task_world_class", lambda name: Recorded)
    job = ImagePolicyTrainingJob("CnnPolicy", "Soccer", SMALL, 5, 3, "cpu", tmp_path / "policies" / "images.json")
    assert not job.done
    job.run(lambda *given, **named: None)
    assert job.done and job.output == job.curve_file
    saved = read_json(job.curve_file)
    assert saved["steps"] == [12, 24] and saved["job"]["config"] == to_dict(SMALL)
    model, curve = train_image_sac(lambda count: Recorded(count, device="cpu"), SMALL, seed=3)
    again = evaluate_policy(Recorded(5, device="cpu"), observe_pixels, model, seed=3)
    assert saved["return"] == curve.return_
    assert tuple(saved["outcomes"]) == job.outcomes() == again.outcomes
    assert sorted(path.name for path in job.curve_file.parent.iterdir()) == ["images.json"], "no pickle"


def test_configurations_are_checked_and_come_back_from_json() -> None:
    with pytest.raises(ConfigError, match="pad"):
        ImageSACConfig(pad=-1)
    assert from_dict(ImageSACConfig, to_dict(SMALL)) == SMALL
