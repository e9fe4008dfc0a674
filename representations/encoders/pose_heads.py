"""Pose heads: from the features of a backbone to one pose, a set of poses, or harmonic vectors, with their losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ...envs.lie_groups.group import Group
from ..learning.learner import Loss
from ..learning.losses import ClassPoseLossConfig, chamfer, orthonormality_penalty, pairwise_pose_distance
from .equivariant_encoder import Latents, first_of_class, pairwise_squared
from .group_harmonics import Harmonics


class PoseHead(nn.Module, ABC):
    """Map features to latents that transform with the group.

    A subclass implements the abstract methods. Those with an implementation here are right for latents that hold group
    elements, which `poses` returns.

    Args:
        group: the group that acts.
        loss_config: weights of the loss.

    Attributes:
        num_poses: size of the sets that `poses` returns.
        latent_dim: number of coordinates of the latents.
    """

    num_poses: int
    latent_dim: int

    def __init__(self, group: Group, loss_config: ClassPoseLossConfig) -> None:
        super().__init__()
        self.group, self.loss_config = group, loss_config

    @abstractmethod
    def latents(self, features: Tensor) -> Latents:
        """Return the latents of features ``(B, features)``."""

    @abstractmethod
    def training_latents(self, features: Tensor) -> Latents:
        """Return the latents on which `loss` is computed; they may be relaxed (`Group.relax`)."""

    @abstractmethod
    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        """Return all latents, with group elements ``(B, dim)`` applied to those of this head."""

    @abstractmethod
    def loss(self, displacement: Tensor, x: Latents, y: Latents, batch: Latents, **weights: float) -> Loss:
        """Return the pose loss, and its terms.

        Args:
            displacement: elements ``g`` with ``y = g·x``, ``(pairs, dim)``.
            x: training latents of the first image of each pair.
            y: training latents of the second image of each pair.
            batch: training latents of all images.
            weights: weights of terms that change during the training.
        """

    @abstractmethod
    def poses(self, latents: Mapping[str, Any]) -> Any:
        """Return sets of equivalent poses ``(B, num_poses, group.dim)``, an array or tensor like the latents.

        Where the latents do not hold poses, these are relative to the first image of the batch with the same class.
        """

    def relative_pose(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> Any:
        """Return elements ``(B, M, group.dim)``, each of which maps the image of ``a`` to that of ``b``.

        Here ``φ_i(b)·φ_j(a)⁻¹`` for all ``i`` and ``j``.
        """
        x, y = self.poses(a), self.poses(b)
        actions = self.group.compose(y[:, :, None], self.group.inverse(x)[:, None])
        return actions.reshape(len(x), -1, self.group.dim)

    def pose_distance(self, a: Latents, b: Latents) -> Tensor:
        """Return the squared distance of each of ``A`` poses from each of ``B`` poses, ``(A, B)``.

        Here the mean squared distance of the poses of ``b`` from the nearest of ``a``.
        """
        x, y = self.poses(a), self.poses(b)
        distance = pairwise_pose_distance(self.group, y.flatten(0, 1), x.flatten(0, 1))
        nearest = distance.reshape(*y.shape[:2], *x.shape[:2]).amin(3).mean(1)
        return nearest.T

    def pose_is_reliable(self, latents: Mapping[str, Any], poses: Any) -> NDArray[np.bool_]:
        """Return whether the pose of each image can be read from its latents, ``(B,)``; here always.

        Args:
            latents: latents of the images.
            poses: their `poses`.
        """
        return np.ones(len(poses), bool)


class SinglePoseHead(PoseHead):
    """One group element: ``pose`` ``(B, group.dim)``, with ``g·h`` the group product.

    Its loss is ``E d(φ(y), g·φ(x))² + w E p(φ)`` with the poses relaxed, ``p`` the penalty of the dropped constraints
    (`Group.constraint_penalty`) and ``w`` the constraint weight.

    Args:
        features: width of the features.
        group: the group that acts.
        loss_config: weights of the loss.
    """

    num_poses = 1

    def __init__(self, features: int, group: Group, loss_config: ClassPoseLossConfig) -> None:
        super().__init__(group, loss_config)
        self.linear = nn.Linear(features, group.dim)
        self.latent_dim = group.dim

    def latents(self, features: Tensor) -> Latents:
        """Return the output, projected to the group."""
        return {"pose": self.group.project(self.linear(features))}

    def training_latents(self, features: Tensor) -> Latents:
        """Return the output, relaxed."""
        return {"pose": self.group.relax(self.linear(features))}

    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        """Return ``g·h``."""
        return {**latents, "pose": self.group.compose(displacement, latents["pose"])}

    def poses(self, latents: Mapping[str, Any]) -> Any:
        """Return the pose, as a set of one."""
        return latents["pose"][:, None]

    def loss(self, displacement: Tensor, x: Latents, y: Latents, batch: Latents, **weights: float) -> Loss:
        """Return ``E d(φ(y), g·φ(x))² + w E p(φ)``."""
        predicted = self.act(displacement, x)
        pose = chamfer(self.group, self.poses(y), self.poses(predicted)).mean()
        penalty = self.group.constraint_penalty(batch["pose"]).mean()
        loss = pose + self.loss_config.constraint_weight * penalty
        return loss, {"pose": pose.detach(), "constraint": penalty.detach()}


class PoseSetHead(PoseHead):
    """A set of group elements: ``poses`` ``(B, N, group.dim)``, which estimates a coset of the stabilizer.

    Its loss is ``E Σ_i min_j d(φ_i(y), g·φ_j(x))² + λ E mean_ij d(φ_i, φ_j)² + w E Σ_i p(φ_i)`` with the poses relaxed.
    The second term makes surplus poses equal, so that as many stay distinct as the stabilizer has elements.

    Args:
        features: width of the features.
        group: the group that acts.
        num_poses: ``N``.
        loss_config: weights of the loss.
    """

    def __init__(self, features: int, group: Group, num_poses: int, loss_config: ClassPoseLossConfig) -> None:
        super().__init__(group, loss_config)
        self.num_poses, self.latent_dim = num_poses, num_poses * group.dim
        self.linear = nn.Linear(features, self.latent_dim)

    def _raw(self, features: Tensor) -> Tensor:
        raw: Tensor = self.linear(features).unflatten(1, (self.num_poses, self.group.dim))
        return raw

    def latents(self, features: Tensor) -> Latents:
        """Return the outputs, projected to the group."""
        return {"poses": self.group.project(self._raw(features))}

    def training_latents(self, features: Tensor) -> Latents:
        """Return the outputs, relaxed."""
        return {"poses": self.group.relax(self._raw(features))}

    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        """Return ``{g·h_1, …, g·h_N}``."""
        return {**latents, "poses": self.group.compose(displacement[:, None], latents["poses"])}

    def poses(self, latents: Mapping[str, Any]) -> Any:
        """Return the set."""
        return latents["poses"]

    def loss(self, displacement: Tensor, x: Latents, y: Latents, batch: Latents, **weights: float) -> Loss:
        """Return the loss of the class's description; the keyword argument ``set_cohesion`` is λ."""
        predicted, all_poses = self.act(displacement, x), batch["poses"]
        pose = chamfer(self.group, y["poses"], predicted["poses"]).mean()
        penalty = self.group.constraint_penalty(all_poses).sum(1).mean()
        cohesion = pairwise_pose_distance(self.group, all_poses, all_poses).mean()
        loss = pose + self.loss_config.constraint_weight * penalty + weights.get("set_cohesion", 0.0) * cohesion
        return loss, {"pose": pose.detach(), "constraint": penalty.detach(), "cohesion": cohesion.detach()}


