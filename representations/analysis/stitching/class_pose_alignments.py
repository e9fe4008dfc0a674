"""Alignments of class–pose encoders: the group fixes the pose up to one element for each class."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ....envs.lie_groups.group import Group
from ....envs.lie_groups.registry import group_from_name
from ...encoders.equivariant_encoder import first_of_class
from .alignments import Alignment, orthogonal_map, require_paired
from .relative_maps import AnchorError

Floats = NDArray[np.floating[Any]]

_MEAN_STEPS = 20
"""Steps of the mean on a group; each reduces the error by orders of magnitude if the elements are close."""


class ClassPoseAlignment(Alignment):
    """Map a class and a pose: ``(e, h) ↦ (Q e, h · k_c)``, with one group element ``k_c`` for each class ``c``.

    Two equivariant encoders of one orbit differ by a multiplication from the right: ``φ_A(g·x) = g·φ_A(x)`` and
    ``φ_B(g·x) = g·φ_B(x)`` give ``φ_B(g·x)⁻¹ φ_A(g·x) = φ_B(x)⁻¹ φ_A(x)``. The element depends on the orbit.

    Args:
        group: the group that acts.
        rotation: ``Q``, ``(class dim of B, class dim of A)``, applied to rows.
        centres: a class of B for each ``c``, unit vectors ``(C, class dim of B)``.
        elements: ``k_c``, ``(C, group.dim)``.
    """

    rotation: Tensor
    centres: Tensor
    elements: Tensor

    def __init__(self, group: Group, rotation: Floats, centres: Floats, elements: Floats) -> None:
        super().__init__()
        self.group, self.latent_dim = group, int(rotation.shape[1]) + group.dim
        for name, values in (("rotation", rotation), ("centres", centres), ("elements", elements)):
            self.register_buffer(name, torch.from_numpy(np.array(values, np.float32)))

    def forward(self, latents: Tensor) -> Tensor:
        """Return ``(Q e, h · k_c)`` with the class ``c`` whose centre is nearest to ``e``."""
        size = len(self.rotation)
        if latents.ndim != 2 or latents.shape[1] != size + self.group.dim:
            raise ValueError(f"expected latents (B, {size + self.group.dim}), got {tuple(latents.shape)}")
        classes, poses = latents[:, :size], latents[:, size:]
        nearest = (classes @ self.centres.to(latents.dtype).T).argmax(1)
        aligned = nn.functional.normalize(classes @ self.rotation.to(latents.dtype), dim=1)
        return torch.cat([aligned, self.group.compose(poses, self.elements.to(latents.dtype)[nearest])], 1)


class ProjectedAlignment(Alignment):
    """Make the pose of aligned latents an element of the group: ``(e, h) ↦ (e, project(h))``.

    Args:
        alignment: an alignment that knows of no group, such as a linear one.
        group: the group of the poses, which are the last coordinates.
    """

    def __init__(self, alignment: Alignment, group: Group) -> None:
        super().__init__()
        self.alignment, self.group, self.latent_dim = alignment, group, alignment.latent_dim

    def forward(self, latents: Tensor) -> Tensor:
        """Return aligned latents whose pose is an element of the group."""
        aligned = self.alignment(latents)
        pose = self.group.project(aligned[:, -self.group.dim :])
        return torch.cat([aligned[:, : -self.group.dim], pose], 1)


def class_pose_alignment(
    latents_b: Floats, latents_a: Floats, group: str | Group, same_cosine: float = 0.8
) -> ClassPoseAlignment:
    """Return the alignment of two class–pose encoders of a group that acts freely.

    The rotation of the classes is that of orthogonal Procrustes. The element ``k_c`` is the mean of ``h_B⁻¹ h_A`` over
    the anchors whose class by B is ``c``, on the group.

    Args:
        latents_b: class and pose of the anchors by encoder B, side by side, ``(k, class dim of B + group.dim)``.
        latents_a: those by encoder A, ``(k, class dim of A + group.dim)``.
        group: the group that acts, or its name.
        same_cosine: cosine above which two classes of B are the same.

    Raises:
        AnchorError: the latents are too short to hold a class and a pose.

    Example:
        >>> from equiact.envs.lie_groups.rotations import SO2
        >>> group, generator = SO2(), np.random.default_rng(0)
        >>> classes, poses = np.eye(2)[[0, 1] * 4], group.random(generator, 8)
        >>> moved = group.compose(poses, group.exp(np.array([[0.5], [2.0]] * 4)))
        >>> b, a = np.hstack([classes, poses]), np.hstack([-classes, moved])
        >>> bool(np.abs(class_pose_alignment(b, a, group).align(b) - a).max() < 1e-5)
        True
    """
    acting = group if isinstance(group, Group) else group_from_name(group)
    latents_b, latents_a = require_paired(latents_b, latents_a)
    if min(latents_b.shape[1], latents_a.shape[1]) <= acting.dim:
        raise AnchorError(f"expected a class before the {acting.dim} coordinates of the pose, got shorter latents")
    (class_b, pose_b), (class_a, pose_a) = (np.split(each, [-acting.dim], 1) for each in (latents_b, latents_a))
    first = first_of_class(class_b, same_cosine)
    between = acting.compose(acting.inverse(pose_b), pose_a)
    kinds = np.unique(first)
    elements = np.stack([group_mean(acting, between[first == kind]) for kind in kinds])
    means = np.stack([class_b[first == kind].mean(0) for kind in kinds])
    centres = means / np.linalg.norm(means, axis=1, keepdims=True)
    return ClassPoseAlignment(acting, orthogonal_map(class_b, class_a)[0], centres, elements)


def group_mean(group: Group, elements: Floats) -> Floats:
    """Return the mean ``m`` of group elements: ``Σ log(m⁻¹ g_i) = 0``, found from the element nearest to all others.

    Source: Pennec and Arsigny, *Exponential barycenters of the canonical Cartan connection and invariant means on Lie
    groups*, 2013.

    Args:
        group: the group.
        elements: ``(n, dim)``, close together.

    Example:
        >>> from equiact.envs.lie_groups.rotations import SO2
        >>> SO2().log(group_mean(SO2(), SO2().exp(np.array([[3.0], [3.4]])))).round(3).tolist()
        [-3.083]
    """
    elements = np.asarray(elements, float)
    few = elements[:: max(1, len(elements) // 256)]  # all pairs of many would need much memory
    mean: Floats = few[group.squared_distance(few[:, None], few[None]).sum(1).argmin()]
    for _ in range(_MEAN_STEPS):
        step = group.log(group.compose(group.inverse(mean)[None], elements)).mean(0)
        mean = group.compose(mean, group.exp(step))
    return mean
