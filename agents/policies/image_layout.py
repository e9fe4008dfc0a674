"""Find the images in observations: channels first or last, single frames or stacks, entries of a Dict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class ImageLayout:
    """The axes of a single observation that holds one or several images.

    Attributes:
        frames: number of stacked frames ``k``; 1 without a stack.
        channels_first: whether the channels come before height and width.
        stacked_channels: whether the frames are stacked along the channels, ``k * C``.
        has_frame_axis: whether the frames are stacked along a first axis of their own.
        shape: height, width and channels of one frame.

    Example:
        >>> space = gym.spaces.Box(0, 255, (4, 32, 32, 3), np.uint8)
        >>> layout = find_layout(space, (32, 32, 3))
        >>> layout.frames, layout.to_frames(np.zeros((8, 4, 32, 32, 3), np.uint8)).shape
        (4, (32, 32, 32, 3))
    """

    frames: int
    channels_first: bool
    stacked_channels: bool
    has_frame_axis: bool
    shape: Shape

    @property
    def expected(self) -> tuple[int, ...]:
        """Return the shape of a single observation."""
        height, width, channels = self.shape
        depth = channels * self.frames if self.stacked_channels else channels
        one = (depth, height, width) if self.channels_first else (height, width, depth)
        return (self.frames, *one) if self.has_frame_axis else one

    def to_frames(self, observations: Any) -> Any:
        """Return all frames of a batch of observations, ``(B * frames, H, W, C)``, NumPy or torch as given.

        Raises:
            ValueError: the observations have another shape.
        """
        if tuple(observations.shape[1:]) != self.expected:
            raise ValueError(f"expected a batch of observations {self.expected}, got {tuple(observations.shape)}")
        height, width, channels = self.shape
        if self.stacked_channels:
            order = (0, 2, 3, 1) if self.channels_first else (0, 1, 2, 3)
            images = _permuted(observations, order).reshape(-1, height, width, self.frames, channels)
            return _permuted(images, (0, 3, 1, 2, 4)).reshape(-1, height, width, channels)
        if self.channels_first:
            return _permuted(observations.reshape(-1, channels, height, width), (0, 2, 3, 1))
        return observations.reshape(-1, height, width, channels)


def find_layout(space: gym.Space[Any], shape: Shape) -> ImageLayout | None:
    """Return where the images of a shape are in the observations of a space, or None if there are none.

    Args:
        space: space of a single observation.
        shape: height, width and channels of the images that an encoder sees.
    """
    if not isinstance(space, gym.spaces.Box) or space.dtype != np.uint8:
        return None
    height, width, channels = shape
    given = space.shape
    if len(given) not in (3, 4):
        return None
    if len(given) == 4:
        for first, one in ((False, shape), (True, (channels, height, width))):
            if given[1:] == one:
                return ImageLayout(given[0], first, False, True, shape)
        return None
    if given[:2] == (height, width) and given[2] % channels == 0:
        return ImageLayout(given[2] // channels, False, given[2] != channels, False, shape)
    if given[1:] == (height, width) and given[0] % channels == 0:
        return ImageLayout(given[0] // channels, True, given[0] != channels, False, shape)
    return None


def find_layouts(
    space: gym.Space[Any], shape: Shape, keys: Sequence[str] | None = None
) -> dict[str | None, ImageLayout]:
    """Return the layout of each entry of a space that holds images of a shape; the key is None for a plain space.

    Args:
        space: space of a single observation.
        shape: height, width and channels of the images that an encoder sees.
        keys: entries of a Dict space that must hold images; all that do by default.

    Raises:
        ValueError: no entry holds such images, or one of ``keys`` does not.
    """
    if not isinstance(space, gym.spaces.Dict):
        if keys is not None:
            raise ValueError(f"expected a Dict observation for keys={list(keys)}, got {space}; leave keys out")
        layout = find_layout(space, shape)
        if layout is None:
            raise ValueError(_wrong_images(space, shape))
        return {None: layout}
    wrong = [key for key in keys or () if key not in space.spaces or find_layout(space.spaces[key], shape) is None]
    found = {key: find_layout(entry, shape) for key, entry in space.spaces.items() if keys is None or key in keys}
    layouts: dict[str | None, ImageLayout] = {key: layout for key, layout in found.items() if layout is not None}
    if wrong or not layouts:
        raise ValueError(_wrong_images(space, shape, wrong))
    return layouts


def _permuted(array: Any, order: tuple[int, ...]) -> Any:
    return array.transpose(order) if isinstance(array, np.ndarray) else array.permute(order)


def _wrong_images(space: gym.Space[Any], shape: Shape, keys: Sequence[str] = ()) -> str:
    height, width, channels = shape
    where = f"as the Dict entries {list(keys)}" if keys else "as the observation or an entry of a Dict observation"
    if isinstance(space, gym.spaces.Dict):
        got = ", ".join(f"{key}: {_describe(entry)}" for key, entry in space.spaces.items())
        got = f"a Dict observation with {got}"
    else:
        got = _describe(space)
    return (
        f"expected uint8 images {shape} {where}, as the encoder sees (or channels first, {(channels, height, width)}, "
        f"or stacked frames), got {got}; set the resolution of the environment to that of the encoder or resize with "
        "gymnasium.wrappers.ResizeObservation; float images must be scaled to uint8 values from 0 to 255 first"
    )


def _describe(space: gym.Space[Any]) -> str:
    return f"{space.dtype} {space.shape}" if isinstance(space, gym.spaces.Box) else type(space).__name__
