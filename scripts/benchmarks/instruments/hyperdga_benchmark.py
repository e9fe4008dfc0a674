"""Measure HyperDGA: its speed, its invariance, and how it grows as data drift away from those of the training."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .hyperdga_reference import published_edges, published_score, reference_edges, reference_score
from .instrument import InstrumentRun, register_instrument

if TYPE_CHECKING:
    from ....envs.data.transitions import Transitions

Floats = NDArray[np.float64]
Figures = dict[str, float | str]


@dataclass(frozen=True)
class HyperDGABenchmarkConfig:
    """Set the size of the benchmark; the defaults are those of the full one.

    Attributes:
        points: numbers of points of the timings in 2-D; 4094 is that of experiment 1 of the paper, two sets of 2047.
        points_in_space: points of the timing in 3-D; an eighth of them in 5-D.
        repeats: timings of which the median is taken.
        slow_repeats: timings of the loops, of which the median is taken.
        sets: pairs of sets that are moved by isometries.
        depth: levels of the tree of the synthetic data: ``2^depth − 1`` nodes, and as many bits each.
        training_noise: share of flipped bits in the training data; the default is that of the published recipe.
        noise: shares of flipped bits in the other data, at least three.
        copies: noisy copies of the tree in the training data.
        vae_steps: updates of the hyperbolic VAE.
        pans: shifts of the camera in pixels, of 32.
        transitions: transitions that the encoder learns from.
        held_out: transitions of each of the two other data sets; only the first frame of an episode is used.
        encoder_steps: updates of the encoder.
    """

    points: tuple[int, ...] = (2000, 4094)
    points_in_space: int = 2000
    repeats: int = 9
    slow_repeats: int = 3
    sets: int = 20
    depth: int = 8
    training_noise: float = 0.1
    noise: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    copies: int = 20
    vae_steps: int = 10_000
    pans: tuple[int, ...] = (0, 1, 2, 4, 8)
    transitions: int = 20_000
    held_out: int = 20_000
    encoder_steps: int = 4000


QUICK = HyperDGABenchmarkConfig(vae_steps=1500, transitions=6000, encoder_steps=600)
"""Size of the quick benchmark."""


@register_instrument("hyperdga")
def run_hyperdga(run: InstrumentRun) -> Figures:
    """Measure the time of the graph, the change of the score under isometries, and its growth with noise and drift."""
    config = QUICK if run.quick else HyperDGABenchmarkConfig()
    figures = {**measure_speed(config, run.seed), **measure_invariance(config, run.seed)}
    figures |= measure_corruption(config, run)
    figures |= measure_camera(config, run.seed)
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


def measure_speed(config: HyperDGABenchmarkConfig, seed: int) -> Figures:
    """Return the time of graph and score in the plane beside loops, and of the graph in more dimensions.

    Times are those of the processor.

    Args:
        config: numbers of points and of timings.
        seed: seed of the points.
    """
    random = np.random.default_rng(seed)
    figures: Figures = {}
    for number in config.points:
        figures |= _speed_in_the_plane(random_points(number, 2, 2.0, random), config)
    for dim, count in ((3, config.points_in_space), (5, config.points_in_space // 8)):
        seconds, _ = _seconds(_edges_of(random_points(count, dim, 2.0, random)), 1)
        figures[f"graph of {count} points in {dim}-D: ms"] = 1000 * seconds
    return figures


def measure_invariance(config: HyperDGABenchmarkConfig, seed: int) -> Figures:
    """Return the largest_change_of_score under isometries, with and without the published rescaling.

    Args:
        config: number of pairs of sets.
        seed: seed of points and isometries.
    """
    from ....representations.analysis.hyperbolic.alignment import delaunay_alignment
    from ....representations.analysis.hyperbolic.mobius_maps import MobiusMap

    random = np.random.default_rng(seed)
    changes: dict[str, list[float]] = {"points as they are": [], "published rescaling": []}
    for _ in range(config.sets):
        a, b = random_points(100, 2, 1.0, random), random_points(100, 2, 2.0, random)
        turn = np.linalg.qr(random.normal(size=(2, 2)))[0]
        isometry = MobiusMap(turn, random_points(1, 2, 1.0, random)[0])
        moved = isometry.apply(np.concatenate([a, b]))
        for name, prepare in (("points as they are", lambda y: y), ("published rescaling", _rescaled)):
            before, after = prepare(np.concatenate([a, b])), prepare(moved)
            scores = [delaunay_alignment(points[:100], points[100:]).score for points in (before, after)]
            changes[name].append(abs(scores[1] - scores[0]))
    return {f"{name}: largest_change_of_score": max(values) for name, values in changes.items()}


def measure_corruption(config: HyperDGABenchmarkConfig, run: InstrumentRun) -> Figures:
    """Return score, Chamfer and Wasserstein distance of latents of noisy data, for a hyperbolic VAE of a noisy tree.

    Args:
        config: size of the tree, noise and updates of the VAE.
        run: seed, and the folder of the figure.
    """
    from scipy.stats import spearmanr

    from ....representations.analysis.hyperbolic.alignment import alignment_test
    from ....representations.analysis.hyperbolic.point_set_distances import chamfer_distance, wasserstein_distance

    random, nodes = np.random.default_rng(run.seed), binary_tree(config.depth)
    vae = _trained_vae(nodes, config, run.seed, random)
    reference = vae.encode(flip_bits(nodes, config.training_noise, random))
    figures: Figures = {}
    rows, latents = [], []
    for share in config.noise:
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
        figures[f"{column}: rank_correlation_with_noise"] = float(spearmanr(config.noise, values).statistic)
    if run.draws:
        _draw_graphs(run, config, reference, latents)
    return figures


def measure_camera(config: HyperDGABenchmarkConfig, seed: int) -> Figures:
    """Return the score of latents before and after the camera pans, and the error of the position that they give.

    Args:
        config: numbers of transitions and updates, and shifts of the camera.
        seed: seed of data, encoder and test.
    """
    from ....representations.analysis.hyperbolic.alignment import alignment_test

    encoder, first, second = _trained_encoder(config, seed)
    latent, pose = _latents_of(encoder, first, 0)
    design = np.column_stack([latent, np.ones(len(latent))])
    fit = np.linalg.lstsq(design, pose, rcond=None)[0]
    figures: Figures = {}
    for pan in config.pans:
        moved, moved_pose = _latents_of(encoder, second, pan)
        test = alignment_test(latent, moved, geometry="euclidean", seed=seed)
        error = np.column_stack([moved, np.ones(len(moved))]) @ fit - moved_pose
        values = (test.alignment.score, test.expected, test.p_value, float(np.sqrt((error**2).sum(1).mean())))
        for column, value in zip(("Euclidean_score", "expected", "p", "position_error"), values, strict=True):
            figures[f"camera panned by {pan} of 32 pixels: {column}"] = value
    return figures


def _edges_of(points: Floats) -> Callable[[], Any]:
    from ....representations.analysis.hyperbolic.delaunay_graph import hyperbolic_delaunay_edges

    return lambda: hyperbolic_delaunay_edges(points)


def _speed_in_the_plane(points: Floats, config: HyperDGABenchmarkConfig) -> Figures:
    """Return the time of graph and score of points in the plane beside the published steps and lean loops."""
    from ....representations.analysis.hyperbolic.alignment import delaunay_alignment
    from ....representations.analysis.hyperbolic.hyperbolic_points import poincare_to_klein

    klein, half = poincare_to_klein(points), len(points) // 2
    graph, (ours, published, lean) = _compare_speed(
        config, _edges_of(points), lambda: published_edges(klein), lambda: reference_edges(klein)
    )
    score, _ = _compare_speed(
        config,
        lambda: delaunay_alignment(points[:half], points[half:]),
        lambda: published_score(klein, half),
        lambda: reference_score(klein, half),
    )
    edges = set(map(tuple, ours.tolist()))
    graph["different_edges"] = float(len((edges ^ published) | (edges ^ lean)))
    return {
        f"{what} of {len(points)} points in 2-D: {column}": value
        for what, columns in (("graph", graph), ("score", score))
        for column, value in columns.items()
    }


def _compare_speed(
    config: HyperDGABenchmarkConfig, fast: Callable[[], Any], published: Callable[[], Any], lean: Callable[[], Any]
) -> tuple[dict[str, float], tuple[Any, Any, Any]]:
    """Return milliseconds and ratios by column, and the three results."""
    own, ours = _seconds(fast, config.repeats)
    steps, theirs = _seconds(published, config.slow_repeats)
    loops, defined = _seconds(lean, config.slow_repeats)
    columns = {
        "ms": 1000 * own,
        "published_steps_ms": 1000 * steps,
        "lean_loops_ms": 1000 * loops,
        "times_faster_than_published_steps": steps / own,
        "times_faster_than_lean_loops": loops / own,
    }
    return columns, (ours, theirs, defined)


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


def _trained_vae(nodes: Floats, config: HyperDGABenchmarkConfig, seed: int, random: np.random.Generator) -> Any:
    import torch

    from ....representations.analysis.hyperbolic.hyperbolic_vae import HyperbolicVAE, HyperbolicVAEConfig
    from ....representations.learning.config import OptimConfig

    torch.manual_seed(seed)
    optim = OptimConfig(steps=config.vae_steps, lr=3e-3, batch_size=256)
    vae = HyperbolicVAE(nodes.shape[1], HyperbolicVAEConfig(optim=optim))
    copies = [flip_bits(nodes, config.training_noise, random) for _ in range(config.copies)]
    vae.fit(np.concatenate(copies), seed=seed)
    return vae


def _trained_encoder(config: HyperDGABenchmarkConfig, seed: int) -> tuple[Any, Transitions, Transitions]:
    """Return an encoder of the position of the agent, and two sets of held-out transitions."""
    import gymnasium as gym

    from ....envs.data.collect import collect
    from ....representations.encoders.translation_encoder import TranslationConfig
    from ....representations.learning.config import OptimConfig
    from ....representations.learning.training import train_encoder

    worlds = gym.make_vec("equiact/Soccer-v0", num_envs=64, resolution=(32, 32), device="cpu")
    counts = (config.transitions, config.held_out, config.held_out)
    parts = [collect(worlds, count, seed=index + 3 * seed) for index, count in enumerate(counts)]
    learning = TranslationConfig(optim=OptimConfig(steps=config.encoder_steps))
    return train_encoder(parts[0], learning, seed=seed), parts[1], parts[2]


def _latents_of(encoder: Any, transitions: Transitions, pan: int) -> tuple[Floats, Floats]:
    """Return latents and positions of the agent at the starts of episodes, seen by a camera that is panned."""
    first = np.setdiff1d(transitions.start, transitions.end)
    frames = np.pad(transitions.frames[first], ((0, 0), (0, 0), (pan, 0), (0, 0)), mode="edge")
    frames = np.ascontiguousarray(frames[:, :, : transitions.frames.shape[2]])
    pose = transitions.ground_truth["agent_pose"][first].astype(np.float64)
    return encoder.encode(frames)["agent"].astype(np.float64), pose


def _draw_graphs(run: InstrumentRun, config: HyperDGABenchmarkConfig, reference: Floats, latents: list[Floats]) -> None:
    """Draw the Delaunay graph of the latents of the training noise with those of three noises, in Klein coordinates."""
    from ....representations.analysis.hyperbolic.alignment import delaunay_alignment
    from ....representations.analysis.hyperbolic.hyperbolic_points import poincare_to_klein
    from ...reports.figure_registry import save_figure

    def draw(figure: Any) -> None:
        from matplotlib.collections import LineCollection
        from matplotlib.patches import Circle

        for panel, index in zip(figure.subplots(1, 3), (0, 2, -1), strict=True):
            result = delaunay_alignment(reference, latents[index])
            points = poincare_to_klein(np.concatenate([reference, latents[index]]))
            panel.add_collection(LineCollection(list(points[result.edges]), linewidths=0.3, colors="0.75"))
            panel.add_collection(LineCollection(list(points[result.heterogeneous_edges]), linewidths=0.4, colors="C2"))
            for rows, label in (
                (slice(0, len(reference)), f"noise {config.training_noise}"),
                (slice(len(reference), None), f"noise {config.noise[index]}"),
            ):
                panel.plot(*points[rows].T, ".", markersize=2, label=label)
            panel.add_patch(Circle((0, 0), 1, fill=False, color="0.4"))
            panel.set(aspect="equal", xticks=[], yticks=[], title=f"score {result.score:.2f}")
            panel.legend(loc="lower left", fontsize=6)

    save_figure(run.figure("graph"), draw, (9, 3.2), dpi=90)
