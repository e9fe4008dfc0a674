"""The equivariant neural renderer baseline: the latent is a volume of features that the group moves in space.

Dupont, Bautista, Colburn, Sankar, Guestrin, Susskind, Shan, *Equivariant neural rendering*, ICML 2020
(arXiv:2006.07630). The encoder ``φ``, which returns a volume, and a decoder ``D`` minimise ``E‖D(g·φ(x)) − y‖²`` with
``y = g·x``.

Groups: rotations of space; rotations of the plane, about the third axis; translations of up to three coordinates, in
units of half the side of the volume (`Group.euclidean_action`).

Deviations: the backbone is that of the encoders it is compared with, the volume has few cells, and the decoder is
small; all are larger in the paper. Elements that act one after another are multiplied, and the volume is resampled
once, when it is decoded or compared: resampled at each step, so small a volume would be blurred after ten steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...envs.data.transitions import Transitions
from ...envs.lie_groups.group import GroupError
from ...envs.lie_groups.registry import group_from_name
from ..encoders.backbones import make_backbone
from ..encoders.decoders import decoder
from ..encoders.encoder import Encoder
from ..encoders.equivariant_encoder import Latents, pairwise_squared
from ..encoders.registry import register_encoder
from ..learning.config import OptimConfig, check_range
from ..learning.learner import Loss
from ..learning.pair_sampling import PairLearner, PairSamplingConfig


@dataclass(frozen=True)
class NeuralRendererConfig:
    """Set the hyper-parameters of a `NeuralRenderer`.

    Attributes:
        backbone: name of the image network.
        side: cells along a side of the volume.
        channels: features of a cell.
        optim: how the loss is minimised; ``batch_size`` counts images.
        pairs: how pairs of images are drawn.

    Raises:
        ConfigError: a value is out of range.
    """

    backbone: str = "resnet18"
    side: int = 6
    channels: int = 8
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=6000))
    pairs: PairSamplingConfig = field(default_factory=PairSamplingConfig)

    def __post_init__(self) -> None:
        check_range(self, "side", at_least=2, at_most=64)
        check_range(self, "channels", at_least=1, at_most=256)


class NeuralRendererLearner(PairLearner["NeuralRenderer"]):
    """Train a `NeuralRenderer`: each image is decoded from the moved volume of another image of its trajectory.

    ``minimise E ‖D(g·φ(x)) − y‖²`` with ``y = g·x``.

    Args:
        network: the encoder.
        transitions: frames and displacements; the ground truth is not read.

    Raises:
        ValueError: the group or the frames of the transitions are not those of the encoder.
    """

    def __init__(self, network: NeuralRenderer, transitions: Transitions) -> None:
        super().__init__(network, transitions)
        self.decoder = decoder(network.latent_dim, network.shape).to(next(network.parameters()).device)

    @property
    def batch_size(self) -> int:
        """Pairs in one update: each image and the next."""
        return self.sampler.num_images

    def loss(self, generator: torch.Generator) -> Loss:
        """Return ``E‖D(g·φ(x)) − y‖²``, summed over the pixels."""
        views = self.sampler.draw(generator)
        displacement, images = self.sampler.pair_with_next(views)
        predicted = self.network.resample(self.network.act(displacement, self.network.latents(views.images)))
        error = (self.decoder(predicted.flatten(1)) - images).pow(2).sum((1, 2, 3)).mean()
        return error, {"rendering": error.detach()}


@register_encoder("neural-renderer")
class NeuralRenderer(Encoder):
    """A volume of features that the group moves in space.

    Latents: ``volume`` ``(B, channels, side, side, side)`` of the image and, after elements have acted, ``moved``
    ``(B, group.dim)``, their product. Source: arXiv:2006.07630.

    Args:
        shape: height, width and channels of the images.
        group: ``"SO3"``, ``"SO2"``, or ``"R1"`` to ``"R3"``.
        config: hyper-parameters.

    Raises:
        GroupError: the group does not act on space.
    """

    config_class = NeuralRendererConfig
    learner_class = NeuralRendererLearner
    config: NeuralRendererConfig

    def __init__(
        self, shape: tuple[int, int, int], group: str, config: NeuralRendererConfig = NeuralRendererConfig()
    ) -> None:
        super().__init__(shape, group, config)
        self.acting = group_from_name(group)
        try:
            self.acting.euclidean_action(self.acting.identity()[None])
        except GroupError as error:
            raise GroupError(f"a neural renderer needs a group that moves volumes in space: {error}") from error
        self.trunk = make_backbone(config.backbone, self.shape)
        self.head = nn.Linear(self.trunk.features, self.latent_dim)

    @property
    def latent_dim(self) -> int:
        """Number of coordinates of a volume."""
        return self.config.channels * self.config.side**3

    def latents(self, images: Tensor) -> Latents:
        """Return ``volume`` ``(B, channels, side, side, side)``."""
        side = self.config.side
        return {"volume": self.head(self.trunk(images)).unflatten(1, (self.config.channels, side, side, side))}

    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        """Return the same volume, with the elements multiplied to ``moved``."""
        before = latents.get("moved")
        moved = displacement if before is None else self.acting.compose(displacement, before)
        return {**latents, "moved": moved}

    def resample(self, latents: Latents) -> Tensor:
        """Return the volumes ``(B, channels, side, side, side)``, moved by ``moved``, with linear interpolation."""
        volume = latents["volume"]
        if "moved" not in latents:
            return volume
        # Sampling reads each cell from where it came from: the inverse element.
        where = self.acting.euclidean_action(self.acting.inverse(latents["moved"]))
        grid = functional.affine_grid(where.to(volume), list(volume.shape), align_corners=False)
        return functional.grid_sample(volume, grid, align_corners=False)

    def latent_distance(self, a: Latents, b: Latents) -> Tensor:
        """Return the squared distances of the moved volumes, ``(A, B)``."""
        return pairwise_squared(self.resample(a), self.resample(b))
