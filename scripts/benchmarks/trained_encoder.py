"""Measure an encoder after training: with the ground truth that is known, or by its loss on held-out data."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from ..collect_and_train import held_out_of
from ..progress import progress_bar

if TYPE_CHECKING:
    from ...envs.data.transitions import Transitions
    from ...envs.worlds.world import World
    from ...representations.encoders.agent_object import AgentObjectEncoder
    from ...representations.encoders.encoder import Encoder


def measure_trained(encoder: Encoder, world_cls: type[World] | None, held_out: Transitions) -> dict[str, float]:
    """Return the metrics of an encoder on held-out data, and show the progress.

    Args:
        encoder: the encoder.
        world_cls: the world that the data are from; None if it is not known.
        held_out: transitions that the encoder was not trained on.

    Returns:
        The metrics whose ground truth is known; the held-out loss if there are none.
    """
    from ...representations.encoders.agent_object import AgentObjectEncoder
    from ...representations.metrics.registry import evaluate_metrics

    if isinstance(encoder, AgentObjectEncoder):
        metrics = _position_metrics(encoder, world_cls, held_out)
    else:
        with progress_bar("Measuring", 1, "metrics") as update:
            metrics = evaluate_metrics(
                encoder, held_out_of(world_cls, held_out), progress=lambda done, total: update(done, total=total)
            )
    return metrics or held_out_loss(encoder, held_out)


def held_out_loss(encoder: Encoder, held_out: Transitions, batches: int = 20) -> dict[str, float]:
    """Return the mean loss, and its parts, of the first stage of training on random batches of held-out data.

    Args:
        encoder: the encoder, which is not changed.
        held_out: transitions that it was not trained on.
        batches: number of batches.
    """
    import torch

    from ...representations.encoders.registry import make_learner

    stage = make_learner(deepcopy(encoder), held_out).stages()[0]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        losses = [stage.loss(generator) for _ in range(batches)]
    rows = [{"loss": loss, **parts} for loss, parts in losses]
    return {f"held_out_{name}": sum(float(row[name]) for row in rows) / batches for name in rows[0]}


def _position_metrics(encoder: AgentObjectEncoder, world_cls: Any, held_out: Transitions) -> dict[str, float]:
    """Return the metrics of positions; none without ground truth, and none in percent without a world."""
    from ...representations.metrics.position_metrics import evaluate_encoder

    if not {"agent_pose", "object_pose"} <= held_out.ground_truth.keys():
        return {}
    if world_cls is not None:
        return evaluate_encoder(encoder, held_out, world_cls.arena_side)
    metrics = evaluate_encoder(encoder, held_out, arena_side=1.0)
    return {name: value for name, value in metrics.items() if not name.endswith("_pct")}
