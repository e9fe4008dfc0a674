"""Batches of images from trajectories, with the displacement between any two images of a trajectory.

The encoders learn from triples ``(x, g, y = g·x)``. A batch holds several images, called views, of each of several
trajectories, and a loss uses all pairs of views of a trajectory: four views make six pairs for the cost of four images.
The views are any number of steps apart. Pairs of neighbouring frames would not do: where the group is not compact, they
share more than the class, and a contrastive loss would separate positions instead of classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from ...envs.data.trajectories import trajectory_frames
from ...envs.data.transitions import Transitions
from ...envs.lie_groups.registry import group_from_name
from ..encoders.encoder import as_tensor, to_images
from .config import OptimConfig, check_range
from .learner import Loss, Stage


@dataclass(frozen=True)
class PairSamplingConfig:
    """Set how pairs of images are drawn. A batch has ``optim.batch_size`` images.

    Attributes:
        views: images of one trajectory in a batch; fewer where all trajectories are shorter.
        longest_trajectory: steps after which a trajectory is cut, because errors of the displacements accumulate.

    Raises:
        ConfigError: a value is out of range.
    """

    views: int = 4
    longest_trajectory: int = 100

    def __post_init__(self) -> None:
        check_range(self, "views", at_least=2)
        check_range(self, "longest_trajectory", at_least=1)


class PairConfig(Protocol):
    """Have the fields that a `PairLearner` reads from the configuration of its network."""

    @property
    def optim(self) -> OptimConfig:
        """Return how the loss is minimised; ``batch_size`` counts images."""

    @property
    def pairs(self) -> PairSamplingConfig:
        """Return how the images are drawn."""


class Views(NamedTuple):
    """A batch: the first view of every trajectory that was drawn, then the second of every trajectory, and so on.

    Attributes:
        images: ``(views · trajectories, C, H, W)`` in [0, 1].
        moved: product of the displacements since the start of the trajectory, ``(views · trajectories, dim)``.
        frame: index of each frame in the transitions, ``(views · trajectories,)``.
        step: number of steps since the start of the trajectory, ``(views · trajectories,)``.
    """

    images: Tensor
    moved: Tensor
    frame: Tensor
    step: Tensor


class PairSampler(nn.Module):
    """Draw `Views`, and pair them.

    Its state is the number of batches that were drawn; a checkpoint keeps it.

    Args:
        transitions: frames and displacements; the ground truth is not read.
        config: how to draw.
        images: images in a batch, at most: ``trajectories · views``.
        device: where the batches are needed.

    Attributes:
        views: images of one trajectory in a batch.
        trajectories: trajectories in a batch.
    """

    def __init__(self, transitions: Transitions, config: PairSamplingConfig, images: int, device: torch.device) -> None:
        super().__init__()
        self._group = group_from_name(transitions.group)
        self._frames = as_tensor(transitions.frames).to(device)
        self._frame, self._length, self._moved = (
            as_tensor(each).to(device) for each in trajectory_frames(transitions, config.longest_trajectory)
        )
        self._begin = self._length.cumsum(0) - self._length
        self._trajectory = torch.arange(len(self._length), device=device).repeat_interleave(self._length)
        self.views = min(config.views, int(self._length.max()))
        self.trajectories = max(1, images // self.views)
        self._pairs = torch.combinations(torch.arange(self.views, device=device)).T
        self._batches: Tensor
        self.register_buffer("_batches", torch.zeros((), dtype=torch.long))

    @property
    def batches(self) -> int:
        """Batches that were drawn so far, before a resume included."""
        return int(self._batches)

    @property
    def num_images(self) -> int:
        """Images in a batch."""
        return self.trajectories * self.views

    @property
    def num_pairs(self) -> int:
        """Pairs in a batch."""
        return self.trajectories * self._pairs.shape[1]

    def draw(self, generator: torch.Generator) -> Views:
        """Return a random batch. Longer trajectories are drawn more often: each frame has the same probability."""
        self._batches += 1
        device = self._frames.device
        chosen = torch.randint(len(self._frame), (self.trajectories,), generator=generator)
        trajectory = self._trajectory[chosen.to(device)]
        length = self._length[trajectory]
        # The trajectory, cyclically shifted, is cut into as many parts as views, and a frame is drawn from each part:
        # no frame is drawn twice.
        share = torch.rand(self.views + 1, self.trajectories, generator=generator).to(device)
        bounds = torch.arange(self.views + 1, device=device)[:, None] * length // self.views
        along = (share[0] * length).long() + bounds[:-1] + (share[1:] * bounds.diff(dim=0)).long()
        step = along % length
        rows = (self._begin[trajectory] + step).flatten()
        frame = self._frame[rows]
        return Views(to_images(self._frames.index_select(0, frame)), self._moved[rows], frame, step.flatten())

    def pair(self, views: Views, latents: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Return all pairs of views of a trajectory.

        Args:
            views: a batch.
            latents: latents ``(views · trajectories, ...)`` of its images.

        Returns:
            Displacements ``(num_pairs, dim)`` from the first to the second view of each pair, the latents of the first,
            and those of the second.
        """

        def both(batch: Tensor) -> Tensor:
            return batch.reshape(self.views, -1, *batch.shape[1:])[self._pairs].flatten(1, 2)

        before, after = both(views.moved)
        pairs = {name: both(latent) for name, latent in latents.items()}
        first, second = ({name: pair[index] for name, pair in pairs.items()} for index in range(2))
        return self._group.compose(after, self._group.inverse(before)), first, second

    def pair_with_next(self, views: Views) -> tuple[Tensor, Tensor]:
        """Pair each view with the next view of its trajectory, and the last with the first.

        Losses that decode images use these: ``num_images`` pairs, each image decoded once.

        Returns:
            Displacements ``(num_images, dim)`` from each view to the next, and the next images
            ``(num_images, C, H, W)``.
        """
        after, images = (batch.roll(-self.trajectories, 0) for batch in (views.moved, views.images))
        return self._group.compose(after, self._group.inverse(views.moved)), images


Network = TypeVar("Network", bound=nn.Module)


class PairLearner(nn.Module, Generic[Network]):
    """Train a network on triples ``(x, g, y = g·x)``; subclasses implement `loss`.

    Args:
        network: the network to train; its ``config`` has ``optim`` and ``pairs`` (`PairConfig`).
        transitions: frames and displacements; the ground truth is not read.

    Attributes:
        network: the network.
        sampler: draws the batches.

    Raises:
        ValueError: the group or the frames of the transitions are not those of the network.
    """

    network: Network

    def __init__(self, network: Network, transitions: Transitions) -> None:
        super().__init__()
        checked: Any = network
        checked.require_fitting(transitions)
        self.network = network
        config: PairConfig = checked.config
        self.optim = config.optim
        device = next(network.parameters()).device
        self.sampler = PairSampler(transitions, config.pairs, config.optim.batch_size, device)

    @property
    def progress(self) -> float:
        """Share of the updates that are done, the current one included."""
        return self.sampler.batches / self.optim.steps

    @property
    def batch_size(self) -> int:
        """Pairs in one update."""
        return self.sampler.num_pairs

    def loss(self, generator: torch.Generator) -> Loss:
        """Return the loss of a random batch, and its terms."""
        raise NotImplementedError

    def stages(self) -> list[Stage]:
        """Return one stage, which minimises `loss` over all parameters that are not frozen."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return [Stage("pairs", self.optim.steps, self.loss, trained, self.batch_size, self.optim.lr)]
