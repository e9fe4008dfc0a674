"""Elements of a MuJoCo model by name, and positions, orientations and velocities of bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import gymnasium as gym
import numpy as np

from ..mujoco_envs.mujoco_scene import MujocoScene, NoMujocoError
from ..simulation.dependencies import import_mujoco
from .errors import PerturbationError, closest

if TYPE_CHECKING:
    import mujoco


def scene_of(env: gym.Env[Any, Any], name: str) -> MujocoScene:
    """Return the model and data of an environment; one that builds its model at its first reset is reset.

    Args:
        env: the environment.
        name: name of the perturbation, for the error.

    Raises:
        PerturbationError: it does not simulate with MuJoCo.
    """
    try:
        return MujocoScene(env)
    except NoMujocoError:
        env.reset()
    try:
        return MujocoScene(env)
    except NoMujocoError as error:
        raise PerturbationError(
            f"{name}: it needs an environment that simulates with MuJoCo, got {env.unwrapped}; perturb its actions or "
            "observations instead"
        ) from error


def named(model: mujoco.MjModel, kind: str, name: str, perturbation: str) -> int:
    """Return the number of a named element of a model.

    Args:
        model: the model.
        kind: kind of the element, such as ``"body"`` or ``"joint"``.
        name: name of the element.
        perturbation: name of the perturbation, for the error.

    Raises:
        PerturbationError: the model has no such element; the message lists those that it has.
    """
    mujoco = import_mujoco()
    object_type = getattr(mujoco.mjtObj, f"mjOBJ_{kind.upper()}")
    number = int(mujoco.mj_name2id(model, object_type, str(name)))
    if number < 0 or (kind == "body" and number == 0):
        count = getattr(model, {"joint": "njnt", "camera": "ncam", "actuator": "nu"}.get(kind, f"n{kind}"))
        names = [mujoco.mj_id2name(model, object_type, each) or "" for each in range(count)]
        raise PerturbationError(
            f"{perturbation}: the model has no {kind} {name!r} that can be perturbed"
            f"{closest(str(name), names[1:] if kind == 'body' else names)}"
        )
    return number


def can_move(model: mujoco.MjModel, body: int) -> bool:
    """Return whether any joint moves a body."""
    return bool(model.body_dofnum[_ancestors(model, body)].any())


def _ancestors(model: mujoco.MjModel, body: int) -> list[int]:
    """Return a body and those that it hangs on."""
    found = [body]
    while found[-1] > 0:
        found.append(int(model.body_parentid[found[-1]]))
    return found


def body_pose(scene: MujocoScene, body: int) -> tuple[Any, Any]:
    """Return position, ``(3,)`` in metres, and unit quaternion, ``(4,)``, of a body.

    They are computed from the joint positions: those in the data may be older by a simulation step.
    """
    mujoco = import_mujoco()
    data = mujoco.MjData(scene.model)
    data.qpos[:], data.mocap_pos[:] = scene.data.qpos, scene.data.mocap_pos
    data.mocap_quat[:] = scene.data.mocap_quat
    mujoco.mj_kinematics(scene.model, data)
    return data.xpos[body].copy(), data.xquat[body].copy()


def body_velocity(scene: MujocoScene, body: int) -> Any:
    """Return the velocity of the centre of mass of a body, ``(3,)`` in metres per second."""
    mujoco = import_mujoco()
    data = mujoco.MjData(scene.model)
    data.qpos[:] = scene.data.qpos
    mujoco.mj_kinematics(scene.model, data)
    mujoco.mj_comPos(scene.model, data)
    jacobian = np.zeros((3, scene.model.nv))
    mujoco.mj_jacBodyCom(scene.model, data, jacobian, None, body)
    return jacobian @ scene.data.qvel


def angle_between(one: Any, other: Any) -> float:
    """Return the angle between two orientations, given as unit quaternions, in rad."""
    difference = np.zeros(3)
    import_mujoco().mju_subQuat(difference, one, other)
    return float(np.linalg.norm(difference))


def joint_distance(scene: MujocoScene, one: Any, other: Any) -> float:
    """Return the norm of the difference of two vectors ``qpos``, in rad and m; for quaternions it is the angle."""
    difference = np.zeros(scene.model.nv)
    import_mujoco().mj_differentiatePos(scene.model, difference, 1.0, other, one)
    return float(np.linalg.norm(difference))


def geoms_of(model: mujoco.MjModel, body: int | None) -> Any:
    """Return the numbers of the geoms of a body, or of all geoms."""
    return np.arange(model.ngeom) if body is None else np.flatnonzero(cast(Any, model.geom_bodyid) == body)
