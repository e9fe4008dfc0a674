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
* **Stages instead of one sum of losses**: agent, contrast, locate, contact; also orient and outline, if the object has
  any shape. Each stage needs the result of the one before. There are no weights of stages to balance.
* **Hard negatives.** The contrastive loss compares transitions whose agents end at nearly the same place. As in the
  paper's pseudo-code, the distance between agents is subtracted from the logits. The embedding ``w`` then gains
  nothing from encoding the agent.
* **Contacts are labelled on the whole data set**, not by Otsu's threshold in each batch. That threshold jumps between
  batches, and over all data it takes noise for movement. The first labels are a share of the transitions, those in
  which ``w`` changes most; of several shares the one is kept whose map of the object tells most about its movements
  (`contact_information`). Labels of the map and of the outline are probabilities, from how far ``z_ext`` moves and how
  near the agent's path comes (`label_contacts`). The noise of ``z_ext`` is a part of the fit: no transition must be
  known to be free of contact. Even an agent that draws back from the centre of an object may touch it, if the object is
  not round.
* **A first map by least squares.** One in five of the first labels is wrong. A network that is trained on them learns
  to follow the agent. The network of ``w`` sees points in the image, of which some lie on the object. The first
  ``z_ext`` is therefore a linear function of these points, fitted to all data at once with a heavy-tailed likelihood
  (`locate_by_paths`), and then to the likelihood of contact (`locate_by_contacts`): an agent meets the object on its
  near side, so that positions on paths are too close together. The network is then trained to predict it.
* **A likelihood of contact** replaces the distance to the nearest point of the segment. Objects have a size: the agent
  touches the object at a radius from its centre, ``P(contact) = sigmoid((r − d) / s)`` with ``d`` the distance of
  ``z_ext`` to the segment; ``r`` and ``s`` are learned. Transitions without contact are used as well, and so is the
  identity, which never touches, at every frame. The published loss shrinks ``z_ext`` by several per cent; this one does
  not. One label in a hundred may be wrong (`robust_bce`).
* **No label in the contact stages.** The network is trained on the likelihood of the movements themselves,
  ``log(P p₁ + (1 − P) p₀)`` (`movement_nll`): geometry as it is now and the movement decide together what a contact is.
  Many contacts graze the object, which then hardly moves. Labels take them for none, and shrink the radius.
* **An object of any shape** has an outline and a predicted angle θ; ``d − r`` becomes the clearance of the agent's path
  from the outline (`Outline`). This replaces the paper's covariance ``R(θ)ᵀ diag(σ₁², σ₂²) R(θ)`` of an ellipse. One
  contact says little about an angle, and the embedding ``w`` tells objects apart by their position alone. The first
  angle is therefore seen: crops of the image around the object, each the median over an interval in which it rests, lie
  on a ring (`ring_angles`). Contacts tell the direction of rotation and the order of symmetry (`align_orientation`),
  and the outline (`fit_outline`).
* **Displacements over many steps** are learned beside single steps, after a stage of single steps alone. An error of
  ``z_int`` that changes slowly, such as one that depends on where the object lies, hardly shows in a single step. With
  both from the start, the network sometimes finds no good position.
* **Errors of odometry** are estimated: a bias, a lag of the displacements against the frames, and the variance of
  noise, by which displacements over many steps lose weight (`Odometry`).
* Agent, embedding and object have a trunk each. With a shared trunk the result depends on the weights of their losses.

All lengths in the losses are divided by the root-mean-square displacement of the data, so that the hyper-parameters do
not depend on the world.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ...envs.data.transitions import Transitions
from ..learning.config import ConfigError, check_range
from ..learning.contact_labels import ContactConfig
from ..learning.odometry import OdometryConfig
from ..learning.pair_sampling import PairSamplingConfig
from ..learning.shape_fit import OutlineFitConfig
from .backbones import make_backbone
from .encoder import Encoder, as_tensor, translation_dim
from .glimpse import Glimpse
from .outline import Outline
from .registry import register_encoder


