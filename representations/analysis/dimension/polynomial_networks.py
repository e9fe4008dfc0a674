"""Jacobians of polynomial networks at random points of a finite field: exact ranks of attention and convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from .attention_geometry import AttentionArchitecture
from .convolution_geometry import ConvolutionArchitecture
from .modular_arithmetic import (
    Integers,
    ModularDual,
    modular_rank,
    random_inputs,
    random_parameters,
    random_prime,
)

MAX_BYTES = 2**31
"""Largest array of derivatives, in bytes, that is allocated."""


def exact_rank(architecture: AttentionArchitecture | ConvolutionArchitecture, seed: int = 0) -> int:
    """Return the dimension of the function space of a polynomial network: the generic rank of its Jacobian, exactly.

    The rank is computed modulo a random prime at random parameters and inputs. It is never too large. It is too small
    with a probability of about 1e-6. Inputs are doubled until the rank stays the same.

    Args:
        architecture: attention without softmax, or convolutions.
        seed: seed of prime, parameters and inputs.

    Raises:
        ValueError: the attention is normalised, which is not polynomial, or the Jacobian is too large for the memory.

    Example:
        >>> exact_rank(AttentionArchitecture((4, 4), (2,)))
        27
        >>> exact_rank(ConvolutionArchitecture((3, 2), 2))
        4
    """
    generator = np.random.default_rng(seed)
    prime = random_prime(generator)
    jacobian, outputs = _jacobian_of(architecture, prime, generator)
    count = math.ceil(architecture.parameters / outputs)
    rank = modular_rank(jacobian(count), prime)
    while True:
        count *= 2
        before, rank = rank, modular_rank(jacobian(count), prime)
        if rank == before:
            return rank


def _jacobian_of(
    architecture: AttentionArchitecture | ConvolutionArchitecture, prime: int, generator: np.random.Generator
) -> tuple[Callable[[int], Integers], int]:
    """Return the Jacobian as a function of the number of inputs, and the number of outputs of one input."""
    _require_small(8 * architecture.parameters**2, architecture.parameters)
    if isinstance(architecture, ConvolutionArchitecture):
        weights = random_parameters([(size, 1) for size in architecture.filters], prime, generator)
        shape, outputs, width = (architecture.input_length, 1), architecture.outputs, architecture.input_length

        def run(inputs: ModularDual) -> ModularDual:
            return convolve_modular(architecture, weights, inputs)
    else:
        if architecture.normalised:
            raise ValueError("attention with softmax is not polynomial; use jacobian_rank of a module in float64")
        weights = random_parameters(_attention_shapes(architecture), prime, generator)
        shape, outputs = (architecture.dims[0], architecture.tokens), architecture.dims[-1] * architecture.tokens
        width = max(architecture.dims) * architecture.tokens

        def run(inputs: ModularDual) -> ModularDual:
            return attend_modular(weights, inputs)

    def jacobian(count: int) -> Integers:
        _require_small(8 * count * architecture.parameters * width, architecture.parameters)
        return run(random_inputs(count, shape, prime, generator)).jacobian()

    return jacobian, outputs


def _require_small(size: int, parameters: int) -> None:
    """Check the memory of an array of derivatives, in bytes.

    Raises:
        ValueError: it is too large.
    """
    if size > MAX_BYTES:
        raise ValueError(
            f"expected derivatives of at most {MAX_BYTES / 2**30:.0f} GiB, got {size / 2**30:.1f} GiB for {parameters} "
            "parameters; choose a smaller architecture"
        )


def _attention_shapes(architecture: AttentionArchitecture) -> list[tuple[int, int]]:
    shapes = []
    for (before, after), inner in zip(pairwise(architecture.dims), architecture.inner, strict=True):
        shapes += [(inner, before), (inner, before), (after, before)]
    return shapes


def attend_modular(weights: list[ModularDual], inputs: ModularDual) -> ModularDual:
    """Return the output of lightning attention modulo a prime, layer by layer ``V X (K X)ᵀ (Q X)``.

    Args:
        weights: query, key and value of the first layer, of the second, and so on.
        inputs: matrices ``(N, d_0, t)``.
    """
    x = inputs
    for query, key, value in zip(weights[::3], weights[1::3], weights[2::3], strict=True):
        x = value @ (x @ ((key @ x).mT @ (query @ x)))
    return x


def convolve_modular(
    architecture: ConvolutionArchitecture, weights: list[ModularDual], inputs: ModularDual
) -> ModularDual:
    """Return the output of a polynomial convolutional network modulo a prime.

    Args:
        architecture: sizes of filters, power, strides.
        weights: filters ``(k_l, 1)``.
        inputs: signals ``(N, input_length, 1)``.
    """
    x = inputs
    for index, (weight, stride) in enumerate(zip(weights, architecture.all_strides, strict=True)):
        if index:
            x = x.power(architecture.power)
        size = weight.value.shape[1]
        length = (x.value.shape[1] - size) // stride + 1
        x = x.windows(np.arange(length)[:, None] * stride + np.arange(size)) @ weight
    return x
