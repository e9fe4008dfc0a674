"""Measure an encoder on held-out data of any origin: without ground truth, and with it where the data have it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .progress import console, progress_bar
from .training_data import HELD_OUT_EPISODES

if TYPE_CHECKING:
    from ..envs.data.transitions import Transitions
    from ..envs.worlds.world import World
    from ..representations.encoders.encoder import Encoder


@dataclass(frozen=True)
class HeldOutMeasurement:
    """Metrics of an encoder, why others are missing, and what the encoder is not usable for.

    Attributes:
        metrics: values by name.
        missing: for each metric that applies to the encoder and could not be measured, a sentence with the reason.
        warnings: sentences on what was not learned.
    """

    metrics: dict[str, float]
    missing: list[str]
    warnings: list[str] = field(default_factory=list)


def measure_on_data(encoder: Encoder, held_out: Transitions) -> HeldOutMeasurement:
    """Measure an encoder on held-out transitions, and show the progress.

    Args:
        encoder: the encoder, in evaluation mode.
        held_out: transitions that it was not trained on.

    Returns:
        Metrics without ground truth (`GROUND_TRUTH_FREE_METRICS`) and the held-out loss; those of poses and positions
        where the ground truth is known.

    Raises:
        ValueError: the transitions have another group or image shape.
    """
    from ..representations.metrics.registry import HeldOut, evaluate_without_ground_truth

    data = HeldOut(held_out)
    with progress_bar("Measuring", 1, "metrics") as update:
        metrics = evaluate_without_ground_truth(encoder, data, progress=lambda done, total: update(done, total=total))
    missing = _missing(encoder, held_out)
    try:
        metrics |= _loss(encoder, held_out)
    except ValueError as error:
        missing.append(f"The held-out loss: {error}.")
    warnings = _warnings(metrics)
    for warning in warnings:
        console.print(warning, markup=False)
    return HeldOutMeasurement(metrics | measure_with_ground_truth(encoder, held_out), missing, warnings)


def _warnings(metrics: dict[str, float]) -> list[str]:
    """Return what was not learned: to predict latents better than by no change, or where the object is."""
    from ..representations.metrics.object_evidence import doubt_of_object

    ratio = metrics.get("equivariance_ratio_1", 0.0)
    useless = (
        f"The encoder is not usable yet: its predictions are {ratio:.3g} times as wrong as predicting no change. "
        "Train longer, check that the motion can be seen in the images, or choose another backbone."
    )
    return [text for text in (useless if ratio >= 1 else None, doubt_of_object(metrics)) if text]


def measure_after_training(
    encoder: Encoder,
    world_cls: type[World] | None,
    transitions: Transitions,
    held_out: Transitions,
    about: dict[str, Any],
) -> tuple[HeldOutMeasurement, Any]:
    """Measure a trained encoder, in its world if there is one, and write down metrics and place in the encoder.

    Args:
        encoder: the encoder, whose ``metrics`` and ``measured_on`` are set.
        world_cls: the world; None for a data set.
        transitions: what it was trained on.
        held_out: what it is measured on.
        about: further entries of ``measured_on``.

    Returns:
        What was measured, and the result of the downstream use in the world, if there is one.
    """
    from ..envs.worlds.orbit_world import OrbitWorld
    from .benchmarks.encoder_runs import evaluate_downstream
    from .benchmarks.trained_encoder import measure_trained

    more = {**about, "training_transitions": len(transitions)}
    if world_cls is None:
        measured = measure_on_data(encoder, held_out)
        encoder.metrics = measured.metrics
        if measured.warnings:
            more["warnings"] = measured.warnings
        encoder.measured_on = describe_measurement(held_out, HELD_OUT_EPISODES, **more)
        return measured, None
    encoder.metrics = measure_trained(encoder, world_cls, held_out)
    source = f"transitions of the world {world_cls.__name__}, collected with another seed"
    encoder.measured_on = describe_measurement(held_out, source, **more)
    used = evaluate_downstream(encoder, world_cls, held_out) if issubclass(world_cls, OrbitWorld) else None
    if used:
        encoder.metrics |= used.metrics
    return HeldOutMeasurement(encoder.metrics, []), used


def measure_with_ground_truth(encoder: Encoder, held_out: Transitions) -> dict[str, float]:
    """Return the metrics whose ground truth the transitions have; none if they have no ground truth."""
    from ..representations.encoders.agent_object import AgentObjectEncoder
    from ..representations.metrics.position_metrics import evaluate_encoder
    from ..representations.metrics.registry import METRICS, HeldOut, evaluate_metrics

    if not held_out.ground_truth:
        return {}
    names = [name for name in METRICS.names() if name != "hit-rate"]  # measured without ground truth
    metrics = evaluate_metrics(encoder, HeldOut(held_out), names)
    if isinstance(encoder, AgentObjectEncoder) and {"agent_pose", "object_pose"} <= held_out.ground_truth.keys():
        positions = evaluate_encoder(encoder, held_out, arena_side=1.0)
        metrics |= {name: value for name, value in positions.items() if not name.endswith("_pct")}
    return metrics


def describe_measurement(held_out: Transitions, source: str, **more: Any) -> dict[str, Any]:
    """Return where metrics were measured, for the card of an encoder.

    Args:
        held_out: the transitions.
        source: where they come from, in words.
        **more: further entries that JSON can hold.
    """
    from ..envs.data.trajectories import trajectories

    return {
        "source": source,
        "transitions": len(held_out),
        "episodes": sum(1 for _ in trajectories(held_out, len(held_out))),
        "data_fingerprint": held_out.fingerprint,
        **more,
    }


def _loss(encoder: Encoder, held_out: Transitions) -> dict[str, float]:
    from .benchmarks.trained_encoder import held_out_loss

    return held_out_loss(deepcopy(encoder), held_out)


def _missing(encoder: Encoder, held_out: Transitions) -> list[str]:
    """Return which predictions could not be measured, and why."""
    from ..representations.metrics.hit_rate import TooFewTrajectoriesError, sample_trajectories
    from ..representations.metrics.latent_prediction import DEFAULT_PREDICTION, consecutive_rows, predicting

    if predicting(encoder) is None:
        return [f"Equivariance errors and hits: {type(encoder).__name__} predicts no latents."]
    reasons = [
        f"The equivariance error after {steps} steps: no held-out episode has so many."
        for steps in DEFAULT_PREDICTION.error_steps
        if len(consecutive_rows(held_out, steps)) == 0
    ]
    for steps in DEFAULT_PREDICTION.hit_steps:
        try:
            sample_trajectories(held_out, steps, batch_size=DEFAULT_PREDICTION.candidates, batches=1)
        except TooFewTrajectoriesError as error:
            reasons.append(f"Hits after {steps} steps: {error}.")
    return reasons
