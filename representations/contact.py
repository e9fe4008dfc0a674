"""Meeting an object on the way: the geometry of paths, and how contacts are told from rest."""

from __future__ import annotations

import math
from collections.abc import Callable

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
    features = _quadratic(embedding).double()
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


def orient_by_contacts(
    embedding: Tensor, loss: Callable[[Tensor, Tensor, Tensor], Tensor], radius: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """A first map of an elongated object's orientation: a quadratic function of the embedding that explains contacts.

    ``n = M·q(w)``, ``o = n / √(1 + ‖n‖²)``; ``M``, two radii and the softness minimise a loss over all data at once, by
    Adam from a round object. One contact says little about an angle: the gradient of a batch is mostly noise, in which
    a network finds no orientation, while these few numbers find it within a second.

    Args:
        embedding: ``(F, k)``, one row a frame.
        loss: ``loss(orientation, log_radii, log_softness)``, of the orientation ``(F, 2)`` of every frame.
        radius: ``()``, the radius if it were round.

    Returns:
        The orientation of every frame ``(F, 2)``, the logarithms of both radii, and that of the softness.
    """
    features = _quadratic(embedding)
    features = (features - features.mean(0)) / features.std(0).clamp_min(1e-6)
    weights = torch.nn.Parameter(features.new_zeros(features.shape[1], 2))
    log_radii = torch.nn.Parameter(radius.log() + torch.tensor([0.3, -0.3], device=radius.device))
    log_softness = torch.nn.Parameter(torch.full_like(radius, math.log(0.2)))
    optimizer = torch.optim.Adam([weights, log_radii, log_softness], 0.02)
    with torch.enable_grad():
        for _ in range(300):
            value = loss(shorten(features @ weights), log_radii, log_softness)
            optimizer.zero_grad()
            torch.autograd.backward(value)
            optimizer.step()
    return shorten(features @ weights).detach(), log_radii.detach(), log_softness.detach()


def shorten(vector: Tensor) -> Tensor:
    """``n / √(1 + ‖n‖²)``, in the open unit disc, ``(B, n)``."""
    return vector / (1 + vector.pow(2).sum(1, keepdim=True)).sqrt()


def surprise(logit: Tensor, wrong: float = 0.01) -> Tensor:
    """``−log((1 − ε) p + ε (1 − p))``, ``p = sigmoid(logit)``: that of a label of which a share ε is wrong.

    Unlike the logistic loss it is bounded, so that a wrong label far from the object does not drag it along.
    """
    right = functional.logsigmoid(logit) + math.log1p(-wrong)
    return -torch.logaddexp(right, functional.logsigmoid(-logit) + math.log(wrong))


def moved_beyond_noise(moved_by: Tensor, noise: Tensor) -> tuple[Tensor, float]:
    """Which displacements are moves and which are noise, told by transitions that cannot have been contacts.

    Where the agent draws back from the object, the object stays: what it seems to move by is noise. A
    displacement is a move if it exceeds 99 % of the noise, none if it is below 90 % of it, and uncertain in between.

    Args:
        moved_by: ``(N,)`` displacements, at least zero.
        noise: ``(M,)`` displacements of the transitions without contact.

    Returns:
        1 for moves, 0 for none and ½ for uncertain ones, ``(N,)``, and the displacement above which they are moves.
    """
    if len(noise) == 0:
        noise = moved_by
    still, moved = torch.quantile(noise, torch.tensor([0.9, 0.99], device=noise.device))
    verdict = 0.5 * (moved_by > still).float() + 0.5 * (moved_by > moved).float()
    return verdict, float(moved)


def rounded(point: Tensor, orientation: Tensor, radii: Tensor) -> Tensor:
    """The linear map that takes the object's ellipse to the unit circle, applied to points relative to its centre.

    ``(a I − b [[c, s], [s, −c]]) p`` with the orientation ``(c, s) = (cos 2θ, sin 2θ)``, and with ``a`` and ``b`` half
    the sum and half the difference of the inverse radii. A shorter ``(c, s)`` makes a rounder ellipse, zero a circle:
    smooth all the way, where an angle would jump.

    Args:
        point: ``(B, 2)``.
        orientation: ``(B, 2)`` in the unit disc.
        radii: ``(2,)``, along the long axis (at angle θ) and across it.
    """
    inverse = 1 / radii
    cos, sin = orientation.unbind(1)
    mirrored = torch.stack([cos * point[:, 0] + sin * point[:, 1], sin * point[:, 0] - cos * point[:, 1]], 1)
    return inverse.mean() * point - 0.5 * (inverse[1] - inverse[0]) * mirrored


def _quadratic(embedding: Tensor) -> Tensor:
    """The monomials up to degree two of every row."""
    rows, columns = torch.triu_indices(embedding.shape[1], embedding.shape[1])
    ones = torch.ones(len(embedding), 1, device=embedding.device)
    return torch.cat([ones, embedding, embedding[:, rows] * embedding[:, columns]], 1)
