"""The command ``equiact analyze alignment``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro

from ..commands.command import Command
from ..commands.data_options import DataOptions
from ..commands.registry import register_command

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...envs.data.transitions import Transitions
    from ...representations.encoders.encoder import Encoder


@register_command("analyze alignment")
@dataclass(frozen=True)
class AnalyzeAlignment(DataOptions, Command):
    """Print how well two sets of points are aligned: the HyperDGA score, beside that of one distribution.

    The sets are two files of points (NPY or NPZ), or the latents that an encoder has of two data sets: does the encoder
    still fit a changed camera? With --other-encoder and --other-data, each of two encoders is measured on both data
    sets: which one fits both? With --other-encoder alone, the latents of two encoders are compared on halves of one
    data set. The score is the share of Delaunay edges inside one set; 0.5 is expected for two large samples of one size
    and one distribution. Writes nothing.
    """

    files: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Two NPY or NPZ files with points (n, d)."""
    geometry: Literal["euclidean", "poincare", "lorentz"] = "euclidean"
    """Model in which the points of files are given; latents of encoders are Euclidean."""
    latent: str | None = None
    """Name of the latent of the encoder, or of the array in NPZ files; needed if there are several."""
    encoder: Path | None = None
    """Folder of an encoder."""
    other_encoder: Path | None = None
    """Folder of a second encoder."""
    data: Path | None = None
    """Data set: of equiact, Minari, LeRobot or robomimic, or arrays of NumPy."""
    other_data: Path | None = None
    """Second data set."""
    max_points: int = 1000
    """Largest number of points of each set; more are thinned at random."""
    permutations: int = 1000
    """Number of random labels for the expected score and the p-value."""

    def run(self) -> dict[str, Any]:
        self.require_at_least(max_points=2, permutations=100)
        if self.files:
            return self._compare(*self._points_of_files())
        if self.encoder is None or self.data is None or not (self.other_encoder or self.other_data):
            raise ValueError(
                "expected two files of points, or --encoder, --data and --other-data or --other-encoder, got less"
            )
        return self._on_encoders(self.encoder, self.data)

    def _points_of_files(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        named = {"encoder": self.encoder, "other-encoder": self.other_encoder, "data": self.data}
        named["other-data"] = self.other_data
        if given := [name for name, value in named.items() if value is not None]:
            raise ValueError(f"expected two files or encoders and data sets, got files and --{given[0]}")
        if len(self.files) != 2:
            raise ValueError(f"expected two files of points, got {len(self.files)}")
        first, second = (read_points(path.expanduser(), self.latent) for path in self.files)
        return first, second

    def _on_encoders(self, encoder: Path, data: Path) -> dict[str, Any]:
        from ...representations.encoders.encoder import load_encoder
        from ...representations.learning.devices import resolve_device

        if self.geometry != "euclidean":
            raise ValueError(f"expected --geometry euclidean for latents of encoders, got {self.geometry}")
        device = resolve_device(self.device)
        one = load_encoder(encoder).to(device)
        if self.other_encoder is None:
            return self._on_data(one, data, self.other_data or data)
        other = load_encoder(self.other_encoder).to(device)
        if self.other_data is None:
            return self._compare(*self._halves(one, other, self.load_for(one, data)))
        results = {
            "encoder": self._on_data(one, data, self.other_data),
            "other_encoder": self._on_data(other, data, self.other_data),
        }
        better = min(results, key=lambda name: float(results[name]["separation"]))
        return {**results, "better_aligned": f"--{better.replace('_', '-')}"}

    def _on_data(self, encoder: Encoder, data: Path, other_data: Path) -> dict[str, Any]:
        """Return the result of the latents that an encoder has of two data sets."""
        first, second = self.load_for(encoder, data), self.load_for(encoder, other_data)
        return self._compare(self._latents(encoder, first, 0), self._latents(encoder, second, 1))

    def _halves(
        self, one: Encoder, other: Encoder, transitions: Transitions
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the latents of two encoders of a random half of the frames each, so that no two belong together."""
        order = np.random.default_rng(self.seed).permutation(len(transitions.frames))
        first, second = (transitions.frames[rows] for rows in np.array_split(order, 2))
        return self._encoded(one, first), self._encoded(other, second)

    def _latents(self, encoder: Encoder, transitions: Transitions, stream: int) -> NDArray[np.float64]:
        """Return the latents of random frames, of others for another stream: those of one place would be paired."""
        chosen = np.random.default_rng([self.seed, stream]).permutation(len(transitions.frames))[: self.max_points]
        return self._encoded(encoder, transitions.frames[chosen])

    def _encoded(self, encoder: Encoder, frames: NDArray[np.uint8]) -> NDArray[np.float64]:
        latents = encoder.encode(frames[: self.max_points])
        values = _named(latents, self.latent, "latent of the encoder")
        return values.reshape(len(values), -1).astype(np.float64)

    def _compare(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> dict[str, Any]:
        """Return the figures to print."""
        from ...representations.analysis.hyperbolic.alignment import alignment_test
        from ...representations.analysis.hyperbolic.point_set_distances import chamfer_distance

        one, other = (self._thinned(points) for points in (first, second))
        test = alignment_test(one, other, self.geometry, permutations=self.permutations, seed=self.seed)
        return {
            "score": test.alignment.score,
            "expected_score": test.expected,
            "expected_low": test.low,
            "expected_high": test.high,
            "p_value": test.p_value,
            "separation": test.separation,
            "chamfer": chamfer_distance(one, other, self.geometry),
            "wasserstein": self._wasserstein(one, other),
            "points": f"{len(one)} and {len(other)}",
            "equal_points_left_out": len(first) + len(second) - len(_distinct(first)) - len(_distinct(second)),
            "verdict": test.verdict,
        }

    def _thinned(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return different points, at most ``max_points``."""
        different = _distinct(points)
        chosen = np.random.default_rng(self.seed).permutation(len(different))[: self.max_points]
        return different[np.sort(chosen)]

    def _wasserstein(self, one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
        """Return the Wasserstein distance of as many points of each set, which needs no linear programme."""
        from ...representations.analysis.hyperbolic.point_set_distances import wasserstein_distance

        count = min(len(one), len(other))
        return wasserstein_distance(one[:count], other[:count], self.geometry)


def read_points(path: Path, name: str | None) -> NDArray[np.float64]:
    """Return the points of an NPY or NPZ file; nothing in it is executed.

    Args:
        path: the file.
        name: name of the array in an NPZ file; None if it has only one.

    Raises:
        ValueError: the file is damaged, has no such array, or one of another shape than ``(n, d)``.
        FileNotFoundError: there is no such file.
    """
    from ...envs.storage.file_access import read_regular
    from ...envs.storage.json_npz import read_npz

    if path.suffix.lower() == ".npz":
        array = _named(read_npz(path), name, f"array in {path}")
    elif path.suffix.lower() == ".npy":
        array = _npy(read_regular(path), path)
    else:
        raise ValueError(f"expected a file of points that ends in .npy or .npz, got {path}")
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise ValueError(f"expected points of shape (n, d) in {path}, got shape {array.shape} of {array.dtype}")
    return array.astype(np.float64)


def _npy(content: bytes, path: Path) -> NDArray[Any]:
    import io

    try:
        array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"expected an NPY file at {path}, got a damaged one ({error}); write it again") from error
    return array


def _named(arrays: dict[str, Any], name: str | None, what: str) -> NDArray[Any]:
    """Return the array with a name, or the only one."""
    if name is None and len(arrays) > 1:
        raise ValueError(f"expected --latent with the name of the {what}, one of {', '.join(arrays)}")
    chosen = next(iter(arrays)) if name is None else name
    if chosen not in arrays:
        raise ValueError(f"expected --latent among {', '.join(arrays)} as {what}, got {chosen!r}")
    array: NDArray[Any] = np.asarray(arrays[chosen])
    return array


def _distinct(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the different points in the order in which they appear first."""
    _, first = np.unique(points, axis=0, return_index=True)
    return points[np.sort(first)]
