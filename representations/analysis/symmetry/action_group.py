"""Recover the group that discrete actions of unknown effect generate, from latents before and after each action."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...learning.config import check_range
from .finite_groups import FiniteGroup, GroupTableError
from .group_catalogue import extend_isomorphism, identify
from .group_recovery import DiscoveredGroup, NoGroupFoundError

Latent = NDArray[np.float64]
_LEAST_TRANSITIONS = 4
"""Transitions of each action: half as many directions are used, and a rotation needs two."""


@dataclass(frozen=True)
class ActionGroupConfig:
    """Set how the group of actions is recovered from latents.

    Attributes:
        max_order: largest number of elements of the group.
        horizon: directions of the latents are ordered by the correlation with which this many actions, one after
            another, predict them. One action predicts the two directions of a plane that it turns unequally well,
            several actions mix them.
        max_cuts: largest number of ways to cut the directions that are kept from the others.
        min_correlation: least correlation with which each action predicts each direction that is kept.
        max_leak: largest share of the square of a kept direction that an action carries out of those that are kept.
            The share that is expected of sampling noise is subtracted.
        min_motion: directions are kept if actions move them by at least this root mean square, in standard deviations.
        tolerances: distances below which two matrices are one element; √2 is the distance of matrices that are
            unrelated.
        min_margin: smallest margin of the table (`DiscoveredGroup.margin`). A quotient of the group that acts has a
            high margin, too: of all groups with at least this margin the largest is taken.

    Raises:
        ConfigError: a value is out of range.

    Example:
        >>> ActionGroupConfig(max_order=8).max_order
        8
    """

    max_order: int = 24
    horizon: int = 4
    max_cuts: int = 12
    min_correlation: float = 0.3
    max_leak: float = 0.25
    min_motion: float = 0.2
    tolerances: tuple[float, ...] = tuple(0.05 * 1.15**step for step in range(24))
    min_margin: float = 0.75

    def __post_init__(self) -> None:
        check_range(self, "max_order", at_least=1, at_most=64)
        check_range(self, "horizon", at_least=1)
        check_range(self, "max_cuts", at_least=1)
        check_range(self, "min_correlation", above=0, below=1)
        check_range(self, "max_leak", above=0, below=1)
        check_range(self, "min_motion", at_least=0)
        check_range(self, "tolerances", above=0)
        check_range(self, "min_margin", at_least=0, below=1)


DEFAULT_ACTION_GROUP = ActionGroupConfig()


@dataclass(frozen=True, eq=False)
class ActionGroup:
    """The group that actions generate, and the element that each action performs.

    Attributes:
        found: the group, its name and its margin.
        elements: ``(k,)`` element of each action.
    """

    found: DiscoveredGroup
    elements: NDArray[np.int64]

    def agrees_with(self, other: ActionGroup) -> bool:
        """Return whether an isomorphism maps the element of each action to that in another group of these actions.

        Args:
            other: the group that was recovered in another way, or the known one.

        Example:
            >>> from equiact.representations.analysis.symmetry.group_constructors import cyclic_group
            >>> found = DiscoveredGroup(cyclic_group(5), "C5", 1.0)
            >>> one, same, other = (ActionGroup(found, np.array(each)) for each in ([1, 2], [3, 1], [1, 3]))
            >>> one.agrees_with(same), one.agrees_with(other)
            (True, False)
        """
        group, theirs = self.found.group, other.found.group
        if group.order != theirs.order or len(self.elements) != len(other.elements):
            return False
        return extend_isomorphism(group, theirs, self.elements.tolist(), other.elements.tolist()) is not None


def group_of_actions(
    before: Any, action: Any, after: Any, config: ActionGroupConfig = DEFAULT_ACTION_GROUP
) -> ActionGroup:
    """Recover the group that actions ``0, …, k − 1`` generate, given latents on which they act almost linearly.

    1. Latents are centred and whitened, so that the actions are orthogonal.
    2. The matrix of each action is the orthogonal solution of ``min Σ ‖after − A before‖²`` (Procrustes), on directions
       that the actions predict and move, and that no action carries out of their span.
    3. Products of the matrices are added until the set is closed up to a tolerance; the table is
       ``g·h = argmin_l ‖A_g A_h − A_l‖``.

    The margin is ``1 − r / s``, with ``r`` the largest distance of a product from its element, and ``s`` the smallest
    distance between two elements, at most 1. Of the groups with a sufficient margin, over all cuts of the directions
    and all tolerances, the largest is taken.

    Args:
        before: ``(N, m)`` latents before the action.
        action: ``(N,)`` numbers of the actions, each of which occurs at least four times: half as many directions
            are used, and on a single one no action has an order above 2.
        after: ``(N, m)`` latents after the action.
        config: hyper-parameters.

    Returns:
        The group, with the identity as element 0, and the element of each action.

    Raises:
        NoGroupFoundError: no group of at most ``max_order`` elements has a sufficient margin.
        ValueError: the arrays do not fit.

    Example:
        >>> turn = np.array([[0.0, -1.0], [1.0, 0.0]])
        >>> points = np.random.default_rng(0).normal(size=(50, 2))
        >>> group_of_actions(points, np.zeros(50, int), points @ turn.T).found.name
        'C4'
    """
    first, second, labels = _checked(before, action, after)
    candidates = [
        group
        for matrices in action_matrices(first, labels, second, config)
        for tolerance in config.tolerances
        if (group := _closed(matrices, tolerance, config)) is not None
    ]
    best = max((each.found.margin for each in candidates), default=0.0)
    if best < config.min_margin:
        raise NoGroupFoundError(
            f"no finite group of at most {config.max_order} elements was found: expected a margin of at least "
            f"{config.min_margin}, got at most {best:.2g}; give more transitions, train the latents longer, or raise "
            "max_order (--max-order)"
        )
    confident = [each for each in candidates if each.found.margin >= config.min_margin]
    return max(confident, key=lambda each: (each.found.group.order, each.found.margin))


def action_matrices(
    before: Latent, action: NDArray[np.int64], after: Latent, config: ActionGroupConfig = DEFAULT_ACTION_GROUP
) -> list[NDArray[np.float64]]:
    """Return the orthogonal matrices ``(k, d, d)`` by which actions move whitened latents, see `group_of_actions`.

    Directions are ordered by the correlation with which sequences of actions predict them. How many to keep is not
    known: they are cut at each of the largest gaps of the correlations. A cut through the middle of a representation
    is left out, because the actions carry its directions out of their span: half of a plane that is turned by 120°
    looks like one that is mirrored, which would give a larger group.

    Args:
        before: ``(N, m)`` latents before the action.
        action: ``(N,)`` numbers of the actions, from 0.
        after: ``(N, m)`` latents after the action.
        config: hyper-parameters.

    Returns:
        Matrices on ``d ≤ m`` directions, for each cut; ``d`` is 0 if the actions predict all directions and move none.

    Raises:
        NoGroupFoundError: the actions predict no direction, or carry all of them to directions that they do not
            predict.

    Example:
        >>> points = np.random.default_rng(0).normal(size=(50, 2))
        >>> action_matrices(points, np.zeros(50, int), -points)[0].shape
        (1, 2, 2)
    """
    counts = np.bincount(action)
    least = int(counts.min())
    first, second = _whitened(before, after, most=max(1, least // 2))
    covariances = np.stack([second[action == a].T @ first[action == a] / n for a, n in enumerate(counts)])
    spans = [_kept_directions(covariances, least, each, config) for each in _leading_directions(covariances, config)]
    kept = [span for span in spans if span is not None]
    if not kept:
        raise NoGroupFoundError(
            "no group was found: expected directions of the latents that each action predicts with a correlation of at "
            f"least {config.min_correlation}, and that no action carries out of their span by a share of more than "
            f"{config.max_leak}, got none; give more transitions of each action, or train the latents longer"
        )
    return [_nearest_orthogonal(basis.T @ covariances @ basis) for basis in kept]


def _checked(before: Any, action: Any, after: Any) -> tuple[Latent, Latent, NDArray[np.int64]]:
    first, second, labels = np.asarray(before, float), np.asarray(after, float), np.asarray(action)
    if first.ndim != 2 or first.shape != second.shape or labels.shape != first.shape[:1] or first.shape[1] < 1:
        raise ValueError(
            f"expected before and after of shape (N, m) and actions (N,), got {first.shape}, {second.shape} and "
            f"{labels.shape}"
        )
    if labels.dtype.kind not in "iu" or len(labels) == 0 or labels.min() < 0 or labels.max() >= 1024:
        raise ValueError(f"expected actions as whole numbers from 0 to at most 1023, got {labels.dtype} {labels[:5]}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("expected finite latents, got NaN or infinity")
    if (counts := np.bincount(labels)).min() < _LEAST_TRANSITIONS:
        rare = int(counts.argmin())
        raise ValueError(
            f"expected each action 0, …, {len(counts) - 1} at least {_LEAST_TRANSITIONS} times, got action {rare} "
            f"{counts[rare]} times; give more transitions"
        )
    return first, second, labels.astype(np.int64)


def _whitened(before: Latent, after: Latent, most: int) -> tuple[Latent, Latent]:
    """Return the latents with mean 0 and covariance 1, in at most ``most`` directions: the first principal ones."""
    both = np.concatenate([before, after])
    mean = both.mean(0)
    _, scales, directions = np.linalg.svd(both - mean, full_matrices=False)
    # Directions of less than 1e-6 of the largest standard deviation are rounding errors of float32 latents.
    kept = (scales > 1e-6 * max(scales[0], 1e-300)) & (np.arange(len(scales)) < most)
    whiten = directions[kept].T / scales[kept] * np.sqrt(len(both))
    return (before - mean) @ whiten, (after - mean) @ whiten


def _leading_directions(covariances: NDArray[np.float64], config: ActionGroupConfig) -> list[NDArray[np.float64]]:
    """Return orthonormal directions ``(m, d)``, those before each of the largest gaps of their correlations."""
    strength = np.eye(covariances.shape[1])
    for _ in range(config.horizon):
        strength = (covariances.transpose(0, 2, 1) @ strength @ covariances).mean(0)
    values, vectors = np.linalg.eigh(strength)
    correlations = np.clip(values[::-1], 0, None) ** (0.5 / config.horizon)
    gaps = correlations - np.append(correlations[1:], 0)
    return [vectors[:, ::-1][:, : last + 1] for last in np.argsort(-gaps)[: config.max_cuts]]


def _kept_directions(
    covariances: NDArray[np.float64], count: int, leading: NDArray[np.float64], config: ActionGroupConfig
) -> NDArray[np.float64] | None:
    """Return the directions in a span that actions move; None if they do not predict the span, or leave it."""
    if _least_correlation(covariances, leading) < config.min_correlation:
        return None
    moved = _moved(covariances, leading, config.min_motion)
    if moved.shape[1] == 0:  # that no action has an effect is known only if all directions are predicted
        return moved if leading.shape[0] == leading.shape[1] else None
    return moved if _largest_leak(covariances, count, moved) <= config.max_leak else None


def _least_correlation(covariances: NDArray[np.float64], basis: NDArray[np.float64]) -> float:
    """Return the correlation with which the worst action predicts the worst direction in a span."""
    return float(np.linalg.svd(basis.T @ covariances @ basis, compute_uv=False).min())


def _moved(covariances: NDArray[np.float64], basis: NDArray[np.float64], min_motion: float) -> NDArray[np.float64]:
    """Return the directions in a span that the nearest orthogonal matrices do not leave fixed."""
    motion = _nearest_orthogonal(basis.T @ covariances @ basis) - np.eye(basis.shape[1])
    values, vectors = np.linalg.eigh((motion.transpose(0, 2, 1) @ motion).mean(0))
    return np.asarray(basis @ vectors[:, values >= min_motion**2])


def _largest_leak(covariances: NDArray[np.float64], count: int, basis: NDArray[np.float64]) -> float:
    """Return the largest share of ``‖C v‖²`` outside of a span, over all actions and all directions ``v`` in the span.

    An entry of the covariance ``C`` of ``count`` transitions has a sampling noise of variance ``1 / count``: its
    expected share is subtracted.
    """
    from scipy.linalg import eigh

    outside, dims = np.subtract(*basis.shape), basis.shape[1]
    images = covariances @ basis
    inside = basis.T @ images
    total, stays = (each.transpose(0, 2, 1) @ each for each in (images, inside))
    leaves = total - stays - outside / count * np.eye(dims)
    return max(float(eigh(a, b, eigvals_only=True)[-1]) for a, b in zip(leaves, total, strict=True))


def _nearest_orthogonal(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the orthogonal factors of the polar decompositions of matrices ``(k, d, d)``."""
    if matrices.shape[1] == 0:
        return matrices
    left, _, right = np.linalg.svd(matrices)
    return np.asarray(left @ right)


