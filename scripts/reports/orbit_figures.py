"""Figures of encoders of class and pose: orbits, predicted images, maps and plans."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from ...representations.encoders.class_pose_base import ClassPoseBase
from .figure_registry import FigureInputs, register_figure, save_figure

if TYPE_CHECKING:
    from ...agents.downstream.mapping import LocalisationResult
    from ...agents.downstream.planning import PlanningResult
    from ...envs.data.transitions import Transitions
    from ...envs.worlds.orbit_world import OrbitWorld
    from ...representations.learning.visualization_decoder import VisualizationDecoder


@dataclass(frozen=True)
class FigureConfig:
    """Set what figures show.

    Attributes:
        frames: number of frames whose poses are drawn.
        classes: number of classes whose orbits are drawn.
        images: number of images in a row.
        dpi: pixels per inch.
    """

    frames: int = 600
    classes: int = 5
    images: int = 10
    dpi: int = 100


DEFAULT_FIGURES = FigureConfig()


def draw_orbits(
    path: Path,
    world_cls: type[OrbitWorld],
    encoder: ClassPoseBase,
    held_out: Transitions,
    config: FigureConfig = DEFAULT_FIGURES,
) -> None:
    """Draw the sets of poses of held-out frames, with a panel for each class.

    For a torus, draw the angles of the sets against the true angle. For other groups, draw two coordinates of the poses
    relative to the true pose: these are the stabilizer, up to a constant factor, for every image.

    Args:
        path: PNG file to write.
        world_cls: the world.
        encoder: the encoder.
        held_out: transitions with ground truth.
        config: what to show.
    """
    count = min(config.frames, len(held_out.frames))
    frames = np.random.default_rng(0).choice(len(held_out.frames), count, replace=False)
    poses = encoder.poses(encoder.encode(held_out.frames[frames]))
    true, orbit = held_out.ground_truth["agent_pose"][frames], held_out.ground_truth["orbit"][frames, 0].astype(int)
    shown, on_circle = classes_to_show(world_cls, config.classes), encoder.acting.is_torus
    circles = encoder.acting.dim // 2 if on_circle else 1

    def draw(figure: Figure) -> None:
        panels = figure.subplots(circles, len(shown), sharex=True, sharey=True, squeeze=False)
        for (circle, column), axes in np.ndenumerate(panels):
            rows = orbit == shown[column]
            x, y = _coordinates(encoder, poses[rows], true[rows], circle)
            axes.scatter(x, y, s=4)
            axes.set_title(world_cls.orbits[shown[column]] if circle == 0 else "")
            axes.set_xlabel("true angle" if on_circle else "first coordinate")
            if column == 0:
                axes.set_ylabel("angles of the set" if on_circle else "second coordinate")

    save_figure(path, draw, (2.4 * len(shown), 2.8 * circles), config.dpi)


def draw_predictions(
    path: Path, decoder: VisualizationDecoder, held_out: Transitions, config: FigureConfig = DEFAULT_FIGURES
) -> None:
    """Draw images before an action, images decoded from predicted latents, and images after the action.

    Args:
        path: PNG file to write.
        decoder: a trained decoder, with its encoder.
        held_out: transitions to predict.
        config: what to show.
    """
    import torch

    from ...representations.encoders.encoder import as_tensor

    some = np.random.default_rng(0).choice(len(held_out), config.images, replace=False)
    before, after = held_out.observations[some], held_out.next_observations[some]
    encoder: Any = decoder.encoder
    with torch.no_grad():
        latents = encoder.encode(as_tensor(before))
        predicted = decoder(encoder.act(as_tensor(held_out.displacement[some]), latents))
        images = (255 * predicted.clamp(0, 1)).byte().permute(0, 2, 3, 1).numpy()
    _draw_image_rows(path, {"before": before, "predicted": images, "after": after}, config)


def draw_map(
    path: Path,
    world_cls: type[OrbitWorld],
    result: LocalisationResult,
    held_out: Transitions,
    config: FigureConfig = DEFAULT_FIGURES,
) -> None:
    """Draw a map: encoded positions in the colours of their places, and a trajectory, true and as localised.

    Args:
        path: PNG file to write.
        world_cls: the world.
        result: the map, and positions localised on it.
        held_out: the transitions that were localised.
        config: what to show.
    """
    trajectory = _first_trajectory(held_out, len(result.estimated_position))

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(world_cls.orbits), sharex=True, sharey=True, squeeze=False)[0]
        for index, axes in enumerate(panels):
            here = result.map_orbit == index
            colours = [f"C{place}" for place in result.map_place[here]]
            axes.scatter(*result.map_position[here].T, s=3, c=colours)
            if result.orbit[trajectory[0]] == index:
                axes.plot(*result.ground_truth_position[trajectory].T, color="black", label="true trajectory")
                estimated = result.estimated_position[trajectory]
                axes.plot(*estimated.T, color="tab:red", linestyle="--", label="as localised")
                axes.legend()
            axes.set_title(world_cls.orbits[index])
            axes.set_aspect("equal")
            axes.set_xlabel("m")

    save_figure(path, draw, (10, 3.8), config.dpi)


def draw_plans(path: Path, result: PlanningResult, config: FigureConfig = DEFAULT_FIGURES) -> None:
    """Draw images at the start, after the planned action was executed, and of the goal.

    Args:
        path: PNG file to write.
        result: executed plans.
        config: what to show.
    """
    part = slice(config.images)
    rows = {
        "start": result.start_images[part],
        "after the plan": result.final_images[part],
        "goal": result.goal_images[part],
    }
    _draw_image_rows(path, rows, config)


@register_figure("orbits", ClassPoseBase, "Poses of held-out images, with a panel for each class.")
def orbits_figure(path: Path, inputs: FigureInputs) -> None:
    """Draw the orbits of the classes of a world (`draw_orbits`)."""
    from ...envs.worlds.orbit_world import OrbitWorld

    if inputs.world_cls is not None and issubclass(inputs.world_cls, OrbitWorld):
        draw_orbits(path, inputs.world_cls, inputs.encoder, inputs.held_out)


@register_figure(
    "predictions",
    ClassPoseBase,
    "Images before an action, decoded from the predicted latent, and after the action.",
)
def predictions_figure(path: Path, inputs: FigureInputs) -> None:
    """Draw predicted images if a decoder was trained (`draw_predictions`)."""
    if inputs.decoder is not None:
        draw_predictions(path, inputs.decoder, inputs.held_out)


@register_figure("map", ClassPoseBase, "A map of encoded positions, and a trajectory localised on it.")
def map_figure(path: Path, inputs: FigureInputs) -> None:
    """Draw the map of a localised robot (`draw_map`)."""
    from ...agents.downstream.mapping import LocalisationResult

    if inputs.world_cls is not None and isinstance(inputs.downstream, LocalisationResult):
        draw_map(path, inputs.world_cls, inputs.downstream, inputs.held_out)


@register_figure("plans", ClassPoseBase, "Images at the start, after the planned action, and of the goal.")
def plans_figure(path: Path, inputs: FigureInputs) -> None:
    """Draw executed plans (`draw_plans`)."""
    from ...agents.downstream.planning import PlanningResult

    if isinstance(inputs.downstream, PlanningResult):
        draw_plans(path, inputs.downstream)


def classes_to_show(world_cls: type[OrbitWorld], count: int = 5) -> list[int]:
    """Return up to ``count`` classes; those come first whose stabilizer has an order that no class before has."""
    orders = [len(world_cls.stabilizer(index)) for index in range(len(world_cls.orbits))]
    return sorted(sorted(range(len(orders)), key=lambda index: orders[:index].count(orders[index]))[:count])


def _first_trajectory(transitions: Transitions, frames: int) -> Any:
    """Return the frames of the first episode in their order, up to the first whose index is not below ``frames``."""
    from ...envs.data.trajectories import trajectories

    steps = next(trajectories(transitions, len(transitions)))
    visited = np.append(transitions.start[steps[0]], transitions.end[steps])
    return visited[np.logical_and.accumulate(visited < frames)]


def _coordinates(encoder: ClassPoseBase, poses: Any, true: Any, circle: int) -> tuple[Any, Any]:
    """Return what is drawn of sets of poses (`draw_orbits`)."""
    if encoder.acting.is_torus:
        angles, along = (np.arctan2(each[..., 2 * circle + 1], each[..., 2 * circle]) for each in (poses, true))
        return np.repeat(along, poses.shape[1]), angles.ravel()
    group = encoder.acting
    flat = group.compose(group.inverse(true)[:, None], poses).reshape(-1, group.dim)
    return flat[:, 0], flat[:, 1]


def _draw_image_rows(path: Path, rows: dict[str, Any], config: FigureConfig) -> None:
    def draw(figure: Figure) -> None:
        for axes, (name, images) in zip(figure.subplots(len(rows), 1), rows.items(), strict=True):
            axes.imshow(np.concatenate(list(images), 1))
            axes.set_title(name)
            axes.axis("off")

    save_figure(path, draw, (10, 1.25 * len(rows)), config.dpi)
