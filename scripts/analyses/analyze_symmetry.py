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
    whose latents each action is a matrix. The group of the matrices is printed, and the element of each action. An
    encoder of another seed must find the same, and so must counting which state follows which where it finds a group;
    otherwise the command fails. Each action is needed at least 64 times, several hundred times with noise. Writes
    nothing.
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
        again = _group_or_none(lambda: discover_action_group(data, config, self.seed + 1, device))
        counted = None
        if 2 * len(data) <= MAX_OBSERVATIONS:
            counted = _group_or_none(lambda: group_of_matched_states(data))
        self._require_agreement(found, again, counted)
        elements = {f"action {index}": int(element) for index, element in enumerate(found.elements)}
        rivals = {"by another seed": _name(again), "by counting states": _name(counted)}
        return {**describe_group(found.found), "elements": elements, **rivals}

    def _require_agreement(self, found: ActionGroup, again: ActionGroup | None, counted: ActionGroup | None) -> None:
        """Raise `NoGroupFoundError` if another seed or counting does not find the same group and elements."""
        from ...representations.analysis.symmetry.group_recovery import NoGroupFoundError

        if again is not None and found.agrees_with(again) and (counted is None or found.agrees_with(counted)):
            return
        raise NoGroupFoundError(
            "expected two seeds, and counting of states where it finds a group, to find one group with the same "
            f"elements, got {_name(found)} from seed {self.seed}, {_name(again)} from seed {self.seed + 1} and "
            f"{_name(counted)} by counting; give more transitions of each action in --data, or raise --steps"
        )


def _group_or_none(discover: Callable[[], ActionGroup]) -> ActionGroup | None:
    """Return the group that is found; None if none is."""
    from ...representations.analysis.symmetry.group_recovery import NoGroupFoundError

    try:
        return discover()
    except NoGroupFoundError:
        return None


def _name(recovered: ActionGroup | None) -> str:
    return "no group" if recovered is None else recovered.found.name


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
