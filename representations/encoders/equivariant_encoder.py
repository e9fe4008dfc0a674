"""The interface of encoders with a group action on their latents: they predict a latent without decoding images."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Array = TypeVar("Array", NDArray[Any], Tensor)
Latents = dict[str, Tensor]
"""Named latents, each of shape ``(B, ...)``."""


@runtime_checkable
class EquivariantEncoder(Protocol):
    """Encode images, and apply group elements to the latents.

    A perfect encoder ``φ`` satisfies ``φ(g·x) = g·φ(x)``. Any `Encoder` that has the methods below is an equivariant
    encoder; no base class is needed.
    """

    def encode(self, observations: Array) -> dict[str, Array]:
        """Return named latents of uint8 images ``(B, H, W, C)``."""

    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        """Return the predicted latents ``g·z`` after group elements ``(B, dim)`` were applied."""

    def latent_distance(self, a: Latents, b: Latents) -> Tensor:
        """Return the distances of ``A`` latents from ``B`` latents, ``(A, B)``; smallest for equal ones."""


def pairwise_squared(a: Tensor, b: Tensor) -> Tensor:
    """Return the squared distances ``‖a_i − b_j‖²`` of the flattened rows, ``(A, B)``."""
    return (a.flatten(1)[:, None] - b.flatten(1)[None]).pow(2).sum(2)


def first_of_class(classes: NDArray[np.floating[Any]], same_cosine: float = 0.8) -> NDArray[np.int64]:
    """Return for each image the index of the first image with the same class, ``(n,)``.

    Images are grouped greedily: the first image that has no group yet takes all others without a group whose class has
    a cosine above ``same_cosine`` with its own.

    Args:
        classes: unit vectors ``(n, k)``.
        same_cosine: cosine above which two classes are the same.
    """
    first = np.full(len(classes), -1)
    for index, one in enumerate(classes):
        if first[index] < 0:
            first[(first < 0) & (classes @ one > same_cosine)] = index
            first[index] = index
    return first
