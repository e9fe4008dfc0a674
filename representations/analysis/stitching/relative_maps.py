"""Relative maps: describe a latent by its similarities to the latents of anchors, which two encoders share.

Sources: Moschella et al., *Relative representations enable zero-shot latent space communication*, ICLR 2023
(arXiv:2209.15430), for the cosine; García-Castellanos, Marchetti, Kragic, Scolamiero, *Relative representations:
topological and geometric perspectives* (arXiv:2409.10967), for the robust form.

Deviations from the paper
-------------------------
* **Deviations are not divided by** ``√(σ² + 10⁻⁵)`` but by ``σ``: only so is the map exactly invariant.
* **Constant coordinates** are left out; batch normalisation would divide rounding errors by ``√10⁻⁵``.
* **Running statistics begin with those of the anchors**, so that a map works before any training.
"""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Array = TypeVar("Array", NDArray[Any], Tensor)

_ROUNDING = 16
"""A coordinate is constant if it spreads by less than this many rounding errors of its largest value."""


class AnchorError(ValueError):
    """Anchors or latents cannot be used: wrong shapes, values that are not finite, or no variation."""


class FewAnchorsWarning(UserWarning):
    """There are so few anchors that different latents have the same similarities."""


def cosine_relative(latents: Array, anchors: Array) -> Array:
    """Return the cosines ``r_i = ⟨z, a_i⟩ / (‖z‖ ‖a_i‖)`` of latents with anchors.

    They are invariant under orthogonal maps and one common scaling of latents and anchors. A vector of length zero has
    the cosine 0 with all others.

    Source: Moschella et al., ICLR 2023 (arXiv:2209.15430).

    Args:
        latents: ``(B, dim)``, NumPy or torch.
        anchors: ``(k, dim)``, of the same type.

    Returns:
        ``(B, k)`` in [-1, 1], of the same type. Tensors keep gradients to both arguments.

    Raises:
        AnchorError: an array has another shape.

    Example:
        >>> cosine_relative(np.array([[2.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])).tolist()
        [[1.0, 0.0, -1.0]]
    """
    given, others = _tensors(latents, anchors)
    return _like(_unit(given) @ _unit(others).T, latents)


def robust_relative(latents: Array, anchors: Array, reference: Array | None = None) -> Array:
    """Return the cosines of standardised latents with standardised anchors.

    ``r_i = ⟨u, v_i⟩`` with ``u = n((z − μ) / σ)``, ``v_i = n((a_i − μ_A) / σ_A)`` and ``n(x) = x / ‖x‖``. Anchors are
    standardised by the mean and the deviation of the anchors, latents by those of a reference. A permutation of the
    coordinates, a scaling of each by any number but zero, and a translation, applied to latents, anchors and reference,
    leave ``r`` unchanged: a negative factor changes the sign of one coordinate of ``u`` and of ``v_i``, and so no
    product. Coordinates that are constant in the anchors or the reference are left out.

    Source: García-Castellanos et al. (arXiv:2409.10967).

    Args:
        latents: ``(B, dim)``, NumPy or torch.
        anchors: ``(k, dim)``, of the same type.
        reference: latents ``(n, dim)`` with the mean ``μ`` and the deviation ``σ``; the anchors if None.

    Returns:
        ``(B, k)`` in [-1, 1], of the same type. Tensors keep gradients to all arguments.

    Raises:
        AnchorError: an array has another shape, or every coordinate is constant.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> latents, anchors = generator.normal(size=(4, 3)), generator.normal(size=(6, 3))
        >>> other = lambda z: 5 + (z * [2.0, -0.1, 30.0])[:, [2, 0, 1]]
        >>> bool(np.allclose(robust_relative(latents, anchors), robust_relative(other(latents), other(anchors))))
        True
    """
    given, others = _tensors(latents, anchors)
    sample = others if reference is None else _tensors(reference, anchors)[0]
    return _like(_robust(given, others, _statistics(sample), _statistics(others)), latents)


class CosineRelative(nn.Module):
    """Map latents to their cosines with fixed anchors: ``r_i = ⟨z, a_i⟩ / (‖z‖ ‖a_i‖)``.

    Source: Moschella et al., ICLR 2023 (arXiv:2209.15430).

    Args:
        anchors: latents of the anchors ``(k, dim)``, NumPy or torch.

    Attributes:
        latent_dim: ``k``.

    Raises:
        AnchorError: the anchors have another shape, are not finite, or one has length zero.

    Warns:
        FewAnchorsWarning: there are fewer anchors than coordinates.

    Example:
        >>> relative = CosineRelative(np.eye(3))
        >>> relative(torch.tensor([[0.0, 2.0, 0.0]])).tolist()
        [[0.0, 1.0, 0.0]]
    """

    anchors: Tensor

    def __init__(self, anchors: NDArray[Any] | Tensor) -> None:
        super().__init__()
        checked = _require_anchors(anchors, spare=0)
        if bool((checked.norm(dim=1) == 0).any()):
            raise AnchorError("expected anchors of a length above zero, got one at the origin; choose other anchors")
        self.register_buffer("anchors", checked.float())
        self.latent_dim = len(checked)

    def forward(self, latents: Tensor) -> Tensor:
        """Return cosines ``(B, k)`` of latents ``(B, dim)``."""
        return cosine_relative(latents, self.anchors.to(latents.dtype))


