"""The demo's run as one self-contained page."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from scripts.page import picture, section, table, tiles, video, write_page

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
    "true_state_success": ("RL success on the true state", "share"),
    "render_fps": ("Rendering speed", "frames/s"),
}
"""Label and unit of every result that a summary or a row of metrics can hold; what else a summary holds is setting."""
TILES = {
    "agent_rmse_pct": ("Agent error", "of the arena’s side: how far the agent is from where the encoder says (RMS)"),
    "object_rmse_pct": ("Object error", "of the arena’s side: how far the object is from where the encoder says (RMS)"),
    "rl_success": ("RL success", "of episodes solved"),
    "train_seconds": ("Training time", "to learn the encoder"),
}
BESIDE = {"rl_success_interval": "95 % interval", "random_success": "random", "true_state_success": "true state"}
NAMES = {"encoder": "RL on the encoder", "true_state": "RL on the true state", "random": "Random actions"}
NAMES |= {"seconds": "Time", "rl_steps": "RL steps", "length_mean": "Mean length (steps)", "return_mean": "Mean return"}
NAMES |= {"success_interval": "95 % interval"} | {name: label for name, (label, _) in RESULTS.items()}
UNITS = {name: unit for name, (_, unit) in RESULTS.items()}
UNITS |= dict.fromkeys(["success", "success_interval", "contacts", "uncertain"], "share")
UNITS |= dict.fromkeys(["agent_error", "radius", "softness"], "m") | {"seconds": "duration", "demo_seconds": "duration"}


def write_report(folder: Path) -> Path:
    """Write ``report.html`` into the folder of a run from the result files there, and return its path.

    Raises:
        FileNotFoundError: the folder has no ``summary.json``; any other file may be absent.
        ValueError: a result file is not JSON.
    """
    if not (folder / "summary.json").exists():
        raise FileNotFoundError(f"{folder} has no summary.json: no run has finished there; run `equiact demo`")
    names = ("summary", "encoder_evaluation", "training", "rl", "evaluation")
    summary, encoder, training, rl, evaluation = (_read(folder / f"{name}.json") for name in names)
    sections = [_tiles(summary), _summary("What was run", [key for key in summary if key not in RESULTS], summary)]
    sections += _encoder(encoder) if encoder else []
    sections += [_training(training)] if training.get("history") else []
    sections += _policies(rl, evaluation, folder / "rollout.mp4")
    sections += [_summary("All results", [key for key in RESULTS if key in summary], summary)]
    title = f"equiact · {summary.get('world', folder.resolve().name)}"
    lead = "Where an agent and the object it pushes are, learned from pixels and displacements"
    return write_page(folder / "report.html", title, lead, sections)


def _read(path: Path) -> Json:
    try:
        return dict(json.loads(path.read_bytes())) if path.exists() else {}
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); remove it and run again") from error


def _tiles(summary: Json) -> str:
    """The headline figures, in plain words."""
    beside = [f"{words} {_value(key, summary[key])}" for key, words in BESIDE.items() if summary.get(key) is not None]
    shown = []
    for key, (title, words) in TILES.items():
        if summary.get(key) is not None:
            words = "; ".join([words, *beside]).replace(" %", "&nbsp;%") if key == "rl_success" else words
            shown.append((title, _value(key, summary[key]), words))
    return tiles(shown)


def _summary(title: str, keys: Sequence[str], summary: Json) -> str:
    """Some entries of the summary, each with the name that it has in the file."""
    rows = [(_label(key), [_value(key, summary[key]), f"<code>{html.escape(key)}</code>"]) for key in keys]
    return section(title, "", table([], rows, "plain")) if rows else ""


def _encoder(result: Json) -> Iterator[str]:
    """How good the encoder is: metrics, where it errs, and whether it tells a touch from none."""
    rows: dict[str, Json] = result["rows"]
    keys = dict.fromkeys(key for row in rows.values() for key in row)
    cells = [(_label(key), [_value(key, row.get(key)) for row in rows.values()]) for key in keys]
    lead = "Measured on data kept from training; beside it the same network untrained, and chance."
    yield section("How good the encoder is", lead, table(["", *map(_label, rows)], cells, "first"))
    lead = "A dot is a true position; the line from it points to the estimate, lengthened as the title says."
    alt = "Maps of true positions, agent left and object right, each with a line along its error."
    yield section("Where it errs", lead, picture(lambda figure: _draw_errors(figure, result), 5.8, alt))
    moves = {name: np.asarray(values, float) for name, values in result["object_moves"].items()}
    beyond = ((name, np.sum(values > result["threshold"]), len(values)) for name, values in moves.items())
    alt = "; ".join(f"{count} of {total} {name} steps lie beyond the threshold" for name, count, total in beyond)
    lead = "How far the estimated object moves in one step: beyond the threshold the step counts as a contact."
    drawn = picture(lambda figure: _draw_moves(figure, moves, result["threshold"]), 3.5, f"Histogram: {alt}.")
    yield section("Does it notice a touch?", lead, drawn)


def _training(training: Json) -> str:
    """The losses over time, and what each stage ended at."""
    history: list[Json] = training["history"]
    stages = [(name, list(entries)) for name, entries in groupby(history, lambda entry: str(entry["stage"]))]
    keys = [key for key in dict.fromkeys(key for entry in history for key in entry) if key != "stage"]
    rows = [(html.escape(name), [_value(key, entries[-1].get(key)) for key in keys]) for name, entries in stages]
    lead = f"{training['transitions']:,} transitions seen. Each stage has a loss of its own: compare within a stage."
    alt = f"Training loss on a logarithmic scale against seconds, stages {', '.join(name for name, _ in stages)}."
    drawn = picture(lambda figure: _draw_losses(figure, stages), 3.5, alt)
    return section("Training the encoder", lead, drawn + table(["At the end of", *map(_label, keys)], rows))


def _policies(rl: Json, evaluation: Json, film: Path) -> Iterator[str]:
    """What RL makes of the encoder: learning curves, evaluation, and the policy on video."""
    if rl:
        ends = (f"{_label(name)} ends at {_value('success', curve['success'][-1])}" for name, curve in rl.items())
        lead = "The policy without exploration, on the same 100 episodes each time. Dashed: random actions."
        drawn = picture(lambda figure: _draw_curves(figure, rl, evaluation.get("random", {})), 3.6, "; ".join(ends))
        yield section("Learning the task", lead, drawn)
    if evaluation:
        columns = dict.fromkeys(["success", "success_interval", *(key for row in evaluation.values() for key in row)])
        rows = [(_label(name), [_value(key, row.get(key)) for key in columns]) for name, row in evaluation.items()]
        lead = "Episodes of evaluation, after training. Intervals are Wilson’s, at 95 %."
        yield section("How well it solves the task", lead, table(["Policy", *map(_label, columns)], rows))
    if film.exists():
        lead = "The policy on the encoder in episodes of evaluation."
        yield section("The policy at work", lead, video(film, "Rollout"))


def _draw_errors(figure: Figure, result: Json, most: int = 300) -> None:
    side, names = result["arena_side"], ("agent", "object")
    true, estimated = ([np.array(result["positions"][f"{n}_{kind}"]) for n in names] for kind in ("true", "estimated"))
    lengths = [np.linalg.norm(there - here, axis=1) for here, there in zip(true, estimated, strict=True)]
    times = next((n for n in (50, 20, 10, 5, 2) if n * max(map(np.median, lengths)) < 0.05 * side), 1)
    for index, axes in enumerate(figure.subplots(1, 2, sharex=True, sharey=True)):
        some = (slice(None, None, math.ceil(len(true[index]) / most)), slice(2))
        here, there = true[index][some], (true[index] + times * (estimated[index] - true[index]))[some]
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
    """The name of a quantity in words, escaped."""
    return html.escape(NAMES.get(key, (key[:1].upper() + key[1:]).replace("_", " ")))


def _value(key: str, value: Any) -> str:
    """A value with its unit, escaped; a dash where there is none."""
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
