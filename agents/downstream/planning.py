"""Planning with class and pose: the group element that leads from one image of an object to another.

Let ``x`` and ``y`` be images of the same object. Every ``φ_i(y)·φ_j(x)⁻¹`` maps ``x`` to ``y``; the plan is the
shortest of them. Nothing is searched or simulated: the relative pose is read from two latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.lie_groups.group import Group
from ...envs.worlds.orbit_world import OrbitWorld
from ...representations.encoders.class_pose_base import ClassPoseBase

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Plan:
    """Actions from start images to goal images.

    Attributes:
        action: group elements ``(n, dim)``.
        length: norm of their tangent vectors, ``(n,)``; for rotations the angle in radians.
        class_similarity: cosine of the classes of start and goal, ``(n,)``. Far below 1 the images are of different
            classes, and no action leads from one to the other.
    """

    action: Floats
    length: Floats
    class_similarity: Floats


def plan_action(encoder: ClassPoseBase, start_images: NDArray[np.uint8], goal_images: NDArray[np.uint8]) -> Plan:
    """Return the shortest action from each start image to its goal image, among the encoder's relative poses.

    Args:
        encoder: an encoder with class and pose.
        start_images: ``(n, H, W, C)`` uint8.
        goal_images: ``(n, H, W, C)`` uint8.

    Raises:
        TypeError: the encoder has no class and pose.
        ValueError: there are no images, or not as many goal images as start images.
    """
    if not isinstance(encoder, ClassPoseBase):
        raise TypeError(f"expected an encoder with class and pose, such as class-pose, got {type(encoder).__name__}")
    if not len(start_images):
        raise ValueError("expected at least one start image, got none")
    if len(start_images) != len(goal_images):
        raise ValueError(
            f"expected as many goal images as start images, got {len(goal_images)} and {len(start_images)}; "
            "repeat a single image with numpy.repeat"
        )
    start, goal = encoder.encode(start_images), encoder.encode(goal_images)
    candidates, rows = encoder.relative_pose(start, goal), np.arange(len(start_images))
    length = np.linalg.norm(encoder.acting.log(candidates), axis=2)
    shortest = length.argmin(1)
    similarity = (start["class"] * goal["class"]).sum(1)
    return Plan(candidates[rows, shortest], length[rows, shortest], similarity)


def distance_to_goal(group: Group, reached: Floats, goal: Floats, stabilizers: Sequence[Floats]) -> Floats:
    """Return the length of the shortest action from each reached pose to one that is equivalent to the goal, ``(n,)``.

    ``min_s ‖log(goal·s·reached⁻¹)‖`` over the stabilizer.

    Args:
        group: the group that acts.
        reached: poses ``(n, dim)``.
        goal: poses ``(n, dim)``.
        stabilizers: stabilizer of each object, ``(order, dim)``.
    """
    rows = zip(reached, goal, stabilizers, strict=True)
    actions = [group.compose(group.compose(end, stabilizer), group.inverse(pose)) for pose, end, stabilizer in rows]
    return np.array([np.linalg.norm(group.log(each), axis=1).min() for each in actions])


@dataclass(frozen=True)
class PlanningResult:
    """Plans that were executed in a world of rotations.

    Attributes:
        start_images: ``(n, H, W, C)`` uint8.
        final_images: images after the actions, ``(n, H, W, C)`` uint8.
        goal_images: ``(n, H, W, C)`` uint8.
        final_distance: angle of the shortest rotation to the goal after the actions, in radians, ``(n,)``.
        initial_distance: the same before the actions.
    """

    start_images: NDArray[np.uint8]
    final_images: NDArray[np.uint8]
    goal_images: NDArray[np.uint8]
    final_distance: Floats
    initial_distance: Floats

    @property
    def metrics(self) -> dict[str, float]:
        """Return the errors of the plans in degrees and in pixels, and the same without any action.

        ``pixels_off_goal`` is the share of pixels that differ from the goal by more than a tenth of the range of a
        colour.
        """
        after, before = np.degrees(self.final_distance), np.degrees(self.initial_distance)
        return {
            "plan_error_median_degrees": float(np.median(after)),
            "plan_error_90_degrees": float(np.quantile(after, 0.9)),
            "unplanned_error_median_degrees": float(np.median(before)),
            "pixels_off_goal": _share_of_different_pixels(self.final_images, self.goal_images),
            "pixels_off_goal_unplanned": _share_of_different_pixels(self.start_images, self.goal_images),
        }


def execute_plans(
    encoder: ClassPoseBase, world_cls: type[OrbitWorld], count: int = 60, *, seed: int = 0
) -> PlanningResult:
    """Plan from random poses to random goals in a world of rotations, and execute the plans there.

    All classes occur equally often.

    Args:
        encoder: an encoder with class and pose, for the group of the world.
        world_cls: the world.
        count: number of plans.
        seed: seed of the poses and goals.

    Raises:
        ValueError: the group of the world is not one of rotations, or not that of the encoder.
    """
    group = world_cls.group
    if not group.is_rotation_group or encoder.group != group.name:
        raise ValueError(
            f"expected a world of rotations (SO2 or SO3) and an encoder for its group, got a world of {group.name} and "
            f"an encoder for {encoder.group}; use `plan_action` for other groups"
        )
    generator, orbit = np.random.default_rng(seed), np.arange(count) % len(world_cls.orbits)
    world = world_cls(count, device="cpu")
    start, goal = (group.random(generator, count) for _ in range(2))
    goal_images, start_images = world.render_at(orbit, goal), world.render_at(orbit, start)
    world.step(plan_action(encoder, start_images, goal_images).action)
    stabilizers = [world_cls.stabilizer(int(one)) for one in orbit]
    after, before = (distance_to_goal(group, pose, goal, stabilizers) for pose in (world.pose, start))
    return PlanningResult(start_images, world.render(), goal_images, after, before)


def _share_of_different_pixels(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Return the share of pixels with a colour that differs by more than a tenth of its range."""
    return float((np.abs(a.astype(int) - b.astype(int)).max(-1) > 25.5).mean())
