"""Changes of the physics of a model: friction, mass, gravity, wind and the strength of actuators."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from ..mujoco_envs.mujoco_scene import MujocoScene
from ..simulation.dependencies import import_mujoco
from .array_writes import ArrayWrites
from .directions import Direction, draw_direction, require_direction
from .errors import PerturbationError
from .mujoco_elements import body_pose, can_move, geoms_of, joint_distance, named
from .mujoco_perturbation import MujocoPerturbation
from .receipt import Receipt
from .registry import register_perturbation


@dataclass(frozen=True, kw_only=True)
class _ModelChange(MujocoPerturbation):
    """A perturbation of numbers of a model, which are put back exactly when the step after it begins.

    Its receipt is the norm of the difference of all joint positions from those of the twin, in radians and metres.
    """

    writes_last: ClassVar[Literal["step", "window"]] = "window"

    def measure(self, scene: MujocoScene, observation: Any) -> Any:
        return scene.data.qpos.copy()

    def receipt(self, perturbed: Any, twin: Any, scene: MujocoScene, steps: int) -> Receipt:
        value = joint_distance(scene, perturbed, twin)
        return Receipt("joint positions", value, "rad and m", 1e-6, steps)


@dataclass(frozen=True, kw_only=True)
class _ModelFactor(_ModelChange):
    """A perturbation that multiplies numbers of a model."""

    unit: ClassVar[str] = "times"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.magnitude != 1, "magnitude", "a factor other than 1", self.magnitude)


@dataclass(frozen=True, kw_only=True)
class _BodyFactor(_ModelFactor):
    """A perturbation of one body, with the distance from its twin as receipt, or of all bodies."""

    body: str | None = None

    def check_scene(self, scene: MujocoScene) -> None:
        super().check_scene(scene)
        self._body_id(scene)

    def _body_id(self, scene: MujocoScene) -> int | None:
        return None if self.body is None else named(scene.model, "body", self.body, self.name)

    def measure(self, scene: MujocoScene, observation: Any) -> Any:
        body = self._body_id(scene)
        return super().measure(scene, observation) if body is None else body_pose(scene, body)

    def receipt(self, perturbed: Any, twin: Any, scene: MujocoScene, steps: int) -> Receipt:
        if self.body is None:
            return super().receipt(perturbed, twin, scene, steps)
        value = float(np.linalg.norm(perturbed[0] - twin[0]))
        return Receipt(f"distance of {self.body}", value, "m", 1e-6, steps)


@register_perturbation("friction")
@dataclass(frozen=True, kw_only=True)
class Friction(_BodyFactor):
    """Multiply the friction of the geoms of a body, or of all geoms and contact pairs.

    MuJoCo takes the larger friction of two geoms in contact: less friction of one body may change nothing.

    Attributes:
        magnitude: the factor, not 1.
        body: name of the body; None for all.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        idle: see `MujocoPerturbation`.
        policy_acts: see `MujocoPerturbation`.
    """

    def check_scene(self, scene: MujocoScene) -> None:
        """Check that there are geoms."""
        super().check_scene(scene)
        if not len(geoms_of(scene.model, self._body_id(scene))):
            raise PerturbationError(f"{self.name}: body {self.body!r} has no geoms")

    def apply(self, scene: MujocoScene, drawn: Any, writes: ArrayWrites) -> None:
        """Multiply the friction."""
        model, geoms = scene.model, geoms_of(scene.model, self._body_id(scene))
        writes.set(model.geom_friction, geoms, model.geom_friction[geoms] * self.magnitude)
        if self.body is None and model.npair:
            writes.set(model.pair_friction, slice(None), model.pair_friction * self.magnitude)


@register_perturbation("mass")
@dataclass(frozen=True, kw_only=True)
class Mass(_BodyFactor):
    """Multiply mass and inertia of a body, or of all bodies.

    What MuJoCo derives from them, such as the inverse weights of joints, is computed anew by ``mj_setConst``.

    Attributes:
        magnitude: the factor, not 1.
        body: name of the body; None for all.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        idle: see `MujocoPerturbation`.
        policy_acts: see `MujocoPerturbation`.
    """

    derived: ClassVar[tuple[str, ...]] = (
        *("body_mass", "body_inertia", "body_subtreemass", "body_invweight0", "dof_M0", "dof_invweight0"),
        *("tendon_invweight0", "flexedge_invweight0", "actuator_acc0"),
    )
    """Arrays of the model that hold masses, and what `mj_setConst` derives from them."""

    def check_scene(self, scene: MujocoScene) -> None:
        """Check that the body can move."""
        super().check_scene(scene)
        body = self._body_id(scene)
        if body is not None and not can_move(scene.model, body):
            raise PerturbationError(f"{self.name}: body {self.body!r} has no joint, so that its mass does not matter")

    def apply(self, scene: MujocoScene, drawn: Any, writes: ArrayWrites) -> None:
        """Multiply masses and inertias, and all that depends on them."""
        mujoco, model, bodies = import_mujoco(), scene.model, self._bodies(scene)
        changed = copy.copy(model)  # mj_setConst computes more than what depends on masses
        changed.body_mass[bodies] *= self.magnitude
        changed.body_inertia[bodies] *= self.magnitude
        mujoco.mj_setConst(changed, mujoco.MjData(changed))
        heavier = changed.dof_M0.mean() / model.dof_M0.mean() if model.nv else 1.0
        writes.set_attribute(model.stat, "meaninertia", model.stat.meaninertia * heavier)  # mj_setConst leaves it
        for name in self.derived:
            writes.set(getattr(model, name), slice(None), getattr(changed, name))

    def _bodies(self, scene: MujocoScene) -> Any:
        body = self._body_id(scene)
        return slice(None) if body is None else [body]


@register_perturbation("gravity")
@dataclass(frozen=True, kw_only=True)
class Gravity(_ModelFactor):
    """Multiply gravity.

    Attributes:
        magnitude: the factor, not 1.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        idle: see `MujocoPerturbation`.
        policy_acts: see `MujocoPerturbation`.
    """

    def check_scene(self, scene: MujocoScene) -> None:
        """Check that there is gravity."""
        super().check_scene(scene)
        if not np.any(scene.model.opt.gravity):
            raise PerturbationError(f"{self.name}: the model has no gravity")

    def apply(self, scene: MujocoScene, drawn: Any, writes: ArrayWrites) -> None:
        """Multiply gravity."""
        gravity = scene.model.opt.gravity
        writes.set(gravity, slice(None), gravity * self.magnitude)


@register_perturbation("wind")
@dataclass(frozen=True, kw_only=True)
class Wind(_ModelChange):
    """Let a wind blow through a model with air, or in general a medium with density or viscosity.

    Attributes:
        magnitude: speed in metres per second, which is added to the wind of the model.
        direction: direction in the world; see `Direction`.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        idle: see `MujocoPerturbation`.
        policy_acts: see `MujocoPerturbation`.
    """

    unit: ClassVar[str] = "m/s"
    direction: Direction = "xy"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_direction(self.direction, f"{self.name}: direction")

    def check_scene(self, scene: MujocoScene) -> None:
        """Check that there is a medium."""
        super().check_scene(scene)
        if scene.model.opt.density == 0 and scene.model.opt.viscosity == 0:
            raise PerturbationError(f"{self.name}: the model has no medium: its density and its viscosity are 0")

    def draw(self, scene: MujocoScene, generator: np.random.Generator) -> Any:
        """Return the direction."""
        return draw_direction(self.direction, generator)

    def apply(self, scene: MujocoScene, drawn: Any, writes: ArrayWrites) -> None:
        """Add to the wind."""
        wind = scene.model.opt.wind
        writes.set(wind, slice(None), wind + self.magnitude * drawn)


@register_perturbation("actuator-strength")
@dataclass(frozen=True, kw_only=True)
class ActuatorStrength(_ModelFactor):
    """Multiply the force of an actuator, or of all, before MuJoCo clips it into its range.

    Attributes:
        magnitude: the factor, not 1.
        actuator: name of the actuator; None for all.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        idle: see `MujocoPerturbation`.
        policy_acts: see `MujocoPerturbation`.
    """

    actuator: str | None = None

    def check_scene(self, scene: MujocoScene) -> None:
        """Check that there are actuators whose force can be multiplied."""
        super().check_scene(scene)
        mujoco, model, chosen = import_mujoco(), scene.model, self._actuators(scene)
        if not model.nu:
            raise PerturbationError(f"{self.name}: the model has no actuators")
        last = int(mujoco.mjtGain.mjGAIN_AFFINE)  # muscles and user-defined gains are no multiples of their parameters
        if (model.actuator_gaintype[chosen] > last).any() or (model.actuator_biastype[chosen] > last).any():
            raise PerturbationError(
                f"{self.name}: expected motors, servos and dampers, got a muscle or user-defined one"
            )

    def apply(self, scene: MujocoScene, drawn: Any, writes: ArrayWrites) -> None:
        """Multiply gain and bias."""
        model, chosen = scene.model, self._actuators(scene)
        for array in (model.actuator_gainprm, model.actuator_biasprm):
            writes.set(array, chosen, array[chosen] * self.magnitude)

    def _actuators(self, scene: MujocoScene) -> Any:
        model = scene.model
        return np.arange(model.nu) if self.actuator is None else [named(model, "actuator", self.actuator, self.name)]
