"""Records of trials: one row for each episode, condition and policy, as JSON lines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from ...envs.perturbations.receipt import Receipt
from ...envs.storage.file_access import ArtifactError, read_regular, write_atomically

CLEAN = "clean"
"""Name of the condition without a perturbation."""

PolicyRole = Literal["policy", "compare"]
"""The policy under evaluation, or the one that it is compared with."""


@dataclass(frozen=True)
class TrialRecord:
    """Outcome of one episode under one condition with one policy.

    Attributes:
        seed: seed of the episode; records with the same seed start from the same state.
        condition: name of the condition, ``"clean"`` or a perturbation.
        policy: ``"policy"`` or ``"compare"``.
        success: whether the episode was a success; None if nothing tells.
        success_step: number of steps until the success was shown; None without success.
        total_reward: sum of the rewards.
        length: number of steps.
        receipts: measured effect of each perturbation; None for one that never began. Empty if clean.
        onset: number of steps before the first perturbation; None if clean, or if none began.
        end: number of steps until all are over and the policy acts again, even if the episode ended before; None if
            clean, or if none began.
        recovery_steps: steps from the end of the perturbation until recovery; infinity if the policy never recovered,
            NaN if that cannot be told.
    """

    seed: int
    condition: str
    policy: PolicyRole
    success: bool | None
    success_step: int | None
    total_reward: float
    length: int
    receipts: tuple[Receipt | None, ...]
    onset: int | None
    end: int | None
    recovery_steps: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types: infinity as ``"never"``, NaN as None."""
        steps = self.recovery_steps
        shown = None if math.isnan(steps) else "never" if math.isinf(steps) else steps
        return {**asdict(self), "recovery_steps": shown}

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> TrialRecord:
        """Return the record of a row that `as_dict` made.

        Raises:
            ArtifactError: the row has other entries.
        """
        if not isinstance(row, dict) or row.keys() != {field.name for field in fields(cls)}:
            raise ArtifactError(f"expected the record of a trial, got {str(row)[:80]!r}")
        steps = row["recovery_steps"]
        receipts = tuple(None if each is None else Receipt(**each) for each in row["receipts"])
        steps = math.nan if steps is None else math.inf if steps == "never" else steps
        return cls(**{**row, "recovery_steps": steps, "receipts": receipts})


def write_records(path: Path, records: Iterable[TrialRecord]) -> None:
    """Write records as JSON lines, all at once."""
    write_atomically(path, record_lines(records).encode())


def record_lines(records: Iterable[TrialRecord]) -> str:
    """Return records as JSON lines."""
    return "".join(json.dumps(record.as_dict(), allow_nan=False) + "\n" for record in records)


def read_records(path: Path) -> list[TrialRecord]:
    """Return the records in a file of JSON lines; a last line that a dying process left incomplete is ignored.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: a line is no record.
    """
    lines = read_regular(path).decode("utf-8", "replace").split("\n")
    rows = []
    for number, line in enumerate(lines[:-1], 1):  # what follows the last line break is incomplete, or empty
        try:
            rows.append(TrialRecord.from_dict(json.loads(line)))
        except (ValueError, TypeError) as error:
            raise ArtifactError(f"{path}, line {number}: {error}; delete the file, or choose another folder") from error
    return rows


def complete_seeds(records: Sequence[TrialRecord], trials_per_seed: int) -> list[TrialRecord]:
    """Return the records of the seeds of which all trials are there."""
    count: dict[int, int] = {}
    for record in records:
        count[record.seed] = count.get(record.seed, 0) + 1
    return [record for record in records if count[record.seed] == trials_per_seed]
