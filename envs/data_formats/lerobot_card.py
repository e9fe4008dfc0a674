"""The card ``meta/equiact.json`` in LeRobot data sets that `save_lerobot` wrote, and how they are loaded.

LeRobot does not read it. With it, `load_dataset` needs no rule, no group and no image key, and gives the same
transitions in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.minari_dataset import DatasetError
from ..data.transitions import Transitions, TransitionsError
from ..storage.artifacts import ArtifactError, read_json
from .episode_source import EpisodeSource, require_memory
from .lerobot_layout import inside
from .read_errors import damaged

CARD_PATH = "meta/equiact.json"
IMAGE, DISPLACEMENT, ACTION, TOUCHED = "observation.image", "displacement", "action", "touched"
FRAME, TRANSITION = "source.frame", "source.transition"
"""Names of the columns."""


@dataclass(frozen=True)
class LeRobotCard:
    """What is needed to load the transitions again.

    Attributes:
        group: name of the group that acts.
        count: number of transitions.
        frames: number of frames.
        touched: whether it is stored which steps moved the object.
        action: whether the actions of an expert are stored.
        ground_truth: column, shape and type of each ground truth, by name.
    """

    group: str
    count: int
    frames: int
    touched: bool
    action: bool
    ground_truth: Mapping[str, tuple[str, list[int], str]] = field(default_factory=dict)

    @classmethod
    def of(cls, transitions: Transitions) -> LeRobotCard:
        """Return the card of transitions.

        Raises:
            DatasetError: two names of ground truth give the same column.
        """
        truth = {
            name: (f"ground_truth.{name.replace('/', '.')}", list(values.shape[1:]), str(values.dtype))
            for name, values in transitions.ground_truth.items()
        }
        if len({column for column, _, _ in truth.values()}) < len(truth):
            raise DatasetError(
                f"expected names of ground truth that differ in LeRobot, got {sorted(truth)}; rename one"
            )
        return cls(
            group=transitions.group,
            count=len(transitions),
            frames=len(transitions.frames),
            touched=transitions.touched is not None,
            action=transitions.action is not None,
            ground_truth=truth,
        )

    @classmethod
    def read(cls, root: Path) -> LeRobotCard | None:
        """Return the card of a data set; None if it has none.

        Raises:
            DatasetError: the card is damaged.
        """
        path = inside(root, CARD_PATH)
        if not path.is_file():
            return None
        try:
            content = read_json(path)
            card = cls(**content)
            truth = {
                str(name): (str(column), [int(n) for n in shape], np.dtype(dtype).str)
                for name, (column, shape, dtype) in card.ground_truth.items()
            }
            return cls(str(card.group), int(card.count), int(card.frames), card.touched, card.action, truth)
        except (ArtifactError, AttributeError, TypeError, ValueError) as error:
            raise damaged("a LeRobot data set of equiact", root, f"{CARD_PATH}: {error}") from error

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns that are loaded."""
        optional = [name for name, stored in ((TOUCHED, self.touched), (ACTION, self.action)) if stored]
        return [DISPLACEMENT, FRAME, TRANSITION, *optional, *(column for column, _, _ in self.ground_truth.values())]

    def load(self, source: EpisodeSource, max_bytes: int) -> Transitions:
        """Return the transitions that were saved, in the same order.

        Args:
            source: the data set.
            max_bytes: largest size of an array.

        Raises:
            DatasetError: it is damaged or too large.
        """
        shape, rows = source.image_shapes().get(IMAGE), source.num_frames()
        if shape is None or not 0 < self.frames <= rows or not 0 < self.count <= rows:
            raise damaged(source.name, source.path, f"{CARD_PATH} does not fit to its {rows} frames")
        widths = {
            name: math.prod(each) * np.dtype(kind).itemsize for name, (_, each, kind) in self.ground_truth.items()
        }
        sizes = {"images": rows * math.prod(shape), **{name: rows * width for name, width in widths.items()}}
        require_memory(f"{source.name} at {source.path}", sizes, max_bytes)
        try:
            return self._filled(source, shape)
        except (IndexError, TransitionsError) as error:
            raise damaged(source.name, source.path, str(error)) from error

    def _filled(self, source: EpisodeSource, shape: tuple[int, ...]) -> Transitions:
        """Return the transitions in the episodes, each in its place."""
        frames = np.zeros((self.frames, *shape), np.uint8)
        index = np.full((2, self.count), -1)
        truth = {name: np.zeros((self.frames, *each), kind) for name, (_, each, kind) in self.ground_truth.items()}
        steps: dict[str, NDArray[Any]] = {}
        for episode in source.episodes(IMAGE, self.columns):
            columns = episode.columns
            frame, step = columns[FRAME].reshape(-1), columns[TRANSITION].reshape(-1)[:-1]
            if min(frame.min(initial=0), step.min(initial=0)) < 0:
                raise IndexError("an index in it is negative")
            frames[frame], index[:, step] = episode.images, (frame[:-1], frame[1:])
            for name, values in truth.items():
                values[frame] = columns[self.ground_truth[name][0]].reshape(len(frame), *values.shape[1:])
            for name in set(self.columns) & {DISPLACEMENT, TOUCHED, ACTION}:
                rows = columns[name][:-1]
                steps.setdefault(name, np.zeros((self.count, *rows.shape[1:]), rows.dtype))[step] = rows
        touched = steps[TOUCHED].reshape(-1) if self.touched else None
        action = steps[ACTION] if self.action else None
        return Transitions(frames, index[0], index[1], steps[DISPLACEMENT], self.group, truth, touched, action)
