"""Mutants of a file: where each one is, what it changes, and which ones are no changes of behaviour.

The mutants are those of mutmut, under its names, so that it can run them one by one. A mutant that changes no behaviour
is left out. See `is_excluded` for the list.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.file_mutation import create_mutations
from mutmut.mutation.trampoline_templates import mangle_function_name
from mutmut.utils.format_utils import get_mutant_name

MESSAGES = {"warn", "print", "debug", "info", "warning", "error"}
"""Calls whose arguments are messages."""

PLACES = {"device"}
"""Keywords that say where to compute: the tests run on the processor, where they change nothing."""


@dataclass(frozen=True)
class Mutant:
    """One change of one function.

    Attributes:
        name: name that mutmut gives it.
        file: file relative to the root of the package.
        line: line of the change.
        function: name of the function or method.
        operator: kind of the change.
        diff: changed lines, the old ones after ``-`` and the new ones after ``+``, without indentation.
    """

    name: str
    file: str
    line: int
    function: str
    operator: str
    diff: str


def find_mutants(root: Path, file: str) -> list[Mutant]:
    """Return the mutants of a file that change behaviour.

    Args:
        root: folder of the package.
        file: path of the file relative to it.
    """
    module, mutations, _, _ = create_mutations(file, (root / file).read_text(encoding="utf-8"))
    positions = MetadataWrapper(module, unsafe_skip_copy=True).resolve(PositionProvider)
    messages = {id(node) for node in _nodes_of_messages(module)}
    owners = dict(_functions(module))
    seen: Counter[str] = Counter()
    mutants = []
    for mutation in mutations:
        function = mutation.contained_by_top_level_function
        if function not in owners:
            continue
        mangled = mangle_function_name(name=function.name.value, class_name=owners[function])
        seen[mangled] += 1
        if id(mutation.original_node) in messages or is_excluded(mutation.original_node, mutation.mutated_node):
            continue
        mutants.append(
            Mutant(
                name=get_mutant_name(Path("equiact") / file, f"{mangled}__mutmut_{seen[mangled]}"),
                file=file,
                line=positions[mutation.original_node].start.line,
                function=".".join(filter(None, (owners[function], function.name.value))),
                operator=operator_of(mutation.original_node, mutation.mutated_node),
                diff=_diff(function, mutation.original_node, mutation.mutated_node),
            )
        )
    return mutants


def operator_of(old: Any, new: Any) -> str:
    """Return the kind of a change."""
    if isinstance(old, cst.Call):
        if len(new.args) < len(old.args):
            return "argument removed"
        changed = any(not before.deep_equals(after) for before, after in zip(old.args, new.args, strict=True))
        return "argument is None" if changed else "string method"
    if isinstance(old, cst.AugAssign):
        return "operator" if isinstance(new, cst.AugAssign) else "augmented assignment"
    kinds = {
        "number": cst.BaseNumber,
        "string": cst.BaseString,
        "name": cst.Name,
        "assigned value": (cst.Assign, cst.AnnAssign),
        "unary operator": cst.UnaryOperation,
        "lambda": cst.Lambda,
        "condition": cst.IfExp,
        "case": cst.Match,
    }
    return next((name for name, types in kinds.items() if isinstance(old, types)), "operator")


def is_excluded(old: Any, new: Any) -> bool:
    """Return whether a change is none of behaviour.

    These are excluded, and mutants in messages (`raise`, `warnings.warn`, logging) as well. mutmut itself leaves out
    docstrings, type hints, module-level code and decorated functions.

    * letters of a string in upper or lower case: the same string with other letters around it is one mutant already,
    * ``typing.cast``, which does nothing,
    * ``strict`` of ``zip``, a guard against programming errors,
    * ``device``, as the tests run on the processor.
    """
    if isinstance(old, cst.SimpleString):
        return "XX" not in new.value or "XX" in old.value
    if not isinstance(old, cst.Call):
        return False
    if _called(old) == "cast":
        return True
    changed = set(map(_argument, old.args)) - set(map(_argument, new.args))
    return any(keyword in PLACES or keyword == "strict" for keyword, _ in changed)


def _argument(argument: Any) -> tuple[str, str]:
    keyword = argument.keyword.value if argument.keyword else ""
    return keyword, cst.Module([]).code_for_node(argument.value)


def _called(call: Any) -> str:
    """Return the last name of what is called, such as ``"warn"`` of ``warnings.warn(...)``."""
    name = call.func.attr if isinstance(call.func, cst.Attribute) else call.func
    return name.value if isinstance(name, cst.Name) else ""


def _nodes_of_messages(node: Any, inside: bool = False) -> Iterator[Any]:
    """Yield all nodes in errors, warnings, logging, and the names that are given to ``typing.cast`` and ``zip``."""
    inside = inside or isinstance(node, cst.Raise) or (isinstance(node, cst.Call) and _called(node) in MESSAGES)
    inside = inside or (isinstance(node, cst.Arg) and node.keyword is not None and node.keyword.value == "strict")
    if inside:
        yield node
    for child in node.children:
        typed = isinstance(node, cst.Call) and _called(node) == "cast" and child is node.args[0]
        yield from _nodes_of_messages(child, inside or typed)


def _functions(module: Any) -> Iterator[tuple[Any, str | None]]:
    """Yield the functions of a module without and the methods with the names of their classes."""
    for node in module.body:
        if isinstance(node, cst.FunctionDef):
            yield node, None
        elif isinstance(node, cst.ClassDef):
            yield from ((each, node.name.value) for each in node.body.body if isinstance(each, cst.FunctionDef))


def _diff(function: Any, old: Any, new: Any) -> str:
    before = cst.Module([function]).code.splitlines()
    after = cst.Module([function.deep_replace(old, new)]).code.splitlines()
    changed = difflib.unified_diff(before, after, n=0, lineterm="")
    return "\n".join(f"{line[0]} {line[1:].strip()}" for line in changed if line[:2] not in ("--", "++", "@@"))
