"""The base class of all worlds: a batch of identical scenes in which a group acts.

An action is a group element, the displacement that the agent is asked to perform. In some worlds commands follow it,
such as one for a gripper. ``info`` reports the step:

| key of ``info`` | shape | meaning |
|---|---|---|
| ``displacement`` | ``(dim,)`` | the displacement that was performed, which differs from the action at obstacles |
| ``agent_pose`` | ``(dim,)`` | ground truth: the pose, multiplied by displacements from the left; for evaluation only |

`task_world` and `orbit_world` add keys. After ``reset`` the displacement is the identity.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from ..arguments import integer_argument
from ..lie_groups.group import Group, GroupError
from ..simulation.dependencies import import_mujoco
from ..simulation.state_layout import Float, Pixels, Worlds

if TYPE_CHECKING:
    import mujoco

Bool = NDArray[np.bool_]
Info = dict[str, NDArray[Any]]
Snapshot = tuple[Float, NDArray[np.int64]]

ASSETS = Path(__file__).parent / "assets"
"""Folder of the scenes' XML files."""


@dataclass(frozen=True)
class StepResult:
    """Result of one step in each world.

    Attributes:
        reward: ``(num_worlds,)``.
        terminated: ``(num_worlds,)``, whether the episode ended with success.
        truncated: ``(num_worlds,)``, whether the episode ended because of its length.
        info: arrays ``(num_worlds, ...)`` by key.
    """

    reward: Float
    terminated: Bool
    truncated: Bool
    info: Info


