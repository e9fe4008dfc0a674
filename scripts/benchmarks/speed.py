"""Speed of training and encoding, compared with the bare networks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from ...envs.data.transitions import Transitions
    from ...representations.encoders.agent_object import AgentObjectConfig, AgentObjectEncoder


def bare_transitions_per_second(
    transitions: Transitions, config: AgentObjectConfig, device: str, repeats: int = 60
) -> float:
    """Return the transitions per second of forward pass, backward pass and update of the networks alone.

    The batches are in memory. Every stage of the training has its share of the transitions.

    Args:
        transitions: data whose first frames are the batches.
        config: configuration of the encoder.
        device: torch device.
        repeats: number of updates that are timed for each stage, after five that are not.
    """
    from ...representations.encoders.agent_object import AgentObjectEncoder
    from ...representations.encoders.agent_object_learner import AgentObjectLearner

    height, width, channels = transitions.frames.shape[1:]
    encoder = AgentObjectEncoder((height, width, channels), transitions.group, config).to(device)
    learner = AgentObjectLearner(encoder, transitions)
    seconds = seen = 0.0
    for stage in learner.stages():
        network = _network_of(stage.name, learner)
        seconds += stage.steps * _seconds_per_update(network, transitions, 2 * stage.batch_size, device, repeats)
        seen += stage.steps * stage.batch_size
    return seen / seconds


def _network_of(stage: str, learner: Any) -> nn.Module:
    """Return the network that a stage trains."""
    from torch import nn

    encoder = learner.network
    if stage == "agent":
        return nn.Sequential(encoder.agent_trunk, encoder.agent_head)
    if stage == "contrast":
        embedder: nn.Module = learner.embedder
        return embedder
    return nn.Sequential(encoder.object_trunk, encoder.object_head)


def _seconds_per_update(network: nn.Module, transitions: Transitions, images: int, device: str, repeats: int) -> float:
    import torch

    from ...representations.encoders.encoder import as_tensor, to_images

    batch = to_images(as_tensor(transitions.frames[:images]).to(device))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, fused=True)
    began = 0.0
    for repeat in range(repeats + 5):
        if repeat == 5:
            began = time.perf_counter()
        optimizer.zero_grad()
        network(batch).pow(2).mean().backward()
        optimizer.step()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / repeats


def encode_milliseconds(encoder: AgentObjectEncoder, transitions: Transitions, repeats: int = 300) -> float:
    """Return the median time of encoding a single frame on one core.

    Args:
        encoder: the encoder.
        transitions: data with at least ``repeats`` frames.
        repeats: number of frames.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times = []
    for index in range(repeats):
        began = time.perf_counter()
        encoder.encode(transitions.frames[index : index + 1])
        times.append(time.perf_counter() - began)
    torch.set_num_threads(threads)
    return 1000 * sorted(times)[len(times) // 2]
