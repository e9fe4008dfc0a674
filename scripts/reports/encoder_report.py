"""The report of an encoder that was trained on a data set: one self-contained page, and its figures as PNG files."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import latent_drawings
from .figure_registry import FigureInputs, draw_figures, save_figure
from .html_page import picture, section, table, tiles, write_page

DEFINITIONS = {
    "equivariance_error": "root-mean-square distance of the latent predicted over this many steps from the encoded one",
    "equivariance_ratio": "this error divided by that of predicting no change: 0 is perfect, 1 is useless",
    "hit_rate": "share of trajectories of this many steps whose predicted latent is nearest to its own last image, "
    "among 32",
    "contact_rate": "share of transitions in which the object’s latent moves more than its noise",
    "contact_consistency": "Cohen’s κ of two signs of contact: the object’s latent moves; the agent’s path meets it",
    "object_evidence": "share of the times that the agent met the object in which its latent moved farther than in "
    "nine of ten times that the agent passed by; 0.1: no object was found",
    "object_evidence_p": "p-value that it moves no farther when it is met",
    "passages_met": "times that the agent came near the object, met it and went away",
    "passages_missed": "times that the agent came near the object, missed it and went away",
    "object_still_ratio": "movement of the object’s latent without contact, divided by that with contact",
    "class_separation": "likeness of the classes of one trajectory, minus that of different ones; 0: no difference",
    "displacement_rms": "root-mean-square displacement of a step",
    "displacement_max": "largest displacement of a step",
    "latent_range": "width of the central 95 % of a latent coordinate, averaged over the coordinates",
    "latent_dimension": "number of directions in which the latents vary (participation ratio); 0 is a collapse",
    "held_out_loss": "mean training loss of the first stage on held-out data",
    "agent_rigid_rmse": "distance of the agent’s latent from the ground truth, after the best rigid motion",
    "agent_linear_r2": "R² of a linear probe from the agent’s latent to the ground truth",
}
"""Meaning of the metrics, by name without the number of steps."""
FILES = ("report.html", "curves.png", "latents.png", "predicted_latents.png", "errors.png", "frames.png")
"""Files that `write_encoder_report` may write, beside the figures of the encoder's class."""
NARROW = "min-width:0;max-width:36rem"
"""Style of a figure that is readable at the width of a phone."""
GRID = "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));column-gap:1.25rem"
"""Style of the figures: two beside each other on a wide screen."""
SIZE = (4.2, 3.3)
"""Inches of a figure: narrow, so that it is readable on a phone."""


@dataclass(frozen=True)
class EncoderReport:
    """Content of the report.

    Attributes:
        inputs: the encoder, the held-out data, and what the figures of its class show.
        data: name of the data set.
        history: metrics of the training, for every 50 updates.
        metrics: metrics on the held-out data.
        missing: why other metrics could not be measured.
        warnings: sentences on what was not learned.
        provenance: command, commit and machine.
    """

    inputs: FigureInputs
    data: str
    history: Sequence[dict[str, Any]]
    metrics: Mapping[str, float]
    missing: Sequence[str] = ()
    warnings: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)


def write_encoder_report(folder: Path, report: EncoderReport) -> Path:
    """Write ``report.html`` and the figures into a folder, and return the path of the page."""
    name = type(report.inputs.encoder).registered_name
    grid = f'<div style="{GRID}">{"".join(_figures(folder, report))}</div>'
    sections = [_warnings(report), _headline(report.metrics), grid, _metrics(report), _settings(report)]
    lead = f"The encoder {name}, trained on {report.data} and measured on held-out episodes"
    return write_page(folder / "report.html", f"equiact · {report.data}", lead, sections)


def _warnings(report: EncoderReport) -> str:
    """Return what was not learned, to be read first; nothing if all was."""
    if not report.warnings:
        return ""
    return section("Not learned", "", "".join(f"<p>{html.escape(warning)}</p>" for warning in report.warnings))


