"""Measures of equivariance: right where the answer is known, and the same under all that the theory leaves free."""

from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from envs.groups import Group, group_from_name
from envs.transitions import Transitions
from representations.acted import ActedEncoder, Latents, pairwise_squared
from representations.baselines.dynamics import (
    AutoencoderDynamics,
    AutoencoderDynamicsLearner,
    DynamicsLearner,
    LinearDynamics,
    MDPHomomorphism,
    matrix,
)
from representations.baselines.neural_renderer import NeuralRenderer, NeuralRendererLearner
from representations.class_pose import ClassPoseEncoder
from representations.encoder import encoder_class
from representations.equivariance import (
    BATCH,
    Walks,
    distinct,
    hit_rate,
    lsbd,
    orbit_separation,
    orders,
    pose_error,
    set_size,
    walks,
)
from representations.harmonic_encoder import HarmonicEncoder
from representations.stabilizers import StabilizerEncoder
from representations.training import fit

GROUPS = ["R2", "SO2", "SO3", "SE2", "SO2xSO2", "R2xSO2"]
all_groups = pytest.mark.parametrize("name", GROUPS)


class Oracle(ActedEncoder):
    """Sees the pose, which is written into the image; acts as the group does, or does not act."""

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

    def gap(self, a: Latents, b: Latents) -> Tensor:
        return pairwise_squared(a["pose"], b["pose"])


def experience(group: Group, steps: int, episodes: int = 80, seed: int = 0) -> Transitions:
    """Episodes of random actions, interleaved as a batch of worlds makes them, the pose written into every image."""
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


def test_walks_follow_the_frames_in_whole_batches() -> None:
    group = group_from_name("R2")
    data = experience(group, 5, episodes=40)
    some = walks(data, 3, batches=2)
    assert len(some.start) == 2 * BATCH and some.displacement.shape == (2 * BATCH, 3, 2)
    oracle = Oracle("R2")
    start, end = (oracle.encode(frames)["pose"] for frames in (some.start, some.end))
    np.testing.assert_allclose(start + some.displacement.sum(1), end, atol=0.05)
    with pytest.raises(ValueError, match="32 walks of 6 steps to different images are needed, the transitions hold 0"):
        walks(data, 6)


def test_no_two_walks_end_in_the_same_image() -> None:
    """Where something blocks, an image follows itself: which of them a walk leads to nobody can tell."""
    group = group_from_name("R2")
    free = experience(group, 5, episodes=40)
    frames = free.frames.copy()
    frames[free.end[-60:]] = frames[free.start[-60:]]
    blocked = np.concatenate([free.displacement[:-60], np.zeros((60, 2), np.float32)])
    some = walks(replace(free, frames=frames, displacement=blocked), 1, batches=4)
    assert len(some.end) == 4 * BATCH
    assert len({frame.tobytes() for frame in some.end}) == len(some.end)


@all_groups
def test_who_acts_rightly_hits_and_who_does_not_misses(name: str) -> None:
    some = walks(experience(group_from_name(name), 10), 10)
    assert hit_rate(Oracle(name), some) > 0.75
    assert hit_rate(Oracle(name, acts=False), some) < 0.4


def test_who_sees_nothing_hits_at_chance() -> None:
    """Chance is one in 32: with latents that are all the same, the first item is always the nearest."""
    group = group_from_name("R2")

    class Blind(Oracle):
        def latents(self, images: Tensor) -> Latents:
            return {"pose": torch.zeros(len(images), 2)}

    assert hit_rate(Blind("R2", acts=False), walks(experience(group, 5), 2)) == pytest.approx(1 / BATCH)


def test_batches_that_are_not_full_are_refused() -> None:
    some = walks(experience(group_from_name("R2"), 5), 2, batches=1)
    with pytest.raises(ValueError, match="whole batches of 32 walks were expected, got 31"):
        hit_rate(Oracle("R2"), Walks(some.start[:31], some.end[:31], some.displacement[:31]))


def coset(group: Group, true: Any, stabilizer: Any, free: Any) -> Any:
    return group.compose(group.compose(true[:, None], stabilizer[None]), free[None, None])


@pytest.mark.parametrize(("name", "order"), [("SO2", 1), ("SO2", 5), ("SO2xSO2", 6)])
def test_true_cosets_have_no_error_whatever_is_free(name: str, order: int) -> None:
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
    assert distinct(group, poses).tolist() == [order] * 60
    noisy = group.compose(group.exp(0.1 * generator.normal(size=(*poses.shape[:2], group.tangent_dim))), poses)
    assert 0.05 < pose_error(group, noisy, true, orbit, [stabilizer]) < 0.4
    assert lsbd(noisy, true, orbit, [order], group) > 1e-3
    wrong = group.random(generator, 60 * len(stabilizer)).reshape(poses.shape)
    assert pose_error(group, wrong, true, orbit, [stabilizer]) > 0.4


