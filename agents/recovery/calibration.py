"""Calibrate all alarms of a recovery policy on clean episodes of its base policy, in any environment."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from ...envs.arguments import integer_argument
from ...envs.batched_envs.batch_step import BatchStep, Mask
from ...envs.data.rollout import as_batched, rollout
from .conformal import Trigger, calibrate_trigger
from .recovery_policy import RecoveryPolicy

Alarm = Literal["density", "innovation", "dwell"]
"""A quantity that may trigger a recovery; see `RecoveryPolicy`."""

ALARMS: tuple[Alarm, ...] = ("density", "dwell")
"""The alarms by default. After a surprising movement (innovation) base policies often come back by themselves."""


@dataclass(frozen=True)
class WatchedEpisode:
    """A clean episode of the base policy, and what the recovery policy estimated in it.

    Attributes:
        log_density: log density of the demonstrations at each step, ``(T,)``.
        innovation: distance between the latent and the predicted one at each step, ``(T,)``.
        dwell: number of steps in one place at each step, ``(T,)``.
        reward: reward of each step, ``(T,)``.
        terminated: whether the episode reached an end of its own; false if it ran out of time.
    """

    log_density: NDArray[np.float32]
    innovation: NDArray[np.float32]
    dwell: NDArray[np.int64]
    reward: NDArray[np.floating[Any]]
    terminated: bool

    @property
    def episode_return(self) -> float:
        """Sum of the rewards."""
        return float(np.sum(self.reward))


def calibrate_recovery(
    env: Any,
    watching: RecoveryPolicy,
    *,
    episodes: int,
    seed: int,
    alarms: Sequence[Alarm] = ALARMS,
    false_alarms: float = 0.05,
    keep: Callable[[WatchedEpisode], bool] | None = None,
    autoreset: AutoresetMode | str | None = None,
    max_episode_steps: int = 10_000,
    progress: Callable[[int], None] = lambda done: None,
) -> Trigger:
    """Return a trigger whose false-alarm rate in clean episodes of the base policy is at most ``false_alarms``.

    The policy acts in ``env`` while its trigger never raises an alarm. The largest innovation and dwell and the lowest
    log density of each episode give the thresholds by split conformal prediction (`conformal.calibrate_trigger`).

    The guarantee: if a new clean episode is exchangeable with the calibration episodes (same environment, same base
    policy, same distribution of seeds), the probability that any alarm is raised in it is at most ``false_alarms``. The
    probability is over the calibration episodes, too. So the rate holds on average over calibrations; that of one
    calibration varies around it, by about ``sqrt(false_alarms / episodes)``. Calibrate on episodes whose seeds no
    evaluation uses, and that the density was not fitted to. With ``keep``, it holds for new episodes that would be
    kept.

    No ground truth is read: neither ``info`` nor the state of a simulator.

    Args:
        env: a Gymnasium environment, single or vector, or another that `equiact.envs.data.rollout.rollout` accepts.
        watching: the recovery policy with a trigger that never acts: ``Trigger.never()``.
        episodes: number of clean episodes. Each environment of a batch plays an equal share, so that short episodes are
            not preferred.
        seed: of the environment, and of base policies with a method ``seed(generator)``.
        alarms: quantities that may trigger a recovery. The density keeps its share of ``false_alarms`` even without.
        false_alarms: share of clean episodes in which recovery may act, between 0 and 1.
        keep: returns whether an episode is a clean one, such as ``lambda episode: episode.episode_return > 90``; all
            are if not given.
        autoreset: how a vector environment resets, if it does not declare it: "NextStep", "SameStep" or "Disabled".
        max_episode_steps: largest length of an episode, in steps.
        progress: called with the number of episodes so far.

    Raises:
        TypeError: ``watching`` is no `RecoveryPolicy`, or ``env`` no environment.
        ValueError: an argument is out of range, ``watching`` has a trigger that acts, an estimate or an action of the
            base policy is not finite, an episode does not end, or too few episodes were played or kept.

    Example:
        >>> import gymnasium as gym
        >>> from equiact.agents.recovery.config import RecoveryConfig
        >>> from equiact.representations.densities.registry import make_density
        >>> density = make_density("kernel", 1)
        >>> _ = density.fit(np.linspace(-0.6, -0.4, 100)[:, None])
        >>> watching = RecoveryPolicy(
        ...     lambda observation: np.zeros((len(observation), 1)),
        ...     lambda observation: observation[:, :1],
        ...     density,
        ...     Trigger.never(),
        ...     RecoveryConfig(step=0.1),
        ... )
        >>> env = gym.make("MountainCarContinuous-v0", max_episode_steps=5)
        >>> calibrate_recovery(env, watching, episodes=60, seed=0).dwell
        5.0
    """
    require_alarms(alarms, false_alarms)
    count = integer_argument("episodes", episodes, at_least=1)
    limit = integer_argument("max_episode_steps", max_episode_steps, at_least=1)
    policy = _watching(watching)
    batch = as_batched(env, autoreset=autoreset)
    watcher = _Watcher(policy, count, batch.num_envs, limit)
    generator = np.random.default_rng(integer_argument("seed", seed, at_least=0))
    env_seed = int(generator.integers(2**31))
    policy.seed(generator)
    for step in rollout(batch, policy, seed=env_seed):
        watcher.add(step)
        progress(len(watcher.episodes))
        if watcher.complete:
            break
    return trigger_of(_kept(watcher.episodes, count, keep), alarms, false_alarms, watching.config.alarm_patience)


def trigger_of(
    episodes: Sequence[WatchedEpisode], alarms: Sequence[Alarm], false_alarms: float, patience: int
) -> Trigger:
    """Return the trigger of clean episodes; see `calibrate_recovery`.

    Args:
        episodes: the episodes.
        alarms: quantities that may trigger a recovery.
        false_alarms: share of clean episodes in which recovery may act, between 0 and 1.
        patience: number of steps in a row in which the density may be low without an alarm.

    Raises:
        ValueError: an estimate is not finite, or there are too few episodes for this rate.
    """
    innovations = [each.innovation for each in episodes] if "innovation" in alarms else []
    dwells = [each.dwell for each in episodes] if "dwell" in alarms else []
    trigger = calibrate_trigger(
        [each.log_density for each in episodes], innovations, dwells, false_alarms, patience=patience
    )
    return trigger if "density" in alarms else replace(trigger, threshold=-math.inf)


def require_alarms(alarms: Sequence[str], false_alarms: float) -> None:
    """Check the alarms and their rate.

    Raises:
        ValueError: ``false_alarms`` is out of range, or an alarm is unknown.
    """
    if not 0 < false_alarms < 1:
        raise ValueError(f"false_alarms must lie between 0 and 1, both excluded, got {false_alarms}")
    if not alarms or set(alarms) - set(get_args(Alarm)):
        raise ValueError(f"alarms must be at least one of {get_args(Alarm)}, got {tuple(alarms)}")


def _watching(policy: Any) -> RecoveryPolicy:
    """Return a copy of a policy that watches, and that needs no gradient of its density."""
    if not isinstance(policy, RecoveryPolicy):
        raise TypeError(f"expected a RecoveryPolicy with Trigger.never(), got {type(policy).__name__}")
    if policy.trigger.can_act:
        raise ValueError(
            "expected a policy that watches only, got one whose trigger can act; "
            "pass policy.with_trigger(Trigger.never())"
        )
    copied = policy.with_trigger(policy.trigger)
    copied.config = replace(policy.config, climb=False)
    return copied


def _kept(
    episodes: list[WatchedEpisode], count: int, keep: Callable[[WatchedEpisode], bool] | None
) -> list[WatchedEpisode]:
    """Return the episodes to calibrate on."""
    if len(episodes) < count:
        raise ValueError(
            f"{count} episodes were expected, got {len(episodes)}: this environment stops by itself; "
            "lower episodes, or make it larger"
        )
    kept = episodes if keep is None else [each for each in episodes if keep(each)]
    if not kept:
        raise ValueError(f"keep accepted none of {count} episodes: check it, and the base policy")
    return kept


@dataclass
class _Watcher:
    """Cuts what a recovery policy reports into episodes; each environment plays its share of them."""

    policy: RecoveryPolicy
    count: int
    num_envs: int
    max_steps: int
    episodes: list[WatchedEpisode] = field(default_factory=list)

    def __post_init__(self) -> None:
        envs = np.arange(self.num_envs)
        self._left = self.count // self.num_envs + (envs < self.count % self.num_envs)
        self._rows: list[list[tuple[Any, ...]]] = [[] for _ in envs]

    @property
    def complete(self) -> bool:
        """Return whether every environment has played its share."""
        return not self._left.any()

    def add(self, step: BatchStep) -> None:
        """Store a step of every environment that still plays."""
        report = self.policy.report
        if report is None:
            return
        playing: Mask = step.valid & (self._left > 0)
        _require_no_fault(report.fault & playing, len(self.episodes))
        ended = step.ended
        for index in np.flatnonzero(playing):
            rows = self._rows[index]
            rows.append((report.log_density[index], report.innovation[index], report.dwell[index], step.reward[index]))
            if ended[index]:
                log_density, innovation, dwell, reward = (np.array(column) for column in zip(*rows, strict=True))
                terminated = bool(step.terminated[index])
                self.episodes.append(WatchedEpisode(log_density, innovation, dwell, reward, terminated))
                self._left[index] -= 1
                self._rows[index] = []
            elif len(rows) >= self.max_steps:
                raise ValueError(
                    f"an episode did not end within {self.max_steps} steps: wrap the environment in "
                    "gymnasium.wrappers.TimeLimit, or raise max_episode_steps"
                )


def _require_no_fault(fault: Mask, done: int) -> None:
    if fault.any():
        raise ValueError(
            f"finite actions of the base policy and finite log densities were expected, got others in environment "
            f"{fault.argmax()} after {done} episodes; check the base policy and the latent"
        )
