"""Relative maps, alignments and densification: invariances, exact solutions, brute force, bad inputs."""

import itertools
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from equiact.agents.policies.encode_observation import EncodeObservation
from equiact.agents.policies.gaussian_policy import SquashedGaussianPolicy
from equiact.agents.policies.sac import SACConfig
from equiact.agents.policies.sb3_features import EncoderFeatures
from equiact.agents.policies.stitched_encoder import RelativeEncoder, StitchedEncoder
from equiact.envs.data.minari_dataset import save_transitions
from equiact.envs.data.trajectories import episode_ids
from equiact.envs.data.transitions import Transitions
from equiact.envs.lie_groups.registry import group_from_name
from equiact.envs.worlds.soccer import Soccer
from equiact.representations.analysis.stitching.alignments import (
    AffineAlignment,
    absolute_alignment,
    isometric_alignment,
    linear_alignment,
    procrustes_alignment,
)
from equiact.representations.analysis.stitching.anchors import draw_anchors, matched_frames
from equiact.representations.analysis.stitching.class_pose_alignments import class_pose_alignment, group_mean
from equiact.representations.analysis.stitching.comparison import (
    AlignmentScore,
    agreement,
    score_alignment,
    score_relative_maps,
    suggest_alignment,
    suiting_alignments,
)
from equiact.representations.analysis.stitching.densification import (
    DensificationConfig,
    death_times,
    spanning_tree,
    topological_densification_loss,
)
from equiact.representations.analysis.stitching.relative_maps import (
    AnchorError,
    CosineRelative,
    FewAnchorsWarning,
    RobustRelative,
    cosine_relative,
    robust_relative,
)
from equiact.representations.encoders.agent_object import AgentObjectConfig, AgentObjectEncoder
from equiact.representations.encoders.class_pose import ClassPoseConfig, ClassPoseEncoder
from equiact.representations.encoders.encoder import load_encoder
from equiact.representations.encoders.translation_encoder import TranslationEncoder
from equiact.representations.learning.config import ConfigError
from equiact.representations.metrics.rigid_alignment import align_rigidly
from equiact.scripts.analyses.analyze_stitching import AnalyzeStitching
from equiact.scripts.benchmarks.instruments import stitching_poses_benchmark
from equiact.scripts.benchmarks.instruments.instrument import InstrumentRun
from equiact.scripts.benchmarks.instruments.stitched_policies import PolicyTest, standardisation, train_policy
from equiact.scripts.benchmarks.instruments.stitching_benchmark import StitchingConfig, draw_success
from equiact.scripts.benchmarks.instruments.stitching_digits import DigitsConfig, measure_digits
from equiact.scripts.benchmarks.instruments.stitching_worlds import (
    ColouredPointers,
    Pointing,
    SideSoccer,
    collect_in,
    in_side_axes,
)
from equiact.scripts.cli import main
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group
from stable_baselines3 import SAC

FACTORS = st.floats(0.01, 100).flatmap(lambda size: st.sampled_from([size, -size]))


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@st.composite
def monomial_maps(draw, dim):
    """A permutation times a non-zero diagonal scaling, and a translation."""
    order = draw(st.permutations(range(dim)))
    scale = np.array(draw(st.lists(FACTORS, min_size=dim, max_size=dim)))
    shift = np.array(draw(st.lists(st.floats(-10, 10), min_size=dim, max_size=dim)))
    return lambda z: (z * scale + shift)[:, order]


