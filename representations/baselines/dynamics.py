"""Latents with a transition that is learned, or linear: what class and pose are compared with.

* `MDPHomomorphism`: van der Pol, Kipf, Oliehoek, Welling, *Plannable approximations to MDP homomorphisms: equivariance
  under actions*, AAMAS 2020 (arXiv:2002.11963). The latent's transition is a network of latent and action.
* `LinearDynamics`: the group acts on copies of ``R^k`` by matrices, as in Quessard, Barrett, Clements, *Learning
  disentangled representations and group structure of dynamical environments*, NeurIPS 2020, but for the matrices, which
  are given here. Nothing is decoded: the hinge below keeps the latent from collapsing.
* `AutoencoderDynamics`: the latent is learned from reconstruction alone, and a transition network on it afterwards.

All minimise ``‖g·z − z'‖²``; the first two also the hinge ``max(0, ε − ‖z'' − z'‖²)`` with the latent of another item.

Deviation: a negative is never the item itself, which in the published code it may be.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from envs.groups import Group, PlaneMotions, PlaneRotations, Product, SpaceRotations, Translations, group_from_name
from envs.transitions import Transitions
from representations.acted import ActedEncoder, Latents, PairLearner, pairwise_squared
from representations.networks import decoder, make_backbone
from representations.training import Stage

MARGIN = 1.0
"""ε, the squared distance from which on latents of different items do not repel."""


class MDPHomomorphism(ActedEncoder):
    """A latent ``z ∈ R^k`` and a network ``z ↦ z + T(z, g)``.

    Args:
        shape: height, width and channels of the images.
        group: name of the group that acts.
        backbone: as of the encoders that it is compared with.
        size: ``k``.

    Latents: ``state`` ``(B, k)``.
    """

    def __init__(self, shape: tuple[int, int, int], group: str, backbone: str = "resnet18", size: int = 16) -> None:
        super().__init__(shape, group)
        self.backbone, self.size = backbone, size
        self.trunk = make_backbone(backbone, self.shape)
        self.head = nn.Linear(self.trunk.features, size)
        inputs = size + group_from_name(group).dim
        self.transition = nn.Sequential(
            nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, size)
        )

    @property
    def latent_dim(self) -> int:
        return self.size

    def latents(self, images: Tensor) -> Latents:
        return {"state": self.head(self.trunk(images))}

    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        state = latents["state"]
        return {"state": state + self.transition(torch.cat([state, displacement], 1))}

    def gap(self, a: Latents, b: Latents) -> Tensor:
        return pairwise_squared(a["state"], b["state"])


class AutoencoderDynamics(MDPHomomorphism):
    """The same, but with a latent that is learned from reconstruction alone: see `AutoencoderDynamicsLearner`.

    Args:
        shape: height, width and channels of the images.
        group: name of the group that acts.
        backbone: as of the encoders that it is compared with.
        size: ``k``.

    Latents: ``state`` ``(B, k)``, standardised, since reconstruction leaves their scale open.
    """

    def __init__(self, shape: tuple[int, int, int], group: str, backbone: str = "resnet18", size: int = 16) -> None:
        super().__init__(shape, group, backbone, size)
        self.standardise = nn.BatchNorm1d(size, affine=False)

    def latents(self, images: Tensor) -> Latents:
        return {"state": self.standardise(super().latents(images)["state"])}


class LinearDynamics(ActedEncoder):
    """Copies of the space on which the group acts by matrices, ``z ↦ ρ(g) z``.

    Args:
        shape: height, width and channels of the images.
        group: name of the group that acts.
        backbone: as of the encoders that it is compared with.
        copies: how many.

    Latents: ``state`` ``(B, copies, k)`` for matrices of ``k × k``; affine ones leave the last coordinate as
    it is, which is learned and scales the shift.
    """

    def __init__(self, shape: tuple[int, int, int], group: str, backbone: str = "resnet18", copies: int = 4) -> None:
        super().__init__(shape, group)
        self.backbone, self.copies = backbone, copies
        self.acting = group_from_name(group)
        self.width = matrix(self.acting, torch.as_tensor(self.acting.identity())).shape[-1]
        self.trunk = make_backbone(backbone, self.shape)
        self.head = nn.Linear(self.trunk.features, copies * self.width)

    @property
    def latent_dim(self) -> int:
        return self.copies * self.width

    def latents(self, images: Tensor) -> Latents:
        return {"state": self.head(self.trunk(images)).unflatten(1, (self.copies, self.width))}

    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        return {"state": latents["state"] @ matrix(self.acting, displacement).mT}

    def gap(self, a: Latents, b: Latents) -> Tensor:
        return pairwise_squared(a["state"], b["state"])


def matrix(group: Group, g: Tensor) -> Tensor:
    """Matrices ``(..., k, k)`` by which elements act linearly; translations on affine coordinates.

    Raises:
        ValueError: no such matrices are known of the group.
    """
    if isinstance(group, Product):
        blocks = [matrix(factor, part) for factor, part in zip(group.factors, group.parts(g), strict=True)]
        sizes = [block.shape[-1] for block in blocks]
        rows = [
            torch.cat(
                [block if i == j else block.new_zeros(*g.shape[:-1], sizes[i], sizes[j]) for j in range(len(sizes))], -1
            )
            for i, block in enumerate(blocks)
        ]
        return torch.cat(rows, -2)
    if isinstance(group, SpaceRotations):
        return g.reshape(*g.shape[:-1], 3, 3)
    if isinstance(group, PlaneRotations):
        cos, sin = g[..., 0], g[..., 1]
        return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    if not isinstance(group, PlaneMotions | Translations):
        raise ValueError(
            f"{group.name} has no matrices here; a linear latent needs R1, R2, …, SO2, SO3, SE2 or a product"
        )
    turn = matrix(PlaneRotations(), g[..., 2:]) if isinstance(group, PlaneMotions) else torch.eye(group.dim).to(g)
    shift = (g[..., :2] if isinstance(group, PlaneMotions) else g)[..., None]
    upper = torch.cat([turn.expand(*g.shape[:-1], *turn.shape[-2:]), shift], -1)
    last = torch.zeros_like(upper[..., :1, :])
    last[..., -1] = 1
    return torch.cat([upper, last], -2)


def mean_squared_gap(a: Tensor, b: Tensor) -> Tensor:
    """Squared distance of latents ``a`` from those in the same rows of ``b``, averaged over the rows."""
    return (a - b).flatten(1).square().sum(1).mean()


class DynamicsLearner(PairLearner[ActedEncoder]):
    """Trains `MDPHomomorphism` or `LinearDynamics` on transitions.

    Args:
        encoder: what to train.
        transitions: frames and displacements; their truths are not read.
        scale: factor on the number of updates, the same as that of `StabilizerLearner`.
    """

    def loss(self, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of what is foretold, and the hinge between different items."""
        drawn = self.draw(generator)
        latents = self.encoder.latents(drawn.images)
        displacement, x, y = self.paired(drawn, latents)
        foretold = mean_squared_gap(self.encoder.act(displacement, x)["state"], y["state"])
        apart = self.encoder.gap(latents, latents)
        others = drawn.frame[:, None] != drawn.frame
        hinge = functional.relu(MARGIN - apart)[others].mean()
        return foretold + hinge, {"foretold": foretold.detach(), "hinge": hinge.detach()}


