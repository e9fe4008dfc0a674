"""Drawn discs that an agent pushes, and what else a world may do: more objects, distractors, hidden objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ...envs.data.transitions import Transitions

Floats = NDArray[np.float64]

SIDE = 2.0
"""Side of the square of the agent's positions."""
AGENT_RADIUS, OBJECT_RADIUS = 0.08, 0.12
OBJECT_LIMIT = 0.75
"""Largest coordinate of an object: the agent can always get behind it."""
LARGEST_STEP = 0.3
"""Largest displacement of the agent along an axis."""
EPISODE, SUBSTEPS = 40, 12
"""Steps of an episode, and parts of a step in which what is met is pushed away."""
PIXELS, VIEW = 64, 1.25
"""Side of the images in pixels, and half the side of the square that they show."""
DRIFT = 0.08
"""Standard deviation of a step of the distractor along an axis."""
OCCLUDER = (0.1, 0.6)
"""Horizontal range of the bar that hides what is below."""
AGENT_COLOR, DISTRACTOR_COLOR, OCCLUDER_COLOR = (60, 90, 240), (230, 230, 90), (90, 90, 90)
OBJECT_COLORS = ((240, 130, 40), (60, 200, 90), (200, 60, 200))
"""Colours of the objects, of which there are as many at most."""


