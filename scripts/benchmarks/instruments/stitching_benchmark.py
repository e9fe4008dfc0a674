"""The benchmark ``stitching``: policies of one encoder on the latents of others, and heads of digit classifiers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
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
from ....envs.data.transitions import Transitions
from ....envs.worlds.soccer import Soccer
from ....envs.worlds.task_world import TaskWorld
from ....representations.analysis.stitching.alignments import AffineAlignment
from ....representations.analysis.stitching.anchors import draw_anchors, matched_frames
from ....representations.analysis.stitching.comparison import score_alignment, suiting_alignments
from ....representations.analysis.stitching.relative_maps import CosineRelative, RobustRelative
from ....representations.encoders.agent_object import AgentObjectConfig
from ....representations.encoders.class_pose import ClassPoseConfig
from ....representations.encoders.encoder import Encoder
from ....representations.learning.config import OptimConfig, scale_steps
from ....representations.learning.losses import ClassPoseLossConfig
from ....representations.learning.training import train_encoder
from ...experiments.records import Outcomes, Value
from .instrument import InstrumentRun, register_instrument
from .stitching_digits import DigitsConfig, measure_digits
from .stitching_worlds import ColouredPointers, Pointing, SideSoccer, collect_in, in_side_axes

Floats = NDArray[np.floating[Any]]
LearnPolicy = Callable[[Encoder], PolicyLike]
"""Return a policy trained on the latents of an encoder."""
Evaluate = Callable[[Encoder, PolicyLike], Outcomes]
"""Return whether each episode of a policy that sees the latents of an encoder is a success."""

RELATIVE = {"cosine": CosineRelative, "robust": RobustRelative}
METHODS = ("absolute", "cosine", "robust", "procrustes", "linear", "isometric")
AGREEMENT_STATES = 2000
"""Largest number of states on which encoders are compared."""


def _without_curve(steps: int) -> SACConfig:
    """Return hyper-parameters of a training without a learning curve."""
    return SACConfig(steps=steps, evaluate_every=steps + 1, evaluation_episodes=1)


@dataclass(frozen=True)
class StitchingConfig:
    """Set the size of the benchmark; the defaults are those of the full one.

    Attributes:
        transitions: transitions that an encoder learns from.
        encoder_share: share of the default numbers of updates of the agent–object encoder.
        pointer_transitions: transitions that a class–pose encoder learns from.
        pointer_steps: updates of the class–pose encoder.
        pointer_loss: its loss. In so few updates, the default alignment gives two colours the same class with one seed
            of eight.
        backbone: second image network; the first is ``"spatial_softmax"``.
        anchors: number of anchors.
        episodes: episodes in each cell of the table.
        soccer: hyper-parameters of the policies in Soccer.
        pointing: hyper-parameters of the policies that point.
        digits: the experiment with digits.
    """

    transitions: int = 12_000
    encoder_share: float = 1.0
    pointer_transitions: int = 8000
    pointer_steps: int = 4000
    pointer_loss: ClassPoseLossConfig = field(default_factory=lambda: ClassPoseLossConfig(alignment=(0.7, 1.15)))
    backbone: str = "wide_spatial_softmax"
    anchors: int = 64
    episodes: int = 200
    soccer: SACConfig = field(default_factory=lambda: _without_curve(20_000))
    pointing: SACConfig = field(default_factory=lambda: _without_curve(3000))
    digits: DigitsConfig = field(default_factory=DigitsConfig)


QUICK = StitchingConfig(
    transitions=8000,
    encoder_share=0.6,
    pointer_transitions=4000,
    pointer_steps=1200,
    episodes=50,
    digits=DigitsConfig(activations=("ReLU", "Tanh"), steps=200),
)
"""Size of the quick benchmark."""


@register_instrument("stitching")
def run_stitching(run: InstrumentRun) -> dict[str, Value]:
    """Measure the success of policies of encoder A on encoders B, and the accuracy of heads on other networks."""
    config = QUICK if run.quick else StitchingConfig()
    figures = {**measure_soccer(config, run.seed), **measure_pointers(config, run.seed)}
    if run.draws:
        draw_success(figures, run.figure("success"))
    return {**figures, **measure_digits(config.digits, run.seed)}


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


def measure_soccer(config: StitchingConfig, seed: int) -> dict[str, Value]:
    """Return outcomes in Soccer by ``"row: method"``: encoders of another seed, backbone, camera and unit."""
    front, side = collect_in(Soccer, config.transitions, seed), collect_in(SideSoccer, config.transitions, seed)
    learn = partial(_agent_object, config, seed)
    one, other = learn(front, "A"), learn(front, "B")
    from_side = learn(in_side_axes(side), "side")
    seen_front, seen_side = matched_frames(front, side)
    at_front, at_side = front.frames[seen_front], side.frames[seen_side]
    anchors = draw_anchors(len(seen_front), config.anchors, seed)
    test = PolicyTest.train(one, at_front, anchors, partial(train_policy, Soccer, config.soccer, seed))
    play, play_at_side = (partial(_play, world_cls, config.episodes, seed) for world_cls in (Soccer, SideSoccer))
    rows = {
        "soccer, encoder A itself": test.own(play),
        "soccer, other seed": test.stitched(other, at_front, play),
        "soccer, other units": test.stitched(_in_other_units(other), at_front, play),
        "soccer, other camera and axes": test.stitched(from_side, at_side, play_at_side),
        "soccer, other backbone": test.stitched(learn(front, "backbone", config.backbone), at_front, play),
    }
    return _flat(rows)


def measure_pointers(config: StitchingConfig, seed: int) -> dict[str, Value]:
    """Return outcomes in pointing with class–pose encoders of another seed, by ``"row: method"``."""
    data = collect_in(ColouredPointers, config.pointer_transitions, seed)
    learning = ClassPoseConfig(
        backbone="strided", class_dim=4, loss=config.pointer_loss, optim=OptimConfig(steps=config.pointer_steps)
    )
    one, other = (train_encoder(data, learning, seed=encoder_seed(seed, each), device="cpu") for each in ("A", "B"))
    anchors = draw_anchors(len(data.frames), config.anchors, seed)
    test = PolicyTest.train(one, data.frames, anchors, partial(train_policy, Pointing, config.pointing, seed))
    point = partial(_play, Pointing, config.episodes, seed)
    rows = {
        "class-pose, encoder A itself": test.own(point),
        "class-pose, other seed": test.stitched(other, data.frames, point),
    }
    return _flat(rows)


def _relative_encoders(encoder: Encoder, anchor_frames: NDArray[np.uint8]) -> dict[str, Encoder]:
    return {name: RelativeEncoder(encoder, anchor_frames, each) for name, each in RELATIVE.items()}


def encoder_seed(seed: int, encoder: str) -> int:
    """Return the seed of an encoder, which no other seed of the benchmark uses."""
    return stream_seed(seed, f"encoder {encoder}") % 2**31


def _agent_object(
    config: StitchingConfig, seed: int, transitions: Transitions, name: str, backbone: str = "spatial_softmax"
) -> Encoder:
    learning = scale_steps(replace(AgentObjectConfig(), backbone=backbone), config.encoder_share)
    return train_encoder(transitions, learning, seed=encoder_seed(seed, name), device="cpu")


def _in_other_units(encoder: Encoder) -> Encoder:
    """Return an encoder as learned from displacements ``(−y, x)`` in decimetres and metres, from another origin."""
    axes = np.array([[0.0, 1.0], [-10.0, 0.0]])
    return StitchedEncoder(encoder, AffineAlignment(np.kron(np.eye(2), axes), np.tile([3.0, -1.0], 2)))


def _play(world_cls: type[TaskWorld], episodes: int, seed: int, encoder: Encoder, policy: PolicyLike) -> Outcomes:
    """Return whether each episode is a success."""
    world = world_cls(episodes, device="cpu")
    try:
        return evaluate_policy(world, observe_latents(encoder), policy, seed=seed).outcomes
    finally:
        world.close()


def _flat(rows: Mapping[str, Mapping[str, Value]]) -> dict[str, Value]:
    return {f"{row}: {column}": value for row, columns in rows.items() for column, value in columns.items()}


def draw_success(figures: Mapping[str, Value], file: Any) -> None:
    """Write a bar chart of the success of each method on each encoder.

    Args:
        figures: outcomes by ``"row: method"``.
        file: PNG file.
    """
    from matplotlib import colormaps

    from ...reports.figure_registry import save_figure

    rows = list(dict.fromkeys(label.split(": ")[0] for label in figures))
    success = {label: np.mean(each) for label, each in figures.items() if isinstance(each, tuple)}

    def draw(figure: Any) -> None:
        axis = figure.subplots()
        for index, method in enumerate(METHODS):
            values = [success.get(f"{row}: {method}", np.nan) for row in rows]
            places = np.arange(len(rows)) + (index - 2.5) / 7
            axis.bar(places, values, 1 / 7, label=method, color=colormaps["tab10"](index))
        names = [row.replace(", ", "\n").replace("other camera and", "other camera\nand") for row in rows]
        axis.set_xticks(range(len(rows)), names, fontsize=8)
        axis.set(ylim=(0, 1.02), ylabel="success")
        axis.legend(ncols=6, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)

    save_figure(file, draw, (9, 3.4), dpi=110)
