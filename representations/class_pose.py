"""The class–pose encoder: an invariant class times a group element.

Marchetti, Tegnér, Varava, Kragic, *Equivariant representation learning via class-pose decomposition*, AISTATS 2023
(arXiv:2207.03116). Where the group acts freely, a pose is one element: the encoder of `representations.stabilizers`
with a set of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from representations.acted import Latents
from representations.stabilizers import StabilizerEncoder, StabilizerLearner


class ClassPoseEncoder(StabilizerEncoder):
    """An invariant class on the unit sphere, and a pose.

    Args:
        shape: height, width and channels of the images.
        group: name of the group that acts freely, as `envs.groups.group_from_name` reads it.
        backbone: a name in `representations.networks.BACKBONES`.
        class_dim: coordinates of the class.

    Latents: ``class`` ``(B, class_dim)``, of length 1, and ``pose`` ``(B, group.dim)``.
    """

    def __init__(self, shape: tuple[int, int, int], group: str, backbone: str = "resnet18", class_dim: int = 8) -> None:
        super().__init__(shape, group, backbone, elements=1, class_dim=class_dim)

    def latents(self, images: Tensor) -> dict[str, Tensor]:
        latents = super().latents(images)
        return {"class": latents["class"], "pose": latents["poses"][:, 0]}

    def poses(self, latents: Mapping[str, Any]) -> Any:
        return latents["pose"][:, None]

    def act(self, displacement: Tensor, latents: Latents) -> Latents:
        return {**latents, "pose": self.acting.compose(displacement, latents["pose"])}


class ClassPoseLearner(StabilizerLearner):
    """Trains a `ClassPoseEncoder`; a set of one has nothing to gather.

    Args:
        encoder: what to train.
        transitions: frames and displacements; their truths are not read.
        scale: factor on the number of updates.
    """
