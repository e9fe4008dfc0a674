"""`equiact collect`: experience from a world, as a Minari dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.commands import Command, collect_transitions


@dataclass(frozen=True)
class Collect(Command):
    """Collect transitions in a world and save them as a Minari dataset."""

    world: str = "Soccer"
    """Name of the world."""
    transitions: int = 20_000
    """How many transitions."""
    out: Path = Path("runs/data")
    """Folder of the dataset; one that is there is replaced."""

    def run(self) -> dict[str, Any]:
        from envs.dataset import require_replaceable, save_transitions

        require_replaceable(self.out)
        transitions = collect_transitions(self.world, self.transitions, self.seed, self.device)
        save_transitions(transitions, self.out)
        touched = 0.0 if transitions.touched is None else float(transitions.touched.mean())
        return {
            "transitions": len(transitions),
            "frames": len(transitions.frames),
            "touched": touched,
            "folder": str(self.out),
        }
