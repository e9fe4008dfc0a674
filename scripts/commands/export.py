"""The command ``equiact export``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .command import Command
from .registry import register_command

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@register_command("export")
@dataclass(frozen=True)
class Export(Command):
    """Write an encoder in a format that runs without this package, and compare it with the original first.

    The ONNX graph has the input images (batch, H, W, C) uint8, an output for each latent by its name, and the card of
    the encoder in its metadata. It is compared on random images, and on those of a data set if one is given. Writes the
    file; prints the largest difference of each latent.
    """

    encoder: Path = Path("runs/encoder")
    """Folder of the encoder."""
    output: Path = Path("encoder.onnx")
    """File to write; an earlier export is replaced, any other file is not."""
    onnx: bool = True
    """Write an ONNX graph, the only format so far."""
    data: Path | None = None
    """Data set whose images are compared, too; none by default."""
    displacement: str | None = None
    """Rule of the displacement in data of others: column:NAME, difference:NAME, or module:function."""
    image_key: str | None = None
    """Name of the images in data of others; needed if there are several."""
    images: int = 256
    """Number of images of the data set to compare, drawn with --seed."""
    tolerance: float = 1e-4
    """Largest difference of a latent, in units of its largest value."""

    def run(self) -> dict[str, Any]:
        from ...representations.encoders.encoder import load_encoder
        from ...representations.encoders.onnx_export import export_onnx

        self.require_at_least(images=1)
        if not self.onnx:
            raise ValueError("expected --onnx, the only format so far, got --no-onnx")
        if not 0 < self.tolerance < 1:
            raise ValueError(f"expected --tolerance between 0 and 1, got {self.tolerance}")
        encoder = load_encoder(self.encoder)
        written = export_onnx(encoder, self.output, self._images(encoder.group), tolerance=self.tolerance)
        return {
            "file": str(written.file),
            "size_bytes": written.size_bytes,
            "encoder": written.card["encoder"],
            "group": written.card["group"],
            "images_compared": written.images,
            "largest_difference": written.differences,
        }

    def _images(self, group: str) -> NDArray[np.uint8] | None:
        if self.data is None:
            return None
        import numpy as np

        from ...envs.data_formats.dataset_loading import load_dataset

        frames = load_dataset(self.data, displacement=self.displacement, image_key=self.image_key, group=group).frames
        chosen = np.random.default_rng(self.seed).permutation(len(frames))[: self.images]
        return np.ascontiguousarray(frames[np.sort(chosen)])
