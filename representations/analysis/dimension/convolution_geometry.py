"""Geometry of polynomial convolutional networks: dimension, degree, and number of critical points of a regression.

A network has ``L`` one-dimensional convolutions with one channel, filters ``w_l ∈ R^{k_l}``, and the activation
``x ↦ x^r`` between them. Up to rescaling of the filters it is injective almost everywhere, and its functions are a
linear projection of the Segre–Veronese variety ``P^{k_0−1} × … × P^{k_{L−1}−1}`` of degrees ``r^{L−1−l}``.

Source: Shahverdi, Marchetti, Kohn, *On the Geometry and Optimization of Polynomial Convolutional Networks*, AISTATS
2025 (arXiv:2410.00722).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ...learning.config import ConfigError, check_range


@dataclass(frozen=True)
class ConvolutionArchitecture:
    """Describe a polynomial convolutional network with one channel and without biases or padding.

    Attributes:
        filters: sizes ``(k_0, …, k_{L−1})`` of the filters.
        power: exponent ``r`` of the activation ``x ↦ x^r``, at least 2.
        strides: stride of each layer; 1 for all if empty.
        outputs: number of outputs of the last layer.

    Raises:
        ConfigError: a number is out of range, or there is no layer, or strides and filters differ in number.

    Example:
        >>> ConvolutionArchitecture((3, 2), 2).input_length
        4
    """

    filters: tuple[int, ...]
    power: int = 2
    strides: tuple[int, ...] = ()
    outputs: int = 1

    def __post_init__(self) -> None:
        for name in ("filters", "strides", "outputs"):
            check_range(self, name, at_least=1)
        check_range(self, "power", at_least=2)
        if not self.filters or len(self.strides) not in (0, len(self.filters)):
            raise ConfigError(
                f"expected at least one filter, and a stride for each or for none, got filters {self.filters} and "
                f"strides {self.strides}"
            )

    @property
    def parameters(self) -> int:
        """Return the number ``|k| = Σ k_l`` of parameters."""
        return sum(self.filters)

    @property
    def all_strides(self) -> tuple[int, ...]:
        """Return the stride of each layer."""
        return self.strides or (1,) * len(self.filters)

    @property
    def input_length(self) -> int:
        """Return the length of the input that gives the number of outputs."""
        length = self.outputs
        for size, stride in zip(reversed(self.filters), reversed(self.all_strides), strict=True):
            length = (length - 1) * stride + size
        return length

    @property
    def projective_dims(self) -> tuple[int, ...]:
        """Return the dimensions ``n_l = k_l − 1`` of the projective spaces of filters."""
        return tuple(size - 1 for size in self.filters)

    @property
    def degrees(self) -> tuple[int, ...]:
        """Return the degrees ``δ_l = r^{L−1−l}`` of the function in the filters."""
        return tuple(self.power ** (len(self.filters) - 1 - layer) for layer in range(len(self.filters)))


def convolution_dimension(architecture: ConvolutionArchitecture) -> int:
    """Return the dimension of the function space, ``|k| − L + 1``.

    Source: Shahverdi, Marchetti, Kohn, AISTATS 2025 (arXiv:2410.00722).

    Args:
        architecture: filters and activation.

    Example:
        >>> convolution_dimension(ConvolutionArchitecture((3, 3, 2), 2))
        6
    """
    return architecture.parameters - len(architecture.filters) + 1


def convolution_degree(architecture: ConvolutionArchitecture) -> int:
    """Return the degree of the function space, ``(|k| − L)! Π_l r^{(L−1−l)(k_l−1)} / (k_l − 1)!``.

    It is the number of functions of the space on a generic affine space of complementary dimension, up to scale and
    over the complex numbers.

    Source: Shahverdi, Marchetti, Kohn, AISTATS 2025 (arXiv:2410.00722).

    Args:
        architecture: filters and activation.

    Example:
        >>> convolution_degree(ConvolutionArchitecture((2, 2), 2))
        4
    """
    return segre_veronese_degree(architecture.projective_dims, architecture.degrees)


def convolution_critical_points(architecture: ConvolutionArchitecture) -> int:
    """Return the number of complex critical points of a generic quadratic regression, zero function excluded.

    It bounds the number of real critical points of the squared loss on a generic large data set, whatever the data. It
    is the generic Euclidean-distance degree of the Segre–Veronese variety (`segre_veronese_ed_degree`).

    Source: Shahverdi, Marchetti, Kohn, AISTATS 2025 (arXiv:2410.00722).

    Args:
        architecture: filters and activation.

    Example:
        >>> convolution_critical_points(ConvolutionArchitecture((2, 2), 2))
        14
    """
    return segre_veronese_ed_degree(architecture.projective_dims, architecture.degrees)


def segre_veronese_degree(dims: Sequence[int], degrees: Sequence[int]) -> int:
    """Return the degree of ``P^{n_0} × … × P^{n_{L−1}}`` embedded with degrees ``δ_l``: ``m! Π_l δ_l^{n_l} / n_l!``.

    Args:
        dims: dimensions ``n_l ≥ 0``, with the sum ``m``.
        degrees: degrees ``δ_l ≥ 1``.

    Raises:
        ValueError: the numbers are out of range, or differ in number.

    Example:
        >>> segre_veronese_degree((1, 1), (1, 1)), segre_veronese_degree((1,), (3,))
        (2, 3)
    """
    _require_embedding(dims, degrees)
    value = Fraction(math.factorial(sum(dims)))
    for dim, degree in zip(dims, degrees, strict=True):
        value *= Fraction(degree**dim, math.factorial(dim))
    return int(value)


def segre_veronese_ed_degree(dims: Sequence[int], degrees: Sequence[int]) -> int:
    """Return the generic Euclidean-distance degree of a Segre–Veronese variety.

    ``Σ_{j=0}^m (−1)^j (2^{m+1−j} − 1) (m−j)! Σ_{i_0+…+i_{L−1}=j} Π_l C(n_l+1, i_l) δ_l^{n_l−i_l} / (n_l−i_l)!``, the
    number of complex critical points of the distance from a generic point in a generic quadratic form.

    Source: Draisma, Horobeţ, Ottaviani, Sturmfels, Thomas, *The Euclidean distance degree of an algebraic variety*,
    2016 (arXiv:1309.0049), and Shahverdi, Marchetti, Kohn, AISTATS 2025 (arXiv:2410.00722).

    Args:
        dims: dimensions ``n_l ≥ 0``, with the sum ``m``.
        degrees: degrees ``δ_l ≥ 1``.

    Raises:
        ValueError: the numbers are out of range, or differ in number.

    Example:
        >>> segre_veronese_ed_degree((1, 1), (1, 1)), segre_veronese_ed_degree((1,), (3,))
        (6, 7)
    """
    _require_embedding(dims, degrees)
    total = sum(dims)
    classes = _chern_series(dims, degrees)
    terms = [
        (-1) ** order * (2 ** (total + 1 - order) - 1) * math.factorial(total - order) * classes[order]
        for order in range(total + 1)
    ]
    return int(sum(terms, Fraction(0)))


def _chern_series(dims: Sequence[int], degrees: Sequence[int]) -> list[Fraction]:
    """Return the inner sums of the formula for ``j = 0, …, m``, as the product of one polynomial a factor."""
    product = [Fraction(1)]
    for dim, degree in zip(dims, degrees, strict=True):
        factor = [
            Fraction(math.comb(dim + 1, order) * degree ** (dim - order), math.factorial(dim - order))
            for order in range(dim + 1)
        ]
        longer = [Fraction(0)] * (len(product) + dim)
        for i, left in enumerate(product):
            for j, right in enumerate(factor):
                longer[i + j] += left * right
        product = longer
    return product


def _require_embedding(dims: Sequence[int], degrees: Sequence[int]) -> None:
    """Check dimensions and degrees of a Segre–Veronese variety.

    Raises:
        ValueError: the numbers are out of range, or differ in number.
    """
    if len(dims) != len(degrees) or not dims or min(dims) < 0 or min(degrees) < 1:
        raise ValueError(
            f"expected as many degrees of at least 1 as dimensions of at least 0, got dims {tuple(dims)} and degrees "
            f"{tuple(degrees)}"
        )
