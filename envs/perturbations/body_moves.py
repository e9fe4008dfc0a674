"""Moves of a body: dragged for some steps, or moved once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..mujoco_envs.mujoco_scene import MujocoScene
from ..simulation.dependencies import import_mujoco
from .array_writes import ArrayWrites
from .errors import PerturbationError
from .joint_offsets import clip_joints, joint_type
from .mujoco_elements import named
from .mujoco_perturbation import DirectedPerturbation
from .registry import register_perturbation


@register_perturbation("drag")
@dataclass(frozen=True, kw_only=True)
class Drag(DirectedPerturbation):
    """Move a body by a distance before every step, whatever its joints and motors do.

    A mocap body is moved itself. For any other body the joints between it and the world are moved, as little as
    possible; joints with limits stay within them. Velocities stay as they are. The receipt is the distance between the
    body and its twin at the end, in metres: less than the sum of the moves if controllers or obstacles resist.

    Attributes:
        body: name of the body.
        magnitude: metres per step.
        direction: direction of the moves in the world; see `Direction`.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        idle: see `MujocoPerturbation`.
        policy_acts: see `MujocoPerturbation`.
    """

    unit: ClassVar[str] = "m/step"

    def body_id(self, scene: MujocoScene) -> int:
        """Return the number of the body, which may be a mocap body."""
        number = named(scene.model, "body", self.body, self.name)
        return number if scene.model.body_mocapid[number] >= 0 else super().body_id(scene)

    def apply(self, scene: MujocoScene, drawn: Any, writes: ArrayWrites) -> None:
        """Move the body."""
        body, mocap = self.body_id(scene), scene.model.body_mocapid[self.body_id(scene)]
        if mocap >= 0:
            scene.data.mocap_pos[mocap] += self.magnitude * drawn
        else:
            move_body(scene, body, self.magnitude * drawn)


@register_perturbation("move-object")
@dataclass(frozen=True, kw_only=True)
class MoveObject(DirectedPerturbation):
    """Move an object once, by its free joint or its slides.

    The receipt is the distance between the object and its twin after the step, in metres.

    Attributes:
        body: name of the object, a body with a free joint or slides.
        magnitude: metres.
        direction: direction in the world; see `Direction`.
        onset: see `Perturbation`.
        duration: 1, because it happens once.
        idle: see `MujocoPerturbation`.
        policy_acts: see `MujocoPerturbation`.
    """

    unit: ClassVar[str] = "m"
    happens_once: ClassVar[bool] = True

    def check_scene(self, scene: MujocoScene) -> None:
        """Check that the object has joints of its own."""
        super().check_scene(scene)
        if not self._own_dofs(scene).any():
            raise PerturbationError(
                f"{self.name}: body {self.body!r} has no free joint and no slide of its own; use drag for "
                "a part of an arm"
            )

    def apply(self, scene: MujocoScene, drawn: Any, writes: ArrayWrites) -> None:
        """Move the object."""
        move_body(scene, self.body_id(scene), self.magnitude * drawn, self._own_dofs(scene))

    def _own_dofs(self, scene: MujocoScene) -> Any:
        """Return which degrees of freedom are translations of the object itself, ``(nv,)``."""
        mujoco, model = import_mujoco(), scene.model
        first, count = model.body_jntadr[self.body_id(scene)], model.body_jntnum[self.body_id(scene)]
        chosen = np.zeros(model.nv, bool)
        for joint in range(first, first + count):
            widths = {mujoco.mjtJoint.mjJNT_FREE: 3, mujoco.mjtJoint.mjJNT_SLIDE: 1}
            start = model.jnt_dofadr[joint]
            chosen[start : start + widths.get(joint_type(scene, joint), 0)] = True
        return chosen


def move_body(scene: MujocoScene, body: int, shift: Any, dofs: Any = None, iterations: int = 10) -> None:
    """Move a body to another position by its joints: Gauss–Newton steps of least norm on ``‖x(q) − goal‖²``.

    Where no position of the joints reaches the goal, the body ends close to it.

    Args:
        scene: model and data; the kinematics are up to date, before and after.
        body: number of the body.
        shift: ``(3,)`` metres in the world.
        dofs: ``(nv,)``, which degrees of freedom may move; None for all between the body and the world.
        iterations: largest number of steps.
    """
    mujoco, model, data = import_mujoco(), scene.model, scene.data
    goal = data.xpos[body] + shift
    jacobian = np.zeros((3, model.nv))
    for _ in range(iterations):
        error = goal - data.xpos[body]
        if np.linalg.norm(error) < 1e-10:
            break
        mujoco.mj_jacBody(model, data, jacobian, None, body)
        if dofs is not None:
            jacobian[:, ~dofs] = 0.0
        moved = np.abs(jacobian).sum(0) > 0
        mujoco.mj_integratePos(model, data.qpos, np.linalg.lstsq(jacobian, error, rcond=1e-3)[0], 1.0)
        clip_joints(scene, np.unique(model.dof_jntid[moved]))
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