def _closed(matrices: NDArray[np.float64], tolerance: float, config: ActionGroupConfig) -> ActionGroup | None:
    """Return the group that matrices generate, those nearer than the tolerance taken as one; None if there is none."""
    size = matrices.shape[1]
    elements = [np.eye(size)]
    for element in elements:  # grows while it is iterated
        for matrix in matrices:
            product = matrix @ element
            if _distance(product, np.stack(elements)).min() > tolerance:
                elements.append(product)
        if len(elements) > config.max_order:
            return None
    array = np.stack(elements)
    distances = _distance((array[:, None] @ array)[:, :, None], array)
    try:
        group = FiniteGroup(distances.argmin(2))
    except GroupTableError:
        return None
    to_actions = _distance(matrices[:, None], array)
    residual = max(distances.min(2).max(), to_actions.min(1).max())
    between = _distance(array[:, None], array) + 10 * np.eye(len(array))
    margin = 1.0 - float(residual / min(between.min(), 1.0))
    return ActionGroup(DiscoveredGroup(group, identify(group), margin), to_actions.argmin(1))


def _distance(matrices: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Frobenius norms of differences, divided by those of the matrices: √2 where traces are 0."""
    squared: NDArray[np.float64] = ((matrices - others) ** 2).sum((-1, -2))
    return np.asarray(np.sqrt(squared / max(matrices.shape[-1], 1)))
