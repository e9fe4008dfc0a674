"""The examples in docstrings run; each module is imported by its installed name, and so only once."""

import doctest
import importlib
import pkgutil

import equiact
import pytest

MODULES = [
    module.name
    for module in pkgutil.walk_packages(equiact.__path__, "equiact.")
    if module.name.split(".")[1] in ("agents", "envs", "representations", "scripts")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
