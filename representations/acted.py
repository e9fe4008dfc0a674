"""Encoders on whose latents actions can be applied: what will be seen is foretold without being drawn."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from representations.encoder import Encoder

Latents = dict[str, Tensor]


class ActedEncoder(Encoder):
    """An encoder with an action of the group, or an approximation of one, on its latents."""

    @abstractmethod
    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        """The latents after group elements ``(B, dim)`` have acted."""

    @abstractmethod
    def gap(self, a: Latents, b: Latents) -> Tensor:
        """How far each of ``A`` latents is from each of ``B``, ``(A, B)``; least for what is the same."""


def pairwise_squared(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances ``(A, B)`` of rows, flattened."""
    return (a.flatten(1)[:, None] - b.flatten(1)[None]).pow(2).sum(2)
