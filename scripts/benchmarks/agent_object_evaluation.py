"""Evaluate an agent-object encoder against an untrained one and against chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...envs.data.transitions import Transitions
    from ...representations.encoders.agent_object import AgentObjectEncoder


def compare_encoder(encoder: AgentObjectEncoder, held_out: Transitions, world: str) -> dict[str, dict[str, float]]:
    """Return the position metrics of an encoder, of an untrained one with the same configuration, and of chance.

    Args:
        encoder: the encoder.
        held_out: transitions that it was not trained on.
        world: name of their world.
    """
    from ...envs.worlds.registry import task_world_class
    from ...representations.encoders.agent_object import AgentObjectEncoder
    from ...representations.metrics.position_metrics import chance, evaluate_encoder

    side = task_world_class(world).arena_side
    untrained = AgentObjectEncoder(encoder.shape, encoder.group, encoder.config).eval()
    return {
        "trained": evaluate_encoder(encoder, held_out, side),
        "untrained": evaluate_encoder(untrained, held_out, side),
        "chance": chance(held_out, side),
    }


def evaluation_for_report(encoder: AgentObjectEncoder, held_out: Transitions, world: str) -> dict[str, Any]:
    """Return the metrics of `compare_encoder` as ``rows``, and the positions and movements that the report draws."""
    from ...envs.worlds.registry import task_world_class
    from ...representations.metrics.position_metrics import locate

    located = locate(encoder, held_out)
    moves = encoder.movement(encoder.encode(held_out.frames), held_out)
    touched: Any = held_out.touched
    every = max(1, len(held_out.frames) // 400)
    return {
        "rows": compare_encoder(encoder, held_out, world),
        "positions": {name: values[::every].round(4).tolist() for name, values in vars(located).items()},
        "object_moves": {"still": moves[~touched].tolist(), "touched": moves[touched].tolist()},
        "threshold": float(encoder.contact_threshold * encoder.unit),
        "arena_side": task_world_class(world).arena_side,
    }
