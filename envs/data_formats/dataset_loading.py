"""Load a data set of any package that we can read as transitions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..data.episode_arrays import checked_images
from ..data.minari_dataset import DatasetError, load_transitions
from ..data.transitions import Transitions, TransitionsError
from ..lie_groups.group import Group, GroupError
from ..lie_groups.registry import group_from_name
from .displacement_rule import DisplacementFunction, DisplacementRule
from .episode_columns import find_name, split_selection
from .episode_source import EpisodeSource, choose_image_key, require_memory
from .format_detection import FORMATS, detect_format
from .lerobot_card import LeRobotCard
from .lerobot_source import LeRobotSource
from .minari_source import MinariSource
from .npz_source import NpzSource
from .robomimic_source import RobomimicSource

__all__ = ["load_dataset"]


def load_dataset(
    path: str | Path,
    *,
    displacement: str | DisplacementRule | DisplacementFunction | None = None,
    image_key: str | None = None,
    group: str | None = None,
    format: str | None = None,
    ground_truth: Mapping[str, str] | None = None,
    channel_first: bool = False,
    max_bytes: int = 8 * 2**30,
) -> Transitions:
    """Load a data set as transitions: ours, Minari, LeRobot, robomimic or NumPy.

    Episodes with a single frame are left out with a warning. Nothing that is read is executed.

    Args:
        path: the folder or file of the data set.
        displacement: where the displacement is; a rule such as ``"column:action"``,
            ``"difference:observation.state[0:2]"`` or ``"module:function"``, or a function. See `DisplacementRule`.
            Data sets that we wrote need none.
        image_key: the column of the images; not needed if there is only one.
        group: name of the group that acts, such as ``"R2"``. Data sets that we wrote need none.
        format: one of ``"equiact"``, ``"minari"``, ``"lerobot"``, ``"robomimic"`` and ``"npz"``; found out if None.
        ground_truth: columns that are kept for evaluation, by the name that they get, such as
            ``{"object_pose": "observation.environment_state"}``.
        channel_first: the images have the shape ``(C, H, W)``.
        max_bytes: largest size of the images and of each file. It is checked before memory is allocated.

    Raises:
        DatasetError: there is no such data set, it is damaged or too large, an argument is missing or does not fit, or
            a library is not installed.

    Example:
        >>> import tempfile, numpy as np
        >>> images, episode = np.zeros((4, 16, 16, 3), np.uint8), np.array([0, 0, 1, 1])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/data.npz", images=images, episode=episode, displacement=np.ones((4, 2)))
        ...     load_dataset(f"{folder}/data.npz", group="R2")
        Transitions(2, frames=(4, 16, 16, 3), group='R2')
    """
    folder = Path(os.path.expanduser(path))
    if format not in (None, *FORMATS):
        raise DatasetError(f"expected one of the formats {', '.join(FORMATS)}, got {format!r}")
    kind = format if format is not None and folder.exists() else detect_format(folder)
    given = {"image_key": image_key, "ground_truth": ground_truth, "channel_first": channel_first}
    if kind == "equiact":
        return _load_ours(folder, group, {"displacement": displacement, **given})
    source = _open(kind, folder, max_bytes)
    card = LeRobotCard.read(folder) if kind == "lerobot" and displacement is None else None
    if card is not None:
        _require_not_needed(folder, card.group, group, given)
        return card.load(source, max_bytes)
    rule, key, acting = _required(source, displacement, image_key, group)
    stated = {"images": source.num_frames() * _product(source.image_shapes()[key])}
    require_memory(f"{source.name} at {folder}", stated, max_bytes)
    episodes = _episodes(source, key, rule, acting, dict(ground_truth or {}), channel_first)
    try:
        return Transitions.from_episodes(episodes, acting.name)
    except TransitionsError as error:
        raise DatasetError(f"{source.name} at {folder}: {error}") from error


def _load_ours(folder: Path, group: str | None, given: Mapping[str, Any]) -> Transitions:
    transitions = load_transitions(folder)
    _require_not_needed(folder, transitions.group, group, given)
    return transitions


def _require_not_needed(folder: Path, stated: str, group: str | None, given: Mapping[str, Any]) -> None:
    """Check that nothing is asked of a data set that we wrote which it states itself."""
    if group not in (None, stated):
        raise DatasetError(f"expected the group {stated}, which {folder} states, got {group!r}; leave it out")
    for name, value in given.items():
        if value:
            raise DatasetError(
                f"expected no {name} for {folder}, which equiact wrote and which states it itself, got {value!r}; "
                "leave it out"
            )


def _open(kind: str, path: Path, max_bytes: int) -> EpisodeSource:
    sources: dict[str, Callable[[Path, int], EpisodeSource]] = {
        "minari": MinariSource,
        "lerobot": LeRobotSource,
        "robomimic": RobomimicSource,
        "npz": NpzSource,
    }
    return sources[kind](path, max_bytes)


def _required(
    source: EpisodeSource, displacement: Any, image_key: str | None, group: str | None
) -> tuple[DisplacementRule, str, Group]:
    """Return the rule of the displacement, the image column and the group; one error names all that are missing."""
    found: list[Any] = []
    problems: list[str] = []
    for require, given in ((_required_rule, displacement), (choose_image_key, image_key), (_required_group, group)):
        try:
            found.append(require(source, given))
        except DatasetError as error:
            problems.append(str(error))
    if problems:
        raise DatasetError("; also ".join(problems))
    rule, key, acting = found
    return rule, key, acting


def _required_rule(source: EpisodeSource, displacement: Any) -> DisplacementRule:
    if displacement is not None:
        return DisplacementRule.parse(displacement)
    columns = source.column_names()
    if "displacement" in columns:
        return DisplacementRule.parse("column:displacement")
    raise DatasetError(
        f"expected a rule for the displacement of {source.name} at {source.path}, got none; pass displacement, such as "
        f"'column:NAME' or 'difference:NAME' with one of the columns {', '.join(columns[:40]) or '(there are none)'}"
    )


def _required_group(source: EpisodeSource, group: str | None) -> Group:
    if group is None:
        raise DatasetError(
            f"expected the group that acts in {source.name} at {source.path}, got none; pass group, such as 'R2'"
        )
    try:
        return group_from_name(group)
    except GroupError as error:
        raise DatasetError(str(error)) from error


def _episodes(
    source: EpisodeSource,
    image_key: str,
    rule: DisplacementRule,
    group: Group,
    ground_truth: dict[str, str],
    channel_first: bool,
) -> Iterator[dict[str, Any]]:
    """Yield the episodes as `Transitions.from_episodes` takes them."""
    names = source.column_names()
    wanted = [*(rule.columns or []), *(split_selection(column)[0] for column in ground_truth.values())]
    columns = names if rule.columns is None else list(dict.fromkeys(find_name(name, names) for name in wanted))
    for episode in source.episodes(image_key, columns):
        images = checked_images(episode.images, f"{image_key}", channel_first)
        moves = rule.displacement(episode.columns, group) if len(images) > 1 else np.zeros((0, group.dim))
        truth = {name: episode.columns.at_frames(column).astype("float32") for name, column in ground_truth.items()}
        yield {"images": images, "displacement": moves, "ground_truth": truth}


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for length in shape:
        total *= int(length)
    return total
