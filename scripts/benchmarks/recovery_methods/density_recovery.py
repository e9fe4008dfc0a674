"""The proposed recovery, and the published one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ...collect_and_train import HELD_OUT_SEED
from ..run_folder import is_complete
from .registry import BASE_POLICY, PROPOSED_METHOD, RecoveryMethod, recovery_method, register_recovery_method

if TYPE_CHECKING:
    from ....agents.recovery.calibration import Alarm
    from ....agents.recovery.conformal import Trigger
    from ....agents.recovery.recovery_policy import RecoveryPolicy
    from ....representations.densities.conditional_density import SceneDensity
    from ..recovery_run import RecoveryRun


@dataclass(frozen=True)
class DensityRecovery(RecoveryMethod):
    """Recover with a density of the demonstrations in a latent.

    Attributes:
        base: name of the policy without recovery.
        encoder: name of the encoder: ``"equivariant"``, ``"VAE"``, ``"autoencoder"``, or a registered encoder.
        density: name of the family of densities.
        climb: whether recovery follows the gradient of the density, as published, instead of the proposed rules.
        restart: whether recovery may begin the task anew.
        patience: number of steps in a row in which the density may be low without an alarm.
        alarms: quantities that may trigger a recovery.
        calibration: data of the trigger: clean episodes of the base policy, or held-out demonstrations as published.
    """

    base: str = BASE_POLICY
    encoder: str = "equivariant"
    density: str = "mixture"
    climb: bool = False
    restart: bool = True
    patience: int = 1
    alarms: tuple[Alarm, ...] = ("density", "dwell")
    calibration: Literal["episodes", "demonstrations"] = "episodes"

    @property
    def has_recovery(self) -> bool:
        return True

    @property
    def base_policy(self) -> str:
        return self.base

    @property
    def encoders(self) -> tuple[str, ...]:
        return (self.encoder,)

    @property
    def densities(self) -> tuple[tuple[str, str], ...]:
        return ((self.encoder, self.density),)

    def policies(self, name: str) -> tuple[str, ...]:
        return (self.base,)

    def policy(self, name: str, run: RecoveryRun) -> RecoveryPolicy:
        return self._build(run, self.trigger(name, run))

    def watching_policy(self, run: RecoveryRun) -> RecoveryPolicy:
        """Return the policy with a trigger that never acts, which only reports the density."""
        from ....agents.recovery.conformal import Trigger

        return self._build(run, Trigger.never())

    def trained_density(self, run: RecoveryRun) -> SceneDensity:
        """Return the density of the demonstrations."""
        return run.density(self.encoder, self.density)

    def trigger(self, name: str, run: RecoveryRun) -> Trigger:
        """Return the trigger, which is calibrated once and kept."""
        from ....agents.recovery.conformal import Trigger

        folder = run.trigger_folder(name)
        if not is_complete(folder):
            self._calibrate(run).save(folder)
        return Trigger.load(folder)

    def _build(self, run: RecoveryRun, trigger: Trigger) -> RecoveryPolicy:
        from ....agents.baselines.linear_action_map import latent_to_action
        from ....agents.recovery.action_maps import FunctionActionMap
        from ....agents.recovery.config import RecoveryConfig
        from ....agents.recovery.recovery_policy import RecoveryPolicy

        world_cls, options, encoder = run.world_cls, dict[str, Any](), run.encoder(self.encoder)
        if self.encoder != "equivariant":
            to_action = latent_to_action(encoder, run.load("exploration"))
            options["action_map"] = FunctionActionMap(to_action, lambda action, observation: action)
        return RecoveryPolicy(
            run.trained_policy(self.base),
            encoder,
            self.trained_density(run),
            trigger,
            RecoveryConfig(world_cls.max_displacement, world_cls.commands, self.restart, self.patience, self.climb),
            **options,
        )

    def _calibrate(self, run: RecoveryRun) -> Trigger:
        """Return a trigger, calibrated on clean episodes in which the base succeeds, or on held-out demonstrations."""
        if self.calibration == "demonstrations":
            return self._calibrate_on_demonstrations(run)
        from ....agents.evaluation.paired_evaluation import calibrate_on_episodes

        patience = 0 if self.climb else self.patience
        watching = replace(self, climb=False, patience=patience).watching_policy(run)
        world = run.started_world(run.config.calibration_episodes, 2 * HELD_OUT_SEED)
        return calibrate_on_episodes(world, world.save(), watching, self.alarms)

    def _calibrate_on_demonstrations(self, run: RecoveryRun) -> Trigger:
        import torch

        from ....agents.policies.demonstrations import density_conditions
        from ....agents.recovery.conformal import calibrate_trigger

        held_out = run.demonstrate(run.config.calibration_episodes, offset=4 * HELD_OUT_SEED)
        first, episode, commands = density_conditions(held_out, run.world_cls.group.dim)
        latent = torch.from_numpy(run.encoder(self.encoder).encode(held_out.frames)["agent"][held_out.start])
        density = self.trained_density(run)
        value, _ = density.score(latent, density.context_of(density.scene_of(first)[episode], commands))
        return calibrate_trigger([value.numpy()[episode == index] for index in range(len(first))])


def density_recovery(name: str) -> DensityRecovery:
    """Return the method with a name, which recovers with a density.

    Raises:
        RegistryError: no method has this name.
        ValueError: it has no recovery with a density.
    """
    method = recovery_method(name)
    if not isinstance(method, DensityRecovery):
        raise ValueError(f"expected a method that recovers with a density, got {name!r}")
    return method


@register_recovery_method(PROPOSED_METHOD)
def proposed() -> DensityRecovery:
    """Return the proposed recovery."""
    return DensityRecovery(rank=10)


@register_recovery_method("recovery around DART")
def around_dart() -> DensityRecovery:
    """Return the proposed recovery around a policy that was cloned from noisy demonstrations."""
    return DensityRecovery(rank=11, base="DART")


@register_recovery_method("recovery as published")
def as_published() -> DensityRecovery:
    """Return the recovery of Reichlin et al., IROS 2022 (arXiv:2207.08673)."""
    return DensityRecovery(
        rank=12, density="diagonal-mixture", climb=True, alarms=("density",), calibration="demonstrations"
    )
