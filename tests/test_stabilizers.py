"""Class–pose and stabilizer encoders: the losses where the answer is known, and what they learn of turning shapes."""

import numpy as np
import pytest
import torch

from envs.groups import PlaneRotations, group_from_name
from envs.transitions import Transitions
from representations.class_pose import ClassPoseEncoder, ClassPoseLearner
from representations.equivariance import distinct
from representations.harmonic_encoder import HarmonicEncoder, HarmonicLearner
from representations.stabilizers import ALIGNMENT, StabilizerEncoder, StabilizerLearner, chamfer, info_nce, pairwise
from representations.training import fit

SHAPE = (16, 16, 3)
TURNS = PlaneRotations()


def spokes(angles, counts):
    """Images of as many spokes as each count says, evenly spread from each angle on: what a multiple of a full turn
    over the count leaves as it is."""
    rows, columns = np.mgrid[0:16, 0:16] - 7.5
    direction, radius = np.arctan2(rows, columns), np.hypot(rows, columns)
    images = np.zeros((len(angles), *SHAPE))
    for image, angle, count in zip(images, angles, counts, strict=True):
        off = (direction - angle + np.pi / count) % (2 * np.pi / count) - np.pi / count
        image[:] = (np.exp(-((off * radius) ** 2) / 2) * (radius < 7.5))[..., None]
    return np.round(255 * images).astype(np.uint8)


def turning(counts, pairs=1500, seed=0, group="SO2"):
    """Transitions of spokes that are turned by random angles; the truth is their angle and their number."""
    generator, turns = np.random.default_rng(seed), group_from_name(group)
    angle, turn = turns.log(turns.exp(generator.uniform(-np.pi, np.pi, (2, pairs, 1))))[..., 0]
    count = generator.choice(counts, pairs)
    frames = np.concatenate([spokes(angle, count), spokes(angle + turn, count)])
    index = np.arange(pairs)
    truth = {"angle": np.concatenate([angle, angle + turn])[:, None], "count": np.tile(count, 2)[:, None]}
    displacement = turns.exp(turn[:, None]).astype(np.float32)
    return Transitions(
        frames, index, index + pairs, displacement, group, {k: v.astype(np.float32) for k, v in truth.items()}
    )


def trained(encoder, learner):
    fit(learner, learner.stages(), seed=0)
    return encoder.eval()


@pytest.mark.parametrize("name", ["R2", "SO2", "SO3", "SE2", "SO2xSO2"])
def test_true_cosets_have_no_loss(name):
    """Chamfer is zero between a coset that was moved and the moved object's coset, in whatever order."""
    group = group_from_name(name)
    generator = np.random.default_rng(0)
    poses, g = (
        torch.from_numpy(group.random(generator, 12).reshape(3, 4, -1)),
        torch.from_numpy(group.random(generator, 3)),
    )
    moved = group.compose(g[:, None], poses)
    assert chamfer(group, moved[:, [2, 0, 3, 1]], moved).abs().max() < 1e-9
    assert chamfer(group, poses, moved).min() > 1e-3
    assert pairwise(group, poses, moved).shape == (3, 4, 4)


def test_chamfer_is_one_sided():
    group = group_from_name("R1")
    a, b = torch.tensor([[[0.0], [0.0]]]), torch.tensor([[[0.0], [5.0]]])
    assert float(chamfer(group, a, b)) == 0 and float(chamfer(group, b, a)) == 25


def test_contrast_is_least_where_classes_agree_and_spread():
    spread = torch.eye(4)
    together = torch.ones(4, 4) / 2
    assert info_nce(spread, spread, spread, 1) < info_nce(together, together, together, 1)
    assert info_nce(spread, spread, spread, 1) < info_nce(spread, spread.roll(1, 0), spread, 1)


def test_classes_are_spread_first_and_drawn_together_later():
    """And where training was stopped it goes on with the same weight."""
    data = turning([1], 50)
    learner = ClassPoseLearner(ClassPoseEncoder(SHAPE, "SO2", "strided"), data, scale=10 / ClassPoseLearner.updates)
    x = {"class": torch.eye(4)}

    def alignment():
        return float(learner.contrast(x, {"class": 0 * x["class"]}, x["class"]) - learner.contrast(x, x, x["class"]))

    begin = alignment()
    for _ in range(5):
        learner.draw(torch.Generator())
    later = alignment()
    assert later == pytest.approx(begin * ALIGNMENT[1] / ALIGNMENT[0])
    resumed = ClassPoseLearner(ClassPoseEncoder(SHAPE, "SO2", "strided"), data, scale=10 / ClassPoseLearner.updates)
    resumed.load_state_dict(learner.state_dict())
    assert resumed.progress == learner.progress == 0.5
    learner.draw(torch.Generator())
    assert alignment() == pytest.approx(later)


