"""Metrics of equivariance, on encoders for which the right value is known, and the baselines."""

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from equiact.envs.data.transitions import Transitions
from equiact.envs.lie_groups.group import Group, GroupError
from equiact.envs.lie_groups.registry import group_from_name
from equiact.representations.baselines.linear_dynamics import LinearConfig, LinearDynamics
from equiact.representations.baselines.neural_renderer import NeuralRenderer, NeuralRendererConfig
from equiact.representations.encoders.class_pose import ClassPoseConfig, ClassPoseEncoder
from equiact.representations.encoders.encoder import Encoder, load_encoder
from equiact.representations.encoders.equivariant_encoder import EquivariantEncoder, Latents, pairwise_squared
from equiact.representations.encoders.harmonic_encoder import HarmonicConfig, HarmonicEncoder
from equiact.representations.encoders.pose_set_encoder import PoseSetConfig, PoseSetEncoder
from equiact.representations.encoders.registry import encoder_class, make_learner
from equiact.representations.learning.config import scale_steps
from equiact.representations.learning.pair_sampling import PairSamplingConfig
from equiact.representations.learning.training import train_learner
from equiact.representations.metrics.hit_rate import TrajectorySample, hit_rate, sample_trajectories
from equiact.representations.metrics.pose_metrics import free_factor, lsbd, orbit_separation, pose_error
from equiact.representations.metrics.registry import METRICS, HeldOut, evaluate_metrics, register_metric
from equiact.representations.metrics.symmetry_order import count_distinct_poses, estimate_orders, estimate_set_size
from scipy.spatial.transform import Rotation
from torch import Tensor

BATCH = 32
GROUPS = ["R2", "SO2", "SO3", "SE2", "SO2xSO2", "R2xSO2"]
all_groups = pytest.mark.parametrize("name", GROUPS)


@dataclass(frozen=True)
class OracleConfig:
    """Have no hyper-parameters."""


class Oracle(Encoder):
    """Read the pose, which is written into the image; act as the group does, or do not act."""

    config_class = OracleConfig

    def __init__(self, group: str, *, acts: bool = True) -> None:
        super().__init__((4, 4, 3), group)
        self.acts = acts
        self.acting = group_from_name(group)
        self.unused = torch.nn.Parameter(torch.zeros(()))

    @property
    def latent_dim(self) -> int:
        return self.acting.dim

    def latents(self, images: Tensor) -> Latents:
        return {"pose": 8 * images.flatten(1)[:, : self.acting.dim] - 4}

    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        return {"pose": self.acting.compose(displacement, latents["pose"])} if self.acts else latents

    def latent_distance(self, a: Latents, b: Latents) -> Tensor:
        return pairwise_squared(a["pose"], b["pose"])


def experience(group: Group, steps: int, episodes: int = 80, seed: int = 0) -> Transitions:
    """Return episodes of random actions, interleaved as in a batch of worlds, with the pose written into each image."""
    generator = np.random.default_rng(seed)
    pose = [group.random(generator, episodes)]
    actions = []
    for _ in range(steps):
        actions.append(group.exp(generator.uniform(-0.5, 0.5, (episodes, group.tangent_dim))))
        pose.append(group.compose(actions[-1], pose[-1]))
    poses = np.concatenate(pose)
    frames = np.zeros((len(poses), 48), np.uint8)
    # In the order in which `latents` flattens (B, C, H, W).
    frames[:, : group.dim] = np.round(255 * (np.clip(poses, -4, 4) + 4) / 8)
    frames = frames.reshape(-1, 3, 4, 4).transpose(0, 2, 3, 1)
    start = np.arange(steps * episodes)
    displacement = np.concatenate(actions).astype(np.float32)
    return Transitions(np.ascontiguousarray(frames), start, start + episodes, displacement, group.name)


def test_trajectories_are_consecutive_and_in_full_batches() -> None:
    group = group_from_name("R2")
    data = experience(group, 5, episodes=40)
    some = sample_trajectories(data, 3, batches=2)
    assert len(some.start) == 2 * BATCH and some.displacement.shape == (2 * BATCH, 3, 2)
    oracle = Oracle("R2")
    start, end = (oracle.encode(frames)["pose"] for frames in (some.start, some.end))
    np.testing.assert_allclose(start + some.displacement.sum(1), end, atol=0.05)
    with pytest.raises(ValueError, match="at least 32 trajectories of 6 steps that end in different images, got 0"):
        sample_trajectories(data, 6)


