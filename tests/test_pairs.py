"""Batches of pairs: what is said to lead from one image to another does, and whole episodes are drawn from evenly."""

from typing import Any

import numpy as np
import pytest
import torch

from envs.groups import group_from_name
from envs.transitions import Transitions, episodes
from representations.acted import IMAGES, VIEWS
from representations.class_pose import ClassPoseEncoder, ClassPoseLearner


def walking(group_name: str, count: int, steps: int) -> tuple[Transitions, Any]:
    """Episodes one after another; a frame's number is written into it. The true poses of the frames."""
    group, generator = group_from_name(group_name), np.random.default_rng(0)
    pose = [group.random(generator, count)]
    actions = [group.random(generator, count) for _ in range(steps)]
    for action in actions:
        pose.append(group.compose(action, pose[-1]))
    number = np.arange(count * (steps + 1)).reshape(count, steps + 1)
    frames = np.zeros((number.size, 16, 16, 3), np.uint8)
    frames[:, 0, 0, 0], frames[:, 0, 0, 1] = number.ravel() // 256, number.ravel() % 256
    displacement = np.stack(actions, 1).reshape(-1, group.dim).astype(np.float32)
    data = Transitions(frames, number[:, :-1].ravel(), number[:, 1:].ravel(), displacement, group_name)
    return data, np.stack(pose, 1).reshape(-1, group.dim)


def numbers(images: torch.Tensor) -> Any:
    corner = (255 * images[:, :2, 0, 0]).round().long()
    return (256 * corner[:, 0] + corner[:, 1]).numpy()


def learner(data: Transitions) -> ClassPoseLearner:
    return ClassPoseLearner(ClassPoseEncoder((16, 16, 3), data.group, "strided"), data)


@pytest.mark.parametrize("name", ["R2", "SO3", "SE2", "SO2xSO2"])
def test_displacements_lead_from_image_to_image(name: str) -> None:
    data, pose = walking(name, 30, 9)
    group, learning = group_from_name(name), learner(data)
    images, moved = learning.draw(torch.Generator().manual_seed(0))
    assert len(images) == len(moved) == IMAGES
    number = torch.from_numpy(numbers(images))
    displacement, first, second = learning.paired(moved, {"number": number[:, None]})
    before, after = first["number"][:, 0].numpy(), second["number"][:, 0].numpy()
    assert len(displacement) == learning.batch_size == 6 * IMAGES // VIEWS
    assert (before // 10 == after // 10).all() and (before != after).all(), "other views of the same episode"
    np.testing.assert_allclose(group.compose(displacement.numpy(), pose[before]), pose[after], atol=1e-4)
    following = learning.following(number).numpy()
    assert sorted(following) == sorted(number.tolist()) and (following // 10 == number.numpy() // 10).all()
    leads = group.compose(learning.onwards(moved).numpy(), pose[number.numpy()])
    np.testing.assert_allclose(leads, pose[following], atol=1e-4)


@pytest.mark.parametrize(("steps", "views"), [(1, 2), (2, 3), (9, VIEWS)])
def test_frames_are_drawn_equally_often_and_not_twice(steps: int, views: int) -> None:
    data, _ = walking("R2", 30, steps)
    learning, generator = learner(data), torch.Generator().manual_seed(0)
    assert learning.views == views
    drawn = [numbers(learning.draw(generator)[0]) for _ in range(400)]
    shares = np.bincount(np.concatenate(drawn), minlength=len(data.frames)) / np.size(drawn)
    np.testing.assert_allclose(shares, 1 / len(data.frames), rtol=0.35)
    assert all(len(set(episode)) == views for each in drawn for episode in each.reshape(views, -1).T)


def test_episodes_of_one_step_among_longer_ones_are_learned_from() -> None:
    long, _ = walking("R2", 3, 9)
    cut = np.delete(np.arange(27), [1, 2, 3, 4, 5, 6, 7, 8])  # of the first episode, the first step is left
    learning = learner(long.select(cut))
    _, metrics = learning.loss(torch.Generator().manual_seed(0))
    assert all(torch.isfinite(value) for value in metrics.values())


def test_episodes_hold_frames_in_the_order_of_the_walk() -> None:
    """Turns in space do not commute: the later one goes on the left."""
    turns = group_from_name("SO3").random(np.random.default_rng(0), 3).astype(np.float32)
    frames = np.zeros((6, 2, 2, 3), np.uint8)
    data = Transitions(frames, np.array([4, 1, 5]), np.array([5, 0, 2]), turns, "SO3")  # 1 → 0, and 4 → 5 → 2
    frame, length, moved = episodes(data)
    assert frame.tolist() == [1, 0, 4, 5, 2] and length.tolist() == [2, 3]
    first, other, second = (turn.reshape(3, 3) for turn in turns)
    expected = [np.eye(3), other, np.eye(3), first, second @ first]
    np.testing.assert_allclose(moved.reshape(-1, 3, 3), expected, atol=1e-6)
