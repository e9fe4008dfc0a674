"""Public names are documented and unique; functions and files are short."""

import ast
import importlib
import inspect
import pkgutil
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import equiact
import numpy as np
import pytest
from equiact.agents.policies.behavior_cloning import BCPolicy
from equiact.agents.recovery.recovery_policy import RecoveryPolicy
from equiact.representations.densities.density import Density
from equiact.representations.encoders.encoder import Encoder
from equiact.representations.encoders.pose_heads import PoseHead
from equiact.representations.learning.learner import Learner
from equiact.representations.learning.pair_sampling import PairLearner

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("agents", "envs", "representations", "scripts")
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
MODULES = [
    module.name
    for module in pkgutil.walk_packages(equiact.__path__, "equiact.")
    if module.name.split(".")[1] in FOLDERS
]


def public(names: Iterator[str] | list[str]) -> list[str]:
    return [name for name in names if not name.startswith("_")]


def own_members(module_name: str) -> Iterator[tuple[str, object]]:
    """Iterate over the public classes, functions and methods that a module defines."""
    module = importlib.import_module(module_name)
    yield module_name, module
    for name in public(list(vars(module))):
        member = getattr(module, name)
        if not (inspect.isclass(member) or inspect.isfunction(member)) or member.__module__ != module_name:
            continue
        yield f"{module_name}.{name}", member
        if inspect.isclass(member):
            for method in public(list(vars(member))):
                value = inspect.getattr_static(member, method)
                if inspect.isroutine(value) or isinstance(value, property):
                    yield f"{module_name}.{name}.{method}", getattr(member, method)


def test_public_names_are_documented() -> None:
    """Count an override as documented if what it overrides is."""
    members = [item for module in MODULES for item in own_members(module)]
    missing = [name for name, member in members if not inspect.getdoc(member)]
    assert 1 - len(missing) / len(members) >= 0.95, missing


def test_public_class_names_are_unique() -> None:
    names = [
        node.name
        for path in FILES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    assert [name for name, count in Counter(names).items() if count > 1] == []


FORMULA = re.compile(r"``[^`]*(=|‖|Σ|↦|log |E d|InfoNCE)[^`]*``|Source: ")


def implementations(folder: str, *bases: type) -> list[type]:
    """Return the concrete classes in a folder that derive from one of the classes, or are learners."""
    members = [item for module in MODULES if module.startswith(f"equiact.{folder}.") for item in own_members(module)]
    return [
        member
        for _, member in members
        if inspect.isclass(member)
        and not inspect.isabstract(member)
        and member not in (PairLearner, Learner)
        and (issubclass(member, bases) or member.__name__.endswith("Learner"))
    ]


@pytest.mark.parametrize(
    "method",
    [
        *implementations("representations", Encoder, PoseHead, Density),
        *implementations("agents", BCPolicy),
        RecoveryPolicy,
    ],
)
def test_a_method_has_a_formula_or_a_source(method: type) -> None:
    assert FORMULA.search(method.__doc__ or ""), f"{method.__name__} has neither a formula nor a source"


@pytest.mark.parametrize("encoder", implementations("representations", Encoder))
def test_encoders_are_not_derived_more_than_two_deep(encoder: type) -> None:
    own = [base for base in encoder.__mro__ if issubclass(base, Encoder) and base is not Encoder]
    assert len(own) <= 2, own


def test_functions_are_short() -> None:
    lengths = {
        f"{path.relative_to(ROOT)}:{node.name}": body_lines(node)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: length for name, length in lengths.items() if length > 60} == {}
    assert np.percentile(list(lengths.values()), 90) <= 20


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the number of lines of a function without its docstring."""
    total = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return total - ((first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0)


def test_files_are_short() -> None:
    lengths = [len(path.read_text().splitlines()) for path in FILES]
    assert np.percentile(lengths, 90) <= 300
