"""Receipts: the measured effect of a perturbation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Receipt:
    """Hold the measured effect of a perturbation in one episode.

    Attributes:
        name: quantity that was measured, such as ``"distance of torso"``.
        value: its size, 0 or more.
        unit: its unit, such as ``"m"``.
        least: smallest value that counts as an effect.
        steps: number of steps of the perturbation before it was measured.

    Example:
        >>> receipt = Receipt("distance of torso", 0.02, "m", least=1e-6, steps=5)
        >>> str(receipt), receipt.has_effect
        ('distance of torso: 0.02 m', True)
    """

    name: str
    value: float
    unit: str
    least: float
    steps: int

    @property
    def has_effect(self) -> bool:
        """Return whether the perturbation did anything that can be measured."""
        return self.value >= self.least

    def __str__(self) -> str:
        return f"{self.name}: {self.value:.3g} {self.unit}"
