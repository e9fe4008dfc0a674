"""How well latents follow the group, on data that an encoder was not trained on.

The hit-rate, and what it is compared with, are those of Marchetti et al., AISTATS 2023 (arXiv:2207.03116); sets of
poses and ``D_LSBD`` follow Pérez Rey et al., ECML 2023 (arXiv:2301.05231).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.sparse.csgraph import connected_components
from scipy.stats import binomtest

from envs.groups import Group
from envs.transitions import Transitions, onward
from representations.acted import ActedEncoder, first_of_class
from representations.encoder import as_tensor

Floats = NDArray[np.floating[Any]]

BATCH = 32
"""Items among which the right one is to be found, as published; a smaller batch would make it easier."""
SAME = 0.25
"""Squared distance below which two poses are the same: in rotations an angle of 20°, where the least between different
elements of the stabilizers that occur is 72° and a network errs by a few degrees."""
VOTERS = 10
"""Images of a class that it takes to say what the order of its stabilizer is."""


@dataclass(frozen=True)
class Walks:
    """Frames, and what acted between them.

    Attributes:
        start: ``(W, H, W, C)`` uint8, where walks start.
        end: ``(W, H, W, C)`` uint8, where they lead.
        displacement: ``(W, steps, dim)`` float32, group elements one after another.
    """

    start: NDArray[np.uint8]
    end: NDArray[np.uint8]
    displacement: NDArray[np.float32]


def walks(transitions: Transitions, steps: int, batches: int = 10, seed: int = 0) -> Walks:
    """Random walks of so many steps among the episodes, in whole batches of `BATCH`.

    No two end in the same image, as those of a robot that is blocked would: no encoder tells which of them is whose.

    Raises:
        ValueError: there are fewer of them than one batch.
    """
    follower = onward(transitions)
    along = np.arange(len(transitions))[:, None]
    for _ in range(steps - 1):
        after = follower[along[:, -1]]
        along = np.concatenate([along, after[:, None]], 1)[after >= 0]
    along = np.random.default_rng(seed).permutation(along)
    images = (transitions.frames[transitions.end[walk[-1]]] for walk in along)
    along = along[list({sha256(image).digest(): row for row, image in enumerate(images)}.values())]
    if len(along) < BATCH:
        raise ValueError(
            f"{BATCH} walks of {steps} steps to different images are needed, the transitions hold {len(along)}; "
            "collect more, or where more can be seen"
        )
    along = along[: min(batches, len(along) // BATCH) * BATCH]
    return Walks(
        transitions.frames[transitions.start[along[:, 0]]],
        transitions.frames[transitions.end[along[:, -1]]],
        transitions.displacement[along],
    )


def hit_rate(encoder: ActedEncoder, some: Walks) -> float:
    """How often, among 32 items, what the latent foretells of a walk's end is nearest to the latent of that end.

    The actions act on the latent of the first frame one after another.

    Raises:
        ValueError: the last batch is not full, which would make it easier.
    """
    if len(some.start) == 0 or len(some.start) % BATCH:
        raise ValueError(f"whole batches of {BATCH} walks were expected, got {len(some.start)} walks")
    hits = []
    for begin in range(0, len(some.start), BATCH):
        part = slice(begin, begin + BATCH)
        with torch.no_grad():
            foretold, seen = (encoder.encode(as_tensor(frames[part])) for frames in (some.start, some.end))
            for step in as_tensor(some.displacement[part]).unbind(1):
                foretold = encoder.act(step.to(next(encoder.parameters()).device), foretold)
            nearest = encoder.gap(foretold, seen).argmin(1).cpu()
        hits.append((nearest == torch.arange(BATCH)).float().mean().item())
    return float(np.mean(hits))


def distinct(group: Group, poses: Floats) -> NDArray[np.int64]:
    """How many elements of each set ``(n, N, dim)`` are distinct, ``(n,)``: the estimated order of the stabilizer.

    Elements nearer than `SAME` are the same, and so are those that are linked by such.
    """
    gap = group.squared_distance(poses[:, :, None], poses[:, None])
    return np.array([connected_components(each < SAME, directed=False)[0] for each in gap], int)


@dataclass(frozen=True)
class Order:
    """The estimated order of a stabilizer, and the share of images that it was found in.

    Attributes:
        order: the most frequent number of distinct elements.
        agreement: share of the images with that number.
        images: how many there were.
    """

    order: int
    agreement: float
    images: int


def orders(number: NDArray[np.int64], label: NDArray[np.int64]) -> dict[int, Order]:
    """The order of each class's stabilizer, from how many poses are `distinct` ``(n,)`` and labels ``(n,)``."""
    result = {}
    for one in np.unique(label):
        values, counts = np.unique(number[label == one], return_counts=True)
        result[int(one)] = Order(int(values[counts.argmax()]), float(counts.max() / counts.sum()), int(counts.sum()))
    return result


@dataclass(frozen=True)
class SetSize:
    """How large a set of poses must be, from data alone.

    Attributes:
        size: the order of the class that has the largest.
        sure: lower end of the 95 % Wilson interval of the share of images that agree about the order of their class, in
            the class where they agree least; zero where no element of the set was to spare, so that the size may be
            larger, where no class has enough images, and where those of one do not tell their poses.
    """

    size: int
    sure: float


