"""The contract of a group-action world, and its Gymnasium environments: one world, or a batch of them.

A world is a batch of identical scenes in which a Lie group acts: the action is a group element (the displacement that
the agent is asked to make), with commands behind it in worlds that take some (a gripper), and ``info`` tells what
happened.

| key of ``info`` | shape | meaning |
|---|---|---|
| ``displacement`` | ``(dim,)`` | the element that was *performed*: odometry; not the action where something blocks |
| ``agent_pose`` | ``(dim,)`` | where the agent truly is, in metres; for evaluation only, training never sees it |
| ``object_pose`` | ``(dim,)`` | where the object truly is, in metres; for evaluation only |
| ``touched`` | ``()`` | whether the agent moved the object in this step |
| ``success`` | ``()`` | whether the task was achieved in this step |

After ``reset`` the displacement is the identity, and ``touched`` and ``success`` are false.
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
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.groups import Group, GroupError
from envs.simulator import Float, Pixels, Simulator, Worlds

Bool = NDArray[np.bool_]
Info = dict[str, NDArray[Any]]
Snapshot = tuple[Float, NDArray[np.int64]]

ASSETS = Path(__file__).parent / "assets"
TOUCH_THRESHOLD = 1e-4
"""Metres by which the object must have moved for the step to count as touched: far above what a scene creeps."""


@dataclass(frozen=True)
class Outcome:
    """What one step did to each world: arrays whose first axis counts the worlds."""

    reward: Float
    terminated: Bool
    truncated: Bool
    info: Info


class World(ABC):
    """A batch of scenes with a group action and a task; subclass it once a world.

    Args:
        num_worlds: how many scenes.
        resolution: height and width of a frame in pixels.
        max_episode_steps: steps after which an episode is truncated; the world's own `episode_steps` if None.
        device: where physics and pixels are computed, ``"auto"``, ``"cpu"`` or ``"cuda"``.
    """

    scene: ClassVar[str]
    """Name of the XML file in ``envs/assets``."""
    camera: ClassVar[str]
    group: ClassVar[Group]
    arena_side: ClassVar[float]
    """Side in metres of the square of the agent's positions; errors are also given as a fraction of it."""
    reach: ClassVar[Float]
    """Lowest and highest positions of the agent, ``(2, dim)``, in metres."""
    max_displacement: ClassVar[float]
    """Largest coordinate, in metres, of one action; larger ones are clipped."""
    object_body: ClassVar[str] = "object"
    """Name of the object's body in the scene."""
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
        model = mujoco.MjModel.from_xml_path(str(ASSETS / self.scene))
        self.simulator = Simulator(model, num_worlds, camera=self.camera, resolution=resolution, device=device)
        self.num_worlds = num_worlds
        self.max_episode_steps = self.episode_steps if max_episode_steps is None else max_episode_steps
        self._initial = self.simulator.save()
        self._elapsed = np.zeros(num_worlds, int)
        self._limit = np.array([self.max_displacement] * self.group.dim + [1.0] * self.commands)
        bound = self._limit.astype(np.float32)
        self.action_space = gym.spaces.Box(-bound, bound, dtype=np.float32)
        self.observation_space = gym.spaces.Box(0, 255, (*resolution, 3), np.uint8)

    @abstractmethod
    def agent_pose(self) -> Float:
        """True poses of the agents, ``(num_worlds, dim)``."""

    @abstractmethod
    def object_pose(self) -> Float:
        """True poses of the objects, ``(num_worlds, dim)``."""

    @abstractmethod
    def place(self, world: int, generator: np.random.Generator) -> None:
        """Write a random initial state of one world, at rest, nothing touching."""

    @abstractmethod
    def move(self, action: Float, worlds: Worlds | None) -> None:
        """Have agents make their displacements and follow their commands, and come to rest, in all worlds or some."""

    @abstractmethod
    def judge(self, agent: Float, object_: Float) -> tuple[Float, Bool]:
        """Reward and success of the step that led here from the given poses."""

    def reset(self, worlds: Worlds, generators: Sequence[np.random.Generator]) -> Info:
        """Start new episodes in the given worlds, each from its own generator; return the info of all worlds."""
        self.simulator.state[worlds] = self._initial[worlds]
        for world, generator in zip(worlds, generators, strict=True):
            self.place(int(world), generator)
        self._elapsed[worlds] = 0
        self.simulator.forward()
        still = np.zeros(self.num_worlds, bool)
        return self._info(np.tile(self.group.identity(), (self.num_worlds, 1)), still, still)

    def step(self, action: NDArray[Any], worlds: Worlds | None = None) -> Outcome:
        """Act in every world, or in those with the given sorted ids; in the others time stands still.

        Args:
            action: ``(num_worlds, dim + commands)``, the displacements to make and the commands.
            worlds: ids of those that act; all if None.

        Raises:
            GroupError: the action has another shape or is not finite.
        """
        action = np.asarray(action, float)
        expected = (self.num_worlds, self.group.dim + self.commands)
        if action.shape != expected:
            raise GroupError(f"action must have shape {expected}, got {action.shape}")
        self.group.validate(action[:, : self.group.dim])
        if not np.isfinite(action).all():
            raise GroupError("the commands of an action must be finite, got NaN or infinity")
        agent, object_ = self.agent_pose(), self.object_pose()
        self.move(np.clip(action, -self._limit, self._limit), worlds)
        self._elapsed[slice(None) if worlds is None else worlds] += 1
        reward, success = self.judge(agent, object_)
        displacement = self.group.compose(self.group.inverse(agent), self.agent_pose())
        touched = np.linalg.norm(self.object_pose() - object_, axis=-1) > TOUCH_THRESHOLD
        truncated = (self._elapsed >= self.max_episode_steps) & ~success
        return Outcome(reward, success, truncated, self._info(displacement, touched, success))

    def render(self, worlds: Worlds | None = None) -> Pixels:
        """Frames of all worlds, or of those with the given ids."""
        return self.simulator.render(worlds)

    def save(self) -> Snapshot:
        """Everything that what follows depends on; bit for bit on the CPU."""
        return self.simulator.save(), self._elapsed.copy()

    def restore(self, snapshot: Snapshot) -> None:
        """Return to what `save` returned."""
        state, elapsed = snapshot
        self.simulator.restore(state)
        self._elapsed = elapsed.copy()

    def push_object(self, force: Float) -> None:
        """Apply forces ``(num_worlds, dim)``, in newtons, to the objects from now on."""
        body = self.simulator.model.body(self.object_body).id
        self.simulator.field("xfrc_applied")[:, 6 * body : 6 * body + force.shape[1]] = force

    def _info(self, displacement: Float, touched: Bool, success: Bool) -> Info:
        return {
            "displacement": displacement,
            "agent_pose": self.agent_pose(),
            "object_pose": self.object_pose(),
            "touched": touched,
            "success": success,
        }


