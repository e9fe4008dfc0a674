"""The base of encoders with a class and a pose: a backbone, a class head and a pose head.

By the orbit–stabilizer theorem the images of an object are the orbit ``G·x``, and an image is known by its class (which
orbit) and its pose (where on it). The class is invariant, ``φ_E(g·x) = φ_E(x)``; the pose is equivariant,
``φ_G(g·x) = g·φ_G(x)``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ...envs.lie_groups.registry import group_from_name
from ..learning.config import OptimConfig, check_range
from ..learning.losses import ClassPoseLossConfig
from ..learning.pair_sampling import PairSamplingConfig
from .backbones import make_backbone
from .encoder import Encoder
from .equivariant_encoder import Latents
from .pose_heads import PoseHead


@dataclass(frozen=True)
class ClassPoseBaseConfig:
    """Set the hyper-parameters that all class–pose encoders share.

    Attributes:
        backbone: name of the image network.
        class_dim: coordinates of the class.
        optim: how the loss is minimised; ``batch_size`` counts images.
        pairs: how pairs of images are drawn.
        loss: weights of the loss.

    Raises:
        ConfigError: a value is out of range.
    """

    backbone: str = "resnet18"
    class_dim: int = 8
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=6000))
    pairs: PairSamplingConfig = field(default_factory=PairSamplingConfig)
    loss: ClassPoseLossConfig = field(default_factory=ClassPoseLossConfig)

    def __post_init__(self) -> None:
        check_range(self, "class_dim", at_least=2, at_most=4096)


class ClassPoseBase(Encoder):
    """An encoder with an invariant class on the unit sphere, and a pose; subclasses choose the pose head.

    Latents: ``class`` ``(B, class_dim)``, of length 1, and those of the pose head.

    Args:
        shape: height, width and channels of the images.
        group: name of the group that acts, such as ``"SO3"``.
        config: hyper-parameters.

    Attributes:
        acting: the group.
        pose_head: the pose head.
        num_poses: size of the sets that `poses` returns.
    """

    config: ClassPoseBaseConfig

    def __init__(self, shape: tuple[int, int, int], group: str, config: ClassPoseBaseConfig) -> None:
        super().__init__(shape, group, config)
        self.acting = group_from_name(group)
        self.trunk = make_backbone(config.backbone, self.shape)
        # Batch normalisation keeps the classes from collapsing: before the classes are learned, the state of lowest
        # loss nearby is one class for all images.
        self.class_head = nn.Sequential(
            nn.Linear(self.trunk.features, config.class_dim, bias=False), nn.BatchNorm1d(config.class_dim, affine=False)
        )
        self.pose_head = self.make_pose_head(self.trunk.features)

    @abstractmethod
    def make_pose_head(self, features: int) -> PoseHead:
        """Return the pose head, for features of this width."""

    @property
    def num_poses(self) -> int:
        """Size of the sets that `poses` returns."""
        return self.pose_head.num_poses

    @property
    def latent_dim(self) -> int:
        """Number of coordinates of class and pose."""
        return self.config.class_dim + self.pose_head.latent_dim

    def latents(self, images: Tensor) -> Latents:
        """Return the class and the latents of the pose head."""
        features = self.trunk(images)
        return {"class": self._class(features), **self.pose_head.latents(features)}

    def training_latents(self, images: Tensor) -> Latents:
        """Return the class and the latents on which the loss is computed (`PoseHead.training_latents`)."""
        features = self.trunk(images)
        return {"class": self._class(features), **self.pose_head.training_latents(features)}

    def _class(self, features: Tensor) -> Tensor:
        return functional.normalize(self.class_head(features), dim=1)

    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        """Return the latents after group elements ``(B, dim)`` were applied: the class stays, the pose changes."""
        return self.pose_head.act(displacement, latents)

    def latent_distance(self, a: Latents, b: Latents) -> Tensor:
        """Return the squared distance of the poses plus one minus the cosine of the classes, ``(A, B)``."""
        return self.pose_distance(a, b) + 1 - a["class"] @ b["class"].T

    def pose_distance(self, a: Latents, b: Latents) -> Tensor:
        """Return the squared distance of each of ``A`` poses from each of ``B`` poses, ``(A, B)``."""
        return self.pose_head.pose_distance(a, b)

    def poses(self, latents: Mapping[str, Any]) -> Any:
        """Return sets of equivalent poses ``(B, num_poses, group.dim)`` (`PoseHead.poses`)."""
        return self.pose_head.poses(latents)

    def relative_pose(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> Any:
        """Return elements ``(B, M, group.dim)``, each of which maps the image of ``a`` to that of ``b``."""
        return self.pose_head.relative_pose(a, b)

    def pose_is_reliable(self, latents: Mapping[str, Any], poses: Any) -> NDArray[np.bool_]:
        """Return whether the pose of each image can be read from its latents, ``(B,)``.

        Args:
            latents: latents of the images.
            poses: their `poses`.
        """
        return self.pose_head.pose_is_reliable(latents, poses)
