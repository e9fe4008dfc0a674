"""An equivariant neural renderer: the latent is a volume of features, which the group turns or shifts in space.

Dupont, Bautista, Colburn, Sankar, Guestrin, Susskind, Shan, *Equivariant neural rendering*, ICML 2020
(arXiv:2006.07630). It learns to draw ``y = g·x`` from the volume of ``x`` that ``g`` has moved.

Deviations: the trunk is that of the encoders it is compared with, the volume has few cells, and what draws is a small
network; all are larger in the paper. Elements that act one after another are multiplied, and the volume is resampled
once, when it is looked at: resampled at every step, so small a volume is blurred away after ten.

Groups: rotations of space; rotations of the plane, about the third axis; translations of up to three coordinates, in
units of half the volume's side. There is no volume on which others act.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from envs.groups import Group, PlaneRotations, SpaceRotations, Translations, group_from_name
from envs.transitions import Transitions
from representations.acted import ActedEncoder, Latents, NextViewLearner, pairwise_squared
from representations.networks import decoder, make_backbone

SIDE, CHANNELS = 6, 8
"""Cells along a side of the volume, and features of a cell."""
CELLS = CHANNELS * SIDE**3
"""Coordinates of a volume."""


class NeuralRenderer(ActedEncoder):
    """A volume of features.

    Args:
        shape: height, width and channels of the images.
        group: ``"SO3"``, ``"SO2"``, or ``"R1"`` to ``"R3"``.
        backbone: as of the encoders that it is compared with.

    Latents: ``volume`` ``(B, channels, side, side, side)`` as it was seen, and once elements have acted their product,
    ``moved`` ``(B, group.dim)``.

    Raises:
        ValueError: the group acts on no volume.
    """

    def __init__(self, shape: tuple[int, int, int], group: str, backbone: str = "resnet18") -> None:
        super().__init__(shape, group)
        self.backbone = backbone
        self.acting = group_from_name(group)
        affine(self.acting, torch.as_tensor(self.acting.identity())[None])
        self.trunk = make_backbone(backbone, self.shape)
        self.head = nn.Linear(self.trunk.features, CHANNELS * SIDE**3)

    @property
    def latent_dim(self) -> int:
        return CELLS

    def latents(self, images: Tensor) -> Latents:
        return {"volume": self.head(self.trunk(images)).unflatten(1, (CHANNELS, SIDE, SIDE, SIDE))}

    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        before = latents.get("moved")
        moved = displacement if before is None else self.acting.compose(displacement, before)
        return {**latents, "moved": moved}

    def placed(self, latents: Latents) -> Tensor:
        """Volumes ``(B, channels, side, side, side)`` where the elements that have acted have brought them."""
        volume = latents["volume"]
        if "moved" not in latents:
            return volume
        # Sampling asks where a cell comes from: the inverse element.
        where = affine(self.acting, self.acting.inverse(latents["moved"]))
        grid = functional.affine_grid(where.to(volume), list(volume.shape), align_corners=False)
        return functional.grid_sample(volume, grid, align_corners=False)

    def gap(self, a: Latents, b: Latents) -> Tensor:
        return pairwise_squared(self.placed(a), self.placed(b))


def affine(group: Group, g: Tensor) -> Tensor:
    """Matrices ``(B, 3, 4)`` by which elements move points of space.

    Raises:
        ValueError: they move none.
    """
    turn, shift = torch.eye(3).to(g).repeat(len(g), 1, 1), torch.zeros(len(g), 3).to(g)
    if isinstance(group, SpaceRotations):
        turn = g.reshape(len(g), 3, 3)
    elif isinstance(group, PlaneRotations):
        turn[:, 0, 0], turn[:, 0, 1], turn[:, 1, 0], turn[:, 1, 1] = g[:, 0], -g[:, 1], g[:, 1], g[:, 0]
    elif isinstance(group, Translations) and group.dim <= 3:
        shift[:, : group.dim] = g
    else:
        raise ValueError(f"{group.name} acts on no volume; an equivariant neural renderer needs SO2, SO3, R1, R2 or R3")
    return torch.cat([turn, shift[..., None]], 2)


class NeuralRendererLearner(NextViewLearner[NeuralRenderer]):
    """Trains a `NeuralRenderer`: images are drawn from the volumes of others, moved.

    Args:
        encoder: what to train.
        transitions: frames and displacements; their truths are not read.
        scale: factor on the number of updates.
    """

    def __init__(self, encoder: NeuralRenderer, transitions: Transitions, scale: float = 1.0) -> None:
        super().__init__(encoder, transitions, scale)
        self.decoder = decoder(CELLS, encoder.shape).to(next(encoder.parameters()).device)

    def loss(self, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of images drawn from the volumes of others that were moved, summed over the pixels."""
        drawn = self.draw(generator)
        displacement, images = self.onwards(drawn)
        foretold = self.encoder.placed(self.encoder.act(displacement, self.encoder.latents(drawn.images)))
        error = (self.decoder(foretold.flatten(1)) - images).pow(2).sum((1, 2, 3)).mean()
        return error, {"rendering": error.detach()}
