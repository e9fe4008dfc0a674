"""Test policies of one encoder on the latents of others, for the benchmarks of stitching."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3 import SAC

from ....agents.evaluation.rollouts import evaluate_policy
from ....agents.policies.sac import SACConfig, train_sac
from ....agents.policies.sb3_vec_env import observe_latents
from ....agents.policies.stitched_encoder import RelativeEncoder, StitchedEncoder
from ....envs.data.policy import PolicyLike
from ....envs.data.seeds import stream_seed
from ....envs.worlds.task_world import TaskWorld
from ....representations.analysis.stitching.alignments import AffineAlignment
from ....representations.analysis.stitching.comparison import score_alignment, suiting_alignments
from ....representations.analysis.stitching.relative_maps import CosineRelative, RobustRelative
from ....representations.encoders.encoder import Encoder
from ...experiments.records import Outcomes, Value

Floats = NDArray[np.floating[Any]]
LearnPolicy = Callable[[Encoder], PolicyLike]
"""Return a policy trained on the latents of an encoder."""
Evaluate = Callable[[Encoder, PolicyLike], Outcomes]
"""Return whether each episode of a policy that sees the latents of an encoder is a success."""

RELATIVE = {"cosine": CosineRelative, "robust": RobustRelative}
AGREEMENT_STATES = 2000
"""Largest number of states on which encoders are compared."""


def without_curve(steps: int) -> SACConfig:
    """Return hyper-parameters of a training without a learning curve."""
    return SACConfig(steps=steps, evaluate_every=steps + 1, evaluation_episodes=1)


@dataclass(frozen=True)
class PolicyTest:
    """Policies of encoder A, and what is needed to run them on another encoder.

    A policy sees coordinates that were standardised: minus their mean, divided by their deviation, over the anchors as
    encoder A sees them.

    Attributes:
        encoder: encoder A.
        policies: the policies by what they see: ``"absolute"``, ``"cosine"`` and ``"robust"`` coordinates.
        scales: the standardisations of these coordinates.
        frames: frames of states, as A sees them, ``(n, H, W, C)``.
        anchors: indices of the anchors among these states, ``(k,)``.
    """

    encoder: Encoder
    policies: Mapping[str, PolicyLike]
    scales: Mapping[str, AffineAlignment]
    frames: NDArray[np.uint8]
    anchors: NDArray[np.int64]

    @classmethod
    def train(
        cls, encoder: Encoder, frames: NDArray[np.uint8], anchors: NDArray[np.int64], learn: LearnPolicy
    ) -> PolicyTest:
        """Train policies on absolute and on relative coordinates.

        Args:
            encoder: encoder A.
            frames: frames of states, ``(n, H, W, C)``.
            anchors: indices of the anchors among them, ``(k,)``.
            learn: trains a policy.
        """
        seen = {"absolute": encoder, **_relative_encoders(encoder, frames[anchors])}
        scales = {name: standardisation(each.encode_flat(frames[anchors])) for name, each in seen.items()}
        policies = {name: learn(StitchedEncoder(each, scales[name])) for name, each in seen.items()}
        return cls(encoder, policies, scales, frames, anchors)

    def success(self, seen: str, encoder: Encoder, evaluate: Evaluate) -> Outcomes:
        """Return the outcomes of a policy on the coordinates of an encoder.

        Args:
            seen: what the policy sees: ``"absolute"``, ``"cosine"`` or ``"robust"``.
            encoder: its latents are these coordinates.
            evaluate: returns the outcomes of episodes.
        """
        return evaluate(StitchedEncoder(encoder, self.scales[seen]), self.policies[seen])

    def own(self, evaluate: Evaluate) -> dict[str, Value]:
        """Return the outcomes on encoder A itself, by what the policy sees."""
        encoders = {"absolute": self.encoder, **_relative_encoders(self.encoder, self.frames[self.anchors])}
        return {name: self.success(name, each, evaluate) for name, each in encoders.items()}

    def stitched(self, other: Encoder, frames: NDArray[np.uint8], evaluate: Evaluate) -> dict[str, Value]:
        """Return the outcomes on encoder B by method, and the agreement of the encoders.

        The ``"agreement"`` is R² of a linear alignment on states that are no anchors. It is low if one of the encoders
        was trained badly, which no stitching repairs.

        Args:
            other: encoder B.
            frames: frames of the states, as B sees them, ``(n, H, W, C)``.
            evaluate: returns the outcomes of episodes.
        """
        anchors, rest = self.anchors, np.setdiff1d(np.arange(len(frames)), self.anchors)[:AGREEMENT_STATES]
        pair = other.encode_flat(frames[anchors]), self.encoder.encode_flat(self.frames[anchors])
        fitted = {name: fit(*pair) for name, fit in suiting_alignments(self.encoder).items()}
        measured = other.encode_flat(frames[rest]), self.encoder.encode_flat(self.frames[rest])
        success: dict[str, Value] = {"agreement": score_alignment(fitted["linear"], *measured).r2}
        for name, alignment in fitted.items():
            column = "isometric" if name == "class-pose" else name
            success[column] = self.success("absolute", StitchedEncoder(other, alignment), evaluate)
        relative = _relative_encoders(other, frames[anchors])
        return {**success, **{name: self.success(name, each, evaluate) for name, each in relative.items()}}


def standardisation(coordinates: Floats) -> AffineAlignment:
    """Return the map ``z ↦ (z − μ) / σ`` with mean and deviation of coordinates ``(n, dim)``.

    A coordinate that is constant is not divided.
    """
    spread = coordinates.std(0)
    scale = 1 / np.where(spread > 1e-6, spread, 1.0)
    return AffineAlignment(np.diag(scale), -coordinates.mean(0) * scale)


def train_policy(world_cls: type[TaskWorld], config: SACConfig, seed: int, encoder: Encoder) -> SAC:
    """Train soft actor-critic of Stable-Baselines3 on the latents of an encoder, by the rewards of a world."""
    return train_sac(lambda count: world_cls(count, device="cpu"), observe_latents(encoder), config, seed=seed)[0]


def _relative_encoders(encoder: Encoder, anchor_frames: NDArray[np.uint8]) -> dict[str, Encoder]:
    return {name: RelativeEncoder(encoder, anchor_frames, each) for name, each in RELATIVE.items()}


def encoder_seed(seed: int, encoder: str) -> int:
    """Return the seed of an encoder, which no other seed of the benchmark uses."""
    return stream_seed(seed, f"encoder {encoder}") % 2**31


def play(world_cls: type[TaskWorld], episodes: int, seed: int, encoder: Encoder, policy: PolicyLike) -> Outcomes:
    """Return whether each episode is a success."""
    world = world_cls(episodes, device="cpu")
    try:
        return evaluate_policy(world, observe_latents(encoder), policy, seed=seed).outcomes
    finally:
        world.close()


def by_label(rows: Mapping[str, Mapping[str, Value]]) -> dict[str, Value]:
    """Return values by ``"row: column"`` of values by row and column."""
    return {f"{row}: {column}": value for row, columns in rows.items() for column, value in columns.items()}
