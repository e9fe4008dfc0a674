"""Paired trials: the same episodes, from the same restored state, under different policies, with and without a push."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from agents.recovery import Policy, RecoveryPolicy
from agents.trigger import Trigger, calibrate
from envs.perturbation import Perturbation, PerturbationError, Pushed
from envs.simulator import Float
from envs.task import TaskWorld

Alarm = Literal["density", "innovation", "dwell"]
ALARMS: tuple[Alarm, ...] = ("density", "innovation", "dwell")
"""What may set a recovery off."""
NEVER = -1e30
"""A threshold that no log density falls below."""
LEAST_RECEIPT = 0.01
"""Metres: a push that moves things by less, in the median, did nothing."""


@dataclass(frozen=True)
class Trial:
    """One policy in all episodes of a batch.

    Attributes:
        success: ``(N,)`` whether the task was achieved before time ran out; at reset nothing counts.
        length: ``(N,)`` steps until then.
        receipt: ``(N,)`` metres by which the push displaced what it pushed; zero without a push.
        triggered: ``(N,)`` whether recovery had more weight than the base in some step after the push, if any.
        recovery_steps: ``(N,)`` steps from the end of the push until the base had more weight again; NaN if recovery
            never acted, infinity if it never ended.
        faults: steps in which the base policy returned something that is not finite.
        trace: which episodes were running, and what `RecoveryPolicy` reported, ``(T, N, …)``.
    """

    success: NDArray[np.bool_]
    length: NDArray[np.int64]
    receipt: Float
    triggered: NDArray[np.bool_]
    recovery_steps: Float
    faults: int
    trace: dict[str, NDArray[Any]]

    def episode(self, name: str, index: int) -> NDArray[Any]:
        """One episode's part of the trace."""
        return np.asarray(self.trace[name][: self.length[index], index])


def run(
    world: TaskWorld,
    initial: Any,
    policy: Policy,
    perturbation: Perturbation | None = None,
    *,
    seed: int = 0,
    on_step: Callable[[int], None] = lambda step: None,
) -> Trial:
    """Play the episodes that start from a saved state.

    Args:
        world: the batch.
        initial: what `World.save` returned after a reset.
        policy: sees frames.
        perturbation: a push, or none.
        seed: of the push's directions: the same seed pushes the same way, whatever the policy.
        on_step: called with every step done.

    Raises:
        PerturbationError: the push did nothing, or the episode has no room for it.
    """
    world.restore(initial)
    count = world.num_worlds
    pushed = None if perturbation is None else Pushed(world, perturbation, np.random.default_rng(seed))
    running, success = np.ones(count, bool), np.zeros(count, bool)
    length = np.zeros(count, int)
    trace: dict[str, list[NDArray[Any]]] = {}
    state: Any = None
    begins = np.ones(count, bool)
    frames = world.render()
    step = 0
    faults = getattr(policy, "faults", 0)
    while running.any():
        acting = np.flatnonzero(running)
        action, state = policy.predict(frames, state, begins)
        begins = np.zeros(count, bool)
        _trace(trace, policy, running)
        action = np.asarray(action, float)
        outcome = world.step(action if pushed is None else pushed(action), acting)
        length += running
        success |= running & outcome.info["success"]
        running &= ~(outcome.terminated | outcome.truncated)
        if running.any():
            frames[running] = world.render(np.flatnonzero(running))
        step += 1
        on_step(step)
    receipt = np.zeros(count) if pushed is None else pushed.receipt
    met = length > (perturbation.onset if perturbation else 0)
    if pushed is not None and not met.any():
        raise PerturbationError(
            f"all {count} episodes were over before the push began: nothing was pushed; begin it earlier"
        )
    if pushed is not None and np.median(receipt[met]) < LEAST_RECEIPT:
        raise PerturbationError(
            f"the push displaced its target by {np.median(receipt[met]):.4f} m in the median, less than "
            f"{LEAST_RECEIPT} m: it did nothing; raise its magnitude or duration"
        )
    stacked = {name: np.stack(values) for name, values in trace.items()}
    end = 0 if perturbation is None else perturbation.end
    triggered, recovery = _interventions(stacked, end)
    return Trial(success, length, receipt, triggered, recovery, getattr(policy, "faults", 0) - faults, stacked)


def _trace(trace: dict[str, list[NDArray[Any]]], policy: Policy, running: NDArray[np.bool_]) -> None:
    trace.setdefault("running", []).append(running.copy())
    if isinstance(policy, RecoveryPolicy) and policy.report is not None:
        for name in ("latent", "log_density", "blend", "innovation", "dwell"):
            trace.setdefault(name, []).append(getattr(policy.report, name))


def _interventions(trace: dict[str, NDArray[Any]], end: int) -> tuple[NDArray[np.bool_], Float]:
    """In which episodes recovery acted after a push (or at all), and for how many steps."""
    running = trace["running"]
    if "blend" not in trace:
        return np.zeros(running.shape[1], bool), np.full(running.shape[1], np.nan)
    recovering = (trace["blend"] < 0.5) & running
    recovering[:end] = False
    triggered = recovering.any(0)
    last = len(recovering) - recovering[::-1].argmax(0)
    steps = np.where(triggered, np.where(last >= running.sum(0), np.inf, last - end), np.nan)
    return triggered, steps


def calibrate_by_playing(
    world: TaskWorld,
    initial: Any,
    watching: RecoveryPolicy,
    alarms: Sequence[Alarm] = ALARMS,
    false_alarms: float = 0.05,
) -> Trigger:
    """A trigger from clean episodes of a base policy, of those in which it succeeded (`agents.trigger.calibrate`).

    Args:
        world: the batch, an episode each.
        initial: what `World.save` returned after a reset; keep it apart from what is evaluated.
        watching: around the base policy, with a trigger that nothing sets off: ``Trigger(-math.inf, 1.0)``.
        alarms: what may set the recovery off; the density has its part of the share even where it may not.
        false_alarms: share of clean episodes in which it may act.

    Raises:
        ValueError: the base succeeded in too few episodes for this share.
    """
    trial = run(world, initial, watching)
    succeeded = np.flatnonzero(trial.success)

    def observed(name: str) -> list[NDArray[Any]]:
        return [trial.episode(name, int(index)) for index in succeeded]

    innovations, dwells = (observed(name) if name in alarms else () for name in ("innovation", "dwell"))
    trigger = calibrate(observed("log_density"), innovations, dwells, false_alarms)
    return trigger if "density" in alarms else replace(trigger, threshold=NEVER)


def mcnemar(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> float:
    """Exact McNemar test of paired outcomes: two-sided p-value that neither of the two succeeds more often.

    >>> mcnemar(np.array([False] * 8 + [True] * 4), np.array([True] * 12))
    0.0078125
    """
    won, lost = int((~before & after).sum()), int((before & ~after).sum())
    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0
