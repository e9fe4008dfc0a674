"""DAgger: a learner that is shown what to do where it itself gets to.

Ross, Gordon, Bagnell, *A reduction of imitation learning and structured prediction to no-regret online learning*,
AISTATS 2011. The labels are counted: at an equal number of them it compares with behaviour cloning.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from agents.cloning import ClonedPolicy, Cloning
from agents.demonstrations import demonstrate
from envs.simulator import Float
from envs.task import TaskWorld
from envs.transitions import Transitions, concatenate
from representations.training import Metrics, fit


def dagger(
    policy: ClonedPolicy,
    world: TaskWorld,
    labels: int,
    *,
    seed: int,
    rounds: int = 3,
    scale: float = 1.0,
    checkpoint: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[ClonedPolicy, Transitions]:
    """Clone half as many of an expert's labels as are allowed, then label what the learner does, a share a round.

    Args:
        policy: what to train.
        world: a batch of worlds that an expert knows.
        labels: how many actions the expert may give in all.
        seed: of everything random.
        rounds: of labelling.
        scale: factor on the updates of all rounds together, as of `agents.cloning.Cloning`.
        checkpoint: file beside which every round has one, to go on from where it was stopped; remove them at the end.
        progress: called with the number of updates done and of all.

    Returns:
        The policy and all labelled transitions; their number is ``labels``.
    """
    data = _first(labels // 2, lambda batch: demonstrate(world, world.num_worlds, seed + batch))
    shown = len(data)
    for round_ in range(rounds + 1):
        torch.manual_seed(seed)
        learner = Cloning(policy, data, scale / (rounds + 1), shown=np.arange(len(data)) < shown)
        stages = learner.stages()

        def on_update(stage: str, done: int, total: int, metrics: Metrics, round_: int = round_) -> None:
            progress(round_ * total + done, (rounds + 1) * total)

        kept = checkpoint and checkpoint.with_name(f"{checkpoint.name}-{round_}")
        fit(learner, stages, seed=seed + round_, data=data.fingerprint, checkpoint=kept, progress=on_update)
        if round_ < rounds:
            share = (labels - len(data)) // (rounds - round_)
            data = concatenate([data, _labelled(policy, world, share, seed + 1000 * (round_ + 1))])
    return policy, data


def _labelled(policy: ClonedPolicy, world: TaskWorld, count: int, seed: int) -> Transitions:
    """What the learner does, with the expert's labels."""

    def act(frames: NDArray[np.uint8], label: Float) -> Float:
        return policy.predict(frames)[0]

    return _first(
        count, lambda batch: demonstrate(world, world.num_worlds, seed + batch, act=act, only_successes=False)
    )


def _first(count: int, record: Callable[[int], Transitions]) -> Transitions:
    """So many transitions of recorded batches: whole episodes, but for the last."""
    parts = [record(0)]
    while sum(map(len, parts)) < count:
        parts.append(record(len(parts)))
    return concatenate(parts).select(np.arange(count))