def test_no_two_trajectories_end_in_the_same_image() -> None:
    """A blocked agent sees the same image again; no encoder can predict which of them is the right one."""
    group = group_from_name("R2")
    free = experience(group, 5, episodes=40)
    frames = free.frames.copy()
    frames[free.end[-60:]] = frames[free.start[-60:]]
    blocked = np.concatenate([free.displacement[:-60], np.zeros((60, 2), np.float32)])
    some = sample_trajectories(replace(free, frames=frames, displacement=blocked), 1, batches=4)
    assert len(some.end) == 4 * BATCH
    assert len({frame.tobytes() for frame in some.end}) == len(some.end)


@all_groups
def test_the_hit_rate_is_high_with_the_right_action_and_low_without(name: str) -> None:
    some = sample_trajectories(experience(group_from_name(name), 10), 10)
    assert hit_rate(Oracle(name), some) > 0.75
    assert hit_rate(Oracle(name, acts=False), some) < 0.4


def test_constant_latents_hit_at_chance() -> None:
    """One in 32: the first item is always the nearest."""
    group = group_from_name("R2")

    class Blind(Oracle):
        def latents(self, images: Tensor) -> Latents:
            return {"pose": torch.zeros(len(images), 2)}

    assert hit_rate(Blind("R2", acts=False), sample_trajectories(experience(group, 5), 2)) == pytest.approx(1 / BATCH)


def test_incomplete_batches_are_refused() -> None:
    some = sample_trajectories(experience(group_from_name("R2"), 5), 2, batches=1)
    with pytest.raises(ValueError, match="full batches of 32 trajectories, got 31"):
        hit_rate(Oracle("R2"), TrajectorySample(some.start[:31], some.end[:31], some.displacement[:31]))


def coset(group: Group, true: Any, stabilizer: Any, free: Any) -> Any:
    return group.compose(group.compose(true[:, None], stabilizer[None]), free[None, None])


@pytest.mark.parametrize(("name", "order"), [("SO2", 1), ("SO2", 5), ("SO2xSO2", 6)])
def test_true_cosets_have_no_error_for_any_free_factor(name: str, order: int) -> None:
    group, generator = group_from_name(name), np.random.default_rng(0)
    turns = group_from_name("SO2")
    even = lambda count: turns.exp(2 * np.pi / count * np.arange(count)[:, None])  # noqa: E731
    stabilizer = even(order)
    if name == "SO2xSO2":
        stabilizer = np.concatenate([np.repeat(even(2), 3, 0), np.tile(even(3), (2, 1))], 1)
    true, free = group.random(generator, 60), group.random(generator, 1)[0]
    poses, orbit = coset(group, true, stabilizer, free), np.zeros(60, int)
    assert pose_error(group, poses, true, orbit, [stabilizer]) < 1e-6
    assert lsbd(poses, true, orbit, [order], group) < 1e-9
    assert count_distinct_poses(group, poses).tolist() == [order] * 60
    noisy = group.compose(group.exp(0.1 * generator.normal(size=(*poses.shape[:2], group.tangent_dim))), poses)
    assert 0.05 < pose_error(group, noisy, true, orbit, [stabilizer]) < 0.4
    assert lsbd(noisy, true, orbit, [order], group) > 1e-3
    wrong = group.random(generator, 60 * len(stabilizer)).reshape(poses.shape)
    assert pose_error(group, wrong, true, orbit, [stabilizer]) > 0.4


def test_orders_are_estimated_with_their_agreement() -> None:
    turns = group_from_name("SO2")
    angles = np.array([[0.0, 0.01, 2.0], [0.0, 2.0, 4.0], [1.0, 1.02, 3.0], [0.0, 0.1, 0.2]])[..., None]
    poses = turns.exp(angles)
    assert count_distinct_poses(turns, poses).tolist() == [2, 3, 2, 1]
    found = estimate_orders(count_distinct_poses(turns, poses), np.array([0, 0, 0, 1]))
    assert (found[0].order, found[0].images, found[1].order) == (2, 3, 1)
    assert found[0].agreement == pytest.approx(2 / 3)


