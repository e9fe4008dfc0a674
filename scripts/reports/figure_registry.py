"""Figures of encoders, by class of encoder: each class brings its own, and `equiact train` draws those that apply.

A figure is one function in a file ``*_figures.py`` in this package, or in a plugin::

    @register_figure("class-map", ClassPoseBase, "Classes of held-out images.")
    def class_map(path: Path, inputs: FigureInputs) -> None:
        save_figure(path, lambda figure: ..., (4.8, 3.4))
"""

from __future__ import annotations

import importlib
import io
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure

from ...envs.named_registry import Registry
from ...envs.storage.file_access import write_atomically
from .html_page import LIGHT

if TYPE_CHECKING:
    from ...envs.data.transitions import Transitions


@dataclass(frozen=True)
class FigureInputs:
    """What a figure may show.

    Attributes:
        encoder: the trained encoder, on the CPU.
        held_out: transitions that it was not trained on.
        world_cls: the world that they are from; None for data of a user.
        decoder: a visualisation decoder of the encoder; None if none was trained.
        downstream: result of the downstream use of the encoder in the world; None if there is none.
    """

    encoder: Any
    held_out: Transitions
    world_cls: type[Any] | None = None
    decoder: Any = None
    downstream: Any = None


DrawFigure = Callable[[Path, FigureInputs], None]
"""Writes a PNG file, or nothing where the figure does not apply."""


@dataclass(frozen=True)
class EncoderFigure:
    """A figure of a class of encoders.

    Attributes:
        name: name of the PNG file without its ending.
        encoder_cls: class of the encoders that it is drawn for, subclasses included.
        caption: one sentence that says what it shows.
        draw: draws it.
    """

    name: str
    encoder_cls: type[Any]
    caption: str
    draw: DrawFigure


FIGURES: Registry[EncoderFigure] = Registry("figure")
"""Figures of encoders, by name."""


def register_figure(name: str, encoder_cls: type[Any], caption: str) -> Callable[[DrawFigure], DrawFigure]:
    """Return a decorator that registers a function as a figure of a class of encoders.

    Args:
        name: name of the PNG file without its ending, such as ``"orbits"``.
        encoder_cls: class of the encoders, subclasses included.
        caption: one sentence that says what the figure shows.

    Raises:
        RegistryError: another figure has this name.
    """

    def add(draw: DrawFigure) -> DrawFigure:
        FIGURES.add(name, EncoderFigure(name, encoder_cls, caption, draw))
        return draw

    return add


def all_figures() -> list[EncoderFigure]:
    """Return all figures, sorted by name; modules ``*_figures`` of this package and plugins are imported first."""
    package = importlib.import_module(__package__)
    for module in pkgutil.iter_modules(package.__path__, f"{__package__}."):
        if module.name.endswith("_figures"):
            importlib.import_module(module.name)
    return [figure for _, figure in FIGURES.items()]


def draw_figures(folder: Path, inputs: FigureInputs) -> list[EncoderFigure]:
    """Draw the figures of an encoder's class into a folder, and return those that apply."""
    drawn = []
    for figure in all_figures():
        path = folder / f"{figure.name}.png"
        if isinstance(inputs.encoder, figure.encoder_cls):
            path.unlink(missing_ok=True)  # of an earlier training
            figure.draw(path, inputs)
            if path.exists():
                drawn.append(figure)
    return drawn


def save_figure(path: Path, draw: Callable[[Figure], None], size: tuple[float, float], dpi: int = 100) -> None:
    """Write a drawing as a PNG file, which appears complete or not at all.

    Args:
        path: the file.
        draw: draws on an empty figure.
        size: width and height in inches.
        dpi: pixels per inch.
    """
    buffer = io.BytesIO()
    with matplotlib.rc_context(LIGHT):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(buffer, dpi=dpi, format="png")
    write_atomically(path, buffer.getvalue())
