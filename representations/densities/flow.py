"""Normalising flows as densities."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import zuko
from torch import Tensor

from ..learning.config import check_range
from .density import Density, DensityConfig
from .registry import register_density


@dataclass(frozen=True)
class FlowConfig(DensityConfig):
    """Set the hyper-parameters of a `FlowDensity`.

    Attributes:
        transforms: number of autoregressive transformations.
        widths: widths of the hidden layers of each transformation's network.
    """

    transforms: int = 2
    widths: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        check_range(self, "transforms", at_least=1)
        check_range(self, "widths", at_least=1)


@register_density("flow")
class FlowDensity(Density):
    """A neural spline flow: ``log ρ_u(u | c) = log N(f(u; c); 0, I) + log |det ∂f/∂u|``.

    ``f`` is a composition of autoregressive rational-quadratic splines, whose parameters are functions of the context.

    Source: Durkan, Bekasov, Murray and Papamakarios, *Neural spline flows*, NeurIPS 2019; the implementation is zuko's.

    Args:
        dim: number of coordinates of ``z``.
        context: number of coordinates of ``c``; 0 for an unconditional density.
        config: hyper-parameters.

    Example:
        >>> from equiact.representations.learning.config import OptimConfig
        >>> density = FlowDensity(2, config=FlowConfig(optim=OptimConfig(steps=1)))
        >>> report = density.fit(torch.rand(20, 2))
        >>> density.log_prob(torch.zeros(5, 2)).shape
        torch.Size([5])
    """

    config_class = FlowConfig
    config: FlowConfig

    def __init__(self, dim: int, context: int = 0, config: FlowConfig | None = None) -> None:
        super().__init__(dim, context, config)
        with torch.device("cpu"):  # zuko reads the values of its masks, which there are none of on the device meta
            self.flow = zuko.flows.NSF(
                dim, context, transforms=self.config.transforms, hidden_features=self.config.widths
            )

    @classmethod
    def least_size(cls, dim: int, context: int, config: Any) -> int:
        layers = (dim + context, *config.widths, dim)
        return int(config.transforms * sum(one * other for one, other in pairwise(layers)))

    def standardised_log_prob(self, u: Tensor, context: Tensor) -> Tensor:
        value: Tensor = self.flow(context if self.context else None).log_prob(u)
        return value
