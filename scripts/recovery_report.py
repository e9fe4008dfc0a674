"""The recovery experiment as one self-contained page: figures, film, the latent over the density, and the sweep."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scripts.film import Take, choose, play_again, write_film
from scripts.page import picture, section, table, tiles, video, write_page
from scripts.recovery_experiment import Seed
from scripts.recovery_methods import ABLATIONS, CLONED, MAGNITUDES, METHODS, OURS, cell
from scripts.runs import read_json

Figures = dict[str, dict[str, Any]]
"""Of every label the mean over seeds, its interval, and the value of each seed."""

LINES = {name: ("-", "--", ":")[index // 4] for index, name in enumerate([*CLONED, *METHODS])}
"""Line styles; with four colours, no two methods look alike."""
COLUMNS = {"clean_success": "Clean", "pushed_success": "Pushed", "harmed": "Harmed"}
COLUMNS |= {"false_interventions": "False alarms"}
CELLS = 40
"""Cells of the map of the density, along each axis."""


def write_recovery_report(folder: Path, result: dict[str, Any], seeds: list[Seed]) -> Path:
    """Write ``report.html``, ``film.mp4`` and ``film.png`` into the folder of a run, and return the page's path."""
    seed, figures = seeds[0], result["figures"]
    episodes = play_again(seed, choose(seed))
    threshold = float(read_json(seed.trigger_file(OURS))["threshold"])
    write_film(folder / "film.mp4", seed, episodes, threshold)
    sections = [_headline(figures), *_film(folder), *_density(seed, episodes[0], threshold), _methods(figures)]
    sections += [*_sweep(figures, seed), *_ablation(figures), _settings(result, seed)]
    title = f"equiact · recovery · {seed.task}"
    return write_page(
        folder / "report.html", title, "Policies that find their way back when something pushes them", sections
    )


def _share(figure: dict[str, Any]) -> str:
    """A mean over seeds as a percentage, with its interval where there is more than one seed."""
    low, high = figure["interval"]
    spread = f" <small>({100 * low:.0f} to {100 * high:.0f})</small>" if len(figure["seeds"]) > 1 else ""
    return f"{100 * figure['mean']:.1f}&nbsp;%{spread}"


def _headline(figures: Figures) -> str:
    words = {
        "clean_success": ("Clean", "of episodes succeed when nothing pushes the cloned policy"),
        "pushed_success": ("Pushed", "of the same episodes when something drags its arm away"),
        "recovered_success": ("Recovered", "of the same episodes, pushed alike, with recovery"),
        "harmed": ("Harmed", "of clean episodes succeed without recovery and fail with it"),
        "false_interventions": ("False alarms", "of successful clean episodes have recovery act"),
    }
    return tiles((title, f"{100 * figures[key]['mean']:.1f}&nbsp;%", text) for key, (title, text) in words.items())


def _film(folder: Path) -> Iterator[str]:
    lead = (
        "The same episode three times, from the same state, pushed alike. Below, how dense demonstrations are where "
        "the arm is: the line is the threshold, the dark band the push; orange where recovery acts."
    )
    yield section("What happens", lead, video(folder / "film.mp4", "Three trials of an episode side by side", "large"))


def _density(seed: Seed, takes: list[Take], threshold: float) -> Iterator[str]:
    lead = "The film’s first episode. The push drags the arm to where density is low; recovery brings it back."
    alt = "Log density against steps: clean, pushed, and pushed with recovery."
    yield section(
        "Density as it falls and returns", lead, picture(lambda f: _draw_series(f, seed, takes, threshold), 3.4, alt)
    )
    lead = (
        "Where the encoder has the arm in the same episode, over the density of the demonstrations for this scene, "
        "seen from above and from the front. Translations of this latent are the robot’s actions, in metres."
    )
    alt = "Paths in the latent over a map of the density: the pushed one ends far away, the recovered one comes back."
    yield section("The way back", lead, picture(lambda f: _draw_paths(f, seed, takes), 4.6, alt))


def _methods(figures: Figures) -> str:
    lead = (
        "All on the same episodes and pushes. Harmed: succeeds with the bare cloned policy when clean, fails with this."
    )
    more = {"sweep_mean": "Mean of the sweep"} if _swept(figures) else {}
    return section("Against others", lead, _compared(figures, [*CLONED, *METHODS], COLUMNS | more))


def _swept(figures: Figures) -> bool:
    return f"{OURS}: sweep_mean" in figures


def _compared(figures: Figures, names: Iterable[str], columns: dict[str, str]) -> str:
    rows = (
        (html.escape(name[0].upper() + name[1:]), [_share(figures[f"{name}: {key}"]) for key in columns])
        for name in names
    )
    return table(["", *columns.values()], rows)


def _sweep(figures: Figures, seed: Seed) -> Iterator[str]:
    if not _swept(figures):
        return
    lead = "Success against the metres a step by which the arm is dragged, for pushes that begin at different steps."
    alt = "Success against magnitude, a line for each method; " + "; ".join(
        f"{name} {100 * figures[f'{name}: sweep_mean']['mean']:.0f} % in the mean" for name in LINES
    )
    yield section("How hard a push it stands", lead, picture(lambda f: _draw_sweep(f, figures, seed), 4.4, alt))


