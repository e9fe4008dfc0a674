"""`equiact train`: an encoder from transitions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from scripts.commands import HELD_OUT_SEED, Command, collect_transitions, train_encoder
from scripts.runs import provenance, write_json


@dataclass(frozen=True)
class Train(Command):
    """Train an agent-object encoder. If it is stopped, the same command goes on where it was."""

    data: Path | None = None
    """Folder of a dataset that `equiact collect` wrote; collected anew from the world if none is given."""
    world: str = "Soccer"
    """World to collect from, and to measure the encoder in on held-out data."""
    transitions: int = 20_000
    """How many transitions to collect if no dataset is given."""
    out: Path = Path("runs/encoder")
    """Folder of the encoder."""
    backbone: Literal["spatial_softmax", "resnet18"] = "spatial_softmax"
    """Network; the first suits positions and is fast."""
    elongated: bool = False
    """Learn the object's volume and orientation too."""

    def run(self) -> dict[str, Any]:
        from envs import task_class
        from envs.dataset import load_transitions
        from representations.metrics import evaluate_encoder

        world = task_class(self.world)
        if self.data is None:
            transitions = collect_transitions(self.world, self.transitions, self.seed, self.device)
        else:
            transitions = load_transitions(self.data)
        checkpoint = self.out.with_name(self.out.name + ".checkpoint")
        encoder, report = train_encoder(
            transitions,
            seed=self.seed,
            device=self.device,
            backbone=self.backbone,
            elongated=self.elongated,
            checkpoint=checkpoint,
        )
        held_out = collect_transitions(self.world, 4000, self.seed + HELD_OUT_SEED, self.device, "Held-out data")
        encoder.metrics = evaluate_encoder(encoder, held_out, world.arena_side)
        encoder.save(self.out)
        write_json(self.out / "training.json", {**vars(report), **provenance()})
        speed = report.transitions / report.seconds
        return {
            **encoder.metrics,
            "seconds": report.seconds,
            "transitions_per_second": speed,
            "folder": str(self.out),
        }
