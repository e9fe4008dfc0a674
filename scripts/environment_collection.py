"""Collect transitions in an environment of any package, as the options of the command line describe it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from .collect_and_train import explore_with_bar
from .environment_options import CollectionRule, EnvironmentOptionError, parse_assignments, suggest_rules
from .progress import progress_bar
from .training_data import name_options

if TYPE_CHECKING:
    from ..agents.exploration.learned_exploration import Exploration, ExplorationConfig
    from ..envs.data.policy import Policy
    from ..envs.data.transitions import Transitions

RENDER = "render"
"""Name of the image that an environment draws."""
Env = gym.Env[Any, Any] | gym.vector.VectorEnv[Any, Any, Any]


@dataclass(frozen=True)
class CollectionEnv:
    """An environment to collect from.

    Attributes:
        env: Gymnasium id, ``"package:id"`` or ``"module:function"``.
        imports: packages that register environments when they are imported.
        env_options: arguments of the environment, each as ``key=value``.
        action_repeat: number of steps of the environment for which each action is held.
        displacement: rule of the displacement (`CollectionRule`); None for ``info["displacement"]``.
        group: name of the group that acts; None for that of the environment or the rule.
        image_key: entry of Dict observations that holds the image, or ``"render"`` for what the environment draws; None
            for the only image.
        viewpoint: arguments of the camera of ray-traced images.
        pixels: whether to draw the images by ray tracing.
        resolution: height and width of the images; None for 64 × 64 ray-traced ones, and to keep others as they are.
        num_envs: number of copies that act in turn.
        keeps_observation: whether to keep the environment's own observations beside ray-traced images, for a policy.
    """

    env: str
    imports: tuple[str, ...] = ()
    env_options: tuple[str, ...] = ()
    action_repeat: int = 1
    displacement: str | None = None
    group: str | None = None
    image_key: str | None = None
    viewpoint: Mapping[str, Any] = field(default_factory=dict)
    pixels: bool = False
    resolution: tuple[int, int] | None = None
    num_envs: int = 4
    keeps_observation: bool = False

    def make(self) -> tuple[Env, str]:
        """Return the environment with displacements and images, and the name of the group that acts.

        Raises:
            ValueError: there is no such environment, displacement, group or image; the message names the option.
        """
        first = self._make_one()
        rule = self._rule(first)
        if self.action_repeat > 1 and rule.kind in ("info", "function"):
            raise EnvironmentOptionError(
                f"expected --displacement difference:…, body:…, site:… or joints:… with --action-repeat "
                f"{self.action_repeat}, got {rule.kind}: info tells of the last of the repeated steps only"
            )
        wrapped = rule.wrap(first, self.group)
        group = self._group(wrapped)
        self._require_images(wrapped)
        first = self._with_own_images(wrapped)
        more = [lambda: self._with_own_images(rule.wrap(self._make_one(), self.group))] * (self.num_envs - 1)
        if self.pixels:
            return self._with_pixels([lambda: first, *more]), group
        return (first if self.num_envs == 1 else gym.vector.SyncVectorEnv([lambda: first, *more])), group

    @property
    def reads(self) -> Any:
        """Return what `collect` reads the displacement from."""
        return CollectionRule.parse(self.displacement).reads if self.displacement else "displacement"

    @property
    def key_of_images(self) -> str | None:
        """Return the entry of Dict observations that holds the image."""
        if self.keeps_observation:
            return "image"
        return None if self.image_key == RENDER else self.image_key

    def _make_one(self) -> gym.Env[Any, Any]:
        from ..envs.env_factory import make_env

        options = parse_assignments(self.env_options)
        return make_env(self.env, imports=self.imports, action_repeat=self.action_repeat, **options)

    def _rule(self, env: gym.Env[Any, Any]) -> CollectionRule:
        if self.displacement is not None:
            return CollectionRule.parse(self.displacement)
        env.reset(seed=0)
        if "displacement" in env.step(env.action_space.sample())[4]:
            return CollectionRule("info", "displacement", {})
        raise EnvironmentOptionError(
            f"expected --displacement, because {self.env} reports no info['displacement']: say which motion of the "
            f"agent the encoder is to learn. It offers {suggest_rules(env)}"
        )

    def _group(self, env: gym.Env[Any, Any]) -> str:
        """Return the name of the group that acts.

        Raises:
            EnvironmentOptionError: it is given nowhere.
        """
        if self.group is not None:
            return self.group
        env.reset(seed=0)
        for name in ("acting", "group"):
            found = getattr(env, name, None) or getattr(env.unwrapped, name, None)
            if found is not None:
                return str(getattr(found, "name", found))
        raise EnvironmentOptionError(
            f"expected --group with --env {self.env}, such as R2 for translations in the plane or SE2 for a robot that "
            "drives: the environment declares none"
        )

    def _require_images(self, env: gym.Env[Any, Any]) -> None:
        """Check that there are images to learn from.

        Raises:
            EnvironmentOptionError: there are none; the message says how to get some.
        """
        from ..envs.mujoco_envs.mujoco_scene import has_mujoco

        drawn = env.render_mode == "rgb_array"
        if self.pixels or drawn or (_observes_images(env.observation_space) and self.image_key != RENDER):
            return
        ways = ["--pixels, which draws them without OpenGL"] if has_mujoco(env) else []
        if "rgb_array" in env.metadata.get("render_modes", []):
            ways.append("--env-option render_mode=rgb_array, which uses the environment's own renderer")
        raise EnvironmentOptionError(
            f"expected images: {self.env} observes {env.observation_space} and draws nothing; "
            f"give {' or '.join(ways) or 'an environment that observes uint8 images'}"
        )

    def _with_own_images(self, env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
        """Return an environment that observes what it draws, or resized images, where that is asked for.

        Raises:
            EnvironmentOptionError: images in Dict observations are to be resized.
        """
        if self.pixels:
            return env
        if self.image_key == RENDER or (self.resolution and not _observes_images(env.observation_space)):
            env = gym.wrappers.AddRenderObservation(env, render_only=True)
        if self.resolution is None:
            return env
        if isinstance(env.observation_space, gym.spaces.Dict):
            raise EnvironmentOptionError(
                f"expected no --resolution for images in Dict observations, got {self.resolution}; leave it out, or "
                "give --image-key render"
            )
        return gym.wrappers.ResizeObservation(env, self.resolution)

    def _with_pixels(self, copies: list[Any]) -> Env:
        from ..envs.mujoco_envs.ray_traced_pixels import RayTracedPixels, VectorRayTracedPixels

        options: dict[str, Any] = {**self.viewpoint, "resolution": self.resolution or (64, 64)}
        options["keep_observation"] = self.keeps_observation
        if self.num_envs == 1:
            return RayTracedPixels(copies[0](), **options)
        return VectorRayTracedPixels(gym.vector.SyncVectorEnv(copies), **options)


def collect_in_environment(
    options: CollectionEnv, count: int, seed: int, *, policy: str | None = None, trust_policy: bool = False
) -> Transitions:
    """Collect transitions in an environment of any package, and show the progress.

    Args:
        options: the environment.
        count: number of transitions.
        seed: seed of the environment and of random actions.
        policy: policy that acts, as `resolve_policy` reads it; None for random actions.
        trust_policy: whether to load a policy that is a pickle.

    Raises:
        ValueError: an option is wrong; the message names it.
    """
    from ..agents.policies.policy_loading import resolve_policy
    from ..envs.data.collect import collect

    acting = None if policy is None else resolve_policy(policy, trust=trust_policy)
    if acting is not None and options.image_key == RENDER:
        raise EnvironmentOptionError("expected --policy or --image-key render, got both: it would see the images only")
    if acting is not None and options.pixels:
        options, acting = replace(options, keeps_observation=True), PolicyOnOwnObservation(acting)
    with _opened(options) as (env, group), progress_bar("Collecting", count, "transitions") as update:
        return collect(
            env,
            count,
            seed,
            displacement=options.reads,
            group=group,
            policy=acting,
            image_key=options.key_of_images,
            progress=update,
        )


def explore_in_environment(
    options: CollectionEnv, count: int, seed: int, device: str, work_dir: Path, config: ExplorationConfig
) -> Exploration:
    """Collect transitions with learned exploration in an environment of any package, and show the progress.

    Args:
        options: the environment.
        count: number of transitions.
        seed: seed of the environment, the actions and the encoders between the rounds.
        device: device of the encoders.
        work_dir: folder for finished rounds, from which an interrupted exploration goes on.
        config: hyper-parameters of the exploration.

    Raises:
        ValueError: an option is wrong; the message names it.
    """
    with _opened(options) as (env, group):
        return explore_with_bar(
            env,
            count,
            seed,
            device=device,
            work_dir=work_dir,
            displacement=options.reads,
            group=group,
            image_key=options.key_of_images,
            config=config,
        )


@contextlib.contextmanager
def _opened(options: CollectionEnv) -> Iterator[tuple[Env, str]]:
    """Make an environment, close it in the end, and let messages name the options of the command line."""
    env, group = options.make()
    try:
        yield env, group
    except ValueError as error:
        raise type(error)(name_options(str(error))) from error
    finally:
        env.close()


class PolicyOnOwnObservation:
    """A policy that acts on the environment's own observation, which lies beside a ray-traced image.

    Args:
        policy: the policy.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Any, Any]:
        """Return the actions of the policy for the observation without the image."""
        own = {key: value for key, value in observation.items() if key != "image"}
        chosen = own["state"] if own.keys() == {"state"} else own
        return self._policy.predict(chosen, state, episode_start, deterministic)


def _observes_images(space: gym.Space[Any]) -> bool:
    """Return whether observations are uint8 images or hold one."""
    if isinstance(space, gym.spaces.Dict):
        return any(_observes_images(each) for each in space.values())
    return isinstance(space, gym.spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3
