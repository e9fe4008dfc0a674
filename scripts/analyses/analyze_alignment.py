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
from ..training_data import require_encoder_fits
from .array_files import read_arrays, read_npy
from .encoder_quality import report_useless_encoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...envs.data.transitions import Transitions
    from ...representations.encoders.encoder import Encoder

_BOTH_ALIGNED = "no difference: neither encoder has the two data sets apart"
_OTHER_COORDINATES = (
    "apart: the encoders have different coordinates, as two encoders that are trained alike usually have. That does "
    "not say that one is worse; equiact analyze stitching finds the map between them"
)


@dataclass(frozen=True)
class LatentSet:
    """A set of points to compare.

    Attributes:
        points: ``(n, d)``.
        episodes: number of the episode of each point, ``(n,)``; None for points of a file.
        source: where they are from, for messages.
    """

    points: NDArray[np.float64]
    episodes: NDArray[np.int64] | None
    source: str

    def select(self, rows: NDArray[np.int64]) -> LatentSet:
        """Return some of the points.

        Args:
            rows: their indices.
        """
        return LatentSet(self.points[rows], None if self.episodes is None else self.episodes[rows], self.source)


@register_command("analyze alignment")
@dataclass(frozen=True)
class AnalyzeAlignment(DataOptions, Command):
    """Print how well two sets of points are aligned: the HyperDGA score, beside that of one distribution.

    The sets are two files of points (NPY or NPZ), or the latents that an encoder has of two data sets: does the encoder
    still fit a changed camera? With --other-encoder and --other-data, each of two encoders is measured on both data
    sets: for which one are the two data sets less separated? With --other-encoder alone, the latents of two encoders
    are compared on different episodes of one data set, in the coordinates that they have. Two encoders of one kind
    usually have other coordinates and are apart, however good they are: equiact analyze stitching finds the map between
    them. The score is the share of Delaunay edges inside one set; 0.5 is expected for two large samples of one size and
    one distribution. Frames of one episode are not independent: p-value and interval are from random assignments of
    whole episodes. Writes nothing.
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
    """Number of random assignments of points (or episodes) to the two sets, for the expected score and the p-value."""

    def run(self) -> dict[str, Any]:
        self.require_at_least(max_points=3, permutations=100)
        if self.files:
            return self._compare(*self._points_of_files())
        if self.encoder is None or self.data is None or not (self.other_encoder or self.other_data):
            raise ValueError(
                "expected two files of points, or --encoder, --data and --other-data or --other-encoder, got less"
            )
        return self._on_encoders(self.encoder, self.data)

    def _points_of_files(self) -> tuple[LatentSet, LatentSet]:
        named = {"encoder": self.encoder, "other-encoder": self.other_encoder, "data": self.data}
        named["other-data"] = self.other_data
        if given := [name for name, value in named.items() if value is not None]:
            raise ValueError(f"expected two files or encoders and data sets, got files and --{given[0]}")
        if len(self.files) != 2:
            raise ValueError(f"expected two files of points, got {len(self.files)}")
        first, second = (
            LatentSet(read_points(path, self.latent, f"the {which} file"), None, f"the {which} file")
            for path, which in zip(self.files, ("first", "second"), strict=True)
        )
        return first, second

    def _on_encoders(self, encoder: Path, data: Path) -> dict[str, Any]:
        from ...representations.encoders.encoder import load_encoder
        from ...representations.learning.devices import resolve_device

        if self.geometry != "euclidean":
            raise ValueError(f"expected --geometry euclidean for latents of encoders, got {self.geometry}")
        device = resolve_device(self.device)
        one = load_encoder(encoder).to(device)
        report_useless_encoder(one, "--encoder")
        if self.other_encoder is None:
            return self._on_data(one, data, self.other_data or data)
        other = load_encoder(self.other_encoder).to(device)
        report_useless_encoder(other, "--other-encoder")
        if self.other_data is None:
            return self._on_halves(one, other, self.load_for(one, data))
        results = {
            "encoder": self._on_data(one, data, self.other_data),
            "other_encoder": self._on_data(other, data, self.other_data),
        }
        better = min(results, key=lambda name: float(results[name]["separation"]))
        apart = any(result["verdict"].startswith("apart") for result in results.values())
        return {**results, "better_aligned": f"--{better.replace('_', '-')}" if apart else _BOTH_ALIGNED}

    def _on_data(self, encoder: Encoder, data: Path, other_data: Path) -> dict[str, Any]:
        """Return the result of the latents that an encoder has of two data sets."""
        loaded = self.load_for(encoder, data), self.load_for(encoder, other_data)
        drawn = [
            np.random.default_rng([self.seed, stream]).permutation(len(each.frames))
            for stream, each in enumerate(loaded)  # other frames of each: those of one place would be paired
        ]
        sources = ("--data", "--other-data")
        first, second = (self._latents(encoder, *each) for each in zip(loaded, drawn, sources, strict=True))
        return self._compare(first, second)

    def _on_halves(self, one: Encoder, other: Encoder, transitions: Transitions) -> dict[str, Any]:
        """Return the result of the latents that two encoders have of a random half of the episodes each."""
        require_encoder_fits(other, transitions, f"--data {self.data}")
        random = np.random.default_rng(self.seed)
        episodes = frame_episodes(transitions)
        order = random.permutation(int(episodes.max()) + 1)
        in_first = np.isin(episodes, order[: len(order) // 2])
        rows = random.permutation(len(episodes))
        first = self._latents(one, transitions, rows[in_first[rows]], "--encoder")
        second = self._latents(other, transitions, rows[~in_first[rows]], "--other-encoder")
        result = self._compare(first, second)
        if result["verdict"].startswith("apart"):
            result["verdict"] = _OTHER_COORDINATES
        return result

    def _latents(self, encoder: Encoder, transitions: Transitions, rows: NDArray[np.int64], source: str) -> LatentSet:
        """Return the latents of the first ``max_points`` of some frames."""
        chosen = rows[: self.max_points]
        values = _named(encoder.encode(transitions.frames[chosen]), self.latent, "latent of the encoder")
        points = values.reshape(len(values), -1).astype(np.float64)
        return LatentSet(points, frame_episodes(transitions)[chosen], f"the random latents of {source}")

    def _compare(self, first: LatentSet, second: LatentSet) -> dict[str, Any]:
        """Return the figures to print."""
        from ...representations.analysis.hyperbolic.alignment import alignment_test
        from ...representations.analysis.hyperbolic.hyperbolic_points import HyperbolicPointsError
        from ...representations.analysis.hyperbolic.point_set_distances import chamfer_distance

        _require_separate(first, second)
        one, other = (self._thinned(each) for each in (first, second))
        episodes = None if one.episodes is None or other.episodes is None else (one.episodes, other.episodes)
        given: Any = {"episodes": episodes, "permutations": self.permutations, "seed": self.seed}
        try:
            test = alignment_test(one.points, other.points, self.geometry, **given)
        except HyperbolicPointsError as error:
            raise HyperbolicPointsError(f"{error} (A: {one.source}, B: {other.source})") from error
        return {
            "score": test.alignment.score,
            "expected_score": test.expected,
            "expected_low": test.low,
            "expected_high": test.high,
            "p_value": test.p_value,
            "separation": test.separation,
            "chamfer": chamfer_distance(one.points, other.points, self.geometry),
            "wasserstein": self._wasserstein(one.points, other.points),
            "points": f"{len(one.points)} and {len(other.points)}",
            **({} if episodes is None else {"episodes": " and ".join(str(len(np.unique(each))) for each in episodes)}),
            "equal_points_left_out": sum(len(each.points) - len(_distinct(each.points)) for each in (first, second)),
            "verdict": test.verdict,
        }

    def _thinned(self, found: LatentSet) -> LatentSet:
        """Return different points, at most ``max_points``."""
        different = _distinct(found.points)
        if len(different) < 3:
            raise ValueError(
                f"expected at least 3 different points of {found.source}, got {len(different)} among "
                f"{len(found.points)}; give more points"
            )
        chosen = np.random.default_rng(self.seed).permutation(len(different))[: self.max_points]
        return found.select(different[np.sort(chosen)])

    def _wasserstein(self, one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
        """Return the Wasserstein distance of as many points of each set, which needs no linear programme."""
        from ...representations.analysis.hyperbolic.point_set_distances import wasserstein_distance

        count = min(len(one), len(other))
        return wasserstein_distance(one[:count], other[:count], self.geometry)


def read_points(path: Path, name: str | None, option: str = "the file") -> NDArray[np.float64]:
    """Return the points of an NPY or NPZ file; nothing in it is executed.

    Args:
        path: the file; ``~`` is the home folder.
        name: name of the array in an NPZ file; None if it has only one.
        option: argument that names the file, for messages.

    Raises:
        ValueError: there is no such file, it is damaged, has no such array, or one of another shape than ``(n, d)``.
    """
    if path.suffix.lower() == ".npz":
        array = _named(read_arrays(path, option), name, f"array in {path}")
    elif path.suffix.lower() == ".npy":
        array = read_npy(path, option)
    else:
        raise ValueError(f"expected {option} to hold points and to end in .npy or .npz, got {path}")
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise ValueError(f"expected points of shape (n, d) in {path}, got shape {array.shape} of {array.dtype}")
    return array.astype(np.float64)


def frame_episodes(transitions: Transitions) -> NDArray[np.int64]:
    """Return the number of the episode of each frame, ``(F,)``: frames that transitions join are of one episode.

    Args:
        transitions: the transitions.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    number = len(transitions.frames)
    joined = coo_array((np.ones(len(transitions)), (transitions.start, transitions.end)), shape=(number, number))
    episodes: NDArray[np.int64] = connected_components(joined, directed=False)[1].astype(np.int64)
    return episodes


