"""The command ``equiact analyze symmetry``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ..commands.command import Command
from ..commands.registry import register_command

if TYPE_CHECKING:
    from ...representations.analysis.symmetry.group_recovery import DiscoveredGroup


@register_command("analyze symmetry")
@dataclass(frozen=True)
class AnalyzeSymmetry(Command):
    """Print which finite group a multiplication table is, or which group discrete actions of unknown effect generate.

    A table is an NPY file (n, n) of integers, with the product of g and h in row g and column h. Transitions are an NPZ
    file with the arrays frames and next_frames (N, H, W, C) uint8 and actions (N,) integers. An encoder is trained, on
    whose latents each action is a matrix. The group of the matrices is printed, and the element of each action. The
    group that is found by counting which state follows which is printed beside it. Writes nothing.
    """

    table: Annotated[Path | None, tyro.conf.Positional] = None
    """NPY file of a multiplication table."""
    data: Path | None = None
    """NPZ file of transitions, or a folder with transitions.npz."""
    max_order: int = 24
    """Largest number of elements of the group that is looked for, at most 64."""
    steps: int = 600
    """Number of updates of the encoder."""

    def run(self) -> dict[str, Any]:
        self.require_at_least(max_order=1, steps=1)
        if (self.table is None) == (self.data is None):
            raise ValueError("expected either a file TABLE.npy or --data, got both or neither; name one of them")
        if self.table is not None:
            return self._identify(self.table)
        return self._discover()

    def _identify(self, path: Path) -> dict[str, Any]:
        """Return what is known about the group of a table."""
        import numpy as np

        from ...representations.analysis.symmetry.finite_groups import FiniteGroup
        from ...representations.analysis.symmetry.group_catalogue import identify
        from ...representations.analysis.symmetry.group_recovery import DiscoveredGroup

        try:
            table = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ValueError(f"expected an NPY file with a multiplication table, got {path}: {error}") from error
        if not isinstance(table, np.ndarray):
            raise ValueError(f"expected an NPY file with one array, got the archive {path}; save it with numpy.save")
        group = FiniteGroup(table)
        return describe_group(DiscoveredGroup(group, identify(group), 1.0))

    def _discover(self) -> dict[str, Any]:
        """Return the group of the actions in the transitions."""
        from ...representations.analysis.symmetry.action_data import load_action_data
        from ...representations.analysis.symmetry.action_encoder import ActionEncoderConfig, discover_action_group
        from ...representations.analysis.symmetry.action_group import ActionGroupConfig
        from ...representations.analysis.symmetry.group_recovery import NoGroupFoundError
        from ...representations.analysis.symmetry.state_matching import group_of_matched_states
        from ...representations.learning.config import OptimConfig
        from ...representations.learning.devices import resolve_device

        data = load_action_data(self.data or Path())
        config = ActionEncoderConfig(group=ActionGroupConfig(max_order=self.max_order))
        optim = config.optim
        config = ActionEncoderConfig(
            group=config.group, optim=OptimConfig(self.steps, optim.lr, optim.batch_size), backbone=config.backbone
        )
        found = discover_action_group(data, config, self.seed, str(resolve_device(self.device)))
        try:
            counted = group_of_matched_states(data).found.name
        except ValueError as error:
            if not isinstance(error, NoGroupFoundError) and "observations" not in str(error):
                raise
            counted = "no group"
        elements = {f"action {index}": int(element) for index, element in enumerate(found.elements)}
        return {**describe_group(found.found), "elements": elements, "by counting states": counted}


def describe_group(found: DiscoveredGroup) -> dict[str, Any]:
    """Return what is known about a group, for printing.

    Args:
        found: the group.
    """
    from ...representations.analysis.symmetry.irreducible_representations import irrep_dims

    group = found.group
    orders = Counter(group.orders.tolist())
    dims = Counter(irrep_dims(group)) if group.order <= 128 else {}
    return {
        "group": found.name,
        "order": group.order,
        "abelian": group.is_abelian,
        "conjugacy classes": len(group.conjugacy_classes),
        "order of the center": len(group.center),
        "elements of order": {str(order): count for order, count in sorted(orders.items())},
        "irreps of dimension": {str(dim): count for dim, count in sorted(dims.items())},
        "margin": found.margin,
    }