@given(monomial_maps(dim=5), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_the_robust_map_is_invariant_to_permutations_scalings_and_translations(other, seed):
    latents, anchors, batch = normal(20, 5, seed=seed), normal(9, 5, seed=seed + 1), normal(30, 5, seed=seed + 2)
    expected = robust_relative(latents, anchors)
    np.testing.assert_allclose(robust_relative(other(latents), other(anchors)), expected, atol=1e-9)
    with_batch = robust_relative(latents, anchors, batch)
    np.testing.assert_allclose(robust_relative(other(latents), other(anchors), other(batch)), with_batch, atol=1e-9)


@given(st.integers(0, 1000), st.floats(0.01, 100))
@settings(max_examples=30, deadline=None)
def test_the_cosine_map_is_invariant_to_rotations_and_one_scale_only(seed, scale):
    latents, anchors = normal(20, 4, seed=seed), normal(9, 4, seed=seed + 1)
    turn = scale * ortho_group.rvs(4, random_state=seed)
    np.testing.assert_allclose(cosine_relative(latents @ turn, anchors @ turn), cosine_relative(latents, anchors))
    stretch = np.array([1.0, 1.0, 1.0, 20.0])
    apart = np.abs(cosine_relative(latents * stretch, anchors * stretch) - cosine_relative(latents, anchors))
    assert apart.max() > 0.1


def test_the_robust_map_is_not_invariant_to_rotations():
    latents, anchors = normal(20, 4), normal(9, 4, seed=1) * [1, 1, 1, 5]
    turn = ortho_group.rvs(4, random_state=0)
    assert np.abs(robust_relative(latents @ turn, anchors @ turn) - robust_relative(latents, anchors)).max() > 0.1


def test_relative_maps_agree_with_the_formula():
    latents, anchors, batch = normal(3, 4), normal(6, 4, seed=1) * 3 + 1, normal(50, 4, seed=2) * 2 - 1
    plain, robust = cosine_relative(latents, anchors), robust_relative(latents, anchors, batch)
    for i, j in itertools.product(range(3), range(6)):
        z, a = latents[i], anchors[j]
        assert plain[i, j] == pytest.approx(z @ a / np.sqrt(z @ z * (a @ a)))
        u, v = (z - batch.mean(0)) / batch.std(0), (a - anchors.mean(0)) / anchors.std(0)
        assert robust[i, j] == pytest.approx(u @ v / np.sqrt(u @ u * (v @ v)))


def test_modules_agree_with_the_functions():
    latents, anchors = normal(7, 3), normal(8, 3, seed=1)
    given = torch.from_numpy(latents).float()
    np.testing.assert_allclose(CosineRelative(anchors)(given), cosine_relative(latents, anchors), atol=1e-5)
    module = RobustRelative(anchors)
    batch_wise = module.train()(given)
    np.testing.assert_allclose(batch_wise, robust_relative(latents, anchors, latents), atol=1e-5)
    fresh = RobustRelative(anchors).eval()
    np.testing.assert_allclose(fresh(given), robust_relative(latents, anchors), atol=1e-5)


def test_running_statistics_follow_the_batches_in_training_only():
    anchors = normal(8, 3)
    module = RobustRelative(anchors, momentum=0.25)
    batch = torch.from_numpy(normal(10, 3, seed=1) * 4 + 2).float()
    module.eval()(batch)
    np.testing.assert_allclose(module.mean, anchors.mean(0), atol=1e-6)
    module.train()(batch)
    np.testing.assert_allclose(module.mean, 0.75 * anchors.mean(0) + 0.25 * batch.numpy().mean(0), atol=1e-5)
    np.testing.assert_allclose(module.spread, 0.75 * anchors.std(0) + 0.25 * batch.numpy().std(0), atol=1e-5)
    np.testing.assert_allclose(module.anchor_mean, anchors.mean(0), atol=1e-6)


def test_constant_coordinates_are_left_out():
    latents, anchors = normal(5, 3), normal(9, 3, seed=1)
    dead = np.hstack([anchors[:, :2], np.full((9, 1), 0.1), anchors[:, 2:]])
    alive = np.hstack([latents[:, :2], normal(5, 1, seed=2), latents[:, 2:]])
    np.testing.assert_allclose(robust_relative(alive, dead), robust_relative(latents, anchors), atol=1e-12)
    constant_batch = np.hstack([latents[:, :2], np.full((5, 1), 7.7), latents[:, 2:]])
    wide = np.hstack([anchors[:, :2], normal(9, 1, seed=3), anchors[:, 2:]])
    np.testing.assert_allclose(
        robust_relative(constant_batch, wide, constant_batch),
        robust_relative(latents, anchors, latents),
        atol=1e-12,
    )


def test_gradients_are_finite_with_zeros_and_constants():
    latents = torch.zeros(4, 3, requires_grad=True)
    anchors = torch.tensor(normal(6, 3), dtype=torch.float32)
    anchors.requires_grad_()
    varying = torch.where(torch.arange(3) == 2, 1.0, anchors)
    (cosine_relative(latents, anchors).sum() + robust_relative(latents, varying).sum()).backward()
    assert bool(latents.grad.isfinite().all()) and bool(anchors.grad.isfinite().all())
    assert cosine_relative(np.zeros((1, 2)), np.eye(2)).tolist() == [[0.0, 0.0]]


@pytest.mark.filterwarnings("ignore::equiact.representations.analysis.stitching.relative_maps.FewAnchorsWarning")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cosine_relative(normal(3, 2), normal(3, 4)), "the 4 coordinates of the anchors, got 2"),
        (lambda: cosine_relative(normal(3), normal(3, 4)), r"latents of shape \(n, dim\), got \(3,\)"),
        (lambda: CosineRelative(np.array([[1.0, np.nan]] * 3)), "finite anchors"),
        (lambda: CosineRelative(np.array([[0.0, 0.0], [2.0, 0.0]])), "one at the origin"),
        (lambda: RobustRelative(np.ones((5, 2))), "anchors that differ"),
        (lambda: robust_relative(normal(3, 2), np.ones((5, 2))), "anchors that differ"),
        (lambda: RobustRelative(normal(5, 2)).train()(torch.zeros(1, 2)), "at least 2 latents in training mode, got 1"),
        (lambda: RobustRelative(normal(5, 2)).eval()(torch.zeros(1, 3)), "the 2 coordinates of the anchors, got 3"),
        (lambda: absolute_alignment(normal(3, 2), normal(3, 4)), "one size, got 2 and 4"),
        (lambda: absolute_alignment(normal(3, 2), normal(4, 2)), r"every anchor, got \(3, 2\) and \(4, 2\)"),
        (lambda: absolute_alignment(np.full((3, 2), np.nan), normal(3, 2)), "finite latents"),
        (
            lambda: linear_alignment(normal(4, 4), normal(4, 1)),
            "at least 5 anchors for latents of 4 coordinates, got 4",
        ),
        (lambda: procrustes_alignment(normal(3, 4), normal(3, 4)), "at least 4 anchors"),
        (lambda: procrustes_alignment(np.ones((9, 2)), normal(9, 2)), "encoder B gave all of them the same latent"),
        (lambda: isometric_alignment(normal(1, 2), normal(1, 2), 2), "at least 3 anchors for latents of 2"),
        (lambda: isometric_alignment(normal(9, 3), normal(9, 3), 2), "points of 2 coordinates, got 3"),
        (lambda: class_pose_alignment(normal(9, 2), normal(9, 2), "SO2"), "before the 2 coordinates of the pose"),
        (lambda: draw_anchors(5, 6, 0), "1 to 5 anchors, as there are frames, got 6"),
        (lambda: draw_anchors(5, 0, 0), "1 to 5 anchors"),
        (lambda: agreement(np.ones((4, 2)), np.ones((4, 2))), "one latent for all 4 states"),
        (lambda: agreement(np.ones((1, 2)), np.ones((1, 2))), "two states that are no anchors, got 1"),
        (lambda: suggest_alignment({}), "scores of alignments, got none"),
    ],
)
def test_bad_anchors_are_refused(call, message):
    with pytest.raises(AnchorError, match=message):
        call()


