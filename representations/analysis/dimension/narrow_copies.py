"""Narrow copies of modules: the same architecture with fewer channels, small enough for the rank of its Jacobian."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from .module_derivatives import DimensionError, double_copy

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
Normalisation = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
_CALIBRATION = 64
"""Inputs from which the statistics of batch normalisation are computed."""


def parameter_count(module: nn.Module) -> int:
    """Return the number of trainable parameters; tied ones count once.

    Args:
        module: the module.

    Example:
        >>> parameter_count(nn.Linear(3, 2))
        8
    """
    return sum(each.numel() for each in module.parameters() if each.requires_grad)


def narrow_to(
    module: nn.Module, input_shape: Sequence[int], max_parameters: int, seed: int = 0
) -> tuple[nn.Module, int]:
    """Return the widest narrow copy with at most a number of parameters, and the divisor of its widths.

    The copy is in float64. All hidden and output widths are divided; the layer that runs first keeps its input
    channels. Weights are random anew. Batch normalisation gets the statistics of random inputs, without which most
    hidden units of a deep network would be off for all inputs.

    Args:
        module: a network of convolutions, linear layers and batch normalisation.
        input_shape: shape of one input, without the batch.
        max_parameters: largest number of parameters.
        seed: seed of the random weights of the copy.

    Raises:
        DimensionError: even the narrowest copy has more parameters, or a layer cannot be narrowed.

    Example:
        >>> wide = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 32))
        >>> copy, divisor = narrow_to(wide, (3,), 100)
        >>> divisor, parameter_count(copy)
        (8, 68)
    """
    if parameter_count(module) <= max_parameters:
        return double_copy(module), 1
    narrowest, divisor = module, 1
    common = math.gcd(*_widths(module, input_shape))
    for divisor in (each for each in range(2, common + 1) if common % each == 0):
        narrowest = _narrowed(module, input_shape, divisor, seed)
        if parameter_count(narrowest) <= max_parameters:
            return _calibrated(narrowest, input_shape, seed), divisor
    raise DimensionError(
        f"expected a copy of at most {max_parameters} parameters, got {parameter_count(narrowest)} in the narrowest, "
        f"with widths divided by {divisor}; raise max_parameters"
    )


def _widths(module: nn.Module, input_shape: Sequence[int]) -> list[int]:
    """Return the hidden and output widths of all layers."""
    twin = double_copy(module)
    layers = _layers(twin)
    for name, layer in layers:
        _narrow_layer(name, layer, 1, is_first=False)  # refuses layers that cannot be narrowed
    first = _first_layer(twin, input_shape)
    widths = list[int]()
    for _, layer in layers:
        sizes = [getattr(layer, key) for key in ("out_features", "out_channels", "num_features") if hasattr(layer, key)]
        if layer is not first:
            sizes += [getattr(layer, key) for key in ("in_features", "in_channels") if hasattr(layer, key)]
        widths += sizes
    return widths


def _layers(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the layers with parameters of their own, by name.

    Raises:
        DimensionError: parameters belong to a module with layers, or to no layer.
    """
    found = []
    for name, layer in module.named_modules():
        if next(layer.parameters(recurse=False), None) is None:
            continue
        if next(layer.children(), None) is not None or not name:
            raise DimensionError(
                f"expected parameters in layers of a network only, got some in {type(layer).__name__}; pass a narrower "
                "module"
            )
        found.append((name, layer))
    return found


def _narrowed(module: nn.Module, input_shape: Sequence[int], divisor: int, seed: int) -> nn.Module:
    """Return a copy with divided widths and random weights."""
    copy = double_copy(module)
    layers = _layers(copy)
    first = _first_layer(copy, input_shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, layer in layers:
            parent, _, last = name.rpartition(".")
            setattr(copy.get_submodule(parent), last, _narrow_layer(name, layer, divisor, layer is first))
    return copy.double().eval()


def _calibrated(module: nn.Module, input_shape: Sequence[int], seed: int) -> nn.Module:
    """Return a module whose batch normalisation has the statistics of random inputs."""
    for layer in module.modules():
        if isinstance(layer, Normalisation):
            layer.momentum = None  # an average over all batches
            layer.train()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        module(torch.randn(_CALIBRATION, *input_shape, generator=generator, dtype=torch.float64))
    return module.eval()


def _first_layer(module: nn.Module, input_shape: Sequence[int]) -> nn.Module:
    """Return the layer with parameters that runs first."""
    order = list[nn.Module]()
    handles = [
        layer.register_forward_pre_hook(lambda layer, _: order.append(layer))
        for layer in module.modules()
        if next(layer.parameters(recurse=False), None) is not None
    ]
    try:
        with torch.no_grad():
            module(torch.zeros(2, *input_shape, dtype=torch.float64))
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise DimensionError(
            f"expected {type(module).__name__} to take float64 inputs of shape {tuple(input_shape)}, got: {error}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    if not order:
        raise DimensionError(f"expected a layer with parameters in {type(module).__name__}, got none that runs")
    return order[0]


def _narrow_layer(name: str, layer: nn.Module, divisor: int, is_first: bool) -> nn.Module:
    """Return a new layer with divided widths.

    Raises:
        DimensionError: the layer is of another kind.
    """
    if isinstance(layer, nn.Linear):
        inputs = layer.in_features if is_first else layer.in_features // divisor
        return nn.Linear(inputs, layer.out_features // divisor, bias=layer.bias is not None)
    if isinstance(layer, Convolution) and layer.groups == 1:
        inputs = layer.in_channels if is_first else layer.in_channels // divisor
        convolution: nn.Module = type(layer)(
            inputs,
            layer.out_channels // divisor,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            layer.dilation,  # type: ignore[arg-type]
            bias=layer.bias is not None,
            padding_mode=layer.padding_mode,
        )
        return convolution
    if isinstance(layer, Normalisation):
        return type(layer)(layer.num_features // divisor, layer.eps, affine=layer.affine)
    raise DimensionError(
        f"expected layers that can be narrowed (convolutions without groups, linear layers, batch normalisation), got "
        f"{type(layer).__name__} in layer {name or 'module'}; pass a narrower module"
    )
