"""Pairs of images: displacements lead from one image to the other, and all frames are drawn with equal probability."""

from typing import Any

import numpy as np
import pytest
import torch
from equiact.envs.data.trajectories import trajectory_frames
from equiact.envs.data.transitions import Transitions
from equiact.envs.lie_groups.registry import group_from_name
from equiact.representations.baselines.neural_renderer import (
    NeuralRenderer,
    NeuralRendererConfig,
    NeuralRendererLearner,
)
from equiact.representations.encoders.class_pose import ClassPoseConfig, ClassPoseEncoder
from equiact.representations.encoders.class_pose_learner import ClassPoseLearner
from equiact.representations.learning.config import ConfigError, OptimConfig
from equiact.representations.learning.pair_sampling import PairSamplingConfig

IMAGES, VIEWS = 64, 4
CONFIG = ClassPoseConfig(backbone="strided")


def trajectories_of(group_name: str, lengths: list[int]) -> tuple[Transitions, Any, Any]:
    """Return trajectories of these lengths; the index of a frame is written into it.

    Returns:
        The transitions, the ground-truth pose of each frame, and its trajectory.
    """
    group, generator = group_from_name(group_name), np.random.default_rng(0)
    trajectory = np.repeat(np.arange(len(lengths)), np.add(lengths, 1))
    frames = np.zeros((len(trajectory), 16, 16, 3), np.uint8)
    frames[:, 0, 0, 0], frames[:, 0, 0, 1] = np.arange(len(trajectory)) // 256, np.arange(len(trajectory)) % 256
    start = np.flatnonzero(trajectory[1:] == trajectory[:-1])
    displacement, pose = group.random(generator, len(start)), group.random(generator, len(trajectory))
    for begin, action in zip(start, displacement, strict=True):
        pose[begin + 1] = group.compose(action, pose[begin])
    return Transitions(frames, start, start + 1, displacement.astype(np.float32), group_name), pose, trajectory


def numbers(images: torch.Tensor) -> Any:
    corner = (255 * images[:, :2, 0, 0]).round().long()
    return (256 * corner[:, 0] + corner[:, 1]).numpy()


def learner(data: Transitions, config: ClassPoseConfig = CONFIG) -> ClassPoseLearner[Any]:
    return ClassPoseLearner(ClassPoseEncoder((16, 16, 3), data.group, config), data)


@pytest.mark.parametrize("name", ["R2", "SO3", "SE2", "SO2xSO2"])
def test_displacements_lead_from_image_to_image(name: str) -> None:
    data, pose, trajectory = trajectories_of(name, [9] * 20 + [1, 2, 3, 30])
    group, sampler = group_from_name(name), learner(data).sampler
    for seed in range(5):
        drawn = sampler.draw(torch.Generator().manual_seed(seed))
        assert len(drawn.images) == len(drawn.moved) == IMAGES
        np.testing.assert_array_equal(numbers(drawn.images), drawn.frame)
        displacement, first, second = sampler.pair(drawn, {"frame": drawn.frame[:, None], "step": drawn.step})
        before, after = first["frame"][:, 0].numpy(), second["frame"][:, 0].numpy()
        np.testing.assert_array_equal(second["step"] - first["step"], after - before)
        assert len(displacement) == sampler.num_pairs == 6 * IMAGES // VIEWS
        assert (trajectory[before] == trajectory[after]).all(), "both views are of the same trajectory"
        np.testing.assert_allclose(group.compose(displacement.numpy(), pose[before]), pose[after], atol=1e-4)


def test_each_view_is_paired_with_the_next() -> None:
    data, pose, trajectory = trajectories_of("SO3", [9] * 20)
    group, config = group_from_name("SO3"), NeuralRendererConfig(backbone="strided")
    learning = NeuralRendererLearner(NeuralRenderer((16, 16, 3), "SO3", config), data)
    drawn = learning.sampler.draw(torch.Generator().manual_seed(0))
    displacement, images = learning.sampler.pair_with_next(drawn)
    here, there = drawn.frame.numpy(), numbers(images)
    assert len(displacement) == learning.batch_size == IMAGES
    assert (trajectory[here] == trajectory[there]).all() and (here != there).all() and sorted(here) == sorted(there)
    np.testing.assert_allclose(group.compose(displacement.numpy(), pose[here]), pose[there], atol=1e-4)