class RobustRelative(nn.Module):
    """Map latents to `robust_relative` coordinates, with fixed anchors.

    ``r_i = ⟨n((z − μ) / σ), n((a_i − μ_A) / σ_A)⟩``, where ``n(x) = x / ‖x‖``. In evaluation mode ``μ`` and ``σ`` are
    running statistics. They begin with those of the anchors. In training mode they are those of the batch, and the
    running statistics follow.

    Source: García-Castellanos et al. (arXiv:2409.10967).

    Args:
        anchors: latents of the anchors ``(k, dim)``, NumPy or torch.
        momentum: weight of a batch in the running statistics; 0.3 in the published code.

    Attributes:
        latent_dim: ``k``.

    Raises:
        AnchorError: the anchors have another shape, are not finite, or are all the same.
        ValueError: the momentum is outside [0, 1].

    Warns:
        FewAnchorsWarning: there are no more anchors than coordinates; centred anchors span one dimension less.

    Example:
        >>> anchors = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> found = RobustRelative(anchors).eval()(torch.tensor([[1.0, 1.0]]))
        >>> (found.round(decimals=3) + 0).tolist()  # the sum makes 0 of -0
        [[-1.0, 0.0, 0.0, 1.0]]
    """

    anchors: Tensor
    anchor_mean: Tensor
    anchor_spread: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, anchors: NDArray[Any] | Tensor, momentum: float = 0.3) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f"expected a momentum in [0, 1], got {momentum}")
        checked = _require_anchors(anchors, spare=1)
        mean, spread = _statistics(checked)
        _require_variation(spread)
        self.momentum, self.latent_dim = momentum, len(checked)
        self.register_buffer("anchors", checked.float())
        for name, values in (("anchor_mean", mean), ("anchor_spread", spread), ("mean", mean), ("spread", spread)):
            self.register_buffer(name, values.float().clone())

    def forward(self, latents: Tensor) -> Tensor:
        """Return robust relative coordinates ``(B, k)`` of latents ``(B, dim)``.

        Raises:
            AnchorError: the latents have another size; or in training mode, a batch of one has no deviation.
        """
        _tensors(latents, self.anchors)
        of_anchors = self.anchor_mean.to(latents.dtype), self.anchor_spread.to(latents.dtype)
        return _robust(latents, self.anchors.to(latents.dtype), self._statistics_of(latents), of_anchors)

    def _statistics_of(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and deviation by which latents are standardised; update the running ones in training mode."""
        if not self.training:
            return self.mean.to(latents.dtype), self.spread.to(latents.dtype)
        if len(latents) < 2:
            raise AnchorError(f"expected at least 2 latents in training mode, got {len(latents)}; call eval()")
        mean, spread = _statistics(latents)
        with torch.no_grad():
            self.mean.lerp_(mean.to(self.mean.dtype), self.momentum)
            self.spread.lerp_(spread.to(self.spread.dtype), self.momentum)
        return mean, spread


def _robust(
    latents: Tensor, anchors: Tensor, statistics: tuple[Tensor, Tensor], of_anchors: tuple[Tensor, Tensor]
) -> Tensor:
    """Return the products of standardised unit vectors, over the coordinates that vary in both."""
    varying = (statistics[1] > 0) & (of_anchors[1] > 0)
    _require_variation(varying)
    standard = [
        torch.where(varying, (points - mean) / torch.where(varying, spread, 1.0), 0.0)
        for points, (mean, spread) in ((latents, statistics), (anchors, of_anchors))
    ]
    return _unit(standard[0]) @ _unit(standard[1]).T


def _statistics(sample: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each coordinate; the deviation is 0 where there is rounding only."""
    mean = sample.mean(0)
    variance = (sample - mean).square().mean(0)
    smallest = _ROUNDING * torch.finfo(sample.dtype).eps * sample.detach().abs().amax(0)
    varies = variance.detach() > smallest.square()
    # The root of zero has no finite gradient.
    return mean, torch.where(varies, torch.where(varies, variance, 1.0).sqrt(), 0.0)


def _unit(vectors: Tensor) -> Tensor:
    """Return vectors of length 1, and zero for zero vectors."""
    return torch.nn.functional.normalize(vectors, dim=1, eps=torch.finfo(vectors.dtype).tiny)


def _tensors(latents: NDArray[Any] | Tensor, anchors: NDArray[Any] | Tensor) -> tuple[Tensor, Tensor]:
    """Return both as tensors, arrays in float64, after checking that they have as many coordinates."""
    given, others = _tensor(latents, "latents"), _tensor(anchors, "anchors")
    if given.shape[1] != others.shape[1]:
        raise AnchorError(
            f"expected latents with the {others.shape[1]} coordinates of the anchors, got {given.shape[1]}; encode "
            "both with the same encoder"
        )
    return given, others


def _tensor(values: NDArray[Any] | Tensor, name: str) -> Tensor:
    if values.ndim != 2 or 0 in values.shape:
        raise AnchorError(f"expected {name} of shape (n, dim), got {tuple(values.shape)}; flatten them, one row each")
    return torch.from_numpy(np.array(values, np.float64)) if isinstance(values, np.ndarray) else values


def _like(result: Tensor, given: Array) -> Array:
    return result.numpy() if isinstance(given, np.ndarray) else result


def _require_variation(spread: Tensor) -> None:
    if not bool((spread > 0).any()):
        raise AnchorError("expected anchors that differ, got a constant in every coordinate; choose other anchors")


def _require_anchors(anchors: NDArray[Any] | Tensor, spare: int) -> Tensor:
    """Return anchors in float64, after checking them.

    Args:
        anchors: ``(k, dim)``.
        spare: number of anchors that are needed beyond the number of coordinates.
    """
    checked = _tensor(anchors, "anchors").detach().double()
    if not bool(checked.isfinite().all()):
        raise AnchorError("expected finite anchors, got NaN or infinity; check the encoder")
    count, dim = checked.shape
    if count < dim + spare:
        warnings.warn(
            f"{count} anchors cannot tell all latents of {dim} coordinates apart; take {dim + spare} or more",
            FewAnchorsWarning,
            stacklevel=3,
        )
    return checked
