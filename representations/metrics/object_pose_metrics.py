"""Errors of the pose of an object of any shape, up to the reference point and the reference angle, which are free."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating[Any]]


def fixed_point_errors(predicted: Numbers, position: Numbers, angle: Numbers) -> Numbers:
    """Compute how far predictions are from that point of the object which they mean.

    ``min_{t, b} ‖ẑ + t − (p + R(θ) b)‖``: an encoder may call any fixed point ``b`` of the object its position, and the
    origin ``t`` of its coordinates is free. The mean square over all frames decides on both.

    Args:
        predicted: ``(F, 2)``, predicted positions ``ẑ``.
        position: ``(F, 2)``, true positions ``p`` of a point of the object.
        angle: ``(F,)``, true angles ``θ`` in radians.

    Returns:
        ``(F,)``.

    Example:
        >>> angle = np.linspace(0, 6, 50)
        >>> nose = np.stack([np.cos(angle), np.sin(angle)], 1)
        >>> float(fixed_point_errors(nose + [5, 0], np.zeros((50, 2)), angle).max().round(9))
        0.0
    """
    cosine, sine = np.cos(angle), np.sin(angle)
    one, zero = np.ones_like(angle), np.zeros_like(angle)
    along_x = np.stack([one, zero, cosine, -sine], 1)
    along_y = np.stack([zero, one, sine, cosine], 1)
    design = np.concatenate([along_x, along_y])
    difference = (predicted - position).T.ravel()
    solution = np.linalg.lstsq(design, difference, rcond=None)[0]
    return np.asarray(np.hypot(*(difference - design @ solution).reshape(2, -1)))


def orientation_errors(orientation: Numbers, angle: Numbers, order: int = 1) -> Numbers:
    """Compute the angles between predicted and true orientations in degrees, up to one common rotation.

    Args:
        orientation: ``(F, 2)``, predictions ``(cos mθ, sin mθ)``.
        angle: ``(F,)``, true angles in radians.
        order: ``m``, the order of the rotational symmetry.

    Returns:
        ``(F,)``, between 0 and ``180/m``.

    Example:
        >>> angle = np.linspace(0, 6, 50)
        >>> turned = np.stack([np.cos(2 * angle + 1), np.sin(2 * angle + 1)], 1)
        >>> float(orientation_errors(turned, angle, order=2).max().round(6))
        0.0
    """
    apart = _apart(orientation, angle, order)
    return np.asarray(np.degrees(np.abs(np.angle(apart / apart.mean()))) / order)


def reference_angle(orientation: Numbers, angle: Numbers, order: int = 1) -> float:
    """Return the mean of the predicted less the true angle, in radians, modulo ``2π/m``; see `orientation_errors`."""
    apart = _apart(orientation, angle, order)
    return float(np.angle(apart.mean())) / order


def _apart(orientation: Numbers, angle: Numbers, order: int) -> NDArray[np.complexfloating[Any]]:
    """Return ``exp(i (mθ̂ − mθ))`` of predicted and true angles, ``(F,)``."""
    return np.asarray((orientation[:, 0] + 1j * orientation[:, 1]) * np.exp(-1j * order * np.asarray(angle, float)))
