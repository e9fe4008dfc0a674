"""The training of class–pose encoders, whatever their pose head."""

from __future__ import annotations

from typing import TypeVar

import torch

from ..learning.learner import Loss
from ..learning.losses import info_nce
from ..learning.pair_sampling import PairLearner
from .class_pose_base import ClassPoseBase

ClassPose = TypeVar("ClassPose", bound=ClassPoseBase)


class ClassPoseLearner(PairLearner[ClassPose]):
    """Train a class–pose encoder on triples ``(x, g, y = g·x)``.

    The loss is ``L_pose + InfoNCE(φ_E)``: the pose head's loss (`PoseHead.loss`), and a contrastive loss of the classes
    (`info_nce`), in which the classes of two images of a trajectory are aligned.

    Args:
        network: the encoder.
        transitions: frames and displacements; the ground truth is not read.

    Raises:
        ValueError: the group or the frames of the transitions are not those of the encoder.
    """

    @property
    def alignment(self) -> float:
        """α at this point of the training (`ClassPoseLossConfig.alignment`)."""
        first, last = self.network.config.loss.alignment
        return first + (last - first) * min(1.0, 2 * self.progress)

    def loss(self, generator: torch.Generator, **weights: float) -> Loss:
        """Return the loss of a random batch, and its terms.

        Args:
            generator: draws the batch.
            weights: weights of terms of the pose loss that change during the training.
        """
        views = self.sampler.draw(generator)
        latents = self.network.training_latents(views.images)
        displacement, x, y = self.sampler.pair(views, latents)
        pose, terms = self.network.pose_head.loss(displacement, x, y, latents, **weights)
        temperature = self.network.config.loss.temperature
        contrast = info_nce(x["class"], y["class"], latents["class"], self.alignment, temperature)
        return pose + contrast, {**terms, "contrast": contrast.detach()}
