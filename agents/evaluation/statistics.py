"""Statistics of episodes: intervals of rates and means, and a test of paired outcomes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, bootstrap


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


def mean_interval(values: NDArray[Any], confidence: float = 0.95, resamples: int = 2000) -> tuple[float, float]:
    """Return the BCa bootstrap interval of a mean, such as that of paired differences of returns.

    BCa is the bias-corrected and accelerated bootstrap of Efron (1987); the resampling is seeded. Returns are often a
    mixture, such as of episodes with and without a fall, for which the t interval covers less often.

    Args:
        values: ``(N,)`` one value for each episode, at least 2. If all are equal, so are both bounds.
        confidence: probability with which the interval covers the mean.
        resamples: number of bootstrap samples.

    Raises:
        ValueError: fewer than 2 values, or values that are not finite.

    Example:
        >>> [round(bound, 1) for bound in mean_interval(np.arange(20.0))]
        [6.9, 11.9]
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"expected at least 2 finite values, (N,), got {values!r}; evaluate more episodes")
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    generator = np.random.default_rng(0)
    found = bootstrap(
        (values,), np.mean, n_resamples=resamples, confidence_level=confidence, method="BCa", rng=generator
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
