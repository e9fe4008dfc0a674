"""Write the folder ``meta`` of a LeRobot data set, version 3.0: description, tasks, episodes and statistics."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..storage.file_access import write_atomically
from .lerobot_card import IMAGE

_DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"


@dataclass(frozen=True)
class EpisodeRow:
    """A row of ``meta/episodes``.

    Attributes:
        index: number of the episode.
        begin: index of its first frame in the data set.
        length: number of its frames.
        file: numbers of the chunk and of the file with its data.
        stats: statistics of each column: ``min``, ``max``, ``mean``, ``std`` and ``count``.
    """

    index: int
    begin: int
    length: int
    file: tuple[int, int]
    stats: Mapping[str, Mapping[str, NDArray[Any]]]

    @classmethod
    def of(
        cls,
        index: int,
        begin: int,
        file: tuple[int, int],
        images: NDArray[np.uint8],
        numbers: Mapping[str, NDArray[Any]],
    ) -> EpisodeRow:
        """Return the row of an episode with images ``(F, H, W, 3)`` and columns ``(F, k)``."""
        stats = {name: _statistics(values.astype(float)) for name, values in numbers.items()}
        stats[IMAGE] = _pixel_statistics(images)
        return cls(index, begin, len(images), file, stats)

    def cells(self, task: str) -> dict[str, Any]:
        """Return the cells of the row."""
        chunk, file = self.file
        return {
            "episode_index": self.index,
            "tasks": [task],
            "length": self.length,
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": self.begin,
            "dataset_to_index": self.begin + self.length,
            **{f"stats/{c}/{name}": v.tolist() for c, each in self.stats.items() for name, v in each.items()},
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }


def write_metadata(
    root: Path,
    rows: Sequence[EpisodeRow],
    image_shape: tuple[int, ...],
    columns: Mapping[str, NDArray[Any]],
    fps: int,
    task: str,
) -> None:
    """Write the files in ``meta``.

    Args:
        root: folder of the data set.
        rows: the episodes.
        image_shape: ``(H, W, 3)``.
        columns: the columns of any episode, for their shapes and types.
        fps: frames per second.
        task: what the agent does.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    episodes = root / "meta/episodes/chunk-000/file-000.parquet"
    episodes.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([row.cells(task) for row in rows]), episodes)
    pq.write_table(_tasks(task), root / "meta/tasks.parquet")
    _write_json(root / "meta/info.json", _info(rows, image_shape, columns, fps))
    _write_json(root / "meta/stats.json", _aggregated(rows))


def _info(
    rows: Sequence[EpisodeRow], image_shape: tuple[int, ...], columns: Mapping[str, NDArray[Any]], fps: int
) -> dict[str, Any]:
    image = {"dtype": "image", "shape": list(image_shape), "names": ["height", "width", "channels"]}
    numbers = {
        name: {"dtype": str(values.dtype), "shape": [values.shape[1]], "names": None}
        for name, values in columns.items()
    }
    return {
        "codebase_version": "v3.0",
        "robot_type": None,
        "total_episodes": len(rows),
        "total_frames": sum(row.length for row in rows),
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": fps,
        "splits": {"train": f"0:{len(rows)}"},
        "data_path": _DATA_PATH,
        "video_path": None,
        "features": {IMAGE: image, **numbers},
    }


def _tasks(task: str) -> Any:
    """Return the table of tasks, which pandas reads with the task as its index, as LeRobot expects it."""
    import pyarrow as pa

    text = {"pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    columns = [
        {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"},
        {"name": "task", "field_name": "task", **text},
    ]
    index = [{"name": None, "field_name": None, **text, "metadata": {"encoding": "UTF-8"}}]
    pandas = {"index_columns": ["task"], "column_indexes": index, "columns": columns, "pandas_version": "2.2.0"}
    table = pa.table({"task_index": pa.array([0], pa.int64()), "task": pa.array([task], pa.string())})
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})


def _statistics(values: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Return the statistics of the columns of an array ``(N, k)``."""
    return {
        "min": values.min(0),
        "max": values.max(0),
        "mean": values.mean(0),
        "std": values.std(0),
        "count": np.array([len(values)]),
    }


def _pixel_statistics(images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Return the statistics of each channel of images ``(F, H, W, 3)``, in [0, 1], from how often each value occurs."""
    counts = np.stack([np.bincount(images[..., channel].ravel(), minlength=256) for channel in range(3)])
    share, value = counts / counts.sum(1, keepdims=True), np.arange(256) / 255
    mean = share @ value
    stats = {
        "min": value[(counts > 0).argmax(1)],
        "max": value[255 - (counts[:, ::-1] > 0).argmax(1)],
        "mean": mean,
        "std": np.sqrt((share * (value - mean[:, None]) ** 2).sum(1)),
    }
    return {**{name: values.reshape(3, 1, 1) for name, values in stats.items()}, "count": np.array([len(images)])}


def _aggregated(rows: Sequence[EpisodeRow]) -> dict[str, Any]:
    """Return the statistics of all episodes; the variance is that within episodes plus that of their means."""
    result = {}
    for column in rows[0].stats:
        each = {name: np.stack([row.stats[column][name] for row in rows]) for name in rows[0].stats[column]}
        weight = each["count"].reshape(-1, *[1] * (each["mean"].ndim - 1)) / each["count"].sum()
        mean = (weight * each["mean"]).sum(0)
        variance = (weight * (each["std"] ** 2 + (each["mean"] - mean) ** 2)).sum(0)
        result[column] = {
            "min": each["min"].min(0).tolist(),
            "max": each["max"].max(0).tolist(),
            "mean": mean.tolist(),
            "std": np.sqrt(variance).tolist(),
            "count": each["count"].sum(0).tolist(),
        }
    return result


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_atomically(path, (json.dumps(content, indent=4, allow_nan=False) + "\n").encode())
