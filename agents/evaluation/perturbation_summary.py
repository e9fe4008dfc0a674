"""Summaries of paired trials under perturbations: rates, returns, receipts and times to recover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rollouts import count_successes
from .statistics import mcnemar, mean_interval, wilson_interval
from .success import SuccessOutcome
from .trial_records import CLEAN, PolicyRole, TrialRecord

Interval = tuple[float, float]
"""Lower and upper bound at 95 %."""


@dataclass(frozen=True)
class MedianReceipt:
    """Summarize the receipts of one perturbation.

    Attributes:
        name: quantity that was measured, such as ``"distance of torso"``.
        median: its median over the episodes in which it was measured; 0 if there are none.
        unit: its unit.
        least: smallest value that counts as an effect.
    """

    name: str
    median: float
    unit: str
    least: float

    @property
    def has_effect(self) -> bool:
        """Return whether the perturbation did anything that can be measured, in the median."""
        return self.median >= self.least and self.median > 0

    def __str__(self) -> str:
        return f"{self.median:.3g} {self.unit}".rstrip()


@dataclass(frozen=True)
class ConditionSummary:
    """Summarize the episodes of one policy under one condition.

    Attributes:
        condition: name of the condition.
        policy: ``"policy"`` or ``"compare"``.
        episodes: number of episodes.
        reached: number of episodes that lasted until the perturbation began; None if clean.
        success: share of successes; None if nothing tells success.
        success_interval: its Wilson interval.
        return_mean: mean sum of rewards.
        return_interval: its BCa bootstrap interval; None for one episode.
        length_mean: mean number of steps.
        return_change: mean of the return minus that of the clean twin; None if clean.
        return_change_interval: its BCa bootstrap interval over pairs; None if clean, or for one episode.
        lost: number of episodes that succeed clean and fail perturbed; None if clean or without success.
        won: number of episodes that fail clean and succeed perturbed; None if clean or without success.
        p_value: exact McNemar test of ``lost`` against ``won``; None if clean or without success.
        recovered: number of episodes that recovered.
        never_recovered: number of episodes that never recovered. In the other episodes it cannot be told.
        recovery_median: median steps from the end of the perturbation until recovery, over the episodes that recovered.
        receipts: for each perturbation its median receipt over the episodes that were reached; empty if clean.
    """

    condition: str
    policy: PolicyRole
    episodes: int
    reached: int | None
    success: float | None
    success_interval: Interval | None
    return_mean: float
    return_interval: Interval | None
    length_mean: float
    return_change: float | None
    return_change_interval: Interval | None
    lost: int | None
    won: int | None
    p_value: float | None
    recovered: int
    never_recovered: int
    recovery_median: float | None
    receipts: tuple[MedianReceipt, ...]

    @property
    def has_effect(self) -> bool:
        """Return whether every perturbation had an effect; true if clean."""
        return all(receipt.has_effect for receipt in self.receipts)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, and whether there was an effect, as JSON types."""
        return {**_json_fields(self), "has_effect": self.has_effect}


@dataclass(frozen=True)
class PolicyComparison:
    """Compare the policy with another one, on the same episodes under one condition.

    Attributes:
        condition: name of the condition.
        harmed: number of episodes in which the other policy succeeds and the policy fails; None without success.
        rescued: number of episodes in which the other policy fails and the policy succeeds; None without success.
        p_value: exact McNemar test of the two numbers; None without success.
        return_difference: mean return of the policy minus that of the other one.
        return_difference_interval: its BCa bootstrap interval over pairs; None for one episode.
    """

    condition: str
    harmed: int | None
    rescued: int | None
    p_value: float | None
    return_difference: float
    return_difference_interval: Interval | None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return _json_fields(self)


