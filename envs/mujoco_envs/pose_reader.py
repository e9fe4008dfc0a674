"""Read the pose of a body, a site or joints as an element of a group."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..lie_groups.group import Group, GroupError
from ..lie_groups.rigid_motions import SE2
from ..lie_groups.rotations import SO2, SO3
from ..simulation.dependencies import import_mujoco
from .mujoco_scene import MujocoScene

if TYPE_CHECKING:
    import mujoco

Float = NDArray[np.float64]
_KINDS = {0: "free", 1: "ball", 2: "slide", 3: "hinge"}
_COORDINATES = {"free": ["length"] * 3 + ["rotation"], "ball": ["rotation"], "slide": ["length"], "hinge": ["angle"]}


class PoseReader:
    """Reads a pose from the state of an environment, without changing its data.

    After a step, many environments hold positions of bodies that are one time step older than their joints. This
    reader computes the positions anew from the joints, on data of its own.

    Args:
        scene: model and data of the environment.
        group: the group, whose factors are read one after the other: ``R1``, ``R2``, ``R3``, ``SO2``, ``SE2`` and
            ``SO3`` from a body or site; ``R<n>``, ``SO2`` and ``SO3`` from joints.
        kind: ``"body"``, ``"site"`` or ``"joints"``.
        names: name of the body or site, or names of the joints.
        plane: axes of the plane.

    Raises:
        ValueError: the model has nothing of that name, or ``plane`` is no plane.
        GroupError: the group does not fit.
    """

    def __init__(self, scene: MujocoScene, group: Group, kind: str, names: Sequence[str], plane: str) -> None:
        self._scene, self._group, self._kind, self._names = scene, group, kind, tuple(names)
        self._axes = _axes(plane)
        self._model: mujoco.MjModel | None = None
        self.pose()

    def pose(self) -> Float:
        """Return the current pose, ``(dim,)``."""
        self._follow_model()
        return self._read()

    def _follow_model(self) -> None:
        """Look names up, unless this was done in the model that the environment uses now."""
        model = self._scene.model
        if model is self._model:
            return
        if self._kind == "joints":
            self._read = self._joint_reader(model)
        else:
            self._read = self._body_reader(model)
        self._model = model

    def _body_reader(self, model: mujoco.MjModel) -> Callable[[], Float]:
        mujoco = import_mujoco()
        index = _named(model, self._kind, self._names[0])
        parts = [_part_of_body(factor, self._axes) for factor in self._group.factors]
        copy = mujoco.MjData(model)

        def read() -> Float:
            data = self._scene.data
            copy.qpos[:], copy.mocap_pos[:], copy.mocap_quat[:] = data.qpos, data.mocap_pos, data.mocap_quat
            mujoco.mj_kinematics(model, copy)
            is_body = self._kind == "body"
            position = copy.xpos[index] if is_body else copy.site_xpos[index]
            rotation = (copy.xmat[index] if is_body else copy.site_xmat[index]).reshape(3, 3)
            return np.concatenate([part(position, rotation) for part in parts])

        return read

    def _joint_reader(self, model: mujoco.MjModel) -> Callable[[], Float]:
        mujoco = import_mujoco()
        joints = [_named(model, "joint", name) for name in self._names]
        kinds = [_KINDS[int(model.jnt_type[joint])] for joint in joints]
        sizes = {"length": 1, "angle": 1, "rotation": 4}
        slices: list[tuple[str, slice]] = []
        for joint, kind in zip(joints, kinds, strict=True):
            start = int(model.jnt_qposadr[joint])
            for what in _COORDINATES[kind]:
                slices.append((what, slice(start, start + sizes[what])))
                start += sizes[what]
        parts = _parts_of_joints(self._group, slices, kinds)

        def rotation(quaternion: Float) -> Float:
            matrix = np.empty(9)
            mujoco.mju_quat2Mat(matrix, quaternion / np.linalg.norm(quaternion))
            return matrix

        def read() -> Float:
            qpos = self._scene.data.qpos
            found = [
                (kind, rotation(qpos[where]) if what == "rotation" else qpos[where]) for kind, what, where in parts
            ]
            return np.concatenate([_circle(value[0]) if kind == "SO2" else value for kind, value in found])

        return read


def _parts_of_joints(group: Group, slices: list[tuple[str, slice]], kinds: list[str]) -> list[tuple[str, str, slice]]:
    """Return factor, coordinate and its place in ``qpos``, for each coordinate of the joints.

    Raises:
        GroupError: the factors do not consume the coordinates one after the other.
    """
    parts, left = [], list(slices)
    for factor in group.factors:
        accepted = {SO2: ("angle",), SO3: ("rotation",)}.get(type(factor), ("length", "angle"))
        count = factor.dim if factor.is_translation_group else 1
        taken, left = left[:count], left[count:]
        known = factor.is_translation_group or type(factor) in (SO2, SO3)
        if not known or len(taken) < count or any(what not in accepted for what, _ in taken):
            raise _misfit(group, slices, kinds)
        parts += [(factor.name, what, where) for what, where in taken]
    if left:
        raise _misfit(group, slices, kinds)
    return parts


def _misfit(group: Group, slices: list[tuple[str, slice]], kinds: list[str]) -> GroupError:
    text = "".join("r" if what == "rotation" else "n" for what, _ in slices)
    runs = [run for run in text.replace("r", " r ").split() if run]
    fitting = "x".join("SO3" if run == "r" else f"R{len(run)}" for run in runs)
    return GroupError(
        f"the group {group.name} does not fit joints of the kinds {', '.join(kinds)}: R<n> takes n slides or hinges, "
        f"SO2 a hinge, SO3 a ball, R3xSO3 a free joint, products one after the other; for example group={fitting!r}"
    )


def _part_of_body(factor: Group, axes: tuple[int, ...]) -> Callable[[Float, Float], Float]:
    """Return the function of position and rotation matrix that reads one factor."""
    planar = [2] if type(factor) in (SO2, SE2) or factor.name == "R2" else [1, 2]
    if len(axes) not in planar:
        raise ValueError(f"plane must name two different axes for the group {factor.name}, such as 'xy', got one")
    if type(factor) is SO3:
        return lambda position, rotation: rotation.reshape(9).copy()
    if type(factor) is SO2:
        return lambda position, rotation: _turn(rotation, axes)
    if type(factor) is SE2:
        return lambda position, rotation: np.concatenate([position[list(axes)], _turn(rotation, axes)])
    if factor.is_translation_group and factor.dim <= 3:
        chosen = [0, 1, 2] if factor.dim == 3 else list(axes[: factor.dim])
        return lambda position, rotation: position[chosen]
    raise GroupError(
        f"the group {factor.name} cannot be read from a body or site; choose R1, R2, R3, SO2, SE2, SO3 or a product "
        "such as R3xSO3 or R2xSO2"
    )


def _turn(rotation: Float, axes: tuple[int, ...]) -> Float:
    """Return the rotation of the plane that is nearest to a rotation of space, ``(cos, sin)``."""
    a, b = axes
    return _circle(np.arctan2(rotation[b, a] - rotation[a, b], rotation[a, a] + rotation[b, b]))


def _circle(angle: Any) -> Float:
    return np.array([np.cos(angle), np.sin(angle)])


def _axes(plane: str) -> tuple[int, ...]:
    if (
        not isinstance(plane, str)
        or not 1 <= len(plane) <= 2
        or len(set(plane)) < len(plane)
        or set(plane) - set("xyz")
    ):
        raise ValueError(f"plane must be two different letters of x, y and z, such as 'xy', got {plane!r}")
    return tuple("xyz".index(axis) for axis in plane)


def _named(model: mujoco.MjModel, kind: str, name: str) -> int:
    """Return the id of a body, site or joint."""
    mujoco = import_mujoco()
    object_type = {"body": mujoco.mjtObj.mjOBJ_BODY, "site": mujoco.mjtObj.mjOBJ_SITE}.get(
        kind, mujoco.mjtObj.mjOBJ_JOINT
    )
    index = mujoco.mj_name2id(model, object_type, name) if isinstance(name, str) and name else -1
    if index >= 0:
        return int(index)
    count = {"body": model.nbody, "site": model.nsite}.get(kind, model.njnt)
    names = [found for found in (mujoco.mj_id2name(model, object_type, i) for i in range(count)) if found]
    close = difflib.get_close_matches(str(name), names, 1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    raise ValueError(f"the model has no {kind} {name!r}{hint} It has {', '.join(names) or 'none with a name'}")
