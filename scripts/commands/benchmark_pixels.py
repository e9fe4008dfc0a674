"""The command ``equiact benchmark-pixels``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from ..benchmarks.pixels_benchmark import PixelsBenchmarkConfig, run_pixels_benchmark
from ..benchmarks.result_files import FIRST_SEED
from ..progress import progress_bar
from .command import Command, Device
from .registry import register_command


@register_command("benchmark-pixels")
@dataclass(frozen=True)
class BenchmarkPixels(Command):
    """Compare the ray tracer with MuJoCo's own renderer, in speed and in pictures.

    Writes pixels.json to the results folder.

    Each scene is measured in a process of its own, where both renderers draw in turn. MuJoCo's renderer uses OSMesa,
    which draws OpenGL on the CPU. It is not part of equiact: on Debian, install libosmesa6.
    """

    device: tyro.conf.Suppress[Device] = "cpu"
    scenes: tuple[str, ...] = PixelsBenchmarkConfig.scenes
    """Environments, each as "PACKAGE ID"."""
    rounds: int = PixelsBenchmarkConfig.rounds
    """Number of times that each renderer draws a batch of 8 pictures."""
    num_seeds: int = 3
    """Number of episodes, with seeds from 100 (and --seed more) on."""
    results_dir: Path = Path("results")
    """Folder of the result file."""

    def run(self) -> dict[str, Any]:
        from ...envs.storage.artifacts import check_output_file, write_json

        self.require_at_least(num_seeds=1, rounds=1)
        for scene in self.scenes:
            if len(scene.split()) != 2:
                raise ValueError(f'expected --scenes as "PACKAGE ID", such as "gymnasium Pusher-v5", got {scene!r}')
        path = self.results_dir / "pixels.json"
        check_output_file(path)
        config = PixelsBenchmarkConfig(scenes=self.scenes, rounds=self.rounds)
        seeds = [FIRST_SEED + self.seed + index for index in range(self.num_seeds)]
        with progress_bar("Measuring", len(seeds) * len(self.scenes), "scenes") as show:
            result = run_pixels_benchmark(config, seeds, lambda done, scene: show(done, note=scene))
            show(len(seeds) * len(self.scenes))
        write_json(path, result)
        return {"result_file": str(path), "figures": {label: each["mean"] for label, each in result["figures"].items()}}
