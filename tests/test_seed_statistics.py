"""Intervals over training seeds against independent formulas, invariances, and simulated coverage."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from equiact.agents.evaluation.seed_statistics import (
    PairedComparison,
    compare_paired_seeds,
    improvement_interval,
    interquartile_mean,
    interquartile_mean_interval,
    mean_interval_of_seeds,
    probability_of_improvement,
    success_interval_of_seeds,
)
from equiact.scripts.benchmarks.interval_coverage import (
    RECOMMENDED,
    IntervalCoverageConfig,
    SeedDistribution,
    aggregate_coverage,
    conditions,
    interval_coverage,
    mean_coverage,
    paired_test_sizes,
    success_rate_coverage,
)
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import mannwhitneyu, ttest_1samp, ttest_rel

QUANTILE = 2.7764451051977987  # of Student's t distribution with 4 degrees of freedom at 0.975
RATES = [
    ([180, 190, 150, 185, 195], [200] * 5),
    ([200] * 5, [200] * 5),
    ([0, 0, 0], [50] * 3),
    ([20, 3, 11], [40, 30, 11]),
    ([1, 0, 0, 0, 0], [50] * 5),
]


def outcomes(rates: list[float], episodes: int, seed: int) -> NDArray[np.bool_]:
    return np.random.default_rng(seed).random((len(rates), episodes)) < np.array(rates)[:, None]


def fields(found: PairedComparison) -> list[float]:
    return [found.difference, found.low, found.high, found.p_value]


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_interval_of_a_mean_is_that_of_the_t_test(confidence: float) -> None:
    values = [0.93, 0.81, 0.88, 0.97, 0.7]
    assert mean_interval_of_seeds(values, confidence) == pytest.approx(
        ttest_1samp(values, 0).confidence_interval(confidence)
    )
    assert mean_interval_of_seeds([1, 2, 3, 4, 5]) == pytest.approx((3 - QUANTILE / 2**0.5, 3 + QUANTILE / 2**0.5))


def test_interval_of_a_mean_is_undefined_without_variation() -> None:
    assert mean_interval_of_seeds([0.5]) is None
    assert mean_interval_of_seeds([0.5] * 5) is None


@pytest.mark.parametrize(("successes", "trials"), RATES)
def test_success_interval_solves_the_score_equation(successes: list[int], trials: list[int]) -> None:
    """The bounds are the rates at which the squared t statistic with the design effect is the squared quantile."""
    seeds, total = len(trials), sum(trials)
    rate = sum(successes) / total
    between = sum((y - rate * n) ** 2 for y, n in zip(successes, trials, strict=True)) * seeds / (seeds - 1) / total**2
    least = 0.05 * 100 / (100 + min(sum(successes), total - sum(successes)))
    effect = 1 + least * (sum(n * n for n in trials) / total - 1)
    if 0 < rate < 1:
        effect = max(effect, between / (rate * (1 - rate) / total))
    quantile = {3: 4.302652729696142, 5: QUANTILE}[seeds]

    def score(q: float) -> float:
        return (rate - q) ** 2 - quantile**2 * q * (1 - q) * effect / total

    low = brentq(score, 0, min(rate, 1 - 1e-12), xtol=1e-14) if rate else 0
    high = brentq(score, max(rate, 1e-12), 1, xtol=1e-14) if rate < 1 else 1
    assert success_interval_of_seeds(successes, trials) == pytest.approx((low, high), abs=1e-9)


def test_success_interval_of_many_seeds_is_that_of_their_mean() -> None:
    """With many seeds that differ, the t interval of the seeds' rates is right."""
    rates = np.random.default_rng(0).beta(4, 4, 2000)
    successes = np.round(100 * rates)
    expected = mean_interval_of_seeds(successes / 100)
    assert expected is not None
    assert success_interval_of_seeds(successes, 100) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize(("successes", "trials"), RATES)
