"""The scripted expert, which shows what can be achieved at all; it reads the true positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .registry import RecoveryMethod, register_recovery_method

if TYPE_CHECKING:
    from ....envs.data.policy import Policy
    from ....envs.worlds.task_world import TaskWorld
    from ..recovery_run import RecoveryRun


@register_recovery_method("scripted expert")
@dataclass(frozen=True)
class ScriptedExpert(RecoveryMethod):
    """Act as the expert that the demonstrations come from, an upper bound."""

    rank: int = 99

    def policy_in(self, world: TaskWorld, name: str, run: RecoveryRun) -> Policy:
        from ....agents.policies.experts import expert
        from ....envs.data.policy import GroundTruthPolicy

        return GroundTruthPolicy(world, expert)

    def policy(self, name: str, run: RecoveryRun) -> Policy:
        raise NotImplementedError(f"{name} reads the state of a batch of worlds: call policy_in")