def _require_separate(first: LatentSet, second: LatentSet) -> None:
    """Check that no point is in both sets, with rows as the user knows them.

    Raises:
        ValueError: one is.
    """
    rows = {point.tobytes(): row for row, point in enumerate(first.points + 0.0)}  # adding 0 makes -0 equal to 0
    for row, point in enumerate(second.points + 0.0):
        if (same := rows.get(point.tobytes())) is not None:
            raise ValueError(
                f"expected two sets without a common point, got the same coordinates in row {same} of {first.source} "
                f"and row {row} of {second.source}; leave one of them out, and give samples that are independent"
            )


def _named(arrays: dict[str, Any], name: str | None, what: str) -> NDArray[Any]:
    """Return the array with a name, or the only one."""
    if name is None and len(arrays) > 1:
        raise ValueError(f"expected --latent with the name of the {what}, one of {', '.join(arrays)}")
    chosen = next(iter(arrays)) if name is None else name
    if chosen not in arrays:
        raise ValueError(f"expected --latent among {', '.join(arrays)} as {what}, got {chosen!r}")
    array: NDArray[Any] = np.asarray(arrays[chosen])
    return array


def _distinct(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rows of the different points, of equal ones the first, in ascending order."""
    _, first = np.unique(points, axis=0, return_index=True)
    return np.sort(first)
