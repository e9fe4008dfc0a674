"""Encoders of objects with symmetries: an invariant class, and the set of group elements that are the pose.

Pérez Rey, Marchetti, Kragic, Jarnikov, Holenderski, *Equivariant representation learning in the presence of
stabilizers*, ECML PKDD 2023 (arXiv:2301.05231). Where ``g·x = x`` for other ``g`` than the identity, those form the
stabilizer of ``x``, and the pose of ``x`` is a coset of it. The encoder gives a class ``φ_E`` and ``N`` elements
``φ_1 … φ_N`` that estimate the coset; with ``N = 1`` it is the class–pose encoder of `representations.class_pose`.

    L = E Σ_i min_j d(φ_i(y), g·φ_j(x)) + λ E mean_ij d(φ_i(y), φ_j(y)) + InfoNCE(φ_E),    y = g·x

The second term draws surplus elements together, so that as many remain distinct as the stabilizer has.

Deviations from the paper, and why
----------------------------------
* **Elements are relaxed in training** (`Group.relax`): a network's columns are compared as they are, and drawn to be
  orthonormal by a penalty of ``(4/5) Σ_i strain(φ_i)``. Made orthonormal at once, they have to point somewhere before
  the network knows where, and which way they then turn round as the image does is hard to unlearn: of the poses in
  SO(3) a quarter was hit after 2,000 updates, with relaxed columns nine tenths. Below a weight of 1, columns of what
  the network does not know yet shrink to nothing, from where they grow the right way.
* **Pairs are all those of four frames of a walk**, of two where sets are learned, any number of steps apart
  (`representations.acted.PairLearner`), and **classes are normalised over the batch** before their length is: of the
  states that tell nothing, one class for all is the nearest.
* **τ is 0.4**, not 1 (0.8 in class–pose): where there are many classes and they are hard to tell apart, at 1 they are
  noise for long, which hides what is nearest.
* **α rises from 1 to 1.15** in the first half of the training. An item is drawn to what is left of it after a walk,
  which is any other of its class, and spread from those; at 1 the two cancel, and what noise then parts classes by
  decides between poses that are near each other. At 1.15 from the start, what tells classes apart but faintly is lost
  before it is learned: two of the four Shapes fell together with one seed of two. At 1.3 the classes of Sprites do;
  from 0.7 on more of the 27 of MultiSprites are told apart, but the poses of Chairs were learned less well.
* **λ is annealed**, from twenty times its value. While the encoder does not see the pose yet, the set that errs least
  is spread evenly over the group; it stays so, for evenly spread sets are moved onto themselves by many elements, and
  the second term has no gradient there: every object seemed to have N symmetries. A set that starts as one element
  splits only where one cannot follow the object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from envs.groups import Group
from envs.transitions import Transitions
from representations.acted import VIEWS, Latents, PairLearner, PosedEncoder
from representations.training import Stage

ANNEALING = (20.0, 10.0, 5.0, 2.0, 1.0)
"""Factors on λ, one after another, each for a fifth of the training."""
STRAIN = 0.8
"""Weight of how far what is relaxed is from elements, of which poses that tell nothing cost 1."""
TEMPERATURE = 0.4
"""τ of the contrastive loss."""
SET_RATE = 1e-3
"""Learning rate of sets of more than one: at 3e-3 their elements part before the object is seen."""
SET_VIEWS = 2
"""Views of a walk from which sets of more than one learn: with four, of fewer walks, orders of Arrows were missed."""
ALIGNMENT = (1.0, 1.15)
"""α, the weight of its first term, at first and from half-way on."""


Posed = TypeVar("Posed", bound=PosedEncoder)


class StabilizerEncoder(PosedEncoder):
    """An invariant class on the unit sphere, and a set of poses.

    Args:
        shape: height, width and channels of the images.
        group: name of the group that acts, as `envs.groups.group_from_name` reads it.
        backbone: a name in `representations.networks.BACKBONES`.
        elements: ``N``, size of the set: at least the order of the largest stabilizer that is to be found.
        class_dim: coordinates of the class.

    Latents: ``class`` ``(B, class_dim)``, of length 1, and ``poses`` ``(B, N, group.dim)``.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        group: str,
        backbone: str = "resnet18",
        elements: int = 10,
        class_dim: int = 8,
    ) -> None:
        super().__init__(shape, group, backbone, elements, class_dim)
        self.pose_head = nn.Linear(self.trunk.features, elements * self.acting.dim)

    @property
    def latent_dim(self) -> int:
        return self.class_dim + self.elements * self.acting.dim

    def latents(self, images: Tensor) -> dict[str, Tensor]:
        classes, raw = self.outputs(images)
        return {"class": classes, "poses": self.acting.project(raw)}

    def outputs(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Classes ``(B, class_dim)``, and what poses are made of, ``(B, N, group.dim)``."""
        features = self.trunk(images)
        raw = self.pose_head(features).unflatten(1, (self.elements, self.acting.dim))
        return self.classes(features), raw

    def poses(self, latents: Mapping[str, Any]) -> Any:
        return latents["poses"]

    def between(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> Any:
        """``φ_i(b)·φ_j(a)⁻¹`` for all ``i`` and ``j``."""
        x, y = self.poses(a), self.poses(b)
        actions = self.acting.compose(y[:, :, None], self.acting.inverse(x)[:, None])
        return actions.reshape(len(x), -1, self.acting.dim)

    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        """``g·(e, {h_i}) = (e, {g·h_i})``."""
        return {**latents, "poses": self.acting.compose(displacement[:, None], latents["poses"])}

    def pose_gap(self, a: Latents, b: Latents) -> Tensor:
        """Mean squared distance of the poses of ``b`` to the nearest of ``a``."""
        x, y = self.poses(a), self.poses(b)
        between = pairwise(self.acting, y.flatten(0, 1), x.flatten(0, 1))
        nearest = between.reshape(*y.shape[:2], *x.shape[:2]).amin(3).mean(1)
        return nearest.T


class PosedLearner(PairLearner[Posed]):
    """What learns classes beside whatever it knows poses by.

    Args:
        encoder: what to train.
        transitions: frames and displacements; their truths are not read.
        scale: factor on the number of updates.
        most_views: how many images of a walk are in a batch, where it has as many.
    """

    def contrast(self, x: Latents, y: Latents, classes: Tensor) -> Tensor:
        """The contrastive loss of pairs, and of all classes of a batch, with α as it is now."""
        first, last = ALIGNMENT
        alignment = first + (last - first) * min(1.0, 2 * self.progress)
        return info_nce(x["class"], y["class"], classes, alignment)


class StabilizerLearner(PosedLearner[StabilizerEncoder]):
    """Trains a `StabilizerEncoder` on transitions ``(x, g, y = g·x)``.

    Args:
        encoder: what to train.
        transitions: frames and displacements; their truths are not read.
        scale: factor on the number of updates.
        gather: λ, the weight with which elements of a set are drawn together.

    Raises:
        ValueError: the transitions' group or frames are not the encoder's.
    """

    def __init__(
        self,
        encoder: StabilizerEncoder,
        transitions: Transitions,
        scale: float = 1.0,
        gather: float = 1.0,
    ) -> None:
        alone = encoder.elements == 1
        super().__init__(encoder, transitions, scale, VIEWS if alone else SET_VIEWS)
        self._gather = 0.0 if alone else gather
        if not alone:
            self.learning_rate = SET_RATE

    def stages(self) -> list[Stage]:
        """What to minimise: the same, ever less drawn together; one stage where there is nothing to gather."""
        if self._gather == 0:
            return super().stages()
        return [self._stage(factor, max(1, self.steps // len(ANNEALING))) for factor in ANNEALING]

    def _stage(self, factor: float, steps: int) -> Stage:
        def loss(generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
            return self.loss(generator, factor)

        parameters = list(self.encoder.parameters())
        return Stage(f"pairs, λ × {factor:g}", steps, loss, parameters, self.batch_size, self.learning_rate)

    def loss(self, generator: torch.Generator, factor: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
        """Poses that follow the action, sets that gather, and classes that stay and differ from others'.

        Args:
            generator: draws it.
            factor: on λ.
        """
        drawn, group = self.draw(generator), self.encoder.acting
        classes, raw = self.encoder.outputs(drawn.images)
        relaxed = group.relax(raw)
        displacement, x, y = self.paired(drawn, {"class": classes, "poses": relaxed})
        pose = chamfer(group, y["poses"], group.compose(displacement[:, None], x["poses"])).mean()
        strain = group.strain(relaxed).sum(1).mean()
        gathered = pairwise(group, relaxed, relaxed).mean()
        contrast = self.contrast(x, y, classes)
        parts = {"pose": pose, "strain": strain, "gathered": gathered, "contrast": contrast}
        loss = pose + STRAIN * strain + factor * self._gather * gathered + contrast
        return loss, {name: part.detach() for name, part in parts.items()}


def pairwise(group: Group, a: Tensor, b: Tensor) -> Tensor:
    """``d(a_i, b_j)²`` of sets ``(..., N, dim)`` and ``(..., M, dim)``, ``(..., N, M)``: one product of matrices."""
    x, y = group.embed(a), group.embed(b)
    squared = x.square().sum(-1)[..., None] + y.square().sum(-1)[..., None, :] - 2 * x @ y.mT
    return squared.clamp_min(0)


def chamfer(group: Group, a: Tensor, b: Tensor) -> Tensor:
    """One-sided Chamfer distance ``Σ_i min_j d(a_i, b_j)²``, ``(B,)``."""
    return pairwise(group, a, b).amin(2).sum(1)


def info_nce(x: Tensor, y: Tensor, batch: Tensor, alignment: float) -> Tensor:
    """``−α E[⟨x, y⟩ / τ] + E[log Σ_e' exp(⟨e, e'⟩ / τ)]`` of unit vectors: alignment and spread.

    van den Oord et al., *Representation learning with contrastive predictive coding*, 2018 (arXiv:1807.03748).

    Args:
        x: classes ``(n, k)``.
        y: of the same things, acted upon.
        batch: all classes ``(b, k)``, over which ``e`` and ``e'`` run.
        alignment: α.
    """
    spread = (batch @ batch.T / TEMPERATURE).logsumexp(1).mean()
    return spread - alignment * (x * y).sum(1).mean() / TEMPERATURE