@dataclass(frozen=True)
class AgentObjectOptimConfig:
    """Set how the losses of the stages are minimised.

    Attributes:
        lr: learning rate of Adam, constant for the first half of a stage, then decaying linearly to 2 %.
        refinement_lr: learning rate of the second and third contact stage.
        orient_lr: learning rate of the orientation, if the object has any shape.
        outline_lr: learning rate of the outline stages.
        batch_size: transitions in one update.
        contrast_batch_size: transitions in one update of the contrastive stage.
        agent_steps: updates of the agent's position by single steps.
        far_agent_steps: further updates by single steps and by displacements over many steps.
        contrast_steps: updates of the contrastive embedding.
        locate_steps: updates that fit the network to the first map of the object.
        contact_steps: updates of each of the contact stages, of which there are three, or two if the object has any
            shape.
        orient_steps: updates that fit the network to the first angles.
        outline_steps: updates of each of the two outline stages.

    Raises:
        ConfigError: a value is out of range.
    """

    lr: float = 3e-3
    refinement_lr: float = 2e-3
    orient_lr: float = 1e-3
    outline_lr: float = 3e-4
    batch_size: int = 64
    contrast_batch_size: int = 128
    agent_steps: int = 1000
    far_agent_steps: int = 1000
    contrast_steps: int = 700
    locate_steps: int = 800
    contact_steps: int = 800
    orient_steps: int = 900
    outline_steps: int = 500

    def __post_init__(self) -> None:
        for name in ("lr", "refinement_lr", "orient_lr", "outline_lr"):
            check_range(self, name, above=0)
        for stage in ("agent", "far_agent", "contrast", "locate", "contact", "orient", "outline"):
            check_range(self, f"{stage}_steps", at_least=1)
        check_range(self, "batch_size", at_least=1)
        check_range(self, "contrast_batch_size", at_least=2)


@dataclass(frozen=True)
class ContrastConfig:
    """Set the contrastive loss of the embedding ``w``.

    Attributes:
        embedding_dim: coordinates of ``w``.
        points: points in the image from which ``w`` is computed (`SpatialSoftmaxCNN`); the first map of the object is
            linear in them.
        temperature: ``τ``, by which squared distances of embeddings are divided.
        agent_temperature: ``τ_int``, by which squared distances of agents are divided, in units of the data.
        groups_per_batch: groups of transitions in a batch whose agents end close to each other.

    Raises:
        ConfigError: a value is out of range.
    """

    embedding_dim: int = 8
    points: int = 8
    temperature: float = 0.05
    agent_temperature: float = 0.4
    groups_per_batch: int = 4

    def __post_init__(self) -> None:
        check_range(self, "embedding_dim", at_least=2)
        check_range(self, "points", at_least=1)
        check_range(self, "temperature", above=0)
        check_range(self, "agent_temperature", above=0)
        check_range(self, "groups_per_batch", at_least=1)


@dataclass(frozen=True)
class ShapeConfig:
    """Set how the orientation and the outline of an object of any shape are learned.

    Attributes:
        harmonics: harmonics of the outline (`Outline`).
        largest_order: largest order of rotational symmetry that is tried.
        backbone: name of the network that sees the object from near (`Glimpse`).
        crop_side: side of the crops in pixels.
        crop_width: half the width of the crops, in radii of contact of a round object.
        rest_below: probability of contact below which a transition belongs to an interval at rest.
        intervals: number of intervals at rest whose crops form the ring; the longest are taken, of at least two frames.
        frames_per_interval: frames of an interval of which the median is taken, without the agent that passes by.
        neighbours: numbers of neighbours on the ring that are tried (`ring_angles`).
        least_evidence: standard errors by which contacts must tell the direction of rotation (`ContactAlignment`);
            below, a warning says that the orientation is of no use.
        anchor: weight of the loss of the stage ``orient`` in the stages ``outline``.
        fit: fit of the outline to all contacts.

    Raises:
        ConfigError: a value is out of range.
    """

    harmonics: int = 8
    largest_order: int = 4
    backbone: str = "strided"
    crop_side: int = 32
    crop_width: float = 2.5
    rest_below: float = 0.1
    intervals: int = 1500
    frames_per_interval: int = 7
    neighbours: tuple[int, ...] = (6, 8, 10, 12)
    least_evidence: float = 3.0
    anchor: float = 0.2
    fit: OutlineFitConfig = field(default_factory=OutlineFitConfig)

    def __post_init__(self) -> None:
        for name in ("harmonics", "largest_order", "frames_per_interval", "neighbours"):
            check_range(self, name, at_least=1)
        check_range(self, "crop_side", at_least=16)
        check_range(self, "intervals", at_least=2)
        for name in ("crop_width", "least_evidence"):
            check_range(self, name, above=0)
        check_range(self, "anchor", at_least=0)
        check_range(self, "rest_below", above=0, below=1)
        if not self.neighbours:
            raise ConfigError("neighbours must be at least one number, got none")


