"""When a recovery acts: thresholds with a stated share of false alarms, from clean episodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Trigger:
    """When the recovery acts: below the threshold of the log density, the more the further below.

    Attributes:
        threshold: log density at which base and recovery have equal weight.
        temperature: change of the log density by which the odds change by a factor of e.
        innovation: displacement beyond the policy's own, in one step, above which something else moved the agent.
        dwell: steps within one step's length of the same place, above which the base policy is stuck.
    """

    threshold: float
    temperature: float
    innovation: float = math.inf
    dwell: float = math.inf

    def blend(self, log_density: Tensor) -> Tensor:
        """Weight of the base policy, in [0, 1]."""
        return torch.sigmoid((log_density - self.threshold) / self.temperature)


def calibrate(
    log_densities: Sequence[NDArray[Any]],
    innovations: Sequence[NDArray[Any]] = (),
    dwells: Sequence[NDArray[Any]] = (),
    false_alarms: float = 0.05,
) -> Trigger:
    """A trigger that at most this share of clean episodes sets off, by split conformal prediction.

    The threshold is the ``⌊α (n + 1)⌋``-th smallest of the lowest log densities of ``n`` held-out episodes: another
    exchangeable episode falls below it with a probability of at most α. The temperature is such that at the median log
    density of all their steps the base policy has a weight of 99 %. Innovations and dwells, if given, are treated alike
    (the highest count), and α is shared between what is given.

    Args:
        log_densities: of the steps of held-out episodes, which the density was not fitted to.
        innovations: of the same steps: how far the agent moved beyond what the policy asked for.
        dwells: of the same steps: how long the agent had been in one place.
        false_alarms: α, the share of clean episodes in which recovery may act.

    Raises:
        ValueError: too few episodes for this share.

    >>> trigger = calibrate([np.array([3.0, float(i)]) for i in range(39)], false_alarms=0.05)
    >>> trigger.threshold
    1.0
    """
    share = false_alarms / (1 + bool(len(innovations)) + bool(len(dwells)))
    rank = math.floor(share * (len(log_densities) + 1))
    if rank < 1:
        needed = math.ceil(1 / share) - 1
        raise ValueError(
            f"{false_alarms:.1%} false alarms need at least {needed} held-out episodes, got {len(log_densities)}"
        )

    def highest(series: Sequence[NDArray[Any]]) -> float:
        return float(np.sort([np.max(episode) for episode in series])[-rank]) if len(series) else math.inf

    threshold = float(np.sort([episode.min() for episode in log_densities])[rank - 1])
    median = float(np.median(np.concatenate([np.asarray(episode) for episode in log_densities])))
    temperature = max(median - threshold, 1e-6) / math.log(99)
    return Trigger(threshold, temperature, highest(innovations), highest(dwells))
