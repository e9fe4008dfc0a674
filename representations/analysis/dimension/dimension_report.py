"""Formula against rank for one architecture, and the effective dimension of the layers and parts of encoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...encoders.class_pose_base import ClassPoseBase
from ...encoders.equivariant_encoder import Latents
from ...encoders.pose_heads import PoseHead
from ...encoders.registry import ENCODERS, encoder_class
from .attention_geometry import (
    AttentionArchitecture,
    explain_exception,
    generic_attention_dimension,
    published_attention_dimension,
)
from .attention_network import AttentionNetwork
from .convolution_geometry import ConvolutionArchitecture, convolution_dimension
from .jacobian_rank import DEFAULT_RANK, EffectiveDimension, JacobianRankConfig, jacobian_rank
from .module_derivatives import DimensionError
from .polynomial_networks import exact_rank


@dataclass(frozen=True)
class DimensionReport:
    """Dimension of a function space by formula and by rank.

    Attributes:
        parameters: number of parameters.
        formula: published formula.
        derived: formula of this project, which covers the exceptions; the published one for convolutions.
        rank: generic rank of the Jacobian: exact for polynomial networks, in float64 for a softmax.
        agrees: whether the published formula is the rank.
        note: why it is not; empty where it is.
    """

    parameters: int
    formula: int
    derived: int
    rank: int
    agrees: bool
    note: str


def compare_dimension(architecture: AttentionArchitecture | ConvolutionArchitecture, seed: int = 0) -> DimensionReport:
    """Compare the published dimension of an architecture with the rank of its Jacobian.

    Args:
        architecture: attention, with or without softmax, or polynomial convolutions.
        seed: seed of parameters and inputs.

    Raises:
        ValueError: the Jacobian is too large for the memory.

    Example:
        >>> compare_dimension(AttentionArchitecture((4, 4), (2,)))
        DimensionReport(parameters=32, formula=27, derived=27, rank=27, agrees=True, note='')
        >>> compare_dimension(AttentionArchitecture((3, 3, 3), (1, 2))).note
        'layer 1 has rank 1: later layers get inputs u vᵀ, and uᵀAu sees only the symmetric part of A'
    """
    if isinstance(architecture, ConvolutionArchitecture):
        formula = derived = convolution_dimension(architecture)
        note = ""
    else:
        formula, derived = published_attention_dimension(architecture), generic_attention_dimension(architecture)
        note = explain_exception(architecture)
    rank = _softmax_rank(architecture, seed) if _has_softmax(architecture) else exact_rank(architecture, seed)
    if rank != derived:
        note = f"unexplained: the rank is {rank}, and the derived dimension {derived}" + f"; {note}" * bool(note)
    return DimensionReport(architecture.parameters, formula, derived, rank, formula == rank, note)


def _has_softmax(architecture: AttentionArchitecture | ConvolutionArchitecture) -> bool:
    return isinstance(architecture, AttentionArchitecture) and architecture.normalised


def _softmax_rank(architecture: AttentionArchitecture | ConvolutionArchitecture, seed: int) -> int:
    if not isinstance(architecture, AttentionArchitecture):
        raise TypeError(f"expected an AttentionArchitecture, got {type(architecture).__name__}")
    network = AttentionNetwork(architecture, seed)
    return jacobian_rank(network, (architecture.dims[0], architecture.tokens), seed=seed).rank


def layer_dimensions(
    module: nn.Module,
    input_shape: Sequence[int],
    *,
    max_parameters: int = 1000,
    seed: int = 0,
    config: JacobianRankConfig = DEFAULT_RANK,
) -> dict[str, EffectiveDimension | None]:
    """Return the effective dimension of each layer alone: the directions in which its parameters change the function.

    The effective dimension of the module is at least the largest of them, and at most their sum. Redundancy between
    layers, such as rescaling across a ReLU, is not seen.

    Args:
        module: the module.
        input_shape: shape of one input, without the batch.
        max_parameters: layers with more are not measured: None.
        seed: seed of inputs and perturbation.
        config: tolerance and memory.

    Raises:
        DimensionError: the module is not differentiable, or takes no float64.

    Example:
        >>> network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        >>> {name: found.rank for name, found in layer_dimensions(network, (3,)).items()}
        {'0': 16, '2': 10}
    """
    found: dict[str, EffectiveDimension | None] = {}
    for name, layer in module.named_modules():
        own = [(key, each) for key, each in layer.named_parameters(name, recurse=False) if each.requires_grad]
        if not own:
            continue
        is_small = sum(each.numel() for _, each in own) <= max_parameters
        names = [key for key, _ in own]
        found[name] = (
            jacobian_rank(module, input_shape, seed=seed, config=config, parameters=names) if is_small else None
        )
    if not found:
        raise DimensionError(f"expected a module with trainable parameters, got {type(module).__name__} without any")
    return found


class _HeadOutput(nn.Module):
    """The latents of a pose head as a module's output."""

    def __init__(self, head: PoseHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Latents:
        return self.head.latents(features)


def pose_head_dimension(encoder: str, group: str, features: int = 8, seed: int = 0) -> EffectiveDimension:
    """Return the effective dimension of a shipped pose head, a linear layer followed by the projection to the group.

    A normalised vector, as for ``SO2``, loses one direction: the length of all weights. ``SO3`` reads two of three
    columns, which loses ``3 (features + 1)`` weights, and orthonormalises them, which loses three more.

    Args:
        encoder: name of a registered encoder with a pose head, such as ``"class-pose"``, in its default configuration.
        group: name of the group, such as ``"SO2"``.
        features: width of the features.
        seed: seed of weights and inputs.

    Raises:
        ValueError: no encoder or group has this name, it has no pose head, or it does not suit the group.

    Example:
        >>> found = pose_head_dimension("class-pose", "SO3")
        >>> found.parameters, found.inactive, found.redundancy
        (81, 27, 30)
    """
    encoder_cls = encoder_class(encoder)
    if not issubclass(encoder_cls, ClassPoseBase):
        raise ValueError(
            f"expected an encoder with a pose head, got {encoder!r}; names are {', '.join(pose_encoders())}"
        )
    return own_pose_head_dimension(encoder_cls((32, 32, 3), group, encoder_cls.config_class()), features, seed)


def own_pose_head_dimension(encoder: ClassPoseBase, features: int = 8, seed: int = 0) -> EffectiveDimension:
    """Return the effective dimension of the kind of pose head that an encoder has, for narrow features.

    Args:
        encoder: the encoder.
        features: width of the features.
        seed: seed of weights and inputs.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = encoder.make_pose_head(features)
    return jacobian_rank(_HeadOutput(head), (features,), seed=seed)


def pose_encoders() -> list[str]:
    """Return the names of the registered encoders that have a pose head.

    Example:
        >>> pose_encoders()
        ['class-pose', 'harmonics', 'pose-set']
    """
    return [name for name, encoder_cls in ENCODERS.items() if issubclass(encoder_cls, ClassPoseBase)]
