"""Measure HyperDGA: its speed, its invariance, and how it grows as data drift away from those of the training."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .hyperdga_reference import reference_edges, reference_score
from .instrument import InstrumentRun, register_instrument

if TYPE_CHECKING:
    from ....envs.data.transitions import Transitions

Floats = NDArray[np.float64]
Figures = dict[str, float | str]

DEPTH = 8
"""Levels of the tree of the synthetic data: 255 nodes, and as many bits each."""
TRAINING_NOISE = 0.1
"""Share of flipped bits in the training data, as in the published recipe."""
NOISE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
PANS = (0, 1, 2, 4, 8)
"""Shifts of the camera in pixels, of 32."""


@register_instrument("hyperdga")
def run_hyperdga(run: InstrumentRun) -> Figures:
    """Measure the time of the graph, the change of the score under isometries, and its growth with noise and drift."""
    figures = {**measure_speed(run), **measure_invariance(run.seed)}
    figures |= measure_corruption(run)
    figures |= measure_camera(run)
    return figures


def random_points(number: int, dim: int, scale: float, random: np.random.Generator) -> Floats:
    """Return random points of the Poincaré ball: uniform directions, half-normal distances, at most 10 from the origin.

    Args:
        number: number of points.
        dim: number of coordinates.
        scale: standard deviation of the distances.
        random: source of random numbers.
    """
    direction = random.normal(size=(number, dim))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    radius = np.minimum(np.abs(random.normal(0, scale, number)), 10)
    return np.tanh(radius / 2)[:, None] * direction


def binary_tree(depth: int) -> Floats:
    """Return the nodes of a binary tree as bits, which say what nodes lie on the path from the root.

    Args:
        depth: number of levels; there are ``n = 2^depth − 1`` nodes.

    Returns:
        ``(n, n)``, a node in each row.

    Source: Nagano et al., ICML 2019 (arXiv:1902.02992), whose synthetic data these are.
    """
    number = 2**depth - 1
    nodes = np.zeros((number, number))
    for node in range(1, number + 1):
        ancestor = node
        while ancestor:
            nodes[node - 1, ancestor - 1] = 1
            ancestor //= 2
    return nodes


def flip_bits(nodes: Floats, share: float, random: np.random.Generator) -> Floats:
    """Return bits of which a random share is flipped."""
    return np.abs(nodes - (random.random(nodes.shape) < share))


def measure_speed(run: InstrumentRun, number: int = 2000) -> Figures:
    """Return seconds for random points in the plane, and how much faster than loops, in time of the processor."""
    from ....representations.analysis.hyperbolic.alignment import delaunay_alignment
    from ....representations.analysis.hyperbolic.delaunay_graph import hyperbolic_delaunay_edges
    from ....representations.analysis.hyperbolic.hyperbolic_points import poincare_to_klein

    random = np.random.default_rng(run.seed)
    points = random_points(number, 2, 2.0, random)
    klein, half = poincare_to_klein(points), number // 2
    graph, edges = _seconds(lambda: hyperbolic_delaunay_edges(points), 9)
    score, _ = _seconds(lambda: delaunay_alignment(points[:half], points[half:]), 9)
    slow_graph, reference = _seconds(lambda: reference_edges(klein), 3)
    slow_score, _ = _seconds(lambda: reference_score(klein, half), 3)
    row = f"{number} points in 2-D"
    figures: Figures = {
        f"{row}: graph_ms": 1000 * graph,
        f"{row}: loops_graph_ms": 1000 * slow_graph,
        f"{row}: score_ms": 1000 * score,
        f"{row}: loops_score_ms": 1000 * slow_score,
        f"{row}: different_edges": float(len(reference ^ set(map(tuple, edges.tolist())))),
    }
    for dim, count in ((3, number), (5, number // 8)):
        seconds, _ = _seconds(_edges_of(random_points(count, dim, 2.0, random)), 1)
        figures[f"{count} points in {dim}-D: graph_ms"] = 1000 * seconds
    return figures


def measure_invariance(seed: int, sets: int = 20) -> Figures:
    """Return the largest_change_of_score under isometries, with and without the published rescaling."""
    from ....representations.analysis.hyperbolic.alignment import delaunay_alignment
    from ....representations.analysis.hyperbolic.mobius_maps import MobiusMap

    random = np.random.default_rng(seed)
    changes: dict[str, list[float]] = {"points as they are": [], "published rescaling": []}
    for _ in range(sets):
        a, b = random_points(100, 2, 1.0, random), random_points(100, 2, 2.0, random)
        turn = np.linalg.qr(random.normal(size=(2, 2)))[0]
        isometry = MobiusMap(turn, random_points(1, 2, 1.0, random)[0])
        moved = isometry.apply(np.concatenate([a, b]))
        for name, prepare in (("points as they are", lambda y: y), ("published rescaling", _rescaled)):
            before, after = prepare(np.concatenate([a, b])), prepare(moved)
            scores = [delaunay_alignment(points[:100], points[100:]).score for points in (before, after)]
            changes[name].append(abs(scores[1] - scores[0]))
    return {f"{name}: largest_change_of_score": max(values) for name, values in changes.items()}


def measure_corruption(run: InstrumentRun) -> Figures:
    """Return score, Chamfer and Wasserstein distance of latents of noisy data, for a hyperbolic VAE of a noisy tree."""
    from scipy.stats import spearmanr

    from ....representations.analysis.hyperbolic.alignment import alignment_test
    from ....representations.analysis.hyperbolic.point_set_distances import chamfer_distance, wasserstein_distance

    random, nodes = np.random.default_rng(run.seed), binary_tree(DEPTH)
    vae = _trained_vae(nodes, run, random)
    reference = vae.encode(flip_bits(nodes, TRAINING_NOISE, random))
    figures: Figures = {}
    rows, latents = [], []
    for share in NOISE:
        latents.append(vae.encode(flip_bits(nodes, share, random)))
        test = alignment_test(reference, latents[-1], seed=run.seed)
        rows.append(
            [
                test.alignment.score,
                chamfer_distance(reference, latents[-1]),
                wasserstein_distance(reference, latents[-1]),
            ]
        )
        values = [*rows[-1][:1], test.expected, test.p_value, *rows[-1][1:]]
        for column, value in zip(("score", "expected", "p", "Chamfer", "Wasserstein"), values, strict=True):
            figures[f"noise {share}: {column}"] = value
    for column, values in zip(("score", "Chamfer", "Wasserstein"), np.transpose(rows), strict=True):
        figures[f"{column}: rank_correlation_with_noise"] = float(spearmanr(NOISE, values).statistic)
    if run.draws:
        _draw_graphs(run, reference, latents)
    return figures


def measure_camera(run: InstrumentRun) -> Figures:
    """Return the score of latents before and after the camera pans, and the error of the position that they give."""
    from ....representations.analysis.hyperbolic.alignment import alignment_test

    encoder, first, second = _trained_encoder(run)
    latent, pose = _latents_of(encoder, first, 0)
    design = np.column_stack([latent, np.ones(len(latent))])
    fit = np.linalg.lstsq(design, pose, rcond=None)[0]
    figures: Figures = {}
    for pan in PANS:
        moved, moved_pose = _latents_of(encoder, second, pan)
        test = alignment_test(latent, moved, geometry="euclidean", seed=run.seed)
        error = np.column_stack([moved, np.ones(len(moved))]) @ fit - moved_pose
        values = (test.alignment.score, test.expected, test.p_value, float(np.sqrt((error**2).sum(1).mean())))
        for column, value in zip(("Euclidean_score", "expected", "p", "position_error"), values, strict=True):
            figures[f"camera panned by {pan} of 32 pixels: {column}"] = value
    return figures


def _edges_of(points: Floats) -> Callable[[], Any]:
    from ....representations.analysis.hyperbolic.delaunay_graph import hyperbolic_delaunay_edges

    return lambda: hyperbolic_delaunay_edges(points)


def _seconds(function: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Return the median of the seconds of the processor, and the result."""
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        result = function()
        seconds.append(time.process_time() - begin)
    return float(np.median(seconds)), result


