"""Rank of the Jacobian of any differentiable module: its effective dimension near given parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...learning.config import check_range
from .module_derivatives import DimensionError, double_copy, module_jacobian, probe_output, trainable_parameters


@dataclass(frozen=True)
class JacobianRankConfig:
    """Set how the rank of a Jacobian is computed.

    Attributes:
        perturbation: size of the random shift of the parameters, in units of each tensor's root mean square (1 for a
            tensor of zeros). It leaves special points, such as biases of zero. 0 for the parameters as they are.
        tolerance: singular values count above this share of the largest. Rounding in float64 stays below 1e-12, and a
            direction a billion times weaker than the strongest is lost in float32. Norms that are regularised, such as
            ``√(‖v‖² + 10⁻¹²)``, leave derivatives of about 1e-11, which do not count.
        min_inputs: inputs at the start, at least. Few inputs may miss the regions in which a ReLU switches.
        doublings: how often the inputs are doubled, at most, until the rank stays the same.
        max_gib: largest memory for derivatives, in GiB; they are reduced to a triangle by QR decompositions.
        min_gap: ratio of neighbouring singular values above which the rank is clear.

    Raises:
        ConfigError: a value is out of range.
    """

    perturbation: float = 0.1
    tolerance: float = 1e-9
    min_inputs: int = 32
    doublings: int = 6
    max_gib: float = 1.0
    min_gap: float = 1e3

    def __post_init__(self) -> None:
        check_range(self, "perturbation", at_least=0)
        check_range(self, "tolerance", above=0, below=1)
        check_range(self, "min_inputs", at_least=1)
        check_range(self, "doublings", at_least=1)
        check_range(self, "max_gib", above=0)
        check_range(self, "min_gap", above=1)


DEFAULT_RANK = JacobianRankConfig()


@dataclass(frozen=True)
class EffectiveDimension:
    """Number of independent directions in which parameters change the function of a module.

    Attributes:
        parameters: number of parameters.
        rank: rank of the Jacobian, the effective dimension.
        inactive: parameters whose derivative is zero at all inputs.
        inputs: number of random inputs.
        gap: ratio of the last singular value that counts to the first that does not; infinite if none is left out.
        stable: whether half of the inputs give the same rank; if not, the rank is a lower bound.
        clear: whether the gap is wide, so that rounding does not decide the rank.
    """

    parameters: int
    rank: int
    inactive: int
    inputs: int
    gap: float
    stable: bool
    clear: bool

    @property
    def redundancy(self) -> int:
        """Return the number of directions that do not change the function: ``parameters − rank``."""
        return self.parameters - self.rank


def jacobian_rank(
    module: nn.Module,
    input_shape: Sequence[int],
    *,
    seed: int = 0,
    config: JacobianRankConfig = DEFAULT_RANK,
    parameters: Sequence[str] | None = None,
) -> EffectiveDimension:
    """Return the effective dimension of a module: the rank of ``∂ f_θ(x_1, …, x_N) / ∂θ`` in float64.

    Inputs are standard normal. At the start there is one output a parameter; inputs are doubled until the rank stays
    the same. Rows and columns are scaled to unit norm. The module is copied, put in evaluation mode, and not changed.
    Trainable parameters count; tied ones count once. For layers with ReLU the rank is that of the linear regions around
    the parameters.

    Args:
        module: maps ``(B, *input_shape)`` to a tensor, or to a tuple or dictionary of tensors, with one row an input.
        input_shape: shape of one input, without the batch.
        seed: seed of inputs and perturbation.
        config: oversampling, tolerance and memory.
        parameters: names of the parameters to differentiate by; all by default.

    Raises:
        DimensionError: the module has no parameters, takes no float64, is not differentiable in its parameters, its
            output is not finite, or its Jacobian does not fit in memory.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> hidden = nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(), nn.Linear(4, 2))
        >>> found = jacobian_rank(hidden, (3,))  # each hidden unit can be rescaled
        >>> found.parameters, found.rank, found.redundancy
        (26, 22, 4)
    """
    twin = double_copy(module)
    chosen = trainable_parameters(twin, parameters)
    count = sum(each.numel() for each in chosen.values())
    generator = torch.Generator().manual_seed(seed)
    _perturb(chosen, config.perturbation, generator)
    outputs = len(probe_output(twin, input_shape, generator))
    inputs = max(math.ceil(count / outputs), config.min_inputs)
    _require_memory(count, config.max_gib)
    triangle = np.zeros((0, count))
    rank, gap, stable = -1, math.inf, False
    for doubling in range(config.doublings + 1):
        for _ in range(2 ** max(doubling - 1, 0)):
            x = torch.randn(inputs, *input_shape, generator=generator, dtype=torch.float64)
            rows = unit_norms(module_jacobian(twin, chosen, x), axis=1)
            triangle = scipy.linalg.qr(np.concatenate([triangle, rows]), mode="r", overwrite_a=True)[0][:count]
        before, (rank, gap) = rank, numerical_rank(unit_norms(triangle, axis=0), config.tolerance)
        if stable := rank == before:
            break
    if rank == 0:
        raise DimensionError("expected outputs that depend on the parameters, got derivatives that are all zero")
    inactive = int((unit_norms(triangle, axis=0) == 0).all(0).sum())
    return EffectiveDimension(count, rank, inactive, inputs * 2**doubling, gap, stable, gap >= config.min_gap)


def unit_norms(matrix: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return a matrix with columns (axis 0) or rows (axis 1) scaled to unit norm, which keeps the rank.

    Norms below ``max(m, n) · 2.2e-16`` of the largest are rounding errors of derivatives that are zero,
    such as that of a shift before a softmax. These rows or columns are set to zero.

    Args:
        matrix: ``(m, n)``.
        axis: 0 to scale columns, 1 to scale rows.

    Example:
        >>> unit_norms(np.array([[3.0, 4.0], [0.0, 1e-20]]), axis=1).round(2)
        array([[0.6, 0.8],
               [0. , 0. ]])
    """
    norms = np.linalg.norm(matrix, axis=axis, keepdims=True)
    small = norms <= norms.max() * max(matrix.shape) * np.finfo(np.float64).eps
    scaled: NDArray[np.float64] = np.where(small, 0.0, matrix / np.where(small, 1.0, norms))
    return scaled


