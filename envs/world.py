"""The contract of a group-action world.

A world is a batch of identical scenes in which a group acts: the action is a group element (the displacement that the
agent is asked to make), with commands behind it in worlds that take some (a gripper), and ``info`` tells what happened.

| key of ``info`` | shape | meaning |
|---|---|---|
| ``displacement`` | ``(dim,)`` | what was *performed*: odometry; not the action where something blocks or reflects |
| ``agent_pose`` | ``(dim,)`` | the true pose, displaced from the left; for evaluation, training never sees it |

Worlds add what else is true of them: those with a task in `envs.task`, those with classes and symmetries in
`envs.orbits`. After ``reset`` the displacement is the identity.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.groups import Group, GroupError
from envs.simulator import Float, Pixels, Simulator, Worlds

Bool = NDArray[np.bool_]
Info = dict[str, NDArray[Any]]
Snapshot = tuple[Float, NDArray[np.int64]]

ASSETS = Path(__file__).parent / "assets"


@dataclass(frozen=True)
class Outcome:
    """What one step did to each world: arrays whose first axis counts the worlds."""

    reward: Float
    terminated: Bool
    truncated: Bool
    info: Info


class World(ABC):
    """A batch of scenes in which a group acts.

    Args:
        num_worlds: how many scenes.
        resolution: height and width of a frame in pixels.
        max_episode_steps: steps after which an episode is truncated; the world's own `episode_steps` if None.
        device: where physics and pixels are computed, ``"auto"``, ``"cpu"`` or ``"cuda"``.
    """

    camera: ClassVar[str]
    """Name of the camera that draws."""
    group: ClassVar[Group]
    samples: ClassVar[int] = 1
    """Rays along each side of a pixel."""
    commands: ClassVar[int] = 0
    """Coordinates of an action behind the displacement, each in [-1, 1]; they are no part of the group."""
    episode_steps: ClassVar[int] = 40
    """Steps after which an episode is truncated, unless another number is asked for."""

    def __init__(
        self,
        num_worlds: int = 1,
        *,
        resolution: tuple[int, int] = (64, 64),
        max_episode_steps: int | None = None,
        device: str = "auto",
    ) -> None:
        self.simulator = Simulator(
            self.model(), num_worlds, camera=self.camera, resolution=resolution, samples=self.samples, device=device
        )
        self.num_worlds = num_worlds
        self.max_episode_steps = self.episode_steps if max_episode_steps is None else max_episode_steps
        self._initial = self.simulator.save()
        self._elapsed = np.zeros(num_worlds, int)
        self.action_space = self.make_action_space()
        self.observation_space = gym.spaces.Box(0, 255, (*resolution, 3), np.uint8)

    @classmethod
    @abstractmethod
    def model(cls) -> mujoco.MjModel:
        """The compiled scene."""

    @abstractmethod
    def make_action_space(self) -> gym.spaces.Box:
        """The actions of one world."""

    @abstractmethod
    def truth(self) -> Info:
        """What is true now, for evaluation alone: arrays ``(num_worlds, ...)``, ``"agent_pose"`` among them."""

    @abstractmethod
    def place(self, world: int, generator: np.random.Generator) -> None:
        """Write a random initial state of one world."""

    @abstractmethod
    def move(self, action: Float, worlds: Worlds | None) -> None:
        """Make displacements and follow commands, in all worlds or some."""

    @abstractmethod
    def judge(self, before: Info, after: Info) -> tuple[Float, Bool]:
        """Reward and success of the step between two truths."""

    def events(self, before: Info, after: Info, success: Bool) -> Info:
        """What else happened in a step, for ``info``; nothing unless a world says so."""
        return {}

    def batched_action_space(self) -> gym.Space[Any]:
        """The actions of all worlds."""
        return batch_space(self.action_space, self.num_worlds)

    def reset(self, worlds: Worlds, generators: Sequence[np.random.Generator]) -> Info:
        """Start new episodes in the given worlds, each from its own generator; return the info of all worlds."""
        self.simulator.state[worlds] = self._initial[worlds]
        for world, generator in zip(worlds, generators, strict=True):
            self.place(int(world), generator)
        self._elapsed[worlds] = 0
        self.simulator.forward()
        truth = self.truth()
        still = np.tile(self.group.identity(), (self.num_worlds, 1))
        return {"displacement": still, **truth, **self.events(truth, truth, np.zeros(self.num_worlds, bool))}

    def step(self, action: NDArray[Any], worlds: Worlds | None = None) -> Outcome:
        """Act in every world, or in those with the given sorted ids; in the others time stands still.

        Args:
            action: ``(num_worlds, dim + commands)``, the displacements to make and the commands.
            worlds: ids of those that act; all if None.

        Raises:
            GroupError: the action has another shape, is not finite, or is no element of the group.
        """
        action = np.asarray(action, float)
        expected = (self.num_worlds, self.group.dim + self.commands)
        if action.shape != expected:
            raise GroupError(f"action must have shape {expected}, got {action.shape}")
        self.group.validate(action[:, : self.group.dim])
        if not np.isfinite(action).all():
            raise GroupError("the commands of an action must be finite, got NaN or infinity")
        before = self.truth()
        self.move(action, worlds)
        self._elapsed[slice(None) if worlds is None else worlds] += 1
        after = self.truth()
        reward, success = self.judge(before, after)
        displacement = self.group.compose(after["agent_pose"], self.group.inverse(before["agent_pose"]))
        truncated = (self._elapsed >= self.max_episode_steps) & ~success
        info = {"displacement": displacement, **after, **self.events(before, after, success)}
        return Outcome(reward, success, truncated, info)

    def render(self, worlds: Worlds | None = None) -> Pixels:
        """Frames of all worlds, or of those with the given ids."""
        return self.simulator.render(worlds)

    def save(self) -> Any:
        """Everything that what follows depends on; bit for bit on the CPU."""
        return self.simulator.save(), self._elapsed.copy()

    def restore(self, snapshot: Any) -> None:
        """Return to what `save` returned."""
        state, elapsed = snapshot
        self.simulator.restore(state)
        self._elapsed = elapsed.copy()
