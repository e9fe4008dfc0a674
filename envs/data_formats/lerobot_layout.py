"""Find the files of a LeRobot data set: ``meta/info.json`` and the list of its episodes, versions 2.0, 2.1 and 3.0.

| | v2.0 and v2.1 | v3.0 |
|---|---|---|
| episodes | ``meta/episodes.jsonl`` | ``meta/episodes/chunk-…/file-….parquet`` |
| data | one Parquet file for each episode | Parquet files of several episodes |
| videos | one MP4 file for each episode | MP4 files of several episodes |

Source: ``lerobot/datasets/{utils,dataset_metadata,dataset_writer}.py`` of LeRobot 0.6 and
``scripts/convert_dataset_v21_to_v30.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.minari_dataset import DatasetError
from ..storage.artifacts import ArtifactError, read_json
from ..storage.file_access import read_regular
from .episode_source import require_memory
from .read_errors import damaged, reading

INFO = "meta/info.json"
VERSIONS = ("v2.0", "v2.1", "v3.0")
"""Versions of the format that are read."""
_PLACE = re.compile(r"\{(\w+)(?::0?(\d)d)?\}")


@dataclass(frozen=True)
class VideoPlace:
    """Where the images of a camera in an episode are.

    Attributes:
        file: the MP4 file.
        begin: time in it at which the episode begins, in seconds.
    """

    file: Path
    begin: float


@dataclass(frozen=True)
class EpisodePlace:
    """Where an episode is.

    Attributes:
        index: its number in the data set.
        length: number of frames.
        data: the Parquet file with its columns.
        videos: where its videos are, by the name of the camera.
    """

    index: int
    length: int
    data: Path
    videos: Mapping[str, VideoPlace] = field(default_factory=dict)


@dataclass(frozen=True)
class LeRobotLayout:
    """What ``meta/info.json`` and the list of episodes say.

    Attributes:
        root: folder of the data set.
        version: such as ``"v3.0"``.
        fps: frames per second.
        features: type and shape of each column, by name.
        episodes: where the episodes are.
    """

    root: Path
    version: str
    fps: float
    features: Mapping[str, Mapping[str, Any]]
    episodes: list[EpisodePlace]

    @classmethod
    def read(cls, root: Path, max_bytes: int) -> LeRobotLayout:
        """Read the layout of a data set.

        Args:
            root: folder of the data set.
            max_bytes: largest size of a file.

        Raises:
            DatasetError: it is damaged, of another version, or a path leads out of the folder.
        """
        info = _info(root)
        features, version = info["features"], info["codebase_version"]
        cameras = [name for name, each in features.items() if each.get("dtype") == "video"]
        listed = _episodes_v3(root, max_bytes) if version == "v3.0" else _episodes_v2(root, max_bytes)
        with reading(f"a LeRobot {version} data set", root):
            episodes = [_place(root, info, episode, cameras) for episode in listed]
        total = sum(episode.length for episode in episodes)
        if total != info.get("total_frames", total):
            raise damaged(
                "a LeRobot data set",
                root,
                f"its episodes have {total} frames, and {INFO} states {info['total_frames']}",
            )
        return cls(root, version, float(info["fps"]), features, episodes)


def _info(root: Path) -> dict[str, Any]:
    """Return the content of ``meta/info.json`` after checking it."""
    info: Any
    try:
        info = read_json(inside(root, INFO))
    except (ArtifactError, FileNotFoundError) as error:
        raise DatasetError(f"expected {INFO} of a LeRobot data set in {root}, got: {error}") from error
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if version not in VERSIONS:
        raise DatasetError(
            f"expected a LeRobot data set of the versions {', '.join(VERSIONS)} in {root}, got {version!r}; "
            "convert it with the scripts of lerobot"
        )
    features, fps = info.get("features"), info.get("fps")
    if not isinstance(features, dict) or not all(isinstance(each, dict) for each in features.values()):
        raise damaged("a LeRobot data set", root, f"{INFO} has no features")
    if not isinstance(fps, int | float) or not 0 < fps < 1e6:
        raise damaged("a LeRobot data set", root, f"{INFO} states fps = {fps!r}")
    return dict(info)


def inside(root: Path, relative: str) -> Path:
    """Return a path in a data set, which must not lead out of its folder.

    Links into the ``blobs`` of a cache of the Hugging Face Hub are allowed, where ``root`` is a snapshot in it.

    Raises:
        DatasetError: it leads out of the folder.
    """
    path = root / relative
    try:
        real, home = path.resolve(), root.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise damaged("a LeRobot data set", root, f"the path {relative!r}: {error}") from error
    blobs = home.parent.parent / "blobs" if home.parent.name == "snapshots" else home
    if not (real.is_relative_to(home) or (real.is_relative_to(blobs) and ".." not in Path(relative).parts)):
        raise DatasetError(
            f"expected the files of the LeRobot data set inside its folder {root}, got {relative!r}, "
            f"which leads to {real}; copy the files into the folder"
        )
    return path


def _episodes_v2(root: Path, max_bytes: int) -> Iterator[dict[str, Any]]:
    path = inside(root, "meta/episodes.jsonl")
    try:
        lines = read_regular(path, max_bytes).splitlines()
    except (ArtifactError, FileNotFoundError) as error:
        raise DatasetError(f"expected the episodes of a LeRobot data set in {path}, got: {error}") from error
    with reading("a LeRobot data set", root):
        for line in lines:
            if line.strip():
                yield json.loads(line)


def _episodes_v3(root: Path, max_bytes: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``meta/episodes`` without the statistics."""
    with reading("a LeRobot data set", root):
        import pyarrow.parquet as pq

        files = sorted(inside(root, "meta/episodes").glob("*/*.parquet"))
        if not files:
            raise damaged("a LeRobot data set", root, "no files in meta/episodes")
        for file in files:
            path = inside(root, str(file.relative_to(root)))
            columns = [name for name in pq.read_schema(path).names if not name.startswith("stats/")]
            yield from read_table(path, columns, max_bytes).to_pylist()


