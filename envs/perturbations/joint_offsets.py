"""Offsets of joints: of their positions and of their velocities, once."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..mujoco_envs.mujoco_scene import MujocoScene
from ..simulation.dependencies import import_mujoco
from .array_writes import ArrayWrites
from .errors import PerturbationError
from .mujoco_elements import named
from .mujoco_perturbation import MujocoPerturbation
from .receipt import Receipt
from .registry import register_perturbation


@dataclass(frozen=True, kw_only=True)
class _JointOffset(MujocoPerturbation):
    """A vector with an entry for each joint, which has the magnitude as its norm."""

    happens_once: ClassVar[bool] = True

    joints: str | tuple[str, ...]
    sign: str = "random"

    def __post_init__(self) -> None:
        if isinstance(self.joints, str):
            object.__setattr__(self, "joints", tuple(self.joints.split()))
        super().__post_init__()
        self.require(bool(self.joints) and all(self.joints), "joints", "one or more names of joints", self.joints)
        self.require(self.sign in ("random", "+", "-"), "sign", "'random', '+' or '-'", self.sign)

    def check_scene(self, scene: MujocoScene) -> None:
        super().check_scene(scene)
        self._joint_ids(scene)

    def draw(self, scene: MujocoScene, generator: np.random.Generator) -> Any:
        count = len(self.joints)
        vector = generator.normal(size=count) if self.sign == "random" else np.full(count, float(f"{self.sign}1"))
        return vector / np.linalg.norm(vector)

    def apply(self, scene: MujocoScene, drawn: Any, writes: ArrayWrites) -> None:
        values, places = self._values(scene)
        values[places] += self.magnitude * drawn

    def measure(self, scene: MujocoScene, observation: Any) -> Any:
        values, places = self._values(scene)
        return values[places].copy()

    def receipt(self, perturbed: Any, twin: Any, scene: MujocoScene, steps: int) -> Receipt:
        value = float(np.linalg.norm(perturbed - twin))
        return Receipt(self.quantity, value, self._unit(scene), 1e-6, steps)

    quantity: ClassVar[str]

    @abstractmethod
    def _values(self, scene: MujocoScene) -> tuple[Any, Any]:
        """Return the array of the simulation, and the places of the joints in it."""

    def _unit(self, scene: MujocoScene) -> str:
        mujoco = import_mujoco()
        slides = {joint_type(scene, joint) == mujoco.mjtJoint.mjJNT_SLIDE for joint in self._joint_ids(scene)}
        return "rad and m" if len(slides) > 1 else "m" if slides == {True} else "rad"

    def _joint_ids(self, scene: MujocoScene) -> Any:
        mujoco = import_mujoco()
        numbers = [named(scene.model, "joint", joint, self.name) for joint in self.joints]
        for number, joint in zip(numbers, self.joints, strict=True):
            if joint_type(scene, number) in (mujoco.mjtJoint.mjJNT_FREE, mujoco.mjtJoint.mjJNT_BALL):
                raise PerturbationError(
                    f"{self.name}: expected hinges and slides, got {joint!r}, which has more than one coordinate; use "
                    "move-object, drag or impulse for its body"
                )
        return np.asarray(numbers)


@register_perturbation("joint-position")
@dataclass(frozen=True, kw_only=True)
class JointPosition(_JointOffset):
    """Add an offset to the positions of joints, once; joints with limits stay within them.

    The receipt is the norm of the difference of these positions from those of the twin after the step.

    Attributes:
        joints: names of hinges or slides, separated by spaces.
        magnitude: norm of the offset, in radians for hinges and metres for slides.
        sign: ``"+"`` or ``"-"`` for the same offset of all joints, ``"random"`` for a uniform direction.
        onset: see `Perturbation`.
        duration: 1, because it happens once.
        idle: see `MujocoPerturbation`.
        policy_acts: see `MujocoPerturbation`.
    """

    unit: ClassVar[str] = "rad or m"
    quantity: ClassVar[str] = "joint positions"

    def apply(self, scene: MujocoScene, drawn: Any, writes: ArrayWrites) -> None:
        """Add the offset, within the limits of the joints."""
        super().apply(scene, drawn, writes)
        clip_joints(scene, self._joint_ids(scene))

    def _values(self, scene: MujocoScene) -> tuple[Any, Any]:
        return scene.data.qpos, scene.model.jnt_qposadr[self._joint_ids(scene)]


@register_perturbation("joint-velocity")
@dataclass(frozen=True, kw_only=True)
class JointVelocity(_JointOffset):
    """Add an offset to the velocities of joints, once.

    The receipt is the norm of the difference of these velocities from those of the twin after the step.

    Attributes:
        joints: names of hinges or slides, separated by spaces.
        magnitude: norm of the offset, in radians or metres per second.
        sign: ``"+"`` or ``"-"`` for the same offset of all joints, ``"random"`` for a uniform direction.
        onset: see `Perturbation`.
        duration: 1, because it happens once.
        idle: see `MujocoPerturbation`.
        policy_acts: see `MujocoPerturbation`.
    """

    unit: ClassVar[str] = "rad/s or m/s"
    quantity: ClassVar[str] = "joint velocities"

    def _values(self, scene: MujocoScene) -> tuple[Any, Any]:
        return scene.data.qvel, scene.model.jnt_dofadr[self._joint_ids(scene)]

    def _unit(self, scene: MujocoScene) -> str:
        return f"({super()._unit(scene)})/s" if " " in super()._unit(scene) else f"{super()._unit(scene)}/s"


def joint_type(scene: MujocoScene, joint: int) -> Any:
    """Return the type of a joint, a ``mujoco.mjtJoint``."""
    return import_mujoco().mjtJoint(scene.model.jnt_type[joint])


def clip_joints(scene: MujocoScene, joints: Any) -> None:
    """Move hinges and slides that are beyond their limits back to them.

    Args:
        scene: model and data.
        joints: numbers of the joints.
    """
    model, data = scene.model, scene.data
    limited = np.flatnonzero(np.asarray(model.jnt_limited, bool) & (model.jnt_type >= 2))  # 2: slide, 3: hinge
    chosen = np.intersect1d(limited, joints)
    places, limits = model.jnt_qposadr[chosen], model.jnt_range[chosen]
    data.qpos[places] = np.clip(data.qpos[places], limits[:, 0], limits[:, 1])
