"""Transitions on disk, as a Minari dataset that any reader of Minari opens.

The folder holds ``data/``, where Minari looks for a dataset. Consecutive transitions form an episode, so that a frame
is stored once; ``infos`` carry what Minari has no place for, one entry per frame:

| key of ``infos`` | shape | meaning |
|---|---|---|
| ``frame`` | ``()`` | index of this frame |
| ``transition`` | ``()`` | index of the transition that led here, -1 in the first entry |
| ``touched`` | ``()`` | whether the agent moved the object on the way here; absent where it is not known |
| ``action`` | flattened | what a demonstrator said to do on the way here (first entry: 0); absent if nobody did |
| ``truth/<name>`` | flattened | what is true of this frame |

Actions are the displacements that were performed, rewards are zero, and every episode ends truncated. Pixels are stored
as they are: Minari's default, JPEG, would change them.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from envs.transitions import Transitions, runs

if TYPE_CHECKING:
    from minari.data_collector.episode_buffer import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

VERSION = 2
LONGEST_EPISODE = 10_000
"""Steps after which a chain of transitions is cut: Minari's Arrow reader mixes up episodes of more than 32768 steps."""


class DatasetError(ValueError):
    """A folder cannot be read as transitions, or must not be written to."""


def save_transitions(transitions: Transitions, folder: str | Path) -> None:
    """Write transitions as a Minari dataset, without loss; frames that no transition uses are left out.

    The folder appears complete or not at all. One that already holds a dataset is replaced as a whole.

    Args:
        transitions: what to write.
        folder: where to; parents are created.

    Raises:
        DatasetError: the folder exists and holds anything else than a dataset.
    """
    folder = Path(folder).absolute()
    require_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(folder) as partial:
        _write(_without_unused_frames(transitions), partial / "data", _dataset_id(folder))


def load_transitions(folder: str | Path) -> Transitions:
    """The transitions that `save_transitions` wrote into a folder, in the same order and to the last bit.

    Raises:
        DatasetError: there is no such folder, it holds something else, or it is damaged.
    """
    folder = Path(folder)
    if not (folder / "data" / "metadata.json").is_file():
        found = sorted(path.name for path in folder.iterdir())[:5] if folder.is_dir() else "no such folder"
        raise DatasetError(
            f"expected a dataset of transitions in {folder}, with data/metadata.json; got {found}. "
            "Check the path, or collect the transitions first"
        )
    from minari import MinariDataset

    try:
        dataset = MinariDataset(folder / "data")
        card = dataset.storage.metadata.get("transitions", {})
        version = card.get("version")
        transitions = _read(dataset.iterate_episodes(), card) if version == VERSION else None
        intact = transitions is None or _checksum(transitions) == card["checksum"]
    except Exception as error:  # damage shows in whatever way JSON, Arrow or NumPy trip over it
        raise _damaged(folder, f"{type(error).__name__}: {error}") from error
    if transitions is None:
        found = "a Minari dataset of another kind" if version is None else f"version {version}"
        raise DatasetError(f"expected transitions, version {VERSION}, in {folder}; got {found}. Collect them anew")
    if not intact:
        raise _damaged(folder, "its contents do not match its checksum")
    return transitions


def _damaged(folder: Path, what: str) -> DatasetError:
    return DatasetError(
        f"expected an intact dataset in {folder}, got a damaged one ({what}); delete and collect it anew"
    )


def _write(transitions: Transitions, data: Path, dataset_id: str) -> None:
    import minari
    from minari.dataset.minari_storage import MinariStorage

    data.mkdir(parents=True)
    bound = np.full(transitions.displacement.shape[1:], np.inf, np.float32)
    storage = MinariStorage.new(
        data,
        observation_space=gym.spaces.Box(0, 255, transitions.frames.shape[1:], np.uint8),
        action_space=gym.spaces.Box(-bound, bound, dtype=np.float32),
        data_format="arrow",
        jpeg_encoding=False,
    )
    card = {
        "version": VERSION,
        "count": len(transitions),
        "frames": len(transitions.frames),
        "group": transitions.group,
        "touched": transitions.touched is not None,
        "action": None if transitions.action is None else transitions.action.shape[1],
        "truth": {name: [list(v.shape[1:]), str(v.dtype)] for name, v in transitions.truth.items()},
        "checksum": _checksum(transitions),
    }
    storage.update_metadata({"dataset_id": dataset_id, "minari_version": minari.__version__, "transitions": card})
    with _size_unmeasured(storage):
        storage.update_episodes(_episode(transitions, chain) for chain in runs(transitions, LONGEST_EPISODE))
    storage.update_metadata({"dataset_size": storage.get_size()})


