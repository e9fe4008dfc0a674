"""First maps from points in the image to positions of an object, fitted to labels of contact."""

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
        movement_weight: ``γ``, weight of an object's movement for its share in a contact, where there are several.
        temperature: ``τ`` at the start, where there are several objects; it falls to a tenth.
        starts: random starts, where there are several objects.

    Raises:
        ConfigError: a value is out of range.
    """

    scale: float = 0.8
    iterations: int = 30
    ridge: float = 1e-2
    movement_weight: float = 2.0
    temperature: float = 0.5
    starts: int = 4

    def __post_init__(self) -> None:
        check_range(self, "scale", above=0)
        check_range(self, "iterations", at_least=1)
        check_range(self, "ridge", above=0)
        check_range(self, "movement_weight", at_least=0)
        check_range(self, "temperature", above=0)
        check_range(self, "starts", at_least=1)


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
    points: Tensor,
    start: Tensor,
    end: Tensor,
    agent: Tensor,
    agent_after: Tensor,
    contact: Tensor,
    config: PositionMapConfig = POSITION_MAP,
    objects: int = 1,
) -> Tensor:
    """Compute first positions of objects, as linear functions of points in the image.

    ``z_k = M_k·(1, q)``, with the coordinates ``q`` of all points. With one object ``M`` minimises

    ``Σ_contacts log(1 + d²/ρ²) + ½ Σ_all log(1 + ‖z' − z‖²/ρ²)``, ``d`` the distance from ``z`` to the agent's path,

    by iteratively reweighted least squares. The terms are negative log-likelihoods of Student's t. A fifth of the
    labels of contact is wrong and half of the contacts are missed; heavy tails let the correct ones decide. A network
    that is trained with this loss instead often follows the agent, which is on all its paths.

    With several objects nobody tells which one was met: the one that is near the path, and moves. Each contact belongs
    to all of them with shares ``s_k = softmax_k((γ log(1 + ‖z'_k − z_k‖²/ρ²) − log(1 + d_k²/ρ²))/τ)``, by which its
    terms are weighted. They are random at the start, and ``τ`` falls. Of some starts the one with the smallest
    loss is kept.

    Args:
        points: ``(F, k)``, coordinates of points in the image, one row for each frame.
        start: ``(N,)``, index of the first frame of each transition.
        end: ``(N,)``, index of its last frame.
        agent: ``(N, n)``, position of the agent at the start.
        agent_after: ``(N, n)``, its position at the end.
        contact: ``(N,)`` bool, transitions that are taken for contacts.
        config: hyper-parameters of the fit.
        objects: ``K``, number of objects.

    Returns:
        ``(F, K, n)`` positions, one row for each frame.
    """
    features = _with_constant(points).double()
    met, moves = features[start[contact]], features[end] - features[start]
    path = agent[contact].double(), agent_after[contact].double()
    generator = torch.Generator().manual_seed(0)
    fits = []
    for _ in range(config.starts if objects > 1 else 1):
        share = torch.rand(len(met), objects, generator=generator, dtype=torch.float64).to(met.device).pow(4)
        fits.append(_fit_to_paths(met, moves, contact, path, share / share.sum(1, keepdim=True), config))
    _, solution = min(fits, key=lambda fit: fit[0])
    return torch.einsum("fk,okn->fon", features, solution).to(points.dtype)


def _fit_to_paths(
    met: Tensor, moves: Tensor, contact: Tensor, path: tuple[Tensor, Tensor], share: Tensor, config: PositionMapConfig
) -> tuple[float, Tensor]:
    """Return the loss and ``M``, ``(K, k, n)``, of `locate_by_paths`.

    Args:
        met: ``(C, k)``, features at the start of contacts.
        moves: ``(N, k)``, changes of the features in all transitions.
        contact: ``(N,)`` bool, transitions that are taken for contacts.
        path: where the agent's paths in the contacts begin and end, ``(C, n)`` each.
        share: ``(C, K)``, shares of the objects in the contacts at the start.
        config: hyper-parameters.
    """
    objects = range(share.shape[1])
    begin, end = (each[:, None].expand(-1, len(objects), -1) for each in path)
    nearest = (begin + end) / 2
    weight_met, weight_still = share.clone(), moves.new_ones(len(moves), len(objects))
    ridge = config.ridge * torch.eye(met.shape[1], dtype=met.dtype, device=met.device)
    for done in range(1, config.iterations + 1):
        solutions = []
        for each in objects:
            weighted = (met * weight_met[:, each, None]).T
            normal = weighted @ met + 0.5 * (moves * weight_still[:, each, None]).T @ moves + ridge
            solutions.append(torch.linalg.solve(normal, weighted @ nearest[:, each]))
        solution = torch.stack(solutions)
        place = torch.einsum("ck,okn->con", met, solution)
        nearest = nearest_on_segment(place, begin, end)
        far = torch.log1p((place - nearest).pow(2).sum(-1) / config.scale**2)
        moved = torch.log1p(torch.einsum("ck,okn->con", moves, solution).pow(2).sum(-1) / config.scale**2)
        temperature = config.temperature * (1 - 0.9 * done / config.iterations)
        misfit = far - config.movement_weight * moved[contact]
        share = torch.softmax(-misfit / temperature, 1)
        weight_met, weight_still = share * torch.exp(-far), torch.exp(-moved)
        if len(objects) > 1:
            weight_still[contact] *= 1 - share
    return float(misfit.amin(1).sum() + 0.5 * moved.sum()), solution


def locate_by_contacts(
    points: Tensor,
    position: Tensor,
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    log_radius: Tensor,
    log_softness: Tensor,
    config: ContactMapConfig = CONTACT_MAP,
) -> tuple[Tensor, Tensor, Tensor]:
    """Improve first positions of the object by a loss of contact, as a linear function of points in the image.

    An agent meets an object on the side from which it comes, mostly the side of the middle. Positions that lie on the
    agent's paths (`locate_by_paths`) are therefore too close together, by a factor of up to two where the object is
    large. A loss with a radius of contact has no such error. Few numbers on all data find its minimum within seconds;
    a network on batches often does not.

    Args:
        points: ``(F, k)``, coordinates of points in the image, one row for each frame.
        position: ``(F, n)``, positions at the start.
        loss: ``loss(position, log_radius, log_softness)``, of the position ``(F, n)`` in every frame.
        log_radius: logarithm of the radius of contact at the start, ``()``.
        log_softness: that of the softness at the start, ``()``.
        config: hyper-parameters of the fit.

    Returns:
        The positions ``(F, n)``, the logarithm of the radius, and that of the softness.
    """
    features = _with_constant(points)
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


def _with_constant(points: Tensor) -> Tensor:
    """Return one, and the coordinates of the points with mean zero and deviation one, of every row."""
    scaled = (points - points.mean(0)) / points.std(0).clamp_min(1e-6)
    return torch.cat([torch.ones_like(points[:, :1]), scaled], 1)
