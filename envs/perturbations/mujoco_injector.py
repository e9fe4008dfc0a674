"""Apply perturbations to a MuJoCo simulation, and remove them exactly."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from ..mujoco_envs.mujoco_scene import MujocoScene
from ..simulation.dependencies import import_mujoco
from .array_writes import ArrayWrites
from .mujoco_perturbation import MujocoPerturbation

Bookmark = tuple[ArrayWrites, tuple[int, ...]]


class MujocoInjector:
    """Apply perturbations before a step, and undo their writes after it, or when their duration is over.

    Several perturbations of one array are applied in their order, and undone in the opposite one.

    Args:
        env: environment with a MuJoCo model and data.
        perturbations: perturbations by their number.
    """

    def __init__(self, env: gym.Env[Any, Any], perturbations: Mapping[int, MujocoPerturbation]) -> None:
        self._env = env
        self._perturbations = dict(perturbations)
        self._drawn: dict[int, Any] = {}
        self._step_writes, self._window_writes = ArrayWrites(), ArrayWrites()
        self._in_window: tuple[int, ...] = ()

    @property
    def scene(self) -> MujocoScene:
        """Return the model and data that the environment uses now."""
        return MujocoScene(self._env)

    def draw(self, generators: Mapping[int, np.random.Generator]) -> None:
        """Draw what is random in an episode."""
        self._drawn = {
            number: each.draw(self.scene, generators[number]) for number, each in self._perturbations.items()
        }

    def before_step(self, active: Collection[int]) -> None:
        """Apply the perturbations with these numbers, and remove all others."""
        window = tuple(number for number in self._chosen(active) if self._lasts(number))
        momentary = [number for number in self._chosen(active) if not self._lasts(number)]
        if window == self._in_window and not momentary:
            return
        scene = self.scene
        if window != self._in_window:
            self._window_writes.undo()
            self._in_window = window
            for number in window:
                self._perturbations[number].apply(scene, self._drawn[number], self._window_writes)
        import_mujoco().mj_forward(scene.model, scene.data)
        for number in momentary:
            self._perturbations[number].apply(scene, self._drawn[number], self._step_writes)
            import_mujoco().mj_forward(scene.model, scene.data)

    def after_step(self) -> None:
        """Undo what lasts for one step."""
        self._step_writes.undo()

    def remove(self) -> None:
        """Undo everything."""
        self._step_writes.undo()
        self._window_writes.undo()
        self._in_window = ()

    def bookmark(self) -> Bookmark:
        """Return what is applied now, between two steps; it belongs to the state of the environment."""
        return self._window_writes.copy(), self._in_window

    def return_to(self, bookmark: Bookmark) -> None:
        """Take over what was applied at a bookmark, after the environment was restored to its state then."""
        self._window_writes, self._in_window = bookmark[0].copy(), bookmark[1]

    def _chosen(self, active: Collection[int]) -> list[int]:
        return [number for number in self._perturbations if number in active]

    def _lasts(self, number: int) -> bool:
        return self._perturbations[number].writes_last == "window"
