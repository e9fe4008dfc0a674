"""Benchmark of lattice reduction: defects and speed beside LLL, and the periods of an arm seen by a camera."""

from __future__ import annotations

import time
from collections.abc import Callable
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
_PYTHON_LLL = 20
"""Number of lattices on which the LLL algorithm in Python is timed."""


@register_instrument("lattice")
def run_lattice(run: InstrumentRun) -> dict[str, float | str]:
    """Measure the defect of reduced bases relative to LLL, lattices per second, and the error of an arm's periods."""
    from ....representations.analysis.lattices.lattice_network import LatticeReducerConfig
    from ....representations.analysis.lattices.lattice_training import train_lattice_reducer

    config = LatticeReducerConfig(steps=800 if run.quick else 4000)
    reducer = train_lattice_reducer(8, config, seed=run.seed)
    values: dict[str, float | str] = {}
    count = 2000 if run.quick else 20000
    for dim in (2, 3, 4, 6, 8):
        bases = random_bases(count, dim, run.seed)
        values |= _row(f"n = {dim}", compare_reductions(bases, reducer, run.seed))
    skew = random_bases(count // 4, 8, run.seed, skew=True)
    values |= _row("n = 8, skew", compare_reductions(skew, reducer, run.seed))
    values |= _row("arm", measure_arm(run))
    if run.draws:
        draw_reduction(run.figure("reduction"), run.seed)
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


def compare_reductions(bases: Bases, reducer: LatticeReducer, seed: int) -> dict[str, float]:
    """Return the geometric means of the defects, relative to that of LLL, and lattices per second.

    Args:
        bases: ``(B, n, n)``.
        reducer: a trained network.
        seed: seed of the random search.
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
    values["LLL_in_Python_per_s"] = python_lll_speed(bases[:_PYTHON_LLL])
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


def measure_arm(run: InstrumentRun) -> dict[str, float]:
    """Return the error of the estimated periods, and hit rates of encoders with the estimated and the true torus."""
    from ....representations.analysis.lattices.latent_periods import estimate_periods

    steps = 3000 if run.quick else 6000
    training, held_out = (arm_trajectory(steps // part, run.seed + 1000 * part, run.seed) for part in (1, 3))
    loops = loops_of_arm(training)
    periods = estimate_periods(loops, support=5)
    values = {"loops": float(len(loops)), "period_error_percent": 100 * period_error(periods.basis, training.periods)}
    for name, basis in (("recovered", periods.basis), ("told", training.periods)):
        values[f"hit_rate_{name}"] = arm_hit_rate(training, held_out, basis, run)
    return values


def loops_of_arm(arm: ArmTrajectory) -> NDArray[np.float64]:
    """Return the closed loops: the closest 0.2 % of all pairs of images look the same."""
    from scipy.spatial.distance import pdist

    from ....representations.analysis.lattices.latent_periods import closed_loops

    pixels = arm.frames.reshape(len(arm.frames), -1) / 255
    threshold = float(np.quantile(pdist(pixels[:: max(len(pixels) // 500, 1)]), 0.002))
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


def arm_hit_rate(training: ArmTrajectory, held_out: ArmTrajectory, basis: Bases, run: InstrumentRun) -> float:
    """Return the hit rate after ten steps of a class–pose encoder whose group is the torus of a basis of periods."""
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

    config = ClassPoseConfig(backbone="strided", optim=OptimConfig(steps=1200 if run.quick else 4000))
    encoder = train_encoder(transitions(training), config, seed=run.seed, device="cpu")
    return hit_rate(cast("EquivariantEncoder", encoder), sample_trajectories(transitions(held_out), 10))


def draw_reduction(path: Path, seed: int) -> None:
    """Draw a skew basis and the reduced basis of a plane lattice, and the loops of an arm with their periods.

    Args:
        path: PNG file.
        seed: seed of the arm.
    """
    from ....representations.analysis.lattices.latent_periods import estimate_periods
    from ....representations.analysis.lattices.move_reduction import projection_reduce
    from ...reports.figure_registry import save_figure

    given = np.array([[1.0, 3.2], [0.25, 1.9]])
    reduced = projection_reduce(given).basis
    loops = loops_of_arm(arm_trajectory(1500, seed, seed))
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
