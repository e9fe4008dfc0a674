"""The policy that soft actor-critic learns, without its critics: it needs no Stable-Baselines3."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...envs.storage.artifacts import ArtifactError, ArtifactLimits, load_into, write_artifact
from .policy_card import KIND, read_policy

NAME = "squashed-gaussian"
"""The entry ``policy`` of the card of a saved `SquashedGaussianPolicy`."""

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "mish": nn.Mish,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
}
"""Activation functions, with their default arguments, by the names that cards use."""


class SquashedGaussianPolicy(nn.Module):
    """A Gaussian policy whose samples are squashed into a box: ``a = low + (high − low) (tanh(u) + 1) / 2``.

    ``u ~ N(μ(o), σ(o)²)``; the deterministic action has ``u = μ(o)``. It is a `Policy`, as in Stable-Baselines3.

    Source: Haarnoja, Zhou, Abbeel and Levine, *Soft actor-critic*, ICML 2018.

    Args:
        observations: number of coordinates of an observation.
        low: lowest action, ``(n,)``.
        high: highest action, ``(n,)``.
        net_arch: widths of the hidden layers.
        activation: name of the activation function behind each hidden layer, such as ``"relu"`` or ``"tanh"``.

    Raises:
        ValueError: the bounds have different lengths, are not finite, or are not in order; a size is not positive; or
            there is no such activation function.

    Example:
        >>> policy = SquashedGaussianPolicy(4, low=[-0.3, -0.3], high=[0.3, 0.3], net_arch=[16])
        >>> policy.predict(np.zeros((5, 4), np.float32))[0].shape
        (5, 2)
    """

    def __init__(
        self,
        observations: int,
        low: NDArray[Any] | list[float],
        high: NDArray[Any] | list[float],
        net_arch: list[int],
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.low, self.high = np.array(low, np.float32), np.array(high, np.float32)
        ordered = self.low.ndim == 1 and self.low.shape == self.high.shape and bool((self.low < self.high).all())
        if not (ordered and np.isfinite(self.low).all() and np.isfinite(self.high).all() and len(self.low)):
            raise ValueError(f"finite bounds (n,) with low < high were expected, got {low} and {high}")
        sizes = [observations, *net_arch]
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ValueError(f"positive numbers were expected as observations and net_arch, got {sizes}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"one of {', '.join(ACTIVATIONS)} was expected as the activation, got {activation!r}")
        self.observations, self.net_arch, self.activation = observations, list(net_arch), activation
        layers: list[nn.Module] = []
        for width_in, width in pairwise(sizes):
            layers += [nn.Linear(width_in, width), ACTIVATIONS[activation]()]
        self.body = nn.Sequential(*layers)
        self.mean = nn.Linear(sizes[-1], len(self.low))
        self.log_std = nn.Linear(sizes[-1], len(self.low))

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``μ`` and ``log σ``, ``(B, n)`` each, of observations ``(B, observations)``."""
        body = self.body(observations)
        return self.mean(body), self.log_std(body).clamp(-20, 2)

    def predict(
        self,
        observation: NDArray[Any],
        state: Any = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.float32], None]:
        """Return actions ``(B, n)`` for observations ``(B, observations)``, or one action for one observation.

        Raises:
            ValueError: the observations have another shape.
        """
        given = np.asarray(observation, np.float32)
        single = given.ndim == 1
        batch = given[None] if single else given
        if batch.ndim != 2 or batch.shape[1] != self.observations:
            raise ValueError(f"observations (B, {self.observations}) were expected, got {given.shape}")
        with torch.no_grad():
            mean, log_std = self(torch.from_numpy(np.ascontiguousarray(batch)).to(self.mean.weight.device))
            sample = mean if deterministic else mean + log_std.exp() * torch.randn_like(mean)
            squashed = torch.tanh(sample).cpu().numpy()
        actions: NDArray[np.float32] = self.low + (0.5 * (squashed + 1.0) * (self.high - self.low))
        return (actions[0] if single else actions), None

    def save(self, folder: str | Path) -> None:
        """Write the policy as a folder: the weights (safetensors) and a card (JSON) with one hash over both.

        Args:
            folder: a new folder, or one with a saved policy, which is replaced.

        Raises:
            ArtifactError: the folder holds other things or cannot be written to, or a weight is not finite.
        """
        card = {
            "policy": NAME,
            "observations": self.observations,
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "net_arch": self.net_arch,
            "activation": self.activation,
        }
        write_artifact(folder, KIND, card, self.state_dict())

    @classmethod
    def load(cls, folder: str | Path, limits: ArtifactLimits | None = None) -> Self:
        """Read a saved policy; nothing that is read is executed.

        Args:
            folder: folder that `save` wrote.
            limits: largest sizes to accept.

        Returns:
            The policy, in evaluation mode.

        Raises:
            ArtifactError: a file is missing, damaged or altered, or holds another policy.
        """
        limits = limits or ArtifactLimits()
        card, tensors = read_policy(folder, NAME, limits)
        try:
            arguments = (card["observations"], card["low"], card["high"], card["net_arch"])
            activation = card.get("activation", "relu")  # older cards have none
        except KeyError as error:
            raise ArtifactError(f"expected the card of a policy in {folder}, got one without {error}") from error
        return load_into(lambda: cls(*arguments, activation), tensors, folder, limits)
