"""Folder in which mutmut runs: a copy of the package under its import name, with a configuration for one target.

mutmut names mutants by paths, ``equiact/envs/…`` → ``equiact.envs.…``. The root of the checkout is the package itself,
so it is copied to ``<workspace>/equiact``. mutmut writes the mutated copy to ``<workspace>/mutants/equiact``, and puts
it before the editable installation. Its workers start from a process that has imported only other packages. A worker
imports this package while its mutant is active.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from .mutants import Mutant, find_mutants
from .targets import Target

PRELOADED = ("gymnasium", "hypothesis", "mujoco", "pytest", "scipy.stats", "torch", "zuko")
"""Slow imports that all workers share."""

COPIED = ("agents", "envs", "representations", "scripts", "tests", "docs", "results")

CONFIGURATION = """
[tool.mutmut]
source_paths = ["equiact"]
also_copy = ["conftest.py"]
only_mutate = {modules}
pytest_add_cli_args = ["-c", "pyproject.toml", "-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = {tests}
process_isolation = "forkserver"
forkserver_warmup = "import"
preload_modules_file = "preloaded.txt"
timeout_constant = 3.0
timeout_multiplier = 15.0
use_git_change_detection = false
track_dependencies = false

[tool.pytest.ini_options]
addopts = "-m 'not slow' -p no:xdist"
markers = ["slow: left out here"]
"""

CONFTEST = """
from hypothesis import Phase, settings

settings.register_profile(
    "mutation", derandomize=True, max_examples=20, deadline=None, database=None, phases=(Phase.explicit, Phase.generate)
)
settings.load_profile("mutation")
"""
"""Profile of Hypothesis: the same few examples for every mutant, without a search for simpler ones."""

STATUS = {
    **dict.fromkeys((1, 2, 3, 255), "killed"),  # failed tests, error in their collection, internal error, no collection
    **dict.fromkeys((24, -24, 152, -9), "timeout"),  # limits of CPU time and wall-clock time
    **dict.fromkeys((-6, -7, -8, -11), "crashed"),
    **dict.fromkeys((5, 33), "no tests"),
    0: "survived",
}
"""Meaning of the exit codes of mutmut and of pytest."""


def prepare(workspace: Path, root: Path, target: Target) -> None:
    """Copy the package into a new workspace and configure mutmut for a target."""
    shutil.rmtree(workspace, ignore_errors=True)
    package = workspace / "equiact"
    package.mkdir(parents=True)
    (workspace / "mutants").mkdir()  # Python would remember that this entry of its path is no folder
    for name in COPIED:
        shutil.copytree(root / name, package / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in filter(Path.is_file, root.iterdir()):
        shutil.copy2(path, package)
    modules, tests = ([f"equiact/{each}" for each in names] for names in (target.modules, target.tests))
    configuration = CONFIGURATION.format(modules=json.dumps(modules), tests=json.dumps(tests))
    (workspace / "pyproject.toml").write_text(configuration, encoding="utf-8")
    (workspace / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (workspace / "preloaded.txt").write_text("\n".join(PRELOADED), encoding="utf-8")


def list_mutants(workspace: Path, target: Target) -> list[Mutant]:
    """Return the mutants of a target, in a workspace that was prepared for it."""
    from mutmut.configuration import reset_config

    reset_config()
    with contextlib.chdir(workspace):
        return [mutant for file in target.modules for mutant in find_mutants(Path("equiact"), file)]


def run_mutants(workspace: Path, names: Iterable[str], processes: int) -> dict[str, str]:
    """Run the tests against mutants and return the outcome of each.

    Raises:
        RuntimeError: mutmut failed, for example because a test fails without a mutant.
    """
    names = list(names)
    environment = {**os.environ, "PYTHONPATH": str(workspace.resolve() / "mutants"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", str(processes), *names]
    with (workspace / "mutmut.log").open("w", encoding="utf-8") as log:
        run = subprocess.run(command, cwd=workspace, env=environment, stdout=log, stderr=log, check=False)
    if run.returncode:
        tail = (workspace / "mutmut.log").read_text(errors="replace")[-3000:]
        raise RuntimeError(f"mutmut failed in {workspace}; read mutmut.log there. Its end:\n{tail}")
    codes = dict(_exit_codes(workspace))
    return {name: status(codes[name]) for name in names}


def status(code: int | None) -> str:
    """Return the outcome that an exit code means.

    Raises:
        RuntimeError: the code means no outcome; the mutant was not tested.
    """
    if code not in STATUS:
        raise RuntimeError(f"expected the exit code of a test run, got {code}; read mutmut.log of the workspace")
    return STATUS[code]


def _exit_codes(workspace: Path) -> Iterator[tuple[str, int | None]]:
    for path in (workspace / "mutants").rglob("*.meta"):
        yield from json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"].items()