class World(ABC):
    """A batch of scenes in which a group acts.

    Args:
        num_worlds: number of scenes.
        resolution: height and width of a frame in pixels.
        max_episode_steps: steps after which an episode is truncated; ``episode_steps`` of the class if None.
            ``gymnasium.make`` takes this option too, for its own wrapper ``TimeLimit``.
        device: device of physics and pixels, ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises:
        MissingSimulatorError: MuJoCo is not installed.
        ValueError: an argument is out of range.
    """

    camera: ClassVar[str]
    """Name of the camera."""
    group: ClassVar[Group]
    """The group that acts."""
    samples: ClassVar[int] = 1
    """Rays along each side of a pixel."""
    commands: ClassVar[int] = 0
    """Number of coordinates of an action after the displacement, each in [-1, 1]; they are not part of the group."""
    episode_steps: ClassVar[int] = 40
    """Default number of steps after which an episode is truncated."""

    def __init__(
        self,
        num_worlds: int = 1,
        *,
        resolution: tuple[int, int] = (64, 64),
        max_episode_steps: int | None = None,
        device: str = "auto",
    ) -> None:
        steps = self.episode_steps if max_episode_steps is None else max_episode_steps
        self.max_episode_steps = integer_argument("max_episode_steps", steps, at_least=1)
        import_mujoco()
        from ..simulation.simulator import Simulator

        self.simulator = Simulator(
            self.model(), num_worlds, camera=self.camera, resolution=resolution, samples=self.samples, device=device
        )
        self.num_worlds = self.simulator.num_worlds
        self._initial = self.simulator.save()
        self._elapsed = np.zeros(self.num_worlds, int)
        self.action_space = self.make_action_space()
        self.observation_space = gym.spaces.Box(0, 255, (*self.simulator.resolution, 3), np.uint8)

    @classmethod
    @abstractmethod
    def model(cls) -> mujoco.MjModel:
        """Return the compiled scene."""

    @abstractmethod
    def make_action_space(self) -> gym.spaces.Box:
        """Return the action space of one world."""

    @abstractmethod
    def ground_truth(self) -> Info:
        """Return the ground truth, for evaluation only: arrays ``(num_worlds, ...)``, ``"agent_pose"`` among them."""

    @abstractmethod
    def sample_initial_state(self, world: int, generator: np.random.Generator) -> None:
        """Write a random initial state into the simulator.

        Args:
            world: id of the world.
            generator: source of random numbers.
        """

    @abstractmethod
    def move(self, action: Float, worlds: Worlds | None) -> None:
        """Perform actions ``(num_worlds, dim + commands)`` in the simulator.

        Args:
            action: displacements and commands, all finite.
            worlds: sorted ids of the worlds that act; all if None.
        """

    @abstractmethod
    def reward_and_success(self, before: Info, after: Info) -> tuple[Float, Bool]:
        """Return reward and success of a step, ``(num_worlds,)`` each.

        Args:
            before: ground truth before the step.
            after: ground truth after it.
        """

    def events(self, before: Info, after: Info, success: Bool) -> Info:
        """Return further entries of ``info`` for a step; none by default.

        Args:
            before: ground truth before the step.
            after: ground truth after it.
            success: ``(num_worlds,)``.
        """
        return {}

    def batched_action_space(self) -> gym.Space[Any]:
        """Return the action space of all worlds."""
        return batch_space(self.action_space, self.num_worlds)

    def reset(self, worlds: Worlds, generators: Sequence[np.random.Generator]) -> Info:
        """Start new episodes and return the info of all worlds.

        Args:
            worlds: ids of the worlds to reset.
            generators: one source of random numbers for each of them.
        """
        self.simulator.state[worlds] = self._initial[worlds]
        for world, generator in zip(worlds, generators, strict=True):
            self.sample_initial_state(int(world), generator)
        self._elapsed[worlds] = 0
        self.simulator.forward()
        ground_truth = self.ground_truth()
        identity = np.tile(self.group.identity(), (self.num_worlds, 1))
        return {
            "displacement": identity,
            **ground_truth,
            **self.events(ground_truth, ground_truth, np.zeros(self.num_worlds, bool)),
        }

    def step(self, action: NDArray[Any], worlds: Worlds | None = None) -> StepResult:
        """Perform one action in every world, or in some; in the others time stands still.

        Args:
            action: ``(num_worlds, dim + commands)``, displacements and commands.
            worlds: sorted ids of the worlds that act; all if None.

        Raises:
            GroupError: the action has another shape, is not finite, or is no element of the group.
        """
        action = self._validated(action)
        before = self.ground_truth()
        self.move(action, worlds)
        self._elapsed[slice(None) if worlds is None else worlds] += 1
        after = self.ground_truth()
        reward, success = self.reward_and_success(before, after)
        displacement = self.group.compose(after["agent_pose"], self.group.inverse(before["agent_pose"]))
        truncated = (self._elapsed >= self.max_episode_steps) & ~success
        info = {"displacement": displacement, **after, **self.events(before, after, success)}
        return StepResult(reward, success, truncated, info)

    def render(self, worlds: Worlds | None = None) -> Pixels:
        """Return frames of all worlds, or of those with the given ids, ``(n, height, width, 3)``."""
        return self.simulator.render(worlds)

    def save(self) -> Any:
        """Return a snapshot from which `restore` continues, bit for bit on a CPU."""
        return self.simulator.save(), self._elapsed.copy()

    def restore(self, snapshot: Any) -> None:
        """Return to a snapshot from `save`."""
        state, elapsed = snapshot
        self.simulator.restore(state)
        self._elapsed = elapsed.copy()

    def close(self) -> None:
        """Free the threads and the memory of the simulator; the world cannot be used afterwards."""
        self.simulator.close()

    def _validated(self, action: NDArray[Any]) -> Float:
        """Return actions as float64, after checking their shape and values."""
        given = np.asarray(action)
        if given.dtype.kind not in "biuf":
            raise GroupError(f"action must be real numbers, got {given.dtype}")
        action = np.asarray(given, float)
        expected = (self.num_worlds, self.group.dim + self.commands)
        if action.shape != expected:
            raise GroupError(f"action must have shape {expected}, got {action.shape}")
        self.group.validate(action[:, : self.group.dim])
        if not np.isfinite(action).all():
            raise GroupError("the commands of an action must be finite, got NaN or infinity")
        return action
