"""Learn latents of images on which discrete actions of unknown effect act linearly, and recover their group.

An encoder ``E`` and one matrix ``A_a`` for each action are trained together, so that ``A_a E(o)`` is nearer to
``E(o')`` than to the latents of other images (InfoNCE). Nothing about the group is assumed. Related: Koyama et al.,
*Neural Fourier transform*, ICLR 2024 (arXiv:2305.18484), and Miyato et al., *Unsupervised learning of equivariant
structure from sequences*, NeurIPS 2022, learn linear actions on latents too. The table is read as in arXiv:2312.08550.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ...encoders.backbones import make_backbone
from ...encoders.encoder import as_tensor, to_images
from ...learning.config import OptimConfig, check_range
from ...learning.learner import Loss, Stage
from ...learning.training import train_learner
from .action_data import ActionData, split_actions
from .action_group import ActionGroup, ActionGroupConfig, group_of_actions


@dataclass(frozen=True)
class ActionEncoderConfig:
    """Set how an `ActionEncoder` is trained.

    Attributes:
        backbone: name of the image network.
        latent_dim: coordinates of the latent; at least the order of the group is best.
        temperature: of the contrastive loss.
        held_out_share: share of the transitions of each action that the encoder is not trained on, and from whose
            latents the group is read. As many transitions of each action as the latent has coordinates are needed.
        optim: number of updates, learning rate and batch size.
        group: how the group is recovered from the latents.

    Raises:
        ConfigError: a value is out of range.

    Example:
        >>> ActionEncoderConfig().latent_dim
        16
    """

    backbone: str = "strided"
    latent_dim: int = 16
    temperature: float = 0.1
    held_out_share: float = 0.25
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=400, lr=3e-3, batch_size=64))
    group: ActionGroupConfig = field(default_factory=ActionGroupConfig)

    def __post_init__(self) -> None:
        check_range(self, "latent_dim", at_least=2, at_most=1024)
        check_range(self, "temperature", above=0)
        check_range(self, "held_out_share", above=0, below=1)


DEFAULT_ACTION_ENCODER = ActionEncoderConfig()


class ActionEncoder(nn.Module):
    """Encode images to unit vectors on which a matrix acts for each action.

    Args:
        shape: height, width and channels of the images.
        num_actions: number of actions.
        config: hyper-parameters.

    Attributes:
        matrices: ``(k, m, m)``, one for each action.
    """

    def __init__(
        self, shape: tuple[int, int, int], num_actions: int, config: ActionEncoderConfig = DEFAULT_ACTION_ENCODER
    ) -> None:
        super().__init__()
        size = config.latent_dim
        self.trunk = make_backbone(config.backbone, shape)
        self.head = nn.Linear(self.trunk.features, size)
        self.matrices = nn.Parameter(torch.eye(size) + torch.randn(num_actions, size, size) / size)

    def forward(self, images: Tensor) -> Tensor:
        """Return the latents ``(B, m)``, of length 1, of images ``(B, C, H, W)`` in [0, 1]."""
        return functional.normalize(self.head(self.trunk(images)), dim=1)

    @torch.no_grad()
    def encode(self, frames: NDArray[np.uint8], batch_size: int = 512) -> NDArray[np.float64]:
        """Return the latents ``(N, m)`` of frames ``(N, H, W, C)`` uint8, in evaluation mode."""
        device = self.matrices.device
        was_training = self.training
        self.eval()
        parts = [self(to_images(part.to(device))).cpu() for part in torch.split(as_tensor(frames), batch_size)]
        self.train(was_training)
        return np.asarray(torch.cat(parts).double().numpy())


class ActionEncoderLearner(nn.Module):
    """Train an `ActionEncoder`: ``minimise InfoNCE(A_a E(o), E(o'))``, in both directions.

    Args:
        network: the encoder.
        data: the transitions.
        config: hyper-parameters.
    """

    def __init__(self, network: ActionEncoder, data: ActionData, config: ActionEncoderConfig) -> None:
        super().__init__()
        self.network, self.config = network, config
        device = network.matrices.device
        self._frames, self._next = (as_tensor(each).to(device) for each in (data.frames, data.next_frames))
        self._actions = torch.from_numpy(np.asarray(data.actions, np.int64)).to(device)

    def stages(self) -> list[Stage]:
        """Return one stage, which minimises `loss`."""
        optim = self.config.optim
        parameters = list(self.network.parameters())
        return [Stage("actions", optim.steps, self.loss, parameters, optim.batch_size, optim.lr)]

    def loss(self, generator: torch.Generator) -> Loss:
        """Return the contrastive loss of a random batch; the negatives are the other images of the batch."""
        size = self.config.optim.batch_size
        rows = torch.randint(len(self._actions), (size,), generator=generator).to(self._actions.device)
        images = torch.cat([self._frames.index_select(0, rows), self._next.index_select(0, rows)])
        before, after = self.network(to_images(images)).chunk(2)
        moved = torch.einsum("bij,bj->bi", self.network.matrices[self._actions[rows]], before)
        similarity = functional.normalize(moved, dim=1) @ after.T / self.config.temperature
        target = torch.arange(size, device=similarity.device)
        loss = (functional.cross_entropy(similarity, target) + functional.cross_entropy(similarity.T, target)) / 2
        return loss, {"contrast": loss.detach()}


def train_action_encoder(
    data: ActionData, config: ActionEncoderConfig = DEFAULT_ACTION_ENCODER, seed: int = 0, device: str = "cpu"
) -> ActionEncoder:
    """Train an encoder and the matrices of the actions on transitions.

    Args:
        data: the transitions.
        config: hyper-parameters.
        seed: seed of weights and batches.
        device: torch device.
    """
    height, width, channels = data.frames.shape[1:]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ActionEncoder((height, width, channels), data.num_actions, config).to(device)
    train_learner(ActionEncoderLearner(network, data, config), seed=seed)
    return network.eval()


def discover_action_group(
    data: ActionData, config: ActionEncoderConfig = DEFAULT_ACTION_ENCODER, seed: int = 0, device: str = "cpu"
) -> ActionGroup:
    """Recover the group that discrete actions generate from images alone.

    Args:
        data: the transitions.
        config: hyper-parameters.
        seed: seed of weights and batches.
        device: torch device.

    An orthogonal matrix of ``m`` rows is fixed by ``m`` vectors and their images. At least ``latent_dim`` transitions
    of each action are therefore held out: 64 transitions of each action with the default share of a quarter.

    Returns:
        The group, and the element that each action performs.

    Raises:
        ValueError: an action occurs fewer than ``latent_dim / held_out_share`` times.
        NoGroupFoundError: no finite group explains the transitions, see `group_of_actions`.

    Example:
        >>> data = load_action_data("data")  # doctest: +SKIP
        >>> discover_action_group(data).found.name  # doctest: +SKIP
        'C6'
    """
    training, held_out = split_actions(data, config.held_out_share, seed, least=config.latent_dim)
    network = train_action_encoder(training, config, seed, device)
    before, after = network.encode(held_out.frames), network.encode(held_out.next_frames)
    return group_of_actions(before, held_out.actions, after, config.group)
