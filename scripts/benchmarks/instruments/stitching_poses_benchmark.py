"""The benchmark ``stitching-poses``: policies of one class–pose encoder on the latents of another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from ....agents.policies.sac import SACConfig
from ....envs.data.transitions import Transitions
from ....representations.analysis.stitching.anchors import draw_anchors
from ....representations.encoders.class_pose import ClassPoseConfig
from ....representations.encoders.encoder import Encoder
from ....representations.learning.config import OptimConfig
from ....representations.learning.losses import ClassPoseLossConfig
from ....representations.learning.training import train_encoder
from ....representations.metrics.class_separation import class_separation
from ....representations.metrics.registry import HeldOut
from ...collect_and_train import HELD_OUT_SEED
from ...experiments.records import Value
from .instrument import InstrumentRun, register_instrument
from .stitched_policies import PolicyTest, by_label, encoder_seed, play, train_policy, without_curve
from .stitching_worlds import ColouredPointers, Pointing, collect_in


@dataclass(frozen=True)
class StitchingPosesConfig:
    """Set the size of the benchmark; the defaults are those of the full one.

    Attributes:
        transitions: transitions that an encoder learns from.
        held_out: transitions on which the separation of its classes is measured.
        encoder: hyper-parameters of the encoder.
        least_separation: separation of the classes below which an encoder is trained anew with another seed; it is
            1 for opposite classes, 0 if both colours have the same.
        trainings: largest number of trainings of an encoder.
        anchors: number of anchors.
        episodes: episodes in each cell of the table.
        policy: hyper-parameters of the policies.
    """

    transitions: int = 8000
    held_out: int = 1000
    encoder: ClassPoseConfig = ClassPoseConfig(
        backbone="strided", class_dim=4, loss=ClassPoseLossConfig(alignment=(0.7, 1.15)), optim=OptimConfig(steps=4000)
    )
    least_separation: float = 0.3
    trainings: int = 5
    anchors: int = 64
    episodes: int = 200
    policy: SACConfig = without_curve(3000)


QUICK = StitchingPosesConfig(
    transitions=4000,
    encoder=replace(StitchingPosesConfig.encoder, optim=OptimConfig(steps=1200)),
    episodes=50,
)
"""Size of the quick benchmark."""


@register_instrument("stitching-poses")
def run_stitching_poses(run: InstrumentRun) -> dict[str, Value]:
    """Measure the outcomes of policies that point, on encoder A and on an encoder of another seed."""
    config = QUICK if run.quick else StitchingPosesConfig()
    data = collect_in(ColouredPointers, config.transitions, run.seed)
    held_out = collect_in(ColouredPointers, config.held_out, run.seed + HELD_OUT_SEED)
    (one, one_trainings), (other, other_trainings) = (
        train_with_classes(config, data, held_out, run.seed, name) for name in ("A", "B")
    )
    anchors = draw_anchors(len(data.frames), config.anchors, run.seed)
    test = PolicyTest.train(one, data.frames, anchors, partial(train_policy, Pointing, config.policy, run.seed))
    point = partial(play, Pointing, config.episodes, run.seed)
    return by_label(
        {
            "encoder A itself": {**test.own(point), "trainings": one_trainings},
            "other seed": {**test.stitched(other, data.frames, point), "trainings": other_trainings},
        }
    )


def train_with_classes(
    config: StitchingPosesConfig, data: Transitions, held_out: Transitions, seed: int, name: str
) -> tuple[Encoder, int]:
    """Train an encoder until its classes tell trajectories apart, and return it and the number of trainings.

    With few updates, some encoders give both colours the same class. That is seen without ground truth, by
    `class_separation` on held-out data.

    Args:
        config: sizes.
        data: transitions to train on.
        held_out: transitions to measure the separation on.
        seed: seed of the benchmark.
        name: name of the encoder, which with the seed determines its weights and batches.

    Raises:
        RuntimeError: no training separated the classes.
    """
    for training in range(1, config.trainings + 1):
        encoder = train_encoder(data, config.encoder, seed=encoder_seed(seed, f"{name}, {training}"), device="cpu")
        separation = class_separation(encoder, HeldOut(held_out))["class_separation"]
        if separation >= config.least_separation:
            return encoder, training
    raise RuntimeError(
        f"expected classes that tell trajectories apart by {config.least_separation}, got {separation:.2f} in the last "
        f"of {config.trainings} trainings; train for more updates"
    )
