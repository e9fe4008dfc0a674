"""Load a saved policy of any class."""

from __future__ import annotations

from pathlib import Path

from ...envs.storage.artifacts import ArtifactError, ArtifactLimits, read_card
from . import behavior_cloning, gaussian_policy
from .behavior_cloning import BCPolicy
from .gaussian_policy import SquashedGaussianPolicy
from .policy_card import KIND


def load_policy(folder: str | Path, limits: ArtifactLimits | None = None) -> BCPolicy | SquashedGaussianPolicy:
    """Read a saved policy; nothing that is read is executed.

    Args:
        folder: folder that `BCPolicy.save` or `SquashedGaussianPolicy.save` wrote.
        limits: largest sizes to accept.

    Returns:
        The policy, in evaluation mode.

    Raises:
        ArtifactError: a file is missing, damaged or altered.
    """
    name = read_card(folder, KIND).get("policy")
    if name == behavior_cloning.NAME:
        return BCPolicy.load(folder, limits)
    if name == gaussian_policy.NAME:
        return SquashedGaussianPolicy.load(folder, limits)
    expected = f"{behavior_cloning.NAME} or {gaussian_policy.NAME}"
    raise ArtifactError(f"expected a policy {expected} in {folder}, got {name!r}; update equiact, or check the path")