def test_the_set_size_is_the_largest_symmetry_order() -> None:
    turns, generator = group_from_name("SO2"), np.random.default_rng(0)
    orbit = generator.integers(3, size=150)
    classes = np.eye(3)[orbit] + 0.05 * generator.normal(size=(150, 3))
    poses = np.stack([turns.exp(2 * np.pi / (one + 1) * (np.arange(6)[:, None] % (one + 1))) for one in orbit])
    found = estimate_set_size(count_distinct_poses(turns, poses), 6, classes)
    assert found.size == 3 and found.confidence > 0.9
    poses[:20] = turns.random(generator, 120).reshape(20, 6, 2)
    spoilt = estimate_set_size(count_distinct_poses(turns, poses), 6, classes)
    assert spoilt.size == 3 and 0.6 < spoilt.confidence < 0.85
    tight = estimate_set_size(count_distinct_poses(turns, poses[:, :3]), 3, classes)
    assert tight.size == 3 and tight.confidence == 0.0, "no pose is surplus, so the size may be larger"
    number = np.where(orbit == 2, generator.integers(1, 6, 150), orbit + 1)
    assert estimate_set_size(number, 6, classes).confidence < 0.5, "the images of one class disagree"
    stray = np.concatenate([classes, -np.eye(3)[:1]])
    assert estimate_set_size(np.append(count_distinct_poses(turns, poses), 5), 6, stray).size == 3, (
        "a class needs several images"
    )
    untold = estimate_set_size(np.where(orbit == 2, 0, orbit + 1), 6, classes)
    assert (untold.size, untold.confidence) == (2, 0.0), "the poses of one class are not reliable"
    alone = estimate_set_size(np.array([2, 1]), 6, np.eye(2))
    assert (alone.size, alone.confidence) == (2, 0.0)


def test_orbit_separation_is_one_for_separate_classes() -> None:
    generator = np.random.default_rng(0)
    orbit = generator.integers(3, size=200)
    assert orbit_separation(np.eye(3)[orbit] + 0.1 * generator.normal(size=(200, 3)), orbit) == 1.0
    assert orbit_separation(generator.normal(size=(200, 3)), orbit) < 0.6


@pytest.mark.parametrize(
    ("encoder_name", "name"),
    [
        *product(["class-pose", "pose-set", "linear"], ["R2", "SO3", "SE2"]),
        *product(["harmonics"], ["SO2", "SO3", "SO2xSO3"]),
    ],
)
def test_acting_twice_is_acting_with_the_product(encoder_name: str, name: str) -> None:
    torch.manual_seed(0)
    group, generator = group_from_name(name), np.random.default_rng(0)
    encoder_cls: Any = encoder_class(encoder_name)
    encoder = encoder_cls((16, 16, 3), name, encoder_cls.config_class(backbone="strided"))
    latents = encoder.latents(torch.rand(5, 3, 16, 16))
    g, h = (torch.from_numpy(group.random(generator, 5)).float() for _ in range(2))
    twice, once = encoder.act(g, encoder.act(h, latents)), encoder.act(group.compose(g, h), latents)
    for key in latents:
        torch.testing.assert_close(twice[key], once[key], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "name",
    ["class-pose", "pose-set", "harmonics", "mdp-homomorphism", "linear", "neural-renderer", "autoencoder-dynamics"],
)
def test_encoders_with_an_action_are_equivariant_encoders(name: str) -> None:
    encoder_cls: Any = encoder_class(name)
    encoder = encoder_cls((16, 16, 3), "SO2", encoder_cls.config_class(backbone="strided"))
    assert isinstance(encoder, EquivariantEncoder)
    assert encoder.encode_flat(np.zeros((2, 16, 16, 3), np.uint8)).shape == (2, encoder.latent_dim)
    assert len([base for base in type(encoder).__mro__ if issubclass(base, Encoder)]) <= 3, "two below Encoder"


@pytest.mark.parametrize("name", ["class-pose", "pose-set", "harmonics", "linear", "neural-renderer"])
def test_encoders_are_saved_and_loaded_with_their_configuration(name: str, tmp_path: Path) -> None:
    encoder_cls: Any = encoder_class(name)
    config = replace(encoder_cls.config_class(backbone="strided"), pairs=PairSamplingConfig(views=3))
    encoder = encoder_cls((16, 16, 3), "SO2", config).eval()
    encoder.save(tmp_path / "encoder")
    loaded: Any = load_encoder(tmp_path / "encoder")
    assert type(loaded) is encoder_cls and loaded.config == config
    images = np.random.default_rng(0).integers(256, size=(5, 16, 16, 3), dtype=np.uint8)
    for key, latent in encoder.encode(images).items():
        np.testing.assert_array_equal(loaded.encode(images)[key], latent)
    relative: Any = getattr(loaded, "relative_pose", None)
    if relative is not None:
        latents = loaded.encode(images)
        assert relative(latents, latents).shape[0] == 5