def test_few_anchors_are_a_warning():
    with pytest.warns(FewAnchorsWarning, match="2 anchors cannot tell all latents of 3 coordinates apart; take 3"):
        CosineRelative(normal(2, 3))
    with pytest.warns(FewAnchorsWarning, match="3 anchors .* take 4 or more"):
        RobustRelative(normal(3, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CosineRelative(normal(3, 3))
        RobustRelative(normal(4, 3))


# Alignments


@pytest.mark.parametrize("seed", range(5))
def test_exact_maps_are_recovered(seed):
    b, new = normal(12, 4, seed=seed), normal(5, 4, seed=seed + 100)
    turn, shift = ortho_group.rvs(4, random_state=seed), normal(4, seed=seed + 200)
    for fit, true in (
        (procrustes_alignment, lambda z: 0.3 * z @ turn + shift),
        (linear_alignment, lambda z: z @ normal(4, 6, seed=3) + 2),
    ):
        np.testing.assert_allclose(fit(b, true(b)).align(new), true(new), atol=1e-5)
    small = ortho_group.rvs(2, random_state=seed)
    rigid = lambda z: (z.reshape(-1, 2) @ small + [5, -3]).reshape(len(z), -1)  # noqa: E731
    np.testing.assert_allclose(isometric_alignment(b, rigid(b), 2).align(new), rigid(new), atol=1e-5)


def test_one_rigid_motion_moves_all_points():
    """Of noisy latents the isometric map is that of the points of both, and agrees with `align_rigidly`."""
    b, a = normal(30, 4), normal(30, 4, seed=1) + 2
    expected = align_rigidly(b.reshape(-1, 2), a.reshape(-1, 2)).reshape(-1, 4)
    alignment = isometric_alignment(b, a, 2)
    np.testing.assert_allclose(alignment.align(b), expected, atol=1e-5)
    first, second = alignment.matrix[:2, :2], alignment.matrix[2:, 2:]
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(first @ first.T, torch.eye(2))
    assert float(alignment.matrix[:2, 2:].abs().max()) == 0


def test_procrustes_is_the_best_similarity():
    b, a = normal(40, 3), normal(40, 3) @ np.diag([2.0, 1.0, 3.0]) + normal(40, 3, seed=2)
    best = score_alignment(procrustes_alignment(b, a), b, a).error
    turn = procrustes_alignment(b, a)
    for seed in range(50):
        small = 0.05 * normal(4, seed=seed)
        skew = np.array([[0, small[0], small[1]], [-small[0], 0, small[2]], [-small[1], -small[2], 0]])
        nudged = turn.matrix.numpy() @ np.linalg.solve(np.eye(3) - skew, np.eye(3) + skew) * (1 + small[3])
        offset = a.mean(0) - b.mean(0) @ nudged
        assert score_alignment(AffineAlignment(nudged, offset), b, a).error >= best - 1e-6


def test_rivals_are_nested():
    """On the anchors a family with more parameters is never worse."""
    b, a = normal(40, 4), normal(40, 4, seed=1) + normal(40, 4)
    fits = suiting_alignments(AgentObjectEncoder((8, 8, 3), "R2"))
    errors = [score_alignment(fit(b, a), b, a).error for fit in fits.values()]
    assert list(fits) == ["absolute", "isometric", "procrustes", "linear"]
    assert errors == sorted(errors, reverse=True)


def test_latents_of_different_sizes_are_aligned():
    b = np.hstack([normal(20, 2), np.zeros((20, 1))]) @ ortho_group.rvs(3, random_state=0)
    a = b[:, :3] @ np.linalg.pinv(np.eye(3))
    wide = np.hstack([a, np.zeros((20, 2))]) @ ortho_group.rvs(5, random_state=1)
    np.testing.assert_allclose(procrustes_alignment(b, wide).align(b), wide, atol=1e-5)
    np.testing.assert_allclose(procrustes_alignment(wide, b).align(wide), b, atol=1e-5)


@pytest.mark.parametrize("name", ["SO2", "SO3", "SE2", "R2xSO2"])
def test_equivariant_encoders_differ_by_an_element_from_the_right(name):
    group, generator = group_from_name(name), np.random.default_rng(0)
    orbit = np.arange(60) % 3
    pose = group.random(generator, 60)
    of_a, of_b = group.random(generator, 3), group.random(generator, 3)
    turn = ortho_group.rvs(4, random_state=0)
    class_b = np.eye(4)[orbit]
    b = np.hstack([class_b, group.compose(pose, of_b[orbit])])
    a = np.hstack([class_b @ turn, group.compose(pose, of_a[orbit])])
    alignment = class_pose_alignment(b[:30], a[:30], name)
    np.testing.assert_allclose(alignment.align(b[30:]), a[30:], atol=1e-4)
    assert alignment.elements.shape == (3, group.dim)


@pytest.mark.parametrize("name", ["SO3", "SE2", "R2"])
def test_the_mean_on_a_group_is_equivariant(name):
    group, generator = group_from_name(name), np.random.default_rng(0)
    centre, g, k = group.random(generator, 3)
    small = 0.3 * generator.normal(size=(41, group.tangent_dim))
    cloud = group.compose(np.tile(centre, (41, 1)), group.exp(small))
    mean = group_mean(group, cloud)
    moved = group.compose(group.compose(np.tile(g, (41, 1)), cloud), np.tile(k, (41, 1)))
    np.testing.assert_allclose(group_mean(group, moved), group.compose(group.compose(g, mean), k), atol=1e-6)
    residual = group.log(group.compose(group.inverse(mean)[None], cloud)).mean(0)
    np.testing.assert_allclose(residual, 0, atol=1e-9)


def test_aligned_poses_are_group_elements():
    encoder = ClassPoseEncoder((16, 16, 3), "SO3", ClassPoseConfig(backbone="strided", class_dim=3))
    group, generator = encoder.acting, np.random.default_rng(0)
    b = np.hstack([np.eye(3)[np.arange(40) % 3], group.random(generator, 40)])
    a = np.hstack([np.eye(3)[np.arange(40) % 3], group.random(generator, 40)])
    fits = suiting_alignments(encoder)
    assert list(fits) == ["absolute", "class-pose", "procrustes", "linear"]
    for fit in fits.values():
        assert float(np.max(group.violation(fit(b, a).align(b)[:, 3:]))) < 1e-5


def test_objects_that_turn_and_unknown_encoders_have_general_alignments_only():
    turning = AgentObjectEncoder((16, 16, 3), "R2", AgentObjectConfig(object_shape="any"))
    assert list(suiting_alignments(turning)) == ["absolute", "procrustes", "linear"]
    assert "isometric" in suiting_alignments(TranslationEncoder((8, 8, 3), "R3"))


def test_scores_and_suggestion():
    target = normal(50, 2)
    assert agreement(target, target) == AlignmentScore(1.0, 0.0)
    assert agreement(np.array([[1.0], [2.0]]), np.array([[0.0], [2.0]])).r2 == pytest.approx(0.5)
    assert agreement(np.tile(target.mean(0), (50, 1)), target).r2 == pytest.approx(0)
    assert agreement(target + np.array([3, 4]), target).error == pytest.approx(5)
    scores = {
        "absolute": AlignmentScore(0.0, 1.0),
        "isometric": AlignmentScore(0.9, 0.3),
        "linear": AlignmentScore(0.9, 0.2),
    }
    assert suggest_alignment(scores) == "linear"
    assert suggest_alignment({**scores, "isometric": AlignmentScore(0.9, 0.21)}) == "isometric"
    other = lambda z: z * [1.0, 30.0]  # noqa: E731
    relative = score_relative_maps(other(target[:9]), target[:9], other(target), target)
    assert relative["robust"].r2 == pytest.approx(1)
    assert relative["cosine"].r2 < 0.9


# Anchors


def episodes(moves, group="R2"):
    """Transitions of episodes with given displacements, with frames of their own."""
    start = np.concatenate([np.arange(len(each)) + 100 * index for index, each in enumerate(moves)])
    frames = np.zeros((100 * len(moves), 4, 4, 3), np.uint8)
    return Transitions(frames, start, start + 1, np.concatenate(moves).astype(np.float32), group)


def test_frames_are_matched_by_displacements():
    moves = [normal(4, 2, seed=seed) for seed in range(3)]
    other = [moves[0][:2], moves[1] + [[0], [0], [1], [0]], moves[2] + 1]
    first, second = matched_frames(episodes(moves), episodes(other))
    assert first.tolist() == second.tolist() == [0, 1, 2, 100, 101, 102]
    whole, order = episodes(moves), np.argsort(np.tile(np.arange(4), 3), kind="stable")
    side_by_side = replace(
        whole, start=whole.start[order], end=whole.end[order], displacement=whole.displacement[order]
    )
    assert sorted(matched_frames(side_by_side, side_by_side)[0].tolist()) == sorted({*whole.start, *whole.end})
    with pytest.raises(AnchorError, match="same displacements in both data sets, got none"):
        matched_frames(episodes(moves), episodes([each + 1 for each in moves]))
    with pytest.raises(AnchorError, match="one group, got R2 and R3"):
        matched_frames(episodes(moves), episodes([np.zeros((2, 3))], "R3"))


def test_anchors_are_different_and_reproducible():
    drawn = draw_anchors(50, 50, seed=1)
    assert sorted(drawn.tolist()) == list(range(50))
    assert draw_anchors(50, 5, seed=1).tolist() == draw_anchors(50, 5, seed=1).tolist()
    assert draw_anchors(50, 5, seed=1).tolist() != draw_anchors(50, 5, seed=2).tolist()


# Densification


def merge_lengths(points):
    """Death times by brute force: add edges by length, and note each that joins two components."""
    edges = sorted(
        (float(np.linalg.norm(p - q)), i, j) for (i, p), (j, q) in itertools.combinations(enumerate(points), 2)
    )
    component, deaths = list(range(len(points))), []
    for length, i, j in edges:
        if component[i] != component[j]:
            deaths.append(length)
            component = [component[i] if each == component[j] else each for each in component]
    return deaths


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=9))
@settings(max_examples=80, deadline=None)
def test_death_times_agree_with_brute_force_also_of_equal_points(points):
    """Points on a small grid: many are equal, and many distances are."""
    values = np.array(points, float)
    np.testing.assert_allclose(death_times(torch.from_numpy(values)), merge_lengths(values), atol=1e-12)


