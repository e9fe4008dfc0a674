"""Evaluate any policy in any environment under perturbations, in paired episodes from the same states."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym

from ...envs.arguments import integer_argument
from ...envs.data.policy import Policy, PolicyLike, as_policy
from ...envs.perturbations.action_perturbation import NullAction
from ...envs.perturbations.errors import PerturbationError
from ...envs.perturbations.parsing import parse_condition
from ...envs.perturbations.perturbation import Perturbation
from .paired_episodes import PairedEpisodes
from .perturbation_report import Condition, PerturbationReport
from .perturbation_summary import ConditionSummary
from .recovery_time import RecoveryTimeConfig
from .success import SuccessCriterion, SuccessLike, success_criterion
from .trial_records import CLEAN, PolicyRole, TrialRecord, complete_seeds

EVENT_RECOVERY = (
    "Steps from the end of the perturbation until success; never recovered: no success. Episodes that succeed before "
    "the perturbation is over do not tell."
)
REWARD_RECOVERY = (
    "Steps from the end of the perturbation until the mean reward over {window} steps is back to that of the clean "
    "episode at the same time, less {loss:.0%} of the clean episode's mean absolute reward. Never recovered: it is not "
    "until the end, or the episode fails (without a success criterion: terminates) where the clean one does not. "
    "Episodes with less than {window} steps left do not tell."
)
DEFAULT_RECOVERY = RecoveryTimeConfig()
_FIRST_LOOK = 20
"""Number of episodes after which perturbations without effect are reported, before all episodes are played."""


class NoEffectError(ValueError):
    """No perturbation changed anything that its receipt measures, so that the experiment says nothing."""


def evaluate_perturbations(
    env: gym.Env[Any, Any],
    policy: PolicyLike,
    perturbations: Sequence[Any],
    *,
    episodes: int = 100,
    seed: int = 0,
    success: SuccessLike = None,
    compare: PolicyLike | None = None,
    recovery: RecoveryTimeConfig = DEFAULT_RECOVERY,
    deterministic: bool = True,
    null_action: NullAction = "zero",
    finished: Sequence[TrialRecord] = (),
    on_episode: Callable[[list[TrialRecord]], None] = lambda records: None,
) -> PerturbationReport:
    """Play the same episodes clean and under every perturbation, and return what changed.

    Every trial of an episode starts from the same restored state and gets the same random numbers. Before a
    perturbation begins, its observations are compared with those of the clean trial, bit by bit.

    Args:
        env: a single Gymnasium environment, with a time limit.
        policy: a policy, or a function from a batch of observations to a batch of actions; it gets batches of one.
        perturbations: perturbations of `equiact.envs.perturbations`, tuples of those that act together, or their
            texts, such as ``"force:body=torso,magnitude=1,2,4"``, which stands for one condition for each magnitude.
        episodes: number of episodes; episode ``i`` starts from ``seed + i``.
        seed: of the first episode. Keep it apart from the seeds used in training.
        success: decides on success; see `equiact.agents.evaluation.success.success_criterion`. If nothing tells it, the
            report is on returns alone.
        compare: a second policy for the same episodes, such as the base policy of a `RecoveryPolicy`.
        recovery: defines when rewards have recovered, where success is no event.
        deterministic: passed to the policies. If not, torch's generators are seeded in every trial.
        null_action: action in steps in which a perturbation keeps the policy from acting; see `PerturbedEnv`.
        finished: trials of an earlier run with the same arguments, which are not played again.
        on_episode: called with the trials of an episode when all of them are done.

    Raises:
        NoEffectError: under no condition does the perturbation have an effect: the median receipt is below the least
            one that counts, in all episodes or in the first 20 already. Single conditions without effect are named in
            the notes of the report.
        PairingError: the trials of an episode do not start alike.
        SuccessError: there is no such success criterion, or the environment does not report this success.

    Example:
        >>> import numpy as np
        >>> env = gym.make("InvertedPendulum-v5", max_episode_steps=60)
        >>> balance = lambda observation: np.clip(observation @ [[0.5], [8.0], [0.7], [1.5]], -3, 3)
        >>> force = ["force:body=pole,magnitude=5,80,direction=x,onset=20,duration=5"]
        >>> report = evaluate_perturbations(env, balance, force, episodes=4, success="truncated")
        >>> [summary.success for summary in report.summaries()]
        [1.0, 1.0, 0.0]
    """
    integer_argument("episodes", episodes, 1)
    integer_argument("seed", seed, 0)
    conditions, criterion = make_conditions(perturbations), success_criterion(success)
    policies = make_policies(policy, compare)
    trials = PairedEpisodes(env, policies, conditions, criterion, recovery, deterministic, null_action)
    records = complete_seeds(finished, trials.trials_per_seed)
    done = {record.seed for record in records}
    for number in range(seed, seed + episodes):
        if number not in done:
            played = trials.play(number)
            records += played
            on_episode(played)
        if number + 1 - seed in (_FIRST_LOOK, episodes):
            report = _report(env, conditions, criterion, recovery, records, seed, number + 1 - seed)
            missing = _require_an_effect(report)
    return replace(report, notes=(*report.notes, *missing)) if missing else report


def make_conditions(perturbations: Sequence[Any]) -> tuple[Condition, ...]:
    """Return the clean condition, and one for each perturbation.

    Args:
        perturbations: perturbations, tuples of those that act together, or texts, of which each may stand for several
            magnitudes; see `equiact.envs.perturbations.parsing.parse_condition`.

    Raises:
        PerturbationError: there is none, one is unknown or is given twice.

    Example:
        >>> [condition.name for condition in make_conditions(["action-noise:magnitude=0.1,0.2"])]
        ['clean', 'action-noise:magnitude=0.1', 'action-noise:magnitude=0.2']
    """
    given = [perturbations] if isinstance(perturbations, str | Perturbation) else list(perturbations)
    conditions = [Condition(CLEAN)]
    for each in given:
        conditions += _curve(parse_condition(each) if isinstance(each, str) else [_together(each)])
    if len(conditions) == 1:
        raise PerturbationError("expected at least one perturbation, such as 'action-noise:magnitude=0.1', got none")
    names = [condition.name for condition in conditions]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PerturbationError(f"expected different perturbations, got {twice[0]!r} twice")
    return tuple(conditions)


def _together(given: Any) -> tuple[Perturbation, ...]:
    together = tuple(given) if isinstance(given, tuple | list) else (given,)
    if not together or not all(isinstance(each, Perturbation) for each in together):
        raise PerturbationError(f"expected a perturbation, a tuple of them, or their text, got {given!r}")
    return together


def _curve(sets: Sequence[tuple[Perturbation, ...]]) -> list[Condition]:
    """Return conditions along the first magnitude that varies."""
    magnitudes = [{each.magnitude for each in column} for column in zip(*sets, strict=True)]
    axis = next((place for place, values in enumerate(magnitudes) if len(values) > 1), 0)
    conditions = []
    for together in sets:
        texts = list(map(str, together))
        name = "; ".join(texts)
        texts[axis] = re.sub(r"(?<=[:,])magnitude=[^,]*,?", "", texts[axis]).rstrip(",:")
        varied = together[axis]
        conditions.append(Condition(name, together, "; ".join(texts), float(varied.magnitude), varied.unit))
    return conditions


def make_policies(policy: PolicyLike, compare: PolicyLike | None = None) -> dict[PolicyRole, Policy]:
    """Return the policies by their roles: ``"policy"`` and, if there is a second one, ``"compare"``."""
    policies: dict[PolicyRole, Policy] = {"policy": as_policy(policy)}
    if compare is not None:
        policies["compare"] = as_policy(compare)
    return policies


def _report(
    env: gym.Env[Any, Any],
    conditions: tuple[Condition, ...],
    criterion: SuccessCriterion,
    recovery: RecoveryTimeConfig,
    records: Sequence[TrialRecord],
    seed: int,
    episodes: int,
) -> PerturbationReport:
    is_known = any(record.success is not None for record in records)
    notes = () if is_known else ("The environment reports no success: the report is on returns alone.",)
    definition = EVENT_RECOVERY if criterion.is_event and is_known else REWARD_RECOVERY
    return PerturbationReport(
        env=env.spec.id if env.spec is not None else type(env.unwrapped).__name__,
        conditions=conditions,
        success=criterion.name if is_known else "unknown",
        recovery=definition.format(window=recovery.window, loss=1 - recovery.share),
        recovery_config=recovery,
        records=tuple(record for record in records if seed <= record.seed < seed + episodes),
        seed=seed,
        episodes=episodes,
        notes=notes,
    )


def _require_an_effect(report: PerturbationReport) -> list[str]:
    """Check that a perturbation did something under some condition.

    Returns:
        For each policy and condition without effect a sentence.

    Raises:
        NoEffectError: there is no other condition.
    """
    perturbed = [summary for summary in report.summaries() if summary.reached is not None]
    missing = [(summary, why) for summary in perturbed if (why := missing_effect(summary)) is not None]
    if {summary.condition for summary, _ in missing} == {summary.condition for summary in perturbed}:
        raise NoEffectError(f"{missing[0][0].condition}: {missing[0][1]}")
    return [f"No effect: {summary.condition}{_role(summary)}: {why}." for summary, why in missing]


def missing_effect(summary: ConditionSummary) -> str | None:
    """Return why a perturbation did nothing, in the median of the episodes that lasted until it began.

    Args:
        summary: of one policy under one condition.

    Returns:
        The reason and what to change; None if the perturbation had an effect, or there is none.
    """
    if summary.reached == 0:
        return f"all {summary.episodes} episodes were over before the perturbation began; lower onset"
    for receipt in summary.receipts:
        if not receipt.has_effect:
            return (
                f"it had no effect; the median {receipt.name} is {receipt}, less than {receipt.least:.3g}; raise its "
                "magnitude or its duration"
            )
    return None


def _role(summary: ConditionSummary) -> str:
    return ", other policy" if summary.policy == "compare" else ""
