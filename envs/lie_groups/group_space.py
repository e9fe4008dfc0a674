"""A Gymnasium space of group elements."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from .group import Group, GroupError


class GroupSpace(gym.spaces.Box):
    """The space of elements of a group, as float32 coordinates.

    `sample` draws tangent vectors uniformly within bounds and returns their exponentials. `contains` accepts every
    element, also those beyond the bounds.

    Args:
        group: the group.
        max_tangent: largest absolute tangent coordinates of a sample; None samples uniformly from a compact group.
        count: number of elements in a member of the space, of shape ``(count, dim)``; None for one of shape ``(dim,)``.
    """

    def __init__(self, group: Group, max_tangent: tuple[float, ...] | None = None, count: int | None = None) -> None:
        self.group, self.max_tangent, self.count = group, max_tangent, count
        bound = max(1.0, *(max_tangent or (1.0,)))
        super().__init__(-bound, bound, (group.dim,) if count is None else (count, group.dim), np.float32)

    def contains(self, x: Any) -> bool:
        """Return whether ``x`` has the shape of the space and consists of group elements."""
        given = np.asarray(x)
        if given.shape != self.shape or given.dtype.kind not in "fiu":
            return False
        try:
            self.group.validate(given)
        except GroupError:
            return False
        return True

    def sample(self, mask: None = None, probability: None = None) -> NDArray[Any]:
        """Return random elements, of the shape of the space."""
        count = self.count or 1
        if self.max_tangent is None:
            elements = self.group.random(self.np_random, count)
        else:
            limit = np.array(self.max_tangent)
            elements = self.group.exp(self.np_random.uniform(-limit, limit, (count, self.group.tangent_dim)))
        return elements.reshape(self.shape).astype(np.float32)