def _headline(metrics: Mapping[str, float]) -> str:
    shown = [
        ("equivariance_ratio_1", "Error, 1 step", "of the error of predicting no change"),
        ("equivariance_ratio_10", "Error, 10 steps", "of the error of predicting no change"),
        ("hit_rate_1", "Hits, 1 step", "of predicted latents are nearest to their own image, among 32"),
        ("hit_rate_10", "Hits, 10 steps", "of predicted latents are nearest to their own image, among 32"),
    ]
    present = [(title, f"{100 * metrics[key]:.0f}&nbsp;%", text) for key, title, text in shown if key in metrics]
    return tiles(present)


def _figures(folder: Path, report: EncoderReport) -> Iterator[str]:
    encoder, held_out = report.inputs.encoder, report.inputs.held_out
    errors = latent_drawings.horizon_errors(encoder, held_out)
    drawings = {
        "frames": ("Held-out frames", latent_drawings.draw_frames(held_out), "Frames of the held-out data."),
        "latents": (
            "Latents over time",
            latent_drawings.draw_latents(encoder, held_out),
            "Latents of held-out episodes, dark at the start and light at the end: the first two coordinates of "
            "positions, or two principal components of other latents.",
        ),
        "predicted_latents": (
            "Predicted and encoded latents",
            latent_drawings.draw_predicted_latents(encoder, held_out),
            "Each point is a coordinate of a latent, predicted from an earlier frame by the displacements. A perfect "
            "prediction lies on the line. Colours are coordinates.",
        ),
        "errors": (
            "Error against the number of steps",
            latent_drawings.draw_errors(errors) if errors else None,
            "Distance of predicted latents from encoded ones, beside that of predicting no change.",
        ),
        "curves": (
            "Training",
            latent_drawings.draw_curves(report.history) if report.history else None,
            "Loss of each stage.",
        ),
    }
    for name, (title, draw, caption) in drawings.items():
        path = folder / f"{name}.png"
        path.unlink(missing_ok=True)  # of an earlier training
        if draw is not None:
            save_figure(path, draw, SIZE, 150)
            # The page keeps pictures wide and scrolls them; these are drawn for a narrow screen.
            content = picture(draw, SIZE[1], caption, SIZE[0]).replace("<img ", f'<img style="{NARROW}" ')
            yield section(title, caption, content)
    for figure in draw_figures(folder, report.inputs):
        yield section(figure.name.capitalize(), figure.caption, _embedded(folder / f"{figure.name}.png"))


def _embedded(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<div class="wide" tabindex="0"><img alt="{path.stem}" src="data:image/png;base64,{data}"></div>'


def _metrics(report: EncoderReport) -> str:
    rows = [(_labelled(name), [f"{value:.4g}"]) for name, value in report.metrics.items()]
    notes = "".join(f"<p>{html.escape(reason)}</p>" for reason in report.missing)
    lead = "On held-out data. Distances are in units of the latents: for positions those of the displacements."
    return section("Metrics", lead, table(["", "value"], rows) + (notes and f"<h2>Not measured</h2>{notes}"))


def _labelled(name: str) -> str:
    meaning = html.escape(_meaning(name))
    return html.escape(name) + (f'<br><small style="font-weight:400">{meaning}</small>' if meaning else "")


def _meaning(name: str) -> str:
    """Return the meaning of a metric, whose name may end in a number of steps."""
    stem, _, steps = name.rpartition("_")
    return DEFINITIONS.get(name) or (DEFINITIONS.get(stem, "") if steps.isdigit() else "")


def _settings(report: EncoderReport) -> str:
    encoder, measured = report.inputs.encoder, report.inputs.encoder.measured_on
    entries = {
        "Encoder": f"{type(encoder).registered_name}, group {encoder.group}, images {tuple(encoder.shape)}",
        "Measured on": f"{measured['source']}: {measured['transitions']} transitions in {measured['episodes']} "
        f"episodes, fingerprint {measured['data_fingerprint']}",
        "Trained on": f"{measured.get('training_transitions', '?')} transitions, fingerprint "
        f"{encoder.data_fingerprint}",
        **{
            name.capitalize(): str(report.provenance[name])
            for name in ("command", "commit")
            if name in report.provenance
        },
    }
    rows = [(html.escape(name), [html.escape(value)]) for name, value in entries.items()]
    return section("Settings", "", table([], rows, "plain"))