def test_volumes_are_rotated_by_the_group_without_repeated_resampling() -> None:
    torch.manual_seed(0)
    encoder = NeuralRenderer((16, 16, 3), "SO2", NeuralRendererConfig(backbone="strided"))
    side = torch.linspace(-1, 1, 6)
    x, y, z = torch.meshgrid(side, side, side, indexing="ij")
    volume = torch.exp(-2 * (x**2 + y**2 + (z - 0.4) ** 2))[None, None].repeat(1, 8, 1, 1, 1)
    still, quarter = {"volume": volume}, torch.tensor([[0.0, 1.0]])
    identity = torch.tensor([[1.0, 0.0]])
    torch.testing.assert_close(encoder.resample(encoder.act(identity, still)), encoder.resample(still))
    turned = encoder.act(quarter, still)
    # The last axis is the first coordinate: +x comes to +y, the axis before it.
    torch.testing.assert_close(encoder.resample(turned), volume.transpose(3, 4).flip(4), atol=1e-4, rtol=1e-4)
    for _ in range(20):
        turned = encoder.act(torch.tensor([[np.cos(0.3), np.sin(0.3)]]).float(), turned)
    for _ in range(20):
        turned = encoder.act(torch.tensor([[np.cos(0.3), -np.sin(0.3)]]).float(), turned)
    torch.testing.assert_close(encoder.resample(turned), volume.transpose(3, 4).flip(4), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["SO2xSO2xSO2", "R4", "SE2"])
def test_renderers_of_groups_that_do_not_act_on_space_are_refused(name: str) -> None:
    with pytest.raises(GroupError, match="a neural renderer needs a group that moves volumes in space"):
        NeuralRenderer((16, 16, 3), name, NeuralRendererConfig(backbone="strided"))


def class_pose_encoders() -> list[Any]:
    shape = (16, 16, 3)
    return [
        ClassPoseEncoder(shape, "SO2", ClassPoseConfig(backbone="strided")),
        PoseSetEncoder(shape, "SO2", PoseSetConfig(backbone="strided", num_poses=3)),
        HarmonicEncoder(shape, "SO2", HarmonicConfig(backbone="strided")),
    ]


def test_the_latent_distance_is_that_of_poses_and_classes() -> None:
    torch.manual_seed(0)
    for encoder in class_pose_encoders():
        latents = encoder.latents(torch.rand(4, 3, 16, 16))
        distance = encoder.latent_distance(latents, latents)
        assert distance.diagonal().abs().max() < 1e-5
        other = {**latents, "class": -latents["class"]}
        torch.testing.assert_close(encoder.latent_distance(latents, other).diagonal(), torch.full((4,), 2.0))


def test_the_distance_of_sets_takes_the_nearest_predicted_pose() -> None:
    """Of {0, π/2} one pose is at a squared distance of 4 from {0, 0}; both poses of {0, 0} are in {0, π/2}."""
    encoder = PoseSetEncoder((16, 16, 3), "SO2", PoseSetConfig(backbone="strided", num_poses=2))
    same, alone = torch.ones(3, 8) / 8**0.5, encoder.acting.exp(torch.zeros(2, 1))
    spread = encoder.acting.exp(torch.tensor([[0.0], [np.pi / 2]]))
    a = {"class": same[:1], "poses": alone[None]}
    b = {"class": same, "poses": torch.stack([alone, spread, spread])}
    torch.testing.assert_close(encoder.latent_distance(a, b), torch.tensor([[0.0, 2.0, 2.0]]), atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.latent_distance(b, a), torch.zeros(3, 1), atol=1e-5, rtol=0)


