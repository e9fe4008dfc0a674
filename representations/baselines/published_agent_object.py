"""The agent–object encoder with the losses of its publication, as a baseline for ours.

Source: Reichlin, Marchetti, Yin, Varava, Kragic, *Learning geometric representations of objects via interaction*, ECML
2023 (arXiv:2309.05346). One sum of three losses is minimised over batches of ``(o, a, o')``. Lengths are in sides of
the arena.

* Agent: ``E ‖z'_int − z_int − a‖²``.
* Contrast: ``−E log softmax_j(−(‖w_j − w'_i‖² + ‖z'_int,j − z'_int,i‖²)/τ)`` at ``j = i``, with an embedding ``w`` on
  the sphere. There is no gradient through ``w'`` and ``z_int``.
* Contact: Otsu's threshold on ``‖w − w'‖²`` splits each batch. Below it, the object stayed:
  ``½ (KL(N‖N') + KL(N'‖N)) = ‖z'_ext − z_ext‖²/2σ²`` with ``N = N(z_ext, σ² I)``. Above it, the agent met the object:
  ``min_p ‖p − z_ext‖²/2σ²`` over the points ``p`` of the segment from ``z_int`` to ``z'_int``, without gradient through
  ``p``.

``z_ext`` is a small network of ``w``.

Deviations from the publication, which help it or save time
-----------------------------------------------------------
* The distance of agents in the contrast is in the paper's pseudo-code, and not in the published code.
* The closest point of a segment is computed, instead of the best of 100 random ones.
* The agent's position is not squashed by a sigmoid, which would saturate at the walls.
* The learning rate falls in the second half, as in all training here.
* The backbone is that of `AgentObjectEncoder` by default, instead of a ResNet-18.
* The object is round. The published covariance of an elongated one is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...envs.data.transitions import Transitions
from ..encoders.backbones import make_backbone
from ..encoders.encoder import Encoder, as_tensor, to_images, translation_dim
from ..encoders.registry import register_encoder, register_learner
from ..learning.config import ConfigError, OptimConfig, check_range
from ..learning.learner import Loss, Stage
from ..learning.segment_geometry import nearest_on_segment


@dataclass(frozen=True)
class PublishedAgentObjectConfig:
    """Set the hyper-parameters of a `PublishedAgentObject`; the defaults are published ones, but for the backbone.

    Attributes:
        backbone: name of the image network; ``"resnet18"`` in the publication.
        side: side of the arena in units of the displacements, by which all lengths are divided.
        embedding_dim: coordinates of ``w``.
        hidden: width of the two hidden layers between ``w`` and ``z_ext``.
        temperature: ``τ``.
        variance: ``σ²``, in squared sides of the arena.
        optim: number of updates, learning rate and batch size.

    Raises:
        ConfigError: a value is out of range.
    """

    backbone: str = "spatial_softmax"
    side: float = 1.0
    embedding_dim: int = 8
    hidden: int = 32
    temperature: float = 0.01
    variance: float = 0.01
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=6000, lr=1e-3, batch_size=100))

    def __post_init__(self) -> None:
        for name in ("side", "temperature", "variance"):
            check_range(self, name, above=0)
        check_range(self, "embedding_dim", at_least=2)
        check_range(self, "hidden", at_least=1)
        if self.optim.batch_size < 2:
            raise ConfigError(f"optim.batch_size must be at least 2, got {self.optim.batch_size}")


@register_encoder("agent-object-published")
class PublishedAgentObject(Encoder):
    """Encode the positions of agent and object with the published losses, for comparison with `AgentObjectEncoder`.

    Latents: ``agent`` ``(B, n)`` and ``object`` ``(B, n)``, in units of the displacements.

    Source: Reichlin et al., *Learning geometric representations of objects via interaction*, ECML 2023
    (arXiv:2309.05346).

    Args:
        shape: height, width and channels of the images.
        group: ``"R<n>"``, the translations by which the agent moves.
        config: hyper-parameters.

    Attributes:
        dim: ``n``.

    Raises:
        ValueError: the group is not ``"R<n>"``.
    """

    config_class = PublishedAgentObjectConfig
    config: PublishedAgentObjectConfig

    def __init__(
        self, shape: tuple[int, int, int], group: str, config: PublishedAgentObjectConfig | None = None
    ) -> None:
        super().__init__(shape, group, config)
        self.dim = translation_dim(group, "agent-object")
        width, hidden = self.config.embedding_dim, self.config.hidden
        self.agent_trunk = make_backbone(self.config.backbone, self.shape)
        self.agent_head = nn.Linear(self.agent_trunk.features, self.dim)
        self.embedding_trunk = make_backbone(self.config.backbone, self.shape)
        self.embedding_head = nn.Linear(self.embedding_trunk.features, width)
        self.object_head = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, self.dim)
        )

    @property
    def latent_dim(self) -> int:
        return 2 * self.dim

    def latents(self, images: Tensor) -> dict[str, Tensor]:
        agent, _, object_ = self.parts(images)
        return {"agent": agent * self.config.side, "object": object_ * self.config.side}

    def parts(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``z_int`` ``(B, n)``, ``w`` ``(B, k)`` on the sphere, ``z_ext`` ``(B, n)``; lengths in sides."""
        agent = self.agent_head(self.agent_trunk(images))
        embedding = functional.normalize(self.embedding_head(self.embedding_trunk(images)), dim=1)
        return agent, embedding, self.object_head(embedding)


