"""Encoders on whose latents actions can be applied: what will be seen is foretold without being drawn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from envs.groups import Group
from envs.transitions import Transitions, spans
from representations.encoder import Encoder, as_tensor, to_images

Latents = dict[str, Tensor]


class ActedEncoder(Encoder):
    """An encoder with an action of the group, or an approximation of one, on its latents."""

    @abstractmethod
    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        """The latents after group elements ``(B, dim)`` have acted."""

    @abstractmethod
    def gap(self, a: Latents, b: Latents) -> Tensor:
        """How far each of ``A`` latents is from each of ``B``, ``(A, B)``; least for what is the same."""


BATCH = 32
"""Pairs in one update."""
HORIZON = 20
"""Longest span that is learned from, in steps."""


class PosedEncoder(ActedEncoder):
    """An encoder whose latents are an invariant class, ``class``, and what the pose is known by.

    Attributes:
        acting: the group.
        elements: size of the sets that `poses` returns.
    """

    acting: Group
    elements: int

    @property
    @abstractmethod
    def latent_dim(self) -> int:
        """How many numbers all latents are."""

    @abstractmethod
    def poses(self, latents: Mapping[str, Any]) -> Any:
        """Sets of poses ``(B, elements, group.dim)`` that look the same; tensors or arrays, as the latents are."""

    @abstractmethod
    def between(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> Any:
        """Actions ``(B, M, group.dim)`` all of which lead from what has the latents ``a`` to what has ``b``."""


class PairLearner(nn.Module):
    """What all that learn from ``(x, g, y = g·x)`` have in common: the data, and random batches of it.

    The pairs are spans of one to `HORIZON` steps. A single step leaves ``y`` near ``x`` where the group is not compact,
    and what is near is not what only the class has in common: a contrastive loss would tell positions apart instead.

    Args:
        encoder: what to train, or to look at.
        transitions: frames and displacements; their truths are not read.
        scale: factor on the number of updates.

    Raises:
        ValueError: the transitions' group or frames are not the encoder's.
    """

    def __init__(self, encoder: Encoder, transitions: Transitions, scale: float) -> None:
        super().__init__()
        encoder.require_fitting(transitions)
        self._scale = scale
        device = next(encoder.parameters()).device
        self._frames = as_tensor(transitions.frames).to(device)
        self._start, self._end, self._displacement = (as_tensor(e).to(device) for e in spans(transitions, HORIZON))

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images, first all ``x`` and then all ``y``, ``(2 BATCH, C, H, W)``, and displacements ``(BATCH, dim)``."""
        chosen = torch.randint(len(self._start), (BATCH,), generator=generator).to(self._start.device)
        images = to_images(self._frames.index_select(0, torch.cat([self._start[chosen], self._end[chosen]])))
        return images, self._displacement[chosen]


def halves(latents: Latents) -> tuple[Latents, Latents]:
    """Latents of the first and of the second half of a batch."""
    parts = {name: torch.chunk(latent, 2) for name, latent in latents.items()}
    return {name: part[0] for name, part in parts.items()}, {name: part[1] for name, part in parts.items()}


def pairwise_squared(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances ``(A, B)`` of rows, flattened."""
    return (a.flatten(1)[:, None] - b.flatten(1)[None]).pow(2).sum(2)
