"""Conditions that make data worse: fewer transitions, fewer contacts, wrong odometry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...envs.data.transitions import Transitions


@dataclass(frozen=True)
class DataCondition:
    """Say what is done to transitions before an encoder learns from them.

    Attributes:
        transitions: number of transitions, of the first; all if None.
        contact_share: share of transitions with contact; the others of these are left out at random. All stay if None.
        noise: standard deviation of noise of the displacements in each coordinate, in root-mean-square displacements.
        bias: length of a constant bias of the displacements, in root-mean-square displacements.
        lag: steps by which displacements are recorded too late; the first ones of an episode are zero.
    """

    transitions: int | None = None
    contact_share: float | None = None
    noise: float = 0.0
    bias: float = 0.0
    lag: int = 0

    def apply(self, transitions: Transitions, seed: int) -> Transitions:
        """Return the transitions in this condition.

        Args:
            transitions: the transitions; which of them touch the object must be known if contacts are left out.
            seed: seed of the noise, and of what is left out.
        """
        generator = np.random.default_rng(seed)
        late = replace(transitions, displacement=_recorded_late(transitions, self.lag))
        kept = late.select(self._kept(late, generator))
        exact = kept.displacement
        step = float(np.sqrt(np.square(exact, dtype=float).sum(1).mean()))
        direction = generator.normal(size=exact.shape[1])
        wrong = self.noise * generator.normal(size=exact.shape) + self.bias * direction / np.linalg.norm(direction)
        return replace(kept, displacement=(exact + step * wrong).astype(np.float32))

    def _kept(self, transitions: Transitions, generator: np.random.Generator) -> NDArray[np.bool_]:
        """Return which transitions stay.

        Raises:
            ValueError: it is not known which transitions touch the object, or fewer do than the condition wants.
        """
        kept = np.arange(len(transitions)) < (self.transitions or len(transitions))
        if self.contact_share is None:
            return kept
        if transitions.touched is None:
            raise ValueError("expected transitions that say which of them touch the object, to leave some of these out")
        touching = np.flatnonzero(kept & transitions.touched)
        free = int(kept.sum()) - len(touching)
        wanted = round(self.contact_share / (1 - self.contact_share) * free)
        if wanted > len(touching):
            raise ValueError(
                f"expected at most {len(touching) / kept.sum():.3f} as contact_share, the share in the data, got "
                f"{self.contact_share}"
            )
        kept[generator.permutation(touching)[wanted:]] = False
        return kept


def _recorded_late(transitions: Transitions, lag: int) -> NDArray[np.float32]:
    """Return the displacements, each recorded at a transition some steps later in its episode."""
    from ...envs.data.trajectories import predecessor_index

    before, recorded = predecessor_index(transitions), transitions.displacement
    for _ in range(lag):
        recorded = np.where(before[:, None] >= 0, recorded[before], 0)
    return recorded


CONDITIONS = {
    "random actions": DataCondition(),
    "1 % contacts": DataCondition(contact_share=0.01),
    "0.5 % contacts": DataCondition(contact_share=0.005),
    "0.1 % contacts": DataCondition(contact_share=0.001),
    "no contacts": DataCondition(contact_share=0.0),
    "10,000 transitions": DataCondition(transitions=10_000),
    "5,000 transitions": DataCondition(transitions=5_000),
    "noise 10 %, bias 3 %": DataCondition(noise=0.1, bias=0.03),
    "noise 30 %, bias 10 %": DataCondition(noise=0.3, bias=0.1),
    "displacements one step late": DataCondition(lag=1),
}
"""Conditions of the data of Soccer, as in the rows of the table; actions are random in all of them."""
