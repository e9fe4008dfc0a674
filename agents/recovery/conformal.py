"""Calibrate the trigger of a recovery policy: thresholds with a given false-alarm rate, from clean episodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...envs.arguments import integer_argument
from ...envs.storage.artifacts import ArtifactError, read_artifact, write_artifact

KIND = "trigger"


@dataclass(frozen=True)
class Trigger:
    """Thresholds below or above which a recovery policy acts.

    Attributes:
        threshold: log density at which base policy and recovery have equal weight; -inf to ignore the density.
        temperature: difference of the log density that changes the odds of the base policy by a factor of e.
        innovation: largest distance between a latent and the predicted one without an alarm; inf to ignore it.
        dwell: largest number of steps in one place without an alarm; inf to ignore it.

    Raises:
        ValueError: a value is NaN, the temperature is not positive and finite, or a bound is negative.

    Example:
        >>> Trigger(threshold=-2.0, temperature=0.5).blend(torch.tensor([-2.0]))
        tensor([0.5000])
    """

    threshold: float
    temperature: float
    innovation: float = math.inf
    dwell: float = math.inf

    def __post_init__(self) -> None:
        if not self.threshold < math.inf:
            raise ValueError(f"threshold must be a finite number or -inf, got {self.threshold}")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be positive and finite, got {self.temperature}")
        for name in ("innovation", "dwell"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")

    @classmethod
    def never(cls) -> Trigger:
        """Return a trigger that never acts, for policies that watch only."""
        return cls(threshold=-math.inf, temperature=1.0)

    @property
    def can_act(self) -> bool:
        """Return whether any quantity may raise an alarm."""
        return self.threshold > -math.inf or self.innovation < math.inf or self.dwell < math.inf

    def blend(self, log_density: Tensor) -> Tensor:
        """Return the weight of the base policy, ``sigmoid((log ρ − threshold) / temperature)``; 1 at threshold -inf."""
        if self.threshold == -math.inf:
            return torch.ones_like(log_density)
        return torch.sigmoid((log_density - self.threshold) / self.temperature)

    def save(self, folder: str | Path) -> None:
        """Write the trigger as a folder with a card (JSON) and its hash.

        Args:
            folder: a new folder, or one with a saved trigger, which is replaced.

        Raises:
            ArtifactError: the folder holds other things or cannot be written to.
        """
        values = {name: float(value) for name, value in asdict(self).items()}
        write_artifact(folder, KIND, {name: value if math.isfinite(value) else None for name, value in values.items()})

    @classmethod
    def load(cls, folder: str | Path) -> Trigger:
        """Read a saved trigger.

        Raises:
            ArtifactError: the card is missing, damaged or altered, or a value is out of range.
        """
        card, _ = read_artifact(folder, KIND)
        unlimited = {"threshold": -math.inf, "innovation": math.inf, "dwell": math.inf}
        try:
            values = {name: card[name] for name in cls.__dataclass_fields__}
            return cls(**{name: float(unlimited[name] if value is None else value) for name, value in values.items()})
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"expected the card of a trigger in {folder}, got a wrong entry: {error}") from error


def calibrate_trigger(
    log_densities: Sequence[NDArray[Any] | Tensor],
    innovations: Sequence[NDArray[Any] | Tensor] = (),
    dwells: Sequence[NDArray[Any] | Tensor] = (),
    false_alarms: float = 0.05,
    *,
    patience: int = 0,
    median_odds: float = 99.0,
) -> Trigger:
    """Return a trigger whose false-alarm rate on clean episodes is at most ``false_alarms``, on average.

    The method is split conformal prediction. The threshold is the ``⌊α (n + 1)⌋``-th smallest of the lowest log
    densities of ``n`` held-out episodes; with patience, of the lowest that last for ``patience + 1`` steps in a row,
    ``min_t max(log ρ_t, …, log ρ_{t + patience})``. Another exchangeable episode stays below it for so long with a
    probability of at most ``α``. The bounds of innovation and dwell are the largest values, treated alike.
    ``α = false_alarms / m`` if ``m`` of the three quantities are given (Bonferroni).

    Source: Papadopoulos, Proedrou, Vovk and Gammerman, *Inductive confidence machines for regression*, ECML 2002; Lei
    et al., *Distribution-free predictive inference for regression*, JASA 2018.

    Args:
        log_densities: log densities of the steps of each held-out episode, which the density was not fitted to; arrays
            or tensors.
        innovations: innovations of the same steps; empty to ignore them.
        dwells: numbers of steps in one place at the same steps; empty to ignore them.
        false_alarms: share of clean episodes in which recovery may act, between 0 and 1.
        patience: number of steps in a row in which the density may be low without an alarm.
        median_odds: odds of the base policy at the median log density of all steps, which set the temperature.

    Raises:
        ValueError: a value is not finite, an episode is empty, the numbers of episodes differ, ``false_alarms``,
            ``patience`` or ``median_odds`` is out of range, or there are too few episodes for this rate.

    Example:
        >>> trigger = calibrate_trigger([np.array([3.0, float(i)]) for i in range(39)], false_alarms=0.05)
        >>> trigger.threshold
        1.0
    """
    _require_share(false_alarms)
    if not 1 < median_odds < math.inf:
        raise ValueError(f"median_odds must be finite and above 1, got {median_odds}")
    count = len(log_densities)
    log_densities = _episodes("log_densities", log_densities, count)
    innovations, dwells = _episodes("innovations", innovations, count), _episodes("dwells", dwells, count)
    share = false_alarms / (1 + bool(len(innovations)) + bool(len(dwells)))
    rank = _rank(share, count, false_alarms)
    steps = integer_argument("patience", patience, at_least=0)
    threshold = float(np.sort([_lowest_lasting(episode, steps) for episode in log_densities])[rank - 1])
    median = float(np.median(np.concatenate(log_densities)))
    temperature = max(median - threshold, 1e-6) / math.log(median_odds)
    return Trigger(threshold, temperature, _highest(innovations, rank), _highest(dwells, rank))


def calibrate_bound(series: Sequence[NDArray[Any] | Tensor], false_alarms: float = 0.05) -> float:
    """Return a bound that the values of another clean episode exceed with a probability of at most ``false_alarms``.

    It is the ``⌊α (n + 1)⌋``-th largest of the largest values of ``n`` held-out episodes; see `calibrate_trigger`.

    Args:
        series: values of the steps of each held-out episode.
        false_alarms: share of clean episodes with an alarm, between 0 and 1.

    Raises:
        ValueError: a value is not finite, an episode is empty, ``false_alarms`` is out of range, or there are too few
            episodes for this rate.

    Example:
        >>> calibrate_bound([np.array([0.0, float(i)]) for i in range(39)], false_alarms=0.05)
        37.0
    """
    _require_share(false_alarms)
    episodes = _episodes("values", series, len(series))
    return _highest(episodes, _rank(false_alarms, len(episodes), false_alarms))


def _require_share(false_alarms: float) -> None:
    if not 0 < false_alarms < 1:
        raise ValueError(f"false_alarms must lie between 0 and 1, both excluded, got {false_alarms}")


def _rank(share: float, count: int, false_alarms: float) -> int:
    """Return the rank of the extreme value of ``count`` episodes that gives ``share`` alarms."""
    rank = math.floor(share * (count + 1))
    if rank < 1:
        needed = math.ceil(1 / share) - 1
        raise ValueError(f"{false_alarms:.1%} false alarms need at least {needed} held-out episodes, got {count}")
    return rank


def _lowest_lasting(values: NDArray[Any], patience: int) -> float:
    """Return the lowest value that an episode stays at or below for ``patience + 1`` steps in a row.

    An episode that is shorter raises no alarm; its highest value counts.
    """
    windows = np.lib.stride_tricks.sliding_window_view(values, min(patience + 1, len(values)))
    return float(windows.max(1).min())


def _highest(series: Sequence[NDArray[Any]], rank: int) -> float:
    """Return the ``rank``-th largest of the largest values of episodes; infinity if there are none."""
    return float(np.sort([np.max(episode) for episode in series])[-rank]) if len(series) else math.inf


def _episodes(name: str, series: Sequence[Any], count: int) -> list[NDArray[Any]]:
    """Return the values of each episode, ``(T,)``, of arrays, lists or tensors."""
    if len(series) not in (0, count):
        raise ValueError(f"{name} of {count} episodes were expected, as many as log_densities, got {len(series)}")
    arrays = [each.detach().cpu().numpy() if isinstance(each, Tensor) else np.asarray(each) for each in series]
    for index, episode in enumerate(arrays):
        if episode.dtype.kind not in "fiu" or not episode.size or not np.isfinite(episode).all():
            problem = "no step" if not episode.size else "a value that is not finite"
            problem = problem if episode.dtype.kind in "fiu" else f"values of type {episode.dtype}"
            raise ValueError(f"finite {name} of at least one step were expected, got {problem} in episode {index}")
    return [episode.reshape(-1) for episode in arrays]
