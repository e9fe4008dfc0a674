"""Figures of an object's outline: on held-out images, and with the places where the agent touched the object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...representations.encoders.agent_object import AgentObjectEncoder
from .figure_registry import FigureInputs, register_figure, save_figure

Floats = NDArray[np.float64]

IMAGES = 4
"""Held-out images that are shown."""
CONTACTS = 400
"""Held-out contacts that are shown, at most."""


@register_figure(
    "outline",
    AgentObjectEncoder,
    "Held-out images with the learned outline, which includes the agent’s size. Below: the outline, and places of the "
    "agent at the end of transitions in which the object moved.",
)
def draw_outline(path: Path, inputs: FigureInputs) -> None:
    """Draw the outline of an object of any shape; nothing for a round one.

    Args:
        path: PNG file to write.
        inputs: the encoder, and held-out transitions.
    """
    encoder, held_out = inputs.encoder, inputs.held_out
    if not encoder.config.has_outline:
        return
    latents = encoder.encode(held_out.frames)
    shown = np.linspace(0, len(held_out.frames) - 1, IMAGES).astype(int)
    outlines = placed_outline(encoder, {name: latent[shown] for name, latent in latents.items()})
    touching = seen_from_object(encoder, latents, held_out.end[moved(encoder, latents, held_out)][:CONTACTS])

    def draw(figure: Figure) -> None:
        grid = figure.add_gridspec(2, IMAGES, height_ratios=(1, 2))
        for column, frame in enumerate(shown):
            axes = figure.add_subplot(grid[0, column])
            axes.imshow(held_out.frames[frame].squeeze())
            axes.plot(*on_image(encoder, closed(outlines[column])).T, color="tab:red")
            axes.set_axis_off()
        axes = figure.add_subplot(grid[1, :])
        axes.scatter(touching[:, 0], touching[:, 1], s=5, color="tab:blue", label="agent, when the object moved")
        axes.plot(*closed(outline_polygon(encoder)).T, color="tab:red", label="outline")
        axes.set_aspect("equal")
        axes.set_xlabel("units of the displacements")
        axes.legend()

    save_figure(path, draw, (4.2, 4.6))


def angles(encoder: AgentObjectEncoder, orientation: Floats) -> Floats:
    """Return the angle θ of orientations ``(cos mθ, sin mθ)``, ``(N, 2)``, in an interval of 2π/m."""
    return np.asarray(np.arctan2(orientation[:, 1], orientation[:, 0]) / int(encoder.outline.order))


def seen_from_object(encoder: AgentObjectEncoder, latents: dict[str, Floats], frames: NDArray[np.int64]) -> Floats:
    """Return the positions of the agent in the coordinates of the object, ``(N, 2)``."""
    offset = latents["agent"][frames] - latents["object"][frames]
    return rotate(offset, -angles(encoder, latents["orientation"][frames]))


def moved(encoder: AgentObjectEncoder, latents: dict[str, Floats], held_out: object) -> NDArray[np.bool_]:
    """Return the transitions in which the object moved more than its noise, ``(N,)``."""
    threshold = float(encoder.contact_threshold * encoder.unit)
    return np.asarray(encoder.movement(latents, held_out) > threshold)  # type: ignore[arg-type]


def placed_outline(encoder: AgentObjectEncoder, latents: dict[str, Any]) -> Floats:
    """Return the outline where the object is in every frame, ``(n, K, 2)``, in the units of the displacements."""
    polygon = outline_polygon(encoder)
    count, corners = len(latents["object"]), len(polygon)
    angle = angles(encoder, latents["orientation"]) if "orientation" in latents else np.zeros(count)
    turned = rotate(np.tile(polygon, (count, 1)), np.repeat(angle, corners)).reshape(count, corners, 2)
    return np.asarray(latents["object"][:, None] + turned, float)


def outline_polygon(encoder: AgentObjectEncoder) -> Floats:
    """Return the corners of the outline in the coordinates of the object, ``(K, 2)``."""
    return np.asarray(encoder.outline_polygon.cpu().double().numpy())


def on_image(encoder: AgentObjectEncoder, places: Floats) -> Floats:
    """Return places ``(N, 2)`` in pixels of an image, as the learned camera sees them."""
    camera = encoder.glimpse.camera.cpu().double().numpy()
    seen = places / float(encoder.unit) @ camera[:, :2].T + camera[:, 2]
    height, width = encoder.shape[:2]
    return np.asarray((seen + 1) / 2 * [width, height] - 0.5)


def closed(polygon: Floats) -> Floats:
    """Return the corners of a polygon, and the first one again."""
    return np.concatenate([polygon, polygon[:1]])


def rotate(points: Floats, angle: Floats) -> Floats:
    """Return points ``(N, 2)`` rotated by angles ``(N,)``."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos * points[:, 0] - sin * points[:, 1], sin * points[:, 0] + cos * points[:, 1]], 1)
