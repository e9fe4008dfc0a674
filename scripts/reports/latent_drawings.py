"""Drawings of latents on data without ground truth: over time, predicted against encoded, errors, and frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ...envs.data.trajectories import trajectories
from ...representations.encoders.encoder import as_tensor, flatten_latents
from ...representations.metrics.latent_prediction import (
    PredictionError,
    consecutive_rows,
    predicting,
    prediction_error,
)

if TYPE_CHECKING:
    from ...envs.data.transitions import Transitions

Draw = Callable[[Figure], None]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class DrawingConfig:
    """Set what the drawings show.

    Attributes:
        episodes: number of episodes whose latents are drawn.
        frames: number of sample frames.
        steps: number of steps of the predicted latents that are compared with encoded ones.
        longest_horizon: largest number of steps of the curve of errors.
        trajectories: number of trajectories for a point of that curve.
    """

    episodes: int = 8
    frames: int = 8
    steps: int = 5
    longest_horizon: int = 20
    trajectories: int = 200


def draw_curves(history: Sequence[dict[str, Any]]) -> Draw:
    """Return a drawing of the loss of every stage of a training against the updates."""

    def draw(figure: Figure) -> None:
        axes, offset = figure.subplots(), 0
        for index, stage in enumerate(dict.fromkeys(row["stage"] for row in history)):
            style = ("-", "--", ":", "-.")[index // 4 % 4]  # there are four colours
            rows = [row for row in history if row["stage"] == stage]
            axes.plot(
                [offset + row["step"] for row in rows], [row["loss"] for row in rows], style, marker=".", label=stage
            )
            offset += rows[-1]["step"]
        axes.set(xlabel="update", ylabel="loss")
        if all(row["loss"] > 0 for row in history):
            axes.set_yscale("log")
        axes.legend(fontsize=8)

    return draw


def draw_latents(encoder: Any, held_out: Transitions, config: DrawingConfig = DrawingConfig()) -> Draw:
    """Return a drawing of the latents of held-out episodes, coloured by the time in the episode.

    Positions of the agent and of the object are drawn in their first two coordinates; of other latents the first two
    principal components.
    """
    panels = latent_planes(encoder.encode(held_out.frames))

    def draw(figure: Figure) -> None:
        drawn = figure.subplots(1, len(panels), squeeze=False, sharex=len(panels) > 1, sharey=len(panels) > 1)[0]
        for axes, (title, points) in zip(drawn, panels.items(), strict=True):
            for index, episode in enumerate(trajectories(held_out, len(held_out))):
                if index == config.episodes:
                    break
                visited = points[np.append(held_out.start[episode[0]], held_out.end[episode])]
                axes.plot(*visited.T, color="grey", linewidth=0.5)
                shown = axes.scatter(*visited.T, c=np.linspace(0, 1, len(visited)), s=7, cmap="viridis", zorder=2)
            axes.set(title=title, aspect="equal")
        bar = figure.colorbar(shown, ax=drawn.tolist(), location="bottom", ticks=[0, 1], fraction=0.05)
        bar.ax.set_xticklabels(["start", "end of the episode"])

    return draw


def draw_predicted_latents(encoder: Any, held_out: Transitions, config: DrawingConfig = DrawingConfig()) -> Draw | None:
    """Return a drawing of predicted latents against encoded ones, all coordinates; None if there is no prediction."""
    acting = predicting(encoder)
    steps = config.steps if len(consecutive_rows(held_out, config.steps)) else 1
    rows = consecutive_rows(held_out, steps)
    if acting is None:
        return None
    rows = np.random.default_rng(0).permutation(rows)[: config.trajectories]
    with torch.no_grad():
        predicted: Any = acting.encode(as_tensor(held_out.frames[held_out.start[rows[:, 0]]]))
        for step in as_tensor(held_out.displacement[rows]).unbind(1):
            predicted = acting.act(step, predicted)
        encoded: Any = acting.encode(as_tensor(held_out.frames[held_out.end[rows[:, -1]]]))
    pairs = [flatten_latents(each).numpy() for each in (encoded, {name: predicted[name] for name in encoded})]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for coordinate in range(pairs[0].shape[1]):
            axes.scatter(pairs[0][:, coordinate], pairs[1][:, coordinate], s=6, alpha=0.6)
        ends = [min(pair.min() for pair in pairs), max(pair.max() for pair in pairs)]
        axes.plot(ends, ends, color="grey", linewidth=1, linestyle="--")
        word = "step" if steps == 1 else "steps"
        axes.set(xlabel="encoded latent", ylabel=f"predicted over {steps} {word}", aspect="equal")

    return draw


def horizon_errors(
    encoder: Any, held_out: Transitions, config: DrawingConfig = DrawingConfig()
) -> list[PredictionError]:
    """Return the errors of predicted latents after 1, 2, … steps, as far as held-out episodes reach."""
    acting, errors = predicting(encoder), list[PredictionError]()
    for steps in range(1, config.longest_horizon + 1) if acting is not None else ():
        error = prediction_error(acting, held_out, steps, most=config.trajectories)  # type: ignore[arg-type]
        if error is None:
            break
        errors.append(error)
    return errors


def draw_errors(errors: Sequence[PredictionError]) -> Draw:
    """Return a drawing of the errors of predicted latents against the number of steps, beside predicting no change."""

    def draw(figure: Figure) -> None:
        axes, steps = figure.subplots(), [error.steps for error in errors]
        axes.plot(steps, [error.predicted for error in errors], "o-", markersize=4, label="predicted")
        axes.plot(steps, [error.no_change for error in errors], "s--", markersize=4, label="no change")
        axes.set(xlabel="steps", ylabel="root-mean-square distance", ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()

    return draw


def draw_frames(held_out: Transitions, config: DrawingConfig = DrawingConfig()) -> Draw:
    """Return a drawing of frames that are spread over the held-out data."""
    count = min(config.frames, len(held_out.frames))
    shown = np.linspace(0, len(held_out.frames) - 1, count).astype(int)

    def draw(figure: Figure) -> None:
        columns = min(4, count)
        panels = figure.subplots(-(-count // columns), columns, squeeze=False).ravel()
        for axes in panels:
            axes.axis("off")
        for axes, frame in zip(panels, held_out.frames[shown], strict=False):
            grey = frame.shape[-1] not in (3, 4)
            axes.imshow(frame[..., 0] if grey else frame, cmap="gray" if grey else None, vmin=0, vmax=255)

    return draw


def latent_planes(latents: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return two coordinates of latents ``(n, ...)`` to draw, ``(n, 2)``, by the title of their panel.

    They are the first two of the agent and of each object, or two principal components of all latents.
    """
    positions = {name: latents[name] for name in latents if name == "agent" or name.startswith("object")}
    if positions and all(each.shape[1] >= 2 for each in positions.values()):
        return {name: each[:, :2] for name, each in positions.items()}
    return {"first two principal components": principal_components(flatten_latents(latents).astype(float))}


def principal_components(points: Floats) -> Floats:
    """Return the first two principal components of points ``(n, dim)``; the second is 0 for one coordinate.

    Example:
        >>> principal_components(np.array([[0.0], [2.0]])).round(6).tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
    """
    centred = points - points.mean(0)
    components = np.linalg.svd(centred, full_matrices=False)[2][:2]
    signs = np.where(components.sum(1, keepdims=True) < 0, -1.0, 1.0)
    projected = centred @ (signs * components).T
    return np.pad(projected, ((0, 0), (0, 2 - projected.shape[1])))
