"""Networks of the user, named on the command line as ``module:Class``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def require_input_shape(name: str, module: nn.Module, input_shape: Sequence[int]) -> None:
    """Check that a module takes inputs of a shape.

    Args:
        name: name of the module, for messages.
        module: the module.
        input_shape: shape of one input, without the batch.

    Raises:
        ValueError: it does not.
    """
    import torch

    from ...representations.analysis.dimension.module_derivatives import double_copy

    shape = tuple(input_shape)
    if not all(size >= 1 for size in shape):
        raise ValueError(f"expected --input-shape of positive whole numbers, got {shape}")
    twin = double_copy(module)
    try:
        with torch.no_grad():
            twin(torch.zeros(1, *shape, dtype=torch.float64))
    except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
        text = str(error).partition("\n")[0]
        raise ValueError(
            f"expected --input-shape that {name} takes as numbers in float64, got {' '.join(map(str, shape))}: {text}"
        ) from error


def load_module(path: str) -> nn.Module:
    """Return the module that a class or function at ``"module:Name"`` makes.

    Args:
        path: such as ``"my_networks:Encoder"``.

    Raises:
        ValueError: there is nothing at the path, it needs arguments, it fails, or it makes no module.
    """
    from torch import nn

    make = _imported(path)
    if isinstance(make, nn.Module) or not callable(make):
        module = make
    else:
        _require_no_arguments(path, make)
        try:
            module = make()
        except Exception as error:  # code of the user, which may raise anything
            raise ValueError(f"expected {path} to make a torch.nn.Module, but it raised {_described(error)}") from error
    if not isinstance(module, nn.Module):
        raise ValueError(f"expected {path} to make a torch.nn.Module, got {type(module).__name__}")
    return module


def _imported(path: str) -> Any:
    from ...envs.named_registry import Registry, RegistryError

    file, _, name = path.partition(":")
    if not name:
        raise ValueError(f"expected --module module:Class, got {path!r}")
    if file.endswith(".py"):
        module = file.removesuffix(".py")
        raise ValueError(f"expected --module module:Class, got {path!r}; leave out .py: --module {module}:{name}")
    try:
        return Registry[Any]("module").resolve(path)
    except RegistryError as error:
        raise ValueError(
            f"expected --module module:Class, got {path!r}: {error}; {file}.py must lie in the current folder, or be "
            "installed"
        ) from error
    except Exception as error:  # code of the user, which may raise anything
        raise ValueError(f"expected to import {path}, but {file} raised {_described(error)}") from error


def _require_no_arguments(path: str, make: Any) -> None:
    import inspect

    try:
        signature = inspect.signature(make)
    except ValueError:  # of a builtin: unknown
        return
    try:
        signature.bind()
    except TypeError as error:
        raise ValueError(
            f"expected {path} to take no arguments, got: {error}; name a function that makes it"
        ) from error


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
