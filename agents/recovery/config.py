"""The hyper-parameters of the recovery policy."""

from __future__ import annotations

from dataclasses import dataclass

from ...representations.learning.config import check_range


@dataclass(frozen=True)
class RecoveryConfig:
    """Set the hyper-parameters of a `RecoveryPolicy`.

    Attributes:
        step: ``η``, the length of a recovery displacement, in the units of the latent, such as metres.
        commands: number of coordinates of an action after the displacement, such as 1 for a gripper. They keep their
            last value while recovery acts; a negative one means that the agent holds something.
        restart: go back to where the episode began, and start again, if the gripper is open or the policy is stuck.
            Without, always go back to the last in-distribution state: for tasks in which starting again is costly.
        patience: number of steps in a row in which the density may be low without an alarm: the base policy may come
            back by itself. The trigger must be calibrated with the same number. With ``climb`` there is none.
        climb: follow the gradient of the density, blended with the base policy, as in the paper.
        in_distribution_weight: weight of the base policy from which on a state counts as in-distribution, and is
            remembered as a place to go back to.
        least_progress: share of ``step`` by which the distance to the place must decrease for going back to continue
            when nothing triggers any more.
        arrival_distance: distance to the place, in units of ``step``, below which going back ends.
        dwell_radius: distance, in units of ``step``, within which the agent counts as staying in one place.

    Raises:
        ConfigError: a value is out of range.

    Example:
        >>> RecoveryConfig(step=0.04, commands=1).restart
        True
    """

    step: float
    commands: int = 0
    restart: bool = True
    patience: int = 1
    climb: bool = False
    in_distribution_weight: float = 0.95
    least_progress: float = 0.1
    arrival_distance: float = 0.5
    dwell_radius: float = 1.0

    @property
    def alarm_patience(self) -> int:
        """Return the number of steps in a row in which the density may be low without an alarm."""
        return 0 if self.climb else self.patience

    def __post_init__(self) -> None:
        check_range(self, "step", above=0)
        for name in ("commands", "patience"):
            check_range(self, name, at_least=0)
        check_range(self, "in_distribution_weight", at_least=0, at_most=1)
        for name in ("least_progress", "arrival_distance", "dwell_radius"):
            check_range(self, name, at_least=0)