def summarize_condition(records: Sequence[TrialRecord], clean: Sequence[TrialRecord]) -> ConditionSummary:
    """Summarize the records of one policy under one condition.

    Args:
        records: one for each episode.
        clean: records of the same policy in the same episodes without a perturbation; those themselves if clean.

    Raises:
        SuccessError: success is known of some episodes only.
        ValueError: the records are not paired.
    """
    _require_paired(records, clean)
    returns, first = _returns(records), records[0]
    successes, is_clean = _successes(records), first.condition == CLEAN
    change = returns - _returns(clean)
    steps = np.array([record.recovery_steps for record in records])
    finite = steps[np.isfinite(steps)]
    lost, won, p_value = (None, None, None) if is_clean else _discordant(clean, records)
    return ConditionSummary(
        condition=first.condition,
        policy=first.policy,
        episodes=len(records),
        reached=None if is_clean else sum(record.onset is not None for record in records),
        success=None if successes is None else float(successes.mean()),
        success_interval=None if successes is None else wilson_interval(int(successes.sum()), len(records)),
        return_mean=float(returns.mean()),
        return_interval=_interval(returns),
        length_mean=float(np.mean([record.length for record in records])),
        return_change=None if is_clean else float(change.mean()),
        return_change_interval=None if is_clean else _interval(change),
        lost=lost,
        won=won,
        p_value=p_value,
        recovered=len(finite),
        never_recovered=int(np.isinf(steps).sum()),
        recovery_median=float(np.median(finite)) if len(finite) else None,
        receipts=_median_receipts(records),
    )


def compare_policies(records: Sequence[TrialRecord], other: Sequence[TrialRecord]) -> PolicyComparison:
    """Compare the records of a policy with those of another one under the same condition.

    Raises:
        SuccessError: success is known of some episodes only.
        ValueError: the records are not paired.
    """
    _require_paired(records, other)
    harmed, rescued, p_value = _discordant(other, records)
    difference = _returns(records) - _returns(other)
    return PolicyComparison(
        records[0].condition, harmed, rescued, p_value, float(difference.mean()), _interval(difference)
    )


def _require_paired(records: Sequence[TrialRecord], others: Sequence[TrialRecord]) -> None:
    seeds, other_seeds = [record.seed for record in records], [record.seed for record in others]
    if not seeds or seeds != other_seeds:
        raise ValueError(f"expected trials of the same episodes, got seeds {seeds[:9]} and {other_seeds[:9]}")


def _returns(records: Sequence[TrialRecord]) -> NDArray[np.float64]:
    return np.array([record.total_reward for record in records])


def _successes(records: Sequence[TrialRecord]) -> NDArray[np.bool_] | None:
    """Return the successes ``(N,)``; None if nothing tells them."""
    if count_successes([SuccessOutcome(record.success, record.success_step) for record in records]) is None:
        return None
    return np.array([bool(record.success) for record in records])


def _discordant(
    before: Sequence[TrialRecord], after: Sequence[TrialRecord]
) -> tuple[int | None, int | None, float | None]:
    """Return the numbers of pairs that only the first and only the second won, and the p-value of McNemar's test."""
    first, second = _successes(before), _successes(after)
    if first is None or second is None:
        return None, None, None
    return int((first & ~second).sum()), int((~first & second).sum()), mcnemar(first, second)


def _median_receipts(records: Sequence[TrialRecord]) -> tuple[MedianReceipt, ...]:
    summaries = []
    for several in zip(*(record.receipts for record in records if record.receipts), strict=True):
        found = [receipt for receipt in several if receipt is not None]
        if not found:
            summaries.append(MedianReceipt("nothing was measured", 0.0, "", 0.0))
            continue
        median = float(np.median([receipt.value for receipt in found]))
        summaries.append(MedianReceipt(found[0].name, median, found[0].unit, found[0].least))
    return tuple(summaries)


def _interval(values: NDArray[np.float64]) -> Interval | None:
    return mean_interval(values) if len(values) > 1 else None


def _json_fields(summary: ConditionSummary | PolicyComparison) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(summary).items()}
