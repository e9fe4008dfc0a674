"""Benchmark of lattice reduction: defects and speed beside LLL, and the periods of an arm seen by a camera."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from .arm_images import ArmTrajectory, arm_trajectory
from .instrument import InstrumentRun, register_instrument

if TYPE_CHECKING:
    from ....representations.analysis.lattices.bases import LatticeReduction
    from ....representations.analysis.lattices.lattice_network import LatticeReducer
    from ....representations.encoders.equivariant_encoder import EquivariantEncoder

Bases = NDArray[np.float64]


@dataclass(frozen=True)
class LatticeBenchmarkConfig:
    """Set the size of the benchmark; the defaults are those of the full one.

    Attributes:
        dims: dimensions of the lattices; the network is trained on the last one.
        bases: bases of each dimension; a quarter of them for the skew ones.
        python_bases: bases on which the LLL algorithm in Python is timed.
        reducer_steps: updates of the network.
        arm_steps: steps of the arm; a third of them is held out.
        loop_share: share of all pairs of images that count as the same.
        support: loops that must agree.
        encoder_steps: updates of the encoders of the arm.
        horizon: steps after which the hit rate is measured.
    """

    dims: tuple[int, ...] = (2, 3, 4, 6, 8)
    bases: int = 20_000
    python_bases: int = 20
    reducer_steps: int = 4000
    arm_steps: int = 6000
    loop_share: float = 0.002
    support: int = 5
    encoder_steps: int = 4000
    horizon: int = 10


QUICK = LatticeBenchmarkConfig(bases=2000, reducer_steps=800, arm_steps=3000, encoder_steps=1200)
"""Size of the quick benchmark."""


@register_instrument("lattice")
def run_lattice(run: InstrumentRun) -> dict[str, float | str]:
    """Measure the defect of reduced bases relative to LLL, lattices per second, and the error of an arm's periods."""
    from ....representations.analysis.lattices.lattice_network import LatticeReducerConfig
    from ....representations.analysis.lattices.lattice_training import train_lattice_reducer

    config = QUICK if run.quick else LatticeBenchmarkConfig()
    largest = config.dims[-1]
    reducer = train_lattice_reducer(largest, LatticeReducerConfig(steps=config.reducer_steps), seed=run.seed)
    values: dict[str, float | str] = {}
    for dim in config.dims:
        bases = random_bases(config.bases, dim, run.seed)
        values |= _row(f"n = {dim}", compare_reductions(bases, reducer, run.seed, config.python_bases))
    skew = random_bases(config.bases // 4, largest, run.seed, skew=True)
    values |= _row(f"n = {largest}, skew", compare_reductions(skew, reducer, run.seed, config.python_bases))
    values |= _row("arm", measure_arm(config, run.seed))
    if run.draws:
        draw_reduction(run.figure("reduction"), run.seed, config.loop_share)
    return values


def random_bases(count: int, dim: int, seed: int, skew: bool = False) -> Bases:
    """Return bases with standard normal entries, ``(count, n, n)``; if ``skew``, multiplied by ``2 n`` random moves.

    Args:
        count: number of bases.
        dim: ``n``.
        seed: seed of the entries and the moves.
        skew: whether to apply random Gauss moves with coefficients in {−1, 0, 1}.
    """
    generator = np.random.default_rng((seed, dim, skew))
    bases = generator.standard_normal((count, dim, dim))
    rows = np.arange(count)
    for _ in range(2 * dim if skew else 0):
        index, coefficients = generator.integers(dim, size=count), generator.integers(-1, 2, (count, dim))
        coefficients[rows, index] = 0
        bases[rows, :, index] += (bases @ coefficients[:, :, None])[:, :, 0]
    usable: Bases = bases[np.linalg.cond(bases, 1) < 1e8]
    return usable


def compare_reductions(bases: Bases, reducer: LatticeReducer, seed: int, python_bases: int) -> dict[str, float]:
    """Return the geometric means of the defects, relative to that of LLL, and lattices per second.

    Args:
        bases: ``(B, n, n)``.
        reducer: a trained network.
        seed: seed of the random search.
        python_bases: bases on which the LLL algorithm in Python is timed.
    """
    from ....representations.analysis.lattices.bases import log_orthogonality_defect
    from ....representations.analysis.lattices.lll import lll_reduce
    from ....representations.analysis.lattices.move_reduction import pairwise_reduce, projection_reduce, reduce_by_moves

    search = random_search(reducer.config.proposals, reducer.config.search_scale, seed)
    methods: dict[str, Callable[[Bases], LatticeReduction]] = {
        "LLL": lll_reduce,
        "pairwise": pairwise_reduce,
        "projection": projection_reduce,
        "random_search": lambda each: reduce_by_moves(each, search),
        "network": reducer.reduce,
    }
    defects, speeds = {}, {}
    for name, method in methods.items():
        begin = time.perf_counter()
        reduction = method(bases)
        speeds[name] = len(bases) / (time.perf_counter() - begin)
        defects[name] = float(log_orthogonality_defect(reduction.basis).mean())
    values = {"LLL_defect": float(np.exp(defects["LLL"]))}
    values |= {name: float(np.exp(defects[name] - defects["LLL"])) for name in methods if name != "LLL"}
    values |= {f"{name}_per_s": speeds[name] for name in ("LLL", "projection", "network")}
    values["LLL_in_Python_per_s"] = python_lll_speed(bases[:python_bases])
    return values


def random_search(proposals: int, scale: float, seed: int) -> Callable[..., Any]:
    """Return the rival of the network: as many proposals, with random corrections of the same guess.

    Args:
        proposals: number of proposals for each vector.
        scale: standard deviation of the corrections.
        seed: seed of the corrections.
    """
    import torch

    from ....representations.analysis.lattices.move_reduction import (
        LEAST_DECREASE,
        best_moves,
        pairwise_and_projection_moves,
        projection_coefficients,
    )

    generator = torch.Generator().manual_seed(seed)

    def propose(gram: torch.Tensor, dual_gram: torch.Tensor) -> Any:
        move = pairwise_and_projection_moves(gram, dual_gram)
        stuck = move.decrease <= LEAST_DECREASE
        guess = projection_coefficients(dual_gram[stuck])[:, None]
        noise = torch.randn(len(guess), proposals, *gram.shape[1:], generator=generator, dtype=gram.dtype)
        coefficients = (guess + scale * noise).round()
        coefficients.diagonal(dim1=2, dim2=3).zero_()
        found = best_moves(gram[stuck], coefficients)
        move.index[stuck], move.coefficients[stuck] = found.index, found.coefficients
        move.decrease[stuck] = found.decrease
        return move

    return propose


def python_lll_speed(bases: Bases) -> float:
    """Return the lattices per second of the LLL algorithm of SymPy, in Python, on entries rounded to 2⁻³⁰.

    `DomainMatrix.lll` would call FLINT where it is installed; `DDM.lll` does not.
    """
    from sympy import ZZ
    from sympy.polys.matrices.ddm import DDM

    dim = bases.shape[-1]
    whole = [np.rint(np.ldexp(each.T, 30)).astype(int).tolist() for each in bases]
    given = [DDM([[ZZ(value) for value in row] for row in rows], (dim, dim), ZZ) for rows in whole]
    begin = time.perf_counter()
    for each in given:
        each.lll()
    return len(given) / (time.perf_counter() - begin)


def measure_arm(config: LatticeBenchmarkConfig, seed: int) -> dict[str, float]:
    """Return the error of the estimated periods, and hit rates of encoders with the estimated and the known torus.

    Args:
        config: size of the benchmark.
        seed: seed of the arm and of the encoders.
    """
    from ....representations.analysis.lattices.latent_periods import estimate_periods

    training, held_out = (arm_trajectory(config.arm_steps // part, seed + 1000 * part, seed) for part in (1, 3))
    loops = loops_of_arm(training, config.loop_share)
    periods = estimate_periods(loops, support=config.support)
    values = {"loops": float(len(loops)), "period_error_percent": 100 * period_error(periods.basis, training.periods)}
    for name, basis in (("estimated", periods.basis), ("known", training.periods)):
        values[f"hit_rate_{name}_periods"] = arm_hit_rate(training, held_out, basis, config, seed)
    return values


def loops_of_arm(arm: ArmTrajectory, share: float) -> NDArray[np.float64]:
    """Return the closed loops: the closest pairs of images look the same.

    Args:
        arm: the trajectory.
        share: share of all pairs that look the same.
    """
    from scipy.spatial.distance import pdist

    from ....representations.analysis.lattices.latent_periods import closed_loops

    pixels = arm.frames.reshape(len(arm.frames), -1) / 255
    threshold = float(np.quantile(pdist(pixels[:: max(len(pixels) // 500, 1)]), share))
    return closed_loops(pixels, arm.actions, threshold)


def period_error(basis: Bases, ground_truth: Bases) -> float:
    """Return the largest relative error of a period; infinite if another lattice was found.

    Args:
        basis: ``(n, n)`` estimated periods.
        ground_truth: ``(n, n)`` periods, in any basis of the lattice.
    """
    from ....representations.analysis.lattices.bases import is_unimodular

    whole = np.rint(np.linalg.solve(ground_truth, basis)).astype(np.int64)
    if not is_unimodular(whole):
        return float("inf")
    expected = ground_truth @ whole
    return float((np.linalg.norm(basis - expected, axis=0) / np.linalg.norm(expected, axis=0)).max())


def arm_hit_rate(
    training: ArmTrajectory, held_out: ArmTrajectory, basis: Bases, config: LatticeBenchmarkConfig, seed: int
) -> float:
    """Return the hit rate of a class–pose encoder whose group is the torus of a basis of periods.

    Args:
        training: trajectory that the encoder learns from.
        held_out: trajectory on which it is measured.
        basis: ``(2, 2)`` periods, as columns.
        config: updates of the encoder, and the horizon of the hit rate.
        seed: seed of the encoder.
    """
    from ....envs.data.transitions import Transitions
    from ....representations.analysis.lattices.torus_chart import torus_displacements
    from ....representations.encoders.class_pose import ClassPoseConfig
    from ....representations.learning.config import OptimConfig
    from ....representations.learning.training import train_encoder
    from ....representations.metrics.hit_rate import hit_rate, sample_trajectories

    def transitions(arm: ArmTrajectory) -> Transitions:
        elements, group = torus_displacements(arm.actions, basis)
        start = np.arange(len(elements))
        return Transitions(arm.frames, start, start + 1, elements.astype(np.float32), group=group)

    learning = ClassPoseConfig(backbone="strided", optim=OptimConfig(steps=config.encoder_steps))
    encoder = train_encoder(transitions(training), learning, seed=seed, device="cpu")
    return hit_rate(cast("EquivariantEncoder", encoder), sample_trajectories(transitions(held_out), config.horizon))


def draw_reduction(path: Path, seed: int, loop_share: float) -> None:
    """Draw a skew basis and the reduced basis of a plane lattice, and the loops of an arm with their periods.

    Args:
        path: PNG file.
        seed: seed of the arm.
        loop_share: share of all pairs of images that look the same.
    """
    from ....representations.analysis.lattices.latent_periods import estimate_periods
    from ....representations.analysis.lattices.move_reduction import projection_reduce
    from ...reports.figure_registry import save_figure

    given = np.array([[1.0, 3.2], [0.25, 1.9]])
    reduced = projection_reduce(given).basis
    loops = loops_of_arm(arm_trajectory(1500, seed, seed), loop_share)
    periods = estimate_periods(loops, support=3).basis

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        _draw_lattice(left, given, [(given, "tab:red", "given"), (reduced, "tab:blue", "reduced")])
        left.set_title("a basis and its reduction")
        right.plot(*loops.T, ".", ms=2, color="0.5", label="closed loops")
        _draw_lattice(right, periods, [(periods, "tab:blue", "periods")])
        right.set_title("closed loops of an arm, in unknown units")
        for axes in (left, right):
            axes.legend(loc="upper left", fontsize=8)
            axes.set_aspect("equal")

    save_figure(path, draw, (8, 3.6), dpi=110)


def _draw_lattice(axes: Any, basis: Bases, arrows: list[tuple[Bases, str, str]]) -> None:
    """Draw the points of a plane lattice near 0, and the vectors of bases."""
    reach = 1.4 * max(np.abs(vectors).max() for vectors, _, _ in arrows)
    whole = np.stack(np.meshgrid(np.arange(-40, 41), np.arange(-40, 41)), -1).reshape(-1, 2)
    axes.plot(*(whole @ basis.T).T, "+", ms=5, color="0.2", zorder=1)
    for vectors, colour, label in arrows:
        for number, (x, y) in enumerate(vectors.T):
            axes.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "->", "color": colour, "lw": 2}, zorder=3)
            axes.plot([], [], color=colour, label=label if number == 0 else None)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)


def _row(row: str, values: dict[str, float]) -> dict[str, float | str]:
    return {f"{row}: {column}": value for column, value in values.items()}