def test_orders_are_counted_with_their_agreement() -> None:
    turns = group_from_name("SO2")
    angles = np.array([[0.0, 0.01, 2.0], [0.0, 2.0, 4.0], [1.0, 1.02, 3.0], [0.0, 0.1, 0.2]])[..., None]
    poses = turns.exp(angles)
    assert distinct(turns, poses).tolist() == [2, 3, 2, 1]
    found = orders(distinct(turns, poses), np.array([0, 0, 0, 1]))
    assert (found[0].order, found[0].images, found[1].order) == (2, 3, 1)
    assert found[0].agreement == pytest.approx(2 / 3)


def test_the_size_of_the_set_is_what_does_not_collapse() -> None:
    turns, generator = group_from_name("SO2"), np.random.default_rng(0)
    orbit = generator.integers(3, size=150)
    classes = np.eye(3)[orbit] + 0.05 * generator.normal(size=(150, 3))
    poses = np.stack([turns.exp(2 * np.pi / (one + 1) * (np.arange(6)[:, None] % (one + 1))) for one in orbit])
    found = set_size(distinct(turns, poses), 6, classes)
    assert found.size == 3 and found.sure > 0.9
    poses[:20] = turns.random(generator, 120).reshape(20, 6, 2)
    spoilt = set_size(distinct(turns, poses), 6, classes)
    assert spoilt.size == 3 and 0.6 < spoilt.sure < 0.85
    tight = set_size(distinct(turns, poses[:, :3]), 3, classes)
    assert tight.size == 3 and tight.sure == 0.0, "with no element to spare nobody knows"
    number = np.where(orbit == 2, generator.integers(1, 6, 150), orbit + 1)
    assert set_size(number, 6, classes).sure < 0.5, "one class of three scatters"
    stray = np.concatenate([classes, -np.eye(3)[:1]])
    assert set_size(np.append(distinct(turns, poses), 5), 6, stray).size == 3, "a stray image has no class of its own"
    untold = set_size(np.where(orbit == 2, 0, orbit + 1), 6, classes)
    assert (untold.size, untold.sure) == (2, 0.0), "of one class of three nothing is known"
    alone = set_size(np.array([2, 1]), 6, np.eye(2))
    assert (alone.size, alone.sure) == (2, 0.0)


def test_classes_apart_are_separated() -> None:
    generator = np.random.default_rng(0)
    orbit = generator.integers(3, size=200)
    assert orbit_separation(np.eye(3)[orbit] + 0.1 * generator.normal(size=(200, 3)), orbit) == 1.0
    assert orbit_separation(generator.normal(size=(200, 3)), orbit) < 0.6


@pytest.mark.parametrize("name", ["R3", "SO2", "SO3", "SE2", "SO2xSO2"])
def test_matrices_are_a_representation(name: str) -> None:
    group, generator = group_from_name(name), np.random.default_rng(0)
    g, h = (torch.from_numpy(group.random(generator, 7)) for _ in range(2))
    torch.testing.assert_close(matrix(group, g) @ matrix(group, h), matrix(group, group.compose(g, h)))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *product(["ClassPoseEncoder", "StabilizerEncoder", "LinearDynamics"], ["R2", "SO3", "SE2"]),
        *product(["HarmonicEncoder"], ["SO2", "SO3", "SO2xSO3"]),
    ],
)
def test_acting_twice_is_acting_with_the_product(kind: str, name: str) -> None:
    torch.manual_seed(0)
    group, generator = group_from_name(name), np.random.default_rng(0)
    encoder: Any = encoder_class(kind)((16, 16, 3), name, "strided")
    latents = encoder.latents(torch.rand(5, 3, 16, 16))
    g, h = (torch.from_numpy(group.random(generator, 5)).float() for _ in range(2))
    twice, once = encoder.act(g, encoder.act(h, latents)), encoder.act(group.compose(g, h), latents)
    for key in latents:
        torch.testing.assert_close(twice[key], once[key], atol=1e-4, rtol=1e-4)


