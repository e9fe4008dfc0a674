"""Ablations: the proposed recovery with one change, or gradient ascent with other densities."""

from __future__ import annotations

from .density_recovery import DensityRecovery
from .registry import register_recovery_method


@register_recovery_method("density alarm only")
def density_alone() -> DensityRecovery:
    """Return the proposed recovery, triggered by a low density only."""
    return DensityRecovery(rank=20, is_ablation=True, alarms=("density",))


@register_recovery_method("dwell alarm only")
def dwell_alone() -> DensityRecovery:
    """Return the proposed recovery, triggered by a policy that does not move only."""
    return DensityRecovery(rank=21, is_ablation=True, alarms=("dwell",))


@register_recovery_method("innovation alarm, too")
def innovation_too() -> DensityRecovery:
    """Return the proposed recovery with an alarm for a movement that the action does not explain."""
    return DensityRecovery(rank=22, is_ablation=True, alarms=("density", "innovation", "dwell"))


@register_recovery_method("no patience")
def impatient() -> DensityRecovery:
    """Return the proposed recovery, which acts in the first step of low density."""
    return DensityRecovery(rank=22, is_ablation=True, patience=0)


@register_recovery_method("no restart")
def no_restart() -> DensityRecovery:
    """Return the proposed recovery, which never begins the task anew."""
    return DensityRecovery(rank=23, is_ablation=True, restart=False)


@register_recovery_method("gradient ascent, isotropic mixture")
def climb_mixture() -> DensityRecovery:
    """Return gradient ascent on a mixture of isotropic Gaussians."""
    return DensityRecovery(rank=24, is_ablation=True, climb=True, alarms=("density",))


@register_recovery_method("gradient ascent, diagonal mixture")
def climb_diagonal_mixture() -> DensityRecovery:
    """Return gradient ascent on a mixture of diagonal Gaussians, as published."""
    return DensityRecovery(rank=25, is_ablation=True, density="diagonal-mixture", climb=True, alarms=("density",))


@register_recovery_method("gradient ascent, flow")
def climb_flow() -> DensityRecovery:
    """Return gradient ascent on a normalising flow."""
    return DensityRecovery(rank=26, is_ablation=True, density="flow", climb=True, alarms=("density",))


@register_recovery_method("gradient ascent, kernel")
def climb_kernels() -> DensityRecovery:
    """Return gradient ascent on a kernel density."""
    return DensityRecovery(rank=27, is_ablation=True, density="kernel", climb=True, alarms=("density",))
