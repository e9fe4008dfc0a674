"""What displacement an action performs, and back: for actions that are displacements, velocities, forces or targets."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...envs.data.transitions import Transitions

Numbers = NDArray[Any]
Features = Callable[[Any], Numbers]
"""Return features ``(B, k)`` of a batch of observations."""


class ActionMap(Protocol):
    """Convert between displacements of the latent and actions without their commands."""

    def to_action(self, displacement: Numbers, observation: Any, /) -> Numbers:
        """Return the actions ``(B, dim)`` that perform displacements of the latent ``(B, n)``.

        Args:
            displacement: displacements of the latent, ``(B, n)``.
            observation: the batch of observations in which the agents act.
        """

    def to_displacement(self, action: Numbers, observation: Any, /) -> Numbers:
        """Return the displacements of the latent ``(B, n)`` that actions ``(B, dim)`` perform.

        Args:
            action: the actions, ``(B, dim)``.
            observation: the batch of observations in which the agents act.
        """


class IdentityActionMap:
    """Actions are displacements of the latent: ``a = Δz``."""

    def to_action(self, displacement: Numbers, observation: Any) -> Numbers:
        """Return the displacement."""
        return displacement

    def to_displacement(self, action: Numbers, observation: Any) -> Numbers:
        """Return the action."""
        return action


@dataclass(frozen=True)
class FunctionActionMap:
    """An action map of two functions.

    Attributes:
        to_action: maps displacements ``(B, n)`` and observations to actions ``(B, dim)``.
        to_displacement: maps actions ``(B, dim)`` and observations to displacements ``(B, n)``.

    Example:
        >>> velocities = FunctionActionMap(lambda moved, _: moved / 0.1, lambda action, _: action * 0.1)
        >>> velocities.to_action(np.array([[0.05, 0.0]]), None).tolist()
        [[0.5, 0.0]]
    """

    to_action: Callable[[Numbers, Any], Numbers]
    to_displacement: Callable[[Numbers, Any], Numbers]


@dataclass(frozen=True)
class AbsoluteActionMap:
    """Actions are target poses: ``a = pose(o) + inner(Δz)``.

    Attributes:
        pose: returns the current pose in the coordinates of the actions, ``(B, dim)``, of a batch of observations.
        inner: maps displacements of the latent to those of the target, for example between metres and pixels; fit one
            with `LinearActionMap.fit` to ``action - pose`` if the agent does not reach its target within a step.

    Example:
        >>> targets = AbsoluteActionMap(pose=lambda observation: observation[:, :2])
        >>> targets.to_action(np.array([[1.0, 0.0]]), np.array([[5.0, 5.0, 9.0]])).tolist()
        [[6.0, 5.0]]
    """

    pose: Features
    inner: ActionMap = IdentityActionMap()

    def to_action(self, displacement: Numbers, observation: Any) -> Numbers:
        """Return the current poses plus the displacements."""
        return self.pose(observation) + self.inner.to_action(displacement, observation)

    def to_displacement(self, action: Numbers, observation: Any) -> Numbers:
        """Return the displacements from the current poses to the targets."""
        return self.inner.to_displacement(action - self.pose(observation), observation)


@dataclass(frozen=True)
class LinearActionMap:
    """A learned action map: ``Δz = a A + φ(o) B + c``, and ``a = (Δz − φ(o) B − c) A⁺``.

    ``A⁺`` is the pseudo-inverse: of all actions that perform a displacement the shortest is taken. Features ``φ`` hold
    what moves the agent besides its action, such as its velocity if actions are forces.

    Attributes:
        action_weight: ``A``, ``(dim, n)``.
        feature_weight: ``B``, ``(k, n)``.
        offset: ``c``, ``(n,)``.
        features: ``φ``, a function from a batch of observations to ``(B, k)``; None for ``k = 0``.
        explained: share of the variance of the displacements that the fit explains, at most 1.

    Raises:
        ValueError: an array has another shape or is not finite, or there are directions in which no action moves the
            latent.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> force, velocity = generator.normal(size=(2, 200, 2))
        >>> fitted = LinearActionMap.fit(
        ...     force, 0.1 * velocity + 0.01 * force, features=lambda observation: observation, observations=velocity
        ... )
        >>> fitted.to_action(np.array([[0.1, 0.0]]), np.array([[1.0, 0.0]])).round(3).tolist()
        [[0.0, 0.0]]
    """

    action_weight: Numbers
    feature_weight: Numbers
    offset: Numbers
    features: Features | None = None
    explained: float = 1.0

    def __post_init__(self) -> None:
        dim, n = np.shape(self.action_weight)
        k = len(self.feature_weight)
        if np.shape(self.feature_weight) != (k, n) or np.shape(self.offset) != (n,):
            raise ValueError(
                f"feature_weight (k, {n}) and offset ({n},) were expected, got {np.shape(self.feature_weight)} and "
                f"{np.shape(self.offset)}"
            )
        if not all(np.isfinite(each).all() for each in (self.action_weight, self.feature_weight, self.offset)):
            raise ValueError("finite weights and offsets were expected, got NaN or infinity")
        _require_all_directions(dim, n, int(np.linalg.matrix_rank(self.action_weight)))

    @classmethod
    def fit(
        cls,
        actions: Numbers,
        displacements: Numbers,
        *,
        features: Features | None = None,
        observations: Any = None,
        ridge: float = 1e-6,
    ) -> LinearActionMap:
        """Fit the map by ridge regression: ``minimise ‖Δz − a A − φ(o) B − c‖² + ridge · N · ‖s · (A, B)‖²``.

        ``s`` are the standard deviations of actions and features, so that ``ridge`` has no unit.

        Args:
            actions: performed actions without their commands, ``(N, dim)``.
            displacements: displacements of the latent that they performed, ``(N, n)``.
            features: ``φ``; the result calls it with the observations of `RecoveryPolicy.predict`.
            observations: the ``N`` observations before the actions, a batch that ``features`` accepts.
            ridge: strength of the penalty, at least 0.

        Raises:
            ValueError: the arrays have other shapes or are not finite, there are fewer transitions than coefficients,
                only one of ``features`` and ``observations`` is given, or there are directions in which no action moves
                the latent.

        Warns:
            UserWarning: less than half of the variance of the displacements is explained.
        """
        if not 0 <= ridge < np.inf:
            raise ValueError(f"ridge must be at least 0 and finite, got {ridge}")
        if (features is None) != (observations is None):
            raise ValueError("features and observations go together: pass both, or neither")
        actions = _matrix("actions", actions)
        known = np.zeros((len(actions), 0)) if features is None else _matrix("features", features(observations))
        moved = _as_many("displacements", _matrix("displacements", displacements), len(actions))
        inputs = np.hstack([actions, _as_many("features", known, len(actions))])
        weight, offset = _regress(inputs, moved, ridge)
        residual, variance = moved - inputs @ weight - offset, float(moved.var(0).sum())
        explained = 1.0 - float(residual.var(0).sum()) / variance if variance > 0 else 0.0
        dim = actions.shape[1]
        effects = np.linalg.svd(actions.std(0)[:, None] * weight[:dim], compute_uv=False)
        detectable = 4 * float(residual.std(0).max()) / np.sqrt(len(actions)) + 1e-9 * np.sqrt(variance)
        _require_all_directions(dim, moved.shape[1], int((effects > detectable).sum()))
        if explained < 0.5:
            warnings.warn(
                f"the action map explains {explained:.0%} of the displacements' variance: the way back will be rough; "
                "pass features= of what else moves the agent, such as its velocity",
                UserWarning,
                stacklevel=2,
            )
        return cls(weight[:dim], weight[dim:], offset, features, explained)

    @classmethod
    def fit_transitions(cls, transitions: Transitions, *, commands: int = 0, ridge: float = 1e-6) -> LinearActionMap:
        """Fit the map to the actions and displacements of a data set; see `fit`.

        Args:
            transitions: transitions of a translation group, with actions.
            commands: number of coordinates of an action after the displacement, such as 1 for a gripper.
            ridge: strength of the penalty.

        Raises:
            ValueError: the transitions have no actions; or as `fit`.
        """
        if transitions.action is None:
            raise ValueError(
                "transitions with actions were expected, got none: read a data set with actions, or pass actions and "
                "displacements to LinearActionMap.fit"
            )
        dim = transitions.action.shape[1] - commands
        return cls.fit(transitions.action[:, :dim], transitions.displacement, ridge=ridge)

    def to_action(self, displacement: Numbers, observation: Any) -> Numbers:
        """Return the shortest actions that perform the displacements."""
        return np.asarray((displacement - self._drift(observation)) @ np.linalg.pinv(self.action_weight))

    def to_displacement(self, action: Numbers, observation: Any) -> Numbers:
        """Return the predicted displacements."""
        return np.asarray(action @ self.action_weight + self._drift(observation))

    def _drift(self, observation: Any) -> Numbers:
        """Return the displacement without an action."""
        return self.offset if self.features is None else self.features(observation) @ self.feature_weight + self.offset


def _regress(inputs: Numbers, outputs: Numbers, ridge: float) -> tuple[Numbers, Numbers]:
    """Return weights and offset of a ridge regression on standardised inputs."""
    count, size = inputs.shape
    if count <= size + 1:
        raise ValueError(f"more transitions than the {size + 1} coefficients were expected, got {count}")
    mean, scale = inputs.mean(0), inputs.std(0)
    scale = np.where(scale > 1e-12 * np.abs(mean), scale, 1.0)
    rows = np.vstack([(inputs - mean) / scale, np.sqrt(ridge * count) * np.eye(size)])
    targets = np.vstack([outputs - outputs.mean(0), np.zeros((size, outputs.shape[1]))])
    weight = np.linalg.lstsq(rows, targets, rcond=None)[0] / scale[:, None]
    return weight, outputs.mean(0) - mean @ weight


def _require_all_directions(dim: int, n: int, moved: int) -> None:
    if moved < n:
        raise ValueError(
            f"actions of dimension {dim} move the latent in {moved} of {n} directions only: recovery cannot go back in "
            "the others; use a latent of the coordinates that actions move, or data with more varied actions"
        )


def _matrix(name: str, values: Any) -> Numbers:
    """Return a matrix of finite numbers."""
    array = np.asarray(values)
    if array.ndim != 2 or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise ValueError(
            f"{name} must be finite numbers of shape (N, size), got {array.dtype} of shape {array.shape}"
            + (", with NaN or infinity" if array.dtype.kind == "f" and not np.isfinite(array).all() else "")
        )
    return array.astype(np.float64)


def _as_many(name: str, values: Numbers, count: int) -> Numbers:
    if len(values) != count:
        raise ValueError(f"as many {name} as actions were expected, {count}, got {len(values)}")
    return values
