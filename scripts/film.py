"""Trials of one episode side by side: clean, pushed, and pushed with recovery, with the density as they go."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import imageio.v3 as imageio
import numpy as np
from numpy.typing import NDArray

from scripts.commands import HELD_OUT_SEED
from scripts.progress import bar
from scripts.recovery_experiment import Seed
from scripts.recovery_methods import CLONED, OURS

if TYPE_CHECKING:
    from agents.trials import Trial
    from envs.simulator import Float, Pixels
    from envs.task import TaskWorld

PANEL, STRIP, HEAD, GAP = 320, 110, 28, 8
"""Side of a panel, height of the strip below it and of the title above it, and the gap between two, in pixels."""
PAPER, INK, SOFT, PUSHED = (23, 28, 36), (227, 232, 239), (110, 120, 135), (70, 44, 44)
ACTS = {False: (108, 182, 255), True: (255, 166, 87)}
"""Colour of the density while the base acts, and while recovery does."""


@dataclass(frozen=True)
class Take:
    """One trial of one episode.

    Attributes:
        name: what happens in it.
        states: ``(T, nstate)`` of the simulator, before every step.
        latent: ``(T, n)`` where the encoder has the agent.
        log_density: ``(T,)`` there.
        recovering: ``(T,)`` whether recovery acted.
        success: whether the task was achieved.
    """

    name: str
    states: Float
    latent: NDArray[np.float32]
    log_density: NDArray[np.float32]
    recovering: NDArray[np.bool_]
    success: bool


def choose(seed: Seed, most: int = 3) -> list[int]:
    """Pairs to show: first those that succeed clean, fail when pushed, and are recovered."""
    base, ours = seed.outcomes(CLONED[0]), seed.outcomes(OURS)
    telling = base["clean/success"] & ~base["pushed/success"] & ours["pushed/success"]
    return [int(index) for index in np.argsort(~telling, kind="stable")[:most]]


def play_again(seed: Seed, episodes: Sequence[int]) -> list[list[Take]]:
    """The chosen pairs of a seed once more: for each its takes."""
    from agents.trials import run

    world = seed.started(max(episodes) + 1, HELD_OUT_SEED)
    initial = world.save()
    watched, recovery = seed.recovery(OURS, acts=False), seed.recovery(OURS)
    plan = (("clean", watched, None), ("pushed", watched, seed.push), ("pushed, with recovery", recovery, seed.push))
    parts: list[list[Take]] = []
    steps = seed.world.episode_steps
    with bar("Playing again", len(plan) * steps, "steps") as update:
        for name, policy, push in plan:
            states: list[Float] = []

            def keep(step: int, states: list[Float] = states, before: int = len(parts) * steps) -> None:
                states.append(world.simulator.save())
                update(before + step)

            trial = run(world, initial, policy, push, seed=seed.seed, on_step=keep)
            world.restore(initial)
            every = np.stack([world.simulator.save(), *states])
            parts.append([_take(name, trial, index, every[:, index]) for index in episodes])
    return [list(takes) for takes in zip(*parts, strict=True)]


def _take(name: str, trial: Trial, index: int, states: Float) -> Take:
    length = int(trial.length[index])
    return Take(
        name,
        states[:length],
        trial.episode("latent", index),
        trial.episode("log_density", index),
        trial.episode("blend", index) < 0.5,
        bool(trial.success[index]),
    )


def drawn(seed: Seed, states: Float, side: int = 64) -> Pixels:
    """Frames of states, one a world."""
    world: TaskWorld = seed.world(len(states), device=seed.device, resolution=(side, side))
    world.simulator.restore(states)
    return world.render()


def write_film(path: Path, seed: Seed, episodes: list[list[Take]], threshold: float) -> None:
    """Write the episodes one after another, their takes side by side; a strip of stills goes beside it as a PNG."""
    shots: list[Pixels] = []
    with bar("Drawing the film", len(episodes), "episodes") as update:
        for done, takes in enumerate(episodes, 1):
            shots += _side_by_side(takes, seed, threshold)
            update(done)
    beside = path.with_name(f".{path.name}")
    imageio.imwrite(beside, np.stack(shots), extension=".mp4", fps=12, codec="libx264", macro_block_size=1)
    os.replace(beside, path)
    steps = len(shots) // len(episodes)
    stills = [shots[int(share * steps)] for share in (0.02, 0.3, 0.55)]
    imageio.imwrite(path.with_suffix(".png"), np.concatenate(stills))


def _side_by_side(takes: list[Take], seed: Seed, threshold: float) -> Iterator[Pixels]:
    """The takes of an episode, and their last frames for a moment."""
    frames = [drawn(seed, take.states, PANEL) for take in takes]
    highest = max(float(take.log_density.max()) for take in takes)
    bounds = (threshold - (highest - threshold), highest + 1.0)
    for step in range(max(len(take.states) for take in takes) + 5):
        panels = [_panel(take, each, step, seed, threshold, bounds) for take, each in zip(takes, frames, strict=True)]
        gap = np.full((len(panels[0]), GAP, 3), PAPER, np.uint8)
        yield np.concatenate([part for panel in panels for part in (gap, panel)][1:], 1)


def _panel(take: Take, frames: Pixels, step: int, seed: Seed, threshold: float, bounds: tuple[float, float]) -> Pixels:
    """A title, the frame of this step, and the density until now."""
    over = step >= len(frames)
    head = np.full((HEAD, PANEL, 3), PAPER, np.uint8)
    ending = "" if not over else ": success" if take.success else ": failure"
    cv2.putText(head, take.name + ending, (6, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
    strip = np.full((STRIP, PANEL, 3), PAPER, np.uint8)

    def at(index: float, value: float) -> tuple[int, int]:
        share = (np.clip(value, *bounds) - bounds[0]) / (bounds[1] - bounds[0])
        return round(index / seed.world.episode_steps * PANEL), round((1 - share) * (STRIP - 12)) + 6

    if take.name != "clean":
        push = seed.push
        left, right = at(push.onset, 0)[0], at(push.onset + push.duration, 0)[0]
        cv2.rectangle(strip, (left, 0), (right, STRIP), PUSHED, -1)
        cv2.putText(strip, "push", (left + 4, STRIP - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.38, SOFT, 1, cv2.LINE_AA)
    cv2.line(strip, at(0, threshold), at(seed.world.episode_steps, threshold), SOFT, 1)
    for index in range(1, min(step + 1, len(frames))):
        ends = at(index - 1, take.log_density[index - 1]), at(index, take.log_density[index])
        cv2.line(strip, *ends, ACTS[bool(take.recovering[index])], 2, cv2.LINE_AA)
    cv2.putText(strip, "log density", (PANEL - 72, STRIP - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.38, SOFT, 1, cv2.LINE_AA)
    return np.concatenate([head, frames[min(step, len(frames) - 1)], strip])
