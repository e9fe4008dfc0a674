"""The translation encoder: the displacements of the agent act on its latent as translations.

Reichlin, Marchetti, Yin, Ghadirzadeh, Kragic, *Back to the manifold: recovering from out-of-distribution states*, IROS
2022 (arXiv:2207.08673). The loss is ``E‖E(o_{t+T}) − E(o_t) − Σ a‖²`` over ``T ∈ {1, 2, 3}`` steps, on exploratory
data, which need not cover the demonstrations of a task. A second term moves the origin to where episodes start.

Deviations from the paper, and why
----------------------------------
* The sum is over the displacements that were *performed* (odometry), not over the commands: a blocked arm stays.
* The second term is ``‖mean E(o_0)‖²``, not ``mean ‖E(o_0)‖²``: start positions differ by centimetres, which the latent
  should show.
* Lengths are divided by the root-mean-square displacement of the data, so that the hyper-parameters do not depend on
  the world.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from ...envs.data.trajectories import n_step_transitions
from ...envs.data.transitions import Transitions
from ..learning.config import OptimConfig, check_range
from ..learning.learner import Loss, Stage
from .backbones import make_backbone
from .encoder import Encoder, as_tensor, to_images, translation_dim
from .registry import register_encoder, register_learner


@dataclass(frozen=True)
class TranslationConfig:
    """Set the hyper-parameters of a `TranslationEncoder`.

    Attributes:
        backbone: name of the image network: ``"spatial_softmax"``, which suits positions, or ``"resnet18"``.
        horizon: largest number of steps between the two images of a pair.
        origin_weight: weight of the term that moves the origin to the starts of episodes.
        origin_batch_size: starts of episodes in one update.
        optim: number of updates, learning rate and batch size.

    Raises:
        ConfigError: a value is out of range.
    """

    backbone: str = "spatial_softmax"
    horizon: int = 3
    origin_weight: float = 0.1
    origin_batch_size: int = 8
    optim: OptimConfig = field(default_factory=OptimConfig)

    def __post_init__(self) -> None:
        check_range(self, "horizon", at_least=1)
        check_range(self, "origin_weight", at_least=0)
        check_range(self, "origin_batch_size", at_least=1)


@register_encoder("translation")
class TranslationEncoder(Encoder):
    """Encode the position of the agent, in the units of the displacements, up to one translation.

    Actions translate the latent: ``E(o_{t+1}) = E(o_t) + a_t``.

    Latents: ``agent`` ``(B, n)``.

    Source: Reichlin et al., *Back to the manifold*, IROS 2022 (arXiv:2207.08673).

    Args:
        shape: height, width and channels of the images.
        group: ``"R<n>"``, the translations by which the agent moves.
        config: hyper-parameters.

    Attributes:
        dim: ``n``.
        unit: root-mean-square displacement of the training data.

    Raises:
        ValueError: the group is not ``"R<n>"``.

    Example:
        >>> TranslationEncoder((64, 64, 3), "R3").latent_dim
        3
    """

    config_class = TranslationConfig
    config: TranslationConfig
    unit: Tensor

    def __init__(self, shape: tuple[int, int, int], group: str, config: TranslationConfig | None = None) -> None:
        super().__init__(shape, group, config)
        self.dim = translation_dim(group, "translation")
        self.trunk = make_backbone(self.config.backbone, self.shape)
        self.head = nn.Linear(self.trunk.features, self.dim)
        self.register_buffer("unit", torch.ones(()))

    @property
    def latent_dim(self) -> int:
        return self.dim

    def latents(self, images: Tensor) -> dict[str, Tensor]:
        return {"agent": self.head(self.trunk(images)) * self.unit}


@register_learner(TranslationEncoder)
class TranslationLearner(nn.Module):
    """Train a `TranslationEncoder` on transitions.

    ``minimise E ‖E(o_{t+T}) − E(o_t) − Σ a‖² + λ ‖mean E(o_0)‖²`` over ``T = 1, …, horizon``, with
    ``λ = origin_weight``.

    Args:
        network: the encoder.
        transitions: frames and displacements; the ground truth is not read.

    Attributes:
        network: the encoder.

    Raises:
        ValueError: the transitions have another group or image shape than the encoder.
    """

    def __init__(self, network: TranslationEncoder, transitions: Transitions) -> None:
        super().__init__()
        network.require_fitting(transitions)
        self.network = network
        self.config = network.config
        device = next(network.parameters()).device
        start, end, displacement = n_step_transitions(transitions, self.config.horizon)
        first = np.setdiff1d(transitions.start, transitions.end)
        unit = as_tensor(transitions.displacement).pow(2).sum(1).mean().sqrt()
        network.unit.copy_(unit)
        self._frames = as_tensor(transitions.frames).to(device)
        self._start, self._end = as_tensor(start).to(device), as_tensor(end).to(device)
        self._displacement = as_tensor(displacement).to(device) / network.unit
        self._first = as_tensor(first if len(first) else transitions.start).to(device)

    def stages(self) -> list[Stage]:
        """Return one stage, which minimises `loss`."""
        optim = self.config.optim
        parameters = list(self.network.parameters())
        return [Stage("equivariance", optim.steps, self.loss, parameters, optim.batch_size, optim.lr)]

    def loss(self, generator: torch.Generator) -> Loss:
        """Return ``E ‖E(o_{t+T}) − E(o_t) − Σ a‖² + λ ‖mean E(o_0)‖²``."""
        size = self.config.optim.batch_size
        chosen = self._draw(self._start, size, generator)
        first = self._first[self._draw(self._first, self.config.origin_batch_size, generator)]
        images = to_images(self._frames.index_select(0, torch.cat([self._start[chosen], self._end[chosen], first])))
        latent = self.network.head(self.network.trunk(images))
        before, after, at_start = latent.split([size, size, len(first)])
        loss = (after - before - self._displacement[chosen]).pow(2).sum(1).mean()
        origin = at_start.mean(0).pow(2).sum()
        return loss + self.config.origin_weight * origin, {"error": loss.detach().sqrt() * self.network.unit}

    def _draw(self, among: Tensor, size: int, generator: torch.Generator) -> Tensor:
        return torch.randint(len(among), (size,), generator=generator).to(among.device)
