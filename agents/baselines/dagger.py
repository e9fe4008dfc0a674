"""DAgger: the expert labels the states that the learner itself reaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...envs.data.seeds import stream_seed
from ...envs.data.transitions import Transitions, concatenate
from ...envs.worlds.task_world import TaskWorld
from ...representations.learning.config import check_range, scale_steps
from ...representations.learning.training import TrainingCallback, TrainingStatus, train_learner
from ..policies.behavior_cloning import BCLearner, BCPolicy
from ..policies.demonstrations import demonstrate


@dataclass(frozen=True)
class DaggerConfig:
    """Set the hyper-parameters of `dagger`.

    Attributes:
        rounds: number of rounds in which the expert labels the learner's states.
        demonstration_share: share of the labels that are demonstrations of the expert, before the first round.

    Raises:
        ConfigError: a value is out of range.
    """

    rounds: int = 3
    demonstration_share: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, "rounds", at_least=1)
        check_range(self, "demonstration_share", above=0, at_most=1)


def dagger(
    policy: BCPolicy,
    world: TaskWorld,
    labels: int,
    *,
    seed: int,
    config: DaggerConfig | None = None,
    checkpoint: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[BCPolicy, Transitions]:
    """Train a policy by behaviour cloning on demonstrations, and then on the learner's states with the expert's labels.

    The number of labels is fixed in advance, so that the result compares with behaviour cloning on as many labels. Each
    round has ``1 / (rounds + 1)`` of the updates of ``policy.config``.

    Source: Ross, Gordon and Bagnell, *A reduction of imitation learning and structured prediction to no-regret online
    learning*, AISTATS 2011.

    Args:
        policy: policy to train.
        world: batch of worlds for which there is an expert.
        labels: number of actions that the expert gives in total.
        seed: seed of initial states and batches; runs with different seeds have none in common.
        config: hyper-parameters.
        checkpoint: path; round ``i`` writes and resumes from ``<name>-<i>`` beside it. Delete these files at the end.
        progress: called with the number of updates done and in total.

    Returns:
        The policy, and all labelled transitions, as many as ``labels``.
    """
    rounds, share = (config := config or DaggerConfig()).rounds, config.demonstration_share
    count = max(1, int(share * labels))
    data = _record(
        count, lambda batch: demonstrate(world, world.num_worlds, stream_seed(seed, f"DAgger demonstrations {batch}"))
    )
    by_expert = len(data)
    training = scale_steps(policy.config, 1 / (rounds + 1))
    for round_ in range(rounds + 1):
        train_learner(
            BCLearner(policy, data, np.arange(len(data)) < by_expert, training),
            seed=stream_seed(seed, f"DAgger updates {round_}"),
            data_fingerprint=data.fingerprint,
            checkpoint=checkpoint and checkpoint.with_name(f"{checkpoint.name}-{round_}"),
            callbacks=[_RoundProgress(progress, round_, rounds + 1)],
        )
        if round_ < rounds:
            count = (labels - len(data)) // (rounds - round_)
            data = concatenate(
                [data, _label_learner(policy, world, count, stream_seed(seed, f"DAgger round {round_}"))]
            )
    return policy, data


@dataclass
class _RoundProgress(TrainingCallback):
    """Reports the updates of one round as updates of all rounds."""

    progress: Callable[[int, int], None] = field(repr=False)
    round_: int
    rounds: int

    def on_update(self, status: TrainingStatus) -> None:
        self.progress(self.round_ * status.total + status.done, self.rounds * status.total)


def _label_learner(policy: BCPolicy, world: TaskWorld, count: int, seed: int) -> Transitions:
    """Return transitions of the learner with the expert's labels."""

    def record(batch: int) -> Transitions:
        seed_of_batch = stream_seed(seed, f"batch {batch}")
        return demonstrate(world, world.num_worlds, seed_of_batch, learner=policy, only_successes=False)

    return _record(count, record)


def _record(count: int, record: Callable[[int], Transitions]) -> Transitions:
    """Return so many transitions of recorded batches; all episodes but the last are complete."""
    parts = [record(0)]
    while sum(map(len, parts)) < count:
        parts.append(record(len(parts)))
    return concatenate(parts).select(np.arange(count))