def test_success_interval_is_symmetric(successes: list[int], trials: list[int]) -> None:
    low, high = success_interval_of_seeds(successes, trials)
    assert success_interval_of_seeds(successes[::-1], trials[::-1]) == pytest.approx((low, high), abs=1e-12)
    failures = np.subtract(trials, successes)
    assert success_interval_of_seeds(failures, trials) == pytest.approx((1 - high, 1 - low), abs=1e-12)
    assert 0 <= low <= sum(successes) / sum(trials) <= high <= 1 and high - low > 0.01


def test_success_interval_is_wider_where_less_is_known() -> None:
    def width(successes: Any, trials: Any, **options: Any) -> float:
        low, high = success_interval_of_seeds(successes, trials, **options)
        return high - low

    assert width([50, 45, 30, 48, 40], 50) > width([43, 43, 42, 43, 42], 50) > width([172, 172, 168, 172, 168], 200)
    assert width([50] * 3, 50) > width([50] * 5, 50) > width([50] * 10, 50)
    assert width([50] * 5, 50) > width([50] * 5, 50, assumed_correlation=0) > width([50] * 5, 50, confidence=0.5) / 2


@pytest.mark.parametrize("method", ["values", "outcomes"])
def test_paired_comparison_is_the_paired_t_test_of_seeds_that_differ(method: str) -> None:
    first = outcomes([0.9, 0.4, 0.8, 0.7, 0.95], 400, seed=0)
    second = outcomes([0.5, 0.3, 0.2, 0.65, 0.4], 400, seed=1)
    expected = ttest_rel(first.mean(axis=1), second.mean(axis=1))
    kind = bool if method == "outcomes" else float
    bounds = expected.confidence_interval(0.95)
    difference = first.mean() - second.mean()
    assert fields(compare_paired_seeds(first.astype(kind), second.astype(kind))) == pytest.approx(
        [difference, bounds.low, bounds.high, expected.pvalue]
    )


def test_paired_comparison_counts_episodes_if_seeds_agree() -> None:
    """20 of 100 pairs are won and 5 lost, in equal shares of each seed, so seeds show no variance."""
    first, second = np.zeros((5, 20), bool), np.zeros((5, 20), bool)
    first[:, :4], second[:, 4] = True, True
    won, lost = 21 / 102, 6 / 102
    half = QUANTILE * ((won + lost - (won - lost) ** 2) / 102) ** 0.5
    found = compare_paired_seeds(first, second)
    assert fields(found)[:3] == pytest.approx([0.15, 0.15 - half, 0.15 + half])
    values = compare_paired_seeds(first + 0.0, second + 0.0)
    assert values.high - 0.15 == pytest.approx(QUANTILE * ((0.25 - 0.15**2) * 100 / 99 / 100) ** 0.5)


def test_paired_comparison_has_a_width_and_no_sign() -> None:
    same = np.ones((5, 50), bool)
    found = compare_paired_seeds(same, same)
    assert found.difference == 0 and found.p_value == 1 and found.low < 0 < found.high
    assert compare_paired_seeds(same * 2.5, same * 2.5) == PairedComparison(0.0, 0.0, 0.0, 1.0)
    assert compare_paired_seeds(same, ~same).high == 1 and compare_paired_seeds(same, ~same).low < 1
    first, second = outcomes([0.9, 0.8, 0.7], 30, seed=0), outcomes([0.5, 0.6, 0.7], 30, seed=1)
    found, opposite = compare_paired_seeds(first, second), compare_paired_seeds(second, first)
    assert fields(opposite) == pytest.approx([-found.difference, -found.high, -found.low, found.p_value])
    assert fields(compare_paired_seeds(first[::-1], second[::-1])) == pytest.approx(fields(found))
    assert (found.p_value < 0.05) == (found.low > 0)


