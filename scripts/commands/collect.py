"""The command ``equiact collect``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..collect_and_train import collect_transitions
from .command import Command
from .registry import register_command


@register_command("collect")
@dataclass(frozen=True)
class Collect(Command):
    """Collect transitions in a world with random actions, and write them as a Minari dataset."""

    world: str = "Soccer"
    """Name of the world."""
    transitions: int = 20_000
    """Number of transitions."""
    output_dir: Path = Path("runs/data")
    """Folder of the dataset; a dataset that is there is replaced."""

    def run(self) -> dict[str, Any]:
        from ...envs.data.minari_dataset import check_dataset_folder, save_transitions
        from ...envs.storage.artifacts import folder_lock

        self.require_at_least(transitions=1)
        folder = check_dataset_folder(self.output_dir)
        with folder_lock(folder):
            transitions = collect_transitions(self.world, self.transitions, self.seed, self.device)
            save_transitions(transitions, folder)
        touched = 0.0 if transitions.touched is None else float(transitions.touched.mean())
        return {
            "transitions": len(transitions),
            "frames": len(transitions.frames),
            "touched": touched,
            "folder": str(self.output_dir),
        }
