"""A run as one self-contained page: pictures and video are embedded, in light and in dark; it needs no script."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.figure import Figure

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


def _theme(surface: str, ink: str, faint: str, colours: Sequence[str]) -> Any:
    theme: Json = dict.fromkeys(["figure.facecolor", "axes.facecolor", "legend.facecolor"], surface)
    theme |= dict.fromkeys(["text.color", "axes.labelcolor", "xtick.color", "ytick.color"], ink)
    theme |= dict.fromkeys(["axes.edgecolor", "grid.color", "legend.edgecolor"], faint)
    theme |= dict.fromkeys(["axes.spines.top", "axes.spines.right"], False)
    theme |= {"axes.grid": True, "axes.axisbelow": True, "axes.titlelocation": "left", "axes.titlesize": 11}
    return theme | {"axes.prop_cycle": cycler(color=colours)}


LIGHT = _theme("#ffffff", "#1f2733", "#d5dbe3", ["#0b62c4", "#c24e00", "#0a7d55", "#7a3eb1"])
DARK = _theme("#171c24", "#e3e8ef", "#3a4452", ["#6cb6ff", "#ffa657", "#6fdcab", "#d2a8ff"])

PAGE = Template("""<!doctype html><html lang="en"><head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'">
<title>$title</title><style>
:root { --page: #f3f5f8; --card: #fff; --ink: #1f2733; --soft: #566273; --line: #d5dbe3; --mark: #0b62c4 }
@media (prefers-color-scheme: dark) {
 :root { --page: #0e1217; --card: #171c24; --ink: #e3e8ef; --soft: #a3afbf; --line: #2f3947; --mark: #6cb6ff } }
* { box-sizing: border-box } main { max-width: 64rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", sans-serif }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 } h2 { font-size: 1.2rem; margin: 0 0 .35rem }
p { margin: 0 0 1rem; color: var(--soft) } section { margin-top: 1.25rem; padding: 1.3rem 1.5rem }
section, .tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 12px }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: 1rem; margin: 1.5rem 0 0 }
.tiles div { border-top: 4px solid var(--mark); padding: 1rem 1.2rem } dt { font-weight: 600 }
dd { margin: 0; color: var(--soft); line-height: 1.4 } .big { font-size: 2rem; font-weight: 700; color: var(--ink) }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
.wide { overflow-x: auto } .wide + .wide { margin-top: 1.25rem } img, video { display: block; width: 100% }
th, td { padding: .45rem .75rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th:first-child { text-align: left; padding-left: 0; font-weight: 500; white-space: normal }
thead th { color: var(--soft); font-size: .85rem } tbody tr:last-child > * { border-bottom: 0 }
.plain td { text-align: left; white-space: normal; overflow-wrap: anywhere } .first td:nth-child(2) { font-weight: 700 }
code { font-size: .85em; color: var(--soft); white-space: nowrap }
html { color-scheme: light dark } img { min-width: 36rem; height: auto } video { max-width: 30rem; border-radius: 8px }
</style></head><body><main>
<header><h1>$title</h1><p>Where an agent and the object it pushes are, learned from pixels and displacements</p>
</header>
$body
</main></body></html>
""")


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
    title = html.escape(f"equiact · {summary.get('world', folder.resolve().name)}")
    page, beside = folder / "report.html", folder / "report.html.part"
    beside.write_text(PAGE.substitute(title=title, body="\n".join(sections)), encoding="utf-8")
    os.replace(beside, page)
    return page


def _read(path: Path) -> Json:
    try:
        return dict(json.loads(path.read_bytes())) if path.exists() else {}
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); remove it and run again") from error


def _tiles(summary: Json) -> str:
    """The headline figures, in plain words."""
    beside = [f"{words} {_value(key, summary[key])}" for key, words in BESIDE.items() if summary.get(key) is not None]
    tiles = []
    for key, (title, words) in TILES.items():
        if summary.get(key) is not None:
            words = "; ".join([words, *beside]).replace(" %", "&nbsp;%") if key == "rl_success" else words
            tiles.append(f'<div><dt>{title}</dt><dd class="big">{_value(key, summary[key])}</dd><dd>{words}</dd></div>')
    return f'<dl class="tiles">{"".join(tiles)}</dl>'


def _summary(title: str, keys: Sequence[str], summary: Json) -> str:
    """Some entries of the summary, each with the name that it has in the file."""
    rows = [(_label(key), [_value(key, summary[key]), f"<code>{html.escape(key)}</code>"]) for key in keys]
    return _section(title, "", _table([], rows, "plain")) if rows else ""


def _encoder(result: Json) -> Iterator[str]:
    """How good the encoder is: metrics, where it errs, and whether it tells a touch from none."""
    rows: dict[str, Json] = result["rows"]
    keys = dict.fromkeys(key for row in rows.values() for key in row)
    cells = [(_label(key), [_value(key, row.get(key)) for row in rows.values()]) for key in keys]
    lead = "Measured on data kept from training; beside it the same network untrained, and chance."
    yield _section("How good the encoder is", lead, _table(["", *map(_label, rows)], cells, "first"))
    lead = "A dot is a true position; the line from it points to the estimate, lengthened as the title says."
    alt = "Maps of true positions, agent left and object right, each with a line along its error."
    yield _section("Where it errs", lead, _picture(lambda figure: _draw_errors(figure, result), 5.8, alt))
    moves = {name: np.asarray(values, float) for name, values in result["object_moves"].items()}
    beyond = ((name, np.sum(values > result["threshold"]), len(values)) for name, values in moves.items())
    alt = "; ".join(f"{count} of {total} {name} steps lie beyond the threshold" for name, count, total in beyond)
    lead = "How far the estimated object moves in one step: beyond the threshold the step counts as a contact."
    picture = _picture(lambda figure: _draw_moves(figure, moves, result["threshold"]), 3.5, f"Histogram: {alt}.")
    yield _section("Does it notice a touch?", lead, picture)


def _training(training: Json) -> str:
    """The losses over time, and what each stage ended at."""
    history: list[Json] = training["history"]
    stages = [(name, list(entries)) for name, entries in groupby(history, lambda entry: str(entry["stage"]))]
    keys = [key for key in dict.fromkeys(key for entry in history for key in entry) if key != "stage"]
    rows = [(html.escape(name), [_value(key, entries[-1].get(key)) for key in keys]) for name, entries in stages]
    lead = f"{training['transitions']:,} transitions seen. Each stage has a loss of its own: compare within a stage."
    alt = f"Training loss on a logarithmic scale against seconds, stages {', '.join(name for name, _ in stages)}."
    picture = _picture(lambda figure: _draw_losses(figure, stages), 3.5, alt)
    return _section("Training the encoder", lead, picture + _table(["At the end of", *map(_label, keys)], rows))


def _policies(rl: Json, evaluation: Json, video: Path) -> Iterator[str]:
    """What RL makes of the encoder: learning curves, evaluation, and the policy on video."""
    if rl:
        ends = (f"{_label(name)} ends at {_value('success', curve['success'][-1])}" for name, curve in rl.items())
        lead = "The policy without exploration, on the same 100 episodes each time. Dashed: random actions."
        picture = _picture(lambda figure: _draw_curves(figure, rl, evaluation.get("random", {})), 3.6, "; ".join(ends))
        yield _section("Learning the task", lead, picture)
    if evaluation:
        columns = dict.fromkeys(["success", "success_interval", *(key for row in evaluation.values() for key in row)])
        rows = [(_label(name), [_value(key, row.get(key)) for key in columns]) for name, row in evaluation.items()]
        lead = "Episodes of evaluation, after training. Intervals are Wilson’s, at 95 %."
        yield _section("How well it solves the task", lead, _table(["Policy", *map(_label, columns)], rows))
    if video.exists():
        source = f"data:video/mp4;base64,{base64.b64encode(video.read_bytes()).decode()}"
        tag = f'<video controls loop muted autoplay playsinline aria-label="Rollout" src="{source}"></video>'
        yield _section("The policy at work", "The policy on the encoder in episodes of evaluation.", tag)


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


def _picture(draw: Callable[[Figure], None], height: float, alt: str, width: float = 10) -> str:
    """A drawing as PNG in both modes, of which the browser takes one."""
    sources = []
    for theme in (LIGHT, DARK):
        with matplotlib.rc_context(theme), io.BytesIO() as file:
            figure = Figure(figsize=(width, height), layout="constrained")
            draw(figure)
            figure.savefig(file, dpi=150, format="png")
            sources.append(f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}")
    dark = f'<source media="(prefers-color-scheme: dark)" srcset="{sources[1]}">'
    image = f'<img src="{sources[0]}" alt="{html.escape(alt)}" width="{width * 100:.0f}" height="{height * 100:.0f}">'
    return f'<div class="wide" tabindex="0"><picture>{dark}{image}</picture></div>'


def _section(title: str, lead: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{lead and f'<p>{lead}</p>'}{content}</section>"


def _table(head: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], look: str = "") -> str:
    """A table of cells that are HTML; the first of each row is its heading."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    lines = (f'<tr><th scope="row">{first}</th><td>{"</td><td>".join(rest)}</td></tr>' for first, rest in rows)
    top = f"<thead><tr>{top}</tr></thead>" if head else ""
    return f'<div class="wide" tabindex="0"><table class="{look}">{top}<tbody>{"".join(lines)}</tbody></table></div>'


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
