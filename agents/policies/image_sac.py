"""Soft actor-critic on frames, by Stable-Baselines3: a convolutional policy that learns from rewards alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from stable_baselines3 import SAC
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor

from ...envs.worlds.task_world import TaskWorld
from ...representations.learning.config import check_range
from .sac import LearningCurve, SACConfig, train_sac_policy
from .sb3_vec_env import observe_pixels

__all__ = ["ImageSACConfig", "ShiftedReplayBuffer", "random_shift", "train_image_sac"]


@dataclass(frozen=True)
class ImageSACConfig:
    """Set the hyper-parameters of `train_image_sac`.

    The defaults of ``sac`` are those of `SACConfig`, but for two updates of 64 transitions in every step of 8 worlds.
    With 64 × 64 pixels the replay buffer takes 24 kB for each transition, 1.1 GB for 44,000 steps.

    Attributes:
        pad: largest random shift of the images in a batch, in pixels; 0 for none.
        sac: hyper-parameters of soft actor-critic; ``net_arch`` are the layers behind the convolutions.

    Raises:
        ConfigError: a value is out of range.
    """

    pad: int = 4
    sac: SACConfig = field(
        default_factory=lambda: SACConfig(
            steps=44_000, batch_size=64, gradient_steps=2, buffer_size=44_000, evaluate_every=4000
        )
    )

    def __post_init__(self) -> None:
        check_range(self, "pad", at_least=0)


def random_shift(images: Tensor, pad: int) -> Tensor:
    """Shift every image by up to ``pad`` pixels along both axes; the border is repeated.

    The same as padding every side with ``pad`` copies of the border and cropping at random. The generator is the global
    one of torch.

    Source: Yarats, Kostrikov and Fergus, *Image augmentation is all you need*, ICLR 2021 (arXiv:2004.13649).

    Args:
        images: ``(B, C, H, W)``.
        pad: largest shift.

    Returns:
        The shifted images, with the shape and type of ``images``.

    Example:
        >>> random_shift(torch.zeros(5, 3, 64, 64, dtype=torch.uint8), pad=4).shape
        torch.Size([5, 3, 64, 64])
    """
    count, _, height, width = images.shape
    shifts = torch.randint(-pad, pad + 1, (2, count, 1))
    rows = (torch.arange(height) + shifts[0]).clamp(0, height - 1)
    columns = (torch.arange(width) + shifts[1]).clamp(0, width - 1)
    image = torch.arange(count)
    return images[image[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


class ShiftedReplayBuffer(ReplayBuffer):
    """A replay buffer of images that are shifted at random whenever they are sampled; see `random_shift`.

    Observations and next observations are shifted independently. The policy acts on images that are not shifted.

    Args:
        *arguments: of ``stable_baselines3.common.buffers.ReplayBuffer``.
        pad: largest shift, in pixels.
        **options: of ``ReplayBuffer``.
    """

    def __init__(self, *arguments: Any, pad: int, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.pad = pad

    def sample(self, batch_size: int, env: Any = None) -> ReplayBufferSamples:
        """Return a random batch of transitions with shifted images."""
        batch = super().sample(batch_size, env)
        return batch._replace(
            observations=random_shift(batch.observations, self.pad),
            next_observations=random_shift(batch.next_observations, self.pad),
        )


def train_image_sac(
    make_world: Callable[[int], TaskWorld],
    config: ImageSACConfig | None = None,
    *,
    seed: int,
    progress: Callable[[int, LearningCurve], None] = lambda done, curve: None,
) -> tuple[SAC, LearningCurve]:
    """Train soft actor-critic on the frames of a batch of worlds, with ``CnnPolicy`` of Stable-Baselines3.

    Actor and critics have a convolutional network each (Mnih et al., *Human-level control through deep reinforcement
    learning*, Nature 2015). With ``config.pad`` the images in a batch are shifted at random, as in DrQ with
    ``K = M = 1`` (Yarats et al., ICLR 2021, arXiv:2004.13649). `save_policy` refuses the model: its actor is more than
    an MLP.

    Args:
        make_world: returns a batch of the given number of worlds.
        config: hyper-parameters.
        seed: seed of the policy, of the training episodes and of those of the learning curve, as in `train_sac`.
        progress: called with the number of steps done and the curve so far.

    Returns:
        The trained model, whose ``predict`` takes frames ``(B, H, W, C)`` uint8, and its learning curve.
    """
    config = config or ImageSACConfig()
    return train_sac_policy(
        "CnnPolicy",
        make_world,
        observe_pixels,
        config.sac,
        seed=seed,
        progress=progress,
        replay_buffer_class=ShiftedReplayBuffer,
        replay_buffer_kwargs={"pad": config.pad},
    )
