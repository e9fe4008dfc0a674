"""Report the displacement of a body, a site or joints of any MuJoCo environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from ..lie_groups.group import Group
from ..lie_groups.registry import group_from_name
from .mujoco_scene import MujocoScene
from .odometry_noise import OdometryNoise, Spread
from .pose_reader import Float, PoseReader


class BodyDisplacement(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Put the group element that a body performed in a step into ``info["displacement"]``.

    Let ``X`` be the pose of the body before the step and ``X'`` after it, both in the world. The displacement acts from
    the left, as everywhere in this package:

    - ``frame="world"``: ``d = X'·X⁻¹``, so that ``d·X = X'``: the body as a camera in the world sees it move.
    - ``frame="body"``: ``d = X'⁻¹·X``, so that ``d·X⁻¹ = X'⁻¹``: the world as a camera on the body sees it move. It is
      the inverse of the motion in the body's own frame.

    | group | read from a body or site | read from joints |
    |---|---|---|
    | ``R1``, ``R2``, ``R3`` | position along the first axis of ``plane``, both axes, all three; metres | |
    | ``R<n>`` | | positions of ``n`` slides or hinges; metres, radians |
    | ``SO2`` | rotation in ``plane``, from its first axis to its second: the nearest to the body's | angle of a hinge |
    | ``SO3`` | orientation | orientation of a ball joint |
    | ``SE2`` | position and rotation in ``plane`` | |
    | products, such as ``R2xSO2``, ``R3xSO3`` | each factor | each factor, one joint after the other |

    After ``reset`` the displacement is the identity. Observations and rewards are unchanged.

    Odometry errs: with ``noise``, ``bias`` or ``drift`` the displacement of step ``t`` is ``exp(b_t + ε_t)·d``. The
    noise ``ε_t ~ N(0, noise²)`` is independent in each step; the bias ``b_t = b_{t−1} + N(0, drift²)`` starts each
    episode at ``b_0 = bias``. They are tangent vectors: metres and radians per step, one number for all coordinates, or
    one for each. The seed of ``reset`` determines them.

    Args:
        env: a single environment that simulates with MuJoCo; see `MujocoScene`.
        body: name of the body.
        site: name of the site.
        joints: name of the joint, or names of joints.
        group: the group that acts, or its name.
        plane: axes of the plane, two of ``x``, ``y`` and ``z``.
        frame: ``"world"`` or ``"body"``.
        noise: standard deviation of the noise, at least 0.
        bias: bias at the start of an episode.
        drift: standard deviation of the change of the bias in a step, at least 0.

    Attributes:
        group: the group that acts.

    Raises:
        ValueError: not exactly one of ``body``, ``site`` and ``joints`` is given, or it is not in the model; or another
            argument is out of range.
        GroupError: the group is unknown, or does not fit.
        NoMujocoError: the environment does not simulate with MuJoCo.

    Example:
        >>> env = BodyDisplacement(gym.make("Pusher-v5"), body="tips_arm", group="R3")
        >>> _, info = env.reset(seed=0)
        >>> info["displacement"].tolist()
        [0.0, 0.0, 0.0]
        >>> _, _, _, _, info = env.step(np.ones(7, np.float32))
        >>> info["displacement"].shape
        (3,)
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        *,
        body: str | None = None,
        site: str | None = None,
        joints: str | Sequence[str] | None = None,
        group: str | Group = "R2",
        plane: str = "xy",
        frame: str = "world",
        noise: Spread = 0.0,
        bias: Spread = 0.0,
        drift: Spread = 0.0,
    ) -> None:
        self.group = group_from_name(group) if isinstance(group, str) else group
        listed = [joints] if isinstance(joints, str) else None if joints is None else list(joints)
        recorded: dict[str, Any] = {"body": body, "site": site, "joints": listed, "group": self.group.name}
        recorded |= {"plane": plane, "frame": frame}
        recorded |= {name: np.asarray(one, float).tolist() for name, one in (("noise", noise), ("bias", bias))}
        gym.utils.RecordConstructorArgs.__init__(self, **recorded, drift=np.asarray(drift, float).tolist())
        super().__init__(env)
        if frame not in ("world", "body"):
            raise ValueError(f"frame must be 'world' or 'body', got {frame!r}")
        self._frame = frame
        kind, names = _only_one(body, site, listed)
        self._reader = PoseReader(MujocoScene(env), self.group, kind, names, plane)
        self._errors = OdometryNoise(self.group, noise=noise, bias=bias, drift=drift)
        self._generator = np.random.default_rng()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; ``info["displacement"]`` is the identity."""
        observation, info = self.env.reset(seed=seed, options=options)
        if seed is not None:  # other random numbers than those of the environment, which uses the same seed
            self._generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
        self._errors.start(self._generator)
        return observation, {**info, "displacement": self.group.identity()}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Perform an action; ``info["displacement"]`` is the group element that was performed."""
        before = self._reader.pose()
        observation, reward, terminated, truncated, info = self.env.step(action)
        displacement = self._errors.measure(self._between(before, self._reader.pose()))
        return observation, reward, terminated, truncated, {**info, "displacement": displacement}

    def _between(self, before: Float, after: Float) -> Float:
        if self._frame == "world":
            return np.asarray(self.group.compose(after, self.group.inverse(before)))
        return np.asarray(self.group.compose(self.group.inverse(after), before))


def _only_one(body: str | None, site: str | None, joints: list[str] | None) -> tuple[str, list[str]]:
    """Return what is read, and the names."""
    given = {"body": body, "site": site, "joints": joints}
    named = {kind: names for kind, names in given.items() if names is not None}
    if len(named) != 1 or named.get("joints") == []:
        raise ValueError(f"exactly one of body, site and joints must be given, got {named or 'none'}")
    kind, names = next(iter(named.items()))
    return kind, [names] if isinstance(names, str) else names
