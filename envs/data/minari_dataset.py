"""Save transitions as a Minari dataset, and load them.

The folder holds ``data/``, which Minari opens. One more file in it, ``card.json``, lists all files with their sizes and
hashes. Consecutive transitions form an episode, so that a frame is stored once. ``infos`` hold the rest, one entry
for each frame:

| key of ``infos`` | shape | meaning |
|---|---|---|
| ``frame`` | ``()`` | index of this frame |
| ``transition`` | ``()`` | index of the transition that led to this frame, -1 in the first entry |
| ``touched`` | ``()`` | whether the agent moved the object in this transition; absent if unknown |
| ``action`` | flattened | command of the demonstrator in this transition (first entry: 0); absent if there was none |
| ``ground_truth/<name>`` | flattened | ground truth of this frame |

Actions are the displacements that were performed, rewards are zero, and every episode ends truncated. Pixels are stored
without loss; Minari's default, JPEG, would change them.
"""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from ..storage.artifacts import ArtifactError, check_output_folder
from ..storage.atomic_folder import DATA, repair, replacing, sign, verify
from .dataset_card import describe, require_sizes
from .trajectories import trajectories
from .transitions import Transitions

if TYPE_CHECKING:
    from minari.data_collector.episode_buffer import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

_READ_ATTEMPTS = 20


class DatasetError(ArtifactError):
    """A folder cannot be read as transitions, or must not be written to."""


def check_dataset_folder(folder: str | Path) -> Path:
    """Check that a data set may be written to a folder, before the work begins.

    Returns:
        The resolved path.

    Raises:
        DatasetError: it holds anything else than a data set that `save_transitions` wrote, or cannot be written to.
    """
    try:
        return check_output_folder(folder, "dataset")
    except ArtifactError as error:
        raise DatasetError(str(error)) from error


def save_transitions(transitions: Transitions, folder: str | Path, max_episode_steps: int = 10_000) -> None:
    """Save transitions as a Minari dataset, without loss; frames that no transition uses are left out.

    The data set appears complete or not at all. One that `save_transitions` wrote is replaced as a whole.

    Args:
        transitions: the transitions.
        folder: where to write; parents are created.
        max_episode_steps: steps after which a trajectory is cut. At most 32768: Minari's Arrow reader mixes up longer
            episodes.

    Raises:
        DatasetError: the folder holds anything else than a data set, a library is missing, or writing fails. What was
            there is intact.
    """
    if not 1 <= max_episode_steps <= 32768:
        raise DatasetError(f"expected max_episode_steps from 1 to 32768, got {max_episode_steps}")
    path = check_dataset_folder(folder)
    _require_libraries()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            check_dataset_folder(path)
            _write(_without_unused_frames(transitions), partial, path, max_episode_steps)
    except DatasetError:
        raise
    except (OSError, ArtifactError) as error:
        raise DatasetError(f"could not write {path} ({error}); what was there is intact") from error


def load_transitions(folder: str | Path) -> Transitions:
    """Load the transitions that `save_transitions` wrote, in the same order and to the last bit.

    The files are compared with the hashes in the card first, and the sizes that the card states with those of the
    files. If another process replaces the data set meanwhile, the new one is loaded.

    Raises:
        DatasetError: there is no such folder, it holds something else, it is damaged, or a library is missing.
    """
    path = Path(folder)
    _require_libraries()
    for _ in range(_READ_ATTEMPTS):
        before = _identity(path)
        try:
            return _load(path)
        except DatasetError as error:
            failure = error
        if _identity(path) == before:
            break
    raise failure


def _load(folder: Path) -> Transitions:
    """Load a data set, which another process may replace meanwhile."""
    import pyarrow
    from minari import MinariDataset

    data = folder / DATA
    before = _identity(folder)
    try:
        repair(folder)
        if not (data / "card.json").is_file():
            raise DatasetError(
                f"expected a data set of transitions in {folder}, with data/card.json; got {_found(folder)}. "
                "Check the path, or collect the transitions first"
            )
        card, size = verify(data, "dataset")
        require_sizes(card, size)
        transitions = _read(MinariDataset(data).iterate_episodes(), card)
    except DatasetError:
        raise
    except (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError,
            pyarrow.ArrowException) as error:  # fmt: skip
        raise _damaged(folder, f"{type(error).__name__}: {error}") from error
    if _identity(folder) != before:
        raise _damaged(folder, "another process replaced it meanwhile")
    return transitions


def _require_libraries() -> None:
    """Check that the libraries that read and write data sets are installed."""
    try:
        for library in ("minari", "pyarrow"):
            importlib.import_module(library)
    except ImportError as error:
        raise DatasetError(
            f"expected the libraries minari and pyarrow for data sets, got: {error}. "
            "Install them with: pip install 'equiact[data]'"
        ) from error


