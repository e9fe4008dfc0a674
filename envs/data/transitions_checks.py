"""Checks of the content of transitions: is there anything in them to learn from?

`Transitions` itself checks types, shapes and the group. These checks find data that is well-formed and useless, such
as images that never change. `collect` warns of it; training refuses most of it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..lie_groups.registry import group_from_name
from .transitions import Transitions


@dataclass(frozen=True)
class ContentLimits:
    """Bounds of what is normal.

    Attributes:
        min_side: least height and width of a frame, in pixels.
        max_outlier: largest ratio of a displacement's distance from the identity to the median one.
        rounding: shorter displacements are rounding errors, and not counted for the median one.
        sampled_frames: number of frames that are looked at to see whether images change.
        sampled_transitions: number of transitions that are looked at to see whether motion shows in the images.
        visible_change: grey levels by which some pixel changes in an image that shows motion.
        max_unseen: largest share of transitions with motion that the images may not show.
    """

    min_side: int = 8
    max_outlier: float = 1e4
    rounding: float = 1e-6
    sampled_frames: int = 64
    sampled_transitions: int = 256
    visible_change: int = 16
    max_unseen: float = 0.25


def content_problems(transitions: Transitions, limits: ContentLimits = ContentLimits()) -> list[str]:
    """Return what is wrong with the content, in words with what to do; an empty list if nothing is.

    Found are frames that are all alike, frames of a few pixels, displacements that are all the identity, and a
    displacement that is far larger than the others.

    Args:
        transitions: the data.
        limits: bounds of what is normal.
    """
    return [
        *_small(transitions, limits),
        *_constant(transitions, limits),
        *_idle(transitions),
        *_outliers(transitions, limits),
    ]


def warn_about_content(transitions: Transitions, limits: ContentLimits = ContentLimits()) -> None:
    """Issue a `UserWarning` for each of the `content_problems`.

    Warn of coordinates in which nothing moved, too, and of motion that the images do not show.
    """
    problems = content_problems(transitions, limits)
    if not problems:
        problems = [*_constant_coordinates(transitions), *_unseen_motion(transitions, limits)]
    for problem in problems:
        warnings.warn(problem, UserWarning, stacklevel=3)


def _small(transitions: Transitions, limits: ContentLimits) -> Iterator[str]:
    height, width = transitions.frames.shape[1:3]
    if min(height, width) < limits.min_side:
        least = f"{limits.min_side}x{limits.min_side}"
        yield f"frames have {height}x{width} pixels, less than {least}; raise the resolution"


def _constant(transitions: Transitions, limits: ContentLimits) -> Iterator[str]:
    if len(transitions.frames) < 2:
        return
    picks = np.unique(np.linspace(0, len(transitions.frames) - 1, limits.sampled_frames).astype(int))
    some = transitions.frames[picks]
    if (some == some[0]).all() and (transitions.frames == some[0]).all():
        yield "all frames are alike: nothing can be learned from them; check the camera, and which image is observed"


def _idle(transitions: Transitions) -> Iterator[str]:
    if len(transitions) > 1 and not _lengths(transitions).any():
        yield (
            "all displacements are the identity: nothing moved; check which entry of info is read as the displacement, "
            "and the policy"
        )


def _constant_coordinates(transitions: Transitions) -> Iterator[str]:
    """Name coordinates of translations in which nothing ever moved; those of other groups depend on each other."""
    moved = np.asarray(transitions.displacement != 0).any(0)
    if re.fullmatch(r"R\d+", transitions.group) and moved.any() and not moved.all() and len(transitions) > 1:
        still = ", ".join(str(index) for index in np.flatnonzero(~moved))
        yield (
            f"coordinate {still} of the displacement is always 0: its position cannot be learned; check the plane, for "
            "example plane=xz for a planar robot of MuJoCo, or leave the coordinate out"
        )


def _unseen_motion(transitions: Transitions, limits: ContentLimits) -> Iterator[str]:
    """Report motion of less than a pixel: in many transitions with a displacement no pixel changes visibly."""
    moving = np.flatnonzero(_lengths(transitions) > limits.rounding)
    if not moving.size:
        return
    picks = moving[np.unique(np.linspace(0, len(moving) - 1, limits.sampled_transitions).astype(int))]
    before, after = transitions.frames[transitions.start[picks]], transitions.frames[transitions.end[picks]]
    change = np.abs(before.astype(np.int16) - after).max((1, 2, 3))
    unseen = float((change < limits.visible_change).mean())
    if unseen > limits.max_unseen:
        yield (
            f"in {unseen:.0%} of the transitions with a displacement no pixel changes by {limits.visible_change} grey "
            "levels: the motion of one step is too small to be seen. Hold each action for several steps "
            "(--action-repeat, or gymnasium.wrappers.RepeatAction), bring the camera closer, or raise the resolution"
        )


def _outliers(transitions: Transitions, limits: ContentLimits) -> Iterator[str]:
    lengths = _lengths(transitions)
    moved, worst = lengths[lengths > limits.rounding], int(lengths.argmax())
    median = np.median(moved) if moved.size else 0.0
    if lengths[worst] > limits.max_outlier * median > 0:
        yield (
            f"the displacement of transition {worst} is {lengths[worst] / median:.0e} times as large as the median "
            "one; leave it out with `select`, or correct it"
        )


def _lengths(transitions: Transitions) -> NDArray[np.float64]:
    """Return the distance of each displacement from the identity, ``(N,)``."""
    group = group_from_name(transitions.group)
    identity = np.tile(group.identity(), (len(transitions), 1))
    with np.errstate(over="ignore"):
        squared = group.squared_distance(transitions.displacement.astype(float), identity)
    lengths: NDArray[np.float64] = np.sqrt(squared)
    return lengths
