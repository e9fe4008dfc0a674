"""The report of the recovery experiment, one self-contained page: figures, film, density, and the grid."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..benchmarks.recovery_grid import condition_name, limit_name, within_limits
from ..benchmarks.recovery_methods.density_recovery import density_recovery
from ..benchmarks.recovery_methods.registry import BASE_POLICY, PROPOSED_METHOD, ablation_methods, compared_methods
from ..benchmarks.recovery_run import RecoveryRun
from ..benchmarks.recovery_trials import read_outcomes, trials_file
from ..experiments.records import Records
from ..experiments.summaries import Summary, summarize_records
from .html_page import picture, section, table, tiles, video, write_page
from .paired_film import Replay, choose_episodes, render_states, replay_episodes, write_film

Figures = Mapping[str, Summary]
"""Summaries over seeds by ``"method: metric"``."""

COLUMNS = {
    "clean_success": "Clean",
    "pushed_success": "Pushed",
    "harmed": "Harmed",
    "false_interventions": "False alarms",
}
"""Figures of the tables of methods, and their headings."""


def write_recovery_report(folder: Path, records: Records, runs: list[RecoveryRun]) -> Path:
    """Write ``report.html``, ``film.mp4`` and ``film.png`` into a folder, and return the path of the page.

    Args:
        folder: the folder.
        records: records of the experiment.
        runs: runs of all seeds; the film shows episodes of the first.
    """
    run, figures = runs[0], summarize_records(records)
    episodes = replay_episodes(run, choose_episodes(run))
    threshold = density_recovery(PROPOSED_METHOD).trigger(PROPOSED_METHOD, run).threshold
    write_film(folder / "film.mp4", run, episodes, threshold)
    sections = [_headline(figures), *_film(folder), *_density(run, episodes[0], threshold), _methods(figures)]
    sections += [*_grid(figures, runs), *_ablation(figures), _settings(records, run)]
    title = f"equiact · recovery · {run.task}"
    return write_page(folder / "report.html", title, "Policies that recover after a perturbation", sections)


def line_styles() -> dict[str, str]:
    """Return the marker and the line style of every compared method; with four colours, no two methods look alike."""
    styles = [marker + line for marker in ("o", "s", "^") for line in ("-", "--", ":", "-.")]
    return {name: styles[index // 4 % len(styles)] for index, name in enumerate(compared_methods())}


def _share(figure: Summary) -> str:
    """Return a mean over seeds as a percentage, with its interval if there is one."""
    if figure.interval is None:
        return f"{100 * figure.number:.1f}&nbsp;%"
    low, high = figure.interval
    return f"{100 * figure.number:.1f}&nbsp;% <small>({100 * low:.0f} to {100 * high:.0f})</small>"


def _headline(figures: Figures) -> str:
    words = {
        "clean_success": ("Clean", "of episodes succeed under the cloned policy without a perturbation"),
        "pushed_success": ("Pushed", "of the same episodes succeed when the arm is dragged away"),
        "recovered_success": ("Recovered", "of the same episodes succeed with recovery, under the same perturbation"),
        "harmed": ("Harmed", "of clean episodes succeed without recovery and fail with it"),
        "false_interventions": ("False alarms", "of successful clean episodes have an intervention of recovery"),
    }
    return tiles((title, f"{100 * figures[key].number:.1f}&nbsp;%", text) for key, (title, text) in words.items())


def _film(folder: Path) -> Iterator[str]:
    lead = (
        "The same episode under three conditions, from the same initial state, with the same perturbation. Below each: "
        "the log density of the demonstrations at the arm’s position. The line is the threshold, the dark band the "
        "perturbation; orange where recovery acts."
    )
    yield section("Paired trials", lead, video(folder / "film.mp4", "Three trials of an episode side by side", "large"))


def _density(run: RecoveryRun, replays: list[Replay], threshold: float) -> Iterator[str]:
    lead = "The film’s first episode. The perturbation drags the arm to a low density; recovery brings it back."
    alt = "Log density against steps: clean, pushed, and pushed with recovery."
    drawn = picture(lambda f: _draw_series(f, run, replays, threshold), 3.4, alt)
    yield section("Density over time", lead, drawn)
    lead = (
        "Encoded positions of the arm in the same episode, over the density of the demonstrations for this scene, "
        "from above and from the front. Translations of this latent are the robot’s actions, in metres."
    )
    alt = "Paths in the latent over a map of the density: the pushed one ends far away, the recovered one comes back."
    yield section("Paths in the latent", lead, picture(lambda f: _draw_paths(f, run, replays), 4.6, alt))


def _methods(figures: Figures) -> str:
    lead = (
        "All methods on the same episodes and perturbations. Harmed: the cloned policy succeeds in the clean episode, "
        "the method fails."
    )
    more = {"grid_mean": "Mean of the grid"} if _has_grid(figures) else {}
    return section("Methods", lead, _comparison(figures, compared_methods(), COLUMNS | more))


def _has_grid(figures: Figures) -> bool:
    return f"{PROPOSED_METHOD}: grid_mean" in figures


def _comparison(figures: Figures, names: Iterable[str], columns: dict[str, str]) -> str:
    rows = (
        (html.escape(name[0].upper() + name[1:]), [_share(figures[f"{name}: {key}"]) for key in columns])
        for name in names
    )
    return table(["", *columns.values()], rows)


def _grid(figures: Figures, runs: list[RecoveryRun]) -> Iterator[str]:
    if not _has_grid(figures):
        return
    grid = runs[0].config.grid
    lead = (
        "Mean success by kind of perturbation, over magnitudes and time limits, and by time limit, over everything. A "
        "perturbation begins at a random step; a time limit is a multiple of the median demonstration."
    )
    columns = {name: name[0].upper() + name[1:] for name in grid.names}
    columns |= {limit_name(limit): f"{limit:g}×" for limit in sorted(grid.time_limits)}
    yield section("Kinds of perturbations", lead, _comparison(figures, compared_methods(), columns))
    lead = f"Success within {max(grid.time_limits):g} times the median demonstration, against the magnitude."
    alt = "Success against magnitude, a line for each method; " + "; ".join(
        f"{name} {100 * figures[f'{name}: grid_mean'].number:.0f} % in the mean" for name in compared_methods()
    )
    drawn = picture(lambda f: _draw_magnitudes(f, figures, runs[0]), 4.4, alt)
    yield section("Magnitude of the perturbation", lead, drawn)
    lead = (
        "Success within all time limits, by magnitude (from the weakest to the strongest) and by onset (thirds of the "
        "episodes). All kinds of perturbations are pooled."
    )
    alt = "Maps of success over onset and magnitude, for the best known methods."
    yield section("Where it wins and loses", lead, picture(lambda f: _draw_maps(f, runs), 3.4, alt))


def _ablation(figures: Figures) -> Iterator[str]:
    present = [name for name in ablation_methods() if f"{name}: pushed_success" in figures]
    lead = "The proposed method with one change, and gradient ascent with other densities; triggers calibrated alike."
    if present:
        yield section("Ablations", lead, _comparison(figures, [PROPOSED_METHOD, *present], COLUMNS))


def _settings(records: Records, run: RecoveryRun) -> str:
    push, seeds, source = run.perturbation, ", ".join(map(str, records.seeds)), records.only_source()
    entries = {"Command": source.command, "Commit": source.commit}
    entries |= {"Pairs": f"{run.config.pairs} a seed", "Seeds": seeds}
    entries["Perturbation"] = (
        f"{push.magnitude} m a step, {push.duration} steps from step {push.onset} on, then {push.idle} idle ones"
    )
    rows = [(html.escape(name), [html.escape(value)]) for name, value in entries.items()]
    return section("Settings", "", table([], rows, "plain"))


def _draw_series(figure: Figure, run: RecoveryRun, replays: list[Replay], threshold: float) -> None:
    axes = figure.subplots()
    push = run.perturbation
    axes.axvspan(push.onset, push.onset + push.duration, color="C1", alpha=0.12, linewidth=0, label="perturbation")
    for replay, style in zip(replays, ("-", ":", "-"), strict=True):
        axes.plot(replay.log_density, style, label=f"{replay.name}: {'success' if replay.success else 'failure'}")
    axes.axhline(threshold, color="grey", linestyle="--", linewidth=1, label="threshold")
    low = float(replays[0].log_density.min())
    axes.set(xlabel="step", ylabel="log density", ylim=(min(low, threshold) - 12, None))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=5)


def _draw_paths(figure: Figure, run: RecoveryRun, replays: list[Replay]) -> None:
    points = np.concatenate([replay.latent for replay in replays])
    bounds = points.min(0) - 0.04, points.max(0) + 0.04
    views = (((0, 1), "from above"), ((0, 2), "from the front"))
    for axes, ((across, up), title) in zip(figure.subplots(1, 2), views, strict=True):
        _draw_map(axes, run, replays[0], bounds, (across, up))
        for replay, colour, style in zip(replays, ("C0", "C1", "C2"), ("-", ":", "-"), strict=True):
            axes.plot(replay.latent[:, across], replay.latent[:, up], style, color=colour, label=replay.name)
            axes.plot(*replay.latent[-1, [across, up]], "o", color=colour, markersize=5)
        names = "xyz"
        axes.set(title=title, xlabel=f"{names[across]} (m)", ylabel=f"{names[up]} (m)", aspect="equal")
        axes.grid(visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)


def _draw_map(
    axes: Axes,
    run: RecoveryRun,
    replay: Replay,
    bounds: tuple[NDArray[Any], NDArray[Any]],
    plane: tuple[int, int],
    cells: int = 40,
) -> None:
    """Draw the log density with an open hand in the scene of the first frame, averaged over the third coordinate."""
    import torch

    density = density_recovery(PROPOSED_METHOD).trained_density(run)
    ranges = [
        np.linspace(low, high, cells if axis in plane else 12)
        for axis, (low, high) in enumerate(zip(*bounds, strict=True))
    ]
    grid = np.stack(np.meshgrid(*ranges, indexing="ij"), -1)
    flat = torch.from_numpy(grid.reshape(-1, 3)).float()
    scene = density.scene_of(render_states(run, replay.states[:1])).expand(len(flat), -1)
    values, _ = density.score(flat, density.context_of(scene, np.ones((len(flat), run.world_cls.commands))))
    third = ({0, 1, 2} - set(plane)).pop()
    mean = values.reshape(grid.shape[:3]).exp().mean(third).log().numpy()
    levels = np.linspace(mean.max() - 12, mean.max(), 9)
    across, up = (ranges[axis] for axis in plane)
    axes.contourf(across, up, np.maximum(mean, levels[0]).T, levels=levels, cmap="Greys", alpha=0.7)


def _draw_magnitudes(figure: Figure, figures: Figures, run: RecoveryRun) -> None:
    """Draw the success of all methods against the magnitude, a panel for each kind of perturbation."""
    units = {"drag": "metres a step", "push": "newtons"}
    parts = run.config.grid.magnitudes
    panels = figure.subplots(1, len(parts), sharey=True, squeeze=False)[0]
    for axes, (part, magnitudes) in zip(panels, parts.items(), strict=True):
        for index, (name, style) in enumerate(line_styles().items()):
            means = [figures[f"{name}: {condition_name(part, each)}"].number for each in magnitudes]
            width = 3 if name == PROPOSED_METHOD else 1.3
            look: dict[str, Any] = {"markersize": 4, "color": f"C{index % 4}", "linewidth": width}
            axes.plot(magnitudes, means, style, label=name, **look)
        axes.set(xscale="log", xlabel=units.get(part, "metres"), title=part, ylim=(-0.02, 1.02))
        axes.set_xticks(magnitudes, [f"{each:g}" for each in magnitudes], fontsize=7)
        axes.minorticks_off()
    panels[0].set(ylabel="success")
    panels[0].yaxis.set_major_formatter("{x:.0%}")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)


SHOWN = (BASE_POLICY, "odometry restart", PROPOSED_METHOD)
"""Methods whose success is mapped over onset and magnitude."""


def _draw_maps(figure: Figure, runs: list[RecoveryRun]) -> None:
    """Draw the success over onset and rank of the magnitude, a map for each of a few methods."""
    shown = [name for name in SHOWN if trials_file(runs[0], name, grid=True).exists()]
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, shown, strict=True):
        values = success_map(runs, name)
        axes.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
        for row, column in np.ndindex(values.shape):
            text = "–" if np.isnan(values[row, column]) else f"{100 * values[row, column]:.0f}"
            dark = values[row, column] < 0.6
            axes.text(column, row, text, ha="center", va="center", color="white" if dark else "black")
        axes.set(title=name, xlabel="magnitude", xticks=range(values.shape[1]), yticks=range(len(ONSETS)))
        axes.set_xticklabels(range(1, values.shape[1] + 1))
        axes.set_yticklabels(ONSETS)
        axes.grid(visible=False)


ONSETS = ("early", "middle", "late")
"""Names of the thirds of the onsets."""


def success_map(runs: list[RecoveryRun], name: str) -> NDArray[Any]:
    """Return the share of successes by onset and magnitude in percent of one, all kinds and time limits pooled.

    Only episodes that last until the perturbation begins count, as in the tables.

    Args:
        runs: runs whose grid has been played, with the same configuration.
        name: name of the method.

    Returns:
        ``(3, magnitudes)``; NaN where there is no episode. The thirds are of the onsets of all episodes that count.
    """
    grid = runs[0].config.grid
    onset, rank, success = [], [], []
    for run in runs:
        clean, played = read_outcomes(run, BASE_POLICY)["clean/length"], read_outcomes(run, name, grid=True)
        for names in grid.names.values():
            for index, condition in enumerate(names):
                reached, steps, begins = (played[f"{condition}/{key}"] for key in ("success", "length", "onset"))
                met = clean[: len(begins)] > begins
                in_time = within_limits(reached, steps, run.median_length(), grid.time_limits).mean(0)
                onset.append(begins[met])
                rank.append(np.full(met.sum(), index))
                success.append(in_time[met])
    onsets, ranks, found = (np.concatenate(each) for each in (onset, rank, success))
    third = np.searchsorted(np.quantile(onsets, [1 / 3, 2 / 3]), onsets)
    cells = [[found[(third == row) & (ranks == each)] for each in np.unique(ranks)] for row in range(len(ONSETS))]
    return np.array([[cell.mean() if len(cell) else np.nan for cell in row] for row in cells])