def _rescaled(points: Floats) -> Floats:
    """Return the points of the published scripts: tangent vectors at the origin by the largest norm + 0.001."""
    norm = np.linalg.norm(points, axis=1, keepdims=True)
    tangent = 2 * np.arctanh(norm) / norm * points
    return tangent / (np.linalg.norm(tangent, axis=1).max() + 0.001)  # type: ignore[no-any-return]


def _trained_vae(nodes: Floats, run: InstrumentRun, random: np.random.Generator) -> Any:
    import torch

    from ....representations.analysis.hyperbolic.hyperbolic_vae import HyperbolicVAE, HyperbolicVAEConfig
    from ....representations.learning.config import OptimConfig

    torch.manual_seed(run.seed)
    steps = 1500 if run.quick else 10_000
    config = HyperbolicVAEConfig(optim=OptimConfig(steps=steps, lr=3e-3, batch_size=256))
    vae = HyperbolicVAE(nodes.shape[1], config)
    vae.fit(np.concatenate([flip_bits(nodes, TRAINING_NOISE, random) for _ in range(20)]), seed=run.seed)
    return vae


def _trained_encoder(run: InstrumentRun) -> tuple[Any, Transitions, Transitions]:
    """Return an encoder of the position of the agent, and two sets of held-out transitions."""
    import gymnasium as gym

    from ....envs.data.collect import collect
    from ....representations.encoders.translation_encoder import TranslationConfig
    from ....representations.learning.config import OptimConfig
    from ....representations.learning.training import train_encoder

    worlds = gym.make_vec("equiact/Soccer-v0", num_envs=64, resolution=(32, 32), device="cpu")
    counts = (6000 if run.quick else 20_000, 20_000, 20_000)  # only the first frame of a held-out episode is used
    parts = [collect(worlds, count, seed=index + 3 * run.seed) for index, count in enumerate(counts)]
    config = TranslationConfig(optim=OptimConfig(steps=600 if run.quick else 4000))
    return train_encoder(parts[0], config, seed=run.seed), parts[1], parts[2]


