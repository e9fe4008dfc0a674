"""Worlds, encoders and policies of the stitching benchmark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ....agents.policies.gaussian_policy import SquashedGaussianPolicy
from ....envs.data.policy import GroundTruthPolicy
from ....envs.data.transitions import Transitions
from ....envs.lie_groups.rotations import SO2
from ....envs.worlds.arrows import ColouredArrows
from ....envs.worlds.soccer import GOAL, Soccer
from ....envs.worlds.world import ASSETS, World
from ....representations.encoders.encoder import Encoder

if TYPE_CHECKING:
    import mujoco

Floats = NDArray[np.floating[Any]]

SIDE_AXES = np.array([[0.0, -1.0], [1.0, 0.0]])
"""``a' = a M``: a displacement in the axes of the side camera, whose right is the world's y axis."""
TILT = 0.462
"""Angle of the third-person camera from straight down, in radians, as in the scene."""


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


@dataclass(frozen=True)
class CloningConfig:
    """Set how a policy is cloned from an expert; few states and updates suffice for a few coordinates.

    Attributes:
        steps: updates.
        batch_size: states in an update.
        lr: learning rate of Adam at the beginning; it decays to a fiftieth.
        net_arch: widths of the hidden layers.
    """

    steps: int = 3000
    batch_size: int = 256
    lr: float = 1e-3
    net_arch: tuple[int, ...] = (128, 128)


def collect_in(world_cls: type[World], count: int, seed: int) -> Transitions:
    """Collect transitions with exploration in 64 copies of a world, which need not be registered."""
    from ....envs.data.collect import collect
    from ....envs.wrappers.gym_env import WorldVectorEnv

    env = WorldVectorEnv(world_cls, 64, device="cpu")
    try:
        return collect(env, count, seed)
    finally:
        env.close()


def in_side_axes(transitions: Transitions) -> Transitions:
    """Return transitions whose displacements are in the axes of the side camera."""
    return replace(transitions, displacement=(transitions.displacement @ SIDE_AXES).astype(np.float32))


def soccer_expert(agent: Floats, ball: Floats) -> Floats:
    """Return displacements ``(n, 2)`` that go behind the ball, around it if need be, and push it into the goal.

    Args:
        agent: positions of the agents (ground truth), ``(n, 2)``.
        ball: positions of the balls (ground truth), ``(n, 2)``.
    """
    ahead = (GOAL - ball) / np.maximum(np.linalg.norm(GOAL - ball, axis=1, keepdims=True), 1e-6)
    side = np.stack([-ahead[:, 1], ahead[:, 0]], 1)
    along, across = (((agent - ball) * axis).sum(1, keepdims=True) for axis in (ahead, side))
    spot = np.clip(ball - 0.30 * ahead, -1, 1)
    around = np.clip(ball + 0.36 * np.where(across >= 0, 1.0, -1.0) * side - 0.15 * ahead, -1, 1)
    approach = np.where((along < -0.12) & (np.abs(across) < 0.45), spot, around)
    target = np.where((along < -0.1) & (np.abs(across) < 0.06), ball + 0.15 * ahead, approach)
    move = target - agent
    limit = Soccer.max_displacement
    return np.asarray(move * np.minimum(1.0, limit / np.maximum(np.abs(move).max(1, keepdims=True), 1e-9)))


def soccer_lessons(explored: Transitions, episodes: int, seed: int) -> tuple[NDArray[np.uint8], Floats]:
    """Return frames of exploration and of noisy demonstrations, and the expert's actions in [-1, 1].

    The expert reads the ground truth. Encoders, anchors and alignments do not.
    """
    from ....agents.policies.demonstrations import demonstrate

    world = Soccer(min(episodes, 100), device="cpu")
    expert = GroundTruthPolicy(world, lambda world: soccer_expert(world.agent_pose(), world.object_pose()))
    shown = demonstrate(world, episodes, seed, noise=0.15, expert=expert)
    world.close()
    if shown.action is None:
        raise ValueError("expected demonstrations with the actions of the expert, got none")
    positions = (explored.ground_truth[name].astype(float) for name in ("agent_pose", "object_pose"))
    actions = np.concatenate([soccer_expert(*positions), shown.action])
    return np.concatenate([explored.frames, shown.observations]), actions / Soccer.max_displacement


def clone_policy(
    observations: Floats, actions: Floats, bound: float, seed: int, config: CloningConfig
) -> SquashedGaussianPolicy:
    """Return a policy trained by ``min E ‖tanh(μ(o)) − a / bound‖²``, of the architecture of soft actor-critic.

    Args:
        observations: ``(n, dim)``.
        actions: actions of the expert divided by their bound, ``(n, k)``.
        bound: largest absolute coordinate of an action.
        seed: seed of weights and batches.
        config: hyper-parameters.
    """
    torch.manual_seed(seed)
    given, target = (
        torch.from_numpy(np.array(observations, np.float32)),
        torch.from_numpy(np.array(actions, np.float32)),
    )
    mean, spread = given.mean(0), given.std(0).clamp_min(1e-6)
    high = np.full(target.shape[1], bound)
    policy = SquashedGaussianPolicy(given.shape[1], -high, high, list(config.net_arch))
    optimizer = torch.optim.Adam(policy.parameters(), config.lr)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, config.steps)
    for _ in range(config.steps):
        chosen = torch.randint(len(given), (config.batch_size,))
        loss = (torch.tanh(policy((given[chosen] - mean) / spread)[0]) - target[chosen]).pow(2).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    with torch.no_grad():  # the first layer standardises the observations from now on
        first: Any = policy.body[0]
        first.weight.div_(spread)
        first.bias.sub_(first.weight @ mean)
    return policy.eval()


def pointer_lessons(transitions: Transitions) -> Floats:
    """Return the expert's rotations, ``(cos, sin)`` of each frame, ``(F, 2)``: the class says where to point.

    The expert reads the ground truth. Encoders, anchors and alignments do not.
    """
    group, goals = SO2(), pointer_goals(transitions.ground_truth["orbit"][:, 0])
    return np.asarray(group.compose(goals, group.inverse(transitions.ground_truth["agent_pose"].astype(float))))


def pointer_goals(orbit: Floats) -> Floats:
    """Return the direction in which the arrow of each class is to point, ``(n, 2)``."""
    return np.asarray(SO2().exp(2 * np.pi / 3 * np.asarray(orbit, float)[:, None] + 0.4))


def pointing_success(
    encoder: Encoder, policy: SquashedGaussianPolicy, episodes: int, seed: int, steps: int = 4
) -> float:
    """Return the share of arrows that point to their goal, to 15 degrees, after some steps of a policy.

    Args:
        encoder: what the policy sees.
        policy: returns rotations ``(cos, sin)``, of any length.
        episodes: number of arrows.
        seed: seed of classes and poses.
        steps: number of steps.
    """
    group, world = SO2(), ColouredPointers(episodes, device="cpu")
    world.reset(np.arange(episodes), [np.random.default_rng(seed + index) for index in range(episodes)])
    for _ in range(steps):
        rotation = policy.predict(encoder.encode_flat(world.render()))[0]
        world.step(group.project(np.asarray(rotation, float)))
    apart = group.log(group.compose(pointer_goals(world.orbit), group.inverse(world.pose)))
    world.close()
    return float((np.abs(apart) < np.pi / 12).mean())


Evaluate = Callable[[Encoder, SquashedGaussianPolicy], float]
"""Return the success of a policy that sees the latents of an encoder."""
