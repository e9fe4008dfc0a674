"""Restarts by odometry, a rival of learned recovery: drive straight back to the start, and begin the task anew."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.batched_envs.batch_rows import count_rows
from ...envs.data.policy import PolicyLike, as_policy
from ...envs.simulation.state_layout import Float
from ...representations.learning.config import check_range
from .episode_state import Mask


@dataclass(frozen=True)
class RestartConfig:
    """Set when and how a `RestartPolicy` drives back to the start.

    Attributes:
        step: largest length of a displacement on the way back, in metres.
        dim: number of coordinates of a displacement. Commands, such as one for a gripper, follow it in an action; they
            are 1 on the way back: the gripper opens.
        innovation: largest distance in metres between the performed displacement and the action that does not start
            the way back; inf to ignore it.
        period: number of steps after which the base policy begins anew in any case; inf for never.
        arrival_distance: distance to the start, in units of ``step``, at which the way back ends.

    Raises:
        ConfigError: a value is out of range.
    """

    step: float
    dim: int
    innovation: float = math.inf
    period: float = math.inf
    arrival_distance: float = 0.1

    def __post_init__(self) -> None:
        check_range(self, "step", above=0)
        check_range(self, "dim", at_least=1)
        check_range(self, "arrival_distance", at_least=0)
        for name, least in {"innovation": 0, "period": 1}.items():
            if getattr(self, name) != math.inf:
                check_range(self, name, at_least=least)


@dataclass(frozen=True)
class RestartStep:
    """Report of one step of `RestartPolicy`.

    Attributes:
        innovation: distance between the performed displacement and the last action, in metres, ``(B,)``.
        blend: weight of the base policy: 0 on the way back, otherwise 1, ``(B,)``.
    """

    innovation: Float
    blend: Float


@dataclass(frozen=True)
class RestartState:
    """Memory of each episode: the recurrent state of `RestartPolicy`.

    Attributes:
        position: sum of the performed displacements, which is the position relative to the start, ``(B, dim)``.
        action: displacement of the last action, ``(B, dim)``.
        elapsed: number of steps since the base policy began, ``(B,)``.
        returning: true on the way back, ``(B,)``.
        base: recurrent state of the base policy.
    """

    position: Float
    action: Float
    elapsed: NDArray[np.int64]
    returning: Mask
    base: Any

    @classmethod
    def begin(cls, count: int, dim: int) -> RestartState:
        """Return the memory at the start of ``count`` episodes."""
        zeros = np.zeros((count, dim))
        return cls(zeros, zeros, np.zeros(count, int), np.zeros(count, bool), None)


class RestartPolicy:
    """A policy that drives straight back to the start by odometry, where its base policy begins anew.

    It needs no encoder and no density. It needs odometry: call `add_displacement` after each step. The position
    is known relative to the start of the episode only.

    Args:
        base: a policy whose actions are displacements of ``R^n``, within the limits of the environment, and commands.
        config: when and how it drives back.
        odometry: changes displacements ``(B, dim)`` into what odometry says of them, such as by noise; exact if None.

    Attributes:
        config: the configuration.
        report: `RestartStep` of the last call of `predict`; None before the first.

    Example:
        >>> config = RestartConfig(step=0.1, dim=2, innovation=0.01)
        >>> policy = RestartPolicy(lambda observation: np.zeros((len(observation), 2)), config)
        >>> action, state = policy.predict(np.zeros((1, 4)))
        >>> policy.add_displacement(np.array([[0.3, 0.4]]))
        >>> policy.predict(np.zeros((1, 4)), state)[0].round(3).tolist()
        [[-0.06, -0.08]]
    """

    def __init__(
        self, base: PolicyLike, config: RestartConfig, odometry: Callable[[Float], Float] | None = None
    ) -> None:
        self.config = config
        self.report: RestartStep | None = None
        self._base = as_policy(base)
        self._odometry = odometry
        self._displacement: Float | None = None

    def add_displacement(self, displacement: Float) -> None:
        """Tell the displacements that were performed in the last step, ``(B, dim)``: ``info["displacement"]``."""
        performed = np.array(displacement, float)
        self._displacement = performed if self._odometry is None else self._odometry(performed)

    def predict(
        self,
        observation: Any,
        state: RestartState | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[Any], RestartState]:
        """Return actions for a batch of observations, and the state for the next call.

        Args:
            observation: a batch of observations.
            state: what the last call returned; None at first.
            episode_start: ``(B,)`` bool, true where the observation is the first one of an episode.
            deterministic: passed to the base policy.

        Returns:
            Actions ``(B, dim + commands)``, and the state.

        Raises:
            ValueError: the displacements of the last step are not known, or have another shape.
        """
        count, dim = count_rows(observation), self.config.dim
        if state is None:
            state, starts = RestartState.begin(count, dim), np.ones(count, bool)
        else:
            starts = np.zeros(count, bool) if episode_start is None else np.asarray(episode_start, bool)
        moved = self._performed(starts, dim)
        position = np.where(starts[:, None], 0.0, state.position + moved)
        innovation = np.where(starts, 0.0, np.linalg.norm(moved - state.action, axis=1))
        late = state.elapsed >= self.config.period
        leaves = ~starts & (state.returning | late | (innovation > self.config.innovation))
        distance = np.linalg.norm(position, axis=1)
        returning = leaves & (distance > self.config.arrival_distance * self.config.step)
        begins = starts | (leaves & ~returning)
        action, base_state = self._base.predict(observation, state.base, begins, deterministic)
        back = np.ones_like(action, float)
        back[:, :dim] = -position / np.maximum(distance / self.config.step, 1.0)[:, None]
        action = np.where(returning[:, None], back, action)
        self.report = RestartStep(innovation, np.where(returning, 0.0, 1.0))
        elapsed = np.where(begins | returning, 0, state.elapsed) + 1
        return action, RestartState(position, action[:, :dim], elapsed, returning, base_state)

    def _performed(self, starts: Mask, dim: int) -> Float:
        """Return the displacements of the last step, once; zero if all episodes start."""
        moved, self._displacement = self._displacement, None
        if starts.all():
            return np.zeros((len(starts), dim))
        if moved is None or moved.shape != (len(starts), dim):
            raise ValueError(
                f"displacements {(len(starts), dim)} of the last step were expected, got "
                f"{'none' if moved is None else moved.shape}; call add_displacement after each step"
            )
        return moved
