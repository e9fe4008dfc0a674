"""Targets: the modules that are mutated, and the test files that run against their mutants."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Target:
    """A group of modules with one set of tests.

    Attributes:
        name: name of the group.
        modules: files relative to the root of the package.
        tests: test files relative to the root of the package.
    """

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]


def read_targets(root: Path, file: Path = FOLDER / "targets.toml") -> list[Target]:
    """Return the targets of a file.

    Args:
        root: folder of the package, from which the patterns of the file are expanded.
        file: TOML file with a table for every target: ``modules`` and ``tests``, names or patterns.

    Raises:
        ValueError: a pattern matches no file.
    """
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    return [
        Target(
            name,
            tuple(each for pattern in table["modules"] for each in _expand(root, pattern)),
            tuple(each for pattern in table["tests"] for each in _expand(root, f"tests/{pattern}")),
        )
        for name, table in content.items()
    ]


def _expand(root: Path, pattern: str) -> list[str]:
    found = sorted(path.relative_to(root).as_posix() for path in root.glob(pattern))
    files = [each for each in found if not each.endswith("__init__.py")]
    if not files:
        raise ValueError(f"expected files that match {pattern!r} in {root.name}, found none; correct targets.toml")
    return files
