"""The result of an evaluation under perturbation: records of all trials, and what follows from them."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ...envs.perturbations.perturbation import Perturbation
from ...envs.storage.json_npz import read_json, write_json
from ...envs.storage.output_paths import check_folder
from .perturbation_summary import ConditionSummary, PolicyComparison, compare_policies, summarize_condition
from .recovery_time import RecoveryTimeConfig
from .trial_records import CLEAN, PolicyRole, TrialRecord, write_records

REPORT_FILE = "report.json"
"""Name of the file of the summary."""
EPISODES_FILE = "episodes.jsonl"
"""Name of the file of the records, one line a trial."""


@dataclass(frozen=True)
class Condition:
    """A condition under which episodes are played.

    Attributes:
        name: the perturbations as text; ``"clean"`` without any.
        perturbations: what is applied together; empty if clean.
        curve: the text without the magnitude; conditions with the same text form a curve.
        magnitude: the magnitude that varies along the curve; None if clean.
        unit: unit of the magnitude.
    """

    name: str
    perturbations: tuple[Perturbation, ...] = ()
    curve: str = ""
    magnitude: float | None = None
    unit: str = ""

    @property
    def title(self) -> str:
        """Return names and magnitudes only, such as ``"force 200 N"``; different conditions may have the same title."""
        texts = (f"{each.name} {each.magnitude:g} {each.unit}".strip() for each in self.perturbations)
        return "; ".join(texts) or self.name


@dataclass(frozen=True)
class PerturbationReport:
    """Hold the trials of an evaluation under perturbation.

    Attributes:
        env: name of the environment.
        conditions: the clean one first.
        success: name of the success criterion.
        recovery: definition of the time to recover, one sentence.
        recovery_config: window and share of that definition.
        records: all trials: for each seed one under each condition with each policy.
        seed: seed of the first episode; the following ones count up.
        episodes: number of episodes.
        notes: sentences that a reader must know, such as that nothing tells success.
    """

    env: str
    conditions: tuple[Condition, ...]
    success: str
    recovery: str
    recovery_config: RecoveryTimeConfig
    records: tuple[TrialRecord, ...]
    seed: int
    episodes: int
    notes: tuple[str, ...] = ()

    @property
    def roles(self) -> tuple[PolicyRole, ...]:
        """Return ``("policy",)``, with ``"compare"`` if there is a second policy."""
        return ("policy", "compare") if any(record.policy == "compare" for record in self.records) else ("policy",)

    def trials(self, condition: str, role: PolicyRole = "policy") -> list[TrialRecord]:
        """Return the records of one policy under one condition, in the order of the seeds."""
        found = [each for each in self.records if each.condition == condition and each.policy == role]
        return sorted(found, key=lambda record: record.seed)

    def summaries(self) -> list[ConditionSummary]:
        """Return the summary of each policy under each condition; those of the policy first, the clean one at its top.

        Raises:
            SuccessError: success is known of some episodes only.
        """
        return list(self._summaries)

    @functools.cached_property
    def _summaries(self) -> tuple[ConditionSummary, ...]:
        return tuple(
            summarize_condition(self.trials(condition.name, role), self.trials(CLEAN, role))
            for role in self.roles
            for condition in self.conditions
        )

    def comparisons(self) -> list[PolicyComparison]:
        """Return the comparison with the second policy under each condition; an empty list without one."""
        if "compare" not in self.roles:
            return []
        return [
            compare_policies(self.trials(condition.name), self.trials(condition.name, "compare"))
            for condition in self.conditions
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the records as JSON types."""
        return {
            "env": self.env,
            "episodes": self.episodes,
            "seeds": [self.seed, self.seed + self.episodes - 1],
            "success": self.success,
            "recovery": self.recovery,
            "recovery_config": asdict(self.recovery_config),
            "notes": list(self.notes),
            "conditions": [_condition_fields(condition) for condition in self.conditions],
            "summaries": [summary.as_dict() for summary in self.summaries()],
            "comparisons": [comparison.as_dict() for comparison in self.comparisons()],
        }

    def save(self, folder: str | Path, **also: Any) -> Path:
        """Write ``report.json`` and ``episodes.jsonl`` into a folder, and return its path.

        Args:
            folder: the folder, which need not exist; an earlier report in it is replaced.
            **also: further entries of ``report.json``, such as the command and the commit.

        Raises:
            ArtifactError: the folder holds other things, or cannot be written to.
        """
        path = check_folder(folder, "perturbation report", _is_report_file)
        self.write_files(path, **also)
        return path

    def write_files(self, folder: Path, **also: Any) -> None:
        """Write ``report.json`` and ``episodes.jsonl`` into a folder that belongs to the caller; see `save`."""
        write_records(folder / EPISODES_FILE, self.records)
        write_json(folder / REPORT_FILE, {**self.as_dict(), **also})


def _is_report_file(path: Path) -> bool:
    """Return whether a file belongs to a report that was saved in this folder before."""
    if path.is_symlink() or path.name not in (REPORT_FILE, EPISODES_FILE):
        return False
    try:
        content = read_json(path.parent / REPORT_FILE)
    except (ValueError, OSError):
        return False
    return isinstance(content, dict) and content.keys() >= {"conditions", "summaries", "recovery"}


def _condition_fields(condition: Condition) -> dict[str, Any]:
    names = [field.name for field in fields(condition) if field.name != "perturbations"]
    return {name: getattr(condition, name) for name in names}
