"""Split transitions into those to train on and held-out ones, by whole episodes: frames of one episode are alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .trajectories import trajectories
from .transitions import Transitions


class SplitError(ValueError):
    """There are too few transitions or episodes to hold some out."""


@dataclass(frozen=True)
class EpisodeSplitConfig:
    """Set which episodes are held out.

    Attributes:
        held_out_share: share of the transitions that the held-out episodes have, at least; between 0 and 1.
        seed: seed of the draw of episodes.
        gap: steps between the parts of a single episode, which is cut in time; no frame is shared.

    Raises:
        SplitError: a value is out of range.
    """

    held_out_share: float = 0.2
    seed: int = 0
    gap: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.held_out_share < 1:
            raise SplitError(f"expected a held-out share between 0 and 1, got {self.held_out_share}")
        if self.gap < 0:
            raise SplitError(f"expected a gap of at least 0 steps, got {self.gap}")


@dataclass(frozen=True)
class EpisodeSplit:
    """The two parts of transitions.

    Attributes:
        training: transitions to train on.
        held_out: transitions of other episodes.
        rows: indices of the held-out transitions in the whole, ``(n,)``.
        episodes: number of held-out episodes; 0 if the only episode was cut in time.
    """

    training: Transitions
    held_out: Transitions
    rows: NDArray[np.int64]
    episodes: int


def split_episodes(transitions: Transitions, config: EpisodeSplitConfig = EpisodeSplitConfig()) -> EpisodeSplit:
    """Hold out random episodes until they have the share of the transitions; cut a single episode in time.

    An episode is a trajectory of consecutive transitions (`trajectories`). At least one episode is left to train on.

    Args:
        transitions: the transitions.
        config: share and seed.

    Raises:
        SplitError: a part would have no transition.

    Example:
        >>> frames, start = np.zeros((6, 1, 1, 3), np.uint8), np.array([0, 1, 3, 4])
        >>> data = Transitions(frames, start, start + 1, np.zeros((4, 2), np.float32), "R2")
        >>> split = split_episodes(data, EpisodeSplitConfig(held_out_share=0.5))
        >>> len(split.training), len(split.held_out), split.episodes
        (2, 2, 1)
    """
    episodes = list(trajectories(transitions, len(transitions)))
    if len(episodes) == 1:
        return _cut(transitions, episodes[0], config)
    order = np.random.default_rng(config.seed).permutation(len(episodes))
    lengths = np.array([len(episodes[index]) for index in order])
    wanted = config.held_out_share * len(transitions)
    count = int(np.searchsorted(np.cumsum(lengths), wanted - 1e-9)) + 1
    count = min(count, len(episodes) - 1)
    rows = np.sort(np.concatenate([episodes[index] for index in order[:count]]))
    kept = np.setdiff1d(np.arange(len(transitions)), rows)
    return EpisodeSplit(transitions.select(kept), transitions.select(rows), rows, count)


def _cut(transitions: Transitions, episode: NDArray[np.int64], config: EpisodeSplitConfig) -> EpisodeSplit:
    """Return the first part of an episode, and the last one, which is held out."""
    held_out = max(1, round(config.held_out_share * len(episode)))
    training = len(episode) - held_out - config.gap
    if training < 1:
        raise SplitError(
            f"expected an episode of at least {held_out + config.gap + 1} transitions to cut into two parts, got "
            f"{len(episode)}; record more"
        )
    rows = episode[-held_out:]
    return EpisodeSplit(transitions.select(episode[:training]), transitions.select(rows), rows, 0)
