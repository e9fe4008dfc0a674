"""The autoencoder baseline with a transition: the latent is learned without actions.

The latent ``z`` minimises the reconstruction error ``E‖x − D(z)‖²``. Afterwards a network ``T`` minimises
``E‖z + T(z, g) − z'‖²`` on fixed latents. The comparison shows the gain of latents that are learned with the actions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...envs.data.transitions import Transitions
from ...envs.lie_groups.registry import group_from_name
from ..encoders.backbones import make_backbone
from ..encoders.decoders import decoder
from ..encoders.encoder import Encoder
from ..encoders.equivariant_encoder import Latents, pairwise_squared
from ..encoders.registry import register_encoder
from ..learning.config import check_range
from ..learning.learner import Loss, Stage
from ..learning.pair_sampling import PairLearner
from .mdp_homomorphism import TransitionConfig, TransitionNetwork, mean_squared_gap


@dataclass(frozen=True)
class AutoencoderDynamicsConfig(TransitionConfig):
    """Set the hyper-parameters of an `AutoencoderDynamics`, beside those of `TransitionConfig`.

    Attributes:
        transition_share: share of the updates that learn the transition; those before reconstruct.

    Raises:
        ConfigError: a value is out of range.
    """

    transition_share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "transition_share", above=0, at_most=1)


class AutoencoderDynamicsLearner(PairLearner["AutoencoderDynamics"]):
    """Train `AutoencoderDynamics` in two stages: reconstruction of images, then the transition.

    ``minimise E ‖x − D(z)‖²``, and then ``E ‖z + T(z, g) − z'‖²`` on fixed latents.

    Args:
        network: the encoder.
        transitions: frames and displacements; the ground truth is not read.

    Raises:
        ValueError: the group or the frames of the transitions are not those of the encoder.
    """

    def __init__(self, network: AutoencoderDynamics, transitions: Transitions) -> None:
        super().__init__(network, transitions)
        self.decoder = decoder(network.latent_dim, network.shape).to(next(network.parameters()).device)

    def stages(self) -> list[Stage]:
        """Return the stage of reconstruction, and that of the transition."""
        network, optim = self.network, self.optim
        encoding = [*network.trunk.parameters(), *network.head.parameters(), *self.decoder.parameters()]
        later = max(1, int(optim.steps * network.config.transition_share))
        first = max(1, optim.steps - later)
        transition = list(network.transition.parameters())
        return [
            Stage("reconstruction", first, self.reconstruction_loss, encoding, self.sampler.num_images, optim.lr),
            Stage("transition", later, self.loss, transition, self.batch_size, optim.lr),
        ]

    def reconstruction_loss(self, generator: torch.Generator) -> Loss:
        """Return the squared error of decoded images, summed over the pixels."""
        images = self.sampler.draw(generator).images
        error = (self.decoder(self.network.latents(images)["state"]) - images).pow(2).sum((1, 2, 3)).mean()
        return error, {"reconstruction": error.detach()}

    def loss(self, generator: torch.Generator) -> Loss:
        """Return ``E‖g·z − z'‖²``, without gradients to the latents."""
        views = self.sampler.draw(generator)
        with torch.no_grad():
            displacement, x, y = self.sampler.pair(views, self.network.latents(views.images))
        prediction = mean_squared_gap(self.network.act(displacement, x)["state"], y["state"])
        return prediction, {"prediction": prediction.detach()}


@register_encoder("autoencoder-dynamics")
class AutoencoderDynamics(Encoder):
    """A latent that is learned by reconstruction, with a transition ``z ↦ z + T(z, g)`` that is learned afterwards.

    Latents: ``state`` ``(B, latent_dim)``, each coordinate standardised over the batch in training, because the
    reconstruction does not fix its scale. An ablation of `MDPHomomorphism`, without a source of its own.

    Args:
        shape: height, width and channels of the images.
        group: name of the group that acts.
        config: hyper-parameters.
    """

    config_class = AutoencoderDynamicsConfig
    learner_class = AutoencoderDynamicsLearner
    config: AutoencoderDynamicsConfig

    def __init__(
        self, shape: tuple[int, int, int], group: str, config: AutoencoderDynamicsConfig = AutoencoderDynamicsConfig()
    ) -> None:
        super().__init__(shape, group, config)
        self.trunk = make_backbone(config.backbone, self.shape)
        self.head = nn.Linear(self.trunk.features, config.latent_dim)
        self.transition = TransitionNetwork(config.latent_dim, group_from_name(group).dim, config.hidden_dim)
        self.standardize = nn.BatchNorm1d(config.latent_dim, affine=False)

    @property
    def latent_dim(self) -> int:
        """Number of coordinates of the latent."""
        return self.config.latent_dim

    def latents(self, images: Tensor) -> Latents:
        """Return ``state`` ``(B, latent_dim)``."""
        return {"state": self.standardize(self.head(self.trunk(images)))}

    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        """Return ``z + T(z, g)``."""
        return self.transition.act(displacement, latents)

    def latent_distance(self, a: Latents, b: Latents) -> Tensor:
        """Return the squared distances ``(A, B)``."""
        return pairwise_squared(a["state"], b["state"])
