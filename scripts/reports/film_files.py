"""Films as MP4 files, each with some of its pictures as a PNG file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imageio.v3 as imageio
import numpy as np

from ...envs.storage.file_access import write_atomically

if TYPE_CHECKING:
    from ...envs.simulation.state_layout import Pixels


def save_film(path: Path, frames: Sequence[Pixels], stills: Pixels, fps: int) -> None:
    """Write an MP4 file, and an image beside it as a PNG; each appears complete or not at all."""
    options: dict[str, Any] = {"fps": fps, "codec": "libx264", "macro_block_size": 1}
    film: Any = imageio.imwrite("<bytes>", np.stack(frames), extension=".mp4", **options)
    image: Any = imageio.imwrite("<bytes>", stills, extension=".png")
    write_atomically(path, film)
    write_atomically(path.with_suffix(".png"), image)