def test_paired_comparison_weights_episodes_of_unequal_seeds() -> None:
    first = [np.array([True] * 30), np.array([True, False] * 5), np.array([True] * 20)]
    second = [np.array([False, True, True] * 10), np.array([True, False] * 5), np.array([True] * 15 + [False] * 5)]
    found = compare_paired_seeds(first, second)
    assert found.difference == pytest.approx(15 / 60)
    deviations = [10 - 30 / 4, 0 - 10 / 4, 5 - 20 / 4]
    half = 4.302652729696142 * (3 / 2 * sum(each**2 for each in deviations) / 60**2) ** 0.5
    assert found.high - found.difference == pytest.approx(half)


def test_interquartile_mean_is_that_of_the_middle_half() -> None:
    """Sorted, the middle four of the eight scores are 2, 3, 4 and 5."""
    scores = np.array([[7.0, 3.0], [-90.0, 4.0], [1.0, 900.0], [2.0, 5.0]])
    assert interquartile_mean(scores) == 3.5
    assert interquartile_mean(scores[::-1, ::-1]) == 3.5


def test_interquartile_bootstrap_is_stratified() -> None:
    """Tasks differ much more than runs: resampling tasks, or both together, would widen the interval."""
    scores = np.random.default_rng(0).normal(size=(10, 4)) * 0.01 + [0, 10, 20, 30]
    interval = interquartile_mean_interval(scores)
    assert interval is not None
    low, high = interval
    assert low < interquartile_mean(scores) < high
    middle = scores[:, 1:3]  # the middle half of all runs: 20 values, with a standard error of the two tasks' means
    error = (middle.var(axis=0, ddof=1).sum() / 10) ** 0.5 / 2
    assert high - low == pytest.approx(2 * 2.26 * error, rel=0.15)
    assert interquartile_mean_interval(np.ones((5, 2)) * [1, 2]) is None


def test_interquartile_bootstrap_expands_percentiles() -> None:
    """With five runs, the tail of a 50 % interval is Φ(-√(5/4) t) = 0.2038, with t = 0.7407; without √(5/4), 0.2294."""
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(5, 6))
    resamples = np.stack([scores[generator.integers(5, size=(20_000, 5)), [task]] for task in range(6)], axis=2)
    means = np.sort(resamples.reshape(20_000, 30), axis=1)[:, 7:23].mean(axis=1)
    interval = interquartile_mean_interval(scores, confidence=0.5)
    assert interval is not None
    assert (means < interval[0]).mean() == pytest.approx(0.2038, abs=0.013)
    assert (means > interval[1]).mean() == pytest.approx(0.2038, abs=0.013)


def test_probability_of_improvement_is_the_mann_whitney_statistic() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, 9, (7, 3)) + 1.0, generator.integers(0, 9, (5, 3)) + 0.0
    expected = mannwhitneyu(first, second, axis=0).statistic.mean() / 35
    assert probability_of_improvement(first, second) == pytest.approx(expected)
    low, high = improvement_interval(first, second)
    assert improvement_interval(second, first) == pytest.approx((1 - high, 1 - low))
    assert low < expected < high


@pytest.mark.parametrize("tasks", [1, 3])
def test_improvement_interval_solves_newcombes_equation(tasks: int) -> None:
    """Hanley and McNeil's variance at the bound, with both sample sizes less one replaced by their mean."""
    first, second = np.tile([[5.0], [6], [7], [2.5]], tasks), np.tile(np.arange(5.0)[:, None], tasks)
    low, high = improvement_interval(first, second)
    found, quantile = probability_of_improvement(first, second), 2.3646242515927844  # 7 degrees of freedom
    for bound in (low, high):
        q1, q2, excess = bound / (2 - bound), 2 * bound**2 / (1 + bound), 3.5
        variance = (bound * (1 - bound) + excess * (q1 + q2 - 2 * bound**2)) / 20 / tasks
        assert abs(found - bound) == pytest.approx(quantile * variance**0.5, abs=1e-6)
    assert 0 < low < found < high < 1


