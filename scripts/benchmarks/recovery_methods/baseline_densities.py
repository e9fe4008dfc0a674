"""Baselines of the recovery: another density, or a latent that is not equivariant."""

from __future__ import annotations

from .density_recovery import DensityRecovery
from .registry import register_recovery_method


@register_recovery_method("nearest neighbour")
def nearest_neighbour() -> DensityRecovery:
    """Return a recovery towards the nearest demonstrated state."""
    return DensityRecovery(rank=13, density="nearest", climb=True, alarms=("density",))


@register_recovery_method("VAE latent")
def vae_latent() -> DensityRecovery:
    """Return the published recovery in the latent of a variational autoencoder."""
    return DensityRecovery(rank=14, encoder="VAE", density="diagonal-mixture", climb=True, alarms=("density",))


@register_recovery_method("autoencoder latent")
def autoencoder_latent() -> DensityRecovery:
    """Return the published recovery in the latent of an autoencoder."""
    return DensityRecovery(rank=15, encoder="autoencoder", density="diagonal-mixture", climb=True, alarms=("density",))