def numerical_rank(matrix: NDArray[np.float64], tolerance: float) -> tuple[int, float]:
    """Return the numerical rank of a matrix, and the gap between its singular values there.

    Args:
        matrix: ``(m, n)``, not empty.
        tolerance: singular values count above this share of the largest.

    Returns:
        The rank, and ``σ_rank / σ_{rank+1}``, infinite if there is no next singular value or it is zero.

    Example:
        >>> numerical_rank(np.diag([1.0, 1e-3, 0.0]), 1e-9)
        (2, inf)
    """
    singular = np.linalg.svd(matrix, compute_uv=False)
    rank = int((singular > singular[0] * tolerance).sum())
    if rank in (0, len(singular)) or singular[rank] == 0:
        return rank, math.inf
    return rank, float(singular[rank - 1] / singular[rank])


def _perturb(parameters: Mapping[str, Tensor], size: float, generator: torch.Generator) -> None:
    for value in parameters.values():
        spread = float(value.square().mean().sqrt()) if value.numel() else 0.0
        value += size * (spread or 1.0) * torch.randn(value.shape, generator=generator, dtype=value.dtype)


def _require_memory(parameters: int, max_gib: float) -> None:
    """Check the memory for a square of derivatives, the triangle, both together, and a scaled copy.

    Raises:
        DimensionError: it is too large.
    """
    size = 5 * 8 * parameters**2 / 2**30
    if size > max_gib:
        raise DimensionError(
            f"expected derivatives that fit in {max_gib:g} GiB, got {size:.3g} GiB for {parameters} parameters; choose "
            "a narrow copy (narrow_to), one layer at a time (layer_dimensions), or a larger max_gib"
        )
