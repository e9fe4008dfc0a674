"""Metrics of encoders on held-out data, by name.

A metric is a function ``metric(encoder, held_out)`` that returns values by name, or none where it does not apply.
Adding one is a file in this package, or in a plugin, with the decorator::

    @register_metric("class-norm")
    def class_norm(encoder: Encoder, held_out: HeldOut) -> dict[str, float]:
        encoded = held_out.encode(encoder)
        return {} if encoded is None else {"class_norm": float(np.linalg.norm(encoded.latents["class"], axis=1).mean())}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.data.transitions import Transitions
from ...envs.named_registry import Registry
from ..encoders.class_pose_base import ClassPoseBase
from ..encoders.encoder import Encoder

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class HeldOut:
    """Data that an encoder was not trained on, with the ground truth that metrics compare latents with.

    Attributes:
        transitions: frames and displacements. The metrics of poses need the ground truth ``agent_pose`` and ``orbit``.
        stabilizers: stabilizer of each class, ``(order, dim)``; empty if they are not known.
        class_names: name of each class, for metrics of single classes; empty to leave these out.
        max_frames: number of frames on which classes and poses are measured, drawn at random.
        seed: seed of the frames.
    """

    transitions: Transitions
    stabilizers: Sequence[Floats] = ()
    class_names: Sequence[str] = ()
    max_frames: int = 1000
    seed: int = 0
    _encoded: dict[ClassPoseBase, EncodedSample] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def sample(self) -> NDArray[np.int64]:
        """Indices of the frames on which classes and poses are measured."""
        count = len(self.transitions.frames)
        return np.random.default_rng(self.seed).choice(count, min(self.max_frames, count), replace=False)

    @property
    def has_ground_truth(self) -> bool:
        """Return whether the ground truth of poses, classes and stabilizers is known."""
        return bool(self.stabilizers) and {"agent_pose", "orbit"} <= set(self.transitions.ground_truth)

    @property
    def pose(self) -> Floats:
        """Ground-truth poses of the sample, ``(n, dim)``."""
        return self.transitions.ground_truth["agent_pose"][self.sample]

    @property
    def orbit(self) -> NDArray[np.int64]:
        """Ground-truth classes of the sample, ``(n,)``."""
        orbit: NDArray[np.int64] = self.transitions.ground_truth["orbit"][self.sample, 0].astype(int)
        return orbit

    def encode(self, encoder: Any) -> EncodedSample | None:
        """Return latents and poses of the sample, computed once for each encoder: reading poses from harmonics is slow.

        Returns:
            The latents and poses; None unless the encoder has a class and a pose, and their ground truth is known.
        """
        if not isinstance(encoder, ClassPoseBase) or not self.has_ground_truth:
            return None
        if encoder not in self._encoded:
            latents = encoder.encode(self.transitions.frames[self.sample])
            poses = encoder.poses(latents)
            self._encoded[encoder] = EncodedSample(latents, poses, encoder.pose_is_reliable(latents, poses))
        return self._encoded[encoder]


@dataclass(frozen=True)
class EncodedSample:
    """Latents and poses of the sample of held-out frames.

    Attributes:
        latents: latents ``(n, ...)`` by name.
        poses: sets of equivalent poses ``(n, num_poses, dim)``.
        pose_is_reliable: whether the pose of each image can be read from its latents, ``(n,)``.
    """

    latents: dict[str, Floats]
    poses: Floats
    pose_is_reliable: NDArray[np.bool_]


Metric = Callable[[Any, HeldOut], dict[str, float]]
METRICS: Registry[Metric] = Registry("metric", "equiact.representations.metrics")
"""Functions that measure an encoder on held-out data, by name."""

register_metric = METRICS.register

GROUND_TRUTH_FREE_METRICS: Registry[Metric] = Registry("metric without ground truth", "equiact.representations.metrics")
"""Functions that measure an encoder on data without ground truth, such as those of a user, by name.

They are not among `METRICS`, which the benchmarks compute.
"""

register_ground_truth_free_metric = GROUND_TRUTH_FREE_METRICS.register


def evaluate_metrics(
    encoder: Encoder,
    held_out: HeldOut,
    names: Sequence[str] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, float]:
    """Return the values of metrics on held-out data.

    Args:
        encoder: the encoder.
        held_out: the data.
        names: names of the metrics; all registered ones by default. A metric that does not apply returns no values.
        progress: called after each metric with the number of metrics that are done, and of all.

    Returns:
        Values by name, such as ``hit_rate_1``.

    Raises:
        ValueError: the data have another group or image shape than the encoder, or too few trajectories.
        RegistryError: a name is unknown.
    """
    return _evaluate(METRICS, encoder, held_out, names, progress)


def evaluate_without_ground_truth(
    encoder: Encoder,
    held_out: HeldOut,
    names: Sequence[str] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, float]:
    """Return the values of metrics that need frames and displacements only (`GROUND_TRUTH_FREE_METRICS`).

    Args:
        encoder: the encoder.
        held_out: the data; their ground truth is not read.
        names: names of the metrics; all registered ones by default. A metric that does not apply returns no values.
        progress: called after each metric with the number of metrics that are done, and of all.

    Raises:
        ValueError: the data have another group or image shape than the encoder.
        RegistryError: a name is unknown.
    """
    blind = replace(held_out, transitions=replace(held_out.transitions, ground_truth={}, touched=None))
    return _evaluate(GROUND_TRUTH_FREE_METRICS, encoder, blind, names, progress)


def _evaluate(
    metrics: Registry[Metric],
    encoder: Encoder,
    held_out: HeldOut,
    names: Sequence[str] | None,
    progress: Callable[[int, int], None],
) -> dict[str, float]:
    encoder.require_fitting(held_out.transitions)
    chosen = metrics.names() if names is None else names
    fresh, values = replace(held_out), dict[str, float]()  # without latents of this encoder from before its training
    for done, name in enumerate(chosen, 1):
        values |= metrics.get(name)(encoder, fresh)
        progress(done, len(chosen))
    return values
