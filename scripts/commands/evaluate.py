"""The command ``equiact evaluate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from ..collect_and_train import held_out_transitions, require_world_fits
from ..held_out_measurement import describe_measurement, measure_on_data
from ..training_data import unseen_part
from .command import Command
from .data_options import DataOptions
from .registry import register_command

if TYPE_CHECKING:
    from ...representations.encoders.encoder import Encoder


@register_command("evaluate")
@dataclass(frozen=True)
class Evaluate(DataOptions, Command):
    """Measure an encoder on a data set, or an agent-object encoder in a world, beside an untrained one and chance.

    With --data the metrics need no ground truth; those with ground truth are added where the data set has it. If the
    encoder was trained on this data set, it is measured on the episodes that were held out. The data are read with the
    options of the encoder's training, such as --displacement, unless others are given. If a policy is given, also
    evaluate it in the world on the latents of the encoder. Prints the metrics; writes nothing.
    """

    encoder: Path = Path("runs/encoder")
    """Folder of the encoder."""
    data: Path | None = None
    """Data set to measure on: of equiact, Minari, LeRobot or robomimic, or arrays of NumPy."""
    ground_truth: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Column of data of others to measure with, NAME=COLUMN, such as agent_pose=observation.state; may be repeated."""
    policy: Path | None = None
    """Folder of a policy that `equiact rl` wrote; none by default."""
    world: str | None = None
    """Name of the world to measure in; without --data that in which the encoder was measured after its training."""
    transitions: int = 4000
    """Number of held-out transitions to collect in the world."""
    episodes: int = 200
    """Number of episodes to evaluate the policy on."""

    def run(self) -> dict[str, Any]:
        from ...representations.encoders.encoder import load_encoder

        self.require_at_least(transitions=32, episodes=1)
        if self.data is not None and (self.world is not None or self.policy is not None):
            other = "--world" if self.world is not None else "--policy"
            raise ValueError(f"expected --data or {other}, got both; a policy is evaluated in a world")
        encoder = load_encoder(self.encoder)
        return self._on_data(encoder, self.data) if self.data is not None else self._in_world(encoder)

    def _on_data(self, encoder: Encoder, data: Path) -> dict[str, Any]:
        from ...representations.learning.devices import resolve_device

        transitions = self.load_for(encoder, data, self.ground_truth)
        held_out, source = unseen_part(encoder, transitions)
        measured = measure_on_data(encoder.to(resolve_device(self.device)), held_out)
        said = {"not_measured": measured.missing, "warnings": measured.warnings}
        said = {name: sentences for name, sentences in said.items() if sentences}
        return {**measured.metrics, **said, "measured_on": describe_measurement(held_out, source, data=data.name)}

    def _in_world(self, encoder: Encoder) -> dict[str, Any]:
        import torch

        from ...agents.policies.sac import load_policy
        from ...envs.worlds.registry import task_world_class
        from ...representations.encoders.agent_object import AgentObjectEncoder
        from ..benchmarks.agent_object_evaluation import compare_encoder

        world = self._world_of(encoder)
        world_cls = task_world_class(world)
        if not isinstance(encoder, AgentObjectEncoder):
            raise ValueError(
                f"expected an agent-object encoder for --world, got {encoder.registered_name}; give --data"
            )
        require_world_fits(encoder, world_cls)
        policy = None if self.policy is None else load_policy(self.policy)
        held_out = held_out_transitions(world, self.transitions, self.seed, self.device)
        torch.manual_seed(self.seed)  # for the weights of the untrained encoder
        result: dict[str, Any] = dict(compare_encoder(encoder, held_out, world))
        if policy is not None:
            result["policy"] = self._evaluate_policy(encoder, policy, world)
        return result

    def _world_of(self, encoder: Encoder) -> str:
        """Return the world to measure in.

        Raises:
            ValueError: it is not given, and the encoder was not measured in a world after its training.
        """
        world = self.world or encoder.measured_on.get("world")
        if not isinstance(world, str):
            raise ValueError("expected --data or --world to measure the encoder on, got neither; give one")
        return world

    def _evaluate_policy(self, encoder: Any, policy: Any, world: str) -> dict[str, Any]:
        from ...agents.evaluation.rollouts import evaluate_policy
        from ...agents.policies.sb3_vec_env import observe_latents
        from ...envs.worlds.registry import task_world_class

        batch = task_world_class(world)(self.episodes, device=self.device)
        return evaluate_policy(batch, observe_latents(encoder), policy, seed=self.seed).as_dict()
