"""The base class of conditional densities, and how they are fitted.

A density ``ρ(z | c)`` of latents ``z`` has a context ``c``, such as the scene at the start of the episode and the state
of the gripper. All families share the interface of `Density`: ``fit``, ``log_prob``, and ``score``, which returns the
gradient ``∇_z log ρ(z | c)``.

Reichlin, Marchetti, Yin, Ghadirzadeh and Kragic, *Back to the manifold: recovering from out-of-distribution states*,
IROS 2022 (arXiv:2207.08673) use a mixture density network, which is `DiagonalMixtureDensity` here.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..learning.config import ConfigError, OptimConfig
from ..learning.learner import Loss, Stage
from ..learning.training import TrainingCallback, TrainingReport, train_learner


class DensityError(ValueError):
    """A density cannot be fitted to the data."""


@dataclass(frozen=True)
class DensityConfig:
    """Set the hyper-parameters that all families of densities share.

    Attributes:
        optim: how `Density.fit` minimises the negative log likelihood. `SceneDensity.fit_scenes` has its own.
    """

    optim: OptimConfig = OptimConfig(steps=2000, lr=3e-3, batch_size=256)


class Density(nn.Module, ABC):
    """A density ``ρ(z | c)`` of ``z`` in R^dim.

    It is modelled in standardised coordinates ``u = (z − m) / s``, where ``m`` is the mean and ``s`` one number, the
    root mean square deviation per coordinate, so that distances keep their meaning:
    ``log ρ(z | c) = log ρ_u(u | c) − dim · log s``.

    A subclass sets ``config_class``, implements `standardised_log_prob`, and is decorated with
    `equiact.representations.densities.registry.register_density`.

    Args:
        dim: number of coordinates of ``z``.
        context: number of coordinates of ``c``; 0 for an unconditional density.
        config: hyper-parameters, an instance of ``config_class``; its defaults if none are given.

    Attributes:
        dim: number of coordinates of ``z``.
        context: number of coordinates of ``c``.
        config: hyper-parameters.
        fitted: whether the density was fitted to data, or its weights were loaded.

    Raises:
        ConfigError: the configuration is that of another family.
        DensityError: ``dim`` is not positive, or ``context`` is negative.
    """

    config_class: ClassVar[type[Any]] = DensityConfig
    registered_name: ClassVar[str]

    def __init__(self, dim: int, context: int = 0, config: Any = None) -> None:
        super().__init__()
        if dim < 1 or context < 0:
            raise DensityError(f"dim must be at least 1 and context at least 0, got {dim} and {context}")
        self.dim, self.context, self.fitted = dim, context, False
        self.config = self.config_class() if config is None else config
        if not isinstance(self.config, self.config_class):
            raise ConfigError(f"{type(self).__name__} needs a {self.config_class.__name__}, got {config!r}")
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("spread", torch.ones(()))

    @abstractmethod
    def standardised_log_prob(self, u: Tensor, context: Tensor) -> Tensor:
        """Return ``log ρ_u(u | c)``, ``(B,)``, of standardised ``u`` ``(B, dim)`` and ``c`` ``(B, context)``."""

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return ``log ρ(z | c)``, ``(B,)``, of ``z`` ``(B, dim)`` and ``c`` ``(B, context)``.

        Raises:
            DensityError: the density was not fitted.
        """
        self.require_fitted()
        context = z.new_zeros(len(z), 0) if context is None else context
        return self.standardised_log_prob((z - self.mean) / self.spread, context) - self.dim * self.spread.log()

    def far_log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the function whose gradient `score` returns, ``(B,)``.

        It is the log density, unless a family overrides it because that has a poor gradient far from the data.
        """
        return self.log_prob(z, context)

    def score(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return ``log ρ(z | c)``, ``(B,)``, and the gradient of `far_log_prob` with respect to ``z``, ``(B, dim)``."""
        with torch.no_grad():
            value = self.log_prob(z, context)
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.far_log_prob(z, context).sum(), z)
        return value, gradient

    def require_fitted(self) -> None:
        """Check that the density was fitted or loaded.

        Raises:
            DensityError: it was not.
        """
        if not self.fitted:
            raise DensityError(
                f"expected a {type(self).__name__} that was fitted, got a new one; call fit, or load one"
            )

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.fitted = True

    def scene_of(self, first: Any) -> Tensor:
        """Return the features ``(B, k)`` of the first observations of episodes; ``k = 0`` here.

        Args:
            first: a batch of observations, an array ``(B, ...)`` or a dict of such arrays.
        """
        while isinstance(first, Mapping | tuple):
            first = next(iter(first.values())) if isinstance(first, Mapping) else first[0]
        return torch.zeros(len(first), 0)

    def context_of(self, scene: Tensor, commands: np.ndarray[Any, Any]) -> Tensor | None:
        """Return the context of features (`scene_of`) and last commands ``(B, commands)``; None if there is none."""
        return None

    def allocate(self, points: int) -> None:
        """Allocate the buffers whose size is the number of stored data points; there are none here."""

    @property
    def points(self) -> int:
        """Number of stored data points; 0 for a family that stores none."""
        return 0

    @classmethod
    def least_size(cls, dim: int, context: int, config: Any) -> int:
        """Return a lower bound of the number of values in all tensors of a density, without allocating them.

        Only a family that cannot be built on torch's device ``meta`` overrides it.
        """
        return 0

    def standardise(self, z: Tensor) -> None:
        """Set mean and spread to those of data ``(N, dim)``.

        Raises:
            DensityError: the data have another dimension, fewer than two different states, or one that is not finite.
        """
        if z.ndim != 2 or z.shape[1] != self.dim:
            raise DensityError(f"states (N, {self.dim}) were expected, got {tuple(z.shape)}")
        if not torch.isfinite(z).all():
            raise DensityError("states must be finite, got NaN or infinity")
        spread = (z - z.mean(0)).pow(2).sum(1).mean().sqrt() if len(z) else torch.tensor(0.0)
        if not spread > 1e-9:
            raise DensityError(
                f"a density needs at least two different states, got {len(z)} that are all the same; record more"
            )
        self.fitted = True
        self.mean.copy_(z.mean(0))
        self.spread.copy_(spread / math.sqrt(self.dim))

    def fit(
        self,
        z: Tensor | NDArray[Any],
        context: Tensor | NDArray[Any] | None = None,
        *,
        seed: int = 0,
        callbacks: Iterable[TrainingCallback] = (),
    ) -> TrainingReport:
        """Maximise the mean log density of data.

        Args:
            z: data ``(N, dim)``, a tensor or an array of numbers.
            context: their contexts ``(N, context)``; None for an unconditional density.
            seed: seed of the batches.
            callbacks: receive reports after every update.

        Returns:
            The report of the training.

        Raises:
            DensityError: the data or contexts have another shape, there are fewer than two different states, or one is
                not finite.
        """
        z = as_floats("states", z)
        context = z.new_zeros(len(z), 0) if context is None else as_floats("contexts", context)
        if context.shape != (len(z), self.context):
            raise DensityError(f"contexts {(len(z), self.context)} were expected, got {tuple(context.shape)}")
        self.standardise(z)
        return self._learn(z, context, seed, callbacks)

    def _learn(self, z: Tensor, context: Tensor, seed: int, callbacks: Iterable[TrainingCallback]) -> TrainingReport:
        return train_learner(DensityLearner(self, z, context), seed=seed, callbacks=callbacks)


