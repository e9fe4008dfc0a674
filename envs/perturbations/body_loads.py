"""Loads on a body: force, torque and impulse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..mujoco_envs.mujoco_scene import MujocoScene
from ..simulation.dependencies import import_mujoco
from .array_writes import ArrayWrites
from .directions import Direction
from .mujoco_elements import angle_between, body_velocity
from .mujoco_perturbation import DirectedPerturbation
from .receipt import Receipt
from .registry import register_perturbation


@register_perturbation("force")
@dataclass(frozen=True, kw_only=True)
class Force(DirectedPerturbation):
    """Push a body with a constant force at its centre of mass.

    The force adds to ``xfrc_applied``, for all simulation steps of an environment step. Its receipt is the distance
    between the origin of the body and that of its twin, in metres.

    Attributes:
        body: name of the body.
        magnitude: force in newtons.
        direction: direction of the force in the world; see `Direction`.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        idle: see `MujocoPerturbation`.
        policy_acts: see `MujocoPerturbation`.
    """

    unit: ClassVar[str] = "N"

    def apply(self, scene: MujocoScene, drawn: Any, writes: ArrayWrites) -> None:
        """Add the force to the body."""
        forces, place = scene.data.xfrc_applied, (self.body_id(scene), slice(0, 3))
        writes.set(forces, place, forces[place] + self.magnitude * drawn)


@register_perturbation("torque")
@dataclass(frozen=True, kw_only=True)
class Torque(DirectedPerturbation):
    """Twist a body with a constant torque.

    The torque adds to ``xfrc_applied``, for all simulation steps of an environment step. Its receipt is the angle
    between the orientation of the body and that of its twin, in radians.

    Attributes:
        body: name of the body.
        magnitude: torque in newton metres.
        direction: axis of the torque in the world; see `Direction`.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        idle: see `MujocoPerturbation`.
        policy_acts: see `MujocoPerturbation`.
    """

    unit: ClassVar[str] = "N m"

    direction: Direction = "xyz"

    def apply(self, scene: MujocoScene, drawn: Any, writes: ArrayWrites) -> None:
        """Add the torque to the body."""
        forces, place = scene.data.xfrc_applied, (self.body_id(scene), slice(3, 6))
        writes.set(forces, place, forces[place] + self.magnitude * drawn)

    def receipt(self, perturbed: Any, twin: Any, scene: MujocoScene, steps: int) -> Receipt:
        """Return the angle."""
        return Receipt(f"rotation of {self.body}", angle_between(perturbed[1], twin[1]), "rad", 1e-6, steps)


@register_perturbation("impulse")
@dataclass(frozen=True, kw_only=True)
class Impulse(DirectedPerturbation):
    """Hit a body once, at its centre of mass: change all velocities by ``Δv = M⁻¹ Jᵀ p``.

    ``p`` is the impulse, ``J`` the Jacobian of the centre of mass and ``M`` the mass matrix of all joints, so that a
    free body gets the velocity ``p / m``. Contacts and other constraints act afterwards, in the step. The receipt is
    the difference between the velocity of the centre of mass and that of its twin after the step, in metres per second.

    Attributes:
        body: name of the body.
        magnitude: impulse in newton seconds.
        direction: direction of the impulse in the world; see `Direction`.
        onset: see `Perturbation`.
        duration: 1, because it happens once.
        idle: see `MujocoPerturbation`.
        policy_acts: see `MujocoPerturbation`.
    """

    unit: ClassVar[str] = "N s"
    happens_once: ClassVar[bool] = True

    def apply(self, scene: MujocoScene, drawn: Any, writes: ArrayWrites) -> None:
        """Change the velocities."""
        mujoco = import_mujoco()
        model, data = scene.model, scene.data
        jacobian, change = np.zeros((3, model.nv)), np.zeros((1, model.nv))
        mujoco.mj_jacBodyCom(model, data, jacobian, None, self.body_id(scene))
        mujoco.mj_solveM(model, data, change, self.magnitude * drawn[None] @ jacobian)
        data.qvel[:] += change[0]

    def measure(self, scene: MujocoScene, observation: Any) -> Any:
        """Return the velocity of the centre of mass."""
        return body_velocity(scene, self.body_id(scene))

    def receipt(self, perturbed: Any, twin: Any, scene: MujocoScene, steps: int) -> Receipt:
        """Return the difference of the velocities."""
        return Receipt(f"velocity of {self.body}", float(np.linalg.norm(perturbed - twin)), "m/s", 1e-6, steps)
