"""A film of paired trials side by side: clean, perturbed, and perturbed with recovery, with the log density below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from ..benchmarks.recovery_methods.density_recovery import density_recovery
from ..benchmarks.recovery_methods.registry import BASE_POLICY, PROPOSED_METHOD
from ..benchmarks.recovery_run import RecoveryRun
from ..benchmarks.recovery_trials import read_outcomes
from ..collect_and_train import HELD_OUT_SEED
from ..progress import progress_bar
from .film_files import save_film

if TYPE_CHECKING:
    from ...agents.evaluation.paired_evaluation import Trial
    from ...envs.simulation.state_layout import Float, Pixels
    from ...envs.worlds.task_world import TaskWorld

Color = tuple[int, int, int]


@dataclass(frozen=True)
class FilmConfig:
    """Set the look of the film.

    Attributes:
        panel: side of a panel in pixels.
        strip: height of the plot below a panel.
        head: height of the title above a panel.
        gap: width of the gap between two panels.
        fps: frames per second.
        paper: RGB of the background.
        ink: RGB of the title.
        soft: RGB of axes and labels.
        pushed: RGB of the time of the perturbation.
        base: RGB of the density while the base policy acts.
        recovery: RGB of the density while recovery acts.
    """

    panel: int = 320
    strip: int = 110
    head: int = 28
    gap: int = 8
    fps: int = 12
    paper: Color = (23, 28, 36)
    ink: Color = (227, 232, 239)
    soft: Color = (110, 120, 135)
    pushed: Color = (70, 44, 44)
    base: Color = (108, 182, 255)
    recovery: Color = (255, 166, 87)


DEFAULT_FILM = FilmConfig()


@dataclass(frozen=True)
class Replay:
    """One episode under one condition.

    Attributes:
        name: name of the condition.
        states: ``(T, nstate)`` simulator states before every step.
        latent: ``(T, n)`` encoded positions of the agent.
        log_density: ``(T,)`` log density of these.
        recovering: ``(T,)`` bool, whether recovery acted.
        success: whether the task was achieved.
    """

    name: str
    states: Float
    latent: NDArray[np.float32]
    log_density: NDArray[np.float32]
    recovering: NDArray[np.bool_]
    success: bool


def choose_episodes(run: RecoveryRun, count: int = 3) -> list[int]:
    """Return episodes to show; first those that succeed clean, fail when perturbed, and succeed with recovery."""
    base, proposed = read_outcomes(run, BASE_POLICY), read_outcomes(run, PROPOSED_METHOD)
    telling = base["clean/success"] & ~base["pushed/success"] & proposed["pushed/success"]
    return [int(index) for index in np.argsort(~telling, kind="stable")[:count]]


def replay_episodes(run: RecoveryRun, episodes: Sequence[int]) -> list[list[Replay]]:
    """Play episodes again, and return for each the replays under the three conditions."""
    from ...agents.evaluation.paired_evaluation import run_trial

    world = run.started_world(max(episodes) + 1, HELD_OUT_SEED)
    initial = world.save()
    proposed, push = density_recovery(PROPOSED_METHOD), run.perturbation
    watched, recovery = proposed.watching_policy(run), proposed.policy(PROPOSED_METHOD, run)
    plan = (("clean", watched, None), ("pushed", watched, push), ("pushed, with recovery", recovery, push))
    parts: list[list[Replay]] = []
    steps = run.episode_steps
    with progress_bar("Playing episodes again", len(plan) * steps, "steps") as update:
        for name, policy, perturbation in plan:
            states: list[Float] = []

            def keep(step: int, states: list[Float] = states, before: int = len(parts) * steps) -> None:
                states.append(world.simulator.save())
                update(before + step)

            trial = run_trial(world, initial, policy, perturbation, seed=run.perturbation_seed, on_step=keep)
            world.restore(initial)
            every = np.stack([world.simulator.save(), *states])
            parts.append([_replay(name, trial, index, every[:, index]) for index in episodes])
    return [list(replays) for replays in zip(*parts, strict=True)]


def _replay(name: str, trial: Trial, index: int, states: Float) -> Replay:
    length = int(trial.length[index])
    return Replay(
        name,
        states[:length],
        trial.episode("latent", index),
        trial.episode("log_density", index),
        trial.episode("blend", index) < 0.5,
        bool(trial.success[index]),
    )


def render_states(run: RecoveryRun, states: Float, side: int = 64) -> Pixels:
    """Return frames ``(T, side, side, 3)`` of simulator states ``(T, nstate)``."""
    world: TaskWorld = run.world_cls(len(states), device=run.device, resolution=(side, side))
    world.simulator.restore(states)
    return world.render()


def write_film(
    path: Path,
    run: RecoveryRun,
    episodes: list[list[Replay]],
    threshold: float,
    config: FilmConfig = DEFAULT_FILM,
) -> None:
    """Write a film of episodes, one after another, with their replays side by side; and stills beside it as a PNG.

    Args:
        path: the MP4 file.
        run: run of the experiment.
        episodes: replays of every episode.
        threshold: log density below which recovery is triggered.
        config: look of the film.
    """
    shots: list[Pixels] = []
    with progress_bar("Rendering the film", len(episodes), "episodes") as update:
        for done, replays in enumerate(episodes, 1):
            shots += _side_by_side(replays, run, threshold, config)
            update(done)
    steps = len(shots) // len(episodes)
    stills = [shots[int(share * steps)] for share in (0.02, 0.3, 0.55)]
    save_film(path, shots, np.concatenate(stills), config.fps)


def _side_by_side(replays: list[Replay], run: RecoveryRun, threshold: float, config: FilmConfig) -> Iterator[Pixels]:
    """Yield the frames of an episode, and its last frame five times more."""
    frames = [render_states(run, replay.states, config.panel) for replay in replays]
    highest = max(float(replay.log_density.max()) for replay in replays)
    plot = _DensityPlot(run, threshold, (threshold - (highest - threshold), highest + 1.0), config)
    for step in range(max(len(replay.states) for replay in replays) + 5):
        panels = [_panel(replay, each, step, plot) for replay, each in zip(replays, frames, strict=True)]
        gap = np.full((len(panels[0]), config.gap, 3), config.paper, np.uint8)
        yield np.concatenate([part for panel in panels for part in (gap, panel)][1:], 1)


def _panel(replay: Replay, frames: Pixels, step: int, plot: _DensityPlot) -> Pixels:
    """Return a title, the frame of this step, and the log density until now, above each other."""
    config = plot.config
    ending = "" if step < len(frames) else ": success" if replay.success else ": failure"
    head = np.full((config.head, config.panel, 3), config.paper, np.uint8)
    cv2.putText(head, replay.name + ending, (6, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, config.ink, 1, cv2.LINE_AA)
    return np.concatenate([head, frames[min(step, len(frames) - 1)], plot.draw(replay, step, len(frames))])


@dataclass(frozen=True)
class _DensityPlot:
    """Plot of the log density against the steps of an episode."""

    run: RecoveryRun
    threshold: float
    bounds: tuple[float, float]
    config: FilmConfig

    def at(self, index: float, value: float) -> tuple[int, int]:
        """Return the pixel of a step and a log density."""
        share = (np.clip(value, *self.bounds) - self.bounds[0]) / (self.bounds[1] - self.bounds[0])
        x = round(index / self.run.episode_steps * self.config.panel)
        return x, round((1 - share) * (self.config.strip - 12)) + 6

    def draw(self, replay: Replay, step: int, length: int) -> Pixels:
        """Return the plot until a step."""
        config, at, strip_height = self.config, self.at, self.config.strip
        strip = np.full((strip_height, config.panel, 3), config.paper, np.uint8)
        if replay.name != "clean":
            push = self.run.perturbation
            left, right = at(push.onset, 0)[0], at(push.onset + push.duration, 0)[0]
            cv2.rectangle(strip, (left, 0), (right, strip_height), config.pushed, -1)
            self._label(strip, "push", left + 4)
        cv2.line(strip, at(0, self.threshold), at(self.run.episode_steps, self.threshold), config.soft, 1)
        for index in range(1, min(step + 1, length)):
            ends = at(index - 1, replay.log_density[index - 1]), at(index, replay.log_density[index])
            color = config.recovery if replay.recovering[index] else config.base
            cv2.line(strip, *ends, color, 2, cv2.LINE_AA)
        self._label(strip, "log density", config.panel - 72)
        return strip

    def _label(self, strip: Pixels, text: str, x: int) -> None:
        place = (x, self.config.strip - 6)
        cv2.putText(strip, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, self.config.soft, 1, cv2.LINE_AA)
