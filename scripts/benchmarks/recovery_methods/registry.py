"""Names of the methods of the recovery experiment."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ....envs.named_registry import Registry

if TYPE_CHECKING:
    from ....envs.data.policy import Policy
    from ....envs.worlds.task_world import TaskWorld
    from ...experiments.jobs import JobProgress
    from ..recovery_run import RecoveryRun

BASE_POLICY = "behaviour cloning"
"""Policy that all recoveries but one are built around, and that policies without recovery are compared with."""
PROPOSED_METHOD = "recovery"
"""Method that the experiment evaluates; its figures also have labels without a name."""


@dataclass(frozen=True)
class RecoveryMethod(ABC):
    """A policy to compare on the same episodes and perturbations.

    Attributes:
        rank: place in tables; ties are ordered by name.
        is_ablation: whether it is left out of the main comparison and of the grid.
    """

    rank: int = 100
    is_ablation: bool = False

    @property
    def is_available(self) -> bool:
        """Return whether the packages that it needs are installed."""
        return True

    @property
    def has_recovery(self) -> bool:
        """Return whether it adds a recovery to another policy."""
        return False

    @property
    def base_policy(self) -> str:
        """Return the name of the policy that harmed episodes and false interventions are counted against."""
        return BASE_POLICY

    @property
    def encoders(self) -> tuple[str, ...]:
        """Return the names of the encoders that must be trained for it."""
        return ()

    @property
    def densities(self) -> tuple[tuple[str, str], ...]:
        """Return the densities that must be fitted for it: encoder and family."""
        return ()

    @property
    def is_trained(self) -> bool:
        """Return whether `train` must be called before `policy`."""
        return False

    def policies(self, name: str) -> tuple[str, ...]:
        """Return the names of the policies that must be trained for it.

        Args:
            name: name of the method.
        """
        return (name,) if self.is_trained else ()

    def train(self, name: str, run: RecoveryRun, show: JobProgress) -> None:
        """Train the policy and save it to ``run.folder / name``."""
        raise NotImplementedError(f"{name} needs no training")

    def policy_in(self, world: TaskWorld, name: str, run: RecoveryRun) -> Policy:
        """Return the policy that plays in a batch of worlds; only one that reads ground truth depends on the batch.

        Args:
            world: the batch.
            name: name of the method.
            run: run of the experiment, with all that was trained.
        """
        return self.policy(name, run)

    @abstractmethod
    def policy(self, name: str, run: RecoveryRun) -> Policy:
        """Return the policy, which acts on frames.

        Args:
            name: name of the method.
            run: run of the experiment, with all that was trained.
        """


Factory = TypeVar("Factory", bound=Callable[[], RecoveryMethod])

RECOVERY_METHODS: Registry[Callable[[], RecoveryMethod]] = Registry(
    "recovery method", "equiact.scripts.benchmarks.recovery_methods"
)
"""Functions that return a method, by name."""


def register_recovery_method(name: str) -> Callable[[Factory], Factory]:
    """Return a decorator that adds a method to the recovery experiment.

    It decorates a function, or a class without arguments, that returns a `RecoveryMethod`.

    Args:
        name: label of the method in tables.

    Raises:
        RegistryError: another method has this name.
    """
    return RECOVERY_METHODS.register(name)


def recovery_method(name: str) -> RecoveryMethod:
    """Return the method with a name.

    Raises:
        RegistryError: no method has this name.
    """
    return RECOVERY_METHODS.get(name)()


def compared_methods() -> list[str]:
    """Return the names of the available methods of the main comparison, policies without recovery first."""
    return _names(is_ablation=False)


def ablation_methods() -> list[str]:
    """Return the names of the ablations."""
    return _names(is_ablation=True)


def policies_without_recovery() -> list[str]:
    """Return the names of the available policies without recovery."""
    return [name for name in compared_methods() if not recovery_method(name).has_recovery]


def _names(is_ablation: bool) -> list[str]:
    methods = {name: make() for name, make in RECOVERY_METHODS.items()}
    chosen = [name for name, each in methods.items() if each.is_ablation == is_ablation and each.is_available]
    return sorted(chosen, key=lambda name: (methods[name].rank, name))
