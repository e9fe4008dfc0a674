"""Statistics of success: intervals of rates, and a test of paired outcomes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a success rate.

    With rate ``p = successes / trials`` and normal quantile ``z``, its bounds are

        (p + z²/2n ± z √(p (1 - p)/n + z²/4n²)) / (1 + z²/n),    n = trials.

    Args:
        successes: number of successes.
        trials: number of trials, at least 1.
        confidence: probability with which the interval covers the rate.

    Raises:
        ValueError: no trials, or more successes than trials.

    Example:
        >>> [round(bound, 3) for bound in wilson_interval(95, 100)]
        [0.888, 0.978]
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"expected 0 <= successes <= trials with at least 1 trial, got {successes} of {trials}")
    interval = binomtest(successes, trials).proportion_ci(confidence, "wilson")
    return float(interval.low), float(interval.high)


def mcnemar(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> float:
    """Return the two-sided p-value of the exact McNemar test of paired outcomes.

    The null hypothesis is that both conditions succeed equally often. Only pairs with different outcomes count: under
    the null hypothesis, each of them is won by either condition with probability ½.

    Args:
        before: ``(N,)`` bool, success under one condition.
        after: ``(N,)`` bool, success of the same episodes under the other one.

    Raises:
        ValueError: the outcomes are not paired.

    Example:
        >>> mcnemar(np.array([False] * 8 + [True] * 4), np.array([True] * 12))
        0.0078125
    """
    if before.shape != after.shape:
        raise ValueError(f"expected outcomes of the same episodes, got shapes {before.shape} and {after.shape}")
    won, lost = int((~before & after).sum()), int((before & ~after).sum())
    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0
