"""Meeting an object on the way: the geometry of paths, and how contacts are told from rest."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def distance_to_segment(point: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Distance of points to segments, all ``(B, n)``, to ``(B,)``; a segment may be a single point.

    >>> distance_to_segment(torch.tensor([[0.5, 2.0]]), torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
    tensor([2.])
    """
    return (point - nearest_on_segment(point, start, end)).pow(2).sum(1).clamp_min(1e-12).sqrt()


def nearest_on_segment(point: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """The points of segments that are nearest to given points, all ``(B, n)``."""
    along = end - start
    share = ((point - start) * along).sum(1) / along.pow(2).sum(1).clamp_min(1e-12)
    return start + share.clamp(0, 1)[:, None] * along


def locate_by_paths(
    embedding: Tensor, start: Tensor, end: Tensor, agent: Tensor, agent_after: Tensor, contact: Tensor
) -> Tensor:
    """A first map of the object: a quadratic function of the embedding, near the agent's path wherever it was met.

    ``z = M·q(w)``, with ``q`` the monomials up to degree two, minimises over ``M``

    ``Σ_contacts log(1 + d²/ρ²) + ½ Σ_all log(1 + ‖z' − z‖²/ρ²)``, ``d`` from ``z`` to the agent's path, ``ρ = 0.8``,

    negative log-likelihoods of Student's t, by iteratively reweighted least squares. With a fifth of the contacts wrong
    and half of them missed, heavy tails let the errors be outvoted; a network trained on this loss instead often
    follows the agent, which is on all its paths.

    Args:
        embedding: ``(F, k)``, one row a frame.
        start: ``(N,)``, the frame each transition starts from.
        end: ``(N,)``, the frame it leads to.
        agent: ``(N, n)``, where the agent starts.
        agent_after: ``(N, n)``, where it ends.
        contact: ``(N,)`` which transitions are taken to have met the object.

    Returns:
        ``(F, n)`` positions, one row a frame.
    """
    rho, iterations = 0.8, 30
    rows, columns = torch.triu_indices(embedding.shape[1], embedding.shape[1])
    ones = torch.ones(len(embedding), 1, device=embedding.device)
    features = torch.cat([ones, embedding, embedding[:, rows] * embedding[:, columns]], 1).double()
    met, moves = features[start[contact]], features[end] - features[start]
    path = agent[contact].double(), agent_after[contact].double()
    nearest = (path[0] + path[1]) / 2
    weight_met, weight_still = met.new_ones(len(met)), met.new_ones(len(moves))
    ridge = 1e-2 * torch.eye(features.shape[1], dtype=features.dtype, device=features.device)
    for _ in range(iterations):
        weighted = (met * weight_met[:, None]).T
        normal = weighted @ met + 0.5 * (moves * weight_still[:, None]).T @ moves + ridge
        solution = torch.linalg.solve(normal, weighted @ nearest)
        nearest = nearest_on_segment(met @ solution, *path)
        weight_met = 1 / (1 + (met @ solution - nearest).pow(2).sum(1) / rho**2)
        weight_still = 1 / (1 + (moves @ solution).pow(2).sum(1) / rho**2)
    located: Tensor = (features @ solution).to(embedding.dtype)
    return located


def surprise(logit: Tensor, wrong: float = 0.01) -> Tensor:
    """``−log((1 − ε) p + ε (1 − p))``, ``p = sigmoid(logit)``: that of a label of which a share ε is wrong.

    Unlike the logistic loss it is bounded, so that a wrong label far from the object does not drag it along.
    """
    right = functional.logsigmoid(logit) + math.log1p(-wrong)
    return -torch.logaddexp(right, functional.logsigmoid(-logit) + math.log(wrong))


def moved_beyond_noise(moved_by: Tensor, noise: Tensor) -> tuple[Tensor, float]:
    """Which displacements are moves and which are noise, told by transitions that cannot have been contacts.

    Where the agent's path is out of reach of the object, the object stays: what it seems to move by is noise. A
    displacement is a move if it exceeds 99 % of the noise, none if it is below 90 % of it, and uncertain in between.

    Args:
        moved_by: ``(N,)`` displacements, at least zero.
        noise: ``(M,)`` displacements of the transitions out of reach.

    Returns:
        1 for moves, 0 for none and ½ for uncertain ones, ``(N,)``, and the displacement above which they are moves.
    """
    if len(noise) == 0:
        noise = moved_by
    still, moved = torch.quantile(noise, torch.tensor([0.9, 0.99], device=noise.device))
    verdict = 0.5 * (moved_by > still).float() + 0.5 * (moved_by > moved).float()
    return verdict, float(moved)


def rotate_back(point: Tensor, double_angle: Tensor) -> Tensor:
    """Rotate by −θ, given ``(cos 2θ, sin 2θ)``; the sign of the long axis does not matter to an ellipse."""
    angle = 0.5 * torch.atan2(double_angle[:, 1], double_angle[:, 0])
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos * point[:, 0] + sin * point[:, 1], cos * point[:, 1] - sin * point[:, 0]], 1)
