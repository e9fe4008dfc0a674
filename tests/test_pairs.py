"""Batches of pairs: what is said to lead from one image to another does, and whole episodes are drawn from evenly."""

from typing import Any

import numpy as np
import pytest
import torch

from envs.groups import group_from_name
from envs.transitions import Transitions, views
from representations.acted import IMAGES, VIEWS
from representations.baselines.neural_renderer import NeuralRenderer, NeuralRendererLearner
from representations.class_pose import ClassPoseEncoder, ClassPoseLearner


def walking(group_name: str, lengths: list[int]) -> tuple[Transitions, Any, Any]:
    """Walks of so many steps, one after another; a frame's number is written into it.

    Returns:
        The transitions, and of each frame the true pose and the walk.
    """
    group, generator = group_from_name(group_name), np.random.default_rng(0)
    walk = np.repeat(np.arange(len(lengths)), np.add(lengths, 1))
    frames = np.zeros((len(walk), 16, 16, 3), np.uint8)
    frames[:, 0, 0, 0], frames[:, 0, 0, 1] = np.arange(len(walk)) // 256, np.arange(len(walk)) % 256
    start = np.flatnonzero(walk[1:] == walk[:-1])
    displacement, pose = group.random(generator, len(start)), group.random(generator, len(walk))
    for begin, action in zip(start, displacement, strict=True):
        pose[begin + 1] = group.compose(action, pose[begin])
    return Transitions(frames, start, start + 1, displacement.astype(np.float32), group_name), pose, walk


def numbers(images: torch.Tensor) -> Any:
    corner = (255 * images[:, :2, 0, 0]).round().long()
    return (256 * corner[:, 0] + corner[:, 1]).numpy()


def learner(data: Transitions) -> ClassPoseLearner:
    return ClassPoseLearner(ClassPoseEncoder((16, 16, 3), data.group, "strided"), data)


@pytest.mark.parametrize("name", ["R2", "SO3", "SE2", "SO2xSO2"])
def test_displacements_lead_from_image_to_image(name: str) -> None:
    data, pose, walk = walking(name, [9] * 20 + [1, 2, 3, 30])
    group, learning = group_from_name(name), learner(data)
    for seed in range(5):
        drawn = learning.draw(torch.Generator().manual_seed(seed))
        assert len(drawn.images) == len(drawn.moved) == IMAGES
        np.testing.assert_array_equal(numbers(drawn.images), drawn.frame)
        displacement, first, second = learning.paired(drawn, {"frame": drawn.frame[:, None]})
        before, after = first["frame"][:, 0].numpy(), second["frame"][:, 0].numpy()
        assert len(displacement) == learning.batch_size == 6 * IMAGES // VIEWS
        assert (walk[before] == walk[after]).all(), "other views of the same walk"
        np.testing.assert_allclose(group.compose(displacement.numpy(), pose[before]), pose[after], atol=1e-4)


def test_a_view_leads_to_the_next() -> None:
    data, pose, walk = walking("SO3", [9] * 20)
    group, learning = group_from_name("SO3"), NeuralRendererLearner(NeuralRenderer((16, 16, 3), "SO3", "strided"), data)
    drawn = learning.draw(torch.Generator().manual_seed(0))
    displacement, images = learning.onwards(drawn)
    here, there = drawn.frame.numpy(), numbers(images)
    assert len(displacement) == learning.batch_size == IMAGES
    assert (walk[here] == walk[there]).all() and (here != there).all() and sorted(here) == sorted(there)
    np.testing.assert_allclose(group.compose(displacement.numpy(), pose[here]), pose[there], atol=1e-4)


@pytest.mark.parametrize(("lengths", "views"), [([1] * 30, 2), ([2] * 30, 3), ([9] * 20 + [19] * 10, VIEWS)])
def test_frames_are_drawn_equally_often_and_not_twice(lengths: list[int], views: int) -> None:
    data, _, walk = walking("R2", lengths)
    learning, generator = learner(data), torch.Generator().manual_seed(0)
    assert learning.views == views
    drawn = [learning.draw(generator).frame.numpy() for _ in range(600)]
    assert all(len(set(each)) == views for batch in drawn for each in batch.reshape(views, -1).T)
    counts = np.bincount(np.concatenate(drawn), minlength=len(walk)) / np.size(drawn)
    np.testing.assert_allclose(counts, 1 / len(walk), rtol=0.35)
    by_length = [counts[np.isin(walk, np.flatnonzero(np.equal(lengths, one)))].mean() for one in set(lengths)]
    np.testing.assert_allclose(by_length, 1 / len(walk), rtol=0.1)


def test_views_hold_frames_in_the_order_of_the_walk() -> None:
    """Turns in space do not commute: the later one goes on the left."""
    turns = group_from_name("SO3").random(np.random.default_rng(0), 3).astype(np.float32)
    frames = np.zeros((6, 2, 2, 3), np.uint8)
    data = Transitions(frames, np.array([4, 1, 5]), np.array([5, 0, 2]), turns, "SO3")  # 1 → 0, and 4 → 5 → 2
    frame, length, moved = views(data, longest=10)
    assert frame.tolist() == [4, 5, 2, 1, 0] and length.tolist() == [3, 2]
    first, other, second = (turn.reshape(3, 3) for turn in turns)
    expected = [np.eye(3), first, second @ first, np.eye(3), other]
    np.testing.assert_allclose(moved.reshape(-1, 3, 3), expected, atol=1e-6)
    assert views(data, longest=1)[1].tolist() == [2, 2, 2], "a long walk is cut"


@pytest.mark.parametrize(
    ("start", "end"),
    [([0, 1, 2], [1, 2, 0]), ([0, 1, 2], [1, 2, 1]), ([0, 0, 1], [1, 2, 3]), ([1, 1, 0], [1, 1, 0])],
    ids=["ring", "into a ring", "branches", "standing still"],
)
def test_every_transition_is_learned_from_whatever_the_links(start: list[int], end: list[int]) -> None:
    move = np.arange(2.0 * len(start), dtype=np.float32).reshape(-1, 2)
    data = Transitions(np.zeros((4, 2, 2, 3), np.uint8), np.array(start), np.array(end), move, "R2")
    frame, length, moved = views(data, longest=10)
    last = np.cumsum(length) - 1
    steps = [index for index in range(len(frame) - 1) if index not in last]
    found = sorted((frame[i], frame[i + 1], *(moved[i + 1] - moved[i])) for i in steps)
    assert found == sorted((s, e, *m) for s, e, m in zip(start, end, move, strict=True))
