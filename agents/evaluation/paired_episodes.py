"""Play the same episode under several conditions and with several policies, from the same restored state."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from ...envs.data.policy import Policy
from ...envs.mujoco_envs.env_state import first_difference
from ...envs.mujoco_envs.restorable_env import RestorableEnv
from ...envs.perturbations.action_perturbation import NullAction
from ...envs.perturbations.perturbed_env import PerturbedEnv
from ...envs.perturbations.receipt import Receipt
from .episode import Episode, EpisodeStep, OnStep, ignore_step, play_episode
from .perturbation_report import Condition
from .recovery_time import RecoveryTimeConfig, steps_until_reward, steps_until_success
from .success import SuccessCriterion, SuccessOutcome
from .trial_records import PolicyRole, TrialRecord


class PairingError(RuntimeError):
    """Two trials of one episode differ before a perturbation begins, so that they cannot be compared."""


class EpisodeStart(RestorableEnv):
    """An environment whose every reset returns to the start of one episode, until `begin` starts another.

    Args:
        env: the environment, with all of its wrappers.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._start: Any = None

    def require_start(self, observation: Any) -> None:
        """Check that an observation is the first one of the episode, bit by bit.

        Raises:
            PairingError: it is another one.
        """
        difference = None if self._start is None else first_difference(self._start.observation, observation)
        if difference is not None:
            raise PairingError(f"expected the first observation of the episode in every trial, but {difference}")

    def begin(self, seed: int) -> None:
        """Start the episode of a seed, and save its state."""
        for space in (self.env.action_space, self.unwrapped.action_space):
            space.seed(seed)  # some environments sample actions while they reset, such as those of OGBench
        super().reset(seed=seed)
        self._start = self.save()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Restore the start of the episode, and return its first observation and info; the arguments are ignored.

        Before the first episode was begun, it is a reset of the environment.
        """
        if self._start is None:
            return super().reset(seed=seed, options=options)
        self.restore(self._start)
        observation, info = copy.deepcopy((self._start.observation, self._start.info))
        return observation, info


@dataclass(frozen=True)
class PairedTrial:
    """Hold one episode under one condition.

    Attributes:
        episode: the episode.
        digests: hash of what the policy observed, for every step.
        receipts: see `TrialRecord`.
        onset: see `TrialRecord`.
        end: see `TrialRecord`.
    """

    episode: Episode
    digests: tuple[bytes, ...]
    receipts: tuple[Receipt | None, ...] = ()
    onset: int | None = None
    end: int | None = None


class PairedEpisodes:
    """Play episodes under all conditions with all policies.

    Args:
        env: a single environment.
        policies: the policy, and the one that it is compared with, if any.
        conditions: the clean one first.
        criterion: decides on success.
        recovery: defines when rewards have recovered.
        deterministic: passed to the policies.
        null_action: see `PerturbedEnv`.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        policies: Mapping[PolicyRole, Policy],
        conditions: Sequence[Condition],
        criterion: SuccessCriterion,
        recovery: RecoveryTimeConfig,
        deterministic: bool = True,
        null_action: NullAction = "zero",
    ) -> None:
        self._start = EpisodeStart(env)
        self._policies = dict(policies)
        self._conditions = list(conditions)
        self._criterion = criterion
        self._recovery = recovery
        self._deterministic = deterministic
        self._checked: set[PolicyRole] = set()
        self._envs: dict[str, gym.Env[Any, Any]] = {
            each.name: PerturbedEnv(self._start, each.perturbations, null_action=null_action)
            if each.perturbations
            else self._start
            for each in conditions
        }

    @property
    def trials_per_seed(self) -> int:
        """Return the number of trials of an episode."""
        return len(self._policies) * len(self._conditions)

    def play(self, seed: int) -> list[TrialRecord]:
        """Play all trials of one episode.

        Raises:
            PairingError: the trials do not start alike, or the environment or a policy is not deterministic.
        """
        self._start.begin(seed)
        return [record for role in self._policies for record in self._play_conditions(seed, role)]

    def replay(
        self,
        seed: int,
        condition: Condition,
        role: PolicyRole,
        on_start: Callable[[], None] = lambda: None,
        on_step: OnStep = ignore_step,
    ) -> Episode:
        """Play one trial again; call a function at its start and one after every step."""
        self._start.begin(seed)
        return self._trial(seed, condition, role, on_step, on_start).episode

    @staticmethod
    def require_same(record: TrialRecord, episode: Episode) -> None:
        """Check that a trial that was played again is the recorded one.

        Raises:
            PairingError: its length or its return is another.
        """
        if (len(episode), episode.total_reward) != (record.length, record.total_reward):
            raise PairingError(
                f"expected {record.length} steps with return {record.total_reward} when the episode of seed "
                f"{record.seed} ({record.condition}) is played again, got {len(episode)} with {episode.total_reward}; "
                "the environment or the policy draws random numbers that its seed does not fix"
            )

    def _play_conditions(self, seed: int, role: PolicyRole) -> Iterator[TrialRecord]:
        clean = self._trial(seed, self._conditions[0], role)
        if role not in self._checked:
            again = self._trial(seed, self._conditions[0], role)
            _require_paired(clean, again, len(clean.episode), "clean, played again")
            self._checked.add(role)
        for condition in self._conditions:
            trial = self._trial(seed, condition, role) if condition.perturbations else clean
            before = len(trial.episode) if trial.onset is None else trial.onset
            _require_paired(clean, trial, before, condition.name)
            yield self._record(seed, condition, role, trial, clean)

    def _trial(
        self,
        seed: int,
        condition: Condition,
        role: PolicyRole,
        on_step: OnStep = ignore_step,
        on_start: Callable[[], None] = lambda: None,
    ) -> PairedTrial:
        env, policy = self._envs[condition.name], self._policies[role]
        digests: list[bytes] = []

        def watch(step: EpisodeStep) -> None:
            digests.append(_digest(step.observation))
            on_step(step)

        with _fixed_numbers(policy, seed, self._deterministic):
            observation, _ = env.reset(seed=seed)
            self._start.require_start(observation)
            on_start()
            name = "the policy" if role == "policy" else "the other policy"
            episode = play_episode(
                env, policy, observation, deterministic=self._deterministic, on_step=watch, name=name
            )
        if not isinstance(env, PerturbedEnv):
            return PairedTrial(episode, tuple(digests))
        began = [window for window in env.windows if window.onset < len(episode)]
        if not began:
            return PairedTrial(episode, tuple(digests), env.receipts)
        onset, end = min(window.onset for window in began), max(window.resumed for window in began)
        return PairedTrial(episode, tuple(digests), env.receipts, onset, end)

    def _record(
        self, seed: int, condition: Condition, role: PolicyRole, trial: PairedTrial, clean: PairedTrial
    ) -> TrialRecord:
        outcome = self._criterion.judge(trial.episode)
        return TrialRecord(
            seed=seed,
            condition=condition.name,
            policy=role,
            success=outcome.success,
            success_step=outcome.step,
            total_reward=trial.episode.total_reward,
            length=len(trial.episode),
            receipts=trial.receipts,
            onset=trial.onset,
            end=trial.end,
            recovery_steps=self._recovery_steps(trial, clean, outcome),
        )

    def _recovery_steps(self, trial: PairedTrial, clean: PairedTrial, outcome: SuccessOutcome) -> float:
        if trial.onset is None or trial.end is None:
            return math.nan
        episode, twin = trial.episode, clean.episode
        if self._criterion.is_event and outcome.success is not None:
            return steps_until_success(outcome.step, trial.end, len(episode), episode.terminated)
        has_failed = episode.terminated if outcome.success is None else not outcome.success
        twin_success = self._criterion.judge(twin).success
        if has_failed and not (twin.terminated if twin_success is None else not twin_success):
            return math.inf
        return steps_until_reward(episode.rewards, twin.rewards, trial.end, self._recovery)


