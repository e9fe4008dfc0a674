"""Base classes of perturbations that act on a MuJoCo simulation, with a receipt against the unperturbed twin."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import gymnasium as gym
import numpy as np

from ..arguments import integer_argument
from ..mujoco_envs.mujoco_scene import MujocoScene
from .array_writes import ArrayWrites
from .directions import Direction, draw_direction, require_direction
from .errors import PerturbationError
from .mujoco_elements import body_pose, can_move, named, scene_of
from .perturbation import Perturbation
from .receipt import Receipt


@dataclass(frozen=True, kw_only=True)
class MujocoPerturbation(Perturbation):
    """A perturbation of what an environment simulates with MuJoCo.

    Its receipt compares the state at the end of the perturbation with that of the unperturbed twin: the same state, the
    same actions and the same other perturbations, but not this one.

    Attributes:
        magnitude: strength.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        idle: number of steps after it in which the policy does not act.
        policy_acts: whether the policy acts while it lasts; if not, the null action of `PerturbedEnv` is carried out.
    """

    needs_mujoco: ClassVar[bool] = True
    writes_last: ClassVar[Literal["step", "window"]] = "step"
    """How long the writes of `apply` last: one step, after which it is called again, or all of the duration."""
    happens_once: ClassVar[bool] = False
    """Whether it happens in one step, so that the duration must be 1."""

    idle: int = 0
    policy_acts: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        integer_argument(f"{self.name}: idle", self.idle, 0, PerturbationError)
        self.require(isinstance(self.policy_acts, bool), "policy_acts", "true or false", self.policy_acts)
        once = not self.happens_once or self.duration == 1
        self.require(once, "duration", "1, because it happens once", self.duration)

    @property
    def idle_steps(self) -> int:
        """Return the number of steps after it in which the policy does not act."""
        return self.idle

    def check(self, env: gym.Env[Any, Any]) -> None:
        """Check that the environment simulates with MuJoCo, and its model."""
        super().check(env)
        self.check_scene(scene_of(env, self.name))

    def check_scene(self, scene: MujocoScene) -> None:
        """Check that the model has what is perturbed.

        Raises:
            PerturbationError: it has not.
        """

    def draw(self, scene: MujocoScene, generator: np.random.Generator) -> Any:
        """Return what is random in an episode, such as a direction; drawn when the episode starts."""
        return None

    @abstractmethod
    def apply(self, scene: MujocoScene, drawn: Any, writes: ArrayWrites) -> None:
        """Perturb the simulation before a step.

        Args:
            scene: model and data. Derived quantities, such as positions of bodies, are up to date; afterwards they are
                computed again.
            drawn: what `draw` returned.
            writes: for all that must be undone. What is written without it, such as a new position, remains.
        """

    @abstractmethod
    def measure(self, scene: MujocoScene, observation: Any) -> Any:
        """Return what a receipt compares, such as the position of a body.

        Args:
            scene: model and data.
            observation: what the environment returned last, before perturbations of observations.
        """

    @abstractmethod
    def receipt(self, perturbed: Any, twin: Any, scene: MujocoScene, steps: int) -> Receipt:
        """Return the effect.

        Args:
            perturbed: what `measure` returned at the end of the perturbation.
            twin: what `measure` returned for the unperturbed twin.
            scene: model and data.
            steps: number of steps that the perturbation lasted.
        """


@dataclass(frozen=True, kw_only=True)
class BodyPerturbation(MujocoPerturbation):
    """A perturbation of a body; its receipt is the distance between the body and its twin.

    Attributes:
        body: name of the body.
        magnitude: strength.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        idle: see `MujocoPerturbation`.
        policy_acts: see `MujocoPerturbation`.
    """

    body: str

    def check_scene(self, scene: MujocoScene) -> None:
        """Check that there is such a body, and that it can move."""
        super().check_scene(scene)
        self.body_id(scene)

    def body_id(self, scene: MujocoScene) -> int:
        """Return the number of the body.

        Raises:
            PerturbationError: the model has no such body, or it cannot move.
        """
        number = named(scene.model, "body", self.body, self.name)
        if not can_move(scene.model, number):
            raise PerturbationError(f"{self.name}: body {self.body!r} has no joint, so that it cannot move")
        return number

    def measure(self, scene: MujocoScene, observation: Any) -> Any:
        """Return position and orientation of the body."""
        return body_pose(scene, named(scene.model, "body", self.body, self.name))

    def receipt(self, perturbed: Any, twin: Any, scene: MujocoScene, steps: int) -> Receipt:
        """Return the distance."""
        value = float(np.linalg.norm(perturbed[0] - twin[0]))
        return Receipt(f"distance of {self.body}", value, "m", 1e-6, steps)


@dataclass(frozen=True, kw_only=True)
class DirectedPerturbation(BodyPerturbation):
    """A perturbation of a body along a direction, which is fixed or drawn in each episode.

    Attributes:
        body: name of the body.
        magnitude: strength.
        direction: direction in the world; see `Direction`.
        onset: see `Perturbation`.
        duration: see `Perturbation`.
        idle: see `MujocoPerturbation`.
        policy_acts: see `MujocoPerturbation`.
    """

    direction: Direction = "xy"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_direction(self.direction, f"{self.name}: direction")

    def draw(self, scene: MujocoScene, generator: np.random.Generator) -> Any:
        """Return the direction."""
        return draw_direction(self.direction, generator)
