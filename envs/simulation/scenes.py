"""The interface between `Simulator` and the devices that it runs on."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .state_layout import Float, Pixels, Worlds


class Scenes(Protocol):
    """A batch of scenes on a device; `Simulator` documents the attributes and methods."""

    state: Float
    colours: NDArray[np.float32]

    def step(self, steps: int, worlds: Worlds | None) -> None:
        """Advance the physics."""

    def forward(self, worlds: Worlds | None) -> None:
        """Recompute poses from the state."""

    def render(self, worlds: Worlds | None) -> Pixels:
        """Return new frames ``(n, height, width, 3)``."""
        ...

    def close(self) -> None:
        """Free threads and memory."""
