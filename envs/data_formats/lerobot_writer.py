"""Save transitions as a LeRobot data set, version 3.0, with images as PNG in Parquet files, without loss.

Each trajectory is an episode. ``displacement`` and ``action`` of a frame lead to the next one; those of the last frame
of an episode are the identity and zero.

| column | meaning |
|---|---|
| ``observation.image`` | the frame, PNG |
| ``displacement`` | the group element that was performed |
| ``action`` | the action of the expert; the displacement if there was none |
| ``touched`` | the agent moved the object; absent if unknown |
| ``ground_truth.<name>`` | ground truth of the frame, for evaluation only |
| ``source.frame``, ``source.transition`` | index of the frame and of the transition; -1 in the last frame |

Source: ``lerobot/datasets/{dataset_writer,dataset_metadata,io_utils}.py`` of LeRobot 0.6.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.minari_dataset import DatasetError
from ..data.trajectories import trajectories
from ..data.transitions import Transitions
from ..lie_groups.registry import group_from_name
from ..storage.artifacts import ArtifactError, write_json
from ..storage.file_access import temporary_path
from ..storage.output_paths import check_folder
from .arrow_arrays import fixed_lists
from .format_detection import described_folder
from .lerobot_card import ACTION, CARD_PATH, DISPLACEMENT, FRAME, IMAGE, TOUCHED, TRANSITION, LeRobotCard
from .lerobot_metadata import EpisodeRow, write_metadata
from .read_errors import require_libraries


def save_lerobot(transitions: Transitions, folder: str | Path, *, fps: int = 10, task: str = "explore") -> None:
    """Save transitions as a LeRobot data set, version 3.0, which `load_dataset` gives back to the last bit.

    The data set appears complete or not at all. Frames that no transition uses are left out.

    Args:
        transitions: the transitions; their frames have three channels.
        folder: a new or empty folder; parents are created. Nothing is ever replaced.
        fps: frames per second that the data set states.
        task: what the agent does, in words, as LeRobot wants it for each episode.

    Raises:
        DatasetError: the folder is not empty, frames have other than three channels, a library is missing, or writing
            fails.

    Example:
        >>> import tempfile
        >>> move, frames = np.ones((2, 2), np.float32), np.zeros((3, 16, 16, 3), np.uint8)
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     save_lerobot(Transitions(frames, np.array([0, 1]), np.array([1, 2]), move, "R2"), f"{parent}/data")
        ...     sorted(path.name for path in Path(f"{parent}/data").iterdir())
        ['data', 'meta']
    """
    if not isinstance(fps, int) or isinstance(fps, bool) or not 1 <= fps <= 10_000:
        raise DatasetError(f"expected fps as an integer from 1 to 10000, got {fps!r}")
    if transitions.frames.shape[-1] != 3:
        raise DatasetError(
            f"expected frames of three channels, as LeRobot wants them, got {transitions.frames.shape[-1]}; "
            "repeat or drop channels, or save with save_transitions"
        )
    path = _checked_folder(folder)
    require_libraries("a LeRobot data set", "pyarrow", "PIL")
    used = np.union1d(transitions.start, transitions.end)
    if len(used) < len(transitions.frames):
        transitions = transitions.select(np.arange(len(transitions)))
    partial = temporary_path(path.parent)
    try:
        partial.mkdir(parents=True)
        _write(transitions, partial, fps, task)
        _checked_folder(path)
        if path.exists():
            path.rmdir()
        os.rename(partial, path)
    except (OSError, ArtifactError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"could not write {path} ({error}); free space or choose another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _checked_folder(folder: str | Path) -> Path:
    """Return the resolved path of a folder that is new or empty."""
    try:
        path = check_folder(folder, "LeRobot data set", lambda _: True)
    except ArtifactError as error:
        raise DatasetError(str(error)) from error
    if path.exists() and any(path.iterdir()):
        raise DatasetError(
            f"expected a new or empty folder for a LeRobot data set, got {path}, {described_folder(path)}; "
            "choose another folder, or delete it yourself"
        )
    return path


def _write(transitions: Transitions, root: Path, fps: int, task: str) -> None:
    """Write all files into an empty folder."""
    rows: list[EpisodeRow] = []
    total = 0
    numbers: dict[str, NDArray[Any]] = {}
    data = DataFiles(root)
    for number, trajectory in enumerate(trajectories(transitions, len(transitions))):
        columns = _columns(transitions, trajectory)
        length = len(trajectory) + 1
        clock: dict[str, NDArray[Any]] = {
            "timestamp": (np.arange(length) / fps).astype(np.float32),
            "frame_index": np.arange(length),
            "episode_index": np.full(length, number),
            "index": total + np.arange(length),
            "task_index": np.zeros(length, int),
        }
        numbers = {**columns, **{name: values[:, None] for name, values in clock.items()}}
        images = transitions.frames[columns[FRAME][:, 0]]
        file = data.append(images, numbers)
        rows.append(EpisodeRow.of(number, total, file, images, numbers))
        total += length
    data.close()
    write_metadata(root, rows, transitions.frames.shape[1:], numbers, fps, task)
    write_json(root / CARD_PATH, asdict(LeRobotCard.of(transitions)))


def _columns(transitions: Transitions, trajectory: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Return the columns of an episode but those that count, each ``(F, k)``."""
    frame = np.append(transitions.start[trajectory], transitions.end[trajectory[-1]])
    identity = group_from_name(transitions.group).identity().astype(np.float32)
    moves = np.concatenate([transitions.displacement[trajectory], identity[None]])
    columns = {DISPLACEMENT: moves, ACTION: moves}
    if transitions.action is not None:
        action = transitions.action[trajectory]
        columns[ACTION] = np.concatenate([action, np.zeros_like(action[:1])])
    if transitions.touched is not None:
        columns[TOUCHED] = np.append(transitions.touched[trajectory], False)[:, None]
    for name, (column, _, _) in LeRobotCard.of(transitions).ground_truth.items():
        columns[column] = transitions.ground_truth[name][frame].reshape(len(frame), -1)
    return {**columns, FRAME: frame[:, None], TRANSITION: np.append(trajectory, -1)[:, None]}


