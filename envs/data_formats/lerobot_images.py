"""Decode images of LeRobot data sets: PNG or JPEG in Parquet files, and frames of MP4 files."""

from __future__ import annotations

import io
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..data.minari_dataset import DatasetError
from .read_errors import damaged, require_libraries

_WHAT = "a LeRobot data set"


def image_size(feature: Mapping[str, Any]) -> tuple[int, int]:
    """Return height and width of an image feature of ``meta/info.json``.

    Raises:
        ValueError: its shape is not that of images.

    Example:
        >>> image_size({"dtype": "image", "shape": [3, 48, 64], "names": ["channel", "height", "width"]})
        (48, 64)
    """
    shape, names = feature.get("shape"), feature.get("names")
    if not isinstance(shape, list | tuple) or len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(f"an image has the shape {shape!r}")
    named = isinstance(names, list | tuple) and len(names) == 3
    first = str(names[0]).startswith("channel") if named and names is not None else shape[2] not in (1, 3, 4)
    return (shape[1], shape[2]) if first else (shape[0], shape[1])


def decode_images(cells: Sequence[Any], size: tuple[int, int], path: Path) -> NDArray[np.uint8]:
    """Return the images in a column of a Parquet file, ``(N, H, W, 3)``, in RGB.

    Args:
        cells: for each image its bytes, or a dictionary with ``bytes`` and ``path``.
        size: height and width that the data set states.
        path: the file, for messages.

    Raises:
        DatasetError: an image is missing, of another size, or has more than 8 bits.
    """
    require_libraries(_WHAT, "PIL")
    from PIL import Image

    images = np.empty((len(cells), *size, 3), np.uint8)
    for number, cell in enumerate(cells):
        content = cell.get("bytes") if isinstance(cell, Mapping) else cell
        if not isinstance(content, bytes):
            raise damaged(_WHAT, path, f"image {number} has no bytes, such as where files beside it hold the images")
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            if (image.height, image.width) != size:
                raise damaged(_WHAT, path, f"image {number} has {image.height}x{image.width} pixels, stated are {size}")
            if image.mode.startswith(("I", "F")):
                raise DatasetError(
                    f"expected images of 8 bits in {path}, got the mode {image.mode} (depth?); choose another image_key"
                )
            images[number] = np.asarray(image.convert("RGB"))
    return images


class VideoReader:
    """Read the frames of an MP4 file by their times, from its beginning to its end.

    Frames are decoded by the ffmpeg of imageio, and only once if the times do not go back.

    Args:
        path: the file.
        size: height and width that the data set states.

    Raises:
        DatasetError: it is no MP4 file, or imageio-ffmpeg is not installed.

    Attributes:
        times: time of each frame in seconds, ascending, ``(F,)``.
    """

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        require_libraries(_WHAT, "imageio_ffmpeg")
        self.path, self._size = path, size
        if not path.is_file():
            raise damaged(_WHAT, path, "there is no such file")
        self.times = _frame_times(path)
        self._position = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def frames(self, times: NDArray[np.float64], tolerance: float) -> NDArray[np.uint8]:
        """Return the frames at some times, ``(N, H, W, 3)``, in RGB.

        Args:
            times: times in seconds, ``(N,)``.
            tolerance: largest distance to the time of a frame, in seconds.

        Raises:
            DatasetError: there is no frame at a time, or the file is damaged.
        """
        index = self._nearest(times, tolerance)
        images = np.empty((len(times), *self._size, 3), np.uint8)
        rows: dict[int, list[int]] = {}
        for row, frame in enumerate(index.tolist()):
            rows.setdefault(frame, []).append(row)
        for frame in sorted(rows):
            images[rows[frame]] = self._frame(frame)
        return images

    def close(self) -> None:
        """End the decoder."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        if self._errors is not None:
            self._errors.close()
        self._process, self._errors, self._position = None, None, 0

    def _nearest(self, times: NDArray[np.float64], tolerance: float) -> NDArray[np.int64]:
        right = np.clip(np.searchsorted(self.times, times), 1, max(len(self.times) - 1, 1))
        left = right - 1
        right = np.minimum(right, len(self.times) - 1)
        index = np.where(times - self.times[left] <= self.times[right] - times, left, right)
        off = np.abs(self.times[index] - times)
        if (off > tolerance).any():
            worst = int(off.argmax())
            raise damaged(
                _WHAT,
                self.path,
                f"no frame at {times[worst]:.4f} s; the nearest of {len(self.times)} is at "
                f"{self.times[index[worst]]:.4f} s",
            )
        return index

    def _frame(self, number: int) -> NDArray[np.uint8]:
        """Return a frame; those before it are skipped."""
        if self._process is None or number < self._position:
            self.close()
            self._start()
        while self._position < number:
            self._next()
        return self._next()

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        command = [*_ffmpeg(self.path), "-fps_mode", "passthrough", "-c:v", "ppm", "-f", "image2pipe", "-"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._errors, bufsize=2**20)

    def _next(self) -> NDArray[np.uint8]:
        """Return the next frame of the decoder, which comes as a PPM image that states its size."""
        process, (height, width) = self._process, self._size
        if process is None or process.stdout is None:
            raise damaged(_WHAT, self.path, "the decoder did not start")
        header = b"P6\n%d %d\n255\n" % (width, height)
        found = process.stdout.read(len(header))
        if found != header and found:
            raise damaged(_WHAT, self.path, f"frames begin with {found!r}, and not {header!r}: another size")
        content = process.stdout.read(3 * height * width)
        if len(content) < 3 * height * width:
            raise damaged(
                _WHAT, self.path, f"frame {self._position} of {len(self.times)} cannot be decoded: {self._said()}"
            )
        self._position += 1
        return np.frombuffer(content, np.uint8).reshape(height, width, 3)

    def _said(self) -> str:
        if self._errors is None:
            return ""
        self._errors.seek(0)
        return self._errors.read(300).decode(errors="replace").strip()


def _ffmpeg(path: Path) -> list[str]:
    """Return the beginning of a command: MP4 alone, whatever the file says it is, and no other file or address."""
    import imageio_ffmpeg

    return [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-xerror"),
        *("-protocol_whitelist", "file,pipe", "-f", "mp4", "-copyts", "-i", f"file:{path.resolve()}", "-map", "0:v:0"),
    ]


def _frame_times(path: Path) -> NDArray[np.float64]:
    """Return the time of each frame in seconds, in the order of display, without decoding any."""
    command = [*_ffmpeg(path), "-c", "copy", "-f", "framecrc", "-"]
    run = subprocess.run(command, capture_output=True, check=False)
    if run.returncode:
        raise damaged(_WHAT, path, f"ffmpeg: {run.stderr[:300].decode(errors='replace').strip()}")
    times = sorted(_packet_times(run.stdout.decode().splitlines()))
    if not times:
        raise damaged(_WHAT, path, "a video without frames")
    return np.array(times)


def _packet_times(lines: list[str]) -> Iterator[float]:
    """Yield the times in the output of ffmpeg's ``framecrc``: ``stream, dts, pts, duration, size, crc``."""
    second = 1.0
    for line in lines:
        if line.startswith("#tb 0:"):
            numerator, denominator = line.split(":")[1].split("/")
            second = int(numerator) / int(denominator)
        elif not line.startswith("#"):
            yield int(line.split(",")[2]) * second
