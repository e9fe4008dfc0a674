"""Apply perturbations to any Gymnasium environment, and measure what they did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from ..arguments import integer_argument
from ..mujoco_envs.restorable_env import RestorableEnv
from .action_perturbation import ActionPerturbation, NullAction, require_null_action
from .episode_run import EpisodeRun, PerturbationWindow
from .errors import PerturbationError
from .mujoco_injector import MujocoInjector
from .mujoco_perturbation import MujocoPerturbation
from .observation_perturbation import ObservationPerturbation
from .perturbation import Perturbation
from .receipt import Receipt
from .twin import step_perturbed


class PerturbedEnv(gym.Wrapper[Any, Any, Any, Any]):
    """An environment with perturbations in every episode, each with a receipt: its measured effect.

    Perturbations of the simulation are compared with the unperturbed twin: when one is over, its first state is
    restored, the same actions are carried out without it, and the environment returns to where it was. The episode goes
    on bit for bit as if nothing had been measured. The momentum of the agent itself does not count.

    Random draws depend on the seed, the number of the episode and the place of the perturbation, and never on the
    policy. ``reset(seed=…)`` starts counting episodes anew with that seed.

    ``info["perturbation"]`` of every step has the entries ``"active"``: names of the active perturbations,
    ``"policy_acts"``: whether the action of the policy was carried out, and ``"receipts"``: the receipts that were
    measured after this step.

    Args:
        env: a single environment with all wrappers that see what the simulation does, such as `RayTracedPixels`. A
            `RestorableEnv` is used as it is; another environment is wrapped in one if a perturbation needs a twin.
        perturbations: any number of perturbations; they may overlap.
        seed: of the random draws, at least 0.
        null_action: action in steps in which the policy does not act: ``"zero"``, clipped into the action space, for
            torques, velocities and displacements; ``"hold"``, the last action that was carried out, for absolute
            targets.
        measure_receipts: whether twins are played; without them, perturbations of the simulation have no receipt.

    Attributes:
        perturbations: the perturbations.

    Raises:
        PerturbationError: a perturbation cannot be applied in this environment.

    Example:
        >>> from equiact.envs.perturbations.parsing import parse_perturbation
        >>> force = parse_perturbation("force:body=torso,magnitude=100,onset=3,duration=5,direction=x")
        >>> env = PerturbedEnv(gym.make("HalfCheetah-v5"), force)
        >>> _ = env.reset(seed=0)
        >>> infos = [env.step(np.zeros(6))[4] for _ in range(10)]
        >>> [info["perturbation"]["active"] for info in infos[2:9:5]]
        [(), ('force',)]
        >>> receipt = env.receipts[0]
        >>> receipt.name, receipt.unit, receipt.has_effect
        ('distance of torso', 'm', True)
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        perturbations: Sequence[Perturbation],
        *,
        seed: int = 0,
        null_action: NullAction = "zero",
        measure_receipts: bool = True,
    ) -> None:
        if not isinstance(env, gym.Env):
            raise PerturbationError(f"expected a single Gymnasium environment, got {type(env).__name__}; see make_env")
        given = (perturbations,) if isinstance(perturbations, Perturbation) else tuple(perturbations)
        for each in given:
            if not isinstance(each, ActionPerturbation | ObservationPerturbation | MujocoPerturbation):
                raise PerturbationError(
                    "expected a perturbation of actions, observations or the simulation, got "
                    f"{each!r}; parse_perturbation reads text"
                )
        simulated = {number: each for number, each in enumerate(given) if isinstance(each, MujocoPerturbation)}
        if simulated and not isinstance(env, RestorableEnv):
            env = RestorableEnv(env)
        super().__init__(env)
        for each in given:
            each.check(env)
        if any(each.idle or not each.policy_acts for each in simulated.values()):
            require_null_action(null_action, env.action_space)
        self.perturbations = given
        self._seed = integer_argument("seed", seed, 0, PerturbationError)
        self._episode = -1
        self._null_action: NullAction = null_action
        self._measures = measure_receipts
        self._injector = MujocoInjector(env, simulated)
        self._run: EpisodeRun | None = None

    @property
    def windows(self) -> tuple[PerturbationWindow, ...]:
        """Return the steps of each perturbation in this episode."""
        return self._current.windows

    @property
    def receipts(self) -> tuple[Receipt | None, ...]:
        """Return the receipt of each perturbation in this episode; None for those that are not over or never began.

        One that the end of the episode cuts short has a receipt.
        """
        return tuple(self._current.receipts.get(number) for number in range(len(self.perturbations)))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Remove all perturbations, and start the next episode."""
        self._injector.remove()
        result = self.env.reset(seed=seed, options=options)
        if seed is not None:
            self._seed, self._episode = integer_argument("seed", seed, 0, PerturbationError), -1
        self.start_episode(self._episode + 1)
        return result

    def start_episode(self, episode: int) -> None:
        """Start an episode in the state in which the environment is, for example after it was restored.

        Args:
            episode: number of the episode, on which the random draws depend.
        """
        self._injector.remove()
        self._episode = integer_argument("episode", episode, 0, PerturbationError)
        count = len(self.perturbations)
        generators = [np.random.default_rng((self._seed, self._episode, number)) for number in range(count)]
        self._run = EpisodeRun(self.perturbations, generators, self.env)
        self._injector.draw(dict(enumerate(generators)))

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Perform an action, perturbed as the perturbations say."""
        run = self._current
        if self._measures:
            run.begin_twins(self.env, self._injector)
        active, policy_acts = run.active, run.policy_acts
        executed = run.perturb_action(action, self._null_action)
        result = step_perturbed(self.env.step, self._injector, executed, active)
        observation, reward, terminated, truncated, info = result
        shown = run.perturb_observation(observation)
        entry = {
            "active": tuple(self.perturbations[number].name for number in active),
            "policy_acts": policy_acts,
            "receipts": run.finish_step(observation, bool(terminated or truncated)),
        }
        return shown, reward, terminated, truncated, {**info, "perturbation": entry}

    def close(self) -> None:
        """Remove all perturbations, and close the environment."""
        self._injector.remove()
        super().close()

    @property
    def _current(self) -> EpisodeRun:
        if self._run is None:
            raise gym.error.ResetNeeded("call reset before step, receipts and windows")
        return self._run
