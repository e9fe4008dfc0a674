"""The report of an evaluation under perturbation, one self-contained page: figures, curves, film and tables."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .html_page import picture, section, table, tiles, video, write_page

if TYPE_CHECKING:
    from ...agents.evaluation.perturbation_report import Condition, PerturbationReport
    from ...agents.evaluation.perturbation_summary import ConditionSummary


def write_perturbation_page(
    path: Path,
    report: PerturbationReport,
    *,
    film: Path | None = None,
    notes: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
) -> Path:
    """Write the report as an HTML page, and return its path.

    Args:
        path: the HTML file.
        report: what was measured.
        film: an MP4 file to embed; None for none.
        notes: sentences to show below the headline, such as why there is no film.
        settings: further rows of the table of settings, such as the command and the commit.
    """
    sections = [_headline(report), *_notes([*report.notes, *notes])]
    sections += [*_curves(report), _conditions(report), *_comparisons(report), *_film(film), *_recovery(report)]
    sections.append(_settings(report, settings or {}))
    lead = f"{report.episodes} paired episodes under {len(report.conditions) - 1} perturbations, from the same states"
    return write_page(path, f"equiact · perturb · {report.env}", lead, sections)


def percent(value: float) -> str:
    """Return a share as a percentage."""
    return f"{100 * value:.1f}&nbsp;%"


def _bounds(interval: tuple[float, float], scale: float = 1.0) -> str:
    low, high = (f"{scale * bound:.3g}".replace("-", "−") for bound in interval)
    return f"{low} to {high}"


def _with_bounds(value: float | None, interval: tuple[float, float] | None) -> str:
    return _number(value) + ("" if interval is None else f"<br><small>{_bounds(interval)}</small>")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}".replace("-", "−")


def _headline(report: PerturbationReport) -> str:
    own = [summary for summary in report.summaries() if summary.policy == "policy"]
    clean, perturbed = own[0], own[1:]
    titles = {condition.name: html.escape(condition.title) for condition in report.conditions}
    if clean.success is not None:
        worst = min(perturbed, key=lambda summary: summary.success or 0.0)
        figures = [
            ("Clean", percent(clean.success), "of episodes succeed without a perturbation"),
            ("Worst", percent(worst.success or 0.0), f"of the same episodes succeed under {titles[worst.condition]}"),
        ]
    else:
        worst = min(perturbed, key=lambda summary: summary.return_mean)
        figures = [
            ("Clean", _number(clean.return_mean), "is the mean return without a perturbation"),
            ("Worst", _number(worst.return_mean), f"is the mean return under {titles[worst.condition]}"),
        ]
    told = sum(summary.recovered + summary.never_recovered for summary in perturbed)
    if told:
        share = percent(sum(summary.recovered for summary in perturbed) / told)
        figures.append(("Recovered", share, f"of {told} perturbed episodes recovered"))
    comparisons = report.comparisons()
    if comparisons and comparisons[0].harmed is not None:
        figures.append(("Harmed", str(comparisons[0].harmed), "clean episodes succeed with the other policy only"))
        rescued = sum(each.rescued or 0 for each in comparisons[1:])
        figures.append(("Rescued", str(rescued), "perturbed episodes succeed with this policy only"))
    return tiles(figures)


def _notes(notes: Sequence[str]) -> Iterator[str]:
    if notes:
        yield section("Notes", "", "".join(f"<p>{html.escape(note)}</p>" for note in notes))


def _curves(report: PerturbationReport) -> Iterator[str]:
    """Yield sections with the curves of success, if it is known, and of the return."""
    panels = _panels(report)
    if not panels:
        return
    for kind in ("return",) if report.summaries()[0].success is None else ("success", "return"):
        method = "Wilson" if kind == "success" else "BCa bootstrap"
        lead = f"Bars: {method} intervals at 95 %. Grey band: the clean episodes."
        drawn = "".join(_curve_picture(report, label, curves, kind) for label, curves in panels.items())
        yield section(f"{kind.capitalize()} against magnitude", lead, f'<div style="{_GRID}">{drawn}</div>')


_GRID = "display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr))"


def _curve_picture(report: PerturbationReport, label: str, curves: list[str], kind: str) -> str:
    """Return a small picture, which a phone shows without scrolling."""

    def draw(figure: Figure) -> None:
        _draw_curves(figure, report, label, curves, kind)

    lines = len(curves) * len(report.roles)
    drawn = picture(draw, 3.2 + 0.3 * lines, _alt(report, curves, kind), width=4.8)
    drawn = drawn.replace('class="wide"', 'style="min-width: 0"')
    return drawn.replace("<img ", '<img style="min-width: 0; max-width: 36rem" ')


def _panels(report: PerturbationReport) -> dict[str, list[str]]:
    """Return the curves with at least two magnitudes, by the label of their axis."""
    curves: dict[str, list[Condition]] = {}
    for condition in report.conditions:
        if condition.magnitude is not None:
            curves.setdefault(condition.curve, []).append(condition)
    panels: dict[str, list[str]] = {}
    for name, members in curves.items():
        if len({condition.magnitude for condition in members}) > 1:
            unit = members[0].unit or "no unit, " + name.partition(":")[0]
            panels.setdefault(f"magnitude ({unit})", []).append(name)
    return panels


def _alt(report: PerturbationReport, curves: list[str], kind: str) -> str:
    shown = {condition.name for condition in report.conditions if condition.curve in curves}
    figures = "; ".join(
        f"{each.condition} ({each.policy}): {_value(each, kind)[0]:.3g}"
        for each in report.summaries()
        if each.condition in shown
    )
    return f"Mean {kind} under each condition: {figures}."


def _value(summary: ConditionSummary, kind: str) -> tuple[float, float, float]:
    """Return the value with its bounds, which are those of the value itself for a single episode."""
    if kind == "success" and summary.success is not None and summary.success_interval is not None:
        return summary.success, *summary.success_interval
    return summary.return_mean, *(summary.return_interval or (summary.return_mean, summary.return_mean))


def _draw_curves(figure: Figure, report: PerturbationReport, label: str, curves: list[str], kind: str) -> None:
    summaries = {(each.condition, each.policy): each for each in report.summaries()}
    axes, ticks = figure.subplots(), set[float]()
    for role, style in zip(report.roles, ("-", "--"), strict=False):
        clean = _value(summaries["clean", role], kind)
        axes.axhspan(*clean[1:], color="grey", alpha=0.15, linewidth=0)
        axes.axhline(clean[0], color="grey", linewidth=1, linestyle=style)
        for index, curve in enumerate(curves):
            members = [each for each in report.conditions if each.curve == curve and each.magnitude is not None]
            members.sort(key=lambda condition: condition.magnitude or 0.0)
            values = np.array([_value(summaries[each.name, role], kind) for each in members])
            ticks |= {each.magnitude for each in members if each.magnitude is not None}
            name = _wrapped(curve + (", other policy" if role == "compare" else ""))
            _draw_curve(axes, [each.magnitude for each in members], values, style, f"C{index}", name)
    axes.set(xlabel=label, ylabel=kind)
    if len(ticks) < 9:
        axes.set_xticks(sorted(ticks))
    if kind == "success":
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_formatter("{x:.0%}")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=1, fontsize=8)


def _wrapped(text: str, width: int = 48) -> str:
    return "\n".join(textwrap.wrap(text.replace(",", ", "), width))


def _draw_curve(axes: Axes, at: Sequence[Any], values: NDArray[Any], style: str, colour: str, name: str) -> None:
    value, low, high = values.T
    spread = np.stack([value - low, high - value]).clip(0)  # rounding may put a bound a hair on the wrong side
    axes.errorbar(at, value, spread, fmt=f"o{style}", color=colour, capsize=3, markersize=5, label=name)


def _conditions(report: PerturbationReport) -> str:
    lead = (
        "All episodes start from the same states under every condition. Lost: the clean episode succeeds, the "
        "perturbed one fails. Won: the reverse. p: exact McNemar test. Receipt: the median effect, "
        "measured against the unperturbed twin."
    )
    has_success = report.summaries()[0].success is not None
    head = ["Condition", *(["Success"] if has_success else []), "Return", "Change of return"]
    head += ["Lost / won"] if has_success else []
    head += ["Receipt", "Reached"]
    names = _row_names(report)
    rows = ((names[each.condition, each.policy], _cells(each, has_success)) for each in report.summaries())
    return section("Conditions", lead, table(head, rows))


def _row_names(report: PerturbationReport) -> dict[tuple[str, str], str]:
    """Return the heading of each row, by condition and policy: names and magnitudes, and smaller the other options."""
    found = {}
    for condition in report.conditions:
        options = "; ".join(text.partition(":")[2] for text in condition.curve.split("; "))
        detail = f"<br><small>{_breakable(options)}</small>" if options.strip("; ") else ""
        for role, addition in (("policy", ""), ("compare", ", other policy")):
            found[condition.name, role] = f"{html.escape(condition.title)}{addition}{detail}"
    return found


def _breakable(text: str) -> str:
    """Return a text as HTML that may break after each colon and comma."""
    return re.sub(r"([:,])", r"\1<wbr>", html.escape(text))


def _cells(summary: ConditionSummary, has_success: bool) -> list[str]:
    is_clean = summary.return_change is None
    cells = []
    if has_success and summary.success is not None and summary.success_interval is not None:
        cells.append(f"{percent(summary.success)}<br><small>{_bounds(summary.success_interval, 100)}</small>")
    cells.append(_with_bounds(summary.return_mean, summary.return_interval))
    cells.append("–" if is_clean else _with_bounds(summary.return_change, summary.return_change_interval))
    if has_success:
        cells.append(
            "–" if is_clean else f"{summary.lost} / {summary.won}<br><small>p {_p_value(summary.p_value)}</small>"
        )
    receipts = (
        f"{each.median:.3g}<br><small>{html.escape(each.unit)}{'' if each.has_effect else ' (no effect)'}</small>"
        for each in summary.receipts
    )
    return [*cells, "<br>".join(receipts) or "–", "–" if is_clean else f"{summary.reached} of {summary.episodes}"]


def _p_value(value: float | None) -> str:
    return "–" if value is None else "&lt; 0.0001" if value < 1e-4 else f"{value:.4f}"


def _comparisons(report: PerturbationReport) -> Iterator[str]:
    comparisons = report.comparisons()
    if not comparisons:
        return
    names = _row_names(report)
    lead = (
        "The policy against the other policy on the same episodes. Harmed: the other policy succeeds, this one fails. "
        "Rescued: the reverse."
    )
    rows = (
        (
            names[each.condition, "policy"],
            [
                "–" if each.harmed is None else str(each.harmed),
                "–" if each.rescued is None else str(each.rescued),
                _p_value(each.p_value),
                _with_bounds(each.return_difference, each.return_difference_interval),
            ],
        )
        for each in comparisons
    )
    head = ["Condition", "Harmed", "Rescued", "p (McNemar)", "Difference of return"]
    yield section("Against the other policy", lead, table(head, rows))


def _recovery(report: PerturbationReport) -> Iterator[str]:
    rows, names = [], _row_names(report)
    for each in report.summaries():
        told = each.recovered + each.never_recovered
        if told:
            never = f"{each.never_recovered} of {told} ({percent(each.never_recovered / told)})"
            rows.append(
                (names[each.condition, each.policy], [_number(each.recovery_median), str(each.recovered), never])
            )
    if rows:
        head = ["Condition", "Median steps", "Recovered", "Never recovered"]
        yield section("Time to recover", html.escape(report.recovery), table(head, rows))


def _film(film: Path | None) -> Iterator[str]:
    if film is not None:
        lead = "The same episodes side by side, from the same states. A red frame marks the perturbation."
        yield section("Paired episodes", lead, video(film, "Clean and perturbed episodes side by side", "large"))


def _settings(report: PerturbationReport, also: Mapping[str, str]) -> str:
    entries = {
        "Environment": report.env,
        "Success": report.success,
        "Episodes": str(report.episodes),
        "Seeds": f"{report.seed} to {report.seed + report.episodes - 1}",
        **also,
    }
    rows = [(html.escape(name), [html.escape(value)]) for name, value in entries.items()]
    return section("Settings", "", table([], rows, "plain"))
