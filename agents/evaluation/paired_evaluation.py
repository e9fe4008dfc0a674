"""Paired trials: play the same episodes under different policies, with and without a perturbation.

Every trial restores the same initial state, and the same seed draws the same perturbations. So trials differ only in
the condition that is compared, and outcomes can be compared episode by episode (`statistics.mcnemar`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.batched_envs.world_episodes import WorldEpisodes
from ...envs.data.policy import Policy, PolicyLike, as_policy
from ...envs.data.rollout import rollout
from ...envs.perturbations.errors import PerturbationError
from ...envs.simulation.state_layout import Float
from ...envs.worlds.task_world import TaskWorld
from ...envs.wrappers.task_perturbation import PerturbationInjector, TaskPerturbation
from ..recovery.calibration import ALARMS, Alarm, WatchedEpisode, require_alarms, trigger_of
from ..recovery.conformal import Trigger, calibrate_bound
from ..recovery.recovery_policy import RecoveryPolicy
from ..recovery.restart import RestartPolicy

REPORTED = ("latent", "log_density", "blend", "innovation", "dwell")
"""Quantities of a report that are kept, where the policy has them."""


@dataclass(frozen=True)
class Trial:
    """Outcomes of one policy in ``N`` episodes.

    Attributes:
        success: ``(N,)`` bool, the task was achieved before time ran out.
        length: ``(N,)`` number of steps until success or truncation.
        onset: ``(N,)`` steps before the perturbation began, or would have begun; 0 without a perturbation.
        receipt: ``(N,)`` metres by which the perturbation displaced its target; zero without a perturbation.
        triggered: ``(N,)`` bool, recovery had more weight than the base policy in some step after the perturbation, or
            in any step if there was none.
        recovery_steps: ``(N,)`` steps from the end of the perturbation until the base policy had more weight again. NaN
            if recovery never acted, infinity if it acted until the end.
        faults: number of steps in which the base policy returned values that are not finite.
        trace: the episodes that were running (``"running"``), and what the policy reported, ``(T, N, ...)``.
    """

    success: NDArray[np.bool_]
    length: NDArray[np.int64]
    onset: NDArray[np.int64]
    receipt: Float
    triggered: NDArray[np.bool_]
    recovery_steps: Float
    faults: int
    trace: dict[str, NDArray[Any]]

    def episode(self, name: str, index: int) -> NDArray[Any]:
        """Return the trace of one episode, ``(length, ...)``."""
        return np.asarray(self.trace[name][: self.length[index], index])


def run_trial(
    world: TaskWorld,
    initial: Any,
    policy: PolicyLike,
    perturbation: TaskPerturbation | None = None,
    *,
    seed: int = 0,
    min_receipt: float = 0.01,
    on_step: Callable[[int], None] = lambda step: None,
) -> Trial:
    """Play all episodes that start from a saved state.

    Args:
        world: the batch.
        initial: what `World.save` returned after a reset.
        policy: acts on frames; a `RestartPolicy` is told the performed displacements, too, also those by which a
            perturbation moved the agent.
        perturbation: applied to every episode; None for clean episodes.
        seed: of the directions of the perturbation, which do not depend on the policy.
        min_receipt: metres; a perturbation with a smaller median receipt had no effect, which is an error.
        on_step: called with the number of steps done.

    Raises:
        PerturbationError: the perturbation had no effect, or an episode has no time for it.
    """
    world.restore(initial)
    injector = None
    if perturbation is not None:
        injector = PerturbationInjector(world, perturbation, np.random.default_rng(seed))
    acting = _TracedPolicy(as_policy(policy))
    success, length = np.zeros(world.num_worlds, bool), np.zeros(world.num_worlds, int)
    batch = WorldEpisodes(world, transform_action=injector)
    for count, step in enumerate(rollout(batch, acting), 1):
        acting.add("running", step.valid)
        acting.add_displacement(step.end.info["agent_pose"] - step.start.info["agent_pose"])
        success |= step.valid & step.end.info["success"]
        length += step.valid
        on_step(count)
    onset = end = np.zeros(world.num_worlds, int)
    if perturbation is not None and injector is not None:
        onset = perturbation.onset_steps(world.num_worlds)
        end = onset + perturbation.duration + perturbation.idle
        _require_effect(injector.receipt, length > onset, min_receipt)
    trace = acting.trace()
    triggered, recovery = _interventions(trace, end)
    receipt = np.zeros(world.num_worlds) if injector is None else injector.receipt
    return Trial(success, length, onset, receipt, triggered, recovery, acting.faults, trace)


class _TracedPolicy:
    """Passes calls on to a policy, and stores what a `RecoveryPolicy` or a `RestartPolicy` reports."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._faults_before = getattr(policy, "faults", 0)
        self._trace: dict[str, list[NDArray[Any]]] = {}

    @property
    def faults(self) -> int:
        """Return the number of faults since construction."""
        return int(getattr(self._policy, "faults", 0) - self._faults_before)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[NDArray[Any], Any]:
        action, state = self._policy.predict(observation, state, episode_start, deterministic)
        report = self._policy.report if isinstance(self._policy, RecoveryPolicy | RestartPolicy) else None
        if report is not None:
            for name in [field.name for field in fields(report) if field.name in REPORTED]:
                self.add(name, getattr(report, name))
        return action, state

    def add_displacement(self, displacement: Float) -> None:
        """Tell a policy with odometry the displacements that were performed, ``(N, dim)``."""
        if isinstance(self._policy, RestartPolicy):
            self._policy.add_displacement(displacement)

    def add(self, name: str, values: NDArray[Any]) -> None:
        """Store what is known of this step."""
        self._trace.setdefault(name, []).append(values)

    def trace(self) -> dict[str, NDArray[Any]]:
        """Return arrays ``(T, N, ...)``."""
        return {name: np.stack(values) for name, values in self._trace.items()}