class DataFiles:
    """Parquet files ``data/chunk-…/file-….parquet``, to which episodes are appended.

    Args:
        root: folder of the data set.
        max_bytes: size from which on a new file begins.
        chunk: number of files in a folder.
    """

    def __init__(self, root: Path, max_bytes: int = 100 * 2**20, chunk: int = 1000) -> None:
        self._root, self._max_bytes, self._chunk = root, max_bytes, chunk
        self._number = -1
        self._writer: Any = None
        self._path = root

    def append(self, images: NDArray[np.uint8], numbers: dict[str, NDArray[Any]]) -> tuple[int, int]:
        """Append an episode, and return the numbers of its chunk and its file."""
        import pyarrow as pa

        cells = [{"bytes": content, "path": f"frame-{i:06d}.png"} for i, content in enumerate(_png(images))]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        columns = {IMAGE: pa.array(cells, kind), **{name: fixed_lists(values) for name, values in numbers.items()}}
        table = pa.table(columns)
        self._open(table.schema)
        self._writer.write_table(table)
        return divmod(self._number, self._chunk)

    def close(self) -> None:
        """Complete the last file."""
        if self._writer is not None:
            self._writer.close()

    def _open(self, schema: Any) -> None:
        import pyarrow.parquet as pq

        if self._writer is not None and self._path.stat().st_size < self._max_bytes:
            return
        self.close()
        self._number += 1
        chunk, file = divmod(self._number, self._chunk)
        self._path = self._root / f"data/chunk-{chunk:03d}/file-{file:03d}.parquet"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(self._path, schema, compression="snappy")


def _png(images: NDArray[np.uint8]) -> Iterator[bytes]:
    from PIL import Image

    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="PNG", compress_level=1)
        yield buffer.getvalue()
