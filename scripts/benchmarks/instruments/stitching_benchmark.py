"""The benchmark ``stitching``: policies of one encoder on the latents of others, and heads of digit classifiers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....agents.evaluation.rollouts import evaluate_policy
from ....agents.policies.sb3_vec_env import observe_latents
from ....agents.policies.stitched_encoder import RelativeEncoder, StitchedEncoder
from ....envs.data.transitions import Transitions
from ....envs.worlds.soccer import Soccer
from ....representations.analysis.stitching.alignments import AffineAlignment
from ....representations.analysis.stitching.anchors import draw_anchors, matched_frames
from ....representations.analysis.stitching.comparison import score_alignment, suiting_alignments
from ....representations.analysis.stitching.relative_maps import CosineRelative, RobustRelative
from ....representations.encoders.agent_object import AgentObjectConfig
from ....representations.encoders.class_pose import ClassPoseConfig
from ....representations.encoders.encoder import Encoder
from ....representations.learning.config import OptimConfig, scale_steps
from ....representations.learning.training import train_encoder
from .instrument import InstrumentRun, register_instrument
from .stitching_digits import DigitsConfig, measure_digits
from .stitching_worlds import (
    CloningConfig,
    ColouredPointers,
    Evaluate,
    Floats,
    SideSoccer,
    clone_policy,
    collect_in,
    in_side_axes,
    pointer_lessons,
    pointing_success,
    soccer_lessons,
)

RELATIVE = {"cosine": CosineRelative, "robust": RobustRelative}
METHODS = ("absolute", "cosine", "robust", "procrustes", "linear", "isometric")
EVALUATION_SEED = 1_000_000
AGREEMENT_STATES = 2000
"""Largest number of states on which encoders are compared."""


@dataclass(frozen=True)
class StitchingConfig:
    """Set the size of the benchmark; the defaults are those of the full one.

    Attributes:
        transitions: transitions that an encoder learns from.
        encoder_share: share of the default numbers of updates of the agent–object encoder.
        pointer_transitions: transitions that a class–pose encoder learns from.
        pointer_steps: updates of the class–pose encoder.
        backbone: second image network; the first is ``"spatial_softmax"``. Empty to leave the row out.
        demonstrations: episodes of the expert that a policy is cloned from.
        anchors: number of anchors.
        episodes: episodes in each cell of the table.
        cloning: hyper-parameters of the policies.
        digits: the experiment with digits.
    """

    transitions: int = 12_000
    encoder_share: float = 1.0
    pointer_transitions: int = 6000
    pointer_steps: int = 2000
    backbone: str = "strided"
    demonstrations: int = 400
    anchors: int = 64
    episodes: int = 200
    cloning: CloningConfig = field(default_factory=CloningConfig)
    digits: DigitsConfig = field(default_factory=DigitsConfig)


QUICK = StitchingConfig(
    pointer_transitions=2000,
    pointer_steps=400,
    backbone="",
    demonstrations=200,
    episodes=50,
    cloning=CloningConfig(steps=2000),
    digits=DigitsConfig(activations=("ReLU", "Tanh"), steps=200),
)
"""Size of the quick benchmark."""


@register_instrument("stitching")
def run_stitching(run: InstrumentRun) -> dict[str, float | str]:
    """Measure the success of policies of encoder A on encoders B, and the accuracy of heads on other networks."""
    config = QUICK if run.quick else StitchingConfig()
    figures = {**measure_soccer(config, run.seed), **measure_pointers(config, run.seed)}
    if run.draws:
        draw_success(figures, run.figure("success"))
    return {**figures, **measure_digits(config.digits, run.seed)}


@dataclass(frozen=True)
class PolicyTest:
    """Policies of encoder A, and what is needed to run them on another encoder.

    Attributes:
        encoder: encoder A.
        policies: the policies by what they see: ``"absolute"``, ``"cosine"`` and ``"robust"`` coordinates.
        frames: frames of states, as A sees them, ``(n, H, W, C)``.
        anchors: indices of the anchors among these states, ``(k,)``.
    """

    encoder: Encoder
    policies: Mapping[str, Any]
    frames: NDArray[np.uint8]
    anchors: NDArray[np.int64]

    @classmethod
    def train(
        cls,
        encoder: Encoder,
        states: tuple[NDArray[np.uint8], NDArray[np.int64]],
        lessons: tuple[NDArray[np.uint8], Floats],
        **options: Any,
    ) -> PolicyTest:
        """Clone an expert on absolute and on relative coordinates.

        Args:
            encoder: encoder A.
            states: frames of states, and the indices of the anchors among them.
            lessons: frames, and the actions of the expert in [-1, 1].
            **options: those of `clone_policy`.
        """
        seen = {"absolute": encoder, **_relative_encoders(encoder, states[0][states[1]])}
        policies = {
            name: clone_policy(each.encode_flat(lessons[0]), lessons[1], **options) for name, each in seen.items()
        }
        return cls(encoder, policies, *states)

    def own(self, evaluate: Evaluate) -> dict[str, float]:
        """Return the success on encoder A itself, by what the policy sees."""
        see = {"absolute": self.encoder, **_relative_encoders(self.encoder, self.frames[self.anchors])}
        return {name: evaluate(each, self.policies[name]) for name, each in see.items()}

    def stitched(self, other: Encoder, frames: NDArray[np.uint8], evaluate: Evaluate) -> dict[str, float]:
        """Return the success on encoder B by method, and the agreement of the encoders.

        The ``"agreement"`` is R² of a linear alignment on states that are no anchors. It is low if one of the encoders
        was trained badly, which no stitching repairs.

        Args:
            other: encoder B.
            frames: frames of the states, as B sees them, ``(n, H, W, C)``.
            evaluate: returns the success.
        """
        anchors, rest = self.anchors, np.setdiff1d(np.arange(len(frames)), self.anchors)[:AGREEMENT_STATES]
        pair = other.encode_flat(frames[anchors]), self.encoder.encode_flat(self.frames[anchors])
        fitted = {name: fit(*pair) for name, fit in suiting_alignments(self.encoder).items()}
        measured = other.encode_flat(frames[rest]), self.encoder.encode_flat(self.frames[rest])
        success = {"agreement": score_alignment(fitted["linear"], *measured).r2}
        for name, alignment in fitted.items():
            column = "isometric" if name == "class-pose" else name
            success[column] = evaluate(StitchedEncoder(other, alignment), self.policies["absolute"])
        relative = _relative_encoders(other, frames[anchors])
        return {**success, **{name: evaluate(each, self.policies[name]) for name, each in relative.items()}}


def measure_soccer(config: StitchingConfig, seed: int) -> dict[str, float]:
    """Return success in Soccer by ``"row: method"``: encoders of another seed, backbone, camera and unit."""
    front, side = collect_in(Soccer, config.transitions, seed), collect_in(SideSoccer, config.transitions, seed)
    learn = partial(_agent_object, config)
    one, other = learn(front, seed), learn(front, seed + 1)
    from_side = learn(in_side_axes(side), seed + 2)
    seen_front, seen_side = matched_frames(front, side)
    at_front, at_side = front.frames[seen_front], side.frames[seen_side]
    states = at_front, draw_anchors(len(seen_front), config.anchors, seed)
    lessons = soccer_lessons(front, config.demonstrations, seed)
    options = {"bound": Soccer.max_displacement, "seed": seed, "config": config.cloning}
    test = PolicyTest.train(one, states, lessons, **options)
    play, play_at_side = partial(_goals, Soccer, config, seed), partial(_goals, SideSoccer, config, seed)
    rows = {
        "soccer, encoder A itself": test.own(play),
        "soccer, other seed": test.stitched(other, at_front, play),
        "soccer, other units": test.stitched(_in_other_units(other), at_front, play),
        "soccer, other camera and axes": test.stitched(from_side, at_side, play_at_side),
    }
    if config.backbone:
        rows["soccer, other backbone"] = test.stitched(learn(front, seed + 3, config.backbone), at_front, play)
    return _flat(rows)


def measure_pointers(config: StitchingConfig, seed: int) -> dict[str, float]:
    """Return success in pointing with class–pose encoders of another seed, by ``"row: method"``."""
    data = collect_in(ColouredPointers, config.pointer_transitions, seed)
    learning = ClassPoseConfig(backbone="strided", class_dim=4, optim=OptimConfig(steps=config.pointer_steps))
    one, other = (train_encoder(data, learning, seed=seed + index, device="cpu") for index in range(2))
    states = data.frames, draw_anchors(len(data.frames), config.anchors, seed)
    options = {"bound": 1.0, "seed": seed, "config": config.cloning}
    test = PolicyTest.train(one, states, (data.frames, pointer_lessons(data)), **options)

    def point(encoder: Encoder, policy: Any) -> float:
        return pointing_success(encoder, policy, config.episodes, EVALUATION_SEED + seed)

    rows = {
        "class-pose, encoder A itself": test.own(point),
        "class-pose, other seed": test.stitched(other, data.frames, point),
    }
    return _flat(rows)


def _relative_encoders(encoder: Encoder, anchor_frames: NDArray[np.uint8]) -> dict[str, Encoder]:
    return {name: RelativeEncoder(encoder, anchor_frames, each) for name, each in RELATIVE.items()}


def _agent_object(
    config: StitchingConfig, transitions: Transitions, seed: int, backbone: str = "spatial_softmax"
) -> Encoder:
    learning = scale_steps(replace(AgentObjectConfig(), backbone=backbone), config.encoder_share)
    return train_encoder(transitions, learning, seed=seed, device="cpu")


def _in_other_units(encoder: Encoder) -> Encoder:
    """Return an encoder as learned from displacements ``(−y, x)`` in decimetres and metres, from another origin."""
    axes = np.array([[0.0, 1.0], [-10.0, 0.0]])
    return StitchedEncoder(encoder, AffineAlignment(np.kron(np.eye(2), axes), np.tile([3.0, -1.0], 2)))


def _goals(world_cls: type[Soccer], config: StitchingConfig, seed: int, encoder: Encoder, policy: Any) -> float:
    """Return the share of episodes with a goal."""
    world = world_cls(config.episodes, device="cpu")
    try:
        return evaluate_policy(world, observe_latents(encoder), policy, seed=EVALUATION_SEED + seed).success
    finally:
        world.close()


def _flat(rows: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {f"{row}: {column}": value for row, columns in rows.items() for column, value in columns.items()}


def draw_success(figures: Mapping[str, float], file: Any) -> None:
    """Write a bar chart of the success of each method on each encoder.

    Args:
        figures: success by ``"row: method"``.
        file: PNG file.
    """
    from matplotlib import colormaps

    from ...reports.figure_registry import save_figure

    rows = list(dict.fromkeys(label.split(": ")[0] for label in figures))

    def draw(figure: Any) -> None:
        axis = figure.subplots()
        for index, method in enumerate(METHODS):
            values = [figures.get(f"{row}: {method}", np.nan) for row in rows]
            places = np.arange(len(rows)) + (index - 2.5) / 7
            axis.bar(places, values, 1 / 7, label=method, color=colormaps["tab10"](index))
        names = [row.replace(", ", "\n").replace("other camera and", "other camera\nand") for row in rows]
        axis.set_xticks(range(len(rows)), names, fontsize=8)
        axis.set(ylim=(0, 1.02), ylabel="success")
        axis.legend(ncols=6, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)

    save_figure(file, draw, (9, 3.4), dpi=110)
