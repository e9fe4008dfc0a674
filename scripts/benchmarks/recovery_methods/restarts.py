"""Simple rivals of recovery, without an encoder or a density: drive back to the start by odometry, and begin anew.

There is no restart at a fixed home, such as the mean start of the demonstrations. The arm starts up to 2 cm from there
along each axis. Odometry tells the position relative to the start of the episode, but not where that start is. Without
ground truth the best estimate of the home is therefore the start itself. The two restarts differ in their triggers.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...collect_and_train import HELD_OUT_SEED
from ..run_folder import is_complete
from .registry import BASE_POLICY, RecoveryMethod, register_recovery_method

if TYPE_CHECKING:
    from ....agents.recovery.conformal import Trigger
    from ....agents.recovery.restart import RestartConfig, RestartPolicy
    from ..recovery_run import RecoveryRun


@dataclass(frozen=True)
class Restart(RecoveryMethod):
    """Drive straight back to the start of the episode, open the gripper, and hand over to behaviour cloning."""

    @property
    def has_recovery(self) -> bool:
        return True

    def policies(self, name: str) -> tuple[str, ...]:
        return (BASE_POLICY,)

    def policy(self, name: str, run: RecoveryRun) -> RestartPolicy:
        return restart_policy(run, self.config(name, run))

    @abstractmethod
    def config(self, name: str, run: RecoveryRun) -> RestartConfig:
        """Return when to restart.

        Args:
            name: name of the method.
            run: run of the experiment.
        """


@register_recovery_method("odometry restart")
@dataclass(frozen=True)
class OdometryRestart(Restart):
    """Restart when the arm has moved otherwise than commanded.

    The bound of this distance is calibrated on clean episodes of the base policy, as that of the innovation is.
    """

    rank: int = 4

    def config(self, name: str, run: RecoveryRun) -> RestartConfig:
        from ....agents.recovery.conformal import Trigger

        folder = run.trigger_folder(name)
        if not is_complete(folder):
            self._calibrate(run).save(folder)
        return restart_config(run, innovation=Trigger.load(folder).innovation)

    def _calibrate(self, run: RecoveryRun) -> Trigger:
        """Return a trigger with the bound."""
        from ....agents.evaluation.paired_evaluation import calibrate_restart

        world = run.started_world(run.config.calibration_episodes, 2 * HELD_OUT_SEED)
        return calibrate_restart(world, world.save(), restart_policy(run, restart_config(run)))


@register_recovery_method("periodic restart")
@dataclass(frozen=True)
class PeriodicRestart(Restart):
    """Restart when the base policy has acted for as many steps as the longest demonstration has, again and again."""

    rank: int = 5

    def config(self, name: str, run: RecoveryRun) -> RestartConfig:
        return restart_config(run, period=float(run.demonstrated_steps().max() + 1))


def restart_config(run: RecoveryRun, **trigger: float) -> RestartConfig:
    """Return the configuration for the arm of a run; without ``innovation`` or ``period`` it never restarts."""
    from ....agents.recovery.restart import RestartConfig

    return RestartConfig(run.world_cls.max_displacement, run.world_cls.group.dim, **trigger)


def restart_policy(run: RecoveryRun, config: RestartConfig) -> RestartPolicy:
    """Return behaviour cloning with restarts."""
    from ....agents.recovery.restart import RestartPolicy

    return RestartPolicy(run.trained_policy(BASE_POLICY), config)
