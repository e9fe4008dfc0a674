"""The contract between what is trained and the training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Loss = tuple[Tensor, dict[str, Tensor]]
"""A scalar to minimise, and the quantities to log beside it."""


@dataclass(frozen=True)
class Stage:
    """One loss, minimised over some parameters with Adam.

    Attributes:
        name: shown while training.
        steps: number of updates.
        loss: ``loss(generator) -> (scalar, metrics)``; draws its own batch.
        parameters: the parameters that are trained.
        batch_size: transitions in one update, for the count of transitions seen.
        learning_rate: of the first half of the stage; it then falls linearly to a fiftieth.
        begin: called before the first update, and not again after a resume: what it computes must lie in buffers of the
            learner.
    """

    name: str
    steps: int
    loss: Callable[[torch.Generator], Loss]
    parameters: Sequence[nn.Parameter]
    batch_size: int
    learning_rate: float = 3e-3
    begin: Callable[[], None] = lambda: None


@runtime_checkable
class Learner(Protocol):
    """Train a network: an encoder, a policy or a density.

    A learner is a ``torch.nn.Module`` that holds the network, the data and everything else that training changes, in
    parameters and buffers: a checkpoint of it is enough to resume.
    """

    @property
    def network(self) -> nn.Module:
        """The network, which is kept after training."""

    def stages(self) -> list[Stage]:
        """Return the losses to minimise, one after another."""

    def train(self, mode: bool = True) -> Any:
        """Switch to training mode, as ``torch.nn.Module.train``."""

    def state_dict(self) -> dict[str, Any]:
        """Return all parameters and buffers, as ``torch.nn.Module.state_dict``."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Set all parameters and buffers, as ``torch.nn.Module.load_state_dict``."""
