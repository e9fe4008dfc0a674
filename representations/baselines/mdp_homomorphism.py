"""The MDP homomorphism baseline: a latent with a learned transition, to compare class and pose with.

The encoder ``z = φ(x)`` and the network ``T`` minimise

    L = E‖z + T(z, g) − z'‖² + E max(0, ε − ‖z'' − z'‖²),    x' = g·x,

where ``z''`` is the latent of another image: without the hinge all latents collapse. Source: van der Pol, Kipf,
Oliehoek, Welling, *Plannable approximations to MDP homomorphisms: equivariance under actions*, AAMAS 2020
(arXiv:2002.11963).

Deviation: the hinge never pairs an image with itself; in the published code it may.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...envs.lie_groups.registry import group_from_name
from ..encoders.backbones import make_backbone
from ..encoders.encoder import Encoder
from ..encoders.equivariant_encoder import Latents, pairwise_squared
from ..encoders.registry import register_encoder
from ..learning.config import OptimConfig, check_range
from ..learning.learner import Loss
from ..learning.pair_sampling import PairLearner, PairSamplingConfig


@dataclass(frozen=True)
class TransitionConfig:
    """Set the hyper-parameters of a latent with a transition network.

    Attributes:
        backbone: name of the image network.
        latent_dim: coordinates of the latent.
        hidden_dim: width of the two hidden layers of the transition network.
        optim: how the loss is minimised; ``batch_size`` counts images.
        pairs: how pairs of images are drawn.

    Raises:
        ConfigError: a value is out of range.
    """

    backbone: str = "resnet18"
    latent_dim: int = 16
    hidden_dim: int = 128
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=6000))
    pairs: PairSamplingConfig = field(default_factory=PairSamplingConfig)

    def __post_init__(self) -> None:
        check_range(self, "latent_dim", at_least=1, at_most=4096)
        check_range(self, "hidden_dim", at_least=1, at_most=16_384)


@dataclass(frozen=True)
class MDPHomomorphismConfig(TransitionConfig):
    """Set the hyper-parameters of an `MDPHomomorphism`, beside those of `TransitionConfig`.

    Attributes:
        margin: ε, the squared distance above which latents of different images do not repel.

    Raises:
        ConfigError: a value is out of range.
    """

    margin: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "margin", above=0)


def mean_squared_gap(a: Tensor, b: Tensor) -> Tensor:
    """Return ``E‖a − b‖²`` over the rows of two batches."""
    return (a - b).flatten(1).square().sum(1).mean()


class DynamicsLearner(PairLearner[Any]):
    """Train a latent with a transition, such as `MDPHomomorphism`, with a prediction loss and a hinge loss.

    ``minimise E ‖g·z − z'‖² + E max(0, ε − ‖z'' − z'‖²)``, where ``z''`` belongs to another image.

    Args:
        network: the encoder.
        transitions: frames and displacements; the ground truth is not read.

    Raises:
        ValueError: the group or the frames of the transitions are not those of the encoder.
    """

    def loss(self, generator: torch.Generator) -> Loss:
        """Return ``E‖g·z − z'‖² + E max(0, ε − ‖z'' − z'‖²)``, where ``z''`` belongs to another image."""
        views = self.sampler.draw(generator)
        latents = self.network.latents(views.images)
        displacement, x, y = self.sampler.pair(views, latents)
        prediction = mean_squared_gap(self.network.act(displacement, x)["state"], y["state"])
        distance = self.network.latent_distance(latents, latents)
        others = views.frame[:, None] != views.frame
        hinge = functional.relu(self.network.config.margin - distance)[others].mean()
        return prediction + hinge, {"prediction": prediction.detach(), "hinge": hinge.detach()}


class TransitionNetwork(nn.Sequential):
    """The map ``z ↦ z + T(z, g)``, where ``T`` is a network with two hidden layers.

    Args:
        latent_dim: coordinates of ``z``.
        group_dim: coordinates of ``g``.
        hidden_dim: width of the hidden layers.
    """

    def __init__(self, latent_dim: int, group_dim: int, hidden_dim: int) -> None:
        super().__init__(
            nn.Linear(latent_dim + group_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, latent_dim),
        )

    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        """Return the predicted latents after group elements ``(B, group_dim)``."""
        state = latents["state"]
        return {"state": state + self(torch.cat([state, displacement], 1))}


@register_encoder("mdp-homomorphism")
class MDPHomomorphism(Encoder):
    """A latent ``z`` with the learned transition ``z ↦ z + T(z, g)``.

    Latents: ``state`` ``(B, latent_dim)``. Source: arXiv:2002.11963.

    Args:
        shape: height, width and channels of the images.
        group: name of the group that acts.
        config: hyper-parameters.
    """

    config_class = MDPHomomorphismConfig
    learner_class = DynamicsLearner
    config: MDPHomomorphismConfig

    def __init__(
        self, shape: tuple[int, int, int], group: str, config: MDPHomomorphismConfig = MDPHomomorphismConfig()
    ) -> None:
        super().__init__(shape, group, config)
        self.trunk = make_backbone(config.backbone, self.shape)
        self.head = nn.Linear(self.trunk.features, config.latent_dim)
        self.transition = TransitionNetwork(config.latent_dim, group_from_name(group).dim, config.hidden_dim)

    @property
    def latent_dim(self) -> int:
        """Number of coordinates of the latent."""
        return self.config.latent_dim

    def latents(self, images: Tensor) -> Latents:
        """Return ``state`` ``(B, latent_dim)``."""
        return {"state": self.head(self.trunk(images))}

    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        """Return ``z + T(z, g)``."""
        return self.transition.act(displacement, latents)

    def latent_distance(self, a: Latents, b: Latents) -> Tensor:
        """Return the squared distances ``(A, B)``."""
        return pairwise_squared(a["state"], b["state"])
