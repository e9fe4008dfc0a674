"""Maps, plans and the visualisation decoder, with encoders that know the ground truth."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from equiact.agents.downstream.mapping import PlaceMap, localise
from equiact.agents.downstream.planning import distance_to_goal, execute_plans, plan_action
from equiact.envs.data.collect import collect
from equiact.envs.data.transitions import Transitions
from equiact.envs.lie_groups.registry import group_from_name
from equiact.envs.worlds.registry import world_class
from equiact.representations.encoders.class_pose import ClassPoseConfig, ClassPoseEncoder
from equiact.representations.encoders.encoder import to_images
from equiact.representations.encoders.equivariant_encoder import Latents
from equiact.representations.encoders.pose_set_encoder import PoseSetConfig, PoseSetEncoder
from equiact.representations.learning.config import OptimConfig
from equiact.representations.learning.training import train_learner
from equiact.representations.learning.visualization_decoder import (
    VisualizationDecoder,
    VisualizationDecoderConfig,
    VisualizationDecoderLearner,
)
from torch import Tensor


class WrittenCosets(PoseSetEncoder):
    """Read class and ground-truth coset from the first pixels of an image."""

    def __init__(self, group: str, stabilizers: list[Any], num_poses: int) -> None:
        super().__init__((16, 16, 3), group, PoseSetConfig(backbone="strided", num_poses=num_poses))
        self.cosets = [torch.from_numpy(np.resize(each, (num_poses, each.shape[1]))).float() for each in stabilizers]

    def latents(self, images: Tensor) -> Latents:
        numbers = images.flatten(1)
        orbit = (255 * numbers[:, 0]).round().long()
        pose = self.acting.project(2 * numbers[:, 1 : 1 + self.acting.dim] - 1)
        cosets = torch.stack([self.cosets[one] for one in orbit])
        return {"class": torch.eye(8)[orbit], "poses": self.acting.compose(pose[:, None], cosets)}


class WrittenRobot(ClassPoseEncoder):
    """Read the place, and the pose of the place as seen from the robot, from the first pixels of an image."""

    def latents(self, images: Tensor) -> Latents:
        numbers = images.flatten(1)
        pose = self.acting.project(2 * numbers[:, 1:5] - 1)
        return {"class": torch.eye(8)[(255 * numbers[:, 0]).round().long()], "pose": self.acting.inverse(pose)}


class RememberingEncoder(PoseSetEncoder):
    """Know class and pose of every image that was shown, up to a factor from the right for each class."""

    def __init__(self, world_cls: Any, shape: tuple[int, int, int], num_poses: int) -> None:
        super().__init__(shape, world_cls.group.name, PoseSetConfig(backbone="strided", num_poses=num_poses))
        self.known: dict[bytes, tuple[int, Any]] = {}
        group = world_cls.group
        free = group.random(np.random.default_rng(5), len(world_cls.orbits))
        self.cosets = [
            group.compose(np.resize(world_cls.stabilizer(one), (num_poses, group.dim)), free[one])
            for one in range(len(world_cls.orbits))
        ]

    def remember(self, frames: Any, orbit: Any, pose: Any) -> None:
        known = zip(frames, orbit, np.array(pose), strict=True)
        self.known |= {frame.tobytes(): (int(one), each) for frame, one, each in known}

    def latents(self, images: Tensor) -> Latents:
        frames = (255 * images).round().byte().permute(0, 2, 3, 1).numpy()
        found = [self.known[np.ascontiguousarray(frame).tobytes()] for frame in frames]
        poses = np.stack([self.acting.compose(pose, self.cosets[orbit]) for orbit, pose in found])
        return {"class": torch.eye(8)[[orbit for orbit, _ in found]], "poses": torch.from_numpy(poses).float()}


def written(orbit: Any, pose: Any) -> Any:
    """Return images in which class and pose are written, up to rounding."""
    images = np.zeros((len(orbit), 768), np.uint8)
    images[:, 0] = orbit
    images[:, 1 : 1 + pose.shape[1]] = np.round(255 * (pose + 1) / 2)
    return np.ascontiguousarray(images.reshape(-1, 3, 16, 16).transpose(0, 2, 3, 1))


def test_a_plan_is_the_shortest_rotation_to_the_goal() -> None:
    turns, generator = group_from_name("SO2"), np.random.default_rng(0)
    world_cls: Any = world_class("Arrows")
    stabilizers = [world_cls.stabilizer(orbit) for orbit in range(5)]
    encoder = WrittenCosets("SO2", stabilizers, 60)
    orbit = generator.integers(5, size=40)
    start, goal = turns.random(generator, 40), turns.random(generator, 40)
    made = plan_action(encoder, written(orbit, start), written(orbit, goal))
    assert made.action.shape == (40, 2)
    np.testing.assert_allclose(made.class_similarity, 1, atol=1e-5)
    reached = turns.compose(made.action, start)
    assert distance_to_goal(turns, reached, goal, [stabilizers[one] for one in orbit]).max() < 0.03
    assert (made.length <= np.pi / (orbit + 1) + 0.03).all(), "half a period at most"
    with pytest.raises(ValueError, match="expected as many goal images as start images, got 2 and 1"):
        plan_action(encoder, written(orbit[:1], start[:1]), written(orbit[:2], goal[:2]))
    apart = plan_action(encoder, written(np.zeros(1), start[:1]), written(np.ones(1), goal[:1]))
    assert apart.class_similarity[0] < 0.5


def test_a_map_separates_places_and_locates_images() -> None:
    generator = np.random.default_rng(0)
    encoder = WrittenRobot((16, 16, 3), "SE2", ClassPoseConfig(backbone="strided"))
    place = generator.integers(2, size=100)
    turn = group_from_name("SO2").random(generator, 100)
    robot = np.concatenate([generator.uniform(-0.9, 0.9, (100, 2)), turn], 1)
    frames = written(place, robot)
    made = PlaceMap(encoder, frames[:60], num_places=2)
    np.testing.assert_allclose(made.mapped.position, robot[:60, :2], atol=0.01)
    found = made.locate(frames[60:])
    np.testing.assert_allclose(found.position, robot[60:, :2], atol=0.01)
    np.testing.assert_allclose(found.heading, robot[60:, 2:], atol=0.02)
    assert np.mean(found.place == place[60:]) in (0.0, 1.0), "the indices of the places are arbitrary"
    with pytest.raises(ValueError, match="expected an encoder for SE2, the rigid motions of the plane, got SO2"):
        PlaceMap(ClassPoseEncoder((16, 16, 3), "SO2", ClassPoseConfig(backbone="strided")), frames, 2)
    with pytest.raises(ValueError, match="at least as many images as places, got 2 images of 3 places"):
        PlaceMap(encoder, frames[:2], 3)


@pytest.mark.parametrize("name", ["Solids", "Models"])
def test_plans_of_an_encoder_that_knows_all_views_reach_the_goal(name: str) -> None:
    world_cls: Any = world_class(name)
    encoder = RememberingEncoder(world_cls, (64, 64, 3), 60)

    class Recorded(world_cls):  # type: ignore[misc]
        def render_at(self, orbit: Any, pose: Any) -> Any:
            frames = super().render_at(orbit, pose)
            encoder.remember(frames, orbit, pose)
            return frames

    result = execute_plans(encoder, Recorded, count=12)
    metrics = result.metrics
    assert metrics["plan_error_90_degrees"] < 0.1 < 5 < metrics["unplanned_error_median_degrees"]
    assert metrics["pixels_off_goal"] < 0.01 < 0.1 < metrics["pixels_off_goal_unplanned"]


def test_plans_are_executed_only_in_worlds_of_rotations() -> None:
    encoder = ClassPoseEncoder((64, 64, 3), "R3", ClassPoseConfig(backbone="strided"))
    with pytest.raises(ValueError, match="got a world of R3 and an encoder for R3; use `plan_action` for other groups"):
        execute_plans(encoder, world_class("Sprites"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got a world of SO3 and an encoder for R3"):
        execute_plans(encoder, world_class("Chairs"))  # type: ignore[arg-type]


def test_an_encoder_that_knows_all_views_is_localised_exactly() -> None:
    world_cls: Any = world_class("Apartments")
    worlds = gym.make_vec("equiact/Apartments-v0", num_envs=8, resolution=(16, 16), device="cpu")
    held_out = collect(worlds, 300, seed=0)
    encoder = RememberingEncoder(world_cls, (16, 16, 3), 1)
    ground_truth = held_out.ground_truth
    encoder.remember(held_out.frames, ground_truth["orbit"][:, 0], ground_truth["agent_pose"])
    metrics = localise(encoder, world_cls, held_out).metrics
    assert metrics["right_place"] == 1.0
    assert metrics["localisation_error_90_m"] < 1e-3


def trajectories(orbits: int, steps: int) -> Transitions:
    """Return a trajectory of each class on the circle, with class and pose written in the images."""
    turns, generator = group_from_name("SO2"), np.random.default_rng(0)
    orbit, pose = np.repeat(np.arange(orbits), steps), turns.random(generator, orbits * steps)
    start = np.flatnonzero(np.diff(orbit) == 0)
    displacement = turns.compose(pose[start + 1], turns.inverse(pose[start])).astype(np.float32)
    return Transitions(written(orbit, pose), start, start + 1, displacement, "SO2")


def test_the_visualisation_decoder_draws_predicted_latents() -> None:
    data = trajectories(2, 200)
    torch.manual_seed(0)
    encoder = WrittenCosets("SO2", [np.array([[1.0, 0.0]])] * 2, 1)
    decoder = VisualizationDecoder(encoder, VisualizationDecoderConfig(optim=OptimConfig(steps=400)))
    train_learner(VisualizationDecoderLearner(decoder, data), seed=0)
    decoder.eval()
    with torch.no_grad():
        latents = encoder.encode(torch.from_numpy(data.observations))
        drawn = decoder(encoder.act(torch.from_numpy(data.displacement), latents))
    images = to_images(torch.from_numpy(data.next_observations))
    assert (drawn - images).square().mean() < 0.1 * (images - images.mean(0)).square().mean()


def test_the_visualisation_decoder_leaves_the_encoder_as_it_is() -> None:
    encoder = ClassPoseEncoder((16, 16, 3), "SO2", ClassPoseConfig(backbone="strided"))
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    decoder = VisualizationDecoder(encoder, VisualizationDecoderConfig(octaves=2, optim=OptimConfig(steps=4)))
    train_learner(VisualizationDecoderLearner(decoder, trajectories(1, 100)), seed=0)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
