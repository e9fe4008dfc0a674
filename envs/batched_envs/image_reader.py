"""Find the images in the observations of any environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


class FrameReader:
    """Read uint8 images ``(n, H, W, C)`` from a batch of observations, or draw them with ``render``.

    Args:
        image_key: entry of Dict observations that holds the image; the only image among the entries if None.
    """

    def __init__(self, image_key: str | None = None) -> None:
        self._key = image_key
        self._shape: tuple[int, ...] | None = None

    def read(self, observation: Any, render: Callable[[], Any]) -> NDArray[np.uint8]:
        """Return the frames of a batch of observations.

        Args:
            observation: the batch; a dict of batches for Dict observations.
            render: draws one image, or one for each environment.

        Raises:
            ValueError: there is no image, there are several and `image_key` does not say which to take, or the images
                have another shape than those before.
        """
        found = self._entry(observation)
        frames = _require_frames(_drawn(render) if found is None else found)
        shape = frames.shape[1:]
        self._shape = shape if self._shape is None else self._shape
        if shape != self._shape:
            raise ValueError(f"all frames must have one shape, got {shape} after {self._shape}; resize them to one")
        return frames

    def _entry(self, observation: Any) -> Any:
        """Return the image in the observation, or None if it must be drawn."""
        if not isinstance(observation, dict):
            if self._key is not None:
                raise ValueError(f"image_key={self._key!r} was given, but observations are no Dict; leave it out")
            return observation if _is_frames(observation) else None
        return image_entry(observation, self._key)


def image_entry(observation: dict[str, Any], key: str | None = None) -> Any:
    """Return the image entry of a batch of Dict observations; None if there is none and no key is given.

    Args:
        observation: the batch, a dict of arrays.
        key: the entry that holds the image; the only image among the entries if None.

    Raises:
        ValueError: there is no such entry, or there are several images and no key.
    """
    images = [name for name, value in observation.items() if _is_frames(value)]
    if key is not None:
        if key not in observation:
            raise ValueError(f"observations have no entry {key!r}; pass image_key= one of {images}")
        return observation[key]
    if len(images) > 1:
        raise ValueError(f"observations have several images; pass image_key= one of {images}")
    return observation[images[0]] if images else None


def copy_observation(observation: Any, batch: bool = False) -> Any:
    """Return a contiguous copy of an observation of arrays, dicts and tuples.

    Args:
        observation: of one environment or of a batch.
        batch: add a first axis, to make a batch of one.
    """
    if isinstance(observation, dict):
        return {key: copy_observation(value, batch) for key, value in observation.items()}
    if isinstance(observation, tuple):
        return tuple(copy_observation(value, batch) for value in observation)
    copied = np.array(observation, order="C")
    return copied[None] if batch else copied


def _drawn(render: Callable[[], Any]) -> Any:
    """Return what an environment draws, as a batch; None if it draws nothing."""
    try:
        drawn = np.array(render(), order="C")  # a copy: some environments draw every frame into the same buffer
    except NotImplementedError:
        return None
    return drawn[None] if drawn.ndim == 3 else drawn


def _is_frames(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.ndim == 4


def _require_frames(frames: Any) -> NDArray[np.uint8]:
    dtype, shape = getattr(frames, "dtype", type(frames)), tuple(getattr(frames, "shape", ()))[1:]
    if not _is_frames(frames):
        raise ValueError(
            "the environment must observe uint8 RGB frames or be made with render_mode='rgb_array'; "
            f"got frames of type {dtype} and shape {shape}"
        )
    if looks_channels_first(shape):
        raise ValueError(
            f"frames must have shape (H, W, C), got {shape}, which looks like (C, H, W); move the channels to the "
            "last axis, for example with gymnasium.wrappers.TransformObservation"
        )
    return np.asarray(frames)


def looks_channels_first(shape: tuple[int, ...]) -> bool:
    """Return whether an image shape looks like ``(C, H, W)``: few rows, and too many channels for ``(H, W, C)``.

    >>> [looks_channels_first(shape) for shape in ((3, 64, 64), (9, 84, 84), (64, 64, 3), (84, 84, 12))]
    [True, True, False, False]
    """
    first, _, last = shape
    return (first in (1, 3, 4) and last > 4) or (first < last and last > 16)
