"""The proposed recovery, and the published one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .registry import BASE_POLICY, PROPOSED_METHOD, RecoveryMethod, register_recovery_method

if TYPE_CHECKING:
    from ....agents.evaluation.paired_evaluation import Alarm
    from ....envs.data.policy import Policy
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
        alarms: quantities that may trigger a recovery.
        calibration: data of the trigger: clean episodes of the base policy, or held-out demonstrations as published.
    """

    base: str = BASE_POLICY
    encoder: str = "equivariant"
    density: str = "mixture"
    climb: bool = False
    restart: bool = True
    alarms: tuple[Alarm, ...] = ("density", "innovation", "dwell")
    calibration: Literal["episodes", "demonstrations"] = "episodes"

    @property
    def has_recovery(self) -> bool:
        return True

    @property
    def encoders(self) -> tuple[str, ...]:
        return (self.encoder,)

    @property
    def densities(self) -> tuple[tuple[str, str], ...]:
        return ((self.encoder, self.density),)

    def policy(self, name: str, run: RecoveryRun) -> Policy:
        return run.recovery_policy(name)


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
