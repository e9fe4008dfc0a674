"""Simple rivals of recovery, without an encoder or a density: drive back to the start by odometry, and begin anew.

There is no restart at a fixed home, such as the mean start of the demonstrations. The arm starts up to 2 cm from there
along each axis. Odometry tells the position relative to the start of the episode, but not where that start is. Without
ground truth the best estimate of the home is therefore the start itself. The two restarts differ in their triggers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...collect_and_train import HELD_OUT_SEED
from ..run_folder import is_complete
from .registry import BASE_POLICY, RecoveryMethod, register_recovery_method

if TYPE_CHECKING:
    from ....agents.recovery.conformal import Trigger
    from ....agents.recovery.restart import RestartConfig, RestartPolicy
    from ....envs.simulation.state_layout import Float
    from ..recovery_run import RecoveryRun


@dataclass(frozen=True)
class Restart(RecoveryMethod):
    """Drive straight back to the start of the episode, open the gripper, and hand over to the base policy.

    Attributes:
        base: name of the policy without recovery.
        is_noisy: whether odometry is noisy, as `RecoveryExperimentConfig` says; exact otherwise.
    """

    base: str = BASE_POLICY
    is_noisy: bool = False

    @property
    def has_recovery(self) -> bool:
        return True

    @property
    def base_policy(self) -> str:
        return self.base

    def policies(self, name: str) -> tuple[str, ...]:
        return (self.base,)

    def policy(self, name: str, run: RecoveryRun) -> RestartPolicy:
        return self.restarting(run, self.config(name, run))

    def restarting(self, run: RecoveryRun, config: RestartConfig) -> RestartPolicy:
        """Return the base policy with restarts."""
        from ....agents.recovery.restart import RestartPolicy

        return RestartPolicy(run.trained_policy(self.base), config, noisy_odometry(run) if self.is_noisy else None)

    @abstractmethod
    def config(self, name: str, run: RecoveryRun) -> RestartConfig:
        """Return when to restart.

        Args:
            name: name of the method.
            run: run of the experiment.
        """


@dataclass(frozen=True)
class OdometryRestart(Restart):
    """Restart when the arm has moved otherwise than commanded.

    The bound of this distance is calibrated on clean episodes of the base policy, as that of the innovation is.
    """

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
        return calibrate_restart(world, world.save(), self.restarting(run, restart_config(run)))


@register_recovery_method("odometry restart")
def odometry_restart() -> OdometryRestart:
    """Return the restart with exact odometry."""
    return OdometryRestart(rank=4)


@register_recovery_method("noisy odometry restart")
def noisy_odometry_restart() -> OdometryRestart:
    """Return the restart with noisy odometry."""
    return OdometryRestart(rank=5, is_noisy=True)


@register_recovery_method("odometry restart around DART")
def odometry_restart_around_dart() -> OdometryRestart:
    """Return the restart with exact odometry, around a policy that was cloned from noisy demonstrations."""
    return OdometryRestart(rank=6, base="DART")


@register_recovery_method("periodic restart")
@dataclass(frozen=True)
class PeriodicRestart(Restart):
    """Restart when the base policy has acted for as many steps as the longest demonstration has, again and again."""

    rank: int = 7

    def config(self, name: str, run: RecoveryRun) -> RestartConfig:
        return restart_config(run, period=float(run.demonstrated_steps().max() + 1))


def restart_config(run: RecoveryRun, **trigger: float) -> RestartConfig:
    """Return the configuration for the arm of a run; without ``innovation`` or ``period`` it never restarts."""
    from ....agents.recovery.restart import RestartConfig

    return RestartConfig(run.world_cls.max_displacement, run.world_cls.group.dim, **trigger)


def noisy_odometry(run: RecoveryRun) -> Callable[[Float], Float]:
    """Return a function that adds noise and a constant bias to displacements, as `RecoveryExperimentConfig` says.

    Both are in units of the root mean square of the demonstrated displacements; the seed determines them.
    """
    import numpy as np

    from ....envs.data.seeds import stream_seed

    exact = run.load("demonstrations").displacement.astype(float)
    step, generator = np.sqrt(np.square(exact).sum(1).mean()), np.random.default_rng(stream_seed(run.seed, "odometry"))
    direction = generator.normal(size=exact.shape[1])
    bias = run.config.odometry_bias * direction / np.linalg.norm(direction)

    def told(displacement: Float) -> Float:
        noise = run.config.odometry_noise * generator.normal(size=displacement.shape)
        return np.asarray(displacement + step * (noise + bias))

    return told