def test_hyper_parameters_of_baselines_set_their_size() -> None:
    linear = LinearDynamics((16, 16, 3), "SE2", LinearConfig(backbone="strided", copies=7))
    assert linear.latent_dim == 7 * 3
    renderer = NeuralRenderer((16, 16, 3), "SO3", NeuralRendererConfig(backbone="strided", side=4, channels=2))
    assert renderer.latent_dim == 2 * 4**3


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("mdp-homomorphism", 0.15),
        ("linear", 0.05),
        pytest.param("autoencoder-dynamics", 0.4, marks=pytest.mark.slow),
        ("neural-renderer", 0.05),
    ],
)
def test_baselines_learn_to_predict(name: str, scale: float) -> None:
    """A bright spot that rotates about the centre: better than untrained, and than chance."""
    torch.manual_seed(0)
    encoder_cls: Any = encoder_class(name)
    encoder = encoder_cls((16, 16, 3), "SO2", scale_steps(encoder_cls.config_class(backbone="strided"), scale))
    learner = make_learner(encoder, spots(2000, 0))
    some = sample_trajectories(spots(400, 1), 1)
    before = hit_rate(encoder.eval(), some)
    train_learner(learner, seed=0)
    assert hit_rate(encoder.eval(), some) > max(before + 0.1, 5 / BATCH)


def spots(pairs: int, seed: int) -> Transitions:
    turns, generator = group_from_name("SO2"), np.random.default_rng(seed)
    angle, turn = generator.uniform(-np.pi, np.pi, (2, pairs))
    angles = np.concatenate([angle, angle + turn])
    rows, columns = np.mgrid[0:16, 0:16] - 7.5
    away = (rows - 5 * np.sin(angles)[:, None, None]) ** 2 + (columns - 5 * np.cos(angles)[:, None, None]) ** 2
    frames = np.repeat(np.round(255 * np.exp(-away / 6)).astype(np.uint8)[..., None], 3, 3)
    index = np.arange(pairs)
    ground_truth = {
        "agent_pose": turns.exp(angles[:, None]).astype(np.float32),
        "orbit": np.zeros((2 * pairs, 1), np.float32),
    }
    return Transitions(frames, index, index + pairs, turns.exp(turn[:, None]).astype(np.float32), "SO2", ground_truth)


def test_all_metrics_are_measured_that_apply() -> None:
    data = HeldOut(spots(300, 0), [group_from_name("SO2").identity()[None]], ["spot"])
    done: list[tuple[int, int]] = []
    only_hits = ["hit-rate"]
    names = [name for name in METRICS.names() if name not in only_hits]
    single, of_set, _ = class_pose_encoders()
    values = evaluate_metrics(of_set.eval(), data, names, lambda *counts: done.append(counts))
    assert {"pose_error", "d_lsbd", "orbit_separation", "order_right_images", "order of spot"} <= values.keys()
    assert done[-1] == (len(names), len(names))
    assert evaluate_metrics(single.eval(), data, names).keys() == {"pose_error", "d_lsbd", "orbit_separation"}
    untrue = HeldOut(replace(data.transitions, ground_truth={}), data.stabilizers)
    assert evaluate_metrics(single, untrue, names) == {}
    linear = LinearDynamics((16, 16, 3), "SO2", LinearConfig(backbone="strided"))
    assert evaluate_metrics(linear, data, names) == {}
    with pytest.raises(ValueError, match="the encoder is for the group SO2, the transitions have R2"):
        evaluate_metrics(single, HeldOut(experience(group_from_name("R2"), 2)))


def test_a_metric_is_one_function() -> None:
    @register_metric("test-class-length")
    def class_length(encoder: Any, held_out: HeldOut) -> dict[str, float]:
        encoded = held_out.encode(encoder)
        return {} if encoded is None else {"length": float(np.linalg.norm(encoded.latents["class"], axis=1).mean())}

    data = HeldOut(spots(50, 0), [group_from_name("SO2").identity()[None]])
    try:
        values = evaluate_metrics(class_pose_encoders()[0].eval(), data, ["test-class-length"])
    finally:
        METRICS._entries.pop("test-class-length")
    assert values["length"] == pytest.approx(1.0, abs=1e-5)


def rotations(symmetry: str) -> Any:
    """Return the rotations of a solid as elements of SO(3), ``(order, 9)``."""
    return Rotation.create_group(symmetry).as_matrix().reshape(-1, 9)