def test_improvement_interval_has_a_width_if_all_runs_improve() -> None:
    low, high = improvement_interval([5.0, 6, 7, 8, 9], np.arange(5.0))
    assert high == 1 and low < 0.7


def test_success_interval_covers() -> None:
    """Conditions in which a percentile bootstrap of seeds, or Wilson's interval of all episodes, covers too rarely."""
    generator = np.random.default_rng(0)
    for rate, correlation in [(0.5, 0.0), (0.8, 0.05), (0.98, 0.2), (0.02, 0.05)]:
        rates = SeedDistribution("", rate, correlation).sample(1000, 5, generator)
        bounds = np.array([success_interval_of_seeds(row, 100) for row in generator.binomial(100, rates)])
        assert ((bounds[:, 0] <= rate) & (rate <= bounds[:, 1])).mean() > 0.93, (rate, correlation)


def test_paired_test_keeps_its_size() -> None:
    """Both methods have the same expected rate; the seeds of each differ."""
    generator = np.random.default_rng(0)
    for correlation in (0.0, 0.1):
        rates = [SeedDistribution("", 0.7, correlation).sample(1500, 5, generator)[:, :, None] for _ in range(2)]
        first, second = (generator.random((1500, 5, 30)) < each for each in rates)
        p_values = [compare_paired_seeds(*each).p_value for each in zip(first, second, strict=True)]
        assert np.mean(np.array(p_values) <= 0.05) <= 0.06, correlation


def test_simulation_shows_what_a_percentile_bootstrap_covers() -> None:
    figures = mean_coverage(IntervalCoverageConfig(other_seeds=()), np.random.default_rng(0))
    assert figures["mean, percentile bootstrap: coverage, 5 seeds"] == pytest.approx(0.845, abs=0.025)
    assert figures["mean, t: coverage, 5 seeds"] == pytest.approx(0.95, abs=0.015)


def test_simulation_compares_intervals_of_success_rates() -> None:
    config = IntervalCoverageConfig(
        rates=(0.5, 0.98), correlations=(0.05,), failing=(0.2,), episodes=(50,), other_seeds=(3,), repetitions=500
    )
    figures = success_rate_coverage(replace(config, resamples=100), np.random.default_rng(0))
    assert figures[f"{RECOMMENDED}: lowest coverage"] > 0.93 and figures[f"{RECOMMENDED}: conditions below 0.93"] == 0
    assert figures[f"{RECOMMENDED}, 3 seeds: mean width"] > figures[f"{RECOMMENDED}: mean width"]
    assert figures["Wilson, all episodes: lowest coverage"] < 0.8
    assert figures["t of seeds: lowest coverage"] < 0.87  # 0.80 in 5000 repetitions
    assert figures["percentile bootstrap of seeds: conditions below 0.93"] == 2
    unseen = 0.8**5  # samples without a failing seed
    assert figures["seeds fail with 0.2: coverage, 50 episodes, 5 seeds"] == pytest.approx(1 - unseen, abs=0.08)


def test_simulation_compares_paired_tests() -> None:
    config = IntervalCoverageConfig(correlations=(0.05,), episodes=(50,), repetitions=500)
    figures = paired_test_sizes(config, np.random.default_rng(0))
    assert figures["McNemar, all episodes: largest size"] > 0.3 > 0.08 > figures["paired t of seeds: largest size"]
    assert figures["paired t of seeds: mean power"] > 0.2 > 0 == figures["sign flips of seeds: mean power"]


