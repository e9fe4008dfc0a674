"""Errors of poses and classes against the ground truth, up to the factor that actions do not determine.

A pose is determined up to one factor from the right for each class: if ``φ_G`` is equivariant, so is ``x ↦ φ_G(x)·c``.
Sets of poses and ``D_LSBD`` follow Pérez Rey et al., ECML PKDD 2023 (arXiv:2301.05231).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from ...envs.lie_groups.group import Group
from .registry import Floats, HeldOut, register_metric


@register_metric("pose-error")
def pose_errors(encoder: Any, held_out: HeldOut) -> dict[str, float]:
    """Return ``pose_error`` and, on a torus, ``d_lsbd``; none if the encoder has no poses."""
    encoded = held_out.encode(encoder)
    if encoded is None:
        return {}
    group, given = encoder.acting, (encoded.poses, held_out.pose, held_out.orbit)
    values = {"pose_error": pose_error(group, *given, held_out.stabilizers)}
    if group.is_torus:
        values["d_lsbd"] = lsbd(*given, [len(each) for each in held_out.stabilizers], group)
    return values


@register_metric("orbit-separation")
def orbit_separations(encoder: Any, held_out: HeldOut) -> dict[str, float]:
    """Return ``orbit_separation``; none if the encoder has no classes."""
    encoded = held_out.encode(encoder)
    return {} if encoded is None else {"orbit_separation": orbit_separation(encoded.latents["class"], held_out.orbit)}


def free_factor(group: Group, poses: Floats, ground_truth: Floats, stabilizer: Floats) -> Floats:
    """Return the factor ``c`` that actions leave undetermined for a class.

    ``φ_i(x) ≈ h·s·c`` for the ground-truth pose ``h`` and some ``s`` of the stabilizer.
    It is the one of the residuals ``h⁻¹·φ_1(x)`` of up to 32 images that has the smallest mean squared distance to all
    residuals.

    Args:
        group: the group that acts.
        poses: encoded sets of poses ``(n, N, dim)``, all of one class.
        ground_truth: poses ``(n, dim)``.
        stabilizer: stabilizer of the class, ``(order, dim)``.

    Returns:
        ``c``, ``(dim,)``.
    """
    residual = group.compose(group.inverse(ground_truth)[:, None], poses)
    flat, candidates = residual.reshape(-1, group.dim), residual[:32, 0]

    def error(candidate: Floats) -> float:
        images = group.compose(stabilizer, candidate[None])
        return float(group.squared_distance(flat[:, None], images[None]).min(1).mean())

    return np.asarray(min(candidates, key=error))


def pose_error(
    group: Group, poses: Floats, ground_truth: Floats, orbit: NDArray[np.int64], stabilizers: Sequence[Floats]
) -> float:
    """Return the root mean squared distance of encoded poses from the ground-truth coset.

    One factor from the right is fitted for each class (`free_factor`).
    Elements of a coset that no encoded pose is near do not count; `estimate_orders` counts them.

    Args:
        group: the group that acts.
        poses: encoded sets of poses ``(n, N, dim)``.
        ground_truth: poses ``(n, dim)``.
        orbit: classes ``(n,)``.
        stabilizers: stabilizer of each class, ``(order, dim)``.
    """
    squared = []
    for one in np.unique(orbit):
        rows = orbit == one
        factor = free_factor(group, poses[rows], ground_truth[rows], stabilizers[one])
        coset = group.compose(ground_truth[rows][:, None], group.compose(stabilizers[one], factor[None])[None])
        distance = group.squared_distance(poses[rows][:, :, None], coset[:, None])
        squared.append(distance.min(2).ravel())
    return float(np.sqrt(np.concatenate(squared).mean()))


def lsbd(
    poses: Floats, ground_truth: Floats, orbit: NDArray[np.int64], stabilizer_orders: Sequence[int], group: Group
) -> float:
    """Return ``D_LSBD``, the mean squared distance of the residuals ``h⁻¹·φ_i(x)`` from their cluster centres.

    Zero means that the residuals are the same for all images of a class. There are as many centres as elements of the
    stabilizer, or of the set if these are fewer; the centres are group elements. Defined for the circle and tori.
    Source: arXiv:2301.05231.

    Args:
        poses: encoded sets of poses ``(n, N, dim)``.
        ground_truth: poses ``(n, dim)``.
        orbit: classes ``(n,)``.
        stabilizer_orders: symmetry order of each class.
        group: the group that acts.
    """
    squared = []
    for one in np.unique(orbit):
        rows = orbit == one
        residual = group.compose(group.inverse(ground_truth[rows])[:, None], poses[rows]).reshape(-1, group.dim)
        count = min(stabilizer_orders[one], poses.shape[1])
        centers = group.project(cluster_centers(residual, count))
        squared.append(group.squared_distance(residual[:, None], centers[None]).min(1))
    return float(np.concatenate(squared).mean())


def cluster_centers(points: Floats, count: int, runs: int = 8) -> Floats:
    """Return centres ``(count, k)`` of points ``(n, k)``: the best of several runs of k-means, with fixed seeds."""
    found = [kmeans2(points, count, minit="++", rng=start, iter=50)[0] for start in range(runs)]
    return min(found, key=lambda centers: float(nearest_center(points, centers)[1].mean()))


def nearest_center(points: Floats, centers: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Return the index of the nearest of the centres ``(count, k)`` to each point ``(n, k)``, and the distance."""
    distance = np.linalg.norm(points[:, None] - centers[None], axis=2)
    return distance.argmin(1), distance.min(1)


def orbit_separation(classes: Floats, orbit: NDArray[np.int64]) -> float:
    """Return the share of images whose nearest class mean is that of their own orbit.

    The means are those of the first half of the images, the share is that of the second half.

    Args:
        classes: encoded classes ``(n, k)``.
        orbit: ground-truth classes ``(n,)``.
    """
    half = len(classes) // 2
    known = np.unique(orbit[:half])
    means = np.stack([classes[:half][orbit[:half] == one].mean(0) for one in known])
    return float((known[nearest_center(classes[half:], means)[0]] == orbit[half:]).mean())