class AutoencoderDynamicsLearner(PairLearner[AutoencoderDynamics]):
    """Trains `AutoencoderDynamics`: half of the updates reconstruct, half learn the transition."""

    def __init__(self, encoder: AutoencoderDynamics, transitions: Transitions, scale: float = 1.0) -> None:
        super().__init__(encoder, transitions, scale)
        self.decoder = decoder(encoder.size, encoder.shape).to(next(encoder.parameters()).device)

    def stages(self) -> list[Stage]:
        seen = [*self.encoder.trunk.parameters(), *self.encoder.head.parameters(), *self.decoder.parameters()]
        foretold = list(self.encoder.transition.parameters())
        later, images = max(1, self.steps // 2), self.walks * self.views
        return [
            Stage("reconstruction", max(1, self.steps - later), self.reconstruct, seen, images, self.learning_rate),
            Stage("transition", later, self.loss, foretold, self.batch_size, self.learning_rate),
        ]

    def reconstruct(self, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of images, summed over the pixels."""
        images = self.draw(generator).images
        error = (self.decoder(self.encoder.latents(images)["state"]) - images).pow(2).sum((1, 2, 3)).mean()
        return error, {"reconstruction": error.detach()}

    def loss(self, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        drawn = self.draw(generator)
        with torch.no_grad():
            displacement, x, y = self.paired(drawn, self.encoder.latents(drawn.images))
        foretold = mean_squared_gap(self.encoder.act(displacement, x)["state"], y["state"])
        return foretold, {"foretold": foretold.detach()}