@dataclass(frozen=True)
class AgentObjectConfig:
    """Set the hyper-parameters of an `AgentObjectEncoder`.

    Attributes:
        backbone: name of the image network: ``"spatial_softmax"``, which suits positions, or ``"resnet18"``.
        object_shape: ``"round"``, or ``"any"`` to learn outline and orientation too (in the plane, ``"R2"``).
        optim: numbers of updates, learning rates and batch sizes.
        odometry: errors of the displacements.
        pairs: frames of a trajectory between which the agent's displacement is learned.
        contrast: the contrastive loss.
        contact: labels and likelihood of contact.
        shape: outline and orientation, for an object of any shape.

    Raises:
        ConfigError: a value is out of range.

    Example:
        >>> AgentObjectConfig(object_shape="any", optim=AgentObjectOptimConfig(lr=1e-3)).optim.lr
        0.001
    """

    backbone: str = "spatial_softmax"
    object_shape: str = "round"
    optim: AgentObjectOptimConfig = field(default_factory=AgentObjectOptimConfig)
    odometry: OdometryConfig = field(default_factory=OdometryConfig)
    pairs: PairSamplingConfig = field(default_factory=PairSamplingConfig)
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    contact: ContactConfig = field(default_factory=ContactConfig)
    shape: ShapeConfig = field(default_factory=ShapeConfig)

    def __post_init__(self) -> None:
        if self.object_shape not in ("round", "any"):
            raise ConfigError(f"object_shape must be 'round' or 'any', got {self.object_shape!r}")

    @property
    def has_outline(self) -> bool:
        """Return whether outline and orientation are learned."""
        return self.object_shape == "any"


