"""The command ``equiact analyze dimension``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..commands.command import Command
from ..commands.registry import register_command

if TYPE_CHECKING:
    from torch import nn

    from ...representations.analysis.dimension.jacobian_rank import EffectiveDimension

Row = dict[str, float | str]

_MOST_OF_BACKBONES = 3000
"""Parameters allowed where a backbone has no copy that is narrow enough: the narrowest ResNet-18 has 2,901."""


@register_command("analyze dimension")
@dataclass(frozen=True)
class AnalyzeDimension(Command):
    """Print parameters, effective dimension and redundancy of networks: by default all backbones and pose heads.

    The effective dimension is the number of independent directions in which the parameters change the function: the
    rank of its Jacobian in float64. A network with too many parameters is replaced by a copy with narrower layers and
    random weights; "narrow 16" says that all widths are divided by 16. If that is impossible, its layers are measured
    one at a time. Of an encoder, backbone and pose head are measured. A tilde marks a rank that is only a lower bound.
    The narrowest ResNet-18 takes minutes. Writes nothing.
    """

    module: str | None = None
    """Your network: module:Class or module:function, called without arguments, which returns a torch.nn.Module."""
    input_shape: tuple[int, ...] = (3, 32, 32)
    """Shape of one input of the network, without the batch."""
    encoder: Path | None = None
    """Folder of an encoder; only its architecture is measured, not its weights."""
    backbone: str | None = None
    """Name of one backbone."""
    group: str = "SO2"
    """Group of the pose heads."""
    features: int = 8
    """Width of the features that the pose heads get."""
    max_parameters: int = 1000
    """Largest number of parameters whose Jacobian is computed at once; time grows with its third power."""

    def run(self) -> dict[str, Any]:
        self.require_at_least(max_parameters=1, features=1)
        chosen = [name for name in ("module", "encoder", "backbone") if getattr(self, name) is not None]
        if len(chosen) > 1:
            raise ValueError(f"expected one of --module, --encoder and --backbone, got --{' and --'.join(chosen)}")
        if self.module is not None:
            return self._measure(self.module, load_module(self.module), self.input_shape)
        if self.encoder is not None:
            return self._encoder(self.encoder)
        if self.backbone is not None:
            return self._backbone(self.backbone)
        return self._shipped()

    def _shipped(self) -> dict[str, Any]:
        from ...representations.analysis.dimension.dimension_report import pose_encoders, pose_head_dimension
        from ...representations.encoders.backbones import BACKBONES

        rows: dict[str, Any] = {}
        for name in BACKBONES.names():
            rows |= self._backbone(name)
        for name in pose_encoders():
            found = pose_head_dimension(name, self.group, self.features, self.seed)
            rows[f"pose head of {name}"] = describe_dimension(found)
        return rows

    def _backbone(self, name: str) -> dict[str, Any]:
        from ...representations.encoders.backbones import make_backbone

        channels, height, width = self._image_shape()
        return {name: self._narrow_row(make_backbone(name, (height, width, channels)), self.input_shape)}

    def _narrow_row(self, backbone: nn.Module, input_shape: Sequence[int]) -> Row:
        from ...representations.analysis.dimension.module_derivatives import DimensionError
        from ...representations.analysis.dimension.narrow_copies import narrow_to, parameter_count

        try:
            copy, divisor = narrow_to(backbone, input_shape, self.max_parameters, self.seed)
        except DimensionError:
            copy, divisor = narrow_to(backbone, input_shape, _MOST_OF_BACKBONES, self.seed)
        return self._row(copy, divisor, parameter_count(backbone), input_shape)

    def _image_shape(self) -> tuple[int, int, int]:
        if len(self.input_shape) != 3:
            raise ValueError(f"expected --input-shape C H W for a backbone, got {self.input_shape}")
        channels, height, width = self.input_shape
        return channels, height, width

    def _encoder(self, folder: Path) -> dict[str, Any]:
        from ...representations.analysis.dimension.dimension_report import own_pose_head_dimension
        from ...representations.analysis.dimension.narrow_copies import parameter_count
        from ...representations.encoders.backbones import Backbone
        from ...representations.encoders.class_pose_base import ClassPoseBase
        from ...representations.encoders.encoder import load_encoder

        encoder = load_encoder(folder)
        height, width, channels = encoder.shape
        rows: dict[str, Any] = {"encoder": {"parameters": parameter_count(encoder)}}
        for name, part in encoder.named_modules():
            if isinstance(part, Backbone):
                rows[f"backbone {name}"] = self._narrow_row(part, (channels, height, width))
        if isinstance(encoder, ClassPoseBase):
            found = own_pose_head_dimension(encoder, self.features, self.seed)
            rows[f"pose head for {self.features} features"] = describe_dimension(found)
        if len(rows) == 1:
            raise ValueError(
                f"expected an encoder with a Backbone or a pose head, got {type(encoder).__name__}; use --module"
            )
        return rows

    def _measure(self, name: str, module: nn.Module, input_shape: Sequence[int]) -> dict[str, Any]:
        """Return rows for a module: one for it or its narrow copy, or one a layer."""
        from ...representations.analysis.dimension.dimension_report import layer_dimensions
        from ...representations.analysis.dimension.module_derivatives import DimensionError
        from ...representations.analysis.dimension.narrow_copies import narrow_to, parameter_count

        full = parameter_count(module)
        try:
            copy, divisor = narrow_to(module, input_shape, self.max_parameters, self.seed)
        except DimensionError as error:
            layers = layer_dimensions(module, input_shape, max_parameters=self.max_parameters, seed=self.seed)
            rows: dict[str, Any] = {name: {"parameters": full, "not measured as a whole": str(error)}}
            return rows | {
                f"layer {key}": {"not measured": f"more than {self.max_parameters} parameters"}
                if found is None
                else describe_dimension(found)
                for key, found in layers.items()
            }
        return {name: self._row(copy, divisor, full, input_shape)}

    def _row(self, copy: nn.Module, divisor: int, full: int, input_shape: Sequence[int]) -> Row:
        from ...representations.analysis.dimension.jacobian_rank import jacobian_rank

        found = jacobian_rank(copy, input_shape, seed=self.seed)
        narrow: Row = {} if divisor == 1 else {"narrow": divisor, "parameters of the whole": full}
        return describe_dimension(found) | narrow


def load_module(path: str) -> nn.Module:
    """Return the module that a class or function at ``"module:Name"`` makes.

    Args:
        path: such as ``"my_networks:Encoder"``.

    Raises:
        ValueError: there is nothing at the path, it needs arguments, or it makes no module.
    """
    from torch import nn

    from ...envs.named_registry import Registry, RegistryError

    if ":" not in path:
        raise ValueError(f"expected --module module:Class, got {path!r}")
    try:
        make = Registry[Any]("module").resolve(path)
    except RegistryError as error:
        raise ValueError(f"expected --module module:Class, got {path!r}: {error}") from error
    try:
        module = make() if callable(make) and not isinstance(make, nn.Module) else make
    except TypeError as error:
        raise ValueError(
            f"expected {path} to take no arguments, got: {error}; name a function that makes it"
        ) from error
    if not isinstance(module, nn.Module):
        raise ValueError(f"expected {path} to make a torch.nn.Module, got {type(module).__name__}")
    return module


def describe_dimension(found: EffectiveDimension) -> Row:
    """Return an effective dimension as values to print; ``~`` marks a rank that is a lower bound.

    Args:
        found: the effective dimension.
    """
    exact = found.stable and found.clear
    row: Row = {
        "parameters": found.parameters,
        "effective dimension": found.rank if exact else f"~{found.rank}",
        "redundancy": found.redundancy if exact else f"~{found.redundancy}",
    }
    return row | ({"without effect": found.inactive} if found.inactive else {})