def _episode(transitions: Transitions, chain: NDArray[np.int64]) -> EpisodeBuffer:
    from minari.data_collector.episode_buffer import EpisodeBuffer

    frame = np.append(transitions.start[chain], transitions.end[chain[-1]])
    infos = {"frame": frame, "transition": np.append(-1, chain)}
    if transitions.touched is not None:
        infos["touched"] = np.append(False, transitions.touched[chain])
    if transitions.action is not None:
        action = transitions.action[chain].astype(np.float32)
        infos["action"] = np.concatenate([np.zeros_like(action[:1]), action])
    infos |= {f"truth/{name}": values[frame] for name, values in transitions.truth.items()}
    return EpisodeBuffer(
        observations=transitions.frames[frame],
        actions=transitions.displacement[chain],
        rewards=[0.0] * len(chain),
        terminations=[False] * len(chain),
        truncations=[False] * (len(chain) - 1) + [True],
        infos={key: values.reshape(len(frame), -1) for key, values in infos.items()},
    )


def _read(episodes: Iterator[Any], card: dict[str, Any]) -> Transitions:
    count, truth = card["count"], {}
    index = np.full((2, count), -1)
    touched = np.zeros(count, bool)
    action = np.zeros((count, card["action"] or 0), np.float32)
    frames = displacement = None
    for episode in episodes:
        infos = {key: values.reshape(len(values), -1) for key, values in episode.infos.items()}
        frame, chain = infos["frame"][:, 0], infos["transition"][1:, 0]
        if frames is None or displacement is None:
            frames = np.zeros((card["frames"], *episode.observations.shape[1:]), np.uint8)
            displacement = np.zeros((count, *episode.actions.shape[1:]), np.float32)
            truth = {n: np.zeros((card["frames"], *shape), dtype) for n, (shape, dtype) in card["truth"].items()}
        frames[frame] = episode.observations
        displacement[chain] = episode.actions
        index[:, chain] = frame[:-1], frame[1:]
        for name, values in truth.items():
            values[frame] = infos[f"truth/{name}"].reshape(len(frame), *values.shape[1:])
        if card["touched"]:
            touched[chain] = infos["touched"][1:, 0]
        if card["action"] is not None:
            action[chain] = infos["action"][1:]
    if frames is None or displacement is None:
        raise ValueError("it has no episodes")
    known = touched if card["touched"] else None
    said = action if card["action"] is not None else None
    return Transitions(frames, index[0], index[1], displacement, card["group"], truth, known, said)


def _without_unused_frames(transitions: Transitions) -> Transitions:
    used = np.union1d(transitions.start, transitions.end)
    if len(used) < len(transitions.frames):
        transitions = transitions.select(np.arange(len(transitions)))
    return replace(transitions, displacement=transitions.displacement.astype(np.float32, copy=False))


def _checksum(transitions: Transitions) -> int:
    """A CRC-32 of everything but the metadata: a damaged pixel must not be taken for an observed one."""
    arrays: list[NDArray[Any]] = [transitions.frames, transitions.displacement]
    arrays += [index.astype(np.int64) for index in (transitions.start, transitions.end)]
    arrays += [transitions.truth[name] for name in sorted(transitions.truth)]
    arrays += [] if transitions.touched is None else [transitions.touched.astype(bool)]
    arrays += [] if transitions.action is None else [transitions.action.astype(np.float32)]
    checksum = zlib.crc32(transitions.group.encode())
    for array in arrays:
        checksum = zlib.crc32(array.tobytes(), checksum)
    return checksum


@contextlib.contextmanager
def _size_unmeasured(storage: MinariStorage) -> Iterator[None]:
    """Keep Minari from measuring the whole folder after each episode, which takes minutes with thousands of them."""
    storage.get_size = lambda: 0.0
    try:
        yield
    finally:
        del storage.get_size


def _dataset_id(folder: Path) -> str:
    """Minari knows a dataset by the name of its folder, which must end in a version."""
    return folder.name if re.fullmatch(r"[-\w]+-v\d+", folder.name) else "transitions-v0"


def require_replaceable(folder: Path) -> None:
    """Check that nothing but a dataset is lost when a folder is replaced by one.

    Raises:
        DatasetError: something else is there.
    """
    if folder.is_dir():
        found = sorted(path.name for path in folder.iterdir())
        if not found or (found == ["data"] and (folder / "data" / "metadata.json").is_file()):
            return
    elif not folder.exists():
        return
    else:
        found = ["a file"]
    raise DatasetError(
        f"expected a dataset or nothing in {folder}, got {found[:5]}; choose another folder or delete it"
    )


@contextlib.contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A new folder beside the given one, which takes its place at the end, or is removed if anything goes wrong."""
    tag = uuid.uuid4().hex[:8]
    partial, old = (folder.with_name(f".{folder.name}.{tag}.{what}") for what in ("partial", "old"))
    partial.mkdir()
    try:
        yield partial
        if folder.exists():
            folder.rename(old)
        try:
            partial.rename(folder)
        except BaseException:
            if old.exists():
                old.rename(folder)
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