@register_encoder("agent-object")
class AgentObjectEncoder(Encoder):
    """Encode the positions of the agent and of the object, in the units of the displacements.

    Latents: ``agent`` ``(B, n)``, ``object`` ``(B, n)`` and, if the object has any shape, ``orientation`` ``(B, 2)``:
    ``(cos mθ, sin mθ)`` of its angle θ, with the order ``m`` of its rotational symmetry. The object's position is then
    the centroid of its outline.

    Source: Reichlin et al., *Learning geometric representations of objects via interaction*, ECML 2023
    (arXiv:2309.05346).

    Args:
        shape: height, width and channels of the images.
        group: ``"R<n>"``, the translations by which the agent moves.
        config: hyper-parameters.

    Attributes:
        dim: ``n``.
        unit: root-mean-square displacement of the training data.
        outline: of the object, in units of `unit`, grown by the agent's own size.
        contact_threshold: movement of the object (`movement`), in units of `unit`, above which a transition counts as
            a contact.

    Raises:
        ValueError: the group is not ``"R<n>"``, or the object has any shape and the group is not ``"R2"``.

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
        config, backbone = self.config, self.config.backbone
        if config.has_outline and group != "R2":
            raise ValueError(f"an outline and an orientation need the plane, 'R2', got the group {group!r}")
        self.agent_trunk = make_backbone(backbone, self.shape)
        self.agent_head = nn.Linear(self.agent_trunk.features, self.dim)
        self.object_trunk = make_backbone(backbone, self.shape)
        self.object_head = nn.Linear(self.object_trunk.features, self.dim)
        if config.has_outline:
            self.glimpse = Glimpse(config.shape.backbone, self.shape[2], config.shape.crop_side)
            self.glimpse_head = nn.Linear(self.glimpse.features, self.dim + 2)
        self.outline = Outline(config.shape.harmonics * config.has_outline, config.contact.initial_radius)
        self.log_softness = nn.Parameter(torch.tensor(math.log(config.contact.initial_softness)))
        self.register_buffer("unit", torch.ones(()))
        self.register_buffer("contact_threshold", torch.ones(()))

    @property
    def latent_dim(self) -> int:
        return 2 * self.dim + 2 * self.config.has_outline

    @property
    @torch.no_grad()
    def reach(self) -> float:
        """Return the largest learned distance of contact of agent and object, in the units of the displacements."""
        return float(self.outline.reach * self.unit)

    @property
    @torch.no_grad()
    def outline_polygon(self) -> Tensor:
        """Return points of the outline, grown by the agent's size, seen from the object in orientation 0, ``(N, 2)``.

        In the units of the displacements.
        """
        return self.outline.polygon() * self.unit

    def latents(self, images: Tensor) -> dict[str, Tensor]:
        agent = self.locate_agent(images) * self.unit
        position, orientation = self.locate_object(images)
        if orientation is None:
            return {"agent": agent, "object": position * self.unit}
        centroid = self.outline.at_centroid(position, orientation)
        return {"agent": agent, "object": centroid * self.unit, "orientation": orientation}

    def locate_agent(self, images: Tensor) -> Tensor:
        """Return ``z_int`` in units of `unit`, ``(B, dim)``."""
        position: Tensor = self.agent_head(self.agent_trunk(images))
        return position

    def locate_object(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return ``z_ext`` in units of `unit`, ``(B, dim)``, and ``(cos mθ, sin mθ)`` if the object has any shape."""
        position = self.locate_roughly(images)
        return (position, None) if not self.config.has_outline else self.look(images, position)

    def locate_roughly(self, images: Tensor) -> Tensor:
        """Return ``z_ext`` as the whole image tells it, ``(B, dim)``."""
        position: Tensor = self.object_head(self.object_trunk(images))
        return position

    def look(self, images: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """Return position ``(B, 2)`` and orientation ``(B, 2)`` as the crop around a rough position tells them."""
        correction, orientation = self.glimpse_head(self.glimpse(images, position)).chunk(2, 1)
        return position + self.outline.radius.detach() * correction, functional.normalize(orientation, dim=1)

    @torch.no_grad()
    def movement(self, latents: Mapping[str, NDArray[Any]], transitions: Transitions) -> NDArray[np.float64]:
        """Return how far the object moves in transitions, ``(N,)``, in the units of the displacements.

        ``√(‖Δz_ext‖² + (r/m)² ‖Δo‖²)`` with the radius ``r`` of contact: turning moves the edge.

        Args:
            latents: of the frames of the transitions, as `encode` returns them.
            transitions: the transitions.
        """

        def change(name: str) -> NDArray[np.float64]:
            latent = np.asarray(latents[name], float)
            return np.asarray(np.linalg.norm(latent[transitions.end] - latent[transitions.start], axis=1))

        if "orientation" not in latents:
            return change("object")
        arm = float(self.outline.radius * self.unit) / int(self.outline.order)
        return np.asarray(np.hypot(change("object"), arm * change("orientation")))

    @torch.no_grad()
    def clearance(self, latents: Mapping[str, NDArray[Any]], transitions: Transitions) -> NDArray[np.float64]:
        """Return how far the agent's path stays away from the outline of the object, ``(N,)``; negative if they meet.

        In the units of the displacements. The path is the segment between the agent's positions in both frames, so that
        wrong displacements do no harm.

        Args:
            latents: of the frames of the transitions, as `encode` returns them.
            transitions: the transitions.
        """
        before = {name: as_tensor(latent[transitions.start]).to(self.unit) for name, latent in latents.items()}
        position, orientation = before["object"] / self.unit, before.get("orientation")
        if orientation is not None:
            position = position - self.outline.at_centroid(torch.zeros_like(position), orientation)
        start = before["agent"] / self.unit - position
        end = as_tensor(latents["agent"][transitions.end]).to(self.unit) / self.unit - position
        distance = self.outline.clearance(start, end, orientation) * self.unit
        return distance.double().cpu().numpy()
