"""Class–pose, pose-set and harmonic encoders: losses with known values, and training on rotated shapes."""

import numpy as np
import pytest
import torch
from equiact.envs.data.transitions import Transitions
from equiact.envs.lie_groups.registry import group_from_name
from equiact.envs.lie_groups.rotations import SO2
from equiact.representations.encoders.class_pose import ClassPoseConfig, ClassPoseEncoder
from equiact.representations.encoders.harmonic_encoder import HarmonicConfig, HarmonicEncoder
from equiact.representations.encoders.pose_heads import PoseSetHead
from equiact.representations.encoders.pose_set_encoder import PoseSetConfig, PoseSetEncoder, PoseSetLossConfig
from equiact.representations.encoders.registry import make_learner
from equiact.representations.learning.config import ConfigError, OptimConfig, from_dict, scale_steps, to_dict
from equiact.representations.learning.losses import ClassPoseLossConfig, chamfer, info_nce, pairwise_pose_distance
from equiact.representations.learning.pair_sampling import PairSamplingConfig
from equiact.representations.learning.training import train_learner
from equiact.representations.metrics.symmetry_order import count_distinct_poses

SHAPE = (16, 16, 3)
TURNS = SO2()


def spokes(angles, counts):
    """Return images of ``count`` evenly spread spokes, rotated by the angle: the symmetry order is the count."""
    rows, columns = np.mgrid[0:16, 0:16] - 7.5
    direction, radius = np.arctan2(rows, columns), np.hypot(rows, columns)
    images = np.zeros((len(angles), *SHAPE))
    for image, angle, count in zip(images, angles, counts, strict=True):
        off = (direction - angle + np.pi / count) % (2 * np.pi / count) - np.pi / count
        image[:] = (np.exp(-((off * radius) ** 2) / 2) * (radius < 7.5))[..., None]
    return np.round(255 * images).astype(np.uint8)


def turning(counts, pairs=1500, seed=0, group="SO2"):
    """Return transitions of spokes rotated by random angles; the ground truth is the angle and the count."""
    generator, turns = np.random.default_rng(seed), group_from_name(group)
    angle, turn = turns.log(turns.exp(generator.uniform(-np.pi, np.pi, (2, pairs, 1))))[..., 0]
    count = generator.choice(counts, pairs)
    frames = np.concatenate([spokes(angle, count), spokes(angle + turn, count)])
    index = np.arange(pairs)
    ground_truth = {"angle": np.concatenate([angle, angle + turn])[:, None], "count": np.tile(count, 2)[:, None]}
    displacement = turns.exp(turn[:, None]).astype(np.float32)
    return Transitions(
        frames, index, index + pairs, displacement, group, {k: v.astype(np.float32) for k, v in ground_truth.items()}
    )


def trained(encoder, data):
    train_learner(make_learner(encoder, data), seed=0)
    return encoder.eval()


@pytest.mark.parametrize("name", ["R2", "SO2", "SO3", "SE2", "SO2xSO2"])
def test_chamfer_of_equal_sets_is_zero(name):
    """Also if their elements are in another order."""
    group = group_from_name(name)
    generator = np.random.default_rng(0)
    poses, g = (
        torch.from_numpy(group.random(generator, 12).reshape(3, 4, -1)),
        torch.from_numpy(group.random(generator, 3)),
    )
    moved = group.compose(g[:, None], poses)
    assert chamfer(group, moved[:, [2, 0, 3, 1]], moved).abs().max() < 1e-9
    assert chamfer(group, poses, moved).min() > 1e-3
    assert pairwise_pose_distance(group, poses, moved).shape == (3, 4, 4)


def test_chamfer_is_one_sided():
    group = group_from_name("R1")
    a, b = torch.tensor([[[0.0], [0.0]]]), torch.tensor([[[0.0], [5.0]]])
    assert float(chamfer(group, a, b)) == 0 and float(chamfer(group, b, a)) == 25


def test_info_nce_is_lowest_for_aligned_and_spread_classes():
    spread = torch.eye(4)
    together = torch.ones(4, 4) / 2
    assert info_nce(spread, spread, spread, 1, 0.4) < info_nce(together, together, together, 1, 0.4)
    assert info_nce(spread, spread, spread, 1, 0.4) < info_nce(spread, spread.roll(1, 0), spread, 1, 0.4)


def test_alignment_rises_to_the_middle_of_the_training():
    """And training that resumes goes on with the same weight."""
    data = turning([1], 50)
    loss = ClassPoseLossConfig(alignment=(1.0, 1.5))
    config = ClassPoseConfig(backbone="strided", optim=OptimConfig(steps=10), loss=loss)
    learner = make_learner(ClassPoseEncoder(SHAPE, "SO2", config), data)
    assert learner.alignment == 1.0
    for _ in range(5):
        learner.sampler.draw(torch.Generator())
    assert learner.alignment == 1.5 and learner.progress == 0.5
    resumed = make_learner(ClassPoseEncoder(SHAPE, "SO2", config), data)
    resumed.load_state_dict(learner.state_dict())
    assert resumed.progress == 0.5
    learner.sampler.draw(torch.Generator())
    assert learner.alignment == 1.5


def test_a_set_of_one_is_class_and_pose():
    torch.manual_seed(0)
    loss = PoseSetLossConfig(set_cohesion=0.0)
    pairs, optim = PairSamplingConfig(), OptimConfig(steps=6000)
    config = PoseSetConfig(backbone="strided", num_poses=1, loss=loss, pairs=pairs, optim=optim)
    one = PoseSetEncoder(SHAPE, "SO2", config)
    torch.manual_seed(0)
    pose = ClassPoseEncoder(SHAPE, "SO2", ClassPoseConfig(backbone="strided"))
    images = turning([1], 4).frames
    assert np.array_equal(one.encode(images)["poses"][:, 0], pose.encode(images)["pose"])
    data = turning([1], 50)
    learners = make_learner(one, data), make_learner(pose, data)
    losses = [learner.loss(torch.Generator().manual_seed(0))[0].item() for learner in learners]
    assert losses[0] == pytest.approx(losses[1])
    rates = [[(stage.name, stage.steps, stage.learning_rate) for stage in learner.stages()] for learner in learners]
    assert rates[0] == rates[1]


