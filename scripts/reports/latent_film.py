"""A film of the frames of a data set, beside a panel with the path of their latents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..progress import progress_bar
from .film_files import save_film
from .html_page import LIGHT
from .latent_drawings import latent_planes

if TYPE_CHECKING:
    from ..latent_files import EpisodeLatents
    from .image_marks import ImageMarks

STILLS = 4
"""Pictures in the PNG file, from the first episode."""
Points = Mapping[str, NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class LatentFilmConfig:
    """Look of a film.

    Attributes:
        side: height of the frames and of the panel in pixels, even.
        fps: frames per second.
        longest: largest number of frames of an episode.
    """

    side: int = 320
    fps: int = 10
    longest: int = 300


def write_latent_film(
    path: Path,
    latents: EpisodeLatents,
    frames: NDArray[np.uint8],
    *,
    marks: ImageMarks | None = None,
    episodes: int = 2,
    config: LatentFilmConfig = LatentFilmConfig(),
) -> None:
    """Write an MP4 film of the first episodes, with four pictures of it as a PNG file beside, and show the progress.

    The panel shows two coordinates of the agent and of the object, or two principal components of other latents: a dot
    for now, a line for the episode so far, and grey dots for all frames of the data set.

    Args:
        path: the file.
        latents: latents of all episodes.
        frames: frames of the data set, ``(F, H, W, C)`` uint8.
        marks: what is drawn over the frames, a row for each row of the latents; nothing by default.
        episodes: number of episodes.
        config: look of the film.
    """
    points = latent_planes(latents.latents)
    shown = [np.flatnonzero(latents.episode == index)[: config.longest] for index in range(episodes)]
    total = sum(map(len, shown))
    with progress_bar("Drawing the film", total, "frames") as update:
        drawn = []
        for rows in shown:
            pictures = [_resized(frame, config.side) for frame in frames[latents.frame[rows]]]
            if marks is not None:
                pictures = [marks.draw(picture, row) for picture, row in zip(pictures, rows, strict=True)]
            for picture in _episode(points, pictures, rows, config):
                drawn.append(picture)
                update(len(drawn))
    path.parent.mkdir(parents=True, exist_ok=True)
    stills = np.linspace(0, len(shown[0]) - 1, STILLS).astype(int)
    save_film(path, drawn, np.concatenate([drawn[index] for index in stills]), config.fps)


def _episode(
    points: Points, pictures: Iterable[NDArray[np.uint8]], rows: NDArray[np.int64], config: LatentFilmConfig
) -> Iterator[NDArray[np.uint8]]:
    """Yield the pictures of an episode, each with the panel beside it."""
    with matplotlib.rc_context(LIGHT):
        figure = Figure(figsize=(len(points) * config.side / 100, config.side / 100), dpi=100, layout="constrained")
        canvas: Any = FigureCanvasAgg(figure)
        marks: list[tuple[Any, Any, NDArray[np.floating[Any]]]] = []
        panels = figure.subplots(1, len(points), squeeze=False)[0]
        for axes, (title, all_points) in zip(panels, points.items(), strict=True):
            axes.scatter(*all_points.T, s=2, color="lightgrey")
            (line,) = axes.plot([], [], linewidth=1)
            (dot,) = axes.plot([], [], "o", color="C1")
            axes.set_title(title, fontsize=8)
            axes.tick_params(labelsize=7)
            marks.append((line, dot, all_points[rows]))
        for index, picture in enumerate(pictures):
            for line, dot, visited in marks:
                line.set_data(*visited[: index + 1].T)
                dot.set_data(*visited[index : index + 1].T)
            canvas.draw()
            panel = np.asarray(canvas.buffer_rgba())[..., :3]
            yield np.concatenate([picture, panel[: config.side]], 1)


def _resized(frame: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return a frame as RGB with this height and an even width, by repeating pixels."""
    height, width = frame.shape[:2]
    columns = 2 * round(width * side / height / 2)
    rows_of, columns_of = np.arange(side) * height // side, np.arange(columns) * width // columns
    colours = frame[..., :3] if frame.shape[-1] >= 3 else np.repeat(frame[..., :1], 3, -1)
    return np.ascontiguousarray(colours[rows_of][:, columns_of])
