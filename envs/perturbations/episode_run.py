"""One episode under perturbations: their schedule, the actions and observations, and the receipts."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from .action_perturbation import ActionHistory, ActionPerturbation, NullAction, action_distance, null_action
from .mujoco_injector import MujocoInjector
from .mujoco_perturbation import MujocoPerturbation
from .observation_perturbation import ObservationPerturbation, observation_unit
from .perturbation import Perturbation
from .receipt import Receipt
from .twin import TwinComparison


@dataclass(frozen=True)
class PerturbationWindow:
    """Hold the steps of a perturbation in one episode.

    Attributes:
        onset: first step in which it is active.
        end: first step in which it is over.
        resumed: first step after its idle steps.
    """

    onset: int
    end: int
    resumed: int

    def __contains__(self, step: int) -> bool:
        """Return whether the perturbation is active in a step."""
        return self.onset <= step < self.end


class EpisodeRun:
    """Keep what belongs to one episode.

    Args:
        perturbations: the perturbations.
        generators: one for each of them.
        env: the environment, for its spaces.

    Attributes:
        windows: steps of each perturbation.
        receipts: receipts by the number of the perturbation.
        step: number of steps until now.
    """

    def __init__(
        self,
        perturbations: Sequence[Perturbation],
        generators: Sequence[np.random.Generator],
        env: gym.Env[Any, Any],
    ) -> None:
        self._perturbations, self._generators = perturbations, generators
        self._observation_space = env.observation_space
        self._history = ActionHistory(env.action_space, [], [])
        self._changes: dict[int, list[float]] = {}
        self._twins: dict[int, TwinComparison] = {}
        self.windows = tuple(map(_window, perturbations, generators))
        self.receipts: dict[int, Receipt] = {}
        self.step = 0

    @property
    def active(self) -> tuple[int, ...]:
        """Return the numbers of the perturbations that are active in the next step."""
        return tuple(number for number, window in enumerate(self.windows) if self.step in window)

    @property
    def policy_acts(self) -> bool:
        """Return whether the policy acts in the next step."""
        for perturbation, window in zip(self._perturbations, self.windows, strict=True):
            if isinstance(perturbation, MujocoPerturbation):
                first = window.end if perturbation.policy_acts else window.onset
                if first <= self.step < window.resumed:
                    return False
        return True

    def begin_twins(self, env: Any, injector: MujocoInjector) -> None:
        """Save the state in which perturbations of the simulation begin."""
        for number in self.active:
            perturbation = self._perturbations[number]
            if self.step == self.windows[number].onset and isinstance(perturbation, MujocoPerturbation):
                self._twins[number] = TwinComparison(env, injector, number, perturbation)

    def perturb_action(self, action: Any, null: NullAction) -> Any:
        """Return the action to carry out instead of the policy's."""
        self._history.intended.append(copy.deepcopy(action))
        if not self.policy_acts:
            self._history.intended[-1] = null_action(null, self._history.space, self._history)
        executed = self._history.intended[-1]
        for number in self.active:
            perturbation = self._perturbations[number]
            if isinstance(perturbation, ActionPerturbation):
                changed = perturbation.perturb_action(executed, self._history, self._generators[number])
                change = action_distance(changed, executed, self._history.space)
                self._changes.setdefault(number, []).append(change)
                executed = changed
        for twin in self._twins.values():
            twin.record(executed, self.active)
        self._history.executed.append(copy.deepcopy(executed))
        return copy.deepcopy(executed)

    def perturb_observation(self, observation: Any) -> Any:
        """Return what is shown instead of an observation."""
        for number in self.active:
            perturbation = self._perturbations[number]
            if isinstance(perturbation, ObservationPerturbation):
                generator = self._generators[number]
                observation, change = perturbation.perturb_observation(observation, self._observation_space, generator)
                self._changes.setdefault(number, []).append(change)
        return observation

    def finish_step(self, observation: Any, is_last: bool) -> tuple[Receipt, ...]:
        """Return the receipts of the perturbations that are over after this step.

        Args:
            observation: what the environment returned, unperturbed.
            is_last: whether the episode is over.
        """
        active = self.active
        self.step += 1
        over = [number for number in active if is_last or self.step == self.windows[number].end]
        self.receipts |= {number: found for number in over if (found := self._receipt(number, observation)) is not None}
        return tuple(self.receipts[number] for number in over if number in self.receipts)

    def _receipt(self, number: int, observation: Any) -> Receipt | None:
        perturbation = self._perturbations[number]
        if number in self._twins:
            return self._twins.pop(number).receipt(observation)
        if number not in self._changes:
            return None
        changes = self._changes[number]
        value = float(np.mean(changes))
        if isinstance(perturbation, ObservationPerturbation):
            unit = observation_unit(perturbation.boxes(self._observation_space))
            return Receipt("mean change of the observation", value, unit, 1e-6, len(changes))
        unit = "units of the action" if isinstance(self._history.space, gym.spaces.Box) else "share of steps"
        return Receipt("mean change of the action", value, unit, 1e-6, len(changes))


def _window(perturbation: Perturbation, generator: np.random.Generator) -> PerturbationWindow:
    onset = perturbation.draw_onset(generator)
    end = onset + perturbation.duration
    return PerturbationWindow(onset, end, end + perturbation.idle_steps)
