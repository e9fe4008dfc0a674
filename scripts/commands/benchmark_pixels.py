"""The command ``equiact benchmark-pixels``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from ..benchmarks.pixels_benchmark import PixelsBenchmarkConfig
from ..experiments.provenance import REPORTED_SEED
from .command import Device
from .registry import register_command
from .runner_options import RunnerCommand


@register_command("benchmark-pixels")
@dataclass(frozen=True)
class BenchmarkPixels(RunnerCommand):
    """Compare the ray tracer with MuJoCo's own renderer, in speed and in pictures.

    Writes pixels.jsonl to the results folder.

    Each scene is measured in a process of its own, where both renderers draw in turn. MuJoCo's renderer uses OSMesa,
    which draws OpenGL on the CPU. It is not part of equiact: on Debian, install libosmesa6.
    """

    device: tyro.conf.Suppress[Device] = "cpu"
    scenes: tuple[str, ...] = PixelsBenchmarkConfig.scenes
    """Environments, each as "PACKAGE ID"."""
    rounds: int = PixelsBenchmarkConfig.rounds
    """Number of times that each renderer draws a batch of 8 pictures."""
    num_seeds: int = 3
    """Number of episodes, with seeds from 2000 (and --seed more) on."""

    work_dir: Path = Path("runs/benchmark")
    """Folder of the values of single scenes and of compiled kernels."""

    def run(self) -> dict[str, Any]:
        from ..benchmarks.pixels_benchmark import pixels_experiment

        self.require_at_least(num_seeds=1, rounds=1)
        for scene in self.scenes:
            if len(scene.split()) != 2:
                raise ValueError(f'expected --scenes as "PACKAGE ID", such as "gymnasium Pusher-v5", got {scene!r}')
        config = PixelsBenchmarkConfig(scenes=self.scenes, rounds=self.rounds)
        seeds = [REPORTED_SEED + self.seed + index for index in range(self.num_seeds)]
        return self.measured_means([pixels_experiment(config, seeds)], self.work_dir)