def set_size(number: NDArray[np.int64], elements: int, classes: Floats) -> SetSize:
    """The size that a set of poses needs, from sets that were trained with elements to spare: surplus ones collapse.

    Images whose classes are the same vote for the order of their class (`orders`), if they are `VOTERS` or more.

    Args:
        number: ``(n,)``, how many poses of each image are `distinct`; 0 where it does not tell its pose.
        elements: ``N``, how many there are.
        classes: ``(n, k)``, the invariant part of the latents.
    """
    found = [each for each in orders(number, first_of_class(classes)).values() if each.images >= VOTERS]
    size = max((each.order for each in found), default=int(number.max()))
    known = size < elements and all(each.order > 0 for each in found)
    return SetSize(size, min(map(_agreement_at_least, found), default=0.0) if known else 0.0)


def _agreement_at_least(found: Order) -> float:
    agreeing = round(found.agreement * found.images)
    return float(binomtest(agreeing, found.images).proportion_ci(0.95, "wilson").low)


def free_factor(group: Group, poses: Floats, true: Floats, stabilizer: Floats) -> Floats:
    """The right factor ``c`` that the theory leaves free for a class: ``φ_i(x) ≈ h·s·c`` for a true pose ``h``.

    It is chosen among the residuals ``h⁻¹·φ_i(x)`` of up to 32 images, the one that errs least.

    Args:
        group: that acts.
        poses: ``(n, N, dim)`` estimated, all of one class.
        true: ``(n, dim)``.
        stabilizer: of the class, ``(order, dim)``.

    Returns:
        ``c``, ``(dim,)``.
    """
    residual = group.compose(group.inverse(true)[:, None], poses)
    flat, candidates = residual.reshape(-1, group.dim), residual[:32, 0]

    def error(candidate: Floats) -> float:
        images = group.compose(stabilizer, candidate[None])
        return float(group.squared_distance(flat[:, None], images[None]).min(1).mean())

    return np.asarray(min(candidates, key=error))


def pose_error(
    group: Group, poses: Floats, true: Floats, orbit: NDArray[np.int64], stabilizers: Sequence[Floats]
) -> float:
    """Root mean squared distance of poses from the true cosets, up to one right factor for each class (`free_factor`).

    Elements of a coset that no pose is near cost nothing: how many there are is what `orders` tells.

    Args:
        group: that acts.
        poses: ``(n, N, dim)`` estimated.
        true: ``(n, dim)``.
        orbit: ``(n,)`` classes.
        stabilizers: of each class, ``(order, dim)``.
    """
    squared = []
    for one in np.unique(orbit):
        rows = orbit == one
        factor = free_factor(group, poses[rows], true[rows], stabilizers[one])
        coset = group.compose(true[rows][:, None], group.compose(stabilizers[one], factor[None])[None])
        gap = group.squared_distance(poses[rows][:, :, None], coset[:, None])
        squared.append(gap.min(2).ravel())
    return float(np.sqrt(np.concatenate(squared).mean()))


def lsbd(
    poses: Floats, true: Floats, orbit: NDArray[np.int64], stabilizer_orders: Sequence[int], group: Group
) -> float:
    """``D_LSBD``: every set of poses is turned back by the true pose; then it should be the same for all images.

    Mean squared distance of what is turned back to its cluster's centre, one cluster for each element of the stabilizer
    or of the set, whichever are fewer; the centres are group elements. For the circle and tori.
    """
    squared = []
    for one in np.unique(orbit):
        rows = orbit == one
        residual = group.compose(group.inverse(true[rows])[:, None], poses[rows]).reshape(-1, group.dim)
        count = min(stabilizer_orders[one], poses.shape[1])
        centres = group.project(clusters(residual, count))
        squared.append(group.squared_distance(residual[:, None], centres[None]).min(1))
    return float(np.concatenate(squared).mean())


def clusters(points: Floats, count: int, tries: int = 8) -> Floats:
    """Centres ``(count, k)`` of points ``(n, k)``: of several runs of k-means, those that the points are nearest to."""
    found = [kmeans2(points, count, minit="++", rng=start, iter=50)[0] for start in range(tries)]
    return min(found, key=lambda centres: float(nearest(points, centres)[1].mean()))


def nearest(points: Floats, centres: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Which of the centres ``(count, k)`` is nearest to each point ``(n, k)``, and its distance; both ``(n,)``."""
    gap = np.linalg.norm(points[:, None] - centres[None], axis=2)
    return gap.argmin(1), gap.min(1)


def orbit_separation(classes: Floats, orbit: NDArray[np.int64]) -> float:
    """How often the nearest class mean is the right one: means of the first half of the images, rate in the second."""
    half = len(classes) // 2
    known = np.unique(orbit[:half])
    means = np.stack([classes[:half][orbit[:half] == one].mean(0) for one in known])
    return float((known[nearest(classes[half:], means)[0]] == orbit[half:]).mean())
