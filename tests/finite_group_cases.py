"""Finite groups, and data with them, that the tests of symmetry discovery share."""

import numpy as np
import pytest
from equiact.representations.analysis.symmetry.action_data import ActionData
from equiact.representations.analysis.symmetry.finite_groups import FiniteGroup
from equiact.representations.analysis.symmetry.group_catalogue import catalogue
from equiact.representations.analysis.symmetry.group_constructors import dihedral_group

ALL = [(name, group) for order in range(1, 25) for name, group in catalogue(order)]


def named(groups: list[tuple[str, FiniteGroup]]) -> pytest.MarkDecorator:
    """Return a parametrisation over groups, with their names as identifiers."""
    return pytest.mark.parametrize(("name", "group"), groups, ids=[name for name, _ in groups])


def relabelled(group: FiniteGroup, labels: object) -> FiniteGroup:
    """Return the same group with element ``g`` called ``labels[g]``."""
    new = np.asarray(labels)
    table = np.empty_like(group.table)
    table[new[:, None], new] = new[group.table]
    return FiniteGroup(table)


def lamp_data(count: int = 64, noise: float = 0.0) -> ActionData:
    """Return images of a bar that one action turns by 90° and another mirrors: the group D4."""
    generator = np.random.default_rng(0)
    bar = np.zeros((16, 16))
    bar[2:5, 3:14], bar[5:10, 3:6], bar[11:14, 3:6] = 200, 120, 60
    group = dihedral_group(4)
    states = np.stack([np.rot90(np.flipud(bar) if k >= 4 else bar, k % 4) for k in range(8)])
    label = np.arange(count) % 2
    pose = np.arange(count) // 2 % 8
    after = group.table[np.array([1, 4])[label], pose]
    noisy = [states[each] + noise * generator.normal(size=(count, 16, 16)) for each in (pose, after)]
    frames = [np.clip(each, 0, 255).astype(np.uint8)[..., None] for each in noisy]
    return ActionData(frames[0], label, frames[1])