class WorldEnv(gym.Env[Pixels, NDArray[np.float32]]):
    """One world as a Gymnasium environment.

    Args:
        world: the class of the world.
        render_mode: ``"rgb_array"`` or None; the observation is the frame in both.
        options: passed on to the world (``resolution``, ``max_episode_steps``, ``device``).
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012  (Gymnasium's own attribute)

    def __init__(self, world: type[World], render_mode: str | None = None, **options: Any) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
        self.world = world(1, **options)
        self.group = self.world.group
        self.render_mode = render_mode
        self.action_space = self.world.action_space
        self.observation_space = self.world.observation_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Pixels, dict[str, Any]]:
        super().reset(seed=seed)
        info = self.world.reset(np.arange(1), [self.np_random])
        return self.world.render()[0], _first(info)

    def step(self, action: NDArray[np.float32]) -> tuple[Pixels, float, bool, bool, dict[str, Any]]:
        outcome = self.world.step(np.asarray(action)[None])
        info = _first(outcome.info)
        frame = self.world.render()[0]
        return frame, float(outcome.reward[0]), bool(outcome.terminated[0]), bool(outcome.truncated[0]), info

    def render(self) -> Pixels | None:
        return self.world.render()[0] if self.render_mode == "rgb_array" else None


class WorldVectorEnv(VectorEnv[Pixels, NDArray[np.float32], NDArray[Any]]):
    """A batch of worlds as one Gymnasium vector environment; world ``i`` is seeded with ``seed + i``.

    Autoreset is Gymnasium's default, ``NEXT_STEP``: the step after the end of an episode ignores its action and
    resets. That step is not experience; `envs.collect.collect` leaves it out.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 5,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(self, world: type[World], num_envs: int = 1, render_mode: str | None = None, **options: Any) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
        self.world = world(num_envs, **options)
        self.group = self.world.group
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.single_action_space = self.world.action_space
        self.single_observation_space = self.world.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._generators = [np.random.default_rng() for _ in range(num_envs)]
        self._ended = np.zeros(num_envs, bool)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Pixels, dict[str, Any]]:
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, (int, np.integer)) else seed
        for i, one in enumerate(seeds or ()):
            if one is not None:
                self._generators[i] = gym.utils.seeding.np_random(one)[0]
        self._ended[:] = False
        info = self.world.reset(np.arange(self.num_envs), self._generators)
        return self.world.render(), _masked(info)

    def step(self, actions: NDArray[np.float32]) -> tuple[Pixels, Float, Bool, Bool, dict[str, Any]]:
        outcome = self.world.step(actions)
        reward, terminated, truncated, info = outcome.reward, outcome.terminated, outcome.truncated, outcome.info
        restarted = np.flatnonzero(self._ended)
        if restarted.size:
            fresh = self.world.reset(restarted, [self._generators[i] for i in restarted])
            for key, values in fresh.items():
                info[key][restarted] = values[restarted]
            reward[restarted], terminated[restarted], truncated[restarted] = 0.0, False, False
        self._ended = terminated | truncated
        return self.world.render(), reward, terminated, truncated, _masked(info)

    def render(self) -> tuple[Pixels, ...] | None:
        return tuple(self.world.render()) if self.render_mode == "rgb_array" else None


def _first(info: Info) -> dict[str, Any]:
    return {key: values[0] if values.ndim > 1 else values[0].item() for key, values in info.items()}


def _masked(info: Info) -> dict[str, Any]:
    """Gymnasium's form for vector environments: each key beside a mask of the worlds that reported it."""
    present = np.ones(len(info["touched"]), bool)
    return {**info, **{f"_{key}": present for key in info}}
