"""Number of critical points of a regression, counted by solving the gradient equations over a finite field.

The function is ``s F(a)``: a scale ``s``, and filters with first entry 1 and the other entries ``a``. For generic data
the equations ``s ⟨F, F⟩ = ⟨F, u⟩`` and ``s ⟨F, ∂_i F⟩ = ⟨u, ∂_i F⟩`` have finitely many solutions. All of them are
critical points of ``‖s F(a) − u‖²`` with ``s ≠ 0``: for ``s = 0`` there are more equations than unknowns. A Gröbner
basis counts the solutions, as the dimension of the quotient ring.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np

from .convolution_geometry import ConvolutionArchitecture, convolution_critical_points, segre_veronese_ed_degree
from .modular_arithmetic import random_prime

MAX_POINTS = 25
"""Largest number of critical points that are counted; a Gröbner basis for more takes minutes."""


def count_network_critical_points(architecture: ConvolutionArchitecture, seed: int = 0) -> int:
    """Return the number of complex critical points of a regression with a polynomial convolutional network.

    The loss is ``Σ_i (f_w(x_i) − y_i)²`` with random data modulo a random prime, as many as the Segre–Veronese variety
    has coordinates, and two more. It should equal `convolution_critical_points`.

    Args:
        architecture: sizes of filters, power, strides.
        seed: seed of prime and data.

    Raises:
        ValueError: there are too many critical points to count, or the data are degenerate.

    Example:
        >>> count_network_critical_points(ConvolutionArchitecture((2, 1), 3))
        7
    """
    _require_few(convolution_critical_points(architecture))
    generator = np.random.default_rng(seed)
    prime = random_prime(generator)
    ring, unknowns, filters = _filter_ring(architecture.projective_dims, prime)
    data = _coordinate_count(architecture.projective_dims, architecture.degrees) + 2
    outputs = []
    for _ in range(math.ceil(data / architecture.outputs)):
        signal = [ring(int(value)) for value in generator.integers(0, prime, architecture.input_length)]
        outputs += _convolve(architecture, filters, signal)
    return _count_solutions(ring, unknowns, outputs, prime, generator)


def count_segre_veronese_critical_points(dims: Sequence[int], degrees: Sequence[int], seed: int = 0) -> int:
    """Return the number of critical points of a generic quadratic distance from a Segre–Veronese variety.

    It should equal `segre_veronese_ed_degree`.

    Args:
        dims: dimensions ``n_l ≥ 0`` of the projective spaces.
        degrees: degrees ``δ_l ≥ 1``.
        seed: seed of prime, quadratic form and point.

    Raises:
        ValueError: the numbers are out of range, or there are too many critical points to count.

    Example:
        >>> count_segre_veronese_critical_points((1, 1), (1, 1))
        6
    """
    _require_few(segre_veronese_ed_degree(dims, degrees))
    generator = np.random.default_rng(seed)
    prime = random_prime(generator)
    ring, unknowns, filters = _filter_ring(dims, prime)
    monomials = [
        math.prod(choice, start=ring.one)
        for choice in product(*(_monomials(each, d) for each, d in zip(filters, degrees, strict=True)))
    ]
    mixed = [
        sum((each * int(weight) for each, weight in zip(monomials, weights, strict=True)), ring.zero)
        for weights in generator.integers(0, prime, (len(monomials) + 2, len(monomials)))
    ]
    return _count_solutions(ring, unknowns, mixed, prime, generator)


def quotient_dimension(leading: Sequence[tuple[int, ...]]) -> int:
    """Return the number of monomials that no leading monomial divides: the number of solutions, with multiplicity.

    Args:
        leading: exponents of the leading monomials of a Gröbner basis.

    Raises:
        ValueError: there is none, or infinitely many monomials are left: the solutions are no finite set.

    Example:
        >>> quotient_dimension([(2, 0), (0, 3)])
        6
    """
    if not leading:
        raise ValueError("expected leading monomials of a Gröbner basis, got none")
    variables = len(leading[0])
    for axis in range(variables):
        if not any(sum(each) == each[axis] for each in leading):
            raise ValueError(f"expected finitely many solutions, got a power of no leading monomial in unknown {axis}")
    start = (0,) * variables
    pending = [] if _divided(start, leading) else [start]
    seen = set(pending)
    while pending:
        monomial = pending.pop()
        for axis in range(variables):
            higher = (*monomial[:axis], monomial[axis] + 1, *monomial[axis + 1 :])
            if higher not in seen and not _divided(higher, leading):
                seen.add(higher)
                pending.append(higher)
    return len(seen)


def _divided(monomial: tuple[int, ...], leading: Sequence[tuple[int, ...]]) -> bool:
    return any(all(x >= y for x, y in zip(monomial, each, strict=True)) for each in leading)


def _filter_ring(dims: Sequence[int], prime: int) -> tuple[Any, list[Any], list[list[Any]]]:
    """Return a polynomial ring modulo a prime, its unknowns (the scale is the last), and filters that start with 1."""
    from sympy.polys.domains import GF
    from sympy.polys.orderings import grevlex
    from sympy.polys.rings import ring as polynomial_ring

    names = [f"a{index}" for index in range(sum(dims))]
    ring, *unknowns = polynomial_ring([*names, "s"], GF(prime), grevlex)
    entries = iter(unknowns[:-1])
    return ring, unknowns, [[ring.one, *(next(entries) for _ in range(dim))] for dim in dims]


def _convolve(architecture: ConvolutionArchitecture, filters: list[list[Any]], signal: list[Any]) -> list[Any]:
    """Return the outputs of the network as polynomials in the entries of its filters."""
    for index, (weights, stride) in enumerate(zip(filters, architecture.all_strides, strict=True)):
        if index:
            signal = [each**architecture.power for each in signal]
        length = (len(signal) - len(weights)) // stride + 1
        signal = [
            sum(
                (weight * signal[out * stride + offset] for offset, weight in enumerate(weights[1:], 1)),
                signal[out * stride],
            )
            for out in range(length)
        ]
    return signal


def _monomials(entries: list[Any], degree: int) -> list[Any]:
    return [math.prod(choice) for choice in combinations_with_replacement(entries, degree)]


def _coordinate_count(dims: Sequence[int], degrees: Sequence[int]) -> int:
    """Return the number of monomials of a degree in the entries of each filter."""
    return math.prod(math.comb(dim + degree, dim) for dim, degree in zip(dims, degrees, strict=True))


def _count_solutions(
    ring: Any, unknowns: list[Any], outputs: list[Any], prime: int, generator: np.random.Generator
) -> int:
    """Return the number of critical points of ``Σ_i (s F_i(a) − u_i)²`` for random targets ``u``."""
    from sympy.polys.groebnertools import groebner

    *entries, scale = unknowns
    square = sum((each * each for each in outputs), ring.zero)
    targets = generator.integers(0, prime, len(outputs))
    overlap = sum((each * int(target) for each, target in zip(outputs, targets, strict=True)), ring.zero)
    half = pow(2, -1, prime)
    equations = [scale * square - overlap]
    equations += [scale * square.diff(entry) * half - overlap.diff(entry) for entry in entries]
    basis = groebner(equations, ring)
    return quotient_dimension([each.LM for each in basis])


def _require_few(points: int) -> None:
    """Check that a Gröbner basis can be computed.

    Raises:
        ValueError: there are too many solutions.
    """
    if points > MAX_POINTS:
        raise ValueError(
            f"expected at most {MAX_POINTS} critical points to count, got {points} by the formula; choose smaller "
            "filters, or use the formula"
        )