def _require_paired(clean: PairedTrial, trial: PairedTrial, steps: int, name: str) -> None:
    """Check that a trial is bit by bit the clean one in its first steps."""
    for step in range(steps):
        if trial.digests[step : step + 1] != clean.digests[step : step + 1]:
            raise PairingError(
                f"expected the observations of the clean episode before the perturbation begins, got others in step "
                f"{step} ({name}); the environment or the policy draws random numbers that its seed does not fix"
            )


def _digest(observation: Any) -> bytes:
    """Return a hash of the bits of an observation."""
    hashed = hashlib.blake2b(digest_size=16)

    def add(value: Any) -> None:
        if isinstance(value, dict):
            for key in sorted(value):
                hashed.update(str(key).encode())
                add(value[key])
        elif isinstance(value, tuple | list):
            for each in value:
                add(each)
        elif isinstance(value, str):
            hashed.update(value.encode())
        else:
            array = np.asarray(value)
            hashed.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())

    add(observation)
    return hashed.digest()


@contextlib.contextmanager
def _fixed_numbers(policy: Policy, seed: int, deterministic: bool) -> Iterator[None]:
    """Give a policy that draws random numbers the same ones in every trial of an episode.

    Policies that do not act deterministically may draw from torch's generators, which have their state back afterwards.
    """
    reseed = getattr(policy, "seed", None)
    if callable(reseed):  # models of Stable-Baselines3 have a number of this name
        reseed(np.random.default_rng(seed))
    torch: Any = sys.modules.get("torch")
    if deterministic or torch is None:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
