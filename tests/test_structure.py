"""Structure of the package: one direction of imports, cheap import, documented code."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ["envs", "representations", "agents", "scripts"]
FILES = [ROOT / "__init__.py", *(path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))]
TREES = {path: ast.parse(path.read_text()) for path in FILES}
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def module_name(path: Path) -> str:
    """Return the name of a module, relative to the package."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path, for_types: bool = False) -> set[str]:
    """Return the modules that a file imports, relative to the package.

    Args:
        path: the file.
        for_types: count those for type checkers, too, in blocks ``if TYPE_CHECKING``.
    """
    names: set[str] = set()
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(TREES[path]) if for_types else nodes_at_run_time(TREES[path]):
        if isinstance(node, ast.Import):
            names |= {alias.name.removeprefix("equiact.") for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            above = package[: len(package) - node.level + 1]
            names.add(".".join([*above, *([node.module] if node.module else [])]))
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").removeprefix("equiact."))
    return names


def nodes_at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    """Iterate over the nodes of a tree, but for blocks ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from nodes_at_run_time(node)


def public(tree: ast.Module) -> Iterator[Definition]:
    """Iterate over the public functions and classes of a module, and the public methods of its public classes."""
    for node in tree.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (
                    each for each in node.body if isinstance(each, Definition) and not each.name.startswith("_")
                )


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_follow_the_flow(package: str) -> None:
    later = set(PACKAGES[PACKAGES.index(package) + 1 :])
    against = [
        (path.name, name)
        for path in (ROOT / package).rglob("*.py")
        for name in imported(path)
        if name.split(".")[0] in later
    ]
    assert against == []


def test_no_two_modules_import_each_other() -> None:
    """Not for types either: what two files share belongs into a third."""
    imports = {module_name(path): imported(path, for_types=True) for path in FILES}
    mutual = [
        (one, other) for one in imports for other in imports[one] if one < other and one in imports.get(other, ())
    ]
    assert mutual == []


def test_representations_know_no_simulator() -> None:
    for path in (ROOT / "representations").rglob("*.py"):
        ours = {name for name in imported(path) if name.split(".")[0] == "envs"}
        allowed = ("envs.data", "envs.lie_groups", "envs.named_registry", "envs.storage")
        assert all(name.startswith(allowed) for name in ours), path


def modules_after(code: str) -> set[str]:
    """Return the top-level names of the modules that are loaded after running some code in a new process."""
    code += "; import sys, json; print(json.dumps(list(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    return {name.split(".")[0] for name in json.loads(run.stdout)}


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = {"mujoco", "mujoco_warp", "warp", "stable_baselines3", "minari", "matplotlib", "torch", "scipy", "cv2"}
    assert not modules_after("import equiact; equiact.envs.world_names()") & heavy


def test_importing_an_encoder_loads_no_simulator() -> None:
    loaded = modules_after("import equiact.representations.encoders.agent_object")
    assert not loaded & {"mujoco", "mujoco_warp", "warp", "stable_baselines3", "minari", "matplotlib"}


def test_modules_and_public_names_are_documented() -> None:
    missing = [module_name(path) for path, tree in TREES.items() if ast.get_docstring(tree) is None]
    assert missing == [], "modules without a docstring"
    names = [(module_name(path), node) for path, tree in TREES.items() for node in public(tree)]
    bare = [f"{module}.{node.name}" for module, node in names if ast.get_docstring(node) is None]
    assert len(bare) <= 0.05 * len(names), bare
