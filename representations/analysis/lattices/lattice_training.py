"""Train a lattice reducer without examples of reduced bases.

Random bases are reduced by analytic moves until these are stuck. There the network learns to propose moves:

1. Proposals ``u_h(b_i)``, and several random corrections of each, are rounded to integers.
2. Of these, ``v_i`` is the one with the lowest ``log δ``.
3. ``minimise E Σ_i w_i min_h ‖u_h(b_i) − v_i‖²``, where ``w_i`` is 1 if ``v_i`` shortens ``b_i``, and small otherwise.

The gradient of a rounded number is zero. The loss above needs none: it is stochastic rounding, with the best of several
samples as the target.

Source: Marchetti, Cesa, Pratik, Behboodi, *Neural lattice reduction*, TMLR 2025 (arXiv:2311.08170).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .lattice_network import LatticeReducer, LatticeReducerConfig
from .move_reduction import length_ratios, projection_reduce

LatticeProgress = Callable[[int, int, float], None]
"""Function that is called every 50 updates with the updates that are done, all updates, and the loss."""


def train_lattice_reducer(
    dim: int, config: LatticeReducerConfig | None = None, seed: int = 0, progress: LatticeProgress | None = None
) -> LatticeReducer:
    """Train a network to reduce lattices, on bases with standard normal entries.

    Args:
        dim: dimension of the lattices, from 2 to 64.
        config: hyper-parameters.
        seed: seed of the initial weights, the bases and the search.
        progress: called every 50 updates.

    Raises:
        ConfigError: the dimension or a hyper-parameter is out of range.

    Example:
        >>> reducer = train_lattice_reducer(3, LatticeReducerConfig(steps=2, bases=64, batch_size=8))
        >>> reducer.reduce([[1, 0, 5], [0, 1, 4], [0, 0, 1]]).basis.tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reducer = LatticeReducer(dim, config).float()
    chosen = reducer.config
    gram = stuck_gram_matrices(chosen.bases, dim, generator)
    dual = torch.linalg.inv(gram)
    optimiser = torch.optim.Adam(reducer.parameters(), chosen.lr)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1, chosen.final_lr_share, chosen.steps)
    for step in range(1, chosen.steps + 1):
        rows = torch.randint(len(gram), (chosen.batch_size,), generator=generator)
        loss = search_loss(reducer, gram[rows], dual[rows], generator)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(reducer.parameters(), chosen.max_grad_norm)
        optimiser.step()
        schedule.step()
        if progress is not None and (step % 50 == 0 or step == chosen.steps):
            progress(step, chosen.steps, float(loss.detach()))
    return reducer.double().eval()


def stuck_gram_matrices(count: int, dim: int, generator: torch.Generator) -> Tensor:
    """Return Gram matrices ``(count, n, n)`` of random bases that pairwise and projection moves do not reduce further.

    Args:
        count: number of bases.
        dim: ``n``.
        generator: source of the standard normal entries.
    """
    basis = torch.randn(count, dim, dim, generator=generator, dtype=torch.float64)
    usable = torch.linalg.cond(basis, 1) < 1e8  # one of a million is nearly singular, and would be refused
    reduced = torch.from_numpy(projection_reduce(basis[usable].numpy()).basis)
    return reduced.mT @ reduced


def search_loss(reducer: LatticeReducer, gram: Tensor, dual_gram: Tensor, generator: torch.Generator) -> Tensor:
    """Return ``E Σ_i w_i min_h ‖u_h(b_i) − v_i‖²``, with ``v_i`` the best move found around the proposals ``u_h``.

    Args:
        reducer: the network.
        gram: ``(B, n, n)`` Gram matrices ``G``.
        dual_gram: ``(B, n, n)``, ``G⁻¹``.
        generator: source of the random corrections.
    """
    config, dim = reducer.config, gram.shape[-1]
    proposed = reducer(gram, dual_gram)
    with torch.no_grad():
        shape = (len(gram), config.search, *proposed.shape[1:])
        noise = torch.randn(shape, generator=generator, dtype=proposed.dtype) * config.search_scale
        moves = torch.cat([proposed[:, None], proposed[:, None] + noise], 1).flatten(1, 2).round()
        moves.diagonal(dim1=2, dim2=3).zero_()
        ratio, best = length_ratios(gram.to(moves.dtype), moves).min(1)
        target = moves.gather(1, best[:, None, None, :].expand(-1, 1, dim, -1))
        weight = torch.where(ratio < 1 - 1e-5, 1.0, config.stuck_weight)  # float32 rounding is below 1e-5
    distance = (proposed - target).square().sum(2).amin(1)
    result: Tensor = (weight * distance).sum(1).mean()
    return result
