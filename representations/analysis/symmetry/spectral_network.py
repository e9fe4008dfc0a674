"""Spectral networks: invariant networks whose weights become the Fourier transform of an unknown finite group.

Marchetti, Hillar, Kragic, Sanborn, *Harmonics of learning: universal Fourier features emerge in invariant networks*,
COLT 2024 (arXiv:2312.08550). The network maps ``x ∈ C^n`` to ``φ_i(W, x) = W_i(x) W_i(x)†``, with
``W_i(x) = Σ_g x(g) W_i(g)`` and ``W_i(g) ∈ C^{d_i × d_i}``. If it is invariant and its first layer is unitary, then
``W_i(g)† = ρ_i(g)``: all irreducible representations, once each.

Deviations from the paper
-------------------------
* **Inner product with the weights d_i**, in both terms of the loss: ``⟨A, B⟩ = Σ d_i tr(A_i B_i†)``, as in Plancherel's
  formula. The published regulariser has no weights, and the Fourier transform of a non-abelian group does not zero it.
* **Moments instead of batches**: the loss is a quartic polynomial of the weights, whose coefficients are the covariance
  of ``x x† − y y†`` (`invariance_moments`). An update costs the same for any number of pairs.
* **L-BFGS in float64**, from several starts, instead of Adam; the start with the lowest loss is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...learning.config import ConfigError, check_range

Blocks = tuple[NDArray[np.complex128], ...]


@dataclass(frozen=True)
class SpectralConfig:
    """Set how spectral networks are trained.

    Attributes:
        regularization: weights ``η`` of the term that makes the first layer unitary, one after another. Few starts end
            in a local minimum at the first; the last makes the result robust to noise.
        restarts: number of random starts; fewer are made once a loss is below ``solved_loss``.
        max_iterations: iterations of L-BFGS from each start.
        memory: updates that L-BFGS remembers.
        initial_std: standard deviation of the initial weights, real and imaginary part.
        solved_loss: loss that counts as zero: float64 reaches 1e-8, local minima have a loss above 0.1.
        min_margin: smallest margin of a table, see `recover_table`; 1 in the exact case.

    Raises:
        ConfigError: a value is out of range.

    Example:
        >>> SpectralConfig(restarts=2).regularization
        (1.0, 10.0)
    """

    regularization: tuple[float, ...] = (1.0, 10.0)
    restarts: int = 12
    max_iterations: int = 1000
    memory: int = 20
    initial_std: float = 0.5
    solved_loss: float = 1e-6
    min_margin: float = 0.1

    def __post_init__(self) -> None:
        check_range(self, "regularization", above=0)
        if not self.regularization:
            raise ConfigError("regularization must have at least one weight, got ()")
        check_range(self, "restarts", at_least=1)
        check_range(self, "max_iterations", at_least=1)
        check_range(self, "memory", at_least=1)
        check_range(self, "initial_std", above=0)
        check_range(self, "solved_loss", at_least=0)
        check_range(self, "min_margin", at_least=0, below=1)


DEFAULT_SPECTRAL = SpectralConfig()


@dataclass(frozen=True, eq=False)
class SpectralNetwork:
    """A trained spectral network.

    Attributes:
        blocks: weights ``W_i`` ``(n, d_i, d_i)`` complex, the identity matrix for element 0.
        loss: value of the loss.
    """

    blocks: Blocks
    loss: float

    @property
    def dims(self) -> tuple[int, ...]:
        """Return the block dimensions ``d_i``."""
        return tuple(block.shape[1] for block in self.blocks)

    def features(self, x: Any) -> Blocks:
        """Return ``φ_i(x) = W_i(x) W_i(x)†`` of vectors ``(B, n)``, each ``(B, d_i, d_i)``.

        Raises:
            ValueError: the vectors have another length.

        Example:
            >>> one = SpectralNetwork((np.ones((2, 1, 1), complex),), 0.0)
            >>> one.features([[1.0, 2.0]])[0].real.tolist()
            [[[9.0]]]
        """
        vectors = np.asarray(x)
        if vectors.ndim != 2 or vectors.shape[1] != len(self.blocks[0]):
            raise ValueError(f"expected vectors of shape (B, {len(self.blocks[0])}), got {vectors.shape}")
        transformed = [np.einsum("xg,gab->xab", vectors, block) for block in self.blocks]
        return tuple(each @ each.conj().transpose(0, 2, 1) for each in transformed)


def fit_spectral_network(
    moments: NDArray[np.complex128],
    options: Sequence[tuple[int, ...]],
    config: SpectralConfig = DEFAULT_SPECTRAL,
    seed: int = 0,
) -> SpectralNetwork:
    """Train spectral networks with all given block dimensions from random starts; return that of the lowest loss.

    ``minimise (1/n²) [Σ_i d_i E‖φ_i(x) − φ_i(y)‖² + η ‖Ŵ Ŵ† − n·1‖²]`` with ``W_i(0) = 1`` fixed. Noise that is
    independent of the group adds the same to the first term for all block dimensions, so that losses can be compared.

    Args:
        moments: ``(n², n²)``, from `invariance_moments`.
        options: block dimensions, each with ``Σ d_i² = n``; several where they are unknown.
        config: hyper-parameters.
        seed: seed of the starts.

    Raises:
        ValueError: the dimensions do not fit the moments.

    Example:
        >>> from equiact.representations.analysis.symmetry.group_constructors import cyclic_group
        >>> from equiact.representations.analysis.symmetry.orbit_pairs import invariance_moments, sample_orbit_pairs
        >>> moments = invariance_moments(*sample_orbit_pairs(cyclic_group(3), 100))
        >>> fit_spectral_network(moments, [(1, 1, 1)]).loss < 1e-6
        True
    """
    n = round(len(moments) ** 0.5)
    if moments.shape != (n * n, n * n) or not options or any(sum(d * d for d in dims) != n for dims in options):
        raise ValueError(
            f"expected moments (n², n²) and block dimensions with Σ dᵢ² = n, got {moments.shape}, {options}"
        )
    losses = [_Loss(moments, tuple(dims)) for dims in options]
    generator = np.random.default_rng(seed)
    best: dict[int, SpectralNetwork] = {}
    first, *later = config.regularization
    for _ in range(config.restarts):
        for index, loss in enumerate(losses):  # in turns: mostly one start of the right dimensions is enough
            start = generator.normal(size=2 * (n - 1) * n) * config.initial_std
            network = _minimise(loss, start, first, config)
            best[index] = min(best.get(index, network), network, key=lambda each: each.loss)
            if network.loss < config.solved_loss:
                return network
    for weight in later:
        best = {index: _minimise(losses[index], _free(each), weight, config) for index, each in best.items()}
    return min(best.values(), key=lambda network: network.loss)


class _Loss:
    """The loss as a function of the free weights, real and imaginary parts, all blocks one after another."""

    def __init__(self, moments: NDArray[np.complex128], dims: tuple[int, ...]) -> None:
        self.dims = dims
        self.n = sum(d * d for d in dims)
        # E|Σ D(g, h) q(g, h)|² = Σ_k |F_k · q|², with the factor F of the covariance of D
        values, vectors = np.linalg.eigh(moments)
        kept = values > 1e-12 * max(values[-1], 1e-300)
        self.factor = torch.from_numpy(np.ascontiguousarray((vectors[:, kept] * np.sqrt(values[kept])).T))
        self.identity = torch.eye(self.n, dtype=torch.complex128)

    def blocks(self, free: Tensor) -> list[Tensor]:
        """Return the weights, the identity of each block in front."""
        parts = torch.split(free, [2 * (self.n - 1) * d * d for d in self.dims])
        return [
            torch.cat([torch.eye(d, dtype=torch.complex128)[None], torch.view_as_complex(part.view(-1, d, d, 2))])
            for d, part in zip(self.dims, parts, strict=True)
        ]

    def __call__(self, free: Tensor, regularization: float) -> Tensor:
        invariance, gram = torch.zeros((), dtype=torch.float64), -self.n * self.identity
        for d, block in zip(self.dims, self.blocks(free), strict=True):
            forms = torch.einsum("gab,hcb->ghac", block, block.conj()).reshape(self.n**2, d * d)
            invariance = invariance + d * (self.factor @ forms).abs().pow(2).sum()
            flat = block.reshape(self.n, d * d)
            gram = gram + d * (flat @ flat.conj().T)
        return (invariance + regularization * gram.abs().pow(2).sum()) / self.n**2


def _minimise(
    loss: _Loss, start: NDArray[np.float64], regularization: float, config: SpectralConfig
) -> SpectralNetwork:
    """Return the network that L-BFGS reaches from a start."""
    from scipy.optimize import minimize

    def value_and_gradient(free: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        variables = torch.from_numpy(free).requires_grad_()
        value = loss(variables, regularization)
        (gradient,) = torch.autograd.grad(value, variables)
        return value.item(), gradient.numpy()

    if start.size == 0:  # a group of one element has no free weights
        return SpectralNetwork((np.ones((1, 1, 1), complex),), 0.0)
    options = {"maxiter": config.max_iterations, "maxcor": config.memory}
    found = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    blocks = loss.blocks(torch.from_numpy(found.x))
    return SpectralNetwork(tuple(block.numpy() for block in blocks), float(found.fun))


def _free(network: SpectralNetwork) -> NDArray[np.float64]:
    """Return the free weights of a network, from which training goes on."""
    return np.concatenate([np.ascontiguousarray(block[1:]).view(np.float64).ravel() for block in network.blocks])
