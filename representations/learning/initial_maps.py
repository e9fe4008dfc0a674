"""First maps from embeddings to positions and orientations of an object, fitted to labels of contact."""

from __future__ import annotations

import math
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
class OrientationMapConfig:
    """Set the fit of the first orientation of an elongated object (`orient_by_contacts`).

    Attributes:
        iterations: updates of Adam, each on all data.
        lr: learning rate.
        initial_log_ratio: logarithm of the long radius over the mean radius at the start.
        initial_softness: softness at the start, in units of the data.

    Raises:
        ConfigError: a value is out of range.
    """

    iterations: int = 900
    lr: float = 0.02
    initial_log_ratio: float = 0.3
    initial_softness: float = 0.2

    def __post_init__(self) -> None:
        check_range(self, "iterations", at_least=1)
        check_range(self, "lr", above=0)
        check_range(self, "initial_log_ratio", above=0)
        check_range(self, "initial_softness", above=0)


POSITION_MAP = PositionMapConfig()
ORIENTATION_MAP = OrientationMapConfig()


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


def orient_by_contacts(
    embedding: Tensor,
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    radius: Tensor,
    config: OrientationMapConfig = ORIENTATION_MAP,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute first orientations of an elongated object, as a quadratic function of the embedding.

    ``n = M·q(w)``, ``o = n / √(1 + ‖n‖²)``. ``M``, two radii and the softness minimise a loss over all data at once,
    by Adam from a round object. One contact says little about an angle, so the gradient of a batch is mostly noise and
    a network finds no orientation; these few numbers are found within seconds.

    Args:
        embedding: ``(F, k)``, one row for each frame.
        loss: ``loss(orientation, log_radii, log_softness)``, of the orientation ``(F, 2)`` of every frame.
        radius: ``()``, the radius of a round object.
        config: hyper-parameters of the fit.

    Returns:
        The orientation of every frame ``(F, 2)``, the logarithms of both radii, and that of the softness.
    """
    features = _quadratic(embedding)
    features = (features - features.mean(0)) / features.std(0).clamp_min(1e-6)
    ratio = config.initial_log_ratio
    weights = torch.nn.Parameter(features.new_zeros(features.shape[1], 2))
    log_radii = torch.nn.Parameter(radius.log() + torch.tensor([ratio, -ratio], device=radius.device))
    log_softness = torch.nn.Parameter(torch.full_like(radius, math.log(config.initial_softness)))
    optimizer = torch.optim.Adam([weights, log_radii, log_softness], config.lr)
    with torch.enable_grad():
        for _ in range(config.iterations):
            value = loss(shorten(features @ weights), log_radii, log_softness)
            optimizer.zero_grad()
            torch.autograd.backward(value)
            optimizer.step()
    return shorten(features @ weights).detach(), log_radii.detach(), log_softness.detach()


def shorten(vector: Tensor) -> Tensor:
    """Return ``n / √(1 + ‖n‖²)``, in the open unit disc, ``(B, n)``."""
    return vector / (1 + vector.pow(2).sum(1, keepdim=True)).sqrt()


def _quadratic(embedding: Tensor) -> Tensor:
    """Return the monomials up to degree two of every row."""
    rows, columns = torch.triu_indices(embedding.shape[1], embedding.shape[1])
    ones = torch.ones(len(embedding), 1, device=embedding.device)
    return torch.cat([ones, embedding, embedding[:, rows] * embedding[:, columns]], 1)
