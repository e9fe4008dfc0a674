"""Policies without recovery that are cloned from an expert: behaviour cloning, and DART with noisy demonstrations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .registry import BASE_POLICY, RecoveryMethod, register_recovery_method

if TYPE_CHECKING:
    from ....envs.data.policy import Policy
    from ...experiments.jobs import JobProgress
    from ..recovery_run import RecoveryRun


@dataclass(frozen=True)
class TrainedPolicy(RecoveryMethod):
    """A policy that is trained on demonstrations and acts without recovery."""

    @property
    def is_trained(self) -> bool:
        return True

    def policy(self, name: str, run: RecoveryRun) -> Policy:
        return run.trained_policy(name)


@dataclass(frozen=True)
class ClonedPolicy(TrainedPolicy):
    """Clone the expert.

    Attributes:
        is_noisy: whether the demonstrations are recorded with noise on the actions (DART).
    """

    is_noisy: bool = False

    def train(self, name: str, run: RecoveryRun, show: JobProgress) -> None:
        policy = run.new_policy()
        data = self._demonstrations(run)
        run.fit(name, self._learner(policy, data), data.fingerprint, show)
        policy.save(run.folder / name)

    def _demonstrations(self, run: RecoveryRun) -> Any:
        if self.is_noisy:
            return run.demonstrate(run.config.demonstrations, noise=run.config.noise_of(run.task))
        return run.load("demonstrations")

    def _learner(self, policy: Any, data: Any) -> Any:
        from ....agents.policies.behavior_cloning import BCLearner

        return BCLearner(policy, data)


@register_recovery_method(BASE_POLICY)
def behavior_cloning() -> ClonedPolicy:
    """Return behaviour cloning."""
    return ClonedPolicy(rank=0)


@register_recovery_method("DART")
def dart() -> ClonedPolicy:
    """Return behaviour cloning from noisy demonstrations (Laskey et al., CoRL 2017)."""
    return ClonedPolicy(rank=1, is_noisy=True)
