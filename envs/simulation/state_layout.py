"""Array types of the simulator, and the layout of a scene's state.

The state of a scene is one row of numbers, MuJoCo's ``mjSTATE_INTEGRATION``: everything that the next step depends on
(time, positions, velocities, warm start, controls, mocap bodies, …). Its components are stored one after another, in
the order of their bits.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import mujoco

Float = NDArray[np.float64]
Pixels = NDArray[np.uint8]
Worlds = NDArray[np.intp]
STATE_FIELDS = {
    "time": "mjSTATE_TIME",
    "qpos": "mjSTATE_QPOS",
    "qvel": "mjSTATE_QVEL",
    "act": "mjSTATE_ACT",
    "qacc_warmstart": "mjSTATE_WARMSTART",
    "ctrl": "mjSTATE_CTRL",
    "qfrc_applied": "mjSTATE_QFRC_APPLIED",
    "xfrc_applied": "mjSTATE_XFRC_APPLIED",
    "eq_active": "mjSTATE_EQ_ACTIVE",
    "mocap_pos": "mjSTATE_MOCAP_POS",
    "mocap_quat": "mjSTATE_MOCAP_QUAT",
}
"""Names of the components of the state, and of MuJoCo's constants for them."""


def state_slice(model: mujoco.MjModel, name: str) -> slice:
    """Return the columns of a state that hold a component, such as ``"qpos"``."""
    import mujoco

    integration = int(mujoco.mjtState.mjSTATE_INTEGRATION)
    bits = [1 << i for i in range(integration.bit_length()) if integration >> i & 1]
    layout = _layout(tuple((bit, mujoco.mj_stateSize(model, bit)) for bit in bits))
    return layout[int(getattr(mujoco.mjtState, STATE_FIELDS[name]))]


@functools.lru_cache(maxsize=256)
def _layout(sizes: tuple[tuple[int, int], ...]) -> dict[int, slice]:
    starts = np.cumsum([0] + [size for _, size in sizes])
    return {component: slice(int(a), int(a) + size) for (component, size), a in zip(sizes, starts[:-1], strict=True)}
