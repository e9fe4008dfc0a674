"""The command ``equiact analyze symmetry``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ..commands.command import Command
from ..commands.registry import register_command

if TYPE_CHECKING:
    from ...representations.analysis.symmetry.action_data import ActionData
    from ...representations.analysis.symmetry.action_group import ActionGroup
    from ...representations.analysis.symmetry.group_recovery import DiscoveredGroup


@register_command("analyze symmetry")
@dataclass(frozen=True)
class AnalyzeSymmetry(Command):
    """Print which finite group a multiplication table is, or which group discrete actions of unknown effect generate.

    A table is an NPY file (n, n) of integers, with the product of g and h in row g and column h. Transitions are an NPZ
    file with the arrays frames and next_frames (N, H, W, C) uint8 and actions (N,) integers. An encoder is trained, on
    whose latents each action is a matrix. The group of the matrices is printed, and the element of each action. The
    groups that another seed finds, and that are found by counting which state follows which, are printed beside it; if
    the groups differ, the result is not certain. Each action is needed at least 64 times. Writes nothing.
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
        if self.table is not None and self.data is not None:
            raise ValueError("expected either a file TABLE.npy or --data, got both; leave one of them out")
        if self.table is not None:
            return self._identify(self.table)
        if self.data is not None:
            return self._discover(self.data)
        raise ValueError(
            "expected a multiplication table or transitions, got neither; give a file TABLE.npy, or --data FILE.npz"
        )

    def _identify(self, path: Path) -> dict[str, Any]:
        """Return what is known about the group of a table."""
        from ...representations.analysis.symmetry.finite_groups import FiniteGroup
        from ...representations.analysis.symmetry.group_catalogue import identify
        from ...representations.analysis.symmetry.group_recovery import DiscoveredGroup
        from .array_files import read_npy

        if path.expanduser().is_dir():
            raise ValueError(
                f"expected TABLE to be an NPY file, got the folder {path}; name a folder of transitions with --data"
            )
        table = read_npy(path, "TABLE")
        group = FiniteGroup(table)
        return describe_group(DiscoveredGroup(group, identify(group), 1.0))

    def _discover(self, path: Path) -> dict[str, Any]:
        """Return the group of the actions in the transitions."""
        from ...representations.analysis.symmetry.action_encoder import ActionEncoderConfig, discover_action_group
        from ...representations.analysis.symmetry.action_group import ActionGroupConfig
        from ...representations.analysis.symmetry.state_matching import MAX_OBSERVATIONS, group_of_matched_states
        from ...representations.learning.config import OptimConfig
        from ...representations.learning.devices import resolve_device

        data = read_transitions(path)
        optim = ActionEncoderConfig().optim
        config = ActionEncoderConfig(
            optim=OptimConfig(self.steps, optim.lr, optim.batch_size), group=ActionGroupConfig(max_order=self.max_order)
        )
        device = str(resolve_device(self.device))
        found = discover_action_group(data, config, self.seed, device)
        again = _name(lambda: discover_action_group(data, config, self.seed + 1, device))
        counted = "no group"
        if 2 * len(data) <= MAX_OBSERVATIONS:
            counted = _name(lambda: group_of_matched_states(data))
        rivals = {"by another seed": again, "by counting states": counted}
        self._report_doubt(found.found.name, again, counted)
        elements = {f"action {index}": int(element) for index, element in enumerate(found.elements)}
        return {**describe_group(found.found), "elements": elements, **rivals}

    def _report_doubt(self, name: str, again: str, counted: str) -> None:
        """Print a line on standard error if another seed or counting finds another group."""
        from ..progress import console

        if again == name and counted in (name, "no group"):
            return
        console.print(
            f"The group is not certain: seed {self.seed} finds {name}, seed {self.seed + 1} {again}, and counting "
            f"states {counted}. Give more transitions of each action in --data."
        )


def _name(discover: Callable[[], ActionGroup]) -> str:
    """Return the name of the group that is found."""
    from ...representations.analysis.symmetry.group_recovery import NoGroupFoundError

    try:
        return discover().found.name
    except NoGroupFoundError:
        return "no group"


def read_transitions(path: Path) -> ActionData:
    """Return the transitions of an NPZ file, or of a folder with ``transitions.npz``.

    Args:
        path: the file or the folder that ``--data`` names.

    Raises:
        ValueError: there is no such file, it is damaged, or its arrays do not fit.
    """
    from ...representations.analysis.symmetry.action_data import action_data_file, action_data_of_arrays
    from .array_files import read_arrays

    file = action_data_file(path.expanduser())
    return action_data_of_arrays(read_arrays(file, "--data"), f"--data {file}")


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
