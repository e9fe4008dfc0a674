"""Find the MuJoCo model and data in an environment, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..simulation.dependencies import import_mujoco

if TYPE_CHECKING:
    import mujoco


class NoMujocoError(TypeError):
    """An environment does not simulate with MuJoCo, or hides where it does."""


class MujocoScene:
    """The MuJoCo model and data of an environment.

    They are looked up at every access, because some environments compile a new model when they are reset
    (Composer environments of dm_control, OGBench's manipulation).

    Args:
        env: an environment of Gymnasium, Gymnasium-Robotics, OGBench, Meta-World or robosuite, or of dm_control, with
            or without shimmy; with any wrappers.

    Raises:
        NoMujocoError: no model and data are found in the environment.

    Example:
        >>> import gymnasium as gym
        >>> scene = MujocoScene(gym.make("Reacher-v5"))
        >>> scene.model.nq, scene.data.qpos.shape
        (4, (4,))
    """

    def __init__(self, env: Any) -> None:
        self._owner = getattr(env, "unwrapped", env)
        self._lookup = _find_lookup(self._owner)

    @property
    def model(self) -> mujoco.MjModel:
        """Return the model that the environment uses now."""
        return self._lookup(self._owner)[0]

    @property
    def data(self) -> mujoco.MjData:
        """Return the data that the environment uses now."""
        return self._lookup(self._owner)[1]


def has_mujoco(env: Any) -> bool:
    """Return whether a MuJoCo model and data are found in an environment."""
    try:
        MujocoScene(env)
    except NoMujocoError:
        return False
    return True


def _attributes(owner: Any) -> tuple[Any, Any]:
    """Gymnasium, Gymnasium-Robotics, OGBench, Meta-World."""
    return owner.model, owner.data


def _physics(owner: Any) -> tuple[Any, Any]:
    """dm_control, also through shimmy."""
    return owner.physics.model.ptr, owner.physics.data.ptr


def _sim(owner: Any) -> tuple[Any, Any]:
    """robosuite, and environments written for the old mujoco-py."""
    return owner.sim.model._model, owner.sim.data._data


_LOOKUPS: tuple[Callable[[Any], tuple[Any, Any]], ...] = (_attributes, _physics, _sim)


def _find_lookup(owner: Any) -> Callable[[Any], tuple[Any, Any]]:
    mujoco = import_mujoco()
    for lookup in _LOOKUPS:
        try:
            model, data = lookup(owner)
        except AttributeError:
            continue
        if isinstance(model, mujoco.MjModel) and isinstance(data, mujoco.MjData):
            return lookup
    raise NoMujocoError(
        f"expected an environment with a mujoco.MjModel and a mujoco.MjData in .model and .data, .physics or .sim of "
        f"its unwrapped environment, got {type(owner).__module__}.{type(owner).__qualname__}; environments that "
        "compile at their first reset must be reset once before"
    )
