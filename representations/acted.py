"""Encoders on whose latents actions can be applied: what will be seen is foretold without being drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from envs.groups import group_from_name
from envs.transitions import Transitions, views
from representations.encoder import Encoder, as_tensor, to_images
from representations.networks import make_backbone
from representations.training import Stage

Latents = dict[str, Tensor]
Learned = TypeVar("Learned", bound=Encoder)

IMAGES = 64
"""Images in one update, at most."""
VIEWS = 4
"""How many of them are of one walk; fewer where all walks are shorter."""
LONGEST_WALK = 100
"""Steps after which a new walk begins, where no episode ends: errors of displacements add up along a walk."""
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

    def told(self, latents: Mapping[str, Any], poses: Any) -> NDArray[np.bool_]:
        """Whether each image tells its pose, ``(B,)``: all do, where poses are what is learned.

        Args:
            latents: of the images.
            poses: `poses` of them.
        """
        return np.ones(len(poses), bool)

    @abstractmethod
    def between(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> Any:
        """Actions ``(B, M, group.dim)`` all of which lead from what has the latents ``a`` to what has ``b``."""


class Views(NamedTuple):
    """A batch: one view of every walk that was drawn, then a second of every walk, and so on.

    Attributes:
        images: ``(views · walks, C, H, W)``.
        moved: what has acted since the walk began, ``(views · walks, dim)``.
        frame: numbers of the frames, ``(views · walks,)``.
    """

    images: Tensor
    moved: Tensor
    frame: Tensor


class PairLearner(nn.Module, ABC, Generic[Learned]):
    """What all that learn from ``(x, g, y = g·x)`` have in common: the data, and random batches of it.

    A batch has a few images, views, of each of several walks, and all pairs of views are learned from: of four images
    six pairs, at the network's cost of two, and with less noise. They are any number of steps apart. A single step
    leaves ``y`` near ``x`` where the group is not compact, and what is near has more in common than the class: a
    contrastive loss would tell positions apart instead.

    Args:
        encoder: what to train.
        transitions: frames and displacements; their truths are not read.
        scale: factor on the number of updates.
        most_views: how many images of a walk are in a batch, where it has as many.

    Attributes:
        updates: how many there are at scale 1.
        learning_rate: of the first half of them (`representations.training.Stage`).
        views: how many images of a walk are in a batch.
        walks: how many walks are.

    Raises:
        ValueError: the transitions' group or frames are not the encoder's.
    """

    updates = 6000
    learning_rate = 3e-3  # at 1e-3 one seed of two had not learned the poses of Chairs

    def __init__(self, encoder: Learned, transitions: Transitions, scale: float = 1.0, most_views: int = VIEWS) -> None:
        super().__init__()
        encoder.require_fitting(transitions)
        self.encoder = encoder
        self.steps = max(1, round(scale * self.updates))
        device = next(encoder.parameters()).device
        self._group = group_from_name(transitions.group)
        self._frames = as_tensor(transitions.frames).to(device)
        self._walked, self._length, self._moved = (
            as_tensor(each).to(device) for each in views(transitions, LONGEST_WALK)
        )
        self._begin = self._length.cumsum(0) - self._length
        self._walk = torch.arange(len(self._length), device=device).repeat_interleave(self._length)
        self.views = min(most_views, int(self._length.max()))
        self.walks = IMAGES // self.views
        self._pairs = torch.combinations(torch.arange(self.views, device=device)).T
        self._batches: Tensor
        self.register_buffer("_batches", torch.zeros((), dtype=torch.long))

    @property
    def progress(self) -> float:
        """Share of the updates that are done, or under way; where training resumes, it goes on from there."""
        return int(self._batches) / self.steps

    @abstractmethod
    def loss(self, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a random batch, and what it is made of."""

    def stages(self) -> list[Stage]:
        """What to minimise: `loss`, over all parameters that are not frozen."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return [Stage("pairs", self.steps, self.loss, trained, self.batch_size, self.learning_rate)]

    @property
    def batch_size(self) -> int:
        """Pairs in one update."""
        return self.walks * self._pairs.shape[1]

    def draw(self, generator: torch.Generator) -> Views:
        """A random batch; longer walks are drawn more often, so that all frames are drawn equally often."""
        self._batches += 1
        device = self._frames.device
        chosen = torch.randint(len(self._walked), (self.walks,), generator=generator)
        walk = self._walk[chosen.to(device)]
        length = self._length[walk]
        # One frame from each of as many parts as views, from anywhere on: none is drawn twice, unless there are fewer.
        share = torch.rand(self.views + 1, self.walks, generator=generator).to(device)
        bounds = torch.arange(self.views + 1, device=device)[:, None] * length // self.views
        along = (share[0] * length).long() + bounds[:-1] + (share[1:] * bounds.diff(dim=0)).long()
        rows = (self._begin[walk] + along % length).flatten()
        frame = self._walked[rows]
        return Views(to_images(self._frames.index_select(0, frame)), self._moved[rows], frame)

    def paired(self, drawn: Views, latents: Latents) -> tuple[Tensor, Latents, Latents]:
        """All pairs of views of a walk.

        Args:
            drawn: a batch.
            latents: of its images.

        Returns:
            Displacements ``(pairs · walks, dim)`` that lead from the first to the second of each pair, the latents of
            the first, and those of the second.
        """

        def both(batch: Tensor) -> Tensor:
            return batch.reshape(self.views, -1, *batch.shape[1:])[self._pairs].flatten(1, 2)

        before, after = both(drawn.moved)
        pairs = {name: both(latent) for name, latent in latents.items()}
        first, second = ({name: pair[index] for name, pair in pairs.items()} for index in range(2))
        return self._group.compose(after, self._group.inverse(before)), first, second


class NextViewLearner(PairLearner[Learned]):
    """What learns to draw has fewer pairs, since drawing is dear: each view and the next of its walk."""

    @property
    def batch_size(self) -> int:
        return self.walks * self.views

    def onwards(self, drawn: Views) -> tuple[Tensor, Tensor]:
        """Displacements ``(views · walks, dim)`` that lead from each view to the next, and the images there.

        After the last view comes the first.
        """
        after, images = (batch.roll(-self.walks, 0) for batch in (drawn.moved, drawn.images))
        return self._group.compose(after, self._group.inverse(drawn.moved)), images


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


def pairwise_squared(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances ``(A, B)`` of rows, flattened."""
    return (a.flatten(1)[:, None] - b.flatten(1)[None]).pow(2).sum(2)
