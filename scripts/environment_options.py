"""Options of the command line for any environment: its arguments, and where the displacement comes from."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

DISPLACEMENT = "displacement"
"""Key of ``info`` that wrappers report."""
FORMS = "info:KEY, difference:info.KEY, body:NAME, site:NAME, joints:NAME,NAME or module:function"
_SOURCES = "difference:info.KEY, difference:observation.KEY or difference:env.ATTRIBUTE"
_OF_MODEL = {"body": "body", "site": "site", "joints": "joints"}


class EnvironmentOptionError(ValueError):
    """An option for an environment cannot be read, or the environment lacks what it names."""


def parse_assignments(options: Sequence[str], name: str = "--env-option") -> dict[str, Any]:
    """Return the values of options ``key=value``; a value is JSON, or text.

    Raises:
        EnvironmentOptionError: an option has no key.

    Example:
        >>> parse_assignments(["obs_type=pixels", "max_episode_steps=50", "render=true"])
        {'obs_type': 'pixels', 'max_episode_steps': 50, 'render': True}
    """
    values = dict[str, Any]()
    for option in options:
        key, separator, value = option.partition("=")
        if not separator or not key.strip():
            raise EnvironmentOptionError(f"expected {name} key=value, got {option!r}")
        try:
            values[key.strip()] = json.loads(value, parse_constant=_refuse_constant(option, name))
        except json.JSONDecodeError:
            values[key.strip()] = value
    return values


def _refuse_constant(option: str, name: str) -> Callable[[str], Any]:
    def refuse(constant: str) -> Any:
        raise EnvironmentOptionError(f"expected {name} key=value with a finite number, got {option!r}")

    return refuse


@dataclass(frozen=True)
class CollectionRule:
    """Where the displacement of an environment's step comes from.

    | text | displacement |
    |---|---|
    | ``info:KEY`` | entry of ``info`` |
    | ``difference:info.KEY`` | ``p' · p⁻¹`` of consecutive poses in ``info`` |
    | ``difference:observation.KEY`` | the same of poses in observations |
    | ``difference:env.NAME`` | the same of an attribute of the unwrapped environment |
    | ``body:NAME,plane=xy`` | motion of a MuJoCo body; ``site:NAME``, ``joints:NAME,NAME`` likewise |
    | ``module:function`` | a function of ``info`` |

    Attributes:
        kind: what comes before the colon; ``"function"`` for a function.
        name: names of the entry, the body, the site or the joints, or the function.
        options: what follows the commas as ``key=value``, such as ``plane`` or ``noise``.

    Example:
        >>> rule = CollectionRule.parse("joints:shoulder,elbow,noise=0.01")
        >>> rule.kind, rule.name, rule.options
        ('joints', 'shoulder,elbow', {'noise': 0.01})
    """

    kind: str
    name: str
    options: dict[str, Any]

    @classmethod
    def parse(cls, text: str) -> CollectionRule:
        """Return the rule that a text describes.

        Raises:
            EnvironmentOptionError: the text has none of the forms.
        """
        kind, separator, rest = text.partition(":")
        if not (kind and separator and rest):
            raise EnvironmentOptionError(f"expected --displacement as {FORMS}, got {text!r}")
        if kind not in (*_OF_MODEL, "info", "difference"):
            return cls("function", text, {})
        if kind in ("info", "difference"):
            return cls(kind, rest, {})
        parts = rest.split(",")
        names = ",".join(part for part in parts if "=" not in part)
        options = parse_assignments([part for part in parts if "=" in part], f"--displacement {kind}:NAME,")
        return cls(kind, names, options)

    @property
    def reads(self) -> str | Callable[[dict[str, Any]], Any]:
        """Return what `collect` reads the displacement from: a key of ``info``, or a function of it.

        Raises:
            EnvironmentOptionError: there is no such function.
        """
        from ..envs.data_formats.displacement_rule import import_function

        if self.kind != "function":
            return self.name if self.kind == "info" else DISPLACEMENT
        try:
            function: Callable[[Any], Any] = import_function(self.name)
        except ValueError as error:
            raise EnvironmentOptionError(f"expected --displacement as {FORMS}: {error}") from error
        return function

    def wrap(self, env: gym.Env[Any, Any], group: str | None) -> gym.Env[Any, Any]:
        """Return the environment with a wrapper that reports the displacement, where one is needed.

        Args:
            env: a single environment.
            group: name of the group; None for the wrapper's default.

        Raises:
            ValueError: the environment has no such body, site, joint or entry.
        """
        if self.kind == "difference":
            return PoseDifference(env, self.name, group)
        if self.kind not in _OF_MODEL:
            return env
        from ..envs.mujoco_envs.body_displacement import BodyDisplacement

        place: Any = self.name.split(",") if self.kind == "joints" else self.name
        default = {"group": f"R{len(place)}"} if self.kind == "joints" else {}
        chosen = {**default, **self.options, **({} if group is None else {"group": group})}
        try:
            return BodyDisplacement(env, **{_OF_MODEL[self.kind]: place}, **chosen)
        except TypeError as error:
            raise EnvironmentOptionError(
                f"--displacement {self.kind}:{self.name} refuses an option: {error}"
            ) from error


class PoseDifference(gym.Wrapper[Any, Any, Any, Any]):
    """Report the relative pose of consecutive steps as ``info["displacement"]``.

    The displacement is ``p' · p⁻¹`` of the poses ``p`` before and ``p'`` after the step; ``p' − p`` in ``R^n``.

    Args:
        env: the environment, which reports the pose at a reset, too.
        source: ``"info.KEY"``, ``"observation.KEY"`` (``"observation"`` if it is no Dict) or ``"env.NAME"``, an
            attribute of the unwrapped environment; with a selection such as ``[0:2]`` if not all are the pose.
        group: name of the group of the poses; ``R<n>`` with the number of coordinates if None.

    Raises:
        EnvironmentOptionError: the source has another form.
    """

    def __init__(self, env: gym.Env[Any, Any], source: str, group: str | None = None) -> None:
        super().__init__(env)
        place, _, key = source.partition(".")
        if place.partition("[")[0] not in ("info", "observation", "env") or (place in ("info", "env") and not key):
            raise EnvironmentOptionError(f"expected --displacement {_SOURCES}, got difference:{source}")
        self._source, self._group_name = source, group
        self._pose: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode, and remember the pose."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._pose = self._read(observation, info)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Perform an action, and report the relative pose in ``info["displacement"]``."""
        from ..envs.data_formats.displacement_rule import differences

        observation, reward, terminated, truncated, info = self.env.step(action)
        pose = self._read(observation, info)
        moved = differences(self.acting, np.stack([self._pose, pose]))[0]
        self._pose = pose
        return observation, reward, terminated, truncated, {**info, DISPLACEMENT: moved}

    @property
    def acting(self) -> Any:
        """Return the group of the poses; read it after a reset if it was not given."""
        from ..envs.lie_groups.registry import group_from_name

        return group_from_name(self._group_name or f"R{len(self._pose)}")

    def _read(self, observation: Any, info: dict[str, Any]) -> Any:
        """Return the pose in an observation or in ``info``, an element of the group."""
        from ..envs.data_formats.episode_columns import EpisodeColumns, flatten, split_selection, to_elements

        known: dict[str, Any] = {"info": numeric_entries(info), "observation": observation}
        name, _ = split_selection(self._source)
        if name.startswith("env."):
            known[name] = self._attribute(name.removeprefix("env."))
        rows = {key: np.asarray(value)[None] for key, value in flatten(known)}
        pose = EpisodeColumns(rows, num_frames=1).at_frames(self._source)
        if self._group_name is None:
            return pose[0]
        return to_elements(self.acting, pose, self._source)[0]

    def _attribute(self, path: str) -> Any:
        """Return an attribute of the unwrapped environment, such as ``agent_pos`` or ``vehicle.position``."""
        value: Any = self.unwrapped
        for name in path.split("."):
            if not hasattr(value, name):
                raise EnvironmentOptionError(
                    f"expected --displacement difference:env.ATTRIBUTE with an attribute of the environment, got "
                    f"{path!r}: {type(value).__name__} has no {name!r}"
                )
            value = getattr(value, name)
        return value


