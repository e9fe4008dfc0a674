"""The command ``equiact analyze dimension``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..commands.command import Command
from ..commands.registry import register_command
from ..progress import console
from .user_modules import load_module, require_input_shape

if TYPE_CHECKING:
    from torch import nn

    from ...representations.analysis.dimension.jacobian_rank import EffectiveDimension
    from ...representations.encoders.encoder import Encoder

Row = dict[str, float | str]

_MOST_OF_BACKBONES = 3000
"""Parameters allowed where a backbone has no copy that is narrow enough: the narrowest ResNet-18 has 2,901."""


@register_command("analyze dimension")
@dataclass(frozen=True)
class AnalyzeDimension(Command):
    """Print parameters, effective dimension and redundancy of networks: by default all backbones and pose heads.

    The effective dimension is the number of independent directions in which the parameters change the function: the
    rank of its Jacobian in float64. A network with too many parameters is replaced by a copy with narrower layers and
    random weights: "widths divided by 16" says that all widths are divided by 16, and dimension and redundancy are then
    those of the copy. If that is impossible, its layers are measured one at a time. Of an encoder, backbone and pose
    head are measured, and the parameters of all other parts are counted. A tilde marks a rank that is not certain, with
    the reason beside it. The narrowest ResNet-18 takes minutes. Writes nothing.
    """

    module: str | None = None
    """Your network: module:Class or module:function, called without arguments, which returns a torch.nn.Module. For
    my_networks:Net, the file my_networks.py lies in the current folder, or is installed."""
    input_shape: tuple[int, ...] | None = None
    """Shape of one input of the network, without the batch; 3 32 32 by default. An encoder has its own."""
    encoder: Path | None = None
    """Folder of an encoder; only its architecture is measured, not its weights."""
    backbone: str | None = None
    """Name of one backbone."""
    group: str | None = None
    """Group of the pose heads, if all are measured; SO2 by default."""
    features: int | None = None
    """Width of the features that the pose heads get; 8 by default."""
    max_parameters: int = 1000
    """Largest number of parameters whose Jacobian is computed at once; time grows with its third power."""

    @property
    def _shape(self) -> tuple[int, ...]:
        return (3, 32, 32) if self.input_shape is None else self.input_shape

    @property
    def _features(self) -> int:
        return 8 if self.features is None else self.features

    def run(self) -> dict[str, Any]:
        from ...representations.analysis.dimension.module_derivatives import DimensionError

        self.require_at_least(max_parameters=1, features=1)
        chosen = [name for name in ("module", "encoder", "backbone") if getattr(self, name) is not None]
        if len(chosen) > 1:
            raise ValueError(f"expected one of --module, --encoder and --backbone, got --{' and --'.join(chosen)}")
        self._refuse_without_effect(chosen[0] if chosen else None)
        try:
            return self._chosen()
        except DimensionError as error:
            raise DimensionError(str(error).replace("max_parameters", "--max-parameters")) from error

    def _refuse_without_effect(self, chosen: str | None) -> None:
        """Check that no option is given that has no effect.

        Raises:
            ValueError: one is.
        """
        without_effect = {
            "module": ("group", "features"),
            "backbone": ("group", "features"),
            "encoder": ("group", "input_shape"),
        }
        for name in without_effect.get(chosen or "", ()):
            if getattr(self, name) is not None:
                option = name.replace("_", "-")
                raise ValueError(f"expected no --{option} with --{chosen}, where it has no effect; leave it out")

    def _chosen(self) -> dict[str, Any]:
        if self.module is not None:
            return self._measure(self.module, load_module(self.module), self._shape)
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
            found = pose_head_dimension(name, self.group or "SO2", self._features, self.seed)
            rows[f"pose head of {name}"] = describe_dimension(found)
        return rows

    def _backbone(self, name: str) -> dict[str, Any]:
        from ...representations.encoders.backbones import make_backbone

        channels, height, width = self._image_shape()
        return {name: self._narrow_row(make_backbone(name, (height, width, channels)), self._shape)}

    def _narrow_row(self, backbone: nn.Module, input_shape: Sequence[int]) -> Row:
        from ...representations.analysis.dimension.module_derivatives import DimensionError
        from ...representations.analysis.dimension.narrow_copies import narrow_to, parameter_count

        try:
            copy, divisor = narrow_to(backbone, input_shape, self.max_parameters, self.seed)
        except DimensionError:
            most = max(self.max_parameters, _MOST_OF_BACKBONES)
            copy, divisor = narrow_to(backbone, input_shape, most, self.seed)
        return self._row(copy, divisor, parameter_count(backbone), input_shape)

    def _image_shape(self) -> tuple[int, int, int]:
        if len(self._shape) != 3:
            raise ValueError(f"expected --input-shape C H W for a backbone, got {self._shape}")
        channels, height, width = self._shape
        return channels, height, width

    def _encoder(self, folder: Path) -> dict[str, Any]:
        from ...representations.analysis.dimension.dimension_report import own_pose_head_dimension
        from ...representations.analysis.dimension.narrow_copies import parameter_count
        from ...representations.encoders.backbones import Backbone
        from ...representations.encoders.class_pose_base import ClassPoseBase
        from ...representations.encoders.encoder import load_encoder
        from ...representations.encoders.pose_heads import PoseHead

        encoder = load_encoder(folder)
        height, width, channels = encoder.shape
        rows: dict[str, Any] = {"encoder": {"parameters": parameter_count(encoder)}}
        for name, part in encoder.named_modules():
            if isinstance(part, Backbone):
                rows[f"backbone {name}"] = self._narrow_row(part, (channels, height, width))
        if isinstance(encoder, ClassPoseBase):
            found = own_pose_head_dimension(encoder, self._features, self.seed)
            own = sum(parameter_count(part) for part in encoder.modules() if isinstance(part, PoseHead))
            row = describe_dimension(found) | {"parameters of that of the encoder": own}
            rows[f"pose head for {self._features} features"] = row
        if len(rows) == 1:
            raise ValueError(
                f"expected an encoder with a Backbone or a pose head, got {type(encoder).__name__}; use --module"
            )
        return rows | left_out_rows(encoder)

    def _measure(self, name: str, module: nn.Module, input_shape: Sequence[int]) -> dict[str, Any]:
        """Return rows for a module: one for it or its narrow copy, or one a layer."""
        from ...representations.analysis.dimension.module_derivatives import DimensionError
        from ...representations.analysis.dimension.narrow_copies import narrow_to, parameter_count

        require_input_shape(name, module, input_shape)
        full = parameter_count(module)
        try:
            copy, divisor = narrow_to(module, input_shape, self.max_parameters, self.seed)
        except DimensionError as error:
            console.print(
                f"{name} has {full} parameters, more than --max-parameters {self.max_parameters}, and no copy that is "
                f"narrow enough: {error}. Its layers are measured one at a time.".replace("max_parameters", "it"),
                markup=False,
            )
            return {name: {"parameters": full, "whole": "not measured"}} | self._layers(module, input_shape)
        return {name: self._row(copy, divisor, full, input_shape)}

    def _layers(self, module: nn.Module, input_shape: Sequence[int]) -> dict[str, Any]:
        """Return a row for each layer with parameters."""
        from ...representations.analysis.dimension.dimension_report import layer_dimensions

        found = layer_dimensions(module, input_shape, max_parameters=self.max_parameters, seed=self.seed)
        return {
            f"layer {key or '(its own)'}": {"not measured": f"more than --max-parameters {self.max_parameters}"}
            if each is None
            else describe_dimension(each)
            for key, each in found.items()
        }

    def _row(self, copy: nn.Module, divisor: int, full: int, input_shape: Sequence[int]) -> Row:
        from ...representations.analysis.dimension.jacobian_rank import jacobian_rank

        found = jacobian_rank(copy, input_shape, seed=self.seed)
        row = describe_dimension(found)
        if divisor == 1:
            return row
        of_copy: Row = {f"{key} of the narrow copy": value for key, value in row.items()}
        return {"parameters": full, "widths divided by": divisor} | of_copy


def left_out_rows(encoder: Encoder) -> dict[str, Any]:
    """Return a row with the number of parameters of each part of an encoder that is no backbone and no pose head.

    Args:
        encoder: the encoder.
    """
    from ...representations.encoders.backbones import Backbone
    from ...representations.encoders.pose_heads import PoseHead

    parts = [part for part in encoder.modules() if isinstance(part, Backbone | PoseHead)]
    seen = {id(each) for part in parts for each in part.parameters()}
    rows: dict[str, Any] = {}
    for name, part in encoder.named_modules():
        own = [each for each in part.parameters(recurse=False) if each.requires_grad and id(each) not in seen]
        seen |= {id(each) for each in own}
        if count := sum(each.numel() for each in own):
            kind = type(part).__name__
            rows[f"{name or 'encoder'} ({kind})"] = {
                "parameters": count,
                "dimension": "not measured",
            }
    return rows


def describe_dimension(found: EffectiveDimension) -> Row:
    """Return an effective dimension as values to print; ``~`` marks a rank that is not certain, with the reason.

    Args:
        found: the effective dimension.
    """
    exact = found.stable and found.clear
    row: Row = {
        "parameters": found.parameters,
        "effective dimension": found.rank if exact else f"~{found.rank}",
        "redundancy": found.redundancy if exact else f"~{found.redundancy}",
    }
    if found.inactive:
        row["without effect"] = found.inactive
    if not found.stable:
        row["stable"] = "no: more inputs may raise the rank"
    if not found.clear:
        row["clear"] = f"no: gap {found.gap:.3g}"
    return row