def _identity(folder: Path) -> tuple[int, int] | None:
    """Return what tells a data set from another that replaced it."""
    try:
        status = (folder / DATA).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _found(folder: Path) -> str:
    """Return what is in a folder, in words."""
    if not folder.is_dir():
        return "a file" if folder.exists() else "no such folder"
    if (folder / DATA / "metadata.json").is_file():
        return "a Minari dataset that was not written by this version of equiact; read it by load_dataset"
    return str(sorted(path.name for path in folder.iterdir())[:5])


def _damaged(folder: Path, what: str) -> DatasetError:
    return DatasetError(
        f"expected an intact data set in {folder}, got a damaged one ({what}); delete and collect it anew"
    )


def _write(transitions: Transitions, data: Path, folder: Path, max_episode_steps: int) -> None:
    """Write a data set to ``data``, which will be moved into a folder."""
    import minari
    from minari.dataset.minari_storage import MinariStorage

    bound = np.full(transitions.displacement.shape[1:], np.inf, np.float32)
    storage = MinariStorage.new(
        data,
        observation_space=gym.spaces.Box(0, 255, transitions.frames.shape[1:], np.uint8),
        action_space=gym.spaces.Box(-bound, bound, dtype=np.float32),
        data_format="arrow",
        jpeg_encoding=False,
    )
    storage.update_metadata({"dataset_id": _dataset_id(folder), "minari_version": minari.__version__})
    with _size_unmeasured(storage):
        episodes = trajectories(transitions, max_episode_steps)
        storage.update_episodes(_episode(transitions, trajectory) for trajectory in episodes)
    storage.update_metadata({"dataset_size": storage.get_size()})
    sign(data, "dataset", describe(transitions), folder / DATA)


def _episode(transitions: Transitions, trajectory: NDArray[np.int64]) -> EpisodeBuffer:
    """Return a trajectory as an episode of Minari."""
    from minari.data_collector.episode_buffer import EpisodeBuffer

    frame = np.append(transitions.start[trajectory], transitions.end[trajectory[-1]])
    infos = {"frame": frame, "transition": np.append(-1, trajectory)}
    if transitions.touched is not None:
        infos["touched"] = np.append(False, transitions.touched[trajectory])
    if transitions.action is not None:
        action = transitions.action[trajectory].astype(np.float32)
        infos["action"] = np.concatenate([np.zeros_like(action[:1]), action])
    infos |= {f"ground_truth/{name}": values[frame] for name, values in transitions.ground_truth.items()}
    return EpisodeBuffer(
        observations=transitions.frames[frame],
        actions=transitions.displacement[trajectory],
        rewards=[0.0] * len(trajectory),
        terminations=[False] * len(trajectory),
        truncations=[False] * (len(trajectory) - 1) + [True],
        infos={key: values.reshape(len(frame), -1) for key, values in infos.items()},
    )


def _read(episodes: Iterator[Any], card: dict[str, Any]) -> Transitions:
    """Return the transitions in episodes, each in its place."""
    count, frame_count = card["count"], card["frames"]
    index = np.full((2, count), -1)
    frames = np.zeros((frame_count, *card["frame_shape"]), np.uint8)
    displacement = np.zeros((count, *card["displacement_shape"]), np.float32)
    touched = np.zeros(count, bool) if card["touched"] else None
    action = None if card["action"] is None else np.zeros((count, card["action"]), np.float32)
    ground_truth = {
        name: np.zeros((frame_count, *shape), dtype) for name, (shape, dtype) in card["ground_truth"].items()
    }
    for episode in episodes:
        infos = {key: values.reshape(len(values), -1) for key, values in episode.infos.items()}
        frame, steps = infos["frame"][:, 0], infos["transition"][1:, 0]
        frames[frame] = episode.observations
        displacement[steps] = episode.actions
        index[:, steps] = frame[:-1], frame[1:]
        for name, values in ground_truth.items():
            values[frame] = infos[f"ground_truth/{name}"].reshape(len(frame), *values.shape[1:])
        if touched is not None:
            touched[steps] = infos["touched"][1:, 0]
        if action is not None:
            action[steps] = infos["action"][1:]
    return Transitions(frames, index[0], index[1], displacement, card["group"], ground_truth, touched, action)


def _without_unused_frames(transitions: Transitions) -> Transitions:
    used = np.union1d(transitions.start, transitions.end)
    if len(used) < len(transitions.frames):
        transitions = transitions.select(np.arange(len(transitions)))
    return replace(transitions, displacement=transitions.displacement.astype(np.float32, copy=False))


@contextlib.contextmanager
def _size_unmeasured(storage: MinariStorage) -> Iterator[None]:
    """Keep Minari from measuring the whole folder after each episode, which takes minutes with thousands of them."""
    storage.get_size = lambda: 0.0
    try:
        yield
    finally:
        del storage.get_size


def _dataset_id(folder: Path) -> str:
    """Return the name by which Minari finds a data set: that of its folder, which must end in a version."""
    return folder.name if re.fullmatch(r"[-\w]+-v\d+", folder.name) else "transitions-v0"