def test_the_spanning_tree_is_the_shortest():
    points = normal(6, 2)
    first, second = spanning_tree(points)
    own = np.linalg.norm(points[first] - points[second], axis=1).sum()
    edges = list(itertools.combinations(range(6), 2))
    lengths = []
    for chosen in itertools.combinations(edges, 5):
        component = list(range(6))
        for i, j in chosen:
            component = [component[i] if each == component[j] else each for each in component]
        if len(set(component)) == 1:
            lengths.append(sum(np.linalg.norm(points[i] - points[j]) for i, j in chosen))
    assert own == pytest.approx(min(lengths))


def test_densification_adds_over_classes_and_is_differentiable():
    latents = torch.tensor(normal(9, 2), requires_grad=True)
    labels = torch.tensor([0, 1, 2, 0, 1, 0, 1, 0, 7])
    expected = sum(np.abs(np.array(merge_lengths(latents.detach().numpy()[labels == k])) - 0.8).sum() for k in (0, 1))
    assert float(topological_densification_loss(latents.detach(), labels, 0.8)) == pytest.approx(expected)
    torch.autograd.gradcheck(lambda z: topological_densification_loss(z, labels, 0.8), latents)


def test_densification_reaches_its_scale():
    latents = torch.tensor(normal(12, 2), requires_grad=True)
    labels = torch.zeros(12, dtype=torch.long)
    optimizer = torch.optim.Adam([latents], lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        topological_densification_loss(latents, labels, 0.5).backward()
        optimizer.step()
    np.testing.assert_allclose(death_times(latents.detach()), 0.5, atol=0.1)


def test_equal_points_have_death_time_zero_and_finite_gradients():
    latents = torch.zeros(5, 3, requires_grad=True)
    loss = topological_densification_loss(latents, torch.zeros(5), beta=1.0)
    loss.backward()
    assert float(loss.detach()) == 4
    assert float(latents.grad.abs().max()) == 0
    alone = topological_densification_loss(latents, torch.arange(5), beta=1.0)
    alone.backward()
    assert float(alone.detach()) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: topological_densification_loss(torch.zeros(3, 2), torch.zeros(2), 1.0), "each of 3 latents"),
        (lambda: topological_densification_loss(torch.zeros(3, 2), torch.zeros(3), -1.0), "beta of at least 0"),
        (lambda: death_times(torch.zeros(3)), r"points of shape \(n, dim\)"),
        (lambda: death_times(torch.full((3, 2), torch.inf)), "finite points"),
        (lambda: death_times(torch.zeros(5000, 2)), "at most 4096 points of a class, got 5000"),
        (lambda: AffineAlignment(np.eye(2), np.zeros(3)), r"got \(2, 2\) and \(3,\)"),
        (lambda: AffineAlignment(np.eye(2), np.zeros(2)).align(np.zeros((4, 3))), r"latents \(B, 2\), got \(4, 3\)"),
        (lambda: RobustRelative(normal(5, 2), momentum=2), r"a momentum in \[0, 1\], got 2"),
        (lambda: DensificationConfig(rise=0.0), "rise must be above 0"),
        (lambda: DensificationConfig(beta=-1.0), "beta must be at least 0"),
        (lambda: DensificationConfig(cycles=0), "cycles must be at least 1"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
    assert issubclass(ConfigError, ValueError)


def test_the_weight_rises_in_cycles():
    config = DensificationConfig(weight=2.0, cycles=2, rise=0.5)
    weights = [config.weight_at(step, 80) for step in range(80)]
    assert weights[:40] == pytest.approx(weights[40:])
    assert weights[:21] == pytest.approx(np.linspace(0, 2, 21))
    assert weights[20:40] == pytest.approx([2.0] * 20)


# Encoders that are followed by a map


def frames(count=12, size=16):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def encoder(seed, group="R2"):
    torch.manual_seed(seed)
    return AgentObjectEncoder((16, 16, 3), group).eval()


def test_a_stitched_encoder_takes_the_place_of_an_encoder():
    one = encoder(0)
    matrix, offset = np.kron(np.eye(2), [[0.0, 1.0], [-1.0, 0.0]]), np.array([1.0, 2.0, 3.0, 4.0])
    stitched = StitchedEncoder(one, AffineAlignment(matrix, offset))
    flat = one.encode_flat(frames())
    np.testing.assert_allclose(stitched.encode_flat(frames()), flat @ matrix + offset, atol=1e-5)
    assert {name: each.shape for name, each in stitched.encode(frames()).items()} == {
        "agent": (12, 2),
        "object": (12, 2),
    }
    assert stitched.latent_dim == 4
    assert not stitched.training and not stitched.mapping.training
    assert StitchedEncoder(one, AffineAlignment(np.zeros((4, 3)), np.zeros(3))).encode(frames())["stitched"].shape == (
        12,
        3,
    )


def test_an_alignment_for_other_latents_is_refused():
    with pytest.raises(ValueError, match=r"expected latents \(B, 5\), got \(1, 4\)"):
        StitchedEncoder(encoder(0), AffineAlignment(np.eye(5), np.zeros(5)))


def test_relative_coordinates_of_an_encoder_with_other_coordinates_are_the_same():
    one = encoder(0)
    other = StitchedEncoder(one, AffineAlignment(np.diag([-2.0, 0.1, 30.0, 1.0])[[2, 0, 3, 1]], -np.arange(4.0)))
    robust = [RelativeEncoder(each, frames()).encode(frames())["relative"] for each in (one, other)]
    np.testing.assert_allclose(robust[0], robust[1], atol=1e-3)
    flat = one.encode_flat(frames())
    np.testing.assert_allclose(robust[0], robust_relative(flat, flat), atol=1e-3)
    plain = [RelativeEncoder(each, frames(), CosineRelative).encode_flat(frames()) for each in (one, other)]
    assert np.abs(plain[0] - plain[1]).max() > 100 * np.abs(robust[0] - robust[1]).max()
    with pytest.raises(ValueError, match="frames of anchors, got none"):
        RelativeEncoder(one, frames()[:0])


class Pictures(gym.Env):
    """An environment that observes random pictures."""

    observation_space = gym.spaces.Box(0, 255, (16, 16, 3), np.uint8)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return frames(1)[0], {}


def test_policies_use_mapped_encoders_as_others():
    relative = RelativeEncoder(encoder(0), frames())
    observation, _ = EncodeObservation(Pictures(), relative).reset(seed=0)
    np.testing.assert_allclose(observation, relative.encode_flat(frames(1))[0], atol=1e-6)
    features = EncoderFeatures(
        Pictures.observation_space, StitchedEncoder(encoder(0), AffineAlignment(np.eye(4), np.zeros(4)))
    )
    assert features.features_dim == 4


def test_a_model_of_stable_baselines_runs_on_another_encoder():
    """The model of encoder A, on B with the coordinates of A, does what it does on A."""
    one = encoder(0)
    turn = np.kron(np.eye(2), [[0.0, 1.0], [-1.0, 0.0]])
    other = StitchedEncoder(one, AffineAlignment(turn, np.ones(4)))
    model = SAC("MlpPolicy", EncodeObservation(Pictures(), one), policy_kwargs={"net_arch": [16]}, seed=0, device="cpu")
    pair = other.encode_flat(frames()), one.encode_flat(frames())
    stitched = StitchedEncoder(other, isometric_alignment(*pair, 2))
    expected = model.predict(pair[1], deterministic=True)[0]
    observation, _ = EncodeObservation(Pictures(), stitched).reset(seed=0)
    np.testing.assert_allclose(model.predict(observation, deterministic=True)[0], expected[0], atol=1e-4)
    assert np.abs(model.predict(pair[0], deterministic=True)[0] - expected).max() > 1e-2


def test_mapped_encoders_cannot_be_saved(tmp_path):
    relative = RelativeEncoder(encoder(0), frames())
    with pytest.raises(ValueError, match="save its attribute encoder and the frames of the anchors"):
        relative.save(tmp_path / "encoder")
    assert relative.card()["config"] == {"encoder": "AgentObjectEncoder", "mapping": "RobustRelative"}


# The command


def dot_pictures(count=80):
    """Episodes of four steps of a bright square, which moves by its displacement in pixels."""
    generator = np.random.default_rng(0)
    at = np.cumsum(generator.integers(-1, 2, (count, 5, 2)), 1) + 7
    images = np.zeros((count, 5, 16, 16, 3), np.uint8)
    for (episode, step), _ in np.ndenumerate(at[..., 0]):
        row, column = at[episode, step]
        images[episode, step, row : row + 3, column : column + 3] = 255
    moves = np.diff(at, axis=1).astype(np.float32)
    pairs = zip(images, moves, strict=True)
    return Transitions.from_episodes(({"images": i, "displacement": m} for i, m in pairs), "R2")


@pytest.fixture
def saved(tmp_path):
    """Two encoders, of which the second has the latents of the first, turned and shifted, and their data set."""
    torch.manual_seed(0)
    one, other = TranslationEncoder((16, 16, 3), "R2"), TranslationEncoder((16, 16, 3), "R2")
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        other.head.weight.copy_(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]) @ one.head.weight)
        other.head.bias.copy_(torch.tensor([3.0, 4.0]))
    save_transitions(dot_pictures(), tmp_path / "data")
    one.save(tmp_path / "one")
    other.save(tmp_path / "other")
    return tmp_path


