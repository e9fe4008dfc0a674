"""Worlds of the stitching benchmark: Soccer from two cameras, and arrows that turn to the direction of their colour."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from ....envs.data.transitions import Transitions
from ....envs.simulation.state_layout import Float, Worlds
from ....envs.worlds.arrows import ColouredArrows
from ....envs.worlds.soccer import Soccer
from ....envs.worlds.task_world import TaskWorld
from ....envs.worlds.world import ASSETS, Bool, Info, StepResult, World
from ....representations.encoders.backbones import SpatialSoftmaxCNN, register_backbone

if TYPE_CHECKING:
    import mujoco

SIDE_AXES = np.array([[0.0, -1.0], [1.0, 0.0]])
"""``a' = a M``: a displacement in the axes of the side camera, whose right is the world's y axis."""
TILT = 0.462
"""Angle of the third-person camera from straight down, in radians, as in the scene."""


@register_backbone("wide_spatial_softmax")
def wide_spatial_softmax(shape: tuple[int, int, int]) -> SpatialSoftmaxCNN:
    """Return the image network with twice as many points and features.

    With 12,000 transitions, the network ``strided`` loses the ball: its encoder cannot be stitched to any other.
    """
    return SpatialSoftmaxCNN(shape, maps=16, features=128)


class SideSoccer(Soccer):
    """`Soccer` from the east: the third-person camera, turned by a quarter about the pitch's centre."""

    camera = "side"

    @classmethod
    def model(cls) -> mujoco.MjModel:
        """Return the scene with one more camera, compiled."""
        import mujoco

        spec = mujoco.MjSpec.from_file(str(ASSETS / cls.scene))
        half = np.sqrt(0.5) * np.array([np.cos(TILT / 2), np.sin(TILT / 2)])
        spec.worldbody.add_camera(name="side", pos=[1.30, 0, 2.55], quat=[half[0], half[1], half[1], half[0]], fovy=52)
        return spec.compile()


class ColouredPointers(ColouredArrows):
    """One arrow in one of two colours: ``SO(2)`` acts freely on two orbits."""

    orbits = ColouredArrows.orbits[:2]


class Pointing(ColouredPointers, TaskWorld):
    """Turn an arrow to the direction of its colour.

    | quantity | range | unit |
    |---|---|---|
    | action, the angle of a rotation | [-1, 1] | rad |
    | agent and object, ``(cos, sin)`` of the arrow and of the direction of its colour | the circle | |

    Reward: minus the angle between both, in radians. An episode has 8 steps. It is a success if the angle is below 15
    degrees after the last one: 1/12 of all directions are.
    """

    episode_steps = 8
    tolerance: ClassVar[float] = np.pi / 12
    """Largest angle of a success, in radians."""

    def make_action_space(self) -> gym.spaces.Box:
        """Return the box of angles of one world."""
        return gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def agent_pose(self) -> Float:
        """Return the directions of the arrows, ``(num_worlds, 2)``."""
        return self.pose.copy()

    def object_pose(self) -> Float:
        """Return the directions of the colours, ``(num_worlds, 2)``."""
        return np.asarray(self.group.exp(2 * np.pi / 3 * self.orbit[:, None] + 0.4))

    def ground_truth(self) -> Info:
        """Return the directions of arrows and colours."""
        return {"agent_pose": self.agent_pose(), "object_pose": self.object_pose()}

    def step(self, action: NDArray[Any], worlds: Worlds | None = None) -> StepResult:
        """Rotate the arrows by angles ``(num_worlds, 1)`` in radians, clipped to the action space."""
        return super().step(self.group.exp(np.clip(np.asarray(action, float), -1.0, 1.0)), worlds)

    def reward_and_success(self, before: Info, after: Info) -> tuple[Float, Bool]:
        """Return minus the angle, and whether the arrow points to its direction after the last step."""
        apart = np.abs(
            self.group.log(self.group.compose(after["object_pose"], self.group.inverse(after["agent_pose"])))
        )
        last = self._elapsed >= self.max_episode_steps
        return -apart[:, 0], last & (apart[:, 0] < self.tolerance)


def collect_in(world_cls: type[World], count: int, seed: int) -> Transitions:
    """Collect transitions in 64 copies of a world, which need not be registered.

    Where there is an object, a scripted policy approaches it, which reads its ground truth: two cameras must record the
    same moves, and what each of their encoders learned would lead to different ones.
    """
    from ....envs.data.collect import collect
    from ....envs.data.exploration import ObjectExploration
    from ....envs.wrappers.gym_env import WorldVectorEnv

    env = WorldVectorEnv(world_cls, 64, device="cpu")
    try:
        policy = ObjectExploration(env) if issubclass(world_cls, TaskWorld) else None
        return collect(env, count, seed, policy=policy)
    finally:
        env.close()


def in_side_axes(transitions: Transitions) -> Transitions:
    """Return transitions whose displacements are in the axes of the side camera."""
    return replace(transitions, displacement=(transitions.displacement @ SIDE_AXES).astype(np.float32))
