"""The command ``equiact evaluate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..collect_and_train import held_out_transitions, require_world_fits
from .command import Command
from .registry import register_command


@register_command("evaluate")
@dataclass(frozen=True)
class Evaluate(Command):
    """Measure an agent-object encoder on held-out transitions, beside an untrained one and chance.

    If a policy is given, also evaluate it on the latents of the encoder. Prints the metrics; writes nothing.
    """

    encoder: Path = Path("runs/encoder")
    """Folder of the encoder."""
    policy: Path | None = None
    """Folder of a policy that `equiact rl` wrote; none by default."""
    world: str = "Soccer"
    """Name of the world."""
    transitions: int = 4000
    """Number of held-out transitions to collect."""
    episodes: int = 200
    """Number of episodes to evaluate the policy on."""

    def run(self) -> dict[str, Any]:
        import torch

        from ...agents.policies.sac import load_policy
        from ...envs.worlds.registry import task_world_class
        from ...representations.encoders.agent_object import AgentObjectEncoder
        from ..benchmarks.agent_object_evaluation import compare_encoder

        self.require_at_least(transitions=32, episodes=1)
        world_cls = task_world_class(self.world)
        encoder = AgentObjectEncoder.load(self.encoder)
        require_world_fits(encoder, world_cls)
        policy = None if self.policy is None else load_policy(self.policy)
        held_out = held_out_transitions(self.world, self.transitions, self.seed, self.device)
        torch.manual_seed(self.seed)  # for the weights of the untrained encoder
        result: dict[str, Any] = dict(compare_encoder(encoder, held_out, self.world))
        if policy is not None:
            result["policy"] = self._evaluate_policy(encoder, policy)
        return result

    def _evaluate_policy(self, encoder: Any, policy: Any) -> dict[str, Any]:
        from ...agents.evaluation.rollouts import evaluate_policy
        from ...agents.policies.sac import EVALUATION_SEED
        from ...agents.policies.sb3_vec_env import observe_latents
        from ...envs.worlds.registry import task_world_class

        batch = task_world_class(self.world)(self.episodes, device=self.device)
        seed = EVALUATION_SEED + self.seed
        return evaluate_policy(batch, observe_latents(encoder), policy, seed=seed).as_dict()
