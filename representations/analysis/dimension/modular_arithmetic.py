"""Exact linear algebra over a finite field, vectorised: products, ranks and derivatives modulo a prime.

A rank modulo a prime never exceeds the rank over the rational numbers. At a random point of a random prime field of
order ``p`` the two differ with probability at most ``degree / p`` (Schwartz, *Fast probabilistic algorithms for
verification of polynomial identities*, 1980), about 1e-7 here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

LARGEST_PRIME = 2**31
"""Primes are smaller, so that a product of two residues fits into 63 bits."""
_LOW_BITS = 16
_LONGEST_SUM = 2**15
"""Terms of a sum of products of 16-bit and 31-bit numbers that fit into 63 bits, with a bit to spare."""


def random_prime(generator: np.random.Generator) -> int:
    """Return a random prime between 2³⁰ and 2³¹.

    Args:
        generator: source of random numbers.

    Example:
        >>> 2**30 < random_prime(np.random.default_rng(0)) < 2**31
        True
    """
    from sympy import nextprime

    return int(nextprime(int(generator.integers(2**30, 2**31 - 2**10))))


def require_prime(prime: int) -> int:
    """Return the prime, after a check.

    Raises:
        ValueError: it is no odd prime below 2³¹.
    """
    from sympy import isprime

    if not 2 < prime < LARGEST_PRIME or not isprime(prime):
        raise ValueError(f"expected an odd prime below 2**31, got {prime}; take one from random_prime")
    return prime


def modular_matmul(a: Integers, b: Integers, prime: int) -> Integers:
    """Return ``a @ b`` modulo a prime, exactly; leading axes broadcast.

    The left factor is split into its low 16 bits and the rest, so that no sum overflows.

    Args:
        a: residues ``(..., m, k)`` int64 in [0, prime).
        b: residues ``(..., k, n)`` int64 in [0, prime).
        prime: below 2³¹.

    Returns:
        Residues ``(..., m, n)``.

    Raises:
        ValueError: the inner length ``k`` is above 2¹⁵, for which sums could overflow.

    Example:
        >>> modular_matmul(np.array([[2, 3]]), np.array([[4], [5]]), 7)
        array([[2]])
    """
    if a.shape[-1] > _LONGEST_SUM:
        raise ValueError(f"expected an inner length of at most {_LONGEST_SUM}, got {a.shape[-1]}")
    high = np.matmul(a >> _LOW_BITS, b) % prime
    low = np.matmul(a & (2**_LOW_BITS - 1), b) % prime
    product: Integers = ((high << _LOW_BITS) + low) % prime
    return product


def modular_rank(matrix: Integers, prime: int) -> int:
    """Return the rank of a matrix modulo a prime, by Gaussian elimination.

    Args:
        matrix: integers ``(m, n)``.
        prime: below 2³¹.

    Raises:
        ValueError: the array is no matrix of integers, or the number is no such prime.

    Example:
        >>> modular_rank(np.array([[1, 2], [3, 6]]), 7), modular_rank(np.array([[1, 2], [3, 13]]), 7)
        (1, 1)
        >>> modular_rank(np.array([[1, 2], [3, 13]]), 11)
        2
    """
    require_prime(prime)
    given = np.asarray(matrix)
    if given.ndim != 2 or not np.issubdtype(given.dtype, np.integer):
        raise ValueError(f"expected a matrix of integers, got {given.dtype} of shape {given.shape}")
    if given.shape[0] < given.shape[1]:
        given = given.T
    rest = given.astype(np.int64) % prime
    rank = 0
    for column in range(rest.shape[1]):
        below = np.flatnonzero(rest[rank:, column])
        if not len(below):
            continue
        pivot = rank + int(below[0])
        rest[[rank, pivot]] = rest[[pivot, rank]]
        rest[rank] = rest[rank] * pow(int(rest[rank, column]), -1, prime) % prime
        rows = rank + below[below > 0]  # the old first row, if it was swapped, has a zero in this column
        rest[rows, column:] = (rest[rows, column:] - rest[rows, column, None] * rest[rank, column:]) % prime
        rank += 1
    return rank


@dataclass(frozen=True)
class ModularDual:
    """Residues with their derivatives by parameters: the numbers ``x + Σ_i ẋ_i ε_i`` with ``ε_i ε_j = 0``.

    Attributes:
        value: residues ``(N, rows, columns)``.
        tangent: derivatives ``(parameters, N, rows, columns)``; axes of length 1 broadcast.
        prime: the modulus.
    """

    value: Integers
    tangent: Integers
    prime: int

    def __matmul__(self, other: ModularDual) -> ModularDual:
        """Return the matrix product, with ``d(XY) = dX Y + X dY``."""
        value = modular_matmul(self.value, other.value, self.prime)
        left = modular_matmul(self.tangent, other.value, self.prime)
        right = modular_matmul(self.value, other.tangent, self.prime)
        return ModularDual(value, (left + right) % self.prime, self.prime)

    @property
    def mT(self) -> ModularDual:  # noqa: N802 - the name of NumPy
        """Return the transpose of the matrices."""
        return ModularDual(self.value.swapaxes(-1, -2), self.tangent.swapaxes(-1, -2), self.prime)

    def power(self, exponent: int) -> ModularDual:
        """Return the elementwise power, with ``d(x^r) = r x^(r−1) dx``; the exponent is at least 1."""
        lower = np.ones_like(self.value)
        for _ in range(exponent - 1):
            lower = lower * self.value % self.prime
        slope = exponent * lower % self.prime
        return ModularDual(lower * self.value % self.prime, slope * self.tangent % self.prime, self.prime)

    def windows(self, index: NDArray[np.int64]) -> ModularDual:
        """Return the entries of columns of length n at an index ``(out, k)``: matrices ``(N, out, k)``."""
        return ModularDual(self.value[..., index, 0], self.tangent[..., index, 0], self.prime)

    def jacobian(self) -> Integers:
        """Return the derivatives as a matrix ``(N·rows·columns, parameters)``."""
        tangent = np.broadcast_to(self.tangent, (len(self.tangent), *self.value.shape))
        return np.ascontiguousarray(tangent.reshape(len(tangent), -1).T)


def random_parameters(
    shapes: Sequence[tuple[int, int]], prime: int, generator: np.random.Generator
) -> list[ModularDual]:
    """Return random matrices whose entries are the parameters by which derivatives are taken.

    Args:
        shapes: rows and columns of each matrix.
        prime: the modulus.
        generator: source of random numbers.
    """
    count = sum(rows * columns for rows, columns in shapes)
    matrices, begin = [], 0
    for rows, columns in shapes:
        tangent = np.zeros((count, rows * columns), np.int64)
        tangent[np.arange(begin, begin + rows * columns), np.arange(rows * columns)] = 1
        value = generator.integers(0, prime, (1, rows, columns))
        matrices.append(ModularDual(value, tangent.reshape(count, 1, rows, columns), prime))
        begin += rows * columns
    return matrices


def random_inputs(count: int, shape: tuple[int, int], prime: int, generator: np.random.Generator) -> ModularDual:
    """Return random matrices ``(count, *shape)`` that do not depend on the parameters."""
    value = generator.integers(0, prime, (count, *shape))
    return ModularDual(value, np.zeros((1, 1, *shape), np.int64), prime)