@pytest.mark.parametrize("symmetry", ["D3", "T"])
def test_free_factors_are_on_the_right_where_elements_do_not_commute(symmetry: str) -> None:
    """``h·s·c`` has no error; no other order of ground truth, symmetry and factor is a set of poses of the object."""
    group, generator, stabilizer = group_from_name("SO3"), np.random.default_rng(0), rotations(symmetry)
    true, free, orbit = group.random(generator, 40), group.random(generator, 1)[0], np.zeros(40, int)
    compose = group.compose
    right = coset(group, true, stabilizer, free)
    assert pose_error(group, right, true, orbit, [stabilizer]) < 1e-6
    factor = free_factor(group, right, true, stabilizer)
    same = group.squared_distance(compose(stabilizer, factor[None]), compose(stabilizer, free[None])[:1])
    assert same.min() < 1e-12, "the factor is known up to the symmetries of the object"
    wrong = [
        compose(compose(true[:, None], free[None, None]), stabilizer[None]),
        compose(free[None, None], compose(true[:, None], stabilizer[None])),
        compose(compose(stabilizer, free[None])[None], true[:, None]),
    ]
    for poses in wrong:
        assert pose_error(group, poses, true, orbit, [stabilizer]) > 0.3


@pytest.mark.parametrize("symmetry", ["D3", "T"])
def test_the_free_factor_is_that_of_most_images(symmetry: str) -> None:
    """Of each three images one has a wrong pose; factors of such images explain no other image."""
    group, generator, stabilizer = group_from_name("SO3"), np.random.default_rng(2), rotations(symmetry)
    true, free = group.random(generator, 60), group.random(generator, 1)[0]
    element = stabilizer[generator.integers(len(stabilizer), size=60)]
    poses = group.compose(group.compose(true, element), free[None])[:, None]
    poses[::3] = group.random(generator, 20)[:, None]
    factor = free_factor(group, poses, true, stabilizer)
    assert group.squared_distance(group.compose(stabilizer, free[None]), factor[None]).min() < 1e-12


def test_the_error_of_a_rotation_by_a_known_angle_is_known() -> None:
    """Of two images of one class one is off by an angle: of ``4 − 4 cos`` squared distance, half is on average."""
    group, generator = group_from_name("SO3"), np.random.default_rng(1)
    true, free = group.random(generator, 30), group.random(generator, 1)[0]
    poses = coset(group, true, group.identity()[None], free)
    tilt = Rotation.from_rotvec([0.0, 0.3, 0.0]).as_matrix().reshape(9)
    poses[20:] = group.compose(tilt[None, None], poses[20:])
    expected = np.sqrt((4 - 4 * np.cos(0.3)) / 3)
    assert pose_error(group, poses, true, np.zeros(30, int), [group.identity()[None]]) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["class-pose", "pose-set"])
def test_relative_poses_map_one_image_to_the_other(name: str) -> None:
    """``g·φ(a) = φ(b)`` for elements that do not commute."""
    encoder_cls: Any = encoder_class(name)
    encoder = encoder_cls((16, 16, 3), "SO3", encoder_cls.config_class(backbone="strided"))
    group, generator = encoder.acting, np.random.default_rng(0)
    count = encoder.num_poses
    start, g = group.random(generator, 4 * count).reshape(4, count, 9), group.random(generator, 4)
    end = group.compose(g[:, None], start)
    latents = [{"pose": each[:, 0]} if name == "class-pose" else {"poses": each} for each in (start, end)]
    found = encoder.relative_pose(*latents)
    assert found.shape == (4, count**2, 9)
    assert group.squared_distance(found, g[:, None]).min(1).max() < 1e-12
    carried = group.compose(found[:, :, None], start[:, None])
    gap = group.squared_distance(carried[:, :, :, None], end[:, None, None])
    assert gap.min((2, 3)).max() < 1e-12, "each takes a pose of the first to a pose of the second"


def test_hits_are_counted_over_the_last_images_not_over_the_trajectories() -> None:
    """Predictions 0 and 10 are nearest to their own images, 0 and 4; the image at 4 is nearer to the prediction 0."""

    class Places(Oracle):
        def latents(self, images: Tensor) -> Latents:
            return {"pose": (255 * images[:, :1, 0, 0]).round()}

    def images(*values: int) -> Any:
        return np.tile(np.array(values, np.uint8)[:, None, None, None], (1, 4, 4, 3))

    still = np.zeros((2, 1, 1), np.float32)
    encoder = Places("R1", acts=False)
    assert hit_rate(encoder, TrajectorySample(images(0, 10), images(0, 4), still), batch_size=2) == 1.0
    assert hit_rate(encoder, TrajectorySample(images(0, 4), images(0, 10), still), batch_size=2) == 0.5
