"""Command of `bash scripts/mutate.sh`."""

from __future__ import annotations

import os
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from ...envs.storage.artifacts import write_json
from ..experiments.provenance import ROOT, provenance
from .mutants import Mutant
from .score import Verdict, read_equivalent, report
from .targets import Target, read_targets
from .workspace import list_mutants, prepare, run_mutants


@dataclass(frozen=True)
class Mutate:
    """Run the tests against small changes of the code, and write the share that they notice.

    The mutants of a sample are drawn uniformly from those of all targets in scripts/mutation/targets.toml. A mutant is
    killed if a test fails, if the tests do not end in time, or if the interpreter crashes. The score is
    killed / (all - equivalent).
    """

    sample: int = 250
    """Number of mutants to test; 0 tests all."""
    seed: int = 0
    """Seed of the sample."""
    targets: tuple[str, ...] = ()
    """Names of targets; all by default."""
    processes: int = os.cpu_count() or 1
    """Number of mutants that are tested at the same time."""
    output: Path = Path("results/mutation.json")
    """Result file."""

    def run(self) -> None:
        """Test the sample and write the result file."""
        with tempfile.TemporaryDirectory(prefix="equiact-mutation-") as folder:
            targets = self.chosen()
            mutants = []
            for target in targets:
                prepare(Path(folder) / target.name, ROOT, target)
                found = list_mutants(Path(folder) / target.name, target)
                mutants += [(target, mutant) for mutant in found]
            sample = draw(mutants, self.sample, self.seed)
            tested: list[Verdict] = []
            for target in targets:
                chosen = [mutant for each, mutant in sample if each == target]
                tested += verdicts(Path(folder) / target.name, target, chosen, self.processes)
                print(f"{target.name}: {len(tested)} of {len(sample)} mutants tested", flush=True)  # noqa: T201
                write_json(self.output, self.result(tested, len(sample), len(mutants)))

    def result(self, tested: list[Verdict], sample: int, mutants: int) -> dict[str, Any]:
        """Return the content of the result file; ``tested`` reaches ``sample`` with the last target."""
        counts = {"seed": self.seed, "mutants": mutants, "sample": sample, "tested": len(tested)}
        command = " ".join(["bash scripts/mutate.sh", *sys.argv[1:]])
        return {**provenance(), "command": command, **counts, **report(tested)}

    def chosen(self) -> list[Target]:
        """Return the targets with the chosen names.

        Raises:
            ValueError: there is no such target.
        """
        targets = {target.name: target for target in read_targets(ROOT)}
        unknown = sorted(set(self.targets) - set(targets))
        if unknown:
            raise ValueError(f"expected names of targets, got {', '.join(unknown)}; choose from {', '.join(targets)}")
        return [target for name, target in targets.items() if not self.targets or name in self.targets]


def draw(mutants: list[tuple[Target, Mutant]], size: int, seed: int) -> list[tuple[Target, Mutant]]:
    """Return a uniform sample without replacement; all if ``size`` is 0 or larger than their number."""
    return random.Random(seed).sample(mutants, size) if 0 < size < len(mutants) else mutants


def verdicts(workspace: Path, target: Target, mutants: list[Mutant], processes: int) -> list[Verdict]:
    """Return the outcomes of mutants of one target."""
    if not mutants:
        return []
    outcomes = run_mutants(workspace, [mutant.name for mutant in mutants], processes)
    reasons = read_equivalent()
    return [
        Verdict(target.name, each, outcomes[each.name], reasons.get((each.file, each.function, each.diff)))
        for each in mutants
    ]


if __name__ == "__main__":
    tyro.cli(Mutate, prog="bash scripts/mutate.sh").run()
