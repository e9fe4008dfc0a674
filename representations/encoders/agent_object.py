"""The agent–object encoder: positions of an agent and of an object, from images and displacements.

Reichlin, Marchetti, Yin, Varava, Kragic, *Learning geometric representations of objects via interaction*, ECML 2023
(arXiv:2309.05346). A scene holds an agent and one object. The agent moves by a known displacement ``a``. The object
moves only when the agent touches it, by unknown dynamics. If

1. ``z'_int = z_int + a``,
2. the representation is injective, and
3. ``z_ext`` changes if and only if it is touched on the segment from ``z_int`` to ``z_int + a``,

then ``(z_int, z_ext)`` are the positions of agent and object up to one common translation.

Deviations from the paper, and why
----------------------------------
* **Stages instead of one sum of losses**: agent, contrast, locate, contact; and orient, if the object is elongated.
  Each stage needs the result of the one before. Stages have no loss weights that must be balanced.
* **Hard negatives.** The contrastive loss compares transitions whose agents end at nearly the same place. As in the
  paper's pseudo-code, the distance between agents is subtracted from the logits. The embedding ``w`` then gains
  nothing from encoding the agent.
* **Contacts are labelled on the whole data set**, not by Otsu's threshold in each batch. That threshold jumps between
  batches, and over all data it takes noise for movement. The first labels are a share of the transitions, those in
  which ``w`` changes most; of several shares the one is kept whose map of the object tells most about its movements
  (`contact_information`). Later labels use ``z_ext``: its noise is measured on transitions in which the agent moves
  away from the object (`moved_beyond_noise`). Those see the object from as near as the others and cannot touch it.
  Uncertain transitions are ignored.
* **A first map by least squares.** One in five of the first labels is wrong. A network that is trained on them learns
  to follow the agent. The first ``z_ext`` is therefore a quadratic function of ``w``, fitted to all data at once with a
  heavy-tailed likelihood (`locate_by_paths`); the network is then trained to predict it.
* **A likelihood of contact** replaces the distance to the nearest point of the segment. Objects have a size: the agent
  touches the object at a radius from its centre, ``P(contact) = sigmoid((r − d) / s)`` with ``d`` the distance of
  ``z_ext`` to the segment; ``r`` and ``s`` are learned. Transitions without contact are used as well, and so is the
  identity, which never touches, at every frame. The published loss shrinks ``z_ext`` by several per cent; this one does
  not. One label in a hundred may be wrong (`robust_bce`).
* **An elongated object** has two radii and a predicted angle θ; ``d`` is measured after the linear map that takes its
  ellipse to a circle. This replaces the paper's covariance ``R(θ)ᵀ diag(σ₁², σ₂²) R(θ)``. The first orientation is also
  a quadratic function of ``w``, which explains all contacts at once (`orient_by_contacts`): trained by batches, the
  network finds none.
* **Displacements over many steps** are learned beside single steps, after a stage of single steps alone. An error of
  ``z_int`` that changes slowly, such as one that depends on where the object lies, hardly shows in a single step. With
  both from the start, the network sometimes finds no good position.
* Agent, embedding and object have a trunk each. With a shared trunk the result depends on the weights of their losses.

All lengths in the losses are divided by the root-mean-square displacement of the data, so that the hyper-parameters do
not depend on the world.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..learning.config import check_range
from ..learning.contact_labels import ContactConfig
from ..learning.pair_sampling import PairSamplingConfig
from .backbones import make_backbone
from .encoder import Encoder, translation_dim
from .registry import register_encoder


@dataclass(frozen=True)
class AgentObjectOptimConfig:
    """Set how the losses of the stages are minimised.

    Attributes:
        lr: learning rate of Adam, constant for the first half of a stage, then decaying linearly to 2 %.
        refinement_lr: learning rate of the second and third contact stage.
        batch_size: transitions in one update.
        contrast_batch_size: transitions in one update of the contrastive stage.
        agent_steps: updates of the agent's position by single steps.
        far_agent_steps: further updates by single steps and by displacements over many steps.
        contrast_steps: updates of the contrastive embedding.
        locate_steps: updates that fit the network to the first map of the object.
        orient_steps: updates that fit the network to the first map of the orientation, if the object is elongated.
        contact_steps: updates of each of the three contact stages.

    Raises:
        ConfigError: a value is out of range.
    """

    lr: float = 3e-3
    refinement_lr: float = 2e-3
    batch_size: int = 64
    contrast_batch_size: int = 128
    agent_steps: int = 1000
    far_agent_steps: int = 1000
    contrast_steps: int = 700
    locate_steps: int = 800
    orient_steps: int = 800
    contact_steps: int = 800

    def __post_init__(self) -> None:
        for name in ("lr", "refinement_lr"):
            check_range(self, name, above=0)
        for stage in ("agent", "far_agent", "contrast", "locate", "orient", "contact"):
            check_range(self, f"{stage}_steps", at_least=1)
        check_range(self, "batch_size", at_least=1)
        check_range(self, "contrast_batch_size", at_least=2)


@dataclass(frozen=True)
class ContrastConfig:
    """Set the contrastive loss of the embedding ``w``.

    Attributes:
        embedding_dim: coordinates of ``w``.
        temperature: ``τ``, by which squared distances of embeddings are divided.
        agent_temperature: ``τ_int``, by which squared distances of agents are divided, in units of the data.
        groups_per_batch: groups of transitions in a batch whose agents end close to each other.

    Raises:
        ConfigError: a value is out of range.
    """

    embedding_dim: int = 8
    temperature: float = 0.05
    agent_temperature: float = 0.4
    groups_per_batch: int = 4

    def __post_init__(self) -> None:
        check_range(self, "embedding_dim", at_least=2)
        check_range(self, "temperature", above=0)
        check_range(self, "agent_temperature", above=0)
        check_range(self, "groups_per_batch", at_least=1)


@dataclass(frozen=True)
class AgentObjectConfig:
    """Set the hyper-parameters of an `AgentObjectEncoder`.

    Attributes:
        backbone: name of the image network: ``"spatial_softmax"``, which suits positions, or ``"resnet18"``.
        elongated: whether to learn the two radii and the orientation of an elongated object (in the plane, ``"R2"``).
        optim: numbers of updates, learning rates and batch sizes.
        pairs: frames of a trajectory between which the agent's displacement is learned.
        contrast: the contrastive loss.
        contact: labels and likelihood of contact.

    Example:
        >>> AgentObjectConfig(elongated=True, optim=AgentObjectOptimConfig(lr=1e-3)).optim.lr
        0.001
    """

    backbone: str = "spatial_softmax"
    elongated: bool = False
    optim: AgentObjectOptimConfig = field(default_factory=AgentObjectOptimConfig)
    pairs: PairSamplingConfig = field(default_factory=PairSamplingConfig)
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    contact: ContactConfig = field(default_factory=ContactConfig)


@register_encoder("agent-object")
class AgentObjectEncoder(Encoder):
    """Encode the positions of the agent and of the object, in the units of the displacements.

    Latents: ``agent`` ``(B, n)``, ``object`` ``(B, n)`` and, if the object is elongated, ``orientation`` ``(B, 2)``:
    ``(cos 2θ, sin 2θ)`` of the long axis, which has no direction.

    Source: Reichlin et al., *Learning geometric representations of objects via interaction*, ECML 2023
    (arXiv:2309.05346).

    Args:
        shape: height, width and channels of the images.
        group: ``"R<n>"``, the translations by which the agent moves.
        config: hyper-parameters.

    Attributes:
        dim: ``n``.
        unit: root-mean-square displacement of the training data.
        contact_threshold: movement of the object, in units of `unit`, above which a transition counts as a contact.

    Raises:
        ValueError: the group is not ``"R<n>"``, or the object is elongated and the group is not ``"R2"``.

    Example:
        >>> encoder = AgentObjectEncoder((64, 64, 3), "R2")
        >>> latents = encoder.encode(torch.zeros(5, 64, 64, 3, dtype=torch.uint8))
        >>> {name: tuple(latent.shape) for name, latent in latents.items()}
        {'agent': (5, 2), 'object': (5, 2)}
    """

    config_class = AgentObjectConfig
    config: AgentObjectConfig
    unit: Tensor
    contact_threshold: Tensor

    def __init__(self, shape: tuple[int, int, int], group: str, config: AgentObjectConfig | None = None) -> None:
        super().__init__(shape, group, config)
        self.dim = translation_dim(group, "agent-object")
        elongated, backbone = self.config.elongated, self.config.backbone
        if elongated and group != "R2":
            raise ValueError(f"the orientation of an elongated object needs the plane, 'R2', got the group {group!r}")
        self.agent_trunk = make_backbone(backbone, self.shape)
        self.agent_head = nn.Linear(self.agent_trunk.features, self.dim)
        self.object_trunk = make_backbone(backbone, self.shape)
        self.object_head = nn.Linear(self.object_trunk.features, self.dim + 2 * elongated)
        contact = self.config.contact
        self.log_radii = nn.Parameter(torch.full((1 + elongated,), math.log(contact.initial_radius)))
        self.log_softness = nn.Parameter(torch.tensor(math.log(contact.initial_softness)))
        self.register_buffer("unit", torch.ones(()))
        self.register_buffer("contact_threshold", torch.ones(()))

    @property
    def latent_dim(self) -> int:
        return 2 * self.dim + 2 * self.config.elongated

    @property
    def radii(self) -> Tensor:
        """Learned distances of contact, radii of agent and object together: along the long axis, and across it."""
        return self.log_radii.detach().exp() * self.unit

    def latents(self, images: Tensor) -> dict[str, Tensor]:
        position, orientation = self.locate_object(images)
        latents = {"agent": self.locate_agent(images) * self.unit, "object": position * self.unit}
        if orientation is not None:
            latents["orientation"] = orientation
        return latents

    def locate_agent(self, images: Tensor) -> Tensor:
        """Return ``z_int`` in units of `unit`, ``(B, dim)``."""
        position: Tensor = self.agent_head(self.agent_trunk(images))
        return position

    def locate_object(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return ``z_ext`` in units of `unit`, ``(B, dim)``, and ``(cos 2θ, sin 2θ)`` if the object is elongated."""
        output = self.object_head(self.object_trunk(images))
        if not self.config.elongated:
            return output, None
        return output[:, : self.dim], functional.normalize(output[:, self.dim :], dim=1)