def numeric_entries(info: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of ``info`` that are numbers or arrays of numbers, nested ones included.

    Example:
        >>> numeric_entries({"x": 1.0, "name": "a", "inner": {"y": [1, 2]}})
        {'x': 1.0, 'inner': {'y': [1, 2]}}
    """
    kept = dict[str, Any]()
    for key, value in info.items():
        if isinstance(value, dict):
            kept[key] = numeric_entries(value)
        elif _is_numeric(value):
            kept[key] = value
    return kept


def _is_numeric(value: Any) -> bool:
    try:
        return np.asarray(value).dtype.kind in "biuf"
    except ValueError:  # ragged lists
        return False


def _is_pose(value: Any) -> bool:
    """Return whether a value may be a pose: two to seven numbers."""
    return isinstance(value, np.ndarray | list | tuple) and 2 <= np.size(value) <= 7 and _is_numeric(value)


def suggest_rules(env: gym.Env[Any, Any]) -> str:
    """Return which displacements an environment offers, in words, after a reset and a step in it."""
    observation, info = env.reset(seed=0)
    info = {**info, **env.step(env.action_space.sample())[4]}
    offers = []
    if keys := [key for key, value in numeric_entries(info).items() if np.size(value) > 1][:8]:
        offers.append(f"positions in info ({', '.join(f'difference:info.{key}' for key in keys)})")
        offers.append(f"displacements in info, if these are some ({', '.join(f'info:{key}' for key in keys)})")
    if isinstance(observation, dict):
        keys = [key for key, value in observation.items() if np.asarray(value).dtype.kind == "f"]
        offers += (
            [f"positions in observations ({', '.join(f'difference:observation.{key}' for key in keys[:8])})"]
            if keys
            else []
        )
    attributes = [key for key, value in vars(env.unwrapped).items() if _is_pose(value) and not key.startswith("_")]
    if attributes and not offers:
        offers.append(f"attributes ({', '.join(f'difference:env.{key}' for key in attributes[:8])})")
    if bodies := _names_of_bodies(env):
        offers.append(f"bodies ({', '.join(f'body:{name}' for name in bodies[:12])})")
    return "; ".join(offers) or "none that could be found"


def _names_of_bodies(env: gym.Env[Any, Any]) -> list[str]:
    from ..envs.mujoco_envs.mujoco_scene import MujocoScene, has_mujoco

    if not has_mujoco(env):
        return []
    model = MujocoScene(env).model
    return [name for index in range(1, model.nbody) if (name := model.body(index).name)]