def as_floats(name: str, values: Any) -> Tensor:
    """Return a tensor or an array of real numbers as a float32 tensor.

    Raises:
        DensityError: it is something else.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
        values = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    if not isinstance(values, Tensor) or values.is_complex() or values.dtype == torch.bool:
        found = getattr(values, "dtype", type(values).__name__)
        raise DensityError(f"{name} must be a tensor or an array of real numbers, got {found}")
    return values.float()


class DensityLearner(nn.Module):
    """Train a density by maximum likelihood: minimise ``−E log ρ(z | c)``.

    Args:
        network: the density, standardised to the data.
        z: data ``(N, dim)``.
        context: their contexts ``(N, context)``.
    """

    def __init__(self, network: Density, z: Tensor, context: Tensor) -> None:
        super().__init__()
        self.network = network
        self._z, self._context = z, context

    def stages(self) -> list[Stage]:
        """Return the one stage, with all parameters of the density."""
        optim = self.network.config.optim
        parameters = list(self.network.parameters())
        return [Stage("density", optim.steps, self.loss, parameters, optim.batch_size, optim.lr)]

    def loss(self, generator: torch.Generator) -> Loss:
        """Return the mean negative log density of a batch."""
        size = self.network.config.optim.batch_size
        chosen = torch.randint(len(self._z), (size,), generator=generator)
        return -self.network.log_prob(self._z[chosen], self._context[chosen]).mean(), {}