class HarmonicHead(PoseHead):
    """Harmonic vectors: ``harmonics`` ``(B, basis.dim)``, on which the group acts by orthogonal matrices ``D_m(g)``.

    Its loss is ``E Σ_m ‖F_m(y) − D_m(g) F_m(x)‖² + w Σ_m E ‖F_mᵀ F_m − 1‖²`` over degrees ``m``. A degree in which an
    object has no invariant vectors has a first term of twice its squared length, which the second term (``w < 1``) does
    not outweigh: these vectors vanish. The others become orthonormal.

    Args:
        features: width of the features.
        basis: the harmonics of the group.
        num_poses: size of the sets that `poses` returns.
        loss_config: weights of the loss.
        match_cosine: cosine of ``f(b)`` and ``D(g) f(a)`` above which ``g`` maps the image of ``a`` to that of ``b``.
        min_length: length of all vectors below which the pose is not reliable.
        same_class: cosine of two classes above which they are the same.
    """

    def __init__(
        self,
        features: int,
        basis: Harmonics,
        num_poses: int,
        loss_config: ClassPoseLossConfig,
        match_cosine: float,
        min_length: float,
        same_class: float,
    ) -> None:
        super().__init__(basis.group, loss_config)
        self.basis, self.num_poses, self.latent_dim = basis, num_poses, basis.dim
        self.match_cosine, self.min_length, self.same_class = match_cosine, min_length, same_class
        self.linear = nn.Linear(features, basis.dim)

    def latents(self, features: Tensor) -> Latents:
        """Return the output."""
        return {"harmonics": self.linear(features)}

    def training_latents(self, features: Tensor) -> Latents:
        """Return the output."""
        return self.latents(features)

    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        """Return ``D(g) f``."""
        return {**latents, "harmonics": self.basis.act(displacement, latents["harmonics"])}

    def loss(self, displacement: Tensor, x: Latents, y: Latents, batch: Latents, **weights: float) -> Loss:
        """Return the loss of the class's description."""
        error = (y["harmonics"] - self.act(displacement, x)["harmonics"]).square().sum(1).mean()
        columns = self.basis.split(batch["harmonics"])
        penalty = torch.stack([orthonormality_penalty(each).mean() for each in columns]).sum()
        loss = error + self.loss_config.constraint_weight * penalty
        return loss, {"pose": error.detach(), "constraint": penalty.detach()}

    def pose_distance(self, a: Latents, b: Latents) -> Tensor:
        """Return ``‖f(a) − f(b)‖²``."""
        return pairwise_squared(a["harmonics"], b["harmonics"])

    def poses(self, latents: Mapping[str, Any]) -> Any:
        """Return poses relative to the first image of the batch with the same class: absolute ones are not defined."""
        first = self._first(latents["class"])
        return self.relative_pose({"harmonics": latents["harmonics"][first]}, latents)

    @torch.no_grad()
    def pose_is_reliable(self, latents: Mapping[str, Any], poses: Any) -> NDArray[np.bool_]:
        """Return whether the harmonics have a length and match those of the first image of the class, when rotated."""
        vectors, found = (torch.as_tensor(each).cpu() for each in (latents["harmonics"], poses[:, 0]))
        acted = self.basis.act(found, vectors[self._first(latents["class"])])
        match = functional.cosine_similarity(acted, vectors) > self.match_cosine
        return np.asarray(match & (vectors.norm(dim=1) > self.min_length))

    @torch.no_grad()
    def relative_pose(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> Any:
        """Return the elements ``g`` with ``D(g) f(a) ≈ f(b)``, ``(B, num_poses, group.dim)``.

        If fewer match, the best one is repeated; if none does, it is the best one.
        """
        sets = []
        given = [torch.as_tensor(each["harmonics"]) for each in (a, b)]
        for x, y in zip(*(torch.split(each, 64) for each in given), strict=True):
            found, cosine = self.basis.find_elements(x, y, self.num_poses, self.match_cosine / 2)
            best = torch.take_along_dim(found, cosine.argmax(1)[:, None, None], 1)
            sets.append(torch.where((cosine > self.match_cosine)[..., None], found, best))
        actions, like = torch.cat(sets), b["harmonics"]
        return actions.numpy() if isinstance(like, np.ndarray) else actions.to(like.device)

    def _first(self, classes: Any) -> NDArray[np.int64]:
        return first_of_class(torch.as_tensor(classes).cpu().numpy(), self.same_class)
