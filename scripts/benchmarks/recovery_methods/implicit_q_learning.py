"""Offline reinforcement learning on the demonstrations: implicit Q-learning, if TorchRL is installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .cloned_policies import TrainedPolicy
from .registry import register_recovery_method

if TYPE_CHECKING:
    from ...experiments.jobs import JobProgress
    from ..recovery_run import RecoveryRun

OFFLINE_METHOD = "IQL"
"""Name of the method; it needs the extra ``offline``."""


@register_recovery_method(OFFLINE_METHOD)
@dataclass(frozen=True)
class IQLPolicy(TrainedPolicy):
    """Train by implicit Q-learning (Kostrikov et al., ICLR 2022)."""

    rank: int = 3

    @property
    def is_available(self) -> bool:
        from importlib.util import find_spec

        return find_spec("torchrl") is not None

    def train(self, name: str, run: RecoveryRun, show: JobProgress) -> None:
        from ....agents.baselines.iql import IQLLearner

        policy, data = run.new_policy(), run.load("demonstrations")
        run.fit(name, IQLLearner(policy, data, run.config.iql), data.fingerprint, show)
        policy.save(run.folder / name)
