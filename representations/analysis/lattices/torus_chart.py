"""Chart the torus of which a lattice of periods was found, and hand its displacements to an encoder."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ....envs.lie_groups.registry import group_from_name
from .bases import LatticeError, check_basis


def torus_chart(points: ArrayLike, basis: ArrayLike) -> NDArray[np.float64]:
    """Return the coordinates ``P⁻¹ x mod 1`` of points on the torus ``Rⁿ / Λ``.

    Args:
        points: ``(..., n)``.
        basis: ``(n, n)`` periods, as columns.

    Returns:
        ``(..., n)`` in [0, 1).

    Raises:
        LatticeError: the basis is singular, or the points have another dimension.

    Example:
        >>> torus_chart([[2.5, -0.5]], [[2, 0], [0, 1]]).tolist()
        [[0.25, 0.5]]
    """
    chart = np.mod(_coordinates(points, basis), 1.0)
    chart[chart == 1.0] = 0.0  # of a tiny negative number
    return chart


def torus_displacements(displacements: ArrayLike, basis: ArrayLike) -> tuple[NDArray[np.float64], str]:
    """Return displacements as elements ``exp(2π P⁻¹ a)`` of the torus, and the name of the group, for an encoder.

    Args:
        displacements: ``(..., n)`` in the units of the periods.
        basis: ``(n, n)`` periods, as columns.

    Returns:
        ``(..., 2n)`` pairs ``(cos, sin)``, and ``"SO2xSO2"`` for ``n = 2``.

    Raises:
        LatticeError: the basis is singular, or the displacements have another dimension.

    Example:
        >>> elements, group = torus_displacements([[0.5, 1.0]], [[2, 0], [0, 1]])
        >>> (abs(elements.round(6)) + 0.0).tolist(), group
        ([[0.0, 1.0, 1.0, 0.0]], 'SO2xSO2')
    """
    coordinates = _coordinates(displacements, basis)
    name = "x".join(["SO2"] * coordinates.shape[-1])
    elements = np.asarray(group_from_name(name).exp(2 * np.pi * (coordinates - np.rint(coordinates))))
    return elements, name


def _coordinates(points: ArrayLike, basis: ArrayLike) -> NDArray[np.float64]:
    periods, given = check_basis(basis), np.asarray(points, np.float64)
    if periods.ndim != 2 or given.ndim < 1 or given.shape[-1] != len(periods) or not np.isfinite(given).all():
        raise LatticeError(
            f"expected one basis and finite points of {periods.shape[-1]} coordinates, got the shapes {periods.shape} "
            f"and {given.shape}"
        )
    return np.asarray(np.linalg.solve(periods, given.reshape(-1, len(periods)).T).T.reshape(given.shape), np.float64)
