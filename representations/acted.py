"""Encoders on whose latents actions can be applied: what will be seen is foretold without being drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from envs.groups import group_from_name
from envs.transitions import Transitions, spans
from representations.encoder import Encoder, as_tensor, to_images
from representations.networks import make_backbone
from representations.training import Stage

Latents = dict[str, Tensor]
Learned = TypeVar("Learned", bound=Encoder)

BATCH = 32
"""Pairs in one update."""
HORIZON = 100
"""Longest span that is learned from, in steps; shorter where an episode is."""
SAME_CLASS = 0.8
"""Cosine of classes from which on they are the same."""


class ActedEncoder(Encoder):
    """An encoder with an action of the group, or an approximation of one, on its latents."""

    @abstractmethod
    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        """The latents after group elements ``(B, dim)`` have acted."""

    @abstractmethod
    def gap(self, a: Latents, b: Latents) -> Tensor:
        """How far each of ``A`` latents is from each of ``B``, ``(A, B)``; least for what is the same."""


class PosedEncoder(ActedEncoder):
    """An encoder whose latents are an invariant class, ``class``, on the unit sphere, and what the pose is known by.

    Args:
        shape: height, width and channels of the images.
        group: name of the group that acts, as `envs.groups.group_from_name` reads it.
        backbone: a name in `representations.networks.BACKBONES`.
        elements: size of the sets that `poses` returns.
        class_dim: coordinates of the class.

    Attributes:
        acting: the group.
    """

    def __init__(self, shape: tuple[int, int, int], group: str, backbone: str, elements: int, class_dim: int) -> None:
        super().__init__(shape, group)
        self.backbone, self.elements, self.class_dim = backbone, elements, class_dim
        self.acting = group_from_name(group)
        self.trunk = make_backbone(backbone, self.shape)
        # Normalised over the batch before the length is: of the states that tell nothing, one class for all is nearest.
        self.class_head = nn.Sequential(
            nn.Linear(self.trunk.features, class_dim, bias=False), nn.BatchNorm1d(class_dim, affine=False)
        )

    def classes(self, features: Tensor) -> Tensor:
        """Classes ``(B, class_dim)``, of length 1, from what the trunk has seen."""
        return functional.normalize(self.class_head(features), dim=1)

    def gap(self, a: Latents, b: Latents) -> Tensor:
        """How far poses are from each other, squared, plus one minus the classes' cosine."""
        return self.pose_gap(a, b) + 1 - a["class"] @ b["class"].T

    @abstractmethod
    def pose_gap(self, a: Latents, b: Latents) -> Tensor:
        """How far the pose of each of ``A`` latents is from that of each of ``B``, squared, ``(A, B)``."""

    @abstractmethod
    def poses(self, latents: Mapping[str, Any]) -> Any:
        """Sets of poses ``(B, elements, group.dim)`` that look the same; tensors or arrays, as the latents are.

        Where latents hold no poses, as harmonics do not, they are relative to the first image of the batch and class.
        """

    @abstractmethod
    def between(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> Any:
        """Actions ``(B, M, group.dim)`` all of which lead from what has the latents ``a`` to what has ``b``."""


class PairLearner(nn.Module, ABC, Generic[Learned]):
    """What all that learn from ``(x, g, y = g·x)`` have in common: the data, and random batches of it.

    The pairs are spans of one to `HORIZON` steps. A single step leaves ``y`` near ``x`` where the group is not compact,
    and what is near is not what only the class has in common: a contrastive loss would tell positions apart instead.

    Args:
        encoder: what to train.
        transitions: frames and displacements; their truths are not read.
        scale: factor on the number of updates.

    Attributes:
        updates: how many there are at scale 1.
        learning_rate: of the first half of them (`representations.training.Stage`).

    Raises:
        ValueError: the transitions' group or frames are not the encoder's.
    """

    updates = 6000
    learning_rate = 3e-3  # at 1e-3 one seed of two had not learned the poses of Chairs

    def __init__(self, encoder: Learned, transitions: Transitions, scale: float = 1.0) -> None:
        super().__init__()
        encoder.require_fitting(transitions)
        self.encoder = encoder
        self.steps = max(1, round(scale * self.updates))
        device = next(encoder.parameters()).device
        self._frames = as_tensor(transitions.frames).to(device)
        self._start, self._end, self._displacement = (as_tensor(e).to(device) for e in spans(transitions, HORIZON))

    @abstractmethod
    def loss(self, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a random batch, and what it is made of."""

    def stages(self) -> list[Stage]:
        """What to minimise: `loss`, over all parameters that are not frozen."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return [Stage("pairs", self.steps, self.loss, trained, BATCH, self.learning_rate)]

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images, first all ``x`` and then all ``y``, ``(2 BATCH, C, H, W)``, and displacements ``(BATCH, dim)``."""
        chosen = torch.randint(len(self._start), (BATCH,), generator=generator).to(self._start.device)
        images = to_images(self._frames.index_select(0, torch.cat([self._start[chosen], self._end[chosen]])))
        return images, self._displacement[chosen]


def first_of_class(classes: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """For each of the classes ``(n, k)`` the number of the first that is the same, ``(n,)``.

    Of those that are left, the first takes all that are the same as it: whose number is given is the first of its own.
    """
    first = np.full(len(classes), -1)
    for index, one in enumerate(classes):
        if first[index] < 0:
            first[(first < 0) & (classes @ one > SAME_CLASS)] = index
            first[index] = index
    return first


def halves(latents: Latents) -> tuple[Latents, Latents]:
    """Latents of the first and of the second half of a batch."""
    parts = {name: torch.chunk(latent, 2) for name, latent in latents.items()}
    return {name: part[0] for name, part in parts.items()}, {name: part[1] for name, part in parts.items()}


def pairwise_squared(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances ``(A, B)`` of rows, flattened."""
    return (a.flatten(1)[:, None] - b.flatten(1)[None]).pow(2).sum(2)
