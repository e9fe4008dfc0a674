"""The card of saved policies: which class of policy a folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from ...envs.storage.artifacts import ArtifactError, ArtifactLimits, read_artifact

KIND = "policy"
"""The entry ``kind`` of the card of every saved policy."""


def read_policy(folder: str | Path, name: str, limits: ArtifactLimits) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the card and the tensors of a saved policy of one class.

    Args:
        folder: folder of the policy.
        name: entry ``policy`` of the card, which tells the class.
        limits: largest sizes to accept.

    Raises:
        ArtifactError: a file is missing, damaged or altered, or holds another policy.
    """
    card, tensors = read_artifact(folder, KIND, limits)
    if card.get("policy") != name:
        raise ArtifactError(f"expected a {name} policy in {folder}, got {card.get('policy')!r}; check the path")
    return card, tensors
