"""DAgger: a policy that is trained on the expert's actions in the states that it reaches itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .cloned_policies import TrainedPolicy
from .registry import register_recovery_method

if TYPE_CHECKING:
    from ...experiments.jobs import JobProgress
    from ..recovery_run import RecoveryRun


@register_recovery_method("DAgger")
@dataclass(frozen=True)
class DAggerPolicy(TrainedPolicy):
    """Train with as many expert actions as behaviour cloning has (Ross et al., AISTATS 2011)."""

    rank: int = 2

    def train(self, name: str, run: RecoveryRun, show: JobProgress) -> None:
        from ....agents.baselines.dagger import dagger

        policy = run.new_policy()
        dagger(
            policy,
            run.make_world(min(50, run.config.demonstrations)),
            len(run.load("demonstrations")),
            seed=run.seed,
            config=run.config.dagger,
            checkpoint=run.checkpoint(name),
            progress=lambda done, total: show(done, total, "updates"),
        )
        policy.save(run.folder / name)