def test_batch_size_and_views_come_from_the_configuration() -> None:
    data, _, _ = trajectories_of("R2", [9] * 20)
    config = ClassPoseConfig(
        backbone="strided", optim=OptimConfig(batch_size=12), pairs=PairSamplingConfig(views=3, longest_trajectory=4)
    )
    learning = learner(data, config)
    assert len(learning.sampler.draw(torch.Generator()).images) == learning.sampler.num_images == 12
    assert learning.batch_size == 12, "three pairs of each of four trajectories"
    with pytest.raises(ConfigError, match="views must be at least 2, got 1"):
        PairSamplingConfig(views=1)


@pytest.mark.parametrize(("lengths", "views"), [([1] * 30, 2), ([2] * 30, 3), ([9] * 20 + [19] * 10, VIEWS)])
def test_frames_are_drawn_equally_often_and_not_twice(lengths: list[int], views: int) -> None:
    data, _, trajectory = trajectories_of("R2", lengths)
    sampler, generator = learner(data).sampler, torch.Generator().manual_seed(0)
    assert sampler.views == views
    drawn = [sampler.draw(generator).frame.numpy() for _ in range(600)]
    assert all(len(set(each)) == views for batch in drawn for each in batch.reshape(views, -1).T)
    counts = np.bincount(np.concatenate(drawn), minlength=len(trajectory)) / np.size(drawn)
    np.testing.assert_allclose(counts, 1 / len(trajectory), rtol=0.35)
    by_length = [counts[np.isin(trajectory, np.flatnonzero(np.equal(lengths, one)))].mean() for one in set(lengths)]
    np.testing.assert_allclose(by_length, 1 / len(trajectory), rtol=0.1)


def test_frames_are_in_the_order_of_the_trajectory() -> None:
    """Rotations in space do not commute: the later one is multiplied from the left."""
    turns = group_from_name("SO3").random(np.random.default_rng(0), 3).astype(np.float32)
    frames = np.zeros((6, 2, 2, 3), np.uint8)
    data = Transitions(frames, np.array([4, 1, 5]), np.array([5, 0, 2]), turns, "SO3")  # 1 → 0, and 4 → 5 → 2
    frame, length, moved = trajectory_frames(data, longest=10)
    assert frame.tolist() == [4, 5, 2, 1, 0] and length.tolist() == [3, 2]
    first, other, second = (turn.reshape(3, 3) for turn in turns)
    expected = [np.eye(3), first, second @ first, np.eye(3), other]
    np.testing.assert_allclose(moved.reshape(-1, 3, 3), expected, atol=1e-6)
    assert trajectory_frames(data, longest=1)[1].tolist() == [2, 2, 2], "a long trajectory is cut"


@pytest.mark.parametrize(
    ("start", "end"),
    [([0, 1, 2], [1, 2, 0]), ([0, 1, 2], [1, 2, 1]), ([0, 0, 1], [1, 2, 3]), ([1, 1, 0], [1, 1, 0])],
    ids=["ring", "into a ring", "branches", "standing still"],
)
def test_every_transition_is_used_whatever_the_links(start: list[int], end: list[int]) -> None:
    move = np.arange(2.0 * len(start), dtype=np.float32).reshape(-1, 2)
    data = Transitions(np.zeros((4, 2, 2, 3), np.uint8), np.array(start), np.array(end), move, "R2")
    frame, length, moved = trajectory_frames(data, longest=10)
    last = np.cumsum(length) - 1
    steps = [index for index in range(len(frame) - 1) if index not in last]
    found = sorted((frame[i], frame[i + 1], *(moved[i + 1] - moved[i])) for i in steps)
    assert found == sorted((s, e, *m) for s, e, m in zip(start, end, move, strict=True))