def analyze(saved, *options):
    return [
        "--encoder",
        str(saved / "one"),
        "--other-encoder",
        str(saved / "other"),
        "--data",
        str(saved / "data"),
        *options,
    ]


def test_the_command_says_which_alignment_to_use(saved, capsys):
    assert main(["analyze", "stitching", *analyze(saved, "--json", "--device", "cpu")]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["use"] == "isometric"
    assert result["isometric"]["r2"] == pytest.approx(1, abs=1e-4)
    assert result["absolute"]["r2"] < 0
    assert result["robust relative map"]["r2"] == pytest.approx(1, abs=1e-3)
    assert result["anchors"] + result["held_out_frames"] == 400


def test_the_command_compares_two_data_sets_of_the_same_states(saved):
    data = dot_pictures()
    turned = replace(data, frames=np.ascontiguousarray(data.frames[:, ::-1, ::-1]))
    save_transitions(turned, saved / "turned")
    command = AnalyzeStitching(
        encoder=saved / "one", other_encoder=saved / "other", data=saved / "data", device="cpu", frames=100, anchors=20
    )
    same = replace(command, other_data=saved / "data").run()
    assert same == command.run()
    assert same["anchors"] == 20 and same["held_out_frames"] == 80
    assert replace(command, other_data=saved / "turned").run()["isometric"]["r2"] < 0.99
    other_moves = replace(data, displacement=data.displacement + 1)
    save_transitions(other_moves, saved / "moves")
    with pytest.raises(
        AnchorError, match=r"same displacements in both data sets.*--data .* and --other-data .* --seed"
    ):
        replace(command, other_data=saved / "moves").run()
    some = data.displacement.copy()
    begins = episode_ids(data) >= 2
    some[begins] += 1
    save_transitions(replace(data, displacement=some), saved / "some")
    with pytest.raises(AnchorError, match=r"show the same states, got .* of 400 frames: --data .* --other-data"):
        replace(command, other_data=saved / "some").run()


def test_the_command_says_which_encoder_is_not_usable(saved, capsys):
    for name, ratio in (("one", 0.3), ("other", 1.5)):
        encoder = load_encoder(saved / name)
        encoder.metrics = {"equivariance_ratio_1": ratio}
        encoder.save(saved / name)
    assert main(["analyze", "stitching", *analyze(saved, "--json", "--device", "cpu")]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "The encoder of --other-encoder is not usable" in said and "1.5 times as wrong" in said
    assert "encoder of --encoder" not in said


def test_the_command_explains_what_is_not_possible(saved):
    command = AnalyzeStitching(
        encoder=saved / "one", other_encoder=saved / "other", data=saved / "data", device="cpu", anchors=2, frames=30
    )
    result = command.run()
    assert result["linear"].startswith("not possible: expected at least 3 anchors")
    with pytest.raises(ValueError, match="--anchors of at least 2, got 1"):
        replace(command, anchors=1).run()
    large = TranslationEncoder((32, 32, 3), "R2")
    large.save(saved / "large")
    with pytest.raises(ValueError, match=r"images \(32, 32, 3\) of the encoder"):
        replace(command, other_encoder=saved / "large").run()


# The benchmark


def test_two_cameras_see_the_same_states():
    front, side = (collect_in(world, 100, seed=3) for world in (Soccer, SideSoccer))
    first, second = matched_frames(front, side)
    assert len(first) == len(front.frames)
    for name, values in front.ground_truth.items():
        np.testing.assert_allclose(values[first], side.ground_truth[name][second], atol=1e-6)
    assert np.abs(front.frames[first].astype(int) - side.frames[second]).mean() > 10
    turned = in_side_axes(side)
    np.testing.assert_allclose(turned.displacement[:, 0], side.displacement[:, 1], atol=1e-6)  # its right is north
    np.testing.assert_allclose(turned.displacement[:, 1], -side.displacement[:, 0], atol=1e-6)


def test_the_side_camera_sees_north_on_its_right():
    world = SideSoccer(2, device="cpu")
    world.simulator.field("qpos")[:] = [[0.0, 0.6, 0.0, -0.6], [0.0, -0.6, 0.0, 0.6]]  # agent north, agent south
    world.simulator.forward()
    blue = world.render()[..., 2].astype(float) - world.render()[..., 0]
    columns = [float((image.clip(60) - 60).sum(0) @ np.arange(64) / (image.clip(60) - 60).sum()) for image in blue]
    world.close()
    assert columns[0] > 40 and columns[1] < 24


def pointing(count, orbit, angle):
    """A batch of arrows of given colours, at given angles in radians."""
    world = Pointing(count, resolution=(8, 8), device="cpu")
    world.reset(np.arange(count), [np.random.default_rng(index) for index in range(count)])
    world.orbit[:] = orbit
    world.pose[:] = np.stack([np.cos(angle), np.sin(angle)], 1)
    return world


def test_pointing_rewards_the_angle_to_the_direction_of_the_colour():
    world = pointing(4, [0, 1, 0, 1], np.array([0.4, 0.4, -3.0, 2.0]))
    apart = [0.1, 2 * np.pi / 3 - 0.5, 2 * np.pi - 4.4, 2.6 - 2 * np.pi / 3]  # turned by 0.1, 0.5, -1 and 1
    outcome = world.step(np.array([[0.1], [0.5], [-7.0], [7.0]]))
    np.testing.assert_allclose(outcome.reward, -np.array(apart), atol=1e-6)
    assert not outcome.terminated.any() and not outcome.truncated.any() and not outcome.info["success"].any()
    np.testing.assert_allclose(outcome.info["displacement"][2], [np.cos(1), -np.sin(1)], atol=1e-6)
    world.close()


def test_pointing_succeeds_within_15_degrees_after_the_last_step_only():
    ColouredPointers.require_free()
    degrees = np.array([14.0, -14.0, 16.0, -16.0])
    world = pointing(4, [0, 1, 0, 1], 0.4 + 2 * np.pi / 3 * np.array([0, 1, 0, 1]) + np.deg2rad(degrees))
    outcomes = [world.step(np.zeros((4, 1))) for _ in range(8)]
    assert not np.any([each.terminated | each.truncated for each in outcomes[:-1]])
    assert outcomes[-1].info["success"].tolist() == outcomes[-1].terminated.tolist() == [True, True, False, False]
    assert outcomes[-1].truncated.tolist() == [False, False, True, True]
    world.close()


def test_coordinates_are_standardised():
    seen = normal(50, 3) * [1.0, 10.0, 0.0] + 5
    scaled = standardisation(seen).align(seen)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(0), [1, 1, 0], atol=1e-5)


class FlatSoccer(Soccer):
    """Soccer in small pictures."""

    def __init__(self, num_worlds, **options):
        super().__init__(num_worlds, resolution=(16, 16), **options)


def test_a_policy_is_trained_by_reinforcement_learning():
    """The model is one of Stable-Baselines3 that saw the latents, and its weights were updated."""
    config = SACConfig(
        steps=48, learning_starts=16, batch_size=8, net_arch=(8,), evaluate_every=49, evaluation_episodes=1
    )
    model = train_policy(FlatSoccer, config, 0, encoder(0))
    assert isinstance(model, SAC) and model.num_timesteps == 48 and model._n_updates > 0
    assert model.observation_space.shape == (4,) and model.action_space.high.tolist() == pytest.approx([0.3, 0.3])
    untrained = SAC("MlpPolicy", model.env, policy_kwargs={"net_arch": [8]}, seed=0, device="cpu")
    pairs = zip(model.actor.parameters(), untrained.actor.parameters(), strict=True)
    assert any(bool((one != other).any()) for one, other in pairs)


class UntrainedPolicy(SquashedGaussianPolicy):
    """A policy with random weights, which remembers the encoder that it was made for."""

    def __init__(self, trained_on):
        torch.manual_seed(0)
        super().__init__(trained_on.latent_dim, [-1.0, -1.0], [1.0, 1.0], [32])
        object.__setattr__(self, "trained_on", trained_on)


def test_policies_run_on_an_encoder_with_other_coordinates():
    """Alignments and relative maps that forgive the change give the same actions."""
    one, pictures = encoder(0), frames(40)
    other = StitchedEncoder(one, AffineAlignment(np.kron(np.eye(2), [[0.0, 1.0], [-1.0, 0.0]]), np.ones(4)))
    test = PolicyTest.train(one, pictures, np.arange(25), UntrainedPolicy)

    def apart(seen, policy):
        actions = [policy.predict(each.encode_flat(pictures))[0] for each in (seen, policy.trained_on)]
        return float(np.abs(actions[0] - actions[1]).max())

    differences = test.stitched(other, pictures, apart)
    assert differences.pop("agreement") > 0.99
    assert list(differences) == ["absolute", "isometric", "procrustes", "linear", "cosine", "robust"]
    assert all(differences[name] < 0.02 for name in ("isometric", "procrustes", "robust"))
    assert differences["absolute"] > 0.1
    assert max(test.own(lambda seen, policy: float(seen.latent_dim)).values()) == 25


def test_digits_are_stitched():
    pytest.importorskip("sklearn")
    figures = measure_digits(DigitsConfig(activations=("ReLU",), seeds=2, steps=30, per_class=4), seed=0)
    assert len(figures) == 12
    assert figures["digits, own head: absolute"] > 0.5
    assert figures["digits: absolute"] < 0.4
    assert figures["digits: robust"] > figures["digits: absolute"]


def test_success_is_drawn(tmp_path):
    draw_success(
        {"a, b: absolute": (True, False), "a, b: robust": (True,), "a, b: agreement": 0.9},
        tmp_path / "figures" / "success.png",
    )
    assert (tmp_path / "figures" / "success.png").stat().st_size < 200_000
    assert StitchingConfig().anchors == 64


def test_an_encoder_whose_classes_tell_nothing_apart_is_trained_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first two trainings give every image the same class, the third opposite ones to both colours."""
    data = collect_in(ColouredPointers, 64, 0)
    seeds: list[int] = []

    def train(transitions: Any, config: Any, *, seed: int, device: str) -> Any:
        seeds.append(seed)
        encoder = ClassPoseEncoder((64, 64, 3), "SO2", ClassPoseConfig(backbone="strided", class_dim=2))
        orbit = torch.from_numpy(transitions.ground_truth["orbit"][:, 0].copy())
        classes = torch.stack([1 - 2 * orbit if len(seeds) == 3 else torch.ones_like(orbit), 0 * orbit], 1)
        monkeypatch.setattr(encoder, "encode", lambda frames: {"class": classes.numpy()})
        return encoder

    monkeypatch.setattr(stitching_poses_benchmark, "train_encoder", train)
    config = stitching_poses_benchmark.StitchingPosesConfig()
    encoder, trainings = stitching_poses_benchmark.train_with_classes(config, data, data, 7, "A")
    assert trainings == 3 and len(set(seeds)) == 3 and isinstance(encoder, ClassPoseEncoder)
    with pytest.raises(RuntimeError, match=r"tell trajectories apart by 0\.3, got 0\.00 in the last of 2 trainings"):
        stitching_poses_benchmark.train_with_classes(replace(config, trainings=2), data, data, 7, "A")


def test_policies_are_stitched_to_class_pose_encoders_in_every_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(stitching_poses_benchmark.QUICK, transitions=64, held_out=64, least_separation=-1.0, episodes=3)
    encoder = replace(small.encoder, optim=replace(small.encoder.optim, steps=2))
    policy = SACConfig(steps=16, learning_starts=8, evaluate_every=100, evaluation_episodes=1)
    monkeypatch.setattr(stitching_poses_benchmark, "QUICK", replace(small, encoder=encoder, policy=policy))
    figures = stitching_poses_benchmark.run_stitching_poses(
        InstrumentRun("stitching-poses", 0, True, tmp_path, tmp_path)
    )
    seen = {"absolute", "cosine", "robust"}
    outcomes = {f"encoder A itself: {each}" for each in seen}
    outcomes |= {f"other seed: {each}" for each in (*seen, "isometric", "procrustes", "linear")}
    assert set(figures) == outcomes | {"encoder A itself: trainings", "other seed: trainings", "other seed: agreement"}
    assert all(isinstance(figures[each], tuple) and len(figures[each]) == 3 for each in outcomes)  # type: ignore[arg-type]
    assert figures["other seed: trainings"] == 1
