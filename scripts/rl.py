"""`equiact rl`: reinforcement learning on what a frozen encoder sees, or on true state."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.commands import Command
from scripts.jobs import Show, run_jobs
from scripts.runs import provenance, write_json

if TYPE_CHECKING:
    from agents.reinforcement import LearningCurve


@dataclass(frozen=True)
class Job:
    """One policy to train."""

    name: str
    world: str
    encoder: Path | None
    """Folder of the encoder through which the policy sees; None for true state."""
    steps: int
    seed: int
    device: str
    folder: Path
    """Where the policy and its learning curve go."""

    @property
    def curve_file(self) -> Path:
        return self.folder / "curve.json"

    @property
    def title(self) -> str:
        return f"Training the policy: {self.name.replace('_', ' ')}"

    def run(self, show: Show) -> None:
        from agents.reinforcement import save_policy, train_sac
        from agents.vec_env import observe_latents, observe_state
        from envs import task_class
        from representations.encoder import Encoder

        world = task_class(self.world)
        observe = observe_state if self.encoder is None else observe_latents(Encoder.load(self.encoder))

        def progress(done: int, curve: LearningCurve) -> None:
            show(done, self.steps, note=f"success {curve.success[-1]:.0%}" if curve.success else "")

        model, curve = train_sac(
            lambda count: world(count, device=self.device), observe, steps=self.steps, seed=self.seed, progress=progress
        )
        save_policy(model, self.folder)
        settings = {key: str(value) for key, value in asdict(self).items() if key != "folder"}
        write_json(self.curve_file, {**curve.as_dict(), "job": settings, **provenance()})


@dataclass(frozen=True)
class Rl(Command):
    """Train soft actor-critic on the latents of a frozen encoder, or on true state."""

    encoder: Path | None = Path("runs/encoder")
    """Folder of the encoder; None for the true state."""
    world: str = "Soccer"
    """World whose task to learn."""
    steps: int = 24_000
    """Steps in the environment."""
    out: Path = Path("runs/policy")
    """Folder of the policy and its learning curve."""

    def run(self) -> dict[str, Any]:
        from agents.reinforcement import POLICY_CARD, POLICY_WEIGHTS
        from envs import task_class
        from representations.storage import require_replaceable

        require_replaceable(self.out, (POLICY_CARD, POLICY_WEIGHTS))
        task_class(self.world)
        name = "true state" if self.encoder is None else "encoder"
        job = Job(name, self.world, self.encoder, self.steps, self.seed, self.device, self.out)
        run_jobs([job])
        return {"folder": str(self.out), "curve": str(job.curve_file)}
