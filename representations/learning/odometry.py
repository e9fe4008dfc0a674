"""Errors of measured displacements that the frames tell: a bias, a lag, and the size of the noise.

What is seen is where the agent is. Where paths come back to a place, displacements must add up to zero; a constant bias
does not. Displacements that are recorded a step late, or frames that are, fit to the frames one step away. Noise adds
up along a path, while errors of the encoder do not. A wrong unit cannot be told: it is the unit of the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...envs.data.trajectories import predecessor_index, successor_index, trajectory_frames
from ...envs.data.transitions import Transitions
from ..encoders.encoder import as_tensor
from .config import check_range

_EXACT = 1e-6  # a squared error below which a step counts as exact


@dataclass(frozen=True)
class OdometryConfig:
    """Set which errors of the displacements are looked for.

    Attributes:
        largest_lag: steps by which displacements may be recorded too late or too early.
        least_neighbours: share of the transitions that must have neighbours so far away; below, no lag is looked for.
            Single transitions tell none.
        largest_bias: largest bias in each coordinate, in root-mean-square displacements. A bound keeps the encoder from
            taking all of a movement that is always the same for a bias.
        sure_lag: a lag is believed if its squared error is at most this share of the error without a lag.

    Raises:
        ConfigError: a value is out of range.
    """

    largest_lag: int = 1
    least_neighbours: float = 0.5
    largest_bias: float = 0.1
    sure_lag: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, "largest_lag", at_least=0)
        check_range(self, "least_neighbours", above=0, at_most=1)
        check_range(self, "largest_bias", at_least=0)
        check_range(self, "sure_lag", above=0, at_most=1)


class Odometry(nn.Module):
    """Compare movements that an encoder sees with displacements that were measured in a translation group.

    The model is ``m_{t+l} = Δz_t + b + ε_t`` with a lag ``l``, a bias ``b`` and noise ``ε``.

    Args:
        transitions: the displacements; frames are not read.
        unit: the length that displacements are divided by.
        config: which errors to look for.
        device: where the comparison takes place.

    Attributes:
        lag: steps by which displacements are recorded too late; negative if too early. 0 before `estimate`.
        bias: ``b``, ``(n,)``. 0 before `estimate`.
        noise: variance of ``ε``, summed over the coordinates. 0 before `estimate`.
        single: mean squared error of a single step at the time of `estimate`.
    """

    lag: Tensor
    bias: Tensor
    noise: Tensor
    single: Tensor

    def __init__(self, transitions: Transitions, unit: float, config: OdometryConfig, device: torch.device) -> None:
        super().__init__()
        self._transitions = transitions
        self._config = config
        self._unit = unit
        self._recorded = recorded = _recorded_at(transitions, config)
        self._lags = len(recorded) // 2
        self._complete = as_tensor(np.flatnonzero((recorded >= 0).all(0))).to(device)
        measured = as_tensor(transitions.displacement).to(device) / unit
        self._measured = measured[as_tensor(recorded).to(device)]
        self.register_buffer("lag", torch.zeros((), dtype=torch.long, device=device))
        self.register_buffer("bias", torch.zeros(measured.shape[1], device=device))
        self.register_buffer("noise", torch.zeros((), device=device))
        self.register_buffer("single", torch.ones((), device=device))

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """Return random transitions ``(size,)`` whose displacement is known for every lag."""
        chosen = torch.randint(len(self._complete), (size,), generator=generator)
        return self._complete[chosen.to(self._complete.device)]

    def step_error(self, moved: Tensor, chosen: Tensor) -> Tensor:
        """Return the mean squared error ``E ‖Δz − m + b‖²`` of single steps, with the lag that fits best.

        Args:
            moved: ``(B, n)``, movements ``Δz`` that the encoder sees.
            chosen: ``(B,)``, their transitions, from `draw`.
        """
        return self._errors(moved, chosen)[0].min()

    def _errors(self, moved: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean squared error for each lag, and the bias for each lag, ``(L, n)``."""
        surplus = self._measured[:, chosen] - moved
        bias = surplus.mean(1, keepdim=True).clamp(-self._config.largest_bias, self._config.largest_bias)
        return (surplus - bias).pow(2).sum(2).mean(1), bias[:, 0]

    @torch.no_grad()
    def estimate(self, position: Tensor, longest: int) -> None:
        """Estimate lag, bias and noise from the positions of the agent in all frames.

        Args:
            position: ``(F, n)``.
            longest: steps of the paths whose error tells the noise.
        """
        start, end = (as_tensor(each).to(position.device) for each in (self._transitions.start, self._transitions.end))
        moved = position[end] - position[start]
        errors, bias = self._errors(moved[self._complete], self._complete)
        best = int(errors.argmin())
        if errors[best] > self._config.sure_lag * errors[self._lags]:
            best = self._lags
        self.lag.fill_(best - self._lags)
        self.bias[:] = bias[best]
        self.single.fill_(errors[best])
        frame, length, sums = (
            as_tensor(each).to(position.device) for each in trajectory_frames(self.shifted(), longest)
        )
        last = length.cumsum(0) - 1
        first, steps = last - length + 1, (length - 1)[:, None]
        error = position[frame[last]] - position[frame[first]] - sums[last] / self._unit + steps * self.bias
        growth = (error.pow(2).sum(1).mean() - self.single) / (steps - 1).float().mean().clamp_min(1)
        self.noise.fill_(growth.clamp_min(0))

    def shifted(self) -> Transitions:
        """Return the transitions with the displacements that belong to them by `lag`, where those are recorded."""
        if not self.lag:
            return self._transitions
        recorded = self._recorded[int(self.lag) + self._lags]
        known = recorded >= 0
        given = self._transitions
        return Transitions(
            given.frames, given.start[known], given.end[known], given.displacement[recorded[known]], given.group
        )

    def path_error(self, error: Tensor, steps: Tensor) -> Tensor:
        """Return the mean squared error of displacements over many steps; noisy ones have less weight.

        The weight after ``k`` steps is ``e / (e + (k − 1)·σ²)``, with the error ``e`` of a single step and the
        variance ``σ²`` of noise.

        Args:
            error: ``(B, n)``, movement minus displacement.
            steps: ``(B,)``, number of steps between the frames; negative if they are taken backwards.
        """
        growth = self.noise / self.single.clamp_min(_EXACT)
        squared = (error + steps[:, None] * self.bias).pow(2).sum(1)
        return (squared / (1 + growth * (steps.abs() - 1))).mean()


def _recorded_at(transitions: Transitions, config: OdometryConfig) -> NDArray[np.int64]:
    """Return the transitions at which the displacement of each was recorded, for each lag; -1 where there is none.

    Returns:
        ``(2·L + 1, N)``, lags from ``-L`` to ``L``, where ``L`` is the largest lag, or 0 if too few transitions have
        all neighbours.
    """
    after, before = successor_index(transitions), predecessor_index(transitions)
    late, early = [np.arange(len(after))], [np.arange(len(after))]
    for _ in range(config.largest_lag):
        late.append(np.where(late[-1] >= 0, after[late[-1]], -1))
        early.append(np.where(early[-1] >= 0, before[early[-1]], -1))
    recorded = np.stack([*reversed(early[1:]), *late])
    known = (recorded >= 0).all(0).mean() >= config.least_neighbours
    return recorded if known else recorded[config.largest_lag : config.largest_lag + 1]
