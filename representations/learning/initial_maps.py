"""First maps from embeddings to positions of an object, fitted to labels of contact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .config import check_range
from .segment_geometry import nearest_on_segment


@dataclass(frozen=True)
class PositionMapConfig:
    """Set the least-squares fit of the first positions of the object (`locate_by_paths`).

    Attributes:
        scale: ``ρ``, distance from which on a residual counts as an outlier, in units of the data.
        iterations: rounds of reweighted least squares.
        ridge: weight of the squared coefficients.

    Raises:
        ConfigError: a value is out of range.
    """

    scale: float = 0.8
    iterations: int = 30
    ridge: float = 1e-2

    def __post_init__(self) -> None:
        check_range(self, "scale", above=0)
        check_range(self, "iterations", at_least=1)
        check_range(self, "ridge", above=0)


@dataclass(frozen=True)
class ContactMapConfig:
    """Set the fit of the first positions and of the radius of contact (`locate_by_contacts`).

    Attributes:
        steps: updates of Adam, each on all data.
        lr: learning rate.
        ridge: weight of the squared change from the positions at the start.

    Raises:
        ConfigError: a value is out of range.
    """

    steps: int = 300
    lr: float = 0.02
    ridge: float = 1e-3

    def __post_init__(self) -> None:
        check_range(self, "steps", at_least=1)
        check_range(self, "lr", above=0)
        check_range(self, "ridge", at_least=0)


POSITION_MAP = PositionMapConfig()
CONTACT_MAP = ContactMapConfig()


def locate_by_paths(
    embedding: Tensor,
    start: Tensor,
    end: Tensor,
    agent: Tensor,
    agent_after: Tensor,
    contact: Tensor,
    config: PositionMapConfig = POSITION_MAP,
) -> Tensor:
    """Compute first positions of the object, as a quadratic function of the embedding.

    ``z = M·q(w)``, with ``q`` the monomials up to degree two. ``M`` minimises

    ``Σ_contacts log(1 + d²/ρ²) + ½ Σ_all log(1 + ‖z' − z‖²/ρ²)``, ``d`` the distance from ``z`` to the agent's path,

    by iteratively reweighted least squares. The terms are negative log-likelihoods of Student's t. A fifth of the
    labels of contact is wrong and half of the contacts are missed; heavy tails let the correct ones decide. A network
    that is trained with this loss instead often follows the agent, which is on all its paths.

    Args:
        embedding: ``(F, k)``, one row for each frame.
        start: ``(N,)``, index of the first frame of each transition.
        end: ``(N,)``, index of its last frame.
        agent: ``(N, n)``, position of the agent at the start.
        agent_after: ``(N, n)``, its position at the end.
        contact: ``(N,)`` bool, transitions that are taken for contacts.
        config: hyper-parameters of the fit.

    Returns:
        ``(F, n)`` positions, one row for each frame.
    """
    features = _quadratic(embedding).double()
    met, moves = features[start[contact]], features[end] - features[start]
    path = agent[contact].double(), agent_after[contact].double()
    nearest = (path[0] + path[1]) / 2
    weight_met, weight_still = met.new_ones(len(met)), met.new_ones(len(moves))
    ridge = config.ridge * torch.eye(features.shape[1], dtype=features.dtype, device=features.device)
    for _ in range(config.iterations):
        weighted = (met * weight_met[:, None]).T
        normal = weighted @ met + 0.5 * (moves * weight_still[:, None]).T @ moves + ridge
        solution = torch.linalg.solve(normal, weighted @ nearest)
        nearest = nearest_on_segment(met @ solution, *path)
        weight_met = 1 / (1 + (met @ solution - nearest).pow(2).sum(1) / config.scale**2)
        weight_still = 1 / (1 + (moves @ solution).pow(2).sum(1) / config.scale**2)
    located: Tensor = (features @ solution).to(embedding.dtype)
    return located


def locate_by_contacts(
    embedding: Tensor,
    position: Tensor,
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    log_radius: Tensor,
    log_softness: Tensor,
    config: ContactMapConfig = CONTACT_MAP,
) -> tuple[Tensor, Tensor, Tensor]:
    """Improve first positions of the object by a loss of contact, as a quadratic function of the embedding.

    An agent meets an object on the side from which it comes, mostly the side of the middle. Positions that lie on the
    agent's paths (`locate_by_paths`) are therefore too close together, by a factor of up to two where the object is
    large. A loss with a radius of contact has no such error. Few numbers on all data find its minimum within seconds;
    a network on batches often does not.

    Args:
        embedding: ``(F, k)``, one row for each frame.
        position: ``(F, n)``, positions at the start.
        loss: ``loss(position, log_radius, log_softness)``, of the position ``(F, n)`` in every frame.
        log_radius: logarithm of the radius of contact at the start, ``()``.
        log_softness: that of the softness at the start, ``()``.
        config: hyper-parameters of the fit.

    Returns:
        The positions ``(F, n)``, the logarithm of the radius, and that of the softness.
    """
    features = _quadratic(embedding)[:, 1:]
    features = (features - features.mean(0)) / features.std(0).clamp_min(1e-6)
    features = torch.cat([torch.ones_like(features[:, :1]), features], 1)
    # The squares of a point on a sphere add up to one, so the columns depend on each other.
    start = (torch.linalg.pinv(features.double()) @ position.double()).to(position.dtype)
    weights, radius, softness = (each.detach().clone().requires_grad_() for each in (start, log_radius, log_softness))
    optimizer = torch.optim.Adam([weights, radius, softness], config.lr)
    with torch.enable_grad():
        for _ in range(config.steps):
            value = loss(features @ weights, radius, softness) + config.ridge * (weights - start).pow(2).sum()
            optimizer.zero_grad()
            torch.autograd.backward(value)
            optimizer.step()
    return (features @ weights).detach(), radius.detach(), softness.detach()


def _quadratic(embedding: Tensor) -> Tensor:
    """Return the monomials up to degree two of every row."""
    rows, columns = torch.triu_indices(embedding.shape[1], embedding.shape[1])
    ones = torch.ones(len(embedding), 1, device=embedding.device)
    return torch.cat([ones, embedding, embedding[:, rows] * embedding[:, columns]], 1)
