"""The command ``equiact analyze stitching``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..commands.command import Command
from ..commands.data_options import DataOptions
from ..commands.registry import register_command
from ..training_data import require_encoder_fits
from .encoder_quality import report_useless_encoder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ...envs.data.transitions import Transitions
    from ...representations.encoders.encoder import Encoder

_SAME_STATES = 0.5
"""Share of the frames of the smaller data set that must match. By chance, discrete actions match at up to a quarter."""


@register_command("analyze stitching")
@dataclass(frozen=True)
class AnalyzeStitching(DataOptions, Command):
    """Measure how well the latents of another encoder can take the place of those of an encoder, without training.

    Both encode the same frames; or with --other-data, frames of two data sets that were recorded with the same seeds
    and actions, such as those of two cameras. Alignments are fitted on random anchors, and measured on all other
    frames. Prints R² and error of each alignment, in units of the latents of encoder A, those of relative coordinates,
    and which alignment to use; writes nothing.
    """

    encoder: Path = Path("runs/encoder")
    """Folder of encoder A, on whose latents a policy was trained."""
    other_encoder: Path = Path("runs/other_encoder")
    """Folder of encoder B, whose latents the policy is to see."""
    data: Path = Path("runs/data")
    """Data set of frames for both encoders, or for encoder A only."""
    other_data: Path | None = None
    """Data set of frames for encoder B, with the seeds and actions of --data; that of --data by default."""
    anchors: int = 256
    """Number of anchors; at most half of the frames are taken."""
    frames: int = 4096
    """Largest number of frames to encode."""

    def run(self) -> dict[str, Any]:
        """Fit and measure all alignments, and return their scores and the one to use."""
        from ...representations.encoders.encoder import load_encoder
        from ...representations.learning.devices import resolve_device

        self.require_at_least(anchors=2, frames=4)
        device = resolve_device(self.device)
        encoders = load_encoder(self.encoder), load_encoder(self.other_encoder)
        for encoder, option in zip(encoders, ("--encoder", "--other-encoder"), strict=True):
            report_useless_encoder(encoder, option)
        seen = self._frames(*encoders)
        latents_a, latents_b = (
            encoder.to(device).encode_flat(frames) for encoder, frames in zip(encoders, seen, strict=True)
        )
        return self._compare(encoders[0], latents_a, latents_b)

    def _frames(self, encoder: Encoder, other: Encoder) -> Any:
        """Return frames of the same random states for both encoders."""
        import numpy as np

        one = self.load_for(encoder, self.data)
        if self.other_data is None:
            require_encoder_fits(other, one, f"--data {self.data}")
            pair = (np.arange(len(one.frames)),) * 2
            two = one
        else:
            two = self.load_for(other, self.other_data)
            pair = self._matched(one, two)
        chosen = np.random.default_rng(self.seed).permutation(len(pair[0]))[: self.frames]
        return one.frames[pair[0][chosen]], two.frames[pair[1][chosen]]

    def _matched(self, one: Transitions, two: Transitions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the frames of both data sets that show the same states.

        Raises:
            AnchorError: the data sets do not show the same states.
        """
        from ...representations.analysis.stitching.anchors import matched_frames
        from ...representations.analysis.stitching.relative_maps import AnchorError

        smaller = min(len(one.frames), len(two.frames))
        advice = f"--data {self.data} and --other-data {self.other_data}; record both with the same --seed and actions"
        try:
            pair = matched_frames(one, two)
        except AnchorError as error:
            raise AnchorError(f"{error}: {advice}") from error
        if len(pair[0]) < _SAME_STATES * smaller:
            raise AnchorError(
                f"expected two data sets that show the same states, got the same displacements at {len(pair[0])} of "
                f"{smaller} frames: {advice}"
            )
        return pair

    def _compare(
        self, encoder: Encoder, latents_a: NDArray[np.float32], latents_b: NDArray[np.float32]
    ) -> dict[str, Any]:
        """Return the scores of alignments and relative maps; rows are in random order, and the first are anchors."""
        from ...representations.analysis.stitching.comparison import (
            score_alignment,
            score_relative_maps,
            suggest_alignment,
            suiting_alignments,
        )
        from ...representations.analysis.stitching.relative_maps import AnchorError

        count = min(self.anchors, len(latents_a) // 2)
        anchors, held_out = (latents_b[:count], latents_a[:count]), (latents_b[count:], latents_a[count:])
        result: dict[str, Any] = {"anchors": count, "held_out_frames": len(held_out[0])}
        scores = {}
        for name, fit in suiting_alignments(encoder).items():
            try:
                scores[name] = score_alignment(fit(*anchors), *held_out)
                result[name] = vars(scores[name])
            except AnchorError as error:
                result[name] = f"not possible: {error}"
        relative = score_relative_maps(*anchors, *held_out)
        result |= {f"{name} relative map": vars(score) for name, score in relative.items()}
        return {**result, "use": suggest_alignment(scores)}
