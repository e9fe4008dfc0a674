"""Make an environment from text: a Gymnasium id, ``"package:id"``, or a function of a module."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym

from .arguments import integer_argument

_PACKAGES = {
    "dm_control/": "shimmy",
    "gym_pusht/": "gym_pusht",
    "gym_aloha/": "gym_aloha",
    "Meta-World/": "metaworld",
    "ALE/": "ale_py",
    "equiact/": "equiact",
    "MiniGrid-": "minigrid",
    "BabyAI-": "minigrid",
    "Adroit": "gymnasium_robotics",
    "PointMaze_": "gymnasium_robotics",
    "AntMaze_": "gymnasium_robotics",
    "Fetch": "gymnasium_robotics",
    "FrankaKitchen": "gymnasium_robotics",
    "Hand": "gymnasium_robotics",
    "cube-": "ogbench",
    "scene-": "ogbench",
    "puzzle-": "ogbench",
    "pointmaze-": "ogbench",
    "antmaze-": "ogbench",
    "humanoidmaze-": "ogbench",
    "antsoccer-": "ogbench",
    "visual-": "ogbench",
    "powderworld-": "ogbench",
    "parking-": "highway_env",
    "highway-": "highway_env",
    "intersection-": "highway_env",
    "roundabout-": "highway_env",
    "merge-": "highway_env",
    "racetrack-": "highway_env",
}
"""Beginnings of ids, and the package that registers such ids; only for the hints in errors."""


class MakeEnvError(ValueError):
    """A text does not name an environment, or the environment cannot be made."""


def make_env(spec: str, *, imports: Sequence[str] = (), action_repeat: int = 1, **options: Any) -> gym.Env[Any, Any]:
    """Return the environment that a text names.

    Args:
        spec: one of

            - the id of a registered environment, such as ``"Pusher-v5"`` or ``"equiact/Soccer-v0"``;
            - ``"package:id"``, which imports the package first, such as ``"gym_pusht:gym_pusht/PushT-v0"``;
            - ``"module:function"``, a function or class that returns an environment of Gymnasium or dm_control.
        imports: packages to import first, because they register their environments when they are imported.
        action_repeat: number of steps of the environment for which each action is held. They count as one step, whose
            reward is their sum. For environments that move too little in a single step to be seen.
        **options: arguments of the environment. ``gymnasium.make`` takes ``max_episode_steps`` for its own time limit;
            a function gets every option.

    Raises:
        MakeEnvError: nothing has this name, a package is missing, the options are refused, or the function returns no
            environment.

    Example:
        >>> env = make_env("Reacher-v5", max_episode_steps=10)
        >>> env.action_space.shape
        (2,)
    """
    if not isinstance(spec, str) or not spec:
        raise MakeEnvError(f"the name of an environment must be text, such as 'Pusher-v5', got {spec!r}")
    for package in imports:
        gym.register_envs(_imported(package, f"imports of {spec!r}"))
    integer_argument("action_repeat", action_repeat, 1, MakeEnvError)
    env = _made(spec, options)
    return env if action_repeat == 1 else gym.wrappers.RepeatAction(env, int(action_repeat))


def _made(spec: str, options: dict[str, Any]) -> gym.Env[Any, Any]:
    module, _, name = spec.rpartition(":")
    function = getattr(_imported(module, repr(spec)), name, None) if module and name.isidentifier() else None
    if function is not None:
        return _from_function(function, spec, options)
    if module:
        _imported(module, repr(spec))
    return _registered(name, spec, options)


def as_gymnasium(env: Any) -> gym.Env[Any, Any]:
    """Return an environment of Gymnasium as it is, and one of dm_control converted by shimmy.

    Args:
        env: a ``gymnasium.Env`` or a ``dm_env.Environment``.

    Raises:
        MakeEnvError: it is neither, or shimmy is not installed.

    Example:
        >>> env = gym.make("Reacher-v5")
        >>> as_gymnasium(env) is env
        True
    """
    if isinstance(env, gym.Env):
        return env
    dm_env = sys.modules.get("dm_env")  # a dm_control environment cannot exist before it is imported
    if dm_env is not None and isinstance(env, dm_env.Environment):
        shimmy = _imported("shimmy", "an environment of dm_control")
        converted: gym.Env[Any, Any] = shimmy.DmControlCompatibilityV0(env)
        return converted
    hint = "; make one, such as its first, without vectorising" if isinstance(env, gym.vector.VectorEnv) else ""
    raise MakeEnvError(
        f"expected an environment of Gymnasium (gymnasium.Env) or dm_control (dm_env.Environment), got "
        f"{type(env).__module__}.{type(env).__qualname__}{hint}; convert others first, for example with shimmy"
    )


def _from_function(function: Any, spec: str, options: dict[str, Any]) -> gym.Env[Any, Any]:
    if not callable(function):
        raise MakeEnvError(f"{spec!r} must be a function that returns an environment, got {type(function).__name__}")
    made = _called(function, spec, options)
    try:
        return as_gymnasium(made)
    except MakeEnvError as error:
        raise MakeEnvError(f"{spec!r} must return an environment: {error}") from None


def _registered(name: str, spec: str, options: dict[str, Any]) -> gym.Env[Any, Any]:
    try:
        gym.spec(name)
    except gym.error.DeprecatedEnv as error:
        raise MakeEnvError(f"{spec!r} is out of date: {error}") from None
    except gym.error.Error:
        raise MakeEnvError(_unknown(name, spec.rpartition(":")[0])) from None
    try:
        return _called(lambda **given: gym.make(name, **given), spec, options)  # type: ignore[no-any-return]
    except gym.error.DependencyNotInstalled as error:
        raise MakeEnvError(f"{spec!r} needs a package that is not installed: {error}") from error


def _called(make: Callable[..., Any], spec: str, options: dict[str, Any]) -> Any:
    """Call with options; report those that are refused, but let errors of the environment itself through."""
    try:
        return make(**options)
    except TypeError as error:
        if "argument" not in str(error) or not any(_names(error, key) for key in [*options, "missing"]):
            raise
        given = ", ".join(f"{key}={value!r}" for key, value in options.items()) or "none"
        raise MakeEnvError(
            f"{spec!r} refuses its options ({given}): {error}; change or leave out the option"
        ) from error


def _names(error: TypeError, key: str) -> bool:
    return f"'{key}'" in str(error) or key in str(error).split()


def _unknown(name: str, module: str) -> str:
    """Return the message for an id that is not registered: similar ids, and what to import."""
    close = difflib.get_close_matches(name, gym.registry, 3)
    similar = f"; did you mean {' or '.join(map(repr, close))}?" if close else "."
    function = f"the module {module!r} has no function {name!r}, and " if module else ""
    known = next((package for start, package in _PACKAGES.items() if name.startswith(start)), None)
    package = known or (name.partition("/")[0] if "/" in name else "PACKAGE")
    return (
        f"{function}no environment is registered as {name!r}{similar} If another package registers it, import that "
        f"first: imports=[{package!r}] in Python, --import {package} on the command line"
    )


def _imported(name: str, what: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise MakeEnvError(f"{what}: the module {name!r} needs {error.name!r}, which is not installed") from error
        raise MakeEnvError(
            f"{what}: there is no module {name!r}; install its package, or run where Python finds the module"
        ) from error
    except (ValueError, TypeError) as error:
        raise MakeEnvError(f"{what}: {name!r} is no name of a module; write 'module:function'") from error
