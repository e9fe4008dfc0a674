"""Benchmark of effective dimensions: formula against rank, critical points counted, redundancy of shipped networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .instrument import InstrumentRun, register_instrument

if TYPE_CHECKING:
    from ....representations.analysis.dimension.attention_geometry import AttentionArchitecture
    from ....representations.analysis.dimension.convolution_geometry import ConvolutionArchitecture


@dataclass(frozen=True)
class DimensionBenchmarkConfig:
    """Set the size of the benchmark; the defaults are those of the full one.

    Attributes:
        architectures: random architectures of each family; a quarter of them with one token.
        max_parameters: parameters of random attention networks; an exact rank takes about a hundredth of a second then.
        wide_filters: whether critical points are also counted where that takes more than a few seconds.
        backbone_parameters: backbones without a copy this narrow are left out.
        widths: widths of the softmax attention of the figure.
    """

    architectures: int = 1000
    max_parameters: int = 150
    wide_filters: bool = True
    backbone_parameters: int = 3000
    widths: tuple[int, ...] = tuple(range(3, 11))


QUICK = DimensionBenchmarkConfig(architectures=120, wide_filters=False, backbone_parameters=1000)
"""Size of the quick benchmark."""


@register_instrument("dimension")
def run_dimension(run: InstrumentRun) -> dict[str, float | str]:
    """Count architectures whose formula is the rank, count critical points, and measure the redundancy of networks."""
    config = QUICK if run.quick else DimensionBenchmarkConfig()
    count, most = config.architectures, config.max_parameters
    generator = np.random.default_rng((run.seed, 19))
    attention = [random_attention(generator, (2, 3), max_parameters=most) for _ in range(count)]
    exceptions = [random_attention(generator, (1,), max_parameters=most) for _ in range(count // 4)]
    softmax = [random_attention(generator, (2, 3), normalised=True, max_parameters=most) for _ in range(count)]
    convolutions = [random_convolution(generator) for _ in range(count)]
    values: dict[str, float | str] = {}
    families: dict[str, list[AttentionArchitecture] | list[ConvolutionArchitecture]] = {
        "lightning attention": attention,
        "lightning attention, one token": exceptions,
        "softmax attention": softmax,
        "polynomial convolution": convolutions,
    }
    for row, architectures in families.items():
        values |= {f"{row}: {column}": value for column, value in compare_many(architectures, run.seed).items()}
    values |= count_points(run.seed, config.wide_filters)
    values |= measure_redundancy(run.seed, config.backbone_parameters)
    values |= reproduce_softmax_figure(run.figure("softmax") if run.draws else None, run.seed, config.widths)
    return values


def random_attention(
    generator: np.random.Generator, tokens: tuple[int, ...], normalised: bool = False, max_parameters: int = 150
) -> AttentionArchitecture:
    """Return an attention network of one to three layers, with widths up to 6 and inner dimensions up to 4.

    Args:
        generator: source of random numbers.
        tokens: numbers of tokens to choose from.
        normalised: whether the scores go through a softmax.
        max_parameters: largest number of parameters; networks with more are drawn again.
    """
    from ....representations.analysis.dimension.attention_geometry import AttentionArchitecture

    while True:
        layers = int(generator.integers(1, 4))
        dims = tuple(int(each) for each in generator.integers(1, 7, layers + 1))
        inner = tuple(int(each) for each in generator.integers(1, 5, layers))
        found = AttentionArchitecture(dims, inner, int(generator.choice(tokens)), normalised)
        if found.parameters <= max_parameters:
            return found


def random_convolution(generator: np.random.Generator) -> ConvolutionArchitecture:
    """Return a polynomial convolutional network of one to four layers: filters up to 6, powers 2 to 5, strides to 3.

    Args:
        generator: source of random numbers.
    """
    from ....representations.analysis.dimension.convolution_geometry import ConvolutionArchitecture

    layers = int(generator.integers(1, 5))
    filters = tuple(int(each) for each in generator.integers(1, 7, layers))
    strides = tuple(int(each) for each in generator.integers(1, 4, layers))
    return ConvolutionArchitecture(filters, int(generator.integers(2, 6)), strides, int(generator.integers(1, 4)))


def compare_many(
    architectures: list[AttentionArchitecture] | list[ConvolutionArchitecture], seed: int
) -> dict[str, float | str]:
    """Return how many architectures agree, and the first three that no formula explains.

    Args:
        architectures: of one family.
        seed: seed of parameters and inputs.
    """
    from ....representations.analysis.dimension.dimension_report import compare_dimension

    reports = [compare_dimension(each, seed) for each in architectures]
    wrong = [each for each, report in zip(architectures, reports, strict=True) if report.rank != report.derived]
    return {
        "architectures": len(reports),
        "published formula = rank": sum(report.agrees for report in reports),
        "known exceptions": sum(not report.agrees and report.rank == report.derived for report in reports),
        "derived formula = rank": sum(report.rank == report.derived for report in reports),
        "unexplained": "; ".join(map(str, wrong[:3])) or "none",
    }


def count_points(seed: int, wide_filters: bool) -> dict[str, float | str]:
    """Return numbers of critical points by formula and by a Gröbner basis.

    Args:
        seed: seed of the data.
        wide_filters: whether to count cases that take more than a few seconds.
    """
    from ....representations.analysis.dimension.convolution_geometry import (
        ConvolutionArchitecture,
        convolution_critical_points,
        segre_veronese_ed_degree,
    )
    from ....representations.analysis.dimension.critical_points import (
        count_network_critical_points,
        count_segre_veronese_critical_points,
    )

    values: dict[str, float | str] = {}
    for name, dims, degrees in [
        ("P1 x P1", (1, 1), (1, 1)),
        ("twisted cubic", (1,), (3,)),
        ("P2 x P1", (2, 1), (1, 1)),
    ]:
        values[f"{name}: critical points, formula"] = segre_veronese_ed_degree(dims, degrees)
        values[f"{name}: critical points, counted"] = count_segre_veronese_critical_points(dims, degrees, seed)
    networks = [((2, 1), 3), ((2, 1, 1), 2), ((3, 1), 2), ((2, 2), 2)] + [((2, 2), 3), ((2, 3), 2)] * wide_filters
    for filters, power in networks:
        architecture = ConvolutionArchitecture(filters, power)
        row = f"filters {filters}, power {power}"
        values[f"{row}: critical points, formula"] = convolution_critical_points(architecture)
        values[f"{row}: critical points, counted"] = count_network_critical_points(architecture, seed)
    return values


def measure_redundancy(seed: int, max_parameters: int) -> dict[str, float | str]:
    """Return parameters, effective dimension and redundancy of narrow backbones and of pose heads.

    Args:
        seed: seed of weights and inputs.
        max_parameters: backbones without a copy this narrow are left out.
    """
    from ....representations.analysis.dimension.dimension_report import pose_encoders, pose_head_dimension
    from ....representations.analysis.dimension.jacobian_rank import jacobian_rank
    from ....representations.analysis.dimension.module_derivatives import DimensionError
    from ....representations.analysis.dimension.narrow_copies import narrow_to
    from ....representations.encoders.backbones import BACKBONES, make_backbone

    found = {}
    for name in BACKBONES.names():
        try:
            copy, divisor = narrow_to(make_backbone(name, (32, 32, 3)), (3, 32, 32), max_parameters, seed)
        except DimensionError:
            continue
        found[f"{name}, widths / {divisor}"] = jacobian_rank(copy, (3, 32, 32), seed=seed)
    for name in pose_encoders():
        for group in ("SO2", "SO3"):
            found[f"head of {name}, {group}"] = pose_head_dimension(name, group, seed=seed)
    values: dict[str, float | str] = {}
    for row, each in found.items():
        values[f"{row}: parameters"] = each.parameters
        values[f"{row}: effective dimension"] = each.rank
        values[f"{row}: redundancy"] = each.redundancy
        values[f"{row}: without effect"] = each.inactive
        values[f"{row}: clear"] = "yes" if each.clear and each.stable else "lower bound"
    return values


def reproduce_softmax_figure(path: Path | None, seed: int, widths: tuple[int, ...]) -> dict[str, float | str]:
    """Return dimensions of softmax attention with two layers, three tokens and ``a = 2``, by width.

    Source: figure 3 of Henry, Marchetti, Kohn, ICLR 2025 (arXiv:2408.17221).

    Args:
        path: file of the figure; none is drawn if None.
        seed: seed of weights and inputs.
        widths: widths of all layers; 3 to 10 in the paper.
    """
    from ....representations.analysis.dimension.attention_geometry import AttentionArchitecture
    from ....representations.analysis.dimension.dimension_report import compare_dimension

    reports = [
        compare_dimension(AttentionArchitecture((width,) * 3, (2, 2), tokens=3, normalised=True), seed)
        for width in widths
    ]
    if path is not None:
        draw_dimensions(path, list(widths), [report.parameters for report in reports], reports)
    return {
        f"softmax, width {width}: {column}": value
        for width, report in zip(widths, reports, strict=True)
        for column, value in (("published formula", report.formula), ("rank", report.rank))
    }


def draw_dimensions(path: Path, widths: list[int], parameters: list[int], reports: list[Any]) -> None:
    """Draw parameters, formula and rank against the width.

    Args:
        path: PNG file.
        widths: widths of the layers.
        parameters: numbers of parameters.
        reports: formula and rank for each width.
    """
    from ...reports.figure_registry import save_figure

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot(widths, parameters, color="0.6", label="parameters")
        axes.plot(widths, [each.formula for each in reports], label="formula")
        axes.plot(widths, [each.rank for each in reports], "o", label="rank of the Jacobian")
        axes.set_xlabel("width d")
        axes.set_ylabel("dimension")
        axes.legend(frameon=False)

    save_figure(path, draw, (4.8, 3.2))