@register_learner(PublishedAgentObject)
class PublishedAgentObjectLearner(nn.Module):
    """Train a `PublishedAgentObject` on the sum of the losses for agent, contrast and contact.

    Source: Reichlin et al., ECML 2023 (arXiv:2309.05346).

    Args:
        network: the encoder.
        transitions: frames and displacements; the ground truth is not read.

    Attributes:
        network: the encoder.

    Raises:
        ValueError: the transitions have another group or image shape than the encoder.
    """

    def __init__(self, network: PublishedAgentObject, transitions: Transitions) -> None:
        super().__init__()
        network.require_fitting(transitions)
        self.network = network
        self.config = network.config
        device = next(network.parameters()).device
        self._frames = as_tensor(transitions.frames).to(device)
        self._start = as_tensor(transitions.start).to(device)
        self._end = as_tensor(transitions.end).to(device)
        self._displacement = as_tensor(transitions.displacement).to(device) / self.config.side

    def stages(self) -> list[Stage]:
        """Return one stage, which minimises `loss` over all parameters."""
        optim = self.config.optim
        return [Stage("as published", optim.steps, self.loss, list(self.parameters()), optim.batch_size, optim.lr)]

    def loss(self, generator: torch.Generator) -> Loss:
        """Return the sum of the three losses, and the share of transitions that are taken for contacts."""
        size = self.config.optim.batch_size
        chosen = torch.randint(len(self._start), (size,), generator=generator).to(self._start.device)
        index = torch.cat([self._start[chosen], self._end[chosen]])
        images = to_images(self._frames.index_select(0, index))
        pairs = [part.chunk(2) for part in self.network.parts(images)]
        (agent, next_agent), (embedding, next_embedding), (object_, next_object) = pairs
        agent_loss = (next_agent - agent - self._displacement[chosen]).pow(2).sum(1).mean()
        contrast = contrastive_loss(embedding, next_embedding, next_agent, self.config.temperature)
        changed = (embedding - next_embedding).detach().pow(2).sum(1)
        contact = changed > otsu_threshold(changed)
        met = object_ - nearest_on_segment(object_.detach(), agent.detach(), next_agent.detach())
        distances = met.pow(2).sum(1), (next_object - object_).pow(2).sum(1)
        touched, stayed = (distance / (2 * self.config.variance) for distance in distances)
        contact_loss = _mean_where(contact, touched) + _mean_where(~contact, stayed)
        return agent_loss + contrast + contact_loss, {
            "agent_error": agent_loss.detach().sqrt() * self.config.side,
            "contacts": contact.float().mean(),
        }


def contrastive_loss(embedding: Tensor, next_embedding: Tensor, next_agent: Tensor, temperature: float) -> Tensor:
    """Return ``−E log softmax_j(−(‖w_j − w'_i‖² + ‖z'_j − z'_i‖²)/τ)`` at ``j = i``.

    Args:
        embedding: ``w``, ``(B, k)``.
        next_embedding: ``w'``, ``(B, k)``, which gets no gradient.
        next_agent: ``z'``, ``(B, n)``, which gets no gradient.
        temperature: ``τ``.
    """
    target, arrived = next_embedding.detach(), next_agent.detach()
    squared = 2 - 2 * target @ embedding.T + torch.cdist(arrived, arrived).pow(2)  # w and w' are on the sphere
    return functional.cross_entropy(-squared / temperature, torch.arange(len(squared), device=squared.device))


def otsu_threshold(values: Tensor) -> Tensor:
    """Return the value that splits values into two classes with the largest variance between them.

    The lower class has the values up to the threshold. The variance between the classes is ``p q (m − m')²`` with their
    shares ``p``, ``q`` and means ``m``, ``m'``.

    Source: Otsu, *A threshold selection method from gray-level histograms*, IEEE Trans. SMC 1979.

    Args:
        values: at least two, ``(N,)``.

    Example:
        >>> float(otsu_threshold(torch.tensor([0.0, 9.0, 1.0, 10.0])))
        1.0
    """
    ordered = values.sort().values
    low = torch.arange(1, len(ordered), device=values.device)
    high = len(ordered) - low
    below = ordered.cumsum(0)[:-1]
    between = low * high * (below / low - (ordered.sum() - below) / high).pow(2)
    return ordered[between.argmax()]


def _mean_where(mask: Tensor, values: Tensor) -> Tensor:
    """Return the mean of the values where a mask is true; 0 if it is nowhere."""
    return (mask * values).sum() / mask.sum().clamp_min(1)