def _ablation(figures: Figures) -> Iterator[str]:
    present = [name for name in ABLATIONS if f"{name}: pushed_success" in figures]
    lead = "Ours with one thing changed, and climbing the gradient with other densities, the trigger calibrated alike."
    if present:
        yield section("What it owes to what", lead, _compared(figures, [OURS, *present], COLUMNS))


def _settings(result: dict[str, Any], seed: Seed) -> str:
    pairs, seeds = f"{seed.pairs} a seed", ", ".join(map(str, result["seeds"]))
    entries = {"Command": result["command"], "Commit": result["commit"], "Pairs": pairs, "Seeds": seeds}
    entries["Push"] = f"{seed.magnitude} m a step, 35 steps from step {seed.onset} on, then 10 idle ones"
    rows = [(html.escape(name), [html.escape(value)]) for name, value in entries.items()]
    return section("What was run", "", table([], rows, "plain"))


def _draw_series(figure: Figure, seed: Seed, takes: list[Take], threshold: float) -> None:
    axes = figure.subplots()
    push = seed.push
    axes.axvspan(push.onset, push.onset + push.duration, color="C1", alpha=0.12, linewidth=0, label="push")
    for take, style in zip(takes, ("-", ":", "-"), strict=True):
        axes.plot(take.log_density, style, label=f"{take.name}: {'success' if take.success else 'failure'}")
    axes.axhline(threshold, color="grey", linestyle="--", linewidth=1, label="threshold")
    low = min(float(take.log_density.min()) for take in takes[:1])
    axes.set(xlabel="step", ylabel="log density", ylim=(min(low, threshold) - 12, None))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=5)


def _draw_paths(figure: Figure, seed: Seed, takes: list[Take]) -> None:
    points = np.concatenate([take.latent for take in takes])
    lows, highs = points.min(0) - 0.04, points.max(0) + 0.04
    for axes, (across, up), title in zip(
        figure.subplots(1, 2), ((0, 1), (0, 2)), ("from above", "from the front"), strict=True
    ):
        _draw_map(axes, seed, takes[0], lows, highs, across, up)
        for take, colour, style in zip(takes, ("C0", "C1", "C2"), ("-", ":", "-"), strict=True):
            axes.plot(take.latent[:, across], take.latent[:, up], style, color=colour, label=take.name)
            axes.plot(*take.latent[-1, [across, up]], "o", color=colour, markersize=5)
        names = "xyz"
        axes.set(title=title, xlabel=f"{names[across]} (m)", ylabel=f"{names[up]} (m)", aspect="equal")
        axes.grid(visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)


def _draw_map(
    axes: Axes, seed: Seed, take: Take, lows: NDArray[Any], highs: NDArray[Any], across: int, up: int
) -> None:
    """Log density with open hand in the scene of the take's first frame, the third coordinate averaged out."""
    import torch

    from scripts.film import drawn

    density = seed.density(OURS)
    ranges = [
        np.linspace(low, high, CELLS if axis in (across, up) else 12)
        for axis, (low, high) in enumerate(zip(lows, highs, strict=True))
    ]
    grid = np.stack(np.meshgrid(*ranges, indexing="ij"), -1)
    flat = torch.from_numpy(grid.reshape(-1, 3)).float()
    scene = density.scene_of(drawn(seed, take.states[:1])).expand(len(flat), -1)
    values, _ = density.score(flat, density.context_of(scene, np.ones((len(flat), seed.world.commands))))
    third = ({0, 1, 2} - {across, up}).pop()
    mean = values.reshape(grid.shape[:3]).exp().mean(third).log().numpy()
    levels = np.linspace(mean.max() - 12, mean.max(), 9)
    axes.contourf(ranges[across], ranges[up], np.maximum(mean, levels[0]).T, levels=levels, cmap="Greys", alpha=0.7)


def _draw_sweep(figure: Figure, figures: Figures, seed: Seed) -> None:
    panels = figure.subplots(1, len(seed.onsets), sharey=True, squeeze=False)[0]
    for axes, onset in zip(panels, seed.onsets, strict=True):
        for index, (name, style) in enumerate(LINES.items()):
            means = [figures[f"{name}: {cell(magnitude, onset)}"]["mean"] for magnitude in MAGNITUDES]
            ours = name == OURS
            axes.plot(
                MAGNITUDES,
                means,
                style,
                marker="o",
                markersize=4,
                color=f"C{index % 4}",
                linewidth=3 if ours else 1.3,
                label=name,
            )
        axes.set(xscale="log", xlabel="metres a step", title=f"from step {onset}", ylim=(-0.02, 1.02))
        axes.set_xticks(MAGNITUDES, [str(magnitude) for magnitude in MAGNITUDES])
        axes.minorticks_off()
    panels[0].set(ylabel="success")
    panels[0].yaxis.set_major_formatter("{x:.0%}")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