def read_table(path: Path, columns: list[str], max_bytes: int) -> Any:
    """Return columns of a Parquet file as a table of Arrow, after checking the size that it states.

    Raises:
        DatasetError: it states more than ``max_bytes``.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        metadata = file.metadata
        groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
        size = sum(
            group.column(index).total_uncompressed_size
            for group in groups
            for index in range(group.num_columns)
            if group.column(index).path_in_schema.startswith(tuple(columns))
        )
        require_memory(str(path), {"columns": size}, max_bytes)
        return file.read(columns=columns)


def _place(root: Path, info: Mapping[str, Any], episode: Mapping[str, Any], cameras: list[str]) -> EpisodePlace:
    index, length = int(episode["episode_index"]), int(episode["length"])
    if index < 0 or length < 0:
        raise ValueError(f"episode {index} of {length} frames")
    if info["codebase_version"] != "v3.0":
        values = {"episode_index": index, "episode_chunk": index // int(info.get("chunks_size", 1000))}
        data = _fill(root, info["data_path"], values)
        videos = {
            camera: VideoPlace(_fill(root, info["video_path"], {**values, "video_key": camera}), 0.0)
            for camera in cameras
        }
        return EpisodePlace(index, length, data, videos)
    data = _fill(root, info["data_path"], _file_of(episode, "data"))
    videos = {
        camera: VideoPlace(
            _fill(root, info["video_path"], {**_file_of(episode, f"videos/{camera}"), "video_key": camera}),
            float(episode[f"videos/{camera}/from_timestamp"]),
        )
        for camera in cameras
    }
    return EpisodePlace(index, length, data, videos)


def _file_of(episode: Mapping[str, Any], prefix: str) -> dict[str, int]:
    return {name: int(episode[f"{prefix}/{name}"]) for name in ("chunk_index", "file_index")}


def _fill(root: Path, template: Any, values: Mapping[str, Any]) -> Path:
    """Return the path that a template such as ``data/chunk-{chunk_index:03d}/…`` gives; no other code is evaluated."""
    if not isinstance(template, str):
        raise ValueError(f"{INFO} states the path {template!r}")

    def fill(match: re.Match[str]) -> str:
        value = values[match[1]]
        return str(value).zfill(int(match[2])) if match[2] else str(value)

    filled = _PLACE.sub(fill, template)
    if "{" in filled or "}" in filled:
        raise ValueError(f"{INFO} states the path {template!r}")
    return inside(root, filled)
