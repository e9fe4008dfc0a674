"""Rivals of the agent-object encoder in the benchmark ``encoder``: same data, same backbone, as many updates."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..collect_and_train import new_learner
from ..progress import ProgressCallback

if TYPE_CHECKING:
    from pathlib import Path

    from ...envs.data.transitions import Transitions
    from ...representations.encoders.agent_object import AgentObjectConfig
    from ...representations.learning.learner import Learner
    from ..experiments.jobs import JobProgress

SUPERVISED, AS_PUBLISHED = "supervised", "as published"
RIVALS = (SUPERVISED, AS_PUBLISHED)
"""Names of the rivals, as in the labels of the table."""


def rival_learner(
    name: str, config: AgentObjectConfig, transitions: Transitions, side: float, *, seed: int, device: str
) -> Learner:
    """Return the learner of a rival, which does as many updates as all stages of the encoder together.

    ``"supervised"`` is the encoder itself, trained on the ground-truth positions: an upper bound.
    ``"as published"`` has the losses of the paper (`equiact.representations.baselines.published_agent_object`).

    Args:
        name: one of `RIVALS`.
        config: hyper-parameters of the encoder.
        transitions: the data.
        side: side of the arena in metres, by which the published losses divide all lengths.
        seed: seed of the weights.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.

    Raises:
        ValueError: there is no such rival.
    """
    from ...representations.baselines.published_agent_object import PublishedAgentObjectConfig
    from ...representations.baselines.supervised_positions import SupervisedPositionLearner

    if name not in RIVALS:
        raise ValueError(f"expected one of {', '.join(RIVALS)}, got {name!r}")
    encoder_learner: Any = new_learner(transitions, config, seed=seed, device=device)
    steps = sum(stage.steps for stage in encoder_learner.stages())
    if name == SUPERVISED:
        return SupervisedPositionLearner(encoder_learner.network, transitions, steps)
    published = PublishedAgentObjectConfig(backbone=config.backbone, side=side)
    published = replace(published, optim=replace(published.optim, steps=steps))
    return new_learner(transitions, published, seed=seed, device=device)


def train_rival(
    name: str,
    config: AgentObjectConfig,
    transitions: Transitions,
    side: float,
    *,
    seed: int,
    device: str,
    checkpoint: Path,
    show: JobProgress,
) -> Any:
    """Train a rival (`rival_learner`), and return its encoder on the CPU.

    Args:
        name: one of `RIVALS`.
        config: hyper-parameters of the encoder.
        transitions: the data.
        side: side of the arena.
        seed: seed of the weights and the batches.
        device: where to train.
        checkpoint: file to resume the training from if it exists.
        show: shows the progress.
    """
    from ...representations.learning.checkpoints import check_checkpoint, remove_checkpoint
    from ...representations.learning.training import train_learner

    checkpoint = check_checkpoint(checkpoint)
    learner: Any = rival_learner(name, config, transitions, side, seed=seed, device=device)
    callback = ProgressCallback(lambda done, total, stage, note: show(done, total, "updates", note))
    fingerprint = transitions.fingerprint
    train_learner(learner, seed=seed, data_fingerprint=fingerprint, checkpoint=checkpoint, callbacks=[callback])
    remove_checkpoint(checkpoint)
    return learner.network.to("cpu").eval()
