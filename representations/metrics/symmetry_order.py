"""Estimates of symmetry orders from sets of poses: surplus poses of a set become equal, those of a stabilizer do not.

Source: Pérez Rey et al., ECML PKDD 2023 (arXiv:2301.05231).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.stats import binomtest

from ...envs.lie_groups.group import Group
from ..encoders.equivariant_encoder import first_of_class
from .registry import Floats, HeldOut, register_metric


@register_metric("symmetry-order")
def symmetry_orders(encoder: Any, held_out: HeldOut, max_named_classes: int = 5) -> dict[str, float]:
    """Return the shares of right symmetry orders, and the estimated set size; none if the encoder has single poses.

    * ``order_right_images``: share of the images with the right order.
    * ``order_right_objects``: share of the classes whose most frequent order is right.
    * ``set_size``, ``set_size_confidence``: `SetSizeEstimate`.
    * ``order of <class>``, ``agreement on <class>``: `OrderEstimate`, if there are few classes.
    """
    encoded = held_out.encode(encoder)
    if encoded is None or encoder.num_poses == 1:
        return {}
    orbit, expected = held_out.orbit, np.array([len(each) for each in held_out.stabilizers])
    number = np.where(encoded.pose_is_reliable, count_distinct_poses(encoder.acting, encoded.poses), 0)
    needed = estimate_set_size(number, encoder.num_poses, encoded.latents["class"])
    found = estimate_orders(number, orbit)
    values = {
        "order_right_images": float((number == expected[orbit]).mean()),
        "order_right_objects": float(np.mean([each.order == expected[one] for one, each in found.items()])),
        "set_size": float(needed.size),
        "set_size_confidence": needed.confidence,
    }
    if 0 < len(held_out.class_names) <= max_named_classes:
        for one, each in found.items():
            values[f"order of {held_out.class_names[one]}"] = float(each.order)
            values[f"agreement on {held_out.class_names[one]}"] = each.agreement
    return values


def count_distinct_poses(group: Group, poses: Floats, same_distance: float = 0.25) -> NDArray[np.int64]:
    """Return the number of distinct poses in each set ``(n, N, dim)``, which estimates the symmetry order, ``(n,)``.

    Poses are the same if their squared distance is below ``same_distance``, or if a chain of such poses links them.

    Args:
        group: the group that acts.
        poses: sets of poses ``(n, N, dim)``.
        same_distance: squared distance. The default is an angle of 20° for rotations; the elements of common
            stabilizers are at least 72° apart in space, and encoded poses have errors of a few degrees.
    """
    distance = group.squared_distance(poses[:, :, None], poses[:, None])
    return np.array([connected_components(each < same_distance, directed=False)[0] for each in distance], int)


@dataclass(frozen=True)
class OrderEstimate:
    """The estimated symmetry order of a class.

    Attributes:
        order: most frequent number of distinct poses.
        agreement: share of the images with that number.
        images: number of images of the class.
    """

    order: int
    agreement: float
    images: int


def estimate_orders(number: NDArray[np.int64], label: NDArray[np.int64]) -> dict[int, OrderEstimate]:
    """Return the symmetry order of each class.

    Args:
        number: number of distinct poses of each image, ``(n,)``.
        label: class of each image, ``(n,)``.
    """
    result = {}
    for one in np.unique(label):
        values, counts = np.unique(number[label == one], return_counts=True)
        share = float(counts.max() / counts.sum())
        result[int(one)] = OrderEstimate(int(values[counts.argmax()]), share, int(counts.sum()))
    return result


@dataclass(frozen=True)
class SetSizeEstimate:
    """The size that a set of poses needs, estimated without ground truth.

    Attributes:
        size: largest symmetry order of a class.
        confidence: lower end of the 95 % Wilson interval of the share of images that agree about the order of their
            class, for the class with the lowest. Zero if no pose of the set was surplus, so that the size may be
            larger; if no class has enough images; or if the poses of a class are not reliable.
    """

    size: int
    confidence: float


def estimate_set_size(
    number: NDArray[np.int64], num_poses: int, classes: Floats, *, min_images: int = 10, same_class: float = 0.8
) -> SetSizeEstimate:
    """Estimate the size that a set of poses needs, from an encoder that was trained with surplus poses.

    Images are grouped by their encoded class (`first_of_class`), and those of a class vote for its order.

    Args:
        number: number of distinct poses of each image ``(n,)``; 0 where the pose is not reliable.
        num_poses: size of the sets.
        classes: encoded classes ``(n, k)``.
        min_images: images that a class needs to be counted.
        same_class: cosine of two classes above which they are the same.
    """
    labels = first_of_class(classes, same_class)
    found = [each for each in estimate_orders(number, labels).values() if each.images >= min_images]
    size = max((each.order for each in found), default=int(number.max()))
    known = size < num_poses and all(each.order > 0 for each in found)
    return SetSizeEstimate(size, min(map(_lower_agreement, found), default=0.0) if known else 0.0)


def _lower_agreement(found: OrderEstimate) -> float:
    """Return the lower end of the 95 % Wilson interval of the agreement."""
    agreeing = round(found.agreement * found.images)
    return float(binomtest(agreeing, found.images).proportion_ci(0.95, "wilson").low)