def _require_effect(receipt: Float, met: NDArray[np.bool_], min_receipt: float) -> None:
    """Check that the perturbation displaced its target in the episodes that lasted until it began."""
    if not met.any():
        raise PerturbationError(
            f"all {len(met)} episodes were over before the perturbation began: let it begin earlier (onset)"
        )
    median = float(np.median(receipt[met]))
    if median < min_receipt:
        raise PerturbationError(
            f"the perturbation displaced its target by {median:.4f} m in the median, less than {min_receipt} m: it had "
            "no effect; raise its magnitude or duration"
        )


def _interventions(trace: dict[str, NDArray[Any]], end: NDArray[np.int64]) -> tuple[NDArray[np.bool_], Float]:
    """Return in which episodes recovery acted from their step ``end`` on, and for how many steps."""
    running = trace["running"]
    if "blend" not in trace:
        return np.zeros(running.shape[1], bool), np.full(running.shape[1], np.nan)
    recovering = (trace["blend"] < 0.5) & running & (np.arange(len(running))[:, None] >= end)
    triggered = recovering.any(0)
    last = len(recovering) - recovering[::-1].argmax(0)
    steps = np.where(triggered, np.where(last >= running.sum(0), np.inf, last - end), np.nan)
    return triggered, steps


def calibrate_on_episodes(
    world: TaskWorld,
    initial: Any,
    watching: RecoveryPolicy,
    alarms: Sequence[Alarm] = ALARMS,
    false_alarms: float = 0.05,
) -> Trigger:
    """Calibrate a trigger on clean episodes in which the base policy succeeds, in a batch of our worlds.

    `equiact.agents.recovery.calibration.calibrate_recovery` does so in any environment, without knowing the success.

    Args:
        world: the batch, one episode in each world.
        initial: what `World.save` returned after a reset; keep it apart from the episodes of the evaluation.
        watching: a recovery policy around the base policy whose trigger never acts: ``Trigger.never()``.
        alarms: quantities that may trigger a recovery. The density keeps its share of ``false_alarms`` even without.
        false_alarms: share of clean episodes in which recovery may act, between 0 and 1.

    Raises:
        ValueError: ``false_alarms`` is out of range, an alarm is unknown, or too few episodes succeeded.
    """
    require_alarms(alarms, false_alarms)
    trial = run_trial(world, initial, watching)
    succeeded = [_watched(trial, int(index)) for index in np.flatnonzero(trial.success)]
    return trigger_of(succeeded, alarms, false_alarms, watching.config.alarm_patience)


def calibrate_restart(world: TaskWorld, initial: Any, watching: RestartPolicy, false_alarms: float = 0.05) -> Trigger:
    """Calibrate the innovation of a `RestartPolicy` on clean episodes in which the base policy succeeds.

    Args:
        world: the batch, one episode in each world.
        initial: what `World.save` returned after a reset; keep it apart from the episodes of the evaluation.
        watching: a restart policy that never restarts.
        false_alarms: share of clean episodes in which it may restart, between 0 and 1.

    Returns:
        A trigger with a bound of the innovation alone.

    Raises:
        ValueError: ``false_alarms`` is out of range, or too few episodes succeeded.
    """
    trial = run_trial(world, initial, watching)
    series = [trial.episode("innovation", int(index)) for index in np.flatnonzero(trial.success)]
    return replace(Trigger.never(), innovation=calibrate_bound(series, false_alarms))


def _watched(trial: Trial, index: int) -> WatchedEpisode:
    """Return what was estimated in an episode of a trial."""
    log_density, innovation, dwell = (trial.episode(name, index) for name in ("log_density", "innovation", "dwell"))
    return WatchedEpisode(log_density, innovation, dwell, np.zeros(len(dwell)), terminated=True)