def test_a_volume_is_turned_as_the_group_says_and_not_blurred_on_the_way() -> None:
    torch.manual_seed(0)
    encoder = NeuralRenderer((16, 16, 3), "SO2", "strided")
    side = torch.linspace(-1, 1, 6)
    x, y, z = torch.meshgrid(side, side, side, indexing="ij")
    seen = torch.exp(-2 * (x**2 + y**2 + (z - 0.4) ** 2))[None, None].repeat(1, 8, 1, 1, 1)
    still, quarter = {"volume": seen}, torch.tensor([[0.0, 1.0]])
    identity = torch.tensor([[1.0, 0.0]])
    torch.testing.assert_close(encoder.placed(encoder.act(identity, still)), encoder.placed(still))
    turned = encoder.act(quarter, still)
    # The last axis is the first coordinate: what is at +x comes to +y, the axis before it.
    torch.testing.assert_close(encoder.placed(turned), seen.transpose(3, 4).flip(4), atol=1e-4, rtol=1e-4)
    for _ in range(20):
        turned = encoder.act(torch.tensor([[np.cos(0.3), np.sin(0.3)]]).float(), turned)
    for _ in range(20):
        turned = encoder.act(torch.tensor([[np.cos(0.3), -np.sin(0.3)]]).float(), turned)
    torch.testing.assert_close(encoder.placed(turned), seen.transpose(3, 4).flip(4), atol=1e-3, rtol=1e-3)
    with pytest.raises(ValueError, match="SO2xSO2xSO2 acts on no volume"):
        NeuralRenderer((16, 16, 3), "SO2xSO2xSO2")


def test_the_gap_is_least_for_the_same_and_counts_pose_and_class() -> None:
    torch.manual_seed(0)
    for encoder in (
        ClassPoseEncoder((16, 16, 3), "SO2", "strided"),
        StabilizerEncoder((16, 16, 3), "SO2", "strided", 3),
        HarmonicEncoder((16, 16, 3), "SO2", "strided"),
    ):
        latents = encoder.latents(torch.rand(4, 3, 16, 16))
        gap = encoder.gap(latents, latents)
        assert gap.diagonal().abs().max() < 1e-5
        other = {**latents, "class": -latents["class"]}
        torch.testing.assert_close(encoder.gap(latents, other).diagonal(), torch.full((4,), 2.0))


def test_the_gap_of_sets_asks_for_the_nearest_of_what_is_foretold() -> None:
    """Of {0, π/2} one element is at 0 and one, at a squared distance of 4, is not; of {0, 0} both are in {0, π/2}."""
    encoder = StabilizerEncoder((16, 16, 3), "SO2", "strided", 2)
    same, alone = torch.ones(3, 8) / 8**0.5, encoder.acting.exp(torch.zeros(2, 1))
    spread = encoder.acting.exp(torch.tensor([[0.0], [np.pi / 2]]))
    a = {"class": same[:1], "poses": alone[None]}
    b = {"class": same, "poses": torch.stack([alone, spread, spread])}
    torch.testing.assert_close(encoder.gap(a, b), torch.tensor([[0.0, 2.0, 2.0]]), atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.gap(b, a), torch.zeros(3, 1), atol=1e-5, rtol=0)


def test_matrices_of_unknown_groups_are_refused() -> None:
    scalings: Any = SimpleNamespace(name="Scalings", dim=1)
    with pytest.raises(ValueError, match="Scalings has no matrices here"):
        matrix(scalings, torch.ones(3, 1))


@pytest.mark.parametrize("kind", ["mdp", "linear", "autoencoder", "renderer"])
def test_baselines_learn_to_foretell(kind: str) -> None:
    """A bright spot that turns about the middle: ahead of what they were untrained, and of chance."""
    torch.manual_seed(0)
    scale = {"mdp": 0.15, "autoencoder": 0.4}.get(kind, 0.05)
    data = spots(2000, 0)
    given: Any = ((16, 16, 3), "SO2", "strided")
    learner: Any
    if kind == "renderer":
        learner = NeuralRendererLearner(NeuralRenderer(*given), data, scale)
    elif kind == "autoencoder":
        learner = AutoencoderDynamicsLearner(AutoencoderDynamics(*given), data, scale)
    else:
        learner = DynamicsLearner(MDPHomomorphism(*given) if kind == "mdp" else LinearDynamics(*given), data, scale)
    some = walks(spots(400, 1), 1)
    before = hit_rate(learner.encoder.eval(), some)
    learner.encoder.train()
    fit(learner, learner.stages(), seed=0)
    assert hit_rate(learner.encoder.eval(), some) > max(before + 0.1, 5 / BATCH)


def spots(pairs: int, seed: int) -> Transitions:
    turns, generator = group_from_name("SO2"), np.random.default_rng(seed)
    angle, turn = generator.uniform(-np.pi, np.pi, (2, pairs))
    angles = np.concatenate([angle, angle + turn])
    rows, columns = np.mgrid[0:16, 0:16] - 7.5
    away = (rows - 5 * np.sin(angles)[:, None, None]) ** 2 + (columns - 5 * np.cos(angles)[:, None, None]) ** 2
    frames = np.repeat(np.round(255 * np.exp(-away / 6)).astype(np.uint8)[..., None], 3, 3)
    index = np.arange(pairs)
    return Transitions(frames, index, index + pairs, turns.exp(turn[:, None]).astype(np.float32), "SO2")
