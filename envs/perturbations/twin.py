"""Receipts of perturbations of a simulation: compare with the unperturbed twin from the same state."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Any

from ..mujoco_envs.restorable_env import RestorableEnv
from .mujoco_injector import Bookmark, MujocoInjector
from .mujoco_perturbation import MujocoPerturbation
from .receipt import Receipt


class TwinComparison:
    """Measure what one perturbation did: play the same actions again without it, and return.

    Create it in the state in which the perturbation begins, and tell it every action that is carried out.

    Args:
        env: the environment.
        injector: applies the perturbations to the environment.
        number: number of the perturbation.
        perturbation: the perturbation.
    """

    def __init__(
        self, env: RestorableEnv, injector: MujocoInjector, number: int, perturbation: MujocoPerturbation
    ) -> None:
        self._env, self._injector = env, injector
        self._number, self._perturbation = number, perturbation
        self._state, self._bookmark = env.save(), injector.bookmark()
        self._steps: list[tuple[Any, frozenset[int]]] = []

    def record(self, action: Any, active: Collection[int]) -> None:
        """Remember an action, and which perturbations were active in its step."""
        self._steps.append((copy.deepcopy(action), frozenset(active) - {self._number}))

    def receipt(self, observation: Any) -> Receipt:
        """Return the effect until now; the environment is in the same state afterwards, bit for bit.

        Args:
            observation: what the environment returned last.
        """
        perturbed = self._perturbation.measure(self._injector.scene, observation)
        end, bookmark = self._env.save(), self._injector.bookmark()
        try:
            twin = self._perturbation.measure(self._injector.scene, self._replay())
        finally:
            self._return(end, bookmark)
        return self._perturbation.receipt(perturbed, twin, self._injector.scene, len(self._steps))

    def _replay(self) -> Any:
        """Play the twin, until its episode ends; return its last observation."""
        self._return(self._state, self._bookmark)
        observation = None
        for action, active in self._steps:
            observation, _, terminated, truncated, _ = step_perturbed(
                self._env.step, self._injector, copy.deepcopy(action), active
            )
            if terminated or truncated:
                break
        return observation

    def _return(self, state: Any, bookmark: Bookmark) -> None:
        self._env.restore(state)
        self._injector.return_to(bookmark)


def step_perturbed(step: Callable[[Any], Any], injector: MujocoInjector, action: Any, active: Collection[int]) -> Any:
    """Return what a step returns while perturbations are applied; if it fails, everything is undone."""
    try:
        injector.before_step(active)
        result = step(action)
    except BaseException:
        injector.remove()
        raise
    injector.after_step()
    return result
