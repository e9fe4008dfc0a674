"""`equiact train`: an encoder from transitions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scripts.commands import HELD_OUT_SEED, Command, collect_transitions, fit_with_bar, resolve, train_encoder
from scripts.progress import bar
from scripts.runs import provenance, write_json

if TYPE_CHECKING:
    from envs.orbits import OrbitWorld
    from envs.transitions import Transitions
    from envs.world import World


@dataclass(frozen=True)
class Train(Command):
    """Train an encoder that suits the world. If it is stopped, the same command goes on where it was.

    In worlds with an object, where agent and object are; in worlds of classes and poses, which class is seen and in
    which pose, or in which set of poses where things are symmetric, with pictures of orbits, and a map or plans.
    """

    resumes = True
    data: Path | None = None
    """Folder of a dataset that `equiact collect` wrote; collected anew from the world if none is given."""
    world: str = "Soccer"
    """World to collect from, and to measure the encoder in on held-out data."""
    transitions: int = 20_000
    """How many transitions to collect if no dataset is given."""
    out: Path = Path("runs/encoder")
    """Folder of the encoder."""
    encoder: Literal["agent-object", "class-pose", "stabilizers", "harmonics"] | None = None
    """Kind of encoder; the one that suits the world if none is given."""
    backbone: Literal["spatial_softmax", "strided", "resnet18"] | None = None
    """Network; the first suits positions, the second classes and poses on a CPU, the third those on a GPU."""
    elongated: bool = False
    """Learn the object's volume and orientation too."""

    def run(self) -> dict[str, Any]:
        from envs import task_class, world_class
        from envs.orbits import OrbitWorld
        from representations.storage import require_replaceable

        require_replaceable(self.out)
        kind = world_class(self.world)
        name = self.encoder or _suiting(kind)
        if name == "agent-object":
            return self._agent_object(task_class(self.world).arena_side)
        if not issubclass(kind, OrbitWorld):
            raise ValueError(f"{self.world} has no classes and poses to encode; choose --encoder agent-object")
        return self._class_pose(kind, name)

    def _agent_object(self, arena_side: float) -> dict[str, Any]:
        from representations.metrics import evaluate_encoder

        transitions = self._transitions()
        checkpoint = self.out.with_name(self.out.name + ".checkpoint")
        encoder, report = train_encoder(
            transitions,
            seed=self.seed,
            device=self.device,
            backbone=self.backbone or "spatial_softmax",
            elongated=self.elongated,
            checkpoint=checkpoint,
        )
        held_out = collect_transitions(self.world, 4000, self.seed + HELD_OUT_SEED, self.device, "Held-out data")
        encoder.metrics = evaluate_encoder(encoder, held_out, arena_side)
        encoder.save(self.out)
        write_json(self.out / "training.json", {**vars(report), **provenance()})
        checkpoint.unlink()
        speed = report.transitions / report.seconds
        return {
            **encoder.metrics,
            "seconds": report.seconds,
            "transitions_per_second": speed,
            "folder": str(self.out),
        }

    def _class_pose(self, kind: type[OrbitWorld], name: str) -> dict[str, Any]:
        import torch

        from representations.looking import LookingLearner
        from scripts.methods import OURS, make_learner, require_suiting
        from scripts.symmetry import measure, put_to_use
        from scripts.symmetry_pictures import draw_all

        if name == "class-pose":
            kind.require_free()
        require_suiting(OURS[name], kind.group.name)
        transitions = self._transitions()
        if self.data is not None:
            self._require_of(kind, transitions)
        held_out = collect_transitions(self.world, 4000, self.seed + HELD_OUT_SEED, self.device, "Held-out data")
        torch.manual_seed(self.seed)
        learner = make_learner(OURS[name], kind, transitions, self.backbone or "strided", resolve(self.device))
        checkpoints = [self.out.with_name(f"{self.out.name}{of}.checkpoint") for of in ("", ".looking")]
        learner.encoder.require_fitting(held_out)
        report = fit_with_bar("Training the encoder", learner, transitions, self.seed, checkpoints[0])
        encoder = learner.encoder.eval()
        with bar("Measuring", 4, "measures") as update:
            encoder.metrics = measure(encoder, kind, held_out, lambda done, total: update(done))
        if used := put_to_use(encoder, kind, held_out):
            encoder.metrics |= used.figures
        encoder.save(self.out)
        write_json(self.out / "training.json", {**vars(report), **provenance()})
        torch.manual_seed(self.seed)
        looking = LookingLearner(encoder, transitions)
        fit_with_bar("A decoder for looking", looking, transitions, self.seed, checkpoints[1])
        draw_all(self.out, kind, looking.eval().to("cpu"), held_out, used)
        for each in checkpoints:
            each.unlink()
        return {**encoder.metrics, "seconds": report.seconds, "folder": str(self.out)}

    def _require_of(self, kind: type[OrbitWorld], transitions: Transitions) -> None:
        """Check that a dataset is of the world: a few of its frames are drawn again.

        Raises:
            ValueError: it holds no classes and poses, or the world looks otherwise in them.
        """
        import numpy as np

        if missing := {"agent_pose", "orbit"} - transitions.truth.keys():
            raise ValueError(
                f"{self.data} does not hold {sorted(missing)}, which data of {self.world} do; collect it anew"
            )
        few = np.linspace(0, len(transitions.frames) - 1, 8).astype(int)
        orbit, pose = transitions.truth["orbit"][few, 0].astype(int), transitions.truth["agent_pose"][few]
        seen = transitions.frames[few]
        # A class that the world lacks is drawn as another, and looks otherwise.
        drawn = kind(len(few), resolution=seen.shape[1:3], device="cpu").look(orbit % len(kind.orbits), pose)
        if np.abs(drawn.astype(int) - seen).mean() > 1:
            raise ValueError(
                f"{self.data} is not of {self.world}, which looks otherwise in the same poses; check --world"
            )

    def _transitions(self) -> Transitions:
        """Those of the dataset, or of the world.

        Raises:
            ValueError: the dataset is of another group than the world, in which the encoder is to be measured.
        """
        from envs import world_class
        from envs.dataset import load_transitions

        if self.data is None:
            return collect_transitions(self.world, self.transitions, self.seed, self.device)
        transitions, group = load_transitions(self.data), world_class(self.world).group.name
        if transitions.group != group:
            raise ValueError(f"{self.data} is of the group {transitions.group}, {self.world} of {group}")
        return transitions


def _suiting(kind: type[World]) -> str:
    """The encoder that suits a world: for what is symmetric harmonics, if its group has any."""
    from envs.orbits import OrbitWorld
    from scripts.methods import OURS, suits

    if not issubclass(kind, OrbitWorld):
        return "agent-object"
    if kind.free():
        return "class-pose"
    return "harmonics" if suits(OURS["harmonics"], kind.group.name) else "stabilizers"
