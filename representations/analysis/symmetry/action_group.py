"""Recover the group that discrete actions of unknown effect generate, from latents before and after each action."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...learning.config import check_range
from .finite_groups import FiniteGroup, GroupTableError
from .group_catalogue import identify
from .group_recovery import DiscoveredGroup, NoGroupFoundError

Latent = NDArray[np.float64]
_LEAST_TRANSITIONS = 4
"""Transitions of each action: half as many directions are used, and a rotation needs two."""


@dataclass(frozen=True)
class ActionGroupConfig:
    """Set how the group of actions is recovered from latents.

    Attributes:
        max_order: largest number of elements of the group.
        min_correlation: least correlation with which actions predict the directions of the latents that are kept.
        max_cuts: largest number of ways to cut the directions that are kept from the others.
        tolerances: distances below which two matrices are one element; √2 is the distance of matrices that are
            unrelated.
        min_motion: directions are kept if actions move them by at least this root mean square, in standard deviations.
        min_margin: smallest margin of the table (`DiscoveredGroup.margin`). A quotient of the group that acts has a
            high margin, too: of all groups with at least this margin the largest is taken.

    Raises:
        ConfigError: a value is out of range.

    Example:
        >>> ActionGroupConfig(max_order=8).max_order
        8
    """

    max_order: int = 24
    min_correlation: float = 0.4
    max_cuts: int = 12
    tolerances: tuple[float, ...] = tuple(0.05 * 1.15**step for step in range(24))
    min_motion: float = 0.2
    min_margin: float = 0.75

    def __post_init__(self) -> None:
        check_range(self, "max_order", at_least=1, at_most=64)
        check_range(self, "min_correlation", at_least=0, below=1)
        check_range(self, "max_cuts", at_least=1)
        check_range(self, "tolerances", above=0)
        check_range(self, "min_motion", at_least=0)
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


def group_of_actions(
    before: Any, action: Any, after: Any, config: ActionGroupConfig = DEFAULT_ACTION_GROUP
) -> ActionGroup:
    """Recover the group that actions ``0, …, k − 1`` generate, given latents on which they act almost linearly.

    1. Latents are centred and whitened, so that the actions are orthogonal.
    2. The matrix of each action is the orthogonal solution of ``min Σ ‖after − A before‖²`` (Procrustes), on the
       directions that the actions move and predict.
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

    Directions are ordered by the correlation with which the actions predict them. How many to keep is not known: there
    are matrices for a cut at each of the largest gaps of the correlations.

    Args:
        before: ``(N, m)`` latents before the action.
        action: ``(N,)`` numbers of the actions, from 0.
        after: ``(N, m)`` latents after the action.
        config: hyper-parameters.

    Returns:
        Matrices on the ``d ≤ m`` directions that the actions predict and move, for each cut; ``d`` is 0 if none is
        moved.

    Raises:
        NoGroupFoundError: the actions predict no direction.

    Example:
        >>> points = np.random.default_rng(0).normal(size=(50, 2))
        >>> action_matrices(points, np.zeros(50, int), -points)[0].shape
        (1, 2, 2)
    """
    count = int(action.max()) + 1
    first, second = _whitened(before, after, most=max(1, int(np.bincount(action).min()) // 2))
    covariances = np.stack([second[action == a].T @ first[action == a] / (action == a).sum() for a in range(count)])
    cuts = _cuts(np.linalg.eigvalsh(_mean_square(covariances)), config)
    predicted = [each for cut in cuts if (each := _predicted(covariances, cut)).shape[1]]
    if not predicted:
        raise NoGroupFoundError(
            f"no group was found: the actions predict no direction of the latents with a correlation of at least "
            f"{config.min_correlation}; give more transitions, or train the latents longer"
        )
    return [_nearest_orthogonal(_moved(each, config.min_motion)) for each in predicted]


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


def _restrict(matrices: NDArray[np.float64], strength: Latent, least: float) -> NDArray[np.float64]:
    """Return the matrices on the eigenvectors of a symmetric matrix whose eigenvalues are at least ``least``."""
    values, vectors = np.linalg.eigh(strength)
    basis = vectors[:, values >= least]
    return np.asarray(basis.T @ matrices @ basis)


def _predicted(covariances: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Return the covariances on the directions that actions predict with at least this squared correlation.

    One direction of a plane that an action turns is predicted less well without the other. If the cut has separated
    such directions, the correlation of one falls, and it is dropped as well.
    """
    kept = _restrict(covariances, _mean_square(covariances), least)
    while 0 < kept.shape[1] < covariances.shape[1]:
        covariances, kept = kept, _restrict(kept, _mean_square(kept), least)
    return kept


def _moved(covariances: NDArray[np.float64], min_motion: float) -> NDArray[np.float64]:
    """Return the covariances on the directions that the nearest orthogonal matrices do not leave fixed."""
    motion = _nearest_orthogonal(covariances) - np.eye(covariances.shape[1])
    return _restrict(covariances, _mean_square(motion), min_motion**2)


def _mean_square(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of ``AᵀA`` over matrices ``(k, d, d)``."""
    return np.asarray(np.einsum("aji,ajk->ik", matrices, matrices) / len(matrices))


def _cuts(squared: NDArray[np.floating], config: ActionGroupConfig) -> list[float]:
    """Return the squared correlations in the middle of the largest gaps whose upper end is large enough."""
    correlations = np.append(0.0, np.sqrt(np.clip(squared, 0, 1)))
    gaps = np.where(correlations[1:] >= config.min_correlation, np.diff(correlations), -1.0)
    uppers = [index + 1 for index in np.argsort(-gaps)[: config.max_cuts] if gaps[index] >= 0]
    return [float((correlations[upper - 1] + correlations[upper]) / 2) ** 2 for upper in uppers]


def _nearest_orthogonal(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
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
