"""Latents of the frames of a data set, as a Parquet or NPZ file."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .progress import progress_bar

if TYPE_CHECKING:
    from ..envs.data.transitions import Transitions
    from ..representations.encoders.encoder import Encoder

METADATA = b"equiact"
"""Key of the metadata of a Parquet file that we wrote."""


@dataclass(frozen=True)
class EpisodeLatents:
    """Latents of ``n`` frames, episode after episode.

    Attributes:
        episode: number of the episode of each frame, ``(n,)``.
        step: number of steps since the start of the episode, ``(n,)``.
        frame: index of the frame in the transitions, ``(n,)``.
        latents: latents ``(n, ...)`` by name.
        group: name of the group that acts on them.
        encoder: name of the encoder.
    """

    episode: NDArray[np.int64]
    step: NDArray[np.int64]
    frame: NDArray[np.int64]
    latents: dict[str, NDArray[np.float32]]
    group: str
    encoder: str


def encode_episodes(encoder: Encoder, transitions: Transitions, chunk: int = 1024) -> EpisodeLatents:
    """Encode all frames of all episodes, and show the progress.

    Args:
        encoder: the encoder.
        transitions: the data; a frame that starts one trajectory and ends another has a row in each.
        chunk: frames that are encoded between two updates of the display.
    """
    from ..envs.data.trajectories import trajectory_frames

    frame, length, _ = trajectory_frames(transitions, len(transitions))
    parts: list[dict[str, Any]] = []
    with progress_bar("Encoding", len(transitions.frames), "frames") as update:
        for begin in range(0, len(transitions.frames), chunk):
            parts.append(encoder.encode(transitions.frames[begin : begin + chunk]))
            update(min(begin + chunk, len(transitions.frames)))
    step = np.concatenate([np.arange(count) for count in length])
    return EpisodeLatents(
        episode=np.repeat(np.arange(len(length)), length),
        step=step,
        frame=frame,
        latents={name: np.concatenate([part[name] for part in parts])[frame] for name in parts[0]},
        group=encoder.group,
        encoder=type(encoder).registered_name,
    )


def check_latent_file(path: Path) -> Path:
    """Check that latents may be written to a file, before the work begins, and return the resolved path.

    Raises:
        ValueError: it ends in neither ``.parquet`` nor ``.npz``, or a file of another program is there.
        ImportError: the library for Parquet is missing.
    """
    from ..envs.storage.artifacts import check_output_file
    from ..envs.storage.output_paths import check_file

    if path.suffix.lower() == ".npz":
        return check_output_file(path)
    if path.suffix.lower() != ".parquet":
        raise ValueError(f"expected --output to end in .parquet or .npz, got {path}")
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Parquet files need pyarrow; run pip install 'equiact[data]', or end --output in .npz"
        ) from error
    return check_file(path, _is_our_parquet)


def write_latents(path: Path, latents: EpisodeLatents, about: dict[str, Any]) -> None:
    """Write latents as a Parquet or NPZ file, which appears complete or not at all.

    Args:
        path: file that `check_latent_file` returned.
        latents: the latents.
        about: further metadata that JSON can hold.
    """
    from ..envs.storage.artifacts import write_npz
    from ..envs.storage.file_access import write_atomically

    index = {"episode": latents.episode, "step": latents.step}
    shapes = {name: list(values.shape[1:]) for name, values in latents.latents.items()}
    metadata = {"group": latents.group, "encoder": latents.encoder, "latents": shapes, **about}
    if path.suffix.lower() == ".npz":
        write_npz(path, {**index, **latents.latents, "metadata": np.array(json.dumps(metadata))})
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, _parquet({**index, **_columns(latents.latents)}, metadata))


def _columns(latents: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Return a column for each coordinate, such as ``agent_0``."""
    flat = {name: values.reshape(len(values), -1) for name, values in latents.items()}
    return {f"{name}_{index}": rows[:, index] for name, rows in flat.items() for index in range(rows.shape[1])}


def _parquet(columns: dict[str, NDArray[Any]], metadata: dict[str, Any]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table(columns).replace_schema_metadata({METADATA: json.dumps(metadata).encode()})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


def _is_our_parquet(path: Path) -> bool:
    import pyarrow
    from pyarrow import parquet

    try:
        return METADATA in (parquet.read_schema(path).metadata or {})
    except (OSError, pyarrow.ArrowException):
        return False