@dataclass(frozen=True)
class DrawnScene:
    """Say what is in the images.

    Attributes:
        objects: number of discs that the agent can push, at most three.
        distractor: whether a disc moves by itself; nothing pushes it.
        moving_background: whether the background moves.
        occluder: whether a bar hides objects below it; the agent is above.
        colors: colours of the objects.
        size: factor on the size of the objects in the images.
        shift: by how much the camera is moved along both axes.
    """

    objects: int = 1
    distractor: bool = False
    moving_background: bool = False
    occluder: bool = False
    colors: tuple[tuple[int, int, int], ...] = OBJECT_COLORS
    size: float = 1.0
    shift: float = 0.0

    def collect(self, count: int, seed: int, progress: Callable[[int], None] = lambda done: None) -> Transitions:
        """Return transitions with random actions, with the ground truth ``agent_pose`` and ``object_pose_<i>``.

        Args:
            count: number of transitions, rounded up to whole episodes.
            seed: seed of the initial states and of all movements.
            progress: called with the number of transitions so far.
        """
        from ...envs.data.transitions import Transitions

        generator = np.random.default_rng(seed)
        path = _simulate(-(-count // EPISODE), self.objects, generator)
        background = _background(generator)
        episodes = []
        for index in range(len(path.agent)):
            frames = [self._draw(path, index, step, background) for step in range(EPISODE + 1)]
            poses = {f"object_pose_{each}": path.objects[index, :, each] for each in range(self.objects)}
            truth = {"agent_pose": path.agent[index], **poses}
            episodes.append(
                {
                    "images": np.array(frames),
                    "displacement": np.diff(path.agent[index], axis=0).astype(np.float32),
                    "ground_truth": {name: pose.astype(np.float32) for name, pose in truth.items()},
                }
            )
            progress(min((index + 1) * EPISODE, count))
        found = Transitions.from_episodes(episodes, group="R2")
        return replace(found, touched=path.touched.ravel())

    def _draw(self, path: _Path, index: int, step: int, background: NDArray[np.uint8]) -> NDArray[np.uint8]:
        rows, columns = path.scroll[index, step] if self.moving_background else (0, 0)
        image = np.ascontiguousarray(np.roll(background, (rows, columns), (0, 1))[:PIXELS, :PIXELS])
        if self.distractor:
            self._disc(image, path.distractor[index, step], OBJECT_RADIUS, DISTRACTOR_COLOR)
        for place, color in zip(path.objects[index, step], self.colors, strict=False):
            self._disc(image, place, self.size * OBJECT_RADIUS, color)
        if self.occluder:
            left, right = (round((x + self.shift + VIEW) / (2 * VIEW) * PIXELS) for x in OCCLUDER)
            image[:, left:right] = OCCLUDER_COLOR
        self._disc(image, path.agent[index, step], AGENT_RADIUS, AGENT_COLOR)
        return image

    def _disc(self, image: NDArray[np.uint8], place: Floats, radius: float, color: tuple[int, int, int]) -> None:
        """Draw a disc at a place between pixels: cv2 takes sixteenths."""
        x, y = (round(float((each + self.shift + VIEW) / (2 * VIEW) * PIXELS - 0.5) * 16) for each in place)
        cv2.circle(image, (x, y), round(radius / (2 * VIEW) * PIXELS * 16), color, -1, cv2.LINE_AA, 4)


SCENES = {
    "one object": DrawnScene(),
    "two objects": DrawnScene(objects=2),
    "three objects": DrawnScene(objects=3),
    "a distractor that moves by itself": DrawnScene(distractor=True),
    "a moving background": DrawnScene(moving_background=True),
    "an object that is hidden at times": DrawnScene(occluder=True),
}
"""Scenes to train in, as in the rows of the table."""
CHANGES = {
    "another colour": DrawnScene(colors=((240, 40, 130),)),
    "a larger object": DrawnScene(size=1.3),
    "a camera that was moved": DrawnScene(shift=0.08),
}
"""Scenes in which the encoder of one object is measured, without training in them."""


@dataclass(frozen=True)
class _Path:
    """Positions in ``E`` episodes of ``T`` steps.

    Attributes:
        agent: ``(E, T + 1, 2)``.
        objects: ``(E, T + 1, K, 2)``.
        distractor: ``(E, T + 1, 2)``.
        scroll: rows and columns by which the background is moved, ``(E, T + 1, 2)``.
        touched: whether a step touches an object, ``(E, T)``.
    """

    agent: Floats
    objects: Floats
    distractor: Floats
    scroll: NDArray[np.int64]
    touched: NDArray[np.bool_]


def _simulate(episodes: int, count: int, generator: np.random.Generator) -> _Path:
    agent = generator.uniform(-1, 1, (episodes, 2))
    objects = _apart(generator.uniform(-OBJECT_LIMIT, OBJECT_LIMIT, (episodes, count, 2)), agent, generator)
    distractor = generator.uniform(-1, 1, (episodes, 2))
    steps: list[Any] = [(agent, objects, distractor)]
    touched = np.zeros((episodes, EPISODE), bool)
    for step in range(EPISODE):
        target = np.clip(agent + generator.uniform(-LARGEST_STEP, LARGEST_STEP, agent.shape), -1, 1)
        for share in np.linspace(0, 1, SUBSTEPS + 1)[1:]:
            objects, pushed = _push(objects, agent + share * (target - agent))
            touched[:, step] |= pushed
        agent = target
        distractor = np.clip(distractor + generator.normal(0, DRIFT, distractor.shape), -1, 1)
        steps.append((agent, objects, distractor))
    agents, places, distractors = (np.stack(each, 1) for each in zip(*steps, strict=True))
    scroll = np.cumsum(generator.integers(-1, 2, (episodes, EPISODE + 1, 2)), 1)
    return _Path(agents, places, distractors, scroll, touched)


def _apart(objects: Floats, agent: Floats, generator: np.random.Generator) -> Floats:
    """Return objects, drawn anew in the episodes in which one touches another or the agent."""
    objects = objects.copy()
    while True:
        pushed = _push(objects, agent)[1] | _overlap(objects)
        if not pushed.any():
            return objects
        objects[pushed] = generator.uniform(-OBJECT_LIMIT, OBJECT_LIMIT, objects[pushed].shape)


def _overlap(objects: Floats) -> NDArray[np.bool_]:
    distance = np.linalg.norm(objects[:, :, None] - objects[:, None], axis=-1)
    distance += 9 * np.eye(objects.shape[1])
    return np.asarray((distance < 2 * OBJECT_RADIUS).any((1, 2)))


def _push(objects: Floats, agent: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return objects ``(E, K, 2)`` pushed away from agents ``(E, 2)``, and where one was; it pushes others away."""
    offset = objects - agent[:, None]
    distance = np.linalg.norm(offset, axis=-1, keepdims=True)
    away = AGENT_RADIUS + OBJECT_RADIUS
    met = distance < away
    moved = np.where(met, agent[:, None] + offset * (away / np.maximum(distance, 1e-9)), objects)
    between = moved[:, :, None] - moved[:, None]
    gap = np.linalg.norm(between, axis=-1, keepdims=True) + 9 * np.eye(objects.shape[1])[..., None]
    short = np.maximum(2 * OBJECT_RADIUS - gap, 0)
    moved = moved + (short / 2 * between / gap).sum(2)
    pushed = met.any((1, 2))
    return np.where(pushed[:, None, None], np.clip(moved, -OBJECT_LIMIT, OBJECT_LIMIT), objects), pushed


def _background(generator: np.random.Generator) -> NDArray[np.uint8]:
    """Return a smooth texture of twice the size of the images."""
    coarse = generator.uniform(20, 70, (2 * PIXELS // 8, 2 * PIXELS // 8, 3)).astype(np.float32)
    fine = cv2.resize(coarse, (2 * PIXELS, 2 * PIXELS), interpolation=cv2.INTER_CUBIC)
    return np.asarray(fine.clip(0, 255), np.uint8)