def test_cohesion_is_annealed():
    """The loss of each stage differs by the weight of the mean distance within the sets."""
    loss = PoseSetLossConfig(set_cohesion=2.0, annealing=(10.0, 1.0), alignment=(1.0, 1.0))
    config = PoseSetConfig(backbone="strided", num_poses=4, optim=OptimConfig(steps=10, lr=1e-3), loss=loss)
    first, second = make_learner(PoseSetEncoder(SHAPE, "SO2", config), turning([1], 50)).stages()
    assert (first.steps, second.steps) == (5, 5) and first.name == "pairs, λ × 10"
    high, terms = first.loss(torch.Generator().manual_seed(0))
    low, _ = second.loss(torch.Generator().manual_seed(0))
    assert (high - low).item() == pytest.approx(2.0 * 9 * terms["cohesion"].item(), rel=1e-3)


@pytest.mark.parametrize("config", [ClassPoseConfig(), PoseSetConfig(num_poses=3), HarmonicConfig(degree=2)])
def test_configurations_are_read_back(config):
    assert from_dict(type(config), to_dict(config)) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_poses": 4e6}, "num_poses must be at least 1 and at most 10000, got 4000000"),
        ({"loss": {"temperature": 0}}, "loss.temperature must be above 0, got 0"),
        ({"loss": {"cohesion": 1}}, "unknown key 'loss.cohesion'; did you mean 'loss.set_cohesion'?"),
        ({"optim": {"lr": -1}}, "optim.lr must be above 0, got -1"),
    ],
)
def test_wrong_configurations_are_refused(values, message):
    with pytest.raises(ConfigError) as caught:
        from_dict(PoseSetConfig, values)
    assert message in str(caught.value)


def test_latents_are_on_the_sphere_and_in_the_group():
    encoder = PoseSetEncoder(SHAPE, "SO3", PoseSetConfig(backbone="strided", num_poses=5))
    latents = encoder.encode(turning([1], 6).frames)
    np.testing.assert_allclose(np.linalg.norm(latents["class"], axis=1), 1, atol=1e-5)
    group_from_name("SO3").validate(latents["poses"])
    assert latents["poses"].shape == (12, 5, 9)


@pytest.mark.parametrize("group", ["SO2", "C6"])
def test_poses_are_learned_up_to_one_rotation(group):
    """The angle of a single spoke, up to one rotation that is the same for all images."""
    torch.manual_seed(0)
    encoder = ClassPoseEncoder(SHAPE, group, scale_steps(ClassPoseConfig(backbone="strided"), 0.1))
    held_out = turning([1], 200, seed=1, group=group)

    def error():
        pose = TURNS.log(encoder.encode(held_out.frames)["pose"])[:, 0]
        off = pose - held_out.ground_truth["angle"][:, 0]
        centre = np.angle(np.exp(1j * off).mean())
        return float(np.median(np.abs(np.angle(np.exp(1j * (off - centre))))))

    before = error()
    trained(encoder, turning([1], group=group))
    assert error() < 0.1 < before


@pytest.mark.slow
def test_as_many_poses_stay_distinct_as_the_stabilizer_has_elements():
    """One, two or three of six."""
    torch.manual_seed(0)
    encoder = PoseSetEncoder(SHAPE, "SO2", scale_steps(PoseSetConfig(backbone="strided", num_poses=6), 0.3))
    trained(encoder, turning([1, 2, 3], 3000))
    held_out = turning([1, 2, 3], 150, seed=1)
    poses = torch.from_numpy(encoder.encode(held_out.frames)["poses"])
    count = held_out.ground_truth["count"][:, 0]
    near = pairwise_pose_distance(TURNS, poses, poses) < 0.3
    order = (1 / near.float().sum(2)).sum(1).round().numpy()
    assert np.mean(order == count) > 0.9


def test_harmonics_find_every_order_and_relative_pose():
    """Spokes with symmetry orders one to three; no set size is given in training."""
    torch.manual_seed(0)
    encoder = HarmonicEncoder(SHAPE, "SO2", scale_steps(HarmonicConfig(backbone="strided", num_poses=6), 0.1))
    trained(encoder, turning([1, 2, 3], 3000))
    held_out = turning([1, 2, 3], 150, seed=1)
    latents = encoder.encode(held_out.frames)
    assert np.mean(count_distinct_poses(TURNS, encoder.poses(latents)) == held_out.ground_truth["count"][:, 0]) > 0.95
    start, end = ({name: each[index] for name, each in latents.items()} for index in (held_out.start, held_out.end))
    gap = TURNS.squared_distance(encoder.relative_pose(start, end), held_out.displacement[:, None]).min(1)
    assert np.quantile(gap, 0.95) < 4 - 4 * np.cos(0.2), "the displacement is among the relative poses"


def test_the_distance_of_sets_is_from_each_pose_of_b_to_the_nearest_of_a():
    head = PoseSetHead(1, group_from_name("R1"), 2, ClassPoseLossConfig())
    a, b = {"poses": torch.tensor([[[0.0], [0.0]]])}, {"poses": torch.tensor([[[0.0], [5.0]]])}
    assert head.pose_distance(a, b).item() == 12.5
    assert head.pose_distance(b, a).item() == 0
