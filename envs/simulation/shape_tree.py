"""A tree of boxes around shapes, in the order of a depth-first walk, which kernels follow without a stack.

A ray that misses a box goes on at the node that follows the box's whole branch. That is faster on a CPU than Warp's
general tree, for the tens of shapes of a MuJoCo model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]


class ShapeTree:
    """Halve shapes again and again by their position; later only fit the boxes to moved shapes.

    Args:
        lower: smallest corner of the box around each shape, ``(n, 3)``.
        upper: its largest corner.

    Attributes:
        leaf: shape of each node, -1 for inner nodes.
        skip: node after its branch.
    """

    def __init__(self, lower: Boxes, upper: Boxes) -> None:
        self._centres, self._large = (lower + upper) / 2, (upper - lower).max(-1)
        leaf: list[int] = []
        skip: list[int] = []
        self._inner: list[tuple[int, int, int, int]] = []  # depth, node, left child, right child
        self._grow(np.arange(len(lower)), 0, leaf, skip)
        self.leaf, self.skip = np.array(leaf, np.int32), np.array(skip, np.int32)
        self._shape_nodes = np.flatnonzero(self.leaf >= 0)
        table = np.array(self._inner, int).reshape(-1, 4)
        self._levels = [table[table[:, 0] == depth, 1:].T for depth in sorted(set(table[:, 0]), reverse=True)]

    def fit(self, lower: Boxes, upper: Boxes, node_lower: Boxes, node_upper: Boxes) -> None:
        """Write the boxes of all nodes, ``(worlds, nodes, 3)``, from those of the shapes, ``(worlds, n, 3)``."""
        for bounds, nodes, join in ((lower, node_lower, np.minimum), (upper, node_upper, np.maximum)):
            nodes[:, self._shape_nodes] = bounds[:, self.leaf[self._shape_nodes]]
            for node, left, right in self._levels:
                nodes[:, node] = join(nodes[:, left], nodes[:, right])

    def _grow(self, shapes: NDArray[Any], depth: int, leaf: list[int], skip: list[int]) -> int:
        """Append a branch, and return its first node."""
        node = len(leaf)
        leaf.append(int(shapes[0]) if len(shapes) == 1 else -1)
        skip.append(node + 1)
        if len(shapes) < 2:
            return node
        first, second = self._split(shapes)
        left = self._grow(first, depth + 1, leaf, skip)
        right = self._grow(second, depth + 1, leaf, skip)
        self._inner.append((depth, node, left, right))
        skip[node] = len(leaf)
        return node

    def _split(self, shapes: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return two parts: a shape far larger than the others alone, else the halves along the longest axis."""
        sizes = self._large[shapes]
        largest = int(sizes.argmax())
        if sizes[largest] > 4 * np.median(sizes):
            return shapes[[largest]], np.delete(shapes, largest)
        centres = self._centres[shapes]
        order = np.argsort(centres[:, np.ptp(centres, axis=0).argmax()], kind="stable")
        middle = len(shapes) // 2
        return shapes[order[:middle]], shapes[order[middle:]]
