"""What the recovery experiment compares: recoveries, other policies, ablations, and the pushes of the sweep."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from agents.trials import Alarm

DART_NOISE = {"push": 0.01, "pick": 0.007}
"""Metres of noise in the displacements of noise-injected demonstrations; for picking the best of four on seed 0."""
MAGNITUDES = (0.005, 0.01, 0.02, 0.04)
ONSETS = (1, 10)
SWEEP_PAIRS = 50
"""Paired trials of every cell of the sweep, and of every ablation."""


@dataclass(frozen=True)
class Recovery:
    """A recovery policy to be built: around which policy, in which latent and density, what it does and when."""

    base: str = "behaviour cloning"
    encoder: str = "equivariant"
    density: str = "mixture"
    climb: bool = False
    restart: bool = True
    alarms: tuple[Alarm, ...] = ("density", "innovation", "dwell")
    calibration: Literal["episodes", "demonstrations"] = "episodes"


OFFLINE = "IQL"
CLONED = ("behaviour cloning", "DART", "DAgger", *([OFFLINE] if find_spec("torchrl") else []))
"""Policies without recovery; offline reinforcement learning if TorchRL, an extra, is installed."""
OURS = "recovery"
METHODS = {
    OURS: Recovery(),
    "recovery around DART": Recovery(base="DART"),
    "recovery as published": Recovery(
        density="diagonal mixture", climb=True, alarms=("density",), calibration="demonstrations"
    ),
    "nearest neighbour": Recovery(density="nearest", climb=True, alarms=("density",)),
    "VAE latent": Recovery(encoder="VAE", density="diagonal mixture", climb=True, alarms=("density",)),
    "autoencoder latent": Recovery(encoder="autoencoder", density="diagonal mixture", climb=True, alarms=("density",)),
}
"""What is compared, all but one on the same cloned policy."""
ABLATIONS = {
    "set off by density alone": Recovery(alarms=("density",)),
    "set off by innovation alone": Recovery(alarms=("innovation",)),
    "never stuck": Recovery(alarms=("density", "innovation")),
    "back to the last place, no restart": Recovery(restart=False),
    "climbing the round mixture": Recovery(climb=True, alarms=("density",)),
    "climbing the paper's mixture": Recovery(density="diagonal mixture", climb=True, alarms=("density",)),
    "climbing a flow": Recovery(density="flow", climb=True, alarms=("density",)),
    "climbing kernels": Recovery(density="kernel", climb=True, alarms=("density",)),
}
"""Ours with one thing changed, or the paper's with one thing mended."""
RECOVERIES = METHODS | ABLATIONS
ENCODERS = ("equivariant", "VAE", "autoencoder")


def cell(magnitude: float, onset: int) -> str:
    """The name of a condition of the sweep."""
    return f"{magnitude} m a step from step {onset}"
