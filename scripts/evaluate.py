"""`equiact evaluate`: an encoder on held-out data, a policy in rollouts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.commands import HELD_OUT_SEED, Command, collect_transitions


@dataclass(frozen=True)
class Evaluate(Command):
    """Measure an encoder on data it was not trained on and, if one is given, a policy that sees through it."""

    encoder: Path = Path("runs/encoder")
    """Folder of the encoder."""
    policy: Path | None = None
    """Folder of a policy that `equiact rl` wrote."""
    world: str = "Soccer"
    """World to measure in."""
    transitions: int = 4000
    """How many held-out transitions to collect."""
    episodes: int = 200
    """How many evaluation episodes."""

    def run(self) -> dict[str, Any]:
        from envs import task_class
        from representations.agent_object import AgentObjectEncoder
        from representations.metrics import chance, evaluate_encoder

        world = task_class(self.world)
        encoder = AgentObjectEncoder.load(self.encoder)
        held_out = collect_transitions(self.world, self.transitions, self.seed + HELD_OUT_SEED, self.device)
        untrained = AgentObjectEncoder(**encoder.hyperparameters).eval()
        result: dict[str, Any] = {
            "trained": evaluate_encoder(encoder, held_out, world.arena_side),
            "untrained": evaluate_encoder(untrained, held_out, world.arena_side),
            "chance": chance(held_out, world.arena_side),
        }
        if self.policy is not None:
            result["policy"] = self._rollouts(encoder)
        return result

    def _rollouts(self, encoder: Any) -> dict[str, Any]:
        from agents.evaluation import evaluate
        from agents.reinforcement import EVALUATION_SEED, load_policy
        from agents.vec_env import observe_latents
        from envs import task_class

        batch = task_class(self.world)(self.episodes, device=self.device)
        act = load_policy(self.policy or Path())
        return evaluate(batch, observe_latents(encoder), act, seed=EVALUATION_SEED + self.seed).as_dict()
