"""Modules as differentiable functions of their parameters: copies in float64, checks, and Jacobians."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call


class DimensionError(ValueError):
    """The effective dimension of a module cannot be computed, since it is not differentiable or too large."""


def module_jacobian(module: nn.Module, parameters: Mapping[str, Tensor], inputs: Tensor) -> NDArray[np.float64]:
    """Return the derivatives of all outputs by parameters, ``(N · outputs, parameters)``.

    Reverse mode, one output at a time: it takes control flow that depends on data, and is faster on small networks than
    `torch.func.jacrev` under `torch.func.vmap`, which turns convolutions into grouped ones.

    Args:
        module: the module, in evaluation mode.
        parameters: the parameters by name.
        inputs: ``(N, …)``.

    Raises:
        DimensionError: a derivative is not finite.
    """
    leaves = {name: value.detach().clone().requires_grad_() for name, value in parameters.items()}
    begins = np.cumsum([0, *(leaf.numel() for leaf in leaves.values())])
    rows = []
    with _one_thread():
        for x in inputs:
            outputs = torch.cat(flat_outputs(functional_call(module, leaves, (x[None],))))
            for output in outputs:
                row = np.zeros(begins[-1])
                gradients = torch.autograd.grad(output, list(leaves.values()), retain_graph=True, allow_unused=True)
                for begin, gradient in zip(begins, gradients, strict=False):
                    if gradient is not None:
                        row[begin : begin + gradient.numel()] = gradient.flatten().numpy()
                rows.append(row)
    jacobian: NDArray[np.float64] = np.stack(rows)
    if not np.isfinite(jacobian).all():
        raise DimensionError("expected finite derivatives, got NaN or infinity; choose other parameters")
    return jacobian


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: operations on single inputs are too small for several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def double_copy(module: nn.Module) -> nn.Module:
    """Return a copy of a module on the CPU, in float64 and in evaluation mode.

    Raises:
        DimensionError: it is no module, or cannot be copied.
    """
    if not isinstance(module, nn.Module):
        raise DimensionError(f"expected a torch.nn.Module, got {type(module).__name__}")
    try:
        twin = copy.deepcopy(module)
    except (RuntimeError, TypeError) as error:
        raise DimensionError(f"expected a module that copy.deepcopy can copy, got: {error}") from error
    return twin.cpu().double().eval()


def trainable_parameters(module: nn.Module, names: Sequence[str] | None) -> dict[str, Tensor]:
    """Return the trainable parameters by name, detached.

    Raises:
        DimensionError: there is none, or a name is unknown.
    """
    found = {name: value.detach().clone() for name, value in module.named_parameters() if value.requires_grad}
    if not found or sum(value.numel() for value in found.values()) == 0:
        raise DimensionError(f"expected a module with trainable parameters, got {type(module).__name__} without any")
    if names is None:
        return found
    if unknown := sorted(set(names) - set(found)) or not names:
        raise DimensionError(f"expected names of parameters among {', '.join(found)}, got {unknown or 'none'}")
    return {name: found[name] for name in names}


def probe_output(module: nn.Module, input_shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Return the output for one random input, after checks.

    Raises:
        DimensionError: the module does not take a float64 input, or its output has no gradient or is not finite.
    """
    if any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in input_shape):
        raise DimensionError(f"expected an input shape of positive whole numbers, got {tuple(input_shape)}")
    x = torch.randn(1, *input_shape, generator=generator, dtype=torch.float64)
    try:
        result = module(x)
    except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
        raise DimensionError(
            f"expected {type(module).__name__} to take a float64 tensor of shape {tuple(x.shape)}, got "
            f"{type(error).__name__}: {str(error).splitlines()[0]}. Check the input shape; for a module of whole "
            "numbers, such as an embedding, pass the part behind it"
        ) from error
    output = torch.cat(flat_outputs(result))
    if not output.requires_grad:
        raise DimensionError(
            f"expected outputs that are differentiable in the parameters, got outputs of {type(module).__name__} "
            "without gradient; look for argmax, round, detach or no_grad"
        )
    if not bool(torch.isfinite(output).all()):
        raise DimensionError("expected finite outputs, got NaN or infinity")
    return output.detach()


def flat_outputs(result: Any) -> list[Tensor]:
    """Return the floating-point tensors of an output, flattened.

    Raises:
        DimensionError: there is none.
    """
    found = [each.flatten() for each in _leaves(result) if each.is_floating_point()]
    if not found:
        raise DimensionError(
            f"expected outputs of real numbers, got {type(result).__name__} without any; argmax and rounding have no "
            "derivatives"
        )
    return found


def _leaves(result: Any) -> Iterator[Tensor]:
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, Mapping):
        for each in result.values():
            yield from _leaves(each)
    elif isinstance(result, (tuple, list)):
        for each in result:
            yield from _leaves(each)
