"""The harmonic encoder: of objects with symmetries, an invariant class and vectors that turn as the object does.

A set of poses (`representations.stabilizers`) has to jump: an object that looks the same after a sixth of a turn has no
pose that follows it continuously for a whole one; and where sixty poses of an icosahedron are learned by distances to
the nearest, the set that tells nothing, spread evenly, is nearly as good as the right one. Harmonics
(`representations.harmonics`) follow every object continuously, whatever its symmetries: the columns of ``F_m``, one in
the plane and two in space for each degree ``m``, which ``g`` multiplies by a matrix.

    L = E Σ_m ‖F_m(y) − D_m(g) F_m(x)‖² + (4/5) Σ_m E ‖F_mᵀ F_m − 1‖² + InfoNCE(φ_E),    y = g·x

A column of which the object has none (of a cube's below the fourth degree) errs by twice its squared length, and the
second term, whose weight is below 1, does not make up for it: it vanishes. The others become orthonormal, as far as the
object has as many. What leaves them all as they are is the stabilizer, read off after training; nothing has to be known
of its order, and no set has a size. Degrees are learned one after another, the lowest first where an object has it;
what is known of few of them may look more symmetric than it is. In a product of groups the harmonics are those of each
factor: what is the same only after both of two wheels have made half a turn is taken to be so after either has.

That equivariant features are linear in the harmonics of a group, and that those of an object with symmetries vanish in
known degrees, is from Cohen, Weiler, *Steerable CNNs*, ICLR 2017, and Thomas et al., *Tensor field networks*, 2018
(arXiv:1802.08219); here they are learned from pixels and actions, as poses are in Pérez Rey et al., ECML PKDD 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from representations.acted import Latents, PosedEncoder, first_of_class, pairwise_squared
from representations.harmonics import Harmonics
from representations.stabilizers import STRAIN, PosedLearner

SYMMETRIC = 0.8
"""Cosine of harmonics from which on they are the same: what turns one into the other is a symmetry."""

VANISHED = 0.5
"""Length of all vectors below which a thing has none: those that are learned have length 1 each."""


class HarmonicEncoder(PosedEncoder):
    """An invariant class on the unit sphere, and vectors of each degree of the group's harmonics.

    Args:
        shape: height, width and channels of the images.
        group: name of the group that acts: SO2, SO3 or a product of such.
        backbone: a name in `representations.networks.BACKBONES`.
        elements: how many poses `poses` returns: at least the order of the largest stabilizer.
        degree: of the highest harmonics: at least the order of the largest stabilizer in the plane, and of the largest
            about any axis in space (6 for the icosahedron, which has no invariants below).
        class_dim: coordinates of the class.

    Latents: ``class`` ``(B, class_dim)``, of length 1, and ``harmonics`` ``(B, basis.dim)``.

    Raises:
        ValueError: the group has no harmonics here, or too many elements to search.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        group: str,
        backbone: str = "resnet18",
        elements: int = 80,
        degree: int = 6,
        class_dim: int = 8,
    ) -> None:
        super().__init__(shape, group, backbone, elements, class_dim)
        self.degree = degree
        self.basis = Harmonics(self.acting, degree)
        self.harmonic_head = nn.Linear(self.trunk.features, self.basis.dim)

    @property
    def latent_dim(self) -> int:
        return self.class_dim + self.basis.dim

    def latents(self, images: Tensor) -> Latents:
        features = self.trunk(images)
        return {"class": self.classes(features), "harmonics": self.harmonic_head(features)}

    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        """``g·(e, f) = (e, D(g) f)``."""
        return {**latents, "harmonics": self.basis.act(displacement, latents["harmonics"])}

    def pose_gap(self, a: Latents, b: Latents) -> Tensor:
        return pairwise_squared(a["harmonics"], b["harmonics"])

    def poses(self, latents: Mapping[str, Any]) -> Any:
        """Sets of poses, relative to the first of the batch with the same class: what its pose is called is free."""
        first = first_of_class(torch.as_tensor(latents["class"]).cpu().numpy())
        return self.between({"harmonics": latents["harmonics"][first]}, latents)

    @torch.no_grad()
    def told(self, latents: Mapping[str, Any], poses: Any) -> NDArray[np.bool_]:
        """Whether there are harmonics, and they are those of the first of the class, in the pose that was found."""
        classes, vectors, found = (
            torch.as_tensor(each).cpu() for each in (latents["class"], latents["harmonics"], poses[:, 0])
        )
        turned = self.basis.act(found, vectors[first_of_class(classes.numpy())])
        alike = functional.cosine_similarity(turned, vectors) > SYMMETRIC
        return np.asarray(alike & (vectors.norm(dim=1) > VANISHED))

    @torch.no_grad()
    def between(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> Any:
        """The ``g`` with ``D(g) f(a) ≈ f(b)``, where they are fewer than ``elements`` more than once; or the best."""
        sets = []
        given = [torch.as_tensor(each["harmonics"]) for each in (a, b)]
        for x, y in zip(*(torch.split(each, 64) for each in given), strict=True):
            found, alike = self.basis.peaks(x, y, self.elements, SYMMETRIC / 2)
            best = torch.take_along_dim(found, alike.argmax(1)[:, None, None], 1)
            sets.append(torch.where((alike > SYMMETRIC)[..., None], found, best))
        actions, like = torch.cat(sets), b["harmonics"]
        return actions.numpy() if isinstance(like, np.ndarray) else actions.to(like.device)


class HarmonicLearner(PosedLearner[HarmonicEncoder]):
    """Trains a `HarmonicEncoder` on transitions ``(x, g, y = g·x)``.

    Args:
        encoder: what to train.
        transitions: frames and displacements; their truths are not read.
        scale: factor on the number of updates.

    Raises:
        ValueError: the transitions' group or frames are not the encoder's.
    """

    learning_rate = 1e-3  # at 3e-3 the classes of Shapes fall together

    def loss(self, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Vectors that follow the action, those that can of length 1, and classes that stay and differ from others'."""
        drawn = self.draw(generator)
        latents = self.encoder.latents(drawn.images)
        displacement, x, y = self.paired(drawn, latents)
        turned = (y["harmonics"] - self.encoder.act(displacement, x)["harmonics"]).square().sum(1).mean()
        strain = torch.stack([_strain(each).mean() for each in self.encoder.basis.split(latents["harmonics"])]).sum()
        contrast = self.contrast(x, y, latents["class"])
        parts = {"turned": turned.detach(), "strain": strain.detach(), "contrast": contrast.detach()}
        return turned + STRAIN * strain + contrast, parts


def _strain(vectors: Tensor) -> Tensor:
    """How far columns are from orthonormal, ``‖FᵀF − 1‖²``, ``(B,)``."""
    gram = vectors.mT @ vectors
    return (gram - torch.eye(gram.shape[-1], device=gram.device)).square().sum((1, 2))
