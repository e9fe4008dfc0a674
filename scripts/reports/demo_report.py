"""The report of a demo run, one self-contained page."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from .html_page import picture, section, table, tiles, video, write_page

Json = dict[str, Any]
RESULTS = {
    "agent_rmse_pct": ("Agent position, RMS error, of the arena’s side", "%"),
    "object_rmse_pct": ("Object position, RMS error, of the arena’s side", "%"),
    "agent_rmse": ("Agent position, RMS error", "m"),
    "object_rmse": ("Object position, RMS error", "m"),
    "isometry_error": ("Isometry error", "m²"),
    "agent_probe_r2": ("Agent position, R² of a probe", "r2"),
    "object_probe_r2": ("Object position, R² of a probe", "r2"),
    "contact_precision": ("Contact detection, precision", "share"),
    "contact_recall": ("Contact detection, recall", "share"),
    "train_seconds": ("Training time of the encoder", "duration"),
    "train_transitions_per_s": ("Training speed", "transitions/s"),
    "rl_success": ("RL success on the encoder’s positions", "share"),
    "rl_success_interval": ("RL success, 95 % interval", "share"),
    "random_success": ("Success of random actions", "share"),
    "true_state_success": ("RL success on the ground-truth state", "share"),
    "render_fps": ("Rendering speed", "frames/s"),
}
"""Label and unit of every result in a summary or a row of metrics; the other entries of a summary are settings."""
TILES = {
    "agent_rmse_pct": (
        "Agent error",
        "of the arena’s side: RMS distance of the estimated agent position from the true one",
    ),
    "object_rmse_pct": (
        "Object error",
        "of the arena’s side: RMS distance of the estimated object position from the true one",
    ),
    "rl_success": ("RL success", "of episodes solved"),
    "train_seconds": ("Training time", "of the encoder"),
}
BESIDE = {
    "rl_success_interval": "95 % interval",
    "random_success": "random",
    "true_state_success": "ground-truth state",
}
NAMES = {"encoder": "RL on the encoder", "true_state": "RL on the ground-truth state", "random": "Random actions"}
NAMES |= {"seconds": "Time", "rl_steps": "RL steps", "length_mean": "Mean length (steps)", "return_mean": "Mean return"}
NAMES |= {"success_interval": "95 % interval"} | {name: label for name, (label, _) in RESULTS.items()}
UNITS = {name: unit for name, (_, unit) in RESULTS.items()}
UNITS |= dict.fromkeys(["success", "success_interval", "contacts", "uncertain"], "share")
UNITS |= dict.fromkeys(["agent_error", "agent_error_far", "odometry_bias", "odometry_noise", "radius", "softness"], "m")
UNITS |= {"seconds": "duration", "demo_seconds": "duration"}


def write_report(folder: Path) -> Path:
    """Write ``report.html`` into the folder of a run from the result files there, and return its path.

    Raises:
        FileNotFoundError: the folder has no ``summary.json``; any other file may be absent.
        ArtifactError: a result file is damaged.
    """
    if not (folder / "summary.json").exists():
        raise FileNotFoundError(f"{folder} has no summary.json: no run has finished there; run `equiact demo`")
    names = ("summary", "encoder_evaluation", "training", "rl", "evaluation")
    summary, encoder, training, rl, evaluation = (_read(folder / f"{name}.json") for name in names)
    sections = [_tiles(summary), _summary("Settings", [key for key in summary if key not in RESULTS], summary)]
    sections += _encoder(encoder) if encoder else []
    sections += [_training(training)] if training.get("history") else []
    sections += _policies(rl, evaluation, folder / "rollout.mp4")
    sections += [_summary("All results", [key for key in RESULTS if key in summary], summary)]
    title = f"equiact · {summary.get('world', folder.resolve().name)}"
    lead = "Positions of an agent and the object it pushes, learned from images and displacements"
    return write_page(folder / "report.html", title, lead, sections)


def _read(path: Path) -> Json:
    from ...envs.storage.artifacts import read_json

    return dict(read_json(path)) if path.exists() else {}


def _tiles(summary: Json) -> str:
    """Return the headline figures."""
    beside = [f"{words} {_value(key, summary[key])}" for key, words in BESIDE.items() if summary.get(key) is not None]
    shown = []
    for key, (title, words) in TILES.items():
        if summary.get(key) is not None:
            words = "; ".join([words, *beside]).replace(" %", "&nbsp;%") if key == "rl_success" else words
            shown.append((title, _value(key, summary[key]), words))
    return tiles(shown)


def _summary(title: str, keys: Sequence[str], summary: Json) -> str:
    """Return a table of entries of the summary, each with its key in the file."""
    rows = [(_label(key), [_value(key, summary[key]), f"<code>{html.escape(key)}</code>"]) for key in keys]
    return section(title, "", table([], rows, "plain")) if rows else ""


def _encoder(result: Json) -> Iterator[str]:
    """Yield the sections about the encoder: metrics, position errors, and contact detection."""
    rows: dict[str, Json] = result["rows"]
    keys = dict.fromkeys(key for row in rows.values() for key in row)
    cells = [(_label(key), [_value(key, row.get(key)) for row in rows.values()]) for key in keys]
    lead = "On held-out data; beside it an untrained encoder of the same architecture, and chance."
    yield section("Encoder metrics", lead, table(["", *map(_label, rows)], cells, "first"))
    lead = "A dot is a true position. The line from it points to the estimate; its length is scaled as the title says."
    alt = "Maps of true positions, agent left and object right, each with a line along its error."
    yield section("Position errors", lead, picture(lambda figure: _draw_errors(figure, result), 5.8, alt))
    moves = {name: np.asarray(values, float) for name, values in result["object_moves"].items()}
    beyond = ((name, np.sum(values > result["threshold"]), len(values)) for name, values in moves.items())
    alt = "; ".join(f"{count} of {total} {name} steps lie beyond the threshold" for name, count, total in beyond)
    lead = (
        "Displacement of the estimated object position in one step. Beyond the threshold, the step counts as a contact."
    )
    drawn = picture(lambda figure: _draw_moves(figure, moves, result["threshold"]), 3.5, f"Histogram: {alt}.")
    yield section("Contact detection", lead, drawn)


def _training(training: Json) -> str:
    """Return the section with the losses over time and at the end of each stage."""
    history: list[Json] = training["history"]
    stages = [(name, list(entries)) for name, entries in groupby(history, lambda entry: str(entry["stage"]))]
    keys = [key for key in dict.fromkeys(key for entry in history for key in entry) if key != "stage"]
    rows = [(html.escape(name), [_value(key, entries[-1].get(key)) for key in keys]) for name, entries in stages]
    lead = (
        f"{training['transitions']:,} transitions in all batches. "
        "Each stage has its own loss; compare losses within a stage only."
    )
    alt = f"Training loss on a logarithmic scale against seconds, stages {', '.join(name for name, _ in stages)}."
    drawn = picture(lambda figure: _draw_losses(figure, stages), 3.5, alt)
    return section("Training the encoder", lead, drawn + table(["At the end of", *map(_label, keys)], rows))


def _policies(rl: Json, evaluation: Json, film: Path) -> Iterator[str]:
    """Yield the sections about the policies: learning curves, evaluation, and a video."""
    if rl:
        ends = (f"{_label(name)} ends at {_value('success', curve['success'][-1])}" for name, curve in rl.items())
        lead = "The deterministic policy on the same episodes each time. Dashed: random actions."
        drawn = picture(lambda figure: _draw_curves(figure, rl, evaluation.get("random", {})), 3.6, "; ".join(ends))
        yield section("Learning curves", lead, drawn)
    if evaluation:
        columns = dict.fromkeys(["success", "success_interval", *(key for row in evaluation.values() for key in row)])
        rows = [(_label(name), [_value(key, row.get(key)) for key in columns]) for name, row in evaluation.items()]
        lead = "Evaluation episodes, after training. Wilson intervals at 95 %."
        yield section("Evaluation", lead, table(["Policy", *map(_label, columns)], rows))
    if film.exists():
        lead = "The policy on the encoder’s latents in evaluation episodes; circles mark the estimated positions."
        yield section("Rollout", lead, video(film, "Rollout"))


def _draw_errors(figure: Figure, result: Json, most: int = 300) -> None:
    side, names = result["arena_side"], ("agent", "object")
    true, predicted = ([np.array(result["positions"][f"{n}{part}"]) for n in names] for part in ("", "_predicted"))
    lengths = [np.linalg.norm(there - here, axis=1) for here, there in zip(true, predicted, strict=True)]
    times = next((n for n in (50, 20, 10, 5, 2) if n * max(map(np.median, lengths)) < 0.05 * side), 1)
    for index, axes in enumerate(figure.subplots(1, 2, sharex=True, sharey=True)):
        some = (slice(None, None, math.ceil(len(true[index]) / most)), slice(2))
        here, there = true[index][some], (true[index] + times * (predicted[index] - true[index]))[some]
        axes.plot([here[:, 0], there[:, 0]], [here[:, 1], there[:, 1]], color=f"C{index}", linewidth=1.1)
        axes.plot(*here.T, ".", color=f"C{index}", markersize=4)
        error = _value(f"{names[index]}_rmse_pct", result["rows"]["trained"].get(f"{names[index]}_rmse_pct"))
        title = f"{names[index].capitalize()}: RMS error {error} of the side (lines × {times})"
        axes.set(title=title, xlabel="x (m)", ylabel="y (m)", aspect="equal")
        axes.label_outer()


def _draw_moves(figure: Figure, moves: Json, threshold: float) -> None:
    axes = figure.subplots()
    least = max(1e-6, min(values[values > 0].min(initial=threshold) for values in moves.values()))
    bins = np.geomspace(least, max(2 * least, *(values.max(initial=2 * threshold) for values in moves.values())), 60)
    for index, (name, values) in enumerate(moves.items()):
        look: Json = {"color": f"C{index}", "hatch": ("", "///")[index % 2], "label": f"{name} ({len(values):,} steps)"}
        share = np.full(len(values), 1 / max(1, len(values)))
        axes.hist(values.clip(least), bins.tolist(), weights=share, histtype="stepfilled", alpha=0.55, **look)
    axes.axvline(threshold, color=matplotlib.rcParams["text.color"], ls="--", label=f"threshold {threshold:.3g} m")
    axes.set(xscale="log", xlabel="estimated displacement of the object (m)", ylabel="share of steps")
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)


def _draw_losses(figure: Figure, stages: Sequence[tuple[str, list[Json]]]) -> None:
    axes, begin = figure.subplots(), 0.0
    for index, (name, entries) in enumerate(stages):
        seconds = [entry["seconds"] for entry in entries]
        axes.axvspan(begin, seconds[-1], color=f"C{index}", alpha=0.1, linewidth=0)
        axes.plot(seconds, [entry["loss"] for entry in entries], color=f"C{index}", linewidth=1.6)
        middle, begin = (begin + seconds[-1]) / 2, seconds[-1]
        axes.text(middle, 1.02, name, color=f"C{index}", ha="center", transform=axes.get_xaxis_transform())
    axes.set(yscale="log", xlabel="seconds of training", ylabel="loss", xlim=(0, begin or None))


def _draw_curves(figure: Figure, rl: Json, random: Json) -> None:
    panels = (("success", "success", "Success rate"), ("return", "return_mean", "Mean return"))
    for axes, (key, ending, title) in zip(figure.subplots(1, 2), panels, strict=True):
        for index, (name, curve) in enumerate(rl.items()):
            values, line, label = np.array(curve[key], float), ("-", "-.")[index % 2], NAMES.get(name, name)
            axes.plot(curve["steps"], values, color=f"C{index}", linestyle=line, label=label)
        if random.get(ending) is not None:
            axes.axhline(random[ending], color=matplotlib.rcParams["text.color"], linestyle="--", label=NAMES["random"])
        axes.set(title=title, xlabel="environment steps")
        axes.legend()
    figure.axes[0].set(ylim=(-0.02, 1.02))
    figure.axes[0].yaxis.set_major_formatter("{x:.0%}")


def _label(key: str) -> str:
    """Return the label of a quantity, escaped."""
    return html.escape(NAMES.get(key, (key[:1].upper() + key[1:]).replace("_", " ")))


def _value(key: str, value: Any) -> str:
    """Return a value with its unit, escaped; a dash for no value."""
    unit = UNITS.get(key, "")
    if isinstance(value, dict):
        return "; ".join(f"{_label(name)} {_value(name, item)}" for name, item in value.items())
    if isinstance(value, list):
        return (" to " if key.endswith("interval") else ", ").join(_value(key, item) for item in value)
    if isinstance(value, bool | str) or key.endswith("seed"):
        return html.escape(str(value))
    if value is None or not math.isfinite(value):
        return "–"
    if unit in ("share", "r2"):
        return f"{100 * value:.1f} %" if unit == "share" else f"{value:.4f}"
    if unit == "duration" and value >= 60:
        hours, minutes = divmod(round(value) // 60, 60)
        return f"{hours} h {minutes} min" if hours else f"{minutes} min {round(value) % 60} s"
    number = f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.3g}"
    return f"{number} {'s' if unit == 'duration' else unit}".strip()
