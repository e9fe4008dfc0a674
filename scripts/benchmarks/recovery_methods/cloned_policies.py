"""Policies without recovery that are cloned from an expert: behaviour cloning, and DART with noisy demonstrations."""

from __future__ import annotations

import math
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
        has_all_data: whether it gets as many transitions as the recovery around such a policy: those of its encoder and
            its density, too.
    """

    is_noisy: bool = False
    has_all_data: bool = False

    def train(self, name: str, run: RecoveryRun, show: JobProgress) -> None:
        policy = run.new_policy()
        data = self._demonstrations(run)
        run.fit(name, self._learner(policy, data), data.fingerprint, show)
        policy.save(run.folder / name)

    def _demonstrations(self, run: RecoveryRun) -> Any:
        noise, first = run.config.noise_of(run.task) if self.is_noisy else 0.0, run.load("demonstrations")
        if not self.has_all_data:
            return run.demonstrate(run.config.demonstrations, noise=noise) if self.is_noisy else first
        more = run.config.exploration_transitions + (len(first) if self.is_noisy else 0)
        episodes = run.config.demonstrations + math.ceil(more * run.config.demonstrations / len(first))
        return run.demonstrate(episodes, noise=noise)

    def _learner(self, policy: Any, data: Any) -> Any:
        from ....agents.policies.behavior_cloning import BCLearner

        return BCLearner(policy, data)


@register_recovery_method(BASE_POLICY)
def behavior_cloning() -> ClonedPolicy:
    """Return behaviour cloning."""
    return ClonedPolicy(rank=0)


@register_recovery_method("behaviour cloning, more data")
def behavior_cloning_with_all_data() -> ClonedPolicy:
    """Return behaviour cloning from as many transitions as recovery learns from."""
    return ClonedPolicy(rank=0, has_all_data=True)


@register_recovery_method("DART, more data")
def dart_with_all_data() -> ClonedPolicy:
    """Return DART from as many transitions as the recovery around it learns from."""
    return ClonedPolicy(rank=1, is_noisy=True, has_all_data=True)


@register_recovery_method("DART")
def dart() -> ClonedPolicy:
    """Return behaviour cloning from noisy demonstrations (Laskey et al., CoRL 2017)."""
    return ClonedPolicy(rank=1, is_noisy=True)
