"""The linear baseline: the group acts on the latent by given matrices.

The latent ``z`` holds copies of a linear representation ``ρ`` of the group, and the encoder minimises
``E‖ρ(g) z − z'‖² + E max(0, ε − ‖z'' − z'‖²)`` as the MDP homomorphism does. Source: Quessard, Barrett, Clements,
*Learning disentangled representations and group structure of dynamical environments*, NeurIPS 2020 (arXiv:2002.06991).

Deviations: the matrices are given, not learned, and no image is decoded: the hinge prevents a collapse.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from ...envs.lie_groups.registry import group_from_name
from ..encoders.backbones import make_backbone
from ..encoders.encoder import Encoder
from ..encoders.equivariant_encoder import Latents, pairwise_squared
from ..encoders.registry import register_encoder
from ..learning.config import OptimConfig, check_range
from ..learning.pair_sampling import PairSamplingConfig
from .mdp_homomorphism import DynamicsLearner


@dataclass(frozen=True)
class LinearConfig:
    """Set the hyper-parameters of a `LinearDynamics`.

    Attributes:
        backbone: name of the image network.
        copies: number of copies of the representation.
        margin: ε, the squared distance above which latents of different images do not repel.
        optim: how the loss is minimised; ``batch_size`` counts images.
        pairs: how pairs of images are drawn.

    Raises:
        ConfigError: a value is out of range.
    """

    backbone: str = "resnet18"
    copies: int = 4
    margin: float = 1.0
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=6000))
    pairs: PairSamplingConfig = field(default_factory=PairSamplingConfig)

    def __post_init__(self) -> None:
        check_range(self, "copies", at_least=1, at_most=4096)
        check_range(self, "margin", above=0)


@register_encoder("linear")
class LinearDynamics(Encoder):
    """Copies of a linear representation ``ρ`` of the group: ``z ↦ ρ(g) z`` (`Group.representation`).

    Latents: ``state`` ``(B, copies, k)`` for matrices ``k × k``. Groups with translations act on homogeneous
    coordinates: the last coordinate is invariant, is learned, and scales the translation. Source: Quessard et al.,
    NeurIPS 2020.

    Args:
        shape: height, width and channels of the images.
        group: name of the group that acts.
        config: hyper-parameters.

    Raises:
        GroupError: the group has no representation.
    """

    config_class = LinearConfig
    learner_class = DynamicsLearner
    config: LinearConfig

    def __init__(self, shape: tuple[int, int, int], group: str, config: LinearConfig = LinearConfig()) -> None:
        super().__init__(shape, group, config)
        self.acting = group_from_name(group)
        self.width = int(self.acting.representation(self.acting.identity()).shape[-1])
        self.trunk = make_backbone(config.backbone, self.shape)
        self.head = nn.Linear(self.trunk.features, config.copies * self.width)

    @property
    def latent_dim(self) -> int:
        """Number of coordinates of all copies."""
        return self.config.copies * self.width

    def latents(self, images: Tensor) -> Latents:
        """Return ``state`` ``(B, copies, k)``."""
        return {"state": self.head(self.trunk(images)).unflatten(1, (self.config.copies, self.width))}

    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        """Return ``ρ(g) z``."""
        return {"state": latents["state"] @ self.acting.representation(displacement).mT}

    def latent_distance(self, a: Latents, b: Latents) -> Tensor:
        """Return the squared distances ``(A, B)``."""
        return pairwise_squared(a["state"], b["state"])
