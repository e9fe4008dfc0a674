"""Put the arrays of episodes one after another, as `Transitions.from_episodes` does."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_KEYS = ("images", "displacement", "ground_truth", "touched", "action")
_CHANNELS = (1, 3, 4)
"""Numbers of channels by which a channel-first image is recognised."""


class EpisodesError(ValueError):
    """The arrays of an episode do not fit together, or not those of the other episodes."""


def stack_episodes(episodes: Iterable[Mapping[str, Any]], channel_first: bool = False) -> dict[str, Any]:
    """Return the arrays that `Transitions` takes, made from those of episodes.

    Each part is released as soon as it is copied, so that images are in memory about once.

    Args:
        episodes: see `Transitions.from_episodes`.
        channel_first: images have the shape ``(C, H, W)``.

    Raises:
        EpisodesError: there are no transitions, or arrays do not fit.

    Example:
        >>> episode = {"images": np.zeros((3, 8, 8, 3), np.uint8), "displacement": np.ones((2, 2))}
        >>> stack_episodes([episode, episode])["start"].tolist()
        [0, 1, 3, 4]
    """
    parts: list[dict[str, Any]] = []
    for number, episode in enumerate(episodes):
        part = _checked(number, episode, channel_first)
        if len(part["displacement"]) == 0:
            warnings.warn(f"episode {number} has no transition, and is left out", UserWarning, stacklevel=3)
            continue
        if parts:
            _require_alike(number, part, parts[0])
        parts.append(part)
    if not parts:
        raise EpisodesError("expected an episode with two images or more, got none; check what is read as episodes")
    return _joined(parts)


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    lengths = np.array([len(part["displacement"]) for part in parts])
    first = np.cumsum(lengths + 1) - (lengths + 1)
    start = np.concatenate([begin + np.arange(length) for begin, length in zip(first, lengths, strict=True)])
    names = list(parts[0].get("ground_truth", {}))
    truth = {name: np.concatenate([part["ground_truth"][name] for part in parts]) for name in names}
    rows: dict[str, Any] = {
        key: np.concatenate([part[key] for part in parts])
        for key in ("displacement", "touched", "action")
        if key in parts[0]
    }
    return {"frames": _images(parts), "start": start, "end": start + 1, "ground_truth": truth, **rows}


def _images(parts: list[dict[str, Any]]) -> NDArray[np.uint8]:
    """Return all images; each part loses its own as soon as they are copied."""
    total = sum(len(part["images"]) for part in parts)
    frames = np.empty((total, *parts[0]["images"].shape[1:]), np.uint8)
    done = 0
    for part in parts:
        images = part.pop("images")
        frames[done : done + len(images)] = images
        done += len(images)
    return frames


def _checked(number: int, episode: Mapping[str, Any], channel_first: bool) -> dict[str, Any]:
    """Return the arrays of an episode after checking them."""
    if not isinstance(episode, Mapping):
        raise EpisodesError(f"episode {number} must map names to arrays, got {type(episode).__name__}")
    unknown = sorted(str(key) for key in episode if key not in _KEYS)
    missing = [key for key in ("images", "displacement") if episode.get(key) is None]
    if unknown or missing:
        found = f"no {missing[0]!r}" if missing else f"the unknown key {unknown[0]!r}"
        raise EpisodesError(f"episode {number} has {found}; the keys are {', '.join(_KEYS)}")
    part = {key: episode[key] for key in _KEYS if episode.get(key) is not None}
    part["images"] = checked_images(part["images"], f"episode {number}: images", channel_first)
    part["displacement"] = np.asarray(part["displacement"])
    _require_lengths(number, part)
    return part


def checked_images(images: Any, what: str, channel_first: bool = False) -> NDArray[np.uint8]:
    """Return images ``(F, H, W, C)`` after checking their type and shape; a view where they are channel-first.

    Raises:
        EpisodesError: they are not uint8, or of another shape.
    """
    array = np.asarray(images)
    if array.dtype != np.uint8:
        raise EpisodesError(
            f"{what} must be uint8 (0 to 255), got {array.dtype}; "
            "convert them, such as by (images * 255).round().astype(np.uint8) where they are in [0, 1]"
        )
    layout = "(C, H, W)" if channel_first else "(H, W, C)"
    if array.ndim != 4:
        hint = "; add an axis for the channel: images[..., None]" if array.ndim == 3 else ""
        raise EpisodesError(f"{what} must be several images {layout}, got the shape {array.shape}{hint}")
    if channel_first and array.shape[1] not in _CHANNELS and array.shape[3] in _CHANNELS:
        raise EpisodesError(
            f"{what} must have the channels first, (C, H, W), got {array.shape[1:]}, "
            "which looks channel-last; leave channel_first=True out"
        )
    if channel_first:
        array = np.moveaxis(array, 1, 3)
    elif array.shape[3] not in _CHANNELS and array.shape[1] in _CHANNELS:
        raise EpisodesError(
            f"{what} must have the channels last, (H, W, C), got {array.shape[1:]}, "
            "which looks channel-first; pass channel_first=True"
        )
    return array


def _require_lengths(number: int, part: dict[str, Any]) -> None:
    frames, moves = len(part["images"]), part["displacement"]
    if moves.ndim != 2:
        raise EpisodesError(f"episode {number}: displacement must have shape (T, dim), got {moves.shape}")
    if frames == len(moves) > 0:
        raise EpisodesError(
            f"episode {number} has {frames} images and as many displacements; T displacements lie between T + 1 "
            "images. Leave out the last displacement (displacement[:-1]) if each was performed after its image, "
            "or the first one (displacement[1:]) if each led to its image"
        )
    if frames != len(moves) + 1 and frames + len(moves) > 0:
        raise EpisodesError(f"episode {number} has {len(moves)} displacements and {frames} images, not one more")
    for key in ("touched", "action"):
        if key in part:
            part[key] = np.asarray(part[key])
            _require_rows(number, key, part[key], len(moves), "displacement")
    truth = part.get("ground_truth", {})
    if not isinstance(truth, Mapping):
        raise EpisodesError(f"episode {number}: ground_truth must map names to arrays, got {type(truth).__name__}")
    part["ground_truth"] = {name: np.asarray(values) for name, values in truth.items()}
    for name, values in part["ground_truth"].items():
        _require_rows(number, f"ground_truth[{name!r}]", values, frames, "image")


def _require_rows(number: int, name: str, values: NDArray[Any], count: int, each: str) -> None:
    if values.ndim == 0 or len(values) != count:
        raise EpisodesError(
            f"episode {number}: {name} must have one entry for each {each}, {count} of them, got shape {values.shape}"
        )


def _require_alike(number: int, part: dict[str, Any], first: dict[str, Any]) -> None:
    """Check that an episode has the shapes and the keys of the first one."""
    for name, one, other in zip(("images", "the rest"), _kind(part), _kind(first), strict=True):
        if one != other:
            raise EpisodesError(f"episode {number} differs from the first one in {name}: expected {other}, got {one}")


def _kind(part: dict[str, Any]) -> tuple[Any, Any]:
    rest = {key: part[key].shape[1:] for key in ("displacement", "touched", "action") if key in part}
    truth = {f"ground_truth/{name}": values.shape[1:] for name, values in sorted(part["ground_truth"].items())}
    return part["images"].shape[1:], rest | truth