def test_a_set_of_one_is_class_and_pose():
    torch.manual_seed(0)
    one = StabilizerEncoder(SHAPE, "SO2", "strided", elements=1)
    torch.manual_seed(0)
    pose = ClassPoseEncoder(SHAPE, "SO2", "strided")
    images = turning([1], 4).frames
    assert np.array_equal(one.encode(images)["poses"][:, 0], pose.encode(images)["pose"])
    data = turning([1], 50)
    learners = StabilizerLearner(one, data, gather=3.0), ClassPoseLearner(pose, data)
    losses = [learner.loss(torch.Generator().manual_seed(0))[0].item() for learner in learners]
    assert losses[0] == pytest.approx(losses[1])
    rates = [[(stage.steps, stage.learning_rate) for stage in learner.stages()] for learner in learners]
    assert rates[0] == rates[1]


def test_latents_are_on_the_sphere_and_in_the_group():
    encoder = StabilizerEncoder(SHAPE, "SO3", "strided", elements=5)
    latents = encoder.encode(turning([1], 6).frames)
    np.testing.assert_allclose(np.linalg.norm(latents["class"], axis=1), 1, atol=1e-5)
    group_from_name("SO3").validate(latents["poses"])
    assert latents["poses"].shape == (12, 5, 9)


@pytest.mark.parametrize("group", ["SO2", "C6"])
def test_class_and_pose_are_learned_up_to_what_is_free(group):
    """The angle of a single spoke, up to one turn that is the same for all; untrained, as wrong as chance."""
    torch.manual_seed(0)
    encoder = ClassPoseEncoder(SHAPE, group, "strided")
    held_out = turning([1], 200, seed=1, group=group)

    def error():
        pose = TURNS.log(encoder.encode(held_out.frames)["pose"])[:, 0]
        off = pose - held_out.truth["angle"][:, 0]
        centre = np.angle(np.exp(1j * off).mean())
        return float(np.median(np.abs(np.angle(np.exp(1j * (off - centre))))))

    before = error()
    trained(encoder, ClassPoseLearner(encoder, turning([1], group=group), scale=0.1))
    assert error() < 0.1 < before


def test_surplus_elements_gather_to_the_order_of_the_stabilizer():
    """Of six elements as many stay distinct as an image has symmetries: one, two or three."""
    torch.manual_seed(0)
    encoder = StabilizerEncoder(SHAPE, "SO2", "strided", elements=6)
    trained(encoder, StabilizerLearner(encoder, turning([1, 2, 3], 3000), scale=0.3))
    held_out = turning([1, 2, 3], 150, seed=1)
    poses = torch.from_numpy(encoder.encode(held_out.frames)["poses"])
    count = held_out.truth["count"][:, 0]
    near = pairwise(TURNS, poses, poses) < 0.3
    order = (1 / near.float().sum(2)).sum(1).round().numpy()
    assert np.mean(order == count) > 0.9


def test_harmonics_find_every_order_and_what_leads_to_a_goal():
    """Spokes of one to three symmetries: no set was trained, and none has a size."""
    torch.manual_seed(0)
    encoder = HarmonicEncoder(SHAPE, "SO2", "strided", elements=6)
    trained(encoder, HarmonicLearner(encoder, turning([1, 2, 3], 3000), scale=0.1))
    held_out = turning([1, 2, 3], 150, seed=1)
    latents = encoder.encode(held_out.frames)
    assert np.mean(distinct(TURNS, encoder.poses(latents)) == held_out.truth["count"][:, 0]) > 0.95
    start, end = ({name: each[index] for name, each in latents.items()} for index in (held_out.start, held_out.end))
    gap = TURNS.squared_distance(encoder.between(start, end), held_out.displacement[:, None]).min(1)
    assert np.quantile(gap, 0.95) < 4 - 4 * np.cos(0.2), "what was done is among what leads there"
