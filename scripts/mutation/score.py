"""Score of a sample of mutants: the share that the tests kill, of those that are not equivalent to the code."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...agents.evaluation.statistics import wilson_interval
from .mutants import Mutant
from .targets import FOLDER

KILLED = {"killed", "timeout", "crashed"}
"""Outcomes that count as killed: a test failed, the tests did not end, or the interpreter crashed."""


@dataclass(frozen=True)
class Verdict:
    """A mutant whose tests ran.

    Attributes:
        target: name of its target.
        mutant: the mutant.
        outcome: ``"killed"``, ``"timeout"``, ``"crashed"``, ``"survived"`` or ``"no tests"``.
        equivalent: the reason for which it is equivalent to the code, if it is.
    """

    target: str
    mutant: Mutant
    outcome: str
    equivalent: str | None = None

    @property
    def killed(self) -> bool:
        """Return whether the tests noticed it."""
        return self.outcome in KILLED


def read_equivalent(file: Path = FOLDER / "equivalent.toml") -> dict[tuple[str, str, str], str]:
    """Return the reasons of the mutants that were judged equivalent, by file, function and diff."""
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    return {
        (each["file"], each["function"], "\n".join(each["diff"])): each["reason"] for each in content.get("mutant", [])
    }


def summarize(tested: Iterable[Verdict]) -> dict[str, Any]:
    """Return the score, ``killed / (all − equivalent)``, with its 95 % Wilson interval and the counts.

    A mutant that was judged equivalent but is killed counts as killed.

    Example:
        >>> mutant = Mutant("m", "file.py", 1, "f", "number", "")
        >>> summarize([Verdict("t", mutant, "killed"), Verdict("t", mutant, "survived", "same value")])["score"]
        1.0
    """
    tested = list(tested)
    counted = [each for each in tested if each.killed or each.equivalent is None]
    killed = sum(each.killed for each in counted)
    outcomes = sorted({each.outcome for each in tested})
    return {
        "score": killed / len(counted) if counted else None,
        "interval": list(wilson_interval(killed, len(counted))) if counted else None,
        "tested": len(tested),
        "equivalent": len(tested) - len(counted),
        **{name: sum(each.outcome == name for each in tested) for name in outcomes},
    }


def report(tested: list[Verdict]) -> dict[str, Any]:
    """Return the scores of all mutants, by package and by kind of change, and the survivors."""
    survivors = [
        {**asdict(each.mutant), "diff": each.mutant.diff.splitlines(), "outcome": each.outcome, "why": each.equivalent}
        for each in tested
        if not each.killed
    ]
    return {
        "all": summarize(tested),
        "packages": _by(tested, lambda each: each.target),
        "operators": _by(tested, lambda each: each.mutant.operator),
        "survivors": sorted(survivors, key=lambda each: (each["file"], each["line"])),
    }


def _by(tested: list[Verdict], key: Callable[[Verdict], str]) -> dict[str, Any]:
    return {name: summarize(each for each in tested if key(each) == name) for name in sorted({*map(key, tested)})}
