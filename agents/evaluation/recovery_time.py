"""Measure how many steps a policy needs to recover after a perturbation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RecoveryTimeConfig:
    """Define when rewards have recovered.

    Attributes:
        window: number of steps over which rewards are averaged, at least 1.
        share: share of the clean twin's reward that must be reached again, above 0 and at most 1.

    Raises:
        ValueError: a value out of range.
    """

    window: int = 10
    share: float = 0.9

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window must be at least 1 step, got {self.window}")
        if not 0 < self.share <= 1:
            raise ValueError(f"share must lie above 0 and be at most 1, got {self.share}")


def steps_until_success(success_step: int | None, end: int, length: int, terminated: bool) -> float:
    """Return the steps from the end of a perturbation until success.

    Args:
        success_step: number of steps of the episode until the success; None without success.
        end: number of steps until the perturbation was over.
        length: number of steps of the episode.
        terminated: whether the episode reached an end of its own, instead of its time limit.

    Returns:
        Steps; infinity without success; NaN if the success, or the time limit, came before the perturbation was over.

    Example:
        >>> steps_until_success(success_step=30, end=12, length=30, terminated=True)
        18.0
    """
    if success_step is not None:
        return float(success_step - end) if success_step > end else math.nan
    return math.inf if length > end or terminated else math.nan


def steps_until_reward(
    perturbed: NDArray[np.float64], clean: NDArray[np.float64], end: int, config: RecoveryTimeConfig
) -> float:
    """Return the steps from the end of a perturbation until the rewards are those of the clean twin again.

    The rewards have recovered at the first step ``t ≥ end`` with

        mean(perturbed[t : t + w]) ≥ mean(clean[t : t + w]) − (1 − share) · mean |clean|

    where the last mean is over the whole clean episode. For a constant positive reward that is the share of the clean
    reward; it also holds for negative rewards.

    Args:
        perturbed: ``(T,)`` rewards of the perturbed episode.
        clean: ``(U,)`` rewards of the clean episode from the same state.
        end: number of steps until the perturbation was over.
        config: the window ``w`` and the share.

    Returns:
        Steps; infinity if the rewards never recovered, also because the episode ended earlier than the clean one; NaN
        if fewer than ``w`` steps of the clean episode were left to tell.

    Example:
        >>> clean, perturbed = np.ones(20), np.ones(20)
        >>> perturbed[5:12] = 0.0
        >>> steps_until_reward(perturbed, clean, end=10, config=RecoveryTimeConfig(window=2))
        2.0
    """
    window = config.window
    if len(clean) < end + window:
        return math.nan
    last = min(len(perturbed), len(clean)) - window
    tolerance = (1 - config.share) * float(np.abs(clean).mean())
    for step in range(end, last + 1):
        if perturbed[step : step + window].mean() >= clean[step : step + window].mean() - tolerance:
            return float(step - end)
    return math.inf