def _latents_of(encoder: Any, transitions: Transitions, pan: int) -> tuple[Floats, Floats]:
    """Return latents and positions of the agent at the starts of episodes, seen by a camera that is panned."""
    first = np.setdiff1d(transitions.start, transitions.end)
    frames = np.pad(transitions.frames[first], ((0, 0), (0, 0), (pan, 0), (0, 0)), mode="edge")
    frames = np.ascontiguousarray(frames[:, :, : transitions.frames.shape[2]])
    pose = transitions.ground_truth["agent_pose"][first].astype(np.float64)
    return encoder.encode(frames)["agent"].astype(np.float64), pose


def _draw_graphs(run: InstrumentRun, reference: Floats, latents: list[Floats]) -> None:
    """Draw the Delaunay graph of the latents of the training noise with those of three noises, in Klein coordinates."""
    from ....representations.analysis.hyperbolic.alignment import delaunay_alignment
    from ....representations.analysis.hyperbolic.hyperbolic_points import poincare_to_klein
    from ...reports.figure_registry import save_figure

    def draw(figure: Any) -> None:
        from matplotlib.collections import LineCollection
        from matplotlib.patches import Circle

        for panel, index in zip(figure.subplots(1, 3), (0, 2, 7), strict=True):
            result = delaunay_alignment(reference, latents[index])
            points = poincare_to_klein(np.concatenate([reference, latents[index]]))
            panel.add_collection(LineCollection(list(points[result.edges]), linewidths=0.3, colors="0.75"))
            panel.add_collection(LineCollection(list(points[result.heterogeneous_edges]), linewidths=0.4, colors="C2"))
            for rows, label in (
                (slice(0, len(reference)), f"noise {TRAINING_NOISE}"),
                (slice(len(reference), None), f"noise {NOISE[index]}"),
            ):
                panel.plot(*points[rows].T, ".", markersize=2, label=label)
            panel.add_patch(Circle((0, 0), 1, fill=False, color="0.4"))
            panel.set(aspect="equal", xticks=[], yticks=[], title=f"score {result.score:.2f}")
            panel.legend(loc="lower left", fontsize=6)

    save_figure(run.figure("graph"), draw, (9, 3.2), dpi=90)