def test_simulation_compares_intervals_of_aggregates() -> None:
    config = IntervalCoverageConfig(repetitions=120, aggregate_resamples=200)
    figures = aggregate_coverage(config, np.random.default_rng(0))
    improvement, mean = "probability of improvement", "interquartile mean"
    for tasks in ("1 task", "5 tasks"):
        assert figures[f"{improvement}, score: coverage, 5 runs, {tasks}"] > 0.9
        expanded = figures[f"{mean}, expanded percentile bootstrap: coverage, 5 runs, {tasks}"]
        assert expanded > figures[f"{mean}, percentile bootstrap: coverage, 5 runs, {tasks}"]
    assert figures[f"{improvement}, percentile bootstrap: coverage, 5 runs, 1 task"] < 0.65  # 0.48 in 5000


def test_simulation_is_reproducible() -> None:
    config = IntervalCoverageConfig(
        rates=(0.5,), correlations=(0.05,), failing=(0.05,), episodes=(20,), repetitions=10, resamples=20
    )
    figures = interval_coverage(config)
    assert figures == interval_coverage(config) != interval_coverage(replace(config, seed=1))
    covered = [value for label, value in figures.items() if ": coverage" in label]
    assert len(covered) == 6 + 3 * 2 + 8 and all(0 <= each <= 1 for each in covered)


def test_conditions_have_their_rate_and_correlation() -> None:
    generator = np.random.default_rng(0)
    for condition in conditions(IntervalCoverageConfig()):
        rates = condition.sample(20_000, 2, generator)
        error = 5 * max(rates.std(), 1e-9) / 40_000**0.5
        assert rates.mean() == pytest.approx(condition.rate, abs=error)
        if not condition.failing:
            expected = condition.correlation * condition.rate * (1 - condition.rate)
            assert rates.var() == pytest.approx(expected, rel=0.25, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval_of_seeds([]), "expected finite values"),
        (lambda: mean_interval_of_seeds([1, math.nan]), "leave out seeds without a value"),
        (lambda: mean_interval_of_seeds([[1, 2]]), r"expected finite values, \(seeds,\)"),
        (lambda: mean_interval_of_seeds([1, 2], confidence=95), "expected 0 < confidence < 1"),
        (lambda: success_interval_of_seeds([5], [9]), "report wilson_interval over its episodes"),
        (lambda: success_interval_of_seeds([5, 6], [9, 0]), "leave out seeds without any"),
        (lambda: success_interval_of_seeds([5, 10], [9, 9]), "expected 0 <= successes <= trials"),
        (lambda: success_interval_of_seeds([5, -1], 9), "expected 0 <= successes <= trials"),
        (lambda: success_interval_of_seeds([5, 6, 7], [9, 9]), "got shapes"),
        (lambda: success_interval_of_seeds([5, math.nan], 9), "expected 0 <= successes <= trials"),
        (lambda: success_interval_of_seeds([5, 6], 9, assumed_correlation=1), "expected 0 <= assumed_correlation < 1"),
        (lambda: compare_paired_seeds(np.ones((1, 5), bool), np.ones((1, 5), bool)), "report mcnemar"),
        (lambda: compare_paired_seeds(np.ones((2, 5)), np.ones((2, 4))), "expected the same seeds and episodes"),
        (lambda: compare_paired_seeds(np.ones((2, 5)), np.ones((3, 5))), "expected the same seeds and episodes"),
        (lambda: compare_paired_seeds(np.ones((2, 5), bool), np.ones((2, 5))), "expected bool outcomes of both"),
        (lambda: compare_paired_seeds(np.ones((2, 5)), np.ones((2, 5)) * math.nan), "expected finite values"),
        (lambda: compare_paired_seeds(np.ones((2, 5)), np.zeros((2, 5))), "expected differences that vary"),
        (lambda: interquartile_mean([]), "expected finite scores"),
        (lambda: interquartile_mean_interval([1, 2]), "at least 3 runs"),
        (lambda: improvement_interval([1], [2, 3]), "at least 2 runs"),
        (lambda: probability_of_improvement(np.ones((3, 2)), np.ones((3, 1))), "expected scores in the same tasks"),
    ],
)
def test_input_without_an_interval_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
