"""A film of paired episodes side by side: clean, perturbed, and perturbed with a second policy."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from ..progress import progress_bar
from .film_files import save_film

if TYPE_CHECKING:
    import gymnasium as gym

    from ...agents.evaluation.paired_episodes import PairedEpisodes
    from ...agents.evaluation.perturbation_report import Condition, PerturbationReport
    from ...agents.evaluation.trial_records import PolicyRole, TrialRecord
    from ...envs.simulation.state_layout import Pixels

Color = tuple[int, int, int]


@dataclass(frozen=True)
class PerturbationFilmConfig:
    """Set the look of the film.

    Attributes:
        height: height of a frame in pixels.
        head: height of the title above a frame.
        strip: height of the time line below a frame.
        gap: width of the gap between two panels.
        border: width of the border that marks the perturbation.
        fps: frames per second.
        frames: largest number of frames of an episode; longer episodes are shown with fewer frames a step.
        flash: smallest number of frames with the border, so that a perturbation of one step is seen.
        hold: number of times that the last frame of an episode is shown.
        paper: RGB of the background.
        ink: RGB of the titles.
        line: RGB of the time that has passed.
        perturbed: RGB of the border and of the time of the perturbation.
    """

    height: int = 240
    head: int = 26
    strip: int = 10
    gap: int = 8
    border: int = 4
    fps: int = 20
    frames: int = 120
    flash: int = 6
    hold: int = 12
    paper: Color = (23, 28, 36)
    ink: Color = (227, 232, 239)
    line: Color = (110, 120, 135)
    perturbed: Color = (229, 83, 75)


DEFAULT_FILM = PerturbationFilmConfig()


class CannotDrawError(RuntimeError):
    """An environment can be drawn neither by itself nor by the ray tracer."""


class Camera(Protocol):
    """Draw the current state of an environment."""

    def __call__(self) -> Pixels:
        """Return an image ``(H, W, 3)``."""


@dataclass
class Shot:
    """Frames of one trial.

    Attributes:
        title: name of the condition and of the policy.
        record: outcome of the trial.
        stride: number of steps between two frames.
        frames: one frame every ``stride`` steps, and the last.
        steps: number of steps before each frame.
    """

    title: str
    record: TrialRecord
    stride: int
    frames: list[Pixels] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)


def make_camera(env: gym.Env[Any, Any], camera: str | None = None, height: int = 240) -> Camera:
    """Return a function that draws an environment without OpenGL.

    Environments of MuJoCo are drawn by the ray tracer, since their own renderers abort the process where there is no
    OpenGL. Others draw themselves, with ``render_mode="rgb_array"``.

    Args:
        env: the environment, which has been reset.
        camera: name of a camera of the MuJoCo model; the default of `RayTracedPixels` if None.
        height: height in pixels of what the ray tracer draws.

    Raises:
        CannotDrawError: it cannot be drawn, or it has no cameras to choose from.
    """
    if "mujoco" in sys.modules:  # an environment of MuJoCo cannot exist before MuJoCo is imported
        from ...envs.mujoco_envs.mujoco_scene import has_mujoco
        from ...envs.simulation.dependencies import MissingSimulatorError

        try:
            if has_mujoco(env):
                return _ray_traced(env, camera, height)
        except MissingSimulatorError as error:
            raise CannotDrawError(str(error)) from error
    if camera is not None:
        raise CannotDrawError(f"the environment has no MuJoCo model with a camera {camera!r}; leave out --camera")
    draw = env.render
    drawn = _as_image(draw()) if env.render_mode == "rgb_array" else None
    if drawn is None:
        raise CannotDrawError(
            "the environment returns no image from render() with render_mode='rgb_array', and has no MuJoCo model that "
            "the ray tracer could draw"
        )
    return lambda: _require_image(draw())


def _ray_traced(env: gym.Env[Any, Any], camera: str | None, height: int) -> Camera:
    from ...envs.mujoco_envs.ray_traced_pixels import RayTracedPixels

    pixels = RayTracedPixels(env, camera=camera, resolution=(height, height))
    return lambda: _require_image(pixels.render())


def film_episodes(
    path: Path,
    report: PerturbationReport,
    trials: PairedEpisodes,
    camera: Camera,
    *,
    count: int = 3,
    config: PerturbationFilmConfig = DEFAULT_FILM,
) -> None:
    """Play the most telling trials again, and write a film of them, with stills beside it as a PNG.

    Args:
        path: the MP4 file.
        report: the trials.
        trials: plays them again.
        camera: draws the environment in which they are played.
        count: number of episodes.
        config: look of the film.

    Raises:
        PairingError: a trial that is played again has another return.
    """
    chosen = choose_trials(report, count)
    panels = len(report.roles) + 1
    groups: list[list[Shot]] = []
    with progress_bar("Playing episodes of the film", len(chosen) * panels, "trials") as update:
        for seed, condition in chosen:
            groups.append([])
            for shown, role in [(report.conditions[0], "policy"), *((condition, role) for role in report.roles)]:
                groups[-1].append(_shoot(trials, report, camera, seed, shown, role, config))
                update(sum(map(len, groups)))
    films = [list(_side_by_side(group, config)) for group in groups]
    stills = [film[_telling_frame(group)] for film, group in zip(films, groups, strict=True)]
    save_film(path, [frame for film in films for frame in film], np.concatenate(stills), config.fps)


def choose_trials(report: PerturbationReport, count: int) -> list[tuple[int, Condition]]:
    """Return seeds and conditions to show: the strongest of each curve in turn.

    Of a condition, episodes come first that succeed clean and fail perturbed, then those that lose the most return.
    """
    strongest: dict[str, Condition] = {}
    for condition in report.conditions[1:]:
        known = strongest.get(condition.curve)
        if known is None or (condition.magnitude or 0.0) > (known.magnitude or 0.0):
            strongest[condition.curve] = condition
    ranked = {name: _most_telling(report, condition) for name, condition in strongest.items()}
    turns = [
        (seeds[turn], strongest[name]) for turn in range(count) for name, seeds in ranked.items() if turn < len(seeds)
    ]
    return turns[:count]


def _most_telling(report: PerturbationReport, condition: Condition) -> list[int]:
    def rank(pair: tuple[TrialRecord, TrialRecord]) -> tuple[bool, bool, float]:
        clean, perturbed = pair
        lost = bool(clean.success) and not perturbed.success
        return perturbed.onset is None, not lost, perturbed.total_reward - clean.total_reward

    pairs = zip(report.trials("clean"), report.trials(condition.name), strict=True)
    return [clean.seed for clean, _ in sorted(pairs, key=rank)]


def _shoot(
    trials: PairedEpisodes,
    report: PerturbationReport,
    camera: Camera,
    seed: int,
    condition: Condition,
    role: PolicyRole,
    config: PerturbationFilmConfig,
) -> Shot:
    """Play one trial again, and draw it."""
    record = next(each for each in report.trials(condition.name, role) if each.seed == seed)
    longest = max(each.length for each in report.records if each.seed == seed)
    shot = Shot(
        condition.title + (", other policy" if role == "compare" else ""), record, math.ceil(longest / config.frames)
    )

    def draw(steps: int) -> None:
        if steps % shot.stride == 0 or steps == record.length:
            shot.frames.append(_scaled(camera(), config.height))
            shot.steps.append(steps)

    episode = trials.replay(seed, condition, role, on_start=lambda: draw(0), on_step=lambda step: draw(step.index + 1))
    trials.require_same(record, episode)
    return shot


def _telling_frame(group: Sequence[Shot]) -> int:
    """Return the number of the frame at the end of the perturbation, or in the middle of the episode."""
    perturbed, last = group[1].record, max(len(shot.frames) for shot in group) - 1
    end = perturbed.length // 2 if perturbed.end is None else perturbed.end
    return min(end // group[1].stride, last)


def _side_by_side(group: Sequence[Shot], config: PerturbationFilmConfig) -> Iterator[Pixels]:
    """Yield the frames of one episode under several conditions, and the last frame a few times more."""
    length = max(shot.record.length for shot in group)
    for index in range(max(len(shot.frames) for shot in group) + config.hold):
        panels = [_panel(shot, index, length, config) for shot in group]
        gap = np.full((len(panels[0]), config.gap, 3), config.paper, np.uint8)
        yield _even(np.concatenate([part for panel in panels for part in (gap, panel)][1:], 1))


def _panel(shot: Shot, index: int, length: int, config: PerturbationFilmConfig) -> Pixels:
    """Return a title, a frame and a time line above each other."""
    record, is_over = shot.record, index >= len(shot.frames) - 1
    index = min(index, len(shot.frames) - 1)
    frame, steps = shot.frames[index].copy(), shot.steps[index]
    end = record.length if record.end is None else record.end
    if record.onset is not None and record.onset < steps <= max(end, record.onset + config.flash * shot.stride):
        cv2.rectangle(frame, (0, 0), (frame.shape[1] - 1, frame.shape[0] - 1), config.perturbed, 2 * config.border)
    head = np.full((config.head, frame.shape[1], 3), config.paper, np.uint8)
    text = f"{shot.title}: {_outcome(record)}" if is_over else shot.title
    scale = min(
        0.45, 0.45 * (frame.shape[1] - 8) / max(1, cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0])
    )
    cv2.putText(head, text, (4, config.head - 9), cv2.FONT_HERSHEY_SIMPLEX, scale, config.ink, 1, cv2.LINE_AA)
    strip = np.full((config.strip, frame.shape[1], 3), config.paper, np.uint8)
    passed = round(steps / length * frame.shape[1])
    strip[3:, :passed] = config.line
    if record.onset is not None:
        first, last = (round(step / length * frame.shape[1]) for step in (record.onset, end))
        strip[:3, first : max(last, first + 1)] = config.perturbed
    return np.concatenate([head, frame, strip])


def _outcome(record: TrialRecord) -> str:
    if record.success is None:
        return f"return {record.total_reward:.4g}"
    return "success" if record.success else "failure"


def _scaled(image: Pixels, height: int) -> Pixels:
    """Return an image of a given height with the same proportions."""
    width = max(2, round(image.shape[1] * height / image.shape[0]))
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _even(image: Pixels) -> Pixels:
    """Return an image without its last row and column where their number is odd, which the video format refuses."""
    return image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]


def _as_image(drawn: Any) -> Pixels | None:
    """Return an image ``(H, W, 3)``; None for anything else."""
    if not isinstance(drawn, np.ndarray) or drawn.dtype != np.uint8 or drawn.ndim != 3 or drawn.shape[-1] != 3:
        return None
    return drawn


def _require_image(drawn: Any) -> Pixels:
    image = _as_image(drawn)
    if image is None:
        raise CannotDrawError(f"expected a uint8 image (H, W, 3) from render(), got {type(drawn).__name__}")
    return image
