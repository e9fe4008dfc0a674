"""The command ``equiact encode``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .command import Command
from .data_options import DataOptions
from .registry import register_command


@register_command("encode")
@dataclass(frozen=True)
class Encode(DataOptions, Command):
    """Encode all frames of a data set, and write the latents as a Parquet or NPZ file.

    The file has a row for each frame of each episode: the episode, the step, and the latents. Parquet has a column for
    each coordinate, such as agent_0, and the group and the encoder in its metadata; NPZ has an array for each latent.
    With --film also writes a film of the frames, beside a panel with the path of the latents. For an agent-object
    encoder dots mark agent and object on the frames, and a line where they touch; no ground truth is read.

    The data are read with the options of the encoder's training, such as --displacement, unless others are given.
    """

    data: Path = Path("runs/data")
    """Data set to encode: of equiact, Minari, LeRobot or robomimic, or arrays of NumPy."""
    encoder: Path = Path("runs/encoder")
    """Folder of the encoder."""
    output: Path = Path("runs/latents.parquet")
    """File of the latents, ending in .parquet or .npz; one that this command wrote is replaced."""
    film: Path | None = None
    """MP4 file of a film, and four of its pictures beside it as a PNG file; none by default."""
    film_episodes: int = 2
    """Number of episodes in the film."""

    def run(self) -> dict[str, Any]:
        from ...representations.encoders.encoder import load_encoder
        from ...representations.learning.devices import resolve_device
        from ..latent_files import check_latent_file, encode_episodes, write_latents

        self.require_at_least(film_episodes=1)
        output = check_latent_file(self.output)
        self._check_film()
        encoder = load_encoder(self.encoder)
        transitions = self.load_for(encoder, self.data)
        latents = encode_episodes(encoder.to(resolve_device(self.device)), transitions)
        write_latents(output, latents, {"data": self.data.name, "data_fingerprint": transitions.fingerprint})
        if self.film is not None:
            self._write_film(encoder, latents, transitions)
        return {
            "frames": len(latents.frame),
            "episodes": int(latents.episode[-1]) + 1,
            "latents": {name: list(values.shape[1:]) for name, values in latents.latents.items()},
            "output": str(self.output),
            **({} if self.film is None else {"film": str(self.film)}),
        }

    def _check_film(self) -> None:
        """Check, before the work begins, that the film may be written.

        Raises:
            ValueError: it is no MP4 file, or other files are where film and pictures go.
        """
        from ...envs.storage.artifacts import check_output_file

        if self.film is None:
            return
        if self.film.suffix.lower() != ".mp4":
            raise ValueError(f"expected --film to end in .mp4, got {self.film}")
        for path in (self.film, self.film.with_suffix(".png")):
            check_output_file(path)

    def _write_film(self, encoder: Any, latents: Any, transitions: Any) -> None:
        from ..reports.image_marks import image_marks
        from ..reports.latent_film import write_latent_film

        if self.film is not None:
            frames, marks = transitions.frames, image_marks(encoder, latents, transitions.frames)
            write_latent_film(self.film, latents, frames, marks=marks, episodes=self.film_episodes)
