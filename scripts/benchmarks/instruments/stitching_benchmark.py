"""The benchmark ``stitching``: policies of one agent–object encoder on others, and heads of digit classifiers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from ....agents.policies.sac import SACConfig
from ....agents.policies.stitched_encoder import StitchedEncoder
from ....envs.data.transitions import Transitions
from ....envs.worlds.soccer import Soccer
from ....representations.analysis.stitching.alignments import AffineAlignment
from ....representations.analysis.stitching.anchors import draw_anchors, matched_frames
from ....representations.encoders.agent_object import AgentObjectConfig
from ....representations.encoders.encoder import Encoder
from ....representations.learning.config import scale_steps
from ....representations.learning.training import train_encoder
from ...experiments.records import Value
from .instrument import InstrumentRun, register_instrument
from .stitched_policies import PolicyTest, by_label, encoder_seed, play, train_policy, without_curve
from .stitching_digits import DigitsConfig, measure_digits
from .stitching_worlds import SideSoccer, collect_in, in_side_axes

METHODS = ("absolute", "cosine", "robust", "procrustes", "linear", "isometric")


@dataclass(frozen=True)
class StitchingConfig:
    """Set the size of the benchmark; the defaults are those of the full one.

    Attributes:
        transitions: transitions that an encoder learns from.
        encoder_share: share of the default numbers of updates of the agent–object encoder.
        backbone: second image network; the first is ``"spatial_softmax"``.
        anchors: number of anchors.
        episodes: episodes in each cell of the table.
        soccer: hyper-parameters of the policies in Soccer.
        digits: the experiment with digits.
    """

    transitions: int = 12_000
    encoder_share: float = 1.0
    backbone: str = "wide_spatial_softmax"
    anchors: int = 64
    episodes: int = 200
    soccer: SACConfig = field(default_factory=lambda: without_curve(20_000))
    digits: DigitsConfig = field(default_factory=DigitsConfig)


QUICK = StitchingConfig(
    transitions=8000,
    encoder_share=0.6,
    episodes=50,
    digits=DigitsConfig(activations=("ReLU", "Tanh"), steps=200),
)
"""Size of the quick benchmark."""


@register_instrument("stitching")
def run_stitching(run: InstrumentRun) -> dict[str, Value]:
    """Measure the success of policies of encoder A on encoders B, and the accuracy of heads on other networks."""
    config = QUICK if run.quick else StitchingConfig()
    figures = measure_soccer(config, run.seed)
    if run.draws:
        draw_success(figures, run.figure("success"))
    return {**figures, **measure_digits(config.digits, run.seed)}


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
    in_front, aside = (partial(play, world_cls, config.episodes, seed) for world_cls in (Soccer, SideSoccer))
    rows = {
        "soccer, encoder A itself": test.own(in_front),
        "soccer, other seed": test.stitched(other, at_front, in_front),
        "soccer, other units": test.stitched(_in_other_units(other), at_front, in_front),
        "soccer, other camera and axes": test.stitched(from_side, at_side, aside),
        "soccer, other backbone": test.stitched(learn(front, "backbone", config.backbone), at_front, in_front),
    }
    return by_label(rows)


def _agent_object(
    config: StitchingConfig, seed: int, transitions: Transitions, name: str, backbone: str = "spatial_softmax"
) -> Encoder:
    learning = scale_steps(replace(AgentObjectConfig(), backbone=backbone), config.encoder_share)
    return train_encoder(transitions, learning, seed=encoder_seed(seed, name), device="cpu")


def _in_other_units(encoder: Encoder) -> Encoder:
    """Return an encoder as learned from displacements ``(−y, x)`` in decimetres and metres, from another origin."""
    axes = np.array([[0.0, 1.0], [-10.0, 0.0]])
    return StitchedEncoder(encoder, AffineAlignment(np.kron(np.eye(2), axes), np.tile([3.0, -1.0], 2)))


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
