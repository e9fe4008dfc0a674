"""Coverage of confidence intervals over training seeds, and size and power of paired tests, by simulation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom, norm, t, trim_mean

from ...agents.evaluation.seed_statistics import (
    compare_paired_seeds,
    improvement_interval,
    interquartile_mean_interval,
    mean_interval_of_seeds,
    success_interval_of_seeds,
)
from ..experiments.experiment import Grid, MeasureJob
from ..experiments.jobs import JobProgress

Floats = NDArray[np.float64]
Bounds = tuple[Floats, Floats]

RECOMMENDED = "Wilson, effective trials"
"""Row of `success_interval_of_seeds`."""


@dataclass(frozen=True)
class IntervalCoverageConfig:
    """Configuration of the coverage simulation.

    Success rates of seeds are beta-distributed. Their correlation is that of two episodes of one seed: their variance
    divided by ``rate (1 - rate)``. In the conditions with failing seeds, a seed succeeds in no episode with the given
    probability, and otherwise with ``succeeding_rate``.

    Attributes:
        seeds: number of training seeds of the comparison of methods.
        other_seeds: further numbers of seeds for the recommended interval.
        episodes: numbers of episodes of a seed.
        rates: expected success rates.
        correlations: correlations of two episodes of one seed.
        failing: probabilities that a seed fails.
        succeeding_rate: success rate of seeds that do not fail.
        effect: difference of the rates for the power of paired tests; the better method has a rate of 0.9.
        repetitions: number of simulated samples of each condition.
        resamples: number of bootstrap samples of means and success rates.
        aggregate_resamples: number of bootstrap samples of aggregates over tasks.
        target: coverage below which a condition is counted.
        seed: seed of the simulation.
    """

    seeds: int = 5
    other_seeds: tuple[int, ...] = (3, 10)
    episodes: tuple[int, ...] = (50, 200)
    rates: tuple[float, ...] = (0.02, 0.1, 0.3, 0.5, 0.8, 0.95, 0.99, 0.999)
    correlations: tuple[float, ...] = (0.0, 0.01, 0.05, 0.2)
    failing: tuple[float, ...] = (0.05, 0.2)
    succeeding_rate: float = 0.95
    effect: float = 0.1
    repetitions: int = 5000
    resamples: int = 500
    aggregate_resamples: int = 1000
    target: float = 0.93
    seed: int = 0


def interval_experiment(config: IntervalCoverageConfig) -> Grid:
    """Return the experiment that simulates the coverage of intervals, once, with the seed of the configuration."""

    def jobs(folder: Path) -> list[MeasureJob]:
        measure = partial(_measure, config)
        return [MeasureJob("Coverage of intervals", folder / "coverage.json", measure, "", "", config.seed)]

    return Grid("interval_coverage", asdict(config), [config.seed], jobs)


def _measure(config: IntervalCoverageConfig, show: JobProgress) -> dict[str, float]:
    return interval_coverage(config)


@dataclass(frozen=True)
class SeedDistribution:
    """Distribution of the success rates of seeds.

    Attributes:
        label: name of the condition.
        rate: expected success rate.
        correlation: correlation of two episodes of one seed, of beta-distributed rates.
        failing: probability that a seed fails, or zero for beta-distributed rates.
    """

    label: str
    rate: float
    correlation: float = 0.0
    failing: float = 0.0

    def sample(self, repetitions: int, seeds: int, generator: np.random.Generator) -> Floats:
        """Return success rates of seeds, ``(repetitions, seeds)``."""
        if self.failing:
            fails = generator.random((repetitions, seeds)) < self.failing
            return np.where(fails, 0.0, self.rate / (1 - self.failing))
        if not self.correlation:
            return np.full((repetitions, seeds), self.rate)
        both = 1 / self.correlation - 1
        return generator.beta(self.rate * both, (1 - self.rate) * both, (repetitions, seeds))


def conditions(config: IntervalCoverageConfig) -> list[SeedDistribution]:
    """Return all conditions of a configuration."""
    spread = [
        SeedDistribution(f"rate {rate:g}, correlation {correlation:g}", rate, correlation)
        for rate, correlation in product(config.rates, config.correlations)
    ]
    rate = config.succeeding_rate
    return spread + [SeedDistribution(f"seeds fail with {p:g}", (1 - p) * rate, failing=p) for p in config.failing]


def interval_coverage(config: IntervalCoverageConfig) -> dict[str, float]:
    """Return coverages and widths of 95 % intervals, and sizes and powers of tests at 5 %, as ``"row: column"``.

    The default configuration takes about two minutes on one core.

    Args:
        config: configuration of the simulation.
    """
    generator = np.random.default_rng(config.seed)
    return (
        mean_coverage(config, generator)
        | success_rate_coverage(config, generator)
        | paired_test_sizes(config, generator)
        | aggregate_coverage(config, generator)
    )


def mean_coverage(config: IntervalCoverageConfig, generator: np.random.Generator) -> dict[str, float]:
    """Return the coverage of intervals of a mean of normally distributed seeds."""
    figures = {}
    for seeds in sorted({config.seeds, *config.other_seeds}):
        values = generator.normal(size=(config.repetitions, seeds))
        found = np.array([mean_interval_of_seeds(row) for row in values])
        low, high = _percentile_bootstrap(values, config.resamples, generator)
        figures[f"mean, t: coverage, {seeds} seeds"] = _coverage(found[:, 0], found[:, 1], 0)
        figures[f"mean, percentile bootstrap: coverage, {seeds} seeds"] = _coverage(low, high, 0)
    return figures


def success_rate_coverage(config: IntervalCoverageConfig, generator: np.random.Generator) -> dict[str, float]:
    """Return a summary of each method, and all conditions of the recommended one."""
    covered: dict[str, list[float]] = {}
    widths: dict[str, list[float]] = {}
    figures = {}
    for seeds in (config.seeds, *config.other_seeds):
        for condition, episodes in product(conditions(config), config.episodes):
            rates = condition.sample(config.repetitions, seeds, generator)
            successes = generator.binomial(episodes, rates)
            intervals = {RECOMMENDED: _recommended(successes, episodes)}
            if seeds == config.seeds:
                intervals |= _other_intervals(successes, episodes, config.resamples, generator)
            for name, (low, high) in intervals.items():
                coverage, width = _coverage(low, high, condition.rate), float((high - low).mean())
                row = name if seeds == config.seeds else f"{name}, {seeds} seeds"
                if not condition.failing:
                    covered.setdefault(row, []).append(coverage)
                    widths.setdefault(row, []).append(width)
                if name == RECOMMENDED:
                    column = f"{episodes} episodes, {seeds} seeds"
                    figures[f"{condition.label}: coverage, {column}"] = coverage
                    figures[f"{condition.label}: width, {column}"] = width
    for row, each in covered.items():
        figures[f"{row}: lowest coverage"] = min(each)
        figures[f"{row}: mean coverage"] = float(np.mean(each))
        figures[f"{row}: conditions below {config.target:g}"] = float((np.array(each) < config.target).sum())
        figures[f"{row}: conditions"] = float(len(each))
        figures[f"{row}: mean width"] = float(np.mean(widths[row]))
    return figures


def paired_test_sizes(config: IntervalCoverageConfig, generator: np.random.Generator) -> dict[str, float]:
    """Return the largest size and the mean power of tests of paired outcomes with seed effects."""
    figures: dict[str, float] = {}
    for effect, name, summary in ((0.0, "largest size", max), (config.effect, "mean power", np.mean)):
        rejected: dict[str, list[float]] = {}
        grid = product(config.episodes, config.correlations, (0.5, 0.9, 0.99) if effect == 0 else (0.9,))
        for episodes, correlation, rate in grid:
            samples = _paired_outcomes((rate, rate - effect), correlation, episodes, config, generator)
            for row, p_values in _p_values(*samples).items():
                rejected.setdefault(row, []).append(float((p_values <= 0.05).mean()))
        figures |= {f"{row}: {name}": float(summary(each)) for row, each in rejected.items()}
    return figures


def aggregate_coverage(config: IntervalCoverageConfig, generator: np.random.Generator) -> dict[str, float]:
    """Return the coverage of intervals of aggregates of normally distributed scores over tasks."""
    figures = {}
    probability, runs = 0.95, config.seeds
    for tasks in (1, 5):
        difficulty = np.arange(tasks) * 1.25
        population = norm.ppf((np.arange(100_000) + 0.5) / 100_000)[:, None] + difficulty
        ground_truth = float(trim_mean(population, 0.25, axis=None))
        shape = (config.repetitions, runs, tasks)
        second = generator.normal(size=shape) + difficulty
        first = generator.normal(size=shape) + difficulty + 2**0.5 * norm.ppf(probability)
        intervals = {
            "interquartile mean, expanded percentile bootstrap": (
                np.array([interquartile_mean_interval(each, resamples=config.aggregate_resamples) for each in second]),
                ground_truth,
            ),
            "interquartile mean, percentile bootstrap": (
                np.array([_interquartile_bootstrap(each, config.aggregate_resamples, generator) for each in second]),
                ground_truth,
            ),
            "probability of improvement, score": (
                np.array([improvement_interval(*each) for each in zip(first, second, strict=True)]),
                probability,
            ),
            "probability of improvement, percentile bootstrap": (
                np.array(
                    [
                        _improvement_bootstrap(*each, config.aggregate_resamples, generator)
                        for each in zip(first, second, strict=True)
                    ]
                ),
                probability,
            ),
        }
        for row, (bounds, value) in intervals.items():
            plural = "task" if tasks == 1 else "tasks"
            figures[f"{row}: coverage, {runs} runs, {tasks} {plural}"] = _coverage(bounds[:, 0], bounds[:, 1], value)
    return figures


def _coverage(low: Floats, high: Floats, value: float) -> float:
    return float(((low <= value) & (value <= high)).mean())


def _recommended(successes: NDArray[Any], episodes: int) -> Bounds:
    """Return `success_interval_of_seeds` of each row, computed once for rows that are permutations of each other."""
    different, inverse = np.unique(np.sort(successes, axis=1), axis=0, return_inverse=True)
    bounds = np.array([success_interval_of_seeds(row, episodes) for row in different])[inverse.reshape(-1)]
    return bounds[:, 0], bounds[:, 1]


def _other_intervals(
    successes: NDArray[Any], episodes: int, resamples: int, generator: np.random.Generator
) -> dict[str, Bounds]:
    """Return the intervals of other methods for successes of each repetition and seed."""
    rates = successes / episodes
    resampled = np.sort(_hierarchical_means(successes, episodes, resamples, generator), axis=1)
    return {
        "percentile bootstrap of seeds": _percentile_bootstrap(rates, resamples, generator),
        "t of seeds": _t_of_seeds(rates),
        "Wilson, all episodes": _wilson(rates.mean(axis=1), successes.shape[1] * episodes),
        "Korn-Graubard": _korn_graubard(rates, episodes),
        "hierarchical bootstrap, percentile": _quantiles(resampled),
        "hierarchical bootstrap, BCa": _bca(rates, resampled),
    }


def _t_of_seeds(rates: Floats) -> Bounds:
    seeds = rates.shape[1]
    half = t.ppf(0.975, seeds - 1) * rates.std(axis=1, ddof=1) / seeds**0.5
    return np.maximum(rates.mean(axis=1) - half, 0), np.minimum(rates.mean(axis=1) + half, 1)


def _wilson(rate: Floats, trials: int) -> Bounds:
    share = norm.ppf(0.975) ** 2 / trials
    half = np.sqrt(share * rate * (1 - rate) + share**2 / 4)
    return (rate + share / 2 - half) / (1 + share), (rate + share / 2 + half) / (1 + share)


def _korn_graubard(rates: Floats, episodes: int) -> Bounds:
    """Return Clopper-Pearson intervals with the effective number of trials, at most all trials."""
    seeds = rates.shape[1]
    trials, rate = seeds * episodes, rates.mean(axis=1)
    between, independent = rates.var(axis=1, ddof=1) / seeds, rate * (1 - rate) / trials
    effect = np.divide(between, independent, out=np.ones_like(rate), where=independent > 0)
    freedom = (t.ppf(0.975, trials - 1) / t.ppf(0.975, seeds - 1)) ** 2
    reduced = np.minimum(trials * freedom / np.maximum(effect, 1e-9), trials)
    effective = np.where(independent > 0, reduced, trials)
    yes, no = rate * effective, (1 - rate) * effective
    low = np.where(rates.any(axis=1), beta.ppf(0.025, np.maximum(yes, 1e-9), no + 1), 0)
    high = np.where((rates < 1).any(axis=1), beta.ppf(0.975, yes + 1, np.maximum(no, 1e-9)), 1)
    return low, high


def _bca(rates: Floats, resampled: Floats) -> Bounds:
    """Return BCa intervals of sorted resampled means, with the acceleration of the jackknife over seeds."""
    resamples, rate = resampled.shape[1], rates.mean(axis=1)
    below = (resampled < rate[:, None]).mean(axis=1) + (resampled == rate[:, None]).mean(axis=1) / 2
    bias = norm.ppf(np.clip(below, 0.5 / resamples, 1 - 0.5 / resamples))
    deviations = rates - rate[:, None]
    squares = (deviations**2).sum(axis=1)
    acceleration = (deviations**3).sum(axis=1) / (6 * np.maximum(squares, 1e-12) ** 1.5)
    bounds = []
    for quantile in norm.ppf((0.025, 0.975)):
        level = norm.cdf(bias + (bias + quantile) / (1 - acceleration * (bias + quantile)))
        index = np.clip((level * resamples).astype(int), 0, resamples - 1)
        bounds.append(np.take_along_axis(resampled, index[:, None], axis=1)[:, 0])
    return bounds[0], bounds[1]


def _percentile_bootstrap(values: Floats, resamples: int, generator: np.random.Generator) -> Bounds:
    """Return percentile bootstrap intervals of the means of rows; all rows share the resampled indices."""
    seeds = values.shape[1]
    weights = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    return _quantiles(values @ weights.T)


def _quantiles(resampled: Floats) -> Bounds:
    low, high = np.quantile(resampled, (0.025, 0.975), axis=1)
    return low, high


def _hierarchical_means(
    successes: NDArray[Any], episodes: int, resamples: int, generator: np.random.Generator
) -> Floats:
    """Return rates of resampled seeds with resampled episodes, ``(repetitions, resamples)``."""
    repetitions, seeds = successes.shape
    total = np.zeros((repetitions, resamples))
    for _ in range(seeds):
        drawn = np.take_along_axis(successes, generator.integers(seeds, size=(repetitions, resamples)), axis=1)
        total += generator.binomial(episodes, drawn / episodes)
    return np.asarray(total / (seeds * episodes))


def _interquartile_bootstrap(scores: Floats, resamples: int, generator: np.random.Generator) -> Floats:
    runs, tasks = scores.shape
    drawn = scores[generator.integers(runs, size=(resamples, runs, tasks)), np.arange(tasks)]
    return np.asarray(np.quantile(trim_mean(drawn.reshape(resamples, -1), 0.25, axis=1), (0.025, 0.975)))


def _improvement_bootstrap(first: Floats, second: Floats, resamples: int, generator: np.random.Generator) -> Floats:
    runs, tasks = first.shape
    one, other = (
        each[generator.integers(runs, size=(resamples, runs, tasks)), np.arange(tasks)] for each in (first, second)
    )
    wins = (np.sign(one[:, :, None] - other[:, None]) + 1).mean(axis=(1, 2, 3)) / 2
    return np.asarray(np.quantile(wins, (0.025, 0.975)))


def _paired_outcomes(
    rates: tuple[float, float],
    correlation: float,
    episodes: int,
    config: IntervalCoverageConfig,
    generator: np.random.Generator,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return outcomes of both methods, ``(repetitions, seeds, episodes)``; half of the episodes share their luck."""
    shape = (config.repetitions, config.seeds, episodes)
    shared, luck = generator.random(shape) < 0.5, generator.random(shape)
    outcomes = []
    for rate in rates:
        seeds = SeedDistribution("", rate, correlation).sample(shape[0], config.seeds, generator)
        outcomes.append(np.where(shared, luck, generator.random(shape)) < seeds[:, :, None])
    return outcomes[0], outcomes[1]


def _p_values(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> dict[str, Floats]:
    """Return p-values of each sample by test."""
    differences = (first.astype(int) - second).sum(axis=2)
    seeds = differences.shape[1]
    signs = np.array(list(product((1, -1), repeat=seeds)))
    flipped = np.abs(differences @ signs.T) >= np.abs(differences.sum(axis=1))[:, None]
    won, lost = (first & ~second).sum(axis=(1, 2)), (second & ~first).sum(axis=(1, 2))
    return {
        "paired t of seeds": np.array(
            [compare_paired_seeds(*each).p_value for each in zip(first, second, strict=True)]
        ),
        "sign flips of seeds": flipped.mean(axis=1),
        "McNemar, all episodes": np.minimum(2 * binom.cdf(np.minimum(won, lost), won + lost, 0.5), 1),
    }
